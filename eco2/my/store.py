"""Every SQL statement of the users service."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from eco2.core.postgres import Session
from eco2.my.messages import Body

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


_ACCOUNT: LiteralString = """id, nickname, name, email, phone_number, profile_image_url, district, language,
    preferences_version, created_at, updated_at, last_login_at"""
_SOCIAL: LiteralString = "id, user_id, provider, provider_user_id, email, created_at, last_login_at"


async def sign_in(
    db: Session, new_ids: tuple[UUID, UUID], provider: str, provider_user_id: str, email: str | None
) -> SocialAccount:
    """The social account, made for the account `new_ids[1]` when it is unknown. Of two at once the second one waits."""
    row = await db.row(
        f"""INSERT INTO users.social_accounts AS known (id, user_id, provider, provider_user_id, email, last_login_at)
            VALUES (%(id)s, %(user)s, %(provider)s, %(provider_user_id)s, %(email)s, now())
            ON CONFLICT (provider, provider_user_id)
            DO UPDATE SET email = coalesce(excluded.email, known.email), last_login_at = now()
            RETURNING {_SOCIAL}""",
        id=new_ids[0],
        user=new_ids[1],
        provider=provider,
        provider_user_id=provider_user_id,
        email=email,
    )
    assert row is not None
    return SocialAccount(*row)


async def add(db: Session, user: UUID, nickname: str, email: str | None, profile_image_url: str | None) -> Account:
    row = await db.row(
        f"""INSERT INTO users.accounts (id, nickname, email, profile_image_url, last_login_at)
            VALUES (%(user)s, %(nickname)s, %(email)s, %(image)s, now()) RETURNING {_ACCOUNT}""",
        user=user,
        nickname=nickname,
        email=email,
        image=profile_image_url,
    )
    assert row is not None
    return Account(*row)


async def add_guest(db: Session, user: UUID, nickname: str, lasts: timedelta) -> None:
    """Repeated: the first one stays."""
    await db.run(
        """INSERT INTO users.accounts (id, nickname, guest_until) VALUES (%(user)s, %(nickname)s, now() + %(lasts)s)
           ON CONFLICT (id) DO NOTHING""",
        user=user,
        nickname=nickname,
        lasts=lasts,
    )


async def claim_guest(db: Session, guest: UUID, user: UUID) -> bool:
    """Note as whom the guest has signed in, once; True for that user, False where there is no such guest any more."""
    return bool(
        await db.run(
            """UPDATE users.accounts SET claimed_by = %(user)s
               WHERE id = %(guest)s AND guest_until IS NOT NULL AND purge_started_at IS NULL
               AND (claimed_by IS NULL OR claimed_by = %(user)s)""",
            guest=guest,
            user=user,
        )
    )


async def claimed_by(db: Session, guest: UUID) -> UUID | None:
    row = await db.row("SELECT claimed_by FROM users.accounts WHERE id = %(guest)s", guest=guest)
    return row[0] if row else None


async def take_preferences(db: Session, guest: UUID, user: UUID) -> bool:
    """Give a new user the language and the district of the guest; False where the guest has told neither."""
    return bool(
        await db.run(
            """UPDATE users.accounts AS own
               SET language = guest.language, district = guest.district, preferences_version = 1
               FROM users.accounts AS guest
               WHERE own.id = %(user)s AND guest.id = %(guest)s AND guest.preferences_version > 0""",
            guest=guest,
            user=user,
        )
    )


async def returned(db: Session, user: UUID, profile_image_url: str | None) -> Account:
    """Note that the user signed in again; a deleted account lives on."""
    row = await db.row(
        f"""UPDATE users.accounts SET last_login_at = now(), deleted_at = NULL,
                profile_image_url = coalesce(%(image)s, profile_image_url)
            WHERE id = %(user)s RETURNING {_ACCOUNT}""",
        user=user,
        image=profile_image_url,
    )
    assert row is not None
    return Account(*row)


async def find(db: Session, user: UUID) -> Account | None:
    row = await db.row(f"SELECT {_ACCOUNT} FROM users.accounts WHERE id = %(user)s AND deleted_at IS NULL", user=user)
    return Account(*row) if row else None


async def logged_in(db: Session, user: UUID, provider: str, provider_user_id: str) -> bool:
    """Note the time on both accounts; False when there is no such pair."""
    sql: LiteralString = "UPDATE users.accounts SET last_login_at = now() WHERE id = %(user)s AND deleted_at IS NULL"
    if not await db.run(sql, user=user):
        return False
    noted = await db.run(
        """UPDATE users.social_accounts SET last_login_at = now()
           WHERE user_id = %(user)s AND provider = %(provider)s AND provider_user_id = %(provider_user_id)s""",
        user=user,
        provider=provider,
        provider_user_id=provider_user_id,
    )
    return noted > 0


async def social_accounts_of(db: Session, user: UUID) -> list[SocialAccount]:
    """Those the user signs in with, the one used last first."""
    rows = await db.rows(
        f"""SELECT {_SOCIAL} FROM users.social_accounts WHERE user_id = %(user)s
            ORDER BY last_login_at DESC NULLS LAST, id""",
        user=user,
    )
    return [SocialAccount(*row) for row in rows]


_CHANGES: dict[str, LiteralString] = {
    "nickname": "nickname = %(nickname)s",
    "phone_number": "phone_number = %(phone_number)s",
    "language": "language = %(language)s",
    "district": "district = %(district)s",
}


async def change(db: Session, user: UUID, values: Json, *also: LiteralString) -> Account | None:
    """The account with these columns changed; None when there is none."""
    changes: LiteralString = ", ".join([*(_CHANGES[name] for name in values), *also])
    row = await db.row(
        f"""UPDATE users.accounts SET {changes}, updated_at = now()
            WHERE id = %(user)s AND deleted_at IS NULL RETURNING {_ACCOUNT}""",
        user=user,
        **values,
    )
    return Account(*row) if row else None


async def prefer(db: Session, user: UUID, values: Json) -> Account | None:
    return await change(db, user, values, "preferences_version = preferences_version + 1")


async def delete_account(db: Session, user: UUID) -> datetime | None:
    """When it was deleted, by the database's clock. The phone number is forgotten; it can be entered again."""
    row = await db.row(
        """UPDATE users.accounts SET deleted_at = now(), updated_at = now(), phone_number = NULL
           WHERE id = %(user)s AND deleted_at IS NULL RETURNING deleted_at""",
        user=user,
    )
    return row[0] if row else None


# --- purge ------------------------------------------------------------------------------------------------------------


GUEST_MARGIN = timedelta(minutes=10)
"""Time after a guest's session in which its last data may still arrive at a service."""


async def start_purge(db: Session, older: timedelta, limit: int) -> list[UUID]:
    """The accounts whose time is over, from now on without a way back: their social accounts are gone.

    The social accounts are locked first, as a sign-in does: who signs in at this moment is in time or too late. What
    others have not been told yet about the account they need not know any more.
    """
    over: LiteralString = "(deleted_at < now() - %(older)s OR guest_until < now() - %(margin)s)"
    due: LiteralString = f"{over} AND purge_started_at IS NULL"
    found = await db.rows(
        f"SELECT id FROM users.accounts WHERE {due} ORDER BY coalesce(deleted_at, guest_until) LIMIT %(limit)s",
        older=older,
        margin=GUEST_MARGIN,
        limit=limit,
    )
    ids = [row[0] for row in found]
    await db.rows("SELECT id FROM users.social_accounts WHERE user_id = ANY(%(ids)s) ORDER BY id FOR UPDATE", ids=ids)
    started = await db.rows(
        f"UPDATE users.accounts SET purge_started_at = now() WHERE id = ANY(%(ids)s) AND {due} RETURNING id",
        ids=ids,
        older=older,
        margin=GUEST_MARGIN,
    )
    users = [row[0] for row in started]
    # What a guest left goes with the guest when its user is gone.
    await db.run("UPDATE users.accounts SET claimed_by = NULL WHERE claimed_by = ANY(%(users)s)", users=users)
    await db.run("DELETE FROM users.social_accounts WHERE user_id = ANY(%(users)s)", users=users)
    await db.run("DELETE FROM users.outbox WHERE user_id = ANY(%(users)s)", users=users)
    return users


async def drop_purged(db: Session) -> list[UUID]:
    """Remove the accounts whose deletion every service knows."""
    rows = await db.rows(
        """DELETE FROM users.accounts WHERE purge_started_at IS NOT NULL
           AND NOT EXISTS (SELECT FROM users.outbox WHERE outbox.user_id = accounts.id) RETURNING id"""
    )
    return [row[0] for row in rows]


# --- outbox -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OutboxMessage:
    """A row of `users.outbox`; `attempts` counts this one. `body`: the stored form of a `eco2.my.messages.Body`."""

    id: int
    user_id: UUID
    kind: str
    body: Json
    attempts: int


async def tell(db: Session, user: UUID, body: Body, after: timedelta = timedelta(0)) -> None:
    """Have it delivered once this transaction is committed, and a while later."""
    sql: LiteralString = """INSERT INTO users.outbox (user_id, kind, body, due_at)
        VALUES (%(user)s, %(kind)s, %(body)s, now() + %(after)s)"""
    await db.run(sql, user=user, kind=body.kind, body=Jsonb(body.model_dump(mode="json")), after=after)


async def take_messages(db: Session, kind: str, lease: timedelta, limit: int) -> list[OutboxMessage]:
    """Messages to deliver now. Who takes them has the time of `lease`; then they are another's to deliver."""
    rows = await db.rows(
        """UPDATE users.outbox SET due_at = now() + %(lease)s, attempts = attempts + 1
           WHERE id IN (
               SELECT id FROM users.outbox WHERE kind = %(kind)s AND due_at <= now()
               ORDER BY due_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
           RETURNING id, user_id, kind, body, attempts""",
        kind=kind,
        lease=lease,
        limit=limit,
    )
    return [OutboxMessage(*row) for row in rows]


async def oldest_message(db: Session) -> float:
    """Age in seconds of the oldest message that is not delivered; 0 without one."""
    row = await db.row("SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM users.outbox")
    return float(row[0]) if row else 0.0


async def delivered(db: Session, message: int) -> None:
    await db.run("DELETE FROM users.outbox WHERE id = %(id)s", id=message)


async def postpone(db: Session, message: int, pause: timedelta) -> None:
    await db.run("UPDATE users.outbox SET due_at = now() + %(pause)s WHERE id = %(id)s", id=message, pause=pause)


async def preferences(db: Session, user: UUID) -> tuple[int, str, str | None] | None:
    """(version, language, district) as they are now, also of an account that is deleted."""
    row = await db.row(
        "SELECT preferences_version, language, district FROM users.accounts WHERE id = %(user)s", user=user
    )
    return (row[0], row[1], row[2]) if row else None
