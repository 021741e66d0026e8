"""Cursors are read back as they were written, and nothing else is read."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eco2.core import cursors


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)), st.uuids())  # noqa: DTZ001 - the zone follows
def test_a_cursor_is_read_back(at: datetime, row_id: object) -> None:
    for zone in (UTC, timezone(timedelta(hours=9))):
        place = at.replace(tzinfo=zone)
        assert cursors.decode(cursors.encode(place, str(row_id))) == (place, str(row_id))


@given(st.text(max_size=100))
def test_any_other_text_is_refused_or_a_place(text: str) -> None:
    try:
        at, row_id = cursors.decode(text)
    except cursors.BadCursor:
        return
    assert at.tzinfo is not None
    assert row_id


@pytest.mark.parametrize("text", ["", "=", "a", "MjAyNi0wMS0wMSBh", "MjAyNi0wMS0wMVQwMDowMDowMCswMDowMA"])
def test_a_cursor_without_zone_or_id_is_refused(text: str) -> None:
    with pytest.raises(cursors.BadCursor):
        cursors.decode(text)
