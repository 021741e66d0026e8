"""Identity headers count only with a proof that names exactly their values."""

import time
import uuid

import pytest

from eco2.contracts.identity import IDENTITY_PROOF_HEADER, PROVIDER_HEADER, ROLE_HEADER, SESSION_HEADER, USER_ID_HEADER
from eco2.core import proof
from eco2.core.proof import RawHeaders, without_unproven_identity

SECRET = "s" * 32
WHO = {
    USER_ID_HEADER: str(uuid.UUID(int=1)),
    PROVIDER_HEADER: "kakao",
    ROLE_HEADER: "citizen",
    SESSION_HEADER: "session-1",
}
OTHER = [(b"content-type", b"application/json"), (b"x-request-id", b"abc")]


def headers(who: dict[str, str], signed: str | None) -> list[tuple[bytes, bytes]]:
    given = {**who, IDENTITY_PROOF_HEADER: signed} if signed is not None else who
    return [*OTHER, *((name.encode(), value.encode()) for name, value in given.items())]


def signed(who: dict[str, str] = WHO, secret: str = SECRET, stretch: int | None = None) -> str:
    return proof.of_identity(secret, who, proof.period() if stretch is None else stretch)


def test_headers_with_their_proof_stay() -> None:
    given = headers(WHO, signed())
    assert without_unproven_identity(SECRET, given) == given


def test_the_proof_of_the_stretch_before_still_counts() -> None:
    given = headers(WHO, signed(stretch=proof.period() - 1))
    assert without_unproven_identity(SECRET, given) == given


@pytest.mark.parametrize(
    "given",
    [
        headers(WHO, None),
        headers(WHO, ""),
        headers(WHO, "not.a.proof"),
        headers(WHO, signed(secret="k" * 32)),
        headers(WHO, signed(stretch=proof.period() - 3)),
        headers(WHO | {USER_ID_HEADER: str(uuid.UUID(int=2))}, signed()),
        headers(WHO | {ROLE_HEADER: "operator"}, signed()),
        headers(WHO | {SESSION_HEADER: "session-2"}, signed()),
        headers({USER_ID_HEADER: WHO[USER_ID_HEADER]}, signed()),
        [*headers(WHO, signed()), (USER_ID_HEADER.encode(), str(uuid.UUID(int=2)).encode())],
        headers(WHO, proof.of_caller(SECRET, "eco2.users.v1.UsersService", proof.period())),
    ],
    ids=["none", "empty", "garbage", "key", "old", "user", "role", "session", "fewer", "twice", "of a call"],
)
def test_without_a_proof_of_exactly_these_values_nobody_is_signed_in(given: RawHeaders) -> None:
    assert without_unproven_identity(SECRET, given) == OTHER


def test_an_old_proof_is_not_remembered_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    given, now = headers(WHO, signed()), time.time()
    assert without_unproven_identity(SECRET, given) == given
    monkeypatch.setattr("eco2.core.proof.time.time", lambda: now + proof.VALID_SECONDS + 1)
    assert without_unproven_identity(SECRET, given) == OTHER


def test_requests_of_nobody_pass_as_they_are() -> None:
    assert without_unproven_identity(SECRET, OTHER) == OTHER
