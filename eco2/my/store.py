"""Every SQL statement of the users service."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from eco2.my.tables import accounts, outbox, social_accounts

Json = dict[str, Any]


@dataclass(frozen=True)
class Account:
    """A row of `users.accounts` that is not deleted."""

    id: UUID
    nickname: str | None
    name: str | None
    email: str | None
    phone_number: str | None
    profile_image_url: str | None
    district: str | None
    language: str
    preferences_version: int
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True)
class SocialAccount:
    id: UUID
    user_id: UUID
    provider: str
    provider_user_id: str
    email: str | None
    created_at: datetime
    last_login_at: datetime | None


_ACCOUNT = [accounts.c[name] for name in Account.__dataclass_fields__]
_SOCIAL = [social_accounts.c[name] for name in SocialAccount.__dataclass_fields__]
_LIVE = accounts.c.deleted_at.is_(None)


async def sign_in(
    tx: AsyncConnection, new_ids: tuple[UUID, UUID], provider: str, provider_user_id: str, email: str | None
) -> SocialAccount:
    """The social account, made for the account `new_ids[1]` when it is unknown. Of two at once the second one waits."""
    social_id, user_id = new_ids
    row = {"id": social_id, "user_id": user_id, "provider": provider, "provider_user_id": provider_user_id}
    statement = upsert(social_accounts).values({**row, "email": email, "last_login_at": func.now()})
    statement = statement.on_conflict_do_update(
        index_elements=[social_accounts.c.provider, social_accounts.c.provider_user_id],
        set_={
            "email": func.coalesce(statement.excluded.email, social_accounts.c.email),
            "last_login_at": func.now(),
        },
    )
    return SocialAccount(*(await tx.execute(statement.returning(*_SOCIAL))).one())


async def add(
    tx: AsyncConnection, user: UUID, nickname: str, email: str | None, profile_image_url: str | None
) -> Account:
    row = {"id": user, "nickname": nickname, "email": email, "profile_image_url": profile_image_url}
    statement = insert(accounts).values({**row, "last_login_at": func.now()}).returning(*_ACCOUNT)
    return Account(*(await tx.execute(statement)).one())


async def returned(tx: AsyncConnection, user: UUID, profile_image_url: str | None) -> Account:
    """Note that the user signed in again; a deleted account lives on."""
    values: Json = {"last_login_at": func.now(), "deleted_at": None}
    if profile_image_url is not None:
        values["profile_image_url"] = profile_image_url
    statement = update(accounts).where(accounts.c.id == user).values(values).returning(*_ACCOUNT)
    return Account(*(await tx.execute(statement)).one())


async def find(tx: AsyncConnection, user: UUID) -> Account | None:
    row = (await tx.execute(select(*_ACCOUNT).where(accounts.c.id == user, _LIVE))).one_or_none()
    return Account(*row) if row else None


async def logged_in(tx: AsyncConnection, user: UUID, provider: str, provider_user_id: str) -> bool:
    """Note the time on both accounts; False when there is no such pair."""
    found = (accounts.c.id == user, _LIVE)
    done = await tx.execute(update(accounts).where(*found).values(last_login_at=func.now()).returning(accounts.c.id))
    if done.one_or_none() is None:
        return False
    pair = (
        social_accounts.c.user_id == user,
        social_accounts.c.provider == provider,
        social_accounts.c.provider_user_id == provider_user_id,
    )
    statement = update(social_accounts).where(*pair).values(last_login_at=func.now()).returning(social_accounts.c.id)
    return (await tx.execute(statement)).one_or_none() is not None


# --- outbox -----------------------------------------------------------------------------------------------------------


async def tell(tx: AsyncConnection, user: UUID, kind: str, body: Json) -> None:
    """Have it delivered once this transaction is committed."""
    await tx.execute(insert(outbox).values(user_id=user, kind=kind, body=body))
