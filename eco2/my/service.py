"""People: who signed in, what they tell about themselves, and how they leave."""

from typing import get_args
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from eco2.contracts.identity import Provider
from eco2.core.errors import BadRequest
from eco2.my import store
from eco2.my.store import Account, SocialAccount

NICKNAME_LENGTH = 120
EMAIL_LENGTH = 320
PROVIDER_ID_LENGTH = 255
URL_LENGTH = 2000


class InvalidProvider(BadRequest):
    """The provider is none of google, kakao, naver."""

    code = "INVALID_PROVIDER"


class InvalidProfile(BadRequest):
    """The provider's id of the person is missing or too long."""

    code = "INVALID_PROFILE"


def checked_provider(provider: str) -> str:
    if provider not in get_args(Provider):
        raise InvalidProvider
    return provider


async def sign_in(
    tx: AsyncConnection,
    provider: str,
    provider_user_id: str,
    email: str | None,
    nickname: str | None,
    profile_image_url: str | None,
) -> tuple[Account, SocialAccount, bool]:
    """(account, social account, whether they are new).

    What a provider tells beside its id of the person is taken as far as it fits.
    """
    provider_user_id = provider_user_id.strip()
    if not 0 < len(provider_user_id) <= PROVIDER_ID_LENGTH or "\0" in provider_user_id:
        raise InvalidProfile
    email, image = _fitting(email, EMAIL_LENGTH), _fitting(profile_image_url, URL_LENGTH)
    new_ids = (uuid4(), uuid4())
    social = await store.sign_in(tx, new_ids, checked_provider(provider), provider_user_id, email)
    if social.user_id != new_ids[1]:
        return await store.returned(tx, social.user_id, image), social, False
    name = _fitting((nickname or "")[:NICKNAME_LENGTH], NICKNAME_LENGTH) or f"이코친구 {social.user_id.hex[:4]}"
    account = await store.add(tx, social.user_id, name, email, image)
    return account, social, True


def _fitting(text: str | None, length: int) -> str | None:
    """The text as it can be stored; None when nothing is left, or when it would have to be cut."""
    text = (text or "").replace("\0", "").strip()
    return text if 0 < len(text) <= length else None
