"""Stored form of outbox messages: those of the release before are delivered, and what a later one adds is left out."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from eco2.my.messages import Body, Claim, Left, Preferred, Purge, SignedUp

AT = datetime(2026, 11, 30, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stored", "body"),
    [
        ({"earned_at": "2026-11-30T12:00:00.123456+00:00"}, SignedUp(earned_at=AT)),
        ({}, Preferred()),
        ({"issued_before": "2026-11-30T21:00:00.123456+09:00"}, Left(issued_before=AT)),
        ({"service": "scan-api"}, Purge(service="scan-api")),
        ({"service": "chat-api", "later": 1}, Claim(service="chat-api")),
    ],
)
def test_a_stored_body_is_read_and_written_so_that_the_release_before_reads_it(stored: object, body: Body) -> None:
    assert type(body).model_validate(stored) == body
    written = body.model_dump(mode="json")
    assert type(body).model_validate(written) == body
    for name in ("earned_at", "issued_before"):
        assert name not in written or datetime.fromisoformat(written[name]) == AT, "as the release before reads it"


def test_a_body_without_its_field_is_refused() -> None:
    with pytest.raises(ValidationError):
        Purge.model_validate({})
