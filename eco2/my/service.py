"""Users: sign-in, profile and deletion."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import get_args
from uuid import UUID, uuid4

from eco2.contracts.identity import Provider, is_guest
from eco2.core import names
from eco2.core.errors import AppError, BadRequest, NotFound
from eco2.core.postgres import Session
from eco2.knowledge.districts import Districts, UnknownDistrict
from eco2.my import store
from eco2.my.messages import Claim, Left, Preferred, Purge, SignedUp
from eco2.my.store import Account, Json, SocialAccount

NICKNAME_LENGTH = 120
EMAIL_LENGTH = 320
PROVIDER_ID_LENGTH = 255
URL_LENGTH = 2000
MOST_GUEST_SECONDS = 24 * 3600
REMINDERS = "recycling-api"
"""The service that reminds of collection days; all that it keeps of a user are reminders."""
CLAIM_AFTER = (timedelta(0), timedelta(minutes=2))
"""A claim, and another one when requests of the guest and its running scans have ended."""


class InvalidProvider(BadRequest):
    """The provider is none of google, kakao, naver."""

    code = "INVALID_PROVIDER"


class InvalidProfile(BadRequest):
    """The provider's id of the person is missing or too long."""

    code = "INVALID_PROFILE"


class UserNotFound(NotFound):
    """There is no such user; sign in again."""

    code = "USER_NOT_FOUND"


class NoChanges(AppError):
    """Say what to change: nickname, phone_number."""

    status = 422
    code = "NO_CHANGES_PROVIDED"


class DistrictUnknown(AppError):
    """There is no such district; name one of GET /api/v1/character/districts, such as 서울특별시 금천구."""

    status = 422
    code = "UNKNOWN_DISTRICT"


class BadPhoneNumber(AppError):
    """A mobile number has 11 digits and starts with 010, such as 01012345678; hyphens and +82 are understood."""

    status = 422
    code = "INVALID_PHONE_NUMBER"


class NicknameRefused(BadRequest):
    """Choose a readable nickname without invisible characters that does not look like a name of staff."""

    status = 422
    code = "INVALID_NICKNAME"


_SEPARATORS = re.compile(r"[\s().-]+", re.ASCII)
_MOBILE = re.compile(r"01[016789][0-9]{8}")


def checked_provider(provider: str) -> str:
    if provider not in get_args(Provider):
        raise InvalidProvider
    return provider


async def sign_in(
    db: Session,
    provider: str,
    provider_user_id: str,
    email: str | None,
    nickname: str | None,
    profile_image_url: str | None,
    guest: UUID | None = None,
    keepers: Sequence[str] = (),
) -> tuple[Account, SocialAccount, bool]:
    """(account, social account, True if they are new). `guest`: the guest who signs in, with data at `keepers`.

    What a provider tells beside its id of the person is taken as far as it fits.
    """
    provider_user_id = provider_user_id.strip()
    if not 0 < len(provider_user_id) <= PROVIDER_ID_LENGTH or "\0" in provider_user_id:
        raise InvalidProfile
    email, image = _fitting(email, EMAIL_LENGTH), _fitting(profile_image_url, URL_LENGTH)
    new_ids = (uuid4(), uuid4())
    social = await store.sign_in(db, new_ids, checked_provider(provider), provider_user_id, email)
    if social.user_id != new_ids[1]:
        await claim(db, guest, social.user_id, keepers)
        return await store.returned(db, social.user_id, image), social, False
    name = _given_name(nickname) or default_nickname(social.user_id)
    account = await store.add(db, social.user_id, name, email, image)
    await store.tell(db, account.id, SignedUp(earned_at=datetime.now(UTC)))
    if await claim(db, guest, account.id, keepers) and guest and await store.take_preferences(db, guest, account.id):
        await store.tell(db, account.id, Preferred())
    return account, social, True


async def claim(db: Session, guest: UUID | None, user: UUID, keepers: Sequence[str]) -> bool:
    """Have all that is kept of the guest become the user's; False where somebody else has claimed it, or nobody can.

    Told twice: what the guest had begun may have been stored after the first claim. What comes later still is claimed
    when the time of the guest is over.
    """
    if guest is None or not await store.claim_guest(db, guest, user):
        return False
    for after in CLAIM_AFTER:
        for name in keepers:
            await store.tell(db, guest, Claim(service=name), after)
    return True


class BadTime(BadRequest):
    """The session of a guest lasts a second to a day."""

    code = "INVALID_TIME"


class NoGuest(BadRequest):
    """This is no id of a guest."""

    code = "INVALID_USER_ID"


async def open_guest(db: Session, user: UUID, seconds: int) -> None:
    """Make the account of a guest: it has no characters, and goes when its time is over. BadTime, NoGuest."""
    if not is_guest(user):
        raise NoGuest
    if not 0 < seconds <= MOST_GUEST_SECONDS:
        raise BadTime
    await store.add_guest(db, user, default_nickname(user), timedelta(seconds=seconds))


def _given_name(nickname: str | None) -> str | None:
    """The name that a provider tells, as far as it could have been chosen here."""
    name = names.cleaned((nickname or "").replace("\0", ""))[:NICKNAME_LENGTH].strip()
    return name if names.is_visible(name) and not names.is_staff(name) else None


def checked_nickname(text: str) -> str:
    """NicknameRefused."""
    name = names.cleaned(text)
    hidden = len(name) < len(" ".join(unicodedata.normalize("NFC", text).split()))
    if hidden or not names.is_visible(name) or names.is_staff(name):
        raise NicknameRefused
    return name


def default_nickname(user: UUID) -> str:
    return f"이코친구 {user.hex[:4]}"


def _fitting(text: str | None, length: int) -> str | None:
    """The text as it can be stored; None when nothing is left, or when it would have to be cut."""
    text = (text or "").replace("\0", "").strip()
    return text if 0 < len(text) <= length else None


def phone_number(text: str) -> str:
    """The 11 bare digits of a Korean mobile number. BadPhoneNumber."""
    digits = _SEPARATORS.sub("", text)
    if digits.startswith("+82"):
        digits = "0" + digits.removeprefix("+82").removeprefix("0")
    if not _MOBILE.fullmatch(digits):
        raise BadPhoneNumber
    return digits


async def find(db: Session, user: UUID) -> Account:
    return _known(await store.find(db, user))


def _known(account: Account | None) -> Account:
    if account is None:
        raise UserNotFound
    return account


async def provider_of(db: Session, user: UUID, current: str | None) -> str:
    """The provider of the current session, or else the one that the user signed in with last."""
    if current:
        return current
    known = await store.social_accounts_of(db, user)
    return known[0].provider if known else "unknown"


async def change(db: Session, user: UUID, changes: Json) -> Account:
    """Change nickname, phone number (None removes it) or both.

    Nobody proves that a number is theirs, so several accounts may name the same one: a refusal would tell strangers
    which numbers have an account."""
    if not changes:
        raise NoChanges
    if "nickname" in changes:
        changes = {**changes, "nickname": checked_nickname(changes["nickname"])}
    if changes.get("phone_number") is not None:
        changes = {**changes, "phone_number": phone_number(changes["phone_number"])}
    return _known(await store.change(db, user, changes))


async def prefer(db: Session, districts: Districts, user: UUID, changes: Json) -> Account:
    """Change language, district (None: nowhere) or both; those who answer by them are told after the commit.

    DistrictUnknown, NoChanges, UserNotFound."""
    if not changes:
        raise NoChanges("Say what to change: language, district.")
    if changes.get("district") is not None:
        changes = {**changes, "district": named(districts, changes["district"])}
    account = _known(await store.prefer(db, user, changes))
    await store.tell(db, user, Preferred())
    return account


def named(districts: Districts, text: str) -> str:
    """The full name of a district. DistrictUnknown."""
    try:
        return districts.named(text)
    except UnknownDistrict as error:
        raise DistrictUnknown(str(error)) from None


async def leave(db: Session, user: UUID, services: Collection[str] = ()) -> None:
    """Delete the account. Its sessions and reminders end after the commit; its other data goes when the time to come
    back is over. `services` are those that keep data of users."""
    deleted_at = await store.delete_account(db, user)
    if deleted_at is None:
        raise UserNotFound
    await store.tell(db, user, Left(issued_before=deleted_at))
    if REMINDERS in services:
        await store.tell(db, user, Purge(service=REMINDERS))
