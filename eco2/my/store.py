"""Every SQL statement of the users service."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
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


async def social_accounts_of(tx: AsyncConnection, user: UUID) -> list[SocialAccount]:
    """Those the user signs in with, the one used last first."""
    statement = select(*_SOCIAL).where(social_accounts.c.user_id == user)
    ordered = statement.order_by(social_accounts.c.last_login_at.desc().nulls_last(), social_accounts.c.id)
    return [SocialAccount(*row) for row in await tx.execute(ordered)]


async def change(tx: AsyncConnection, user: UUID, values: Json) -> Account | None:
    """The account with these columns changed; None when there is none."""
    statement = update(accounts).where(accounts.c.id == user, _LIVE).values({**values, "updated_at": func.now()})
    row = (await tx.execute(statement.returning(*_ACCOUNT))).one_or_none()
    return Account(*row) if row else None


async def prefer(tx: AsyncConnection, user: UUID, values: Json) -> Account | None:
    return await change(tx, user, {**values, "preferences_version": accounts.c.preferences_version + 1})


async def delete_account(tx: AsyncConnection, user: UUID) -> datetime | None:
    """When it was deleted, by the database's clock. The phone number is forgotten; it can be entered again."""
    values = {"deleted_at": func.now(), "updated_at": func.now(), "phone_number": None}
    statement = update(accounts).where(accounts.c.id == user, _LIVE).values(values).returning(accounts.c.deleted_at)
    found: datetime | None = (await tx.execute(statement)).scalar_one_or_none()
    return found


# --- purge ------------------------------------------------------------------------------------------------------------


async def start_purge(tx: AsyncConnection, older: timedelta, limit: int) -> list[UUID]:
    """The accounts whose time is over, from now on without a way back: their social accounts are gone.

    The social accounts are locked first, as a sign-in does: who signs in at this moment is in time or too late. What
    others have not been told yet about the account they need not know any more.
    """
    due = (accounts.c.deleted_at < func.now() - older, accounts.c.purge_started_at.is_(None))
    found = select(accounts.c.id).where(*due).order_by(accounts.c.deleted_at).limit(limit)
    ids = (await tx.execute(found)).scalars().all()
    theirs = social_accounts.c.user_id.in_(ids)
    await tx.execute(select(social_accounts.c.id).where(theirs).order_by(social_accounts.c.id).with_for_update())
    started = update(accounts).where(accounts.c.id.in_(ids), *due).values(purge_started_at=func.now())
    users = (await tx.execute(started.returning(accounts.c.id))).scalars().all()
    for table in (social_accounts, outbox):
        await tx.execute(delete(table).where(table.c.user_id.in_(users)))
    return list(users)


async def drop_purged(tx: AsyncConnection) -> list[UUID]:
    """Remove the accounts of which nobody has to be told any more."""
    waiting = select(outbox.c.id).where(outbox.c.user_id == accounts.c.id).exists()
    statement = delete(accounts).where(accounts.c.purge_started_at.is_not(None), ~waiting).returning(accounts.c.id)
    return list((await tx.execute(statement)).scalars().all())


# --- outbox -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OutboxMessage:
    """A row of `users.outbox`; `attempts` counts this one."""

    id: int
    user_id: UUID
    kind: str
    body: Json
    attempts: int


async def tell(tx: AsyncConnection, user: UUID, kind: str, body: Json) -> None:
    """Have it delivered once this transaction is committed."""
    await tx.execute(insert(outbox).values(user_id=user, kind=kind, body=body))


async def take_messages(tx: AsyncConnection, kind: str, lease: timedelta, limit: int) -> list[OutboxMessage]:
    """Letters to deliver now. Who takes them has the time of `lease`; then they are another's to deliver."""
    found = (outbox.c.kind == kind, outbox.c.due_at <= func.now())
    due = select(outbox.c.id).where(*found).order_by(outbox.c.due_at, outbox.c.id).limit(limit)
    statement = update(outbox).where(outbox.c.id.in_(due.with_for_update(skip_locked=True)))
    taken = statement.values(due_at=func.now() + lease, attempts=outbox.c.attempts + 1)
    columns = [outbox.c[name] for name in OutboxMessage.__dataclass_fields__]
    return [OutboxMessage(*row) for row in await tx.execute(taken.returning(*columns))]


async def oldest_message(tx: AsyncConnection) -> float:
    """Age in seconds of the oldest message that is not delivered; 0 without one."""
    age = func.extract("epoch", func.now() - func.min(outbox.c.created_at))
    return float((await tx.execute(select(func.coalesce(age, 0)))).scalar_one())


async def delivered(tx: AsyncConnection, message: int) -> None:
    await tx.execute(delete(outbox).where(outbox.c.id == message))


async def postpone(tx: AsyncConnection, message: int, pause: timedelta) -> None:
    await tx.execute(update(outbox).where(outbox.c.id == message).values(due_at=func.now() + pause))


async def preferences(tx: AsyncConnection, user: UUID) -> tuple[int, str, str | None] | None:
    """(version, language, district) as they are now, also of an account that is deleted."""
    columns = (accounts.c.preferences_version, accounts.c.language, accounts.c.district)
    row = (await tx.execute(select(*columns).where(accounts.c.id == user))).one_or_none()
    return (row[0], row[1], row[2]) if row else None
