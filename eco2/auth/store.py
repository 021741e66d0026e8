"""Every SQL statement and every Redis key of auth-api.

Times are those of the database and of the Redis server: the clocks of the auth-api processes decide nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString, cast
from uuid import UUID

import orjson
from psycopg.types.json import Jsonb
from redis.asyncio import Redis

from eco2.contracts.revocations import COMPLETE_KEY, DENIED_STREAM, Revocation
from eco2.core.postgres import Session as Db
from eco2.core.postgres import Transaction
from eco2.core.stored import Reader

WINDOW_SECONDS = 60
_STATE = "auth:state:{}"
_OUTCOME = "auth:outcome:{}"
_BROWSER = "auth:browser:{}"
_GRANT = "auth:grant:{}"
_LIMIT = "auth:limit:{}:{}"
_CLAIMED = "claimed"


# Sessions


@dataclass(frozen=True)
class Session:
    """One sign-in on one device: the family of all its tokens. `replaced`: [[refresh id, epoch seconds], …]."""

    id: UUID
    user_id: UUID
    provider: str
    role: str
    device_id: str | None
    user_agent: str | None
    ip: str | None
    created_at: datetime
    refresh_id: UUID
    refreshed_at: datetime
    replaced: list[list[Any]]
    revoked_at: datetime | None


@dataclass(frozen=True)
class Origin:
    """Origin of a sign-in, as it is kept."""

    ip: str | None = None
    user_agent: str | None = None


NOWHERE = Origin()

_NOW: LiteralString = "date_trunc('second', clock_timestamp())"
"""Whole seconds, as tokens have them: the pair of a session can then be made again, byte by byte. Not the beginning of
the transaction: it may have waited for a lock since."""

_SESSION: LiteralString = """id, user_id, provider, role, device_id, user_agent, ip, created_at, refresh_id,
    refreshed_at, replaced, revoked_at"""


async def add_session(
    db: Db,
    *,
    session_id: UUID,
    user_id: UUID,
    provider: str,
    role: str,
    refresh_id: UUID,
    device_id: str | None = None,
    origin: Origin = NOWHERE,
) -> Session | None:
    """None where there is a session of this id."""
    row = await db.row(
        f"""INSERT INTO auth.sessions (id, user_id, provider, role, device_id, user_agent, ip, refresh_id, refreshed_at,
                replaced)
            VALUES (%(id)s, %(user_id)s, %(provider)s, %(role)s, %(device_id)s, %(user_agent)s, %(ip)s, %(refresh_id)s,
                {_NOW}, '[]')
            ON CONFLICT DO NOTHING RETURNING {_SESSION}""",
        id=session_id,
        user_id=user_id,
        provider=provider,
        role=role,
        device_id=device_id,
        user_agent=origin.user_agent,
        ip=origin.ip,
        refresh_id=refresh_id,
    )
    return Session(*row) if row else None


async def now(db: Db) -> datetime:
    row = await db.row(f"SELECT {_NOW}")
    assert row is not None
    return cast(datetime, row[0])


async def session(db: Db, session: UUID) -> Session | None:
    row = await db.row(f"SELECT {_SESSION} FROM auth.sessions WHERE id = %(id)s", id=session)
    return Session(*row) if row else None


async def lock_session(tx: Transaction, session: UUID) -> Session | None:
    """The row, locked until the transaction ends."""
    row = await tx.row(f"SELECT {_SESSION} FROM auth.sessions WHERE id = %(id)s FOR UPDATE", id=session)
    return Session(*row) if row else None


async def rotate(
    db: Db, session: UUID, refresh_id: UUID, refreshed_at: datetime, replaced: Sequence[Sequence[Any]]
) -> None:
    await db.run(
        """UPDATE auth.sessions
           SET refresh_id = %(refresh_id)s, refreshed_at = %(refreshed_at)s, replaced = %(replaced)s
           WHERE id = %(id)s""",
        id=session,
        refresh_id=refresh_id,
        refreshed_at=refreshed_at,
        replaced=Jsonb([list(row) for row in replaced]),
    )


async def sessions_of(db: Db, user: UUID, life: timedelta) -> list[Session]:
    """Those that can still be refreshed, the newest use first."""
    rows = await db.rows(
        f"""SELECT {_SESSION} FROM auth.sessions
            WHERE user_id = %(user)s AND revoked_at IS NULL AND refreshed_at > now() - %(life)s
            ORDER BY refreshed_at DESC""",
        user=user,
        life=life,
    )
    return [Session(*row) for row in rows]


async def end_sessions(db: Db, user: UUID, reason: str, ids: Sequence[UUID]) -> None:
    await db.run(
        """UPDATE auth.sessions SET revoked_at = now(), revoked_for = %(reason)s
           WHERE user_id = %(user)s AND id = ANY(%(ids)s) AND revoked_at IS NULL""",
        user=user,
        reason=reason,
        ids=list(ids),
    )


async def forget_old(db: Db, session_life: timedelta, audit_life: timedelta) -> None:
    """Deletes what no token can refer to any more."""
    await db.run("DELETE FROM auth.sessions WHERE refreshed_at < now() - %(life)s", life=session_life)
    await db.run(
        """DELETE FROM auth.revocations
           WHERE until < now() AND denied_at IS NOT NULL AND published_at IS NOT NULL"""
    )
    await db.run("DELETE FROM auth.login_audits WHERE created_at < now() - %(life)s", life=audit_life)


async def audit(
    db: Db,
    *,
    audit_id: UUID,
    provider: str,
    outcome: str,
    origin: Origin,
    user_id: UUID | None = None,
    session_id: UUID | None = None,
) -> None:
    await db.run(
        """INSERT INTO auth.login_audits (id, provider, outcome, user_id, session_id, ip, user_agent)
           VALUES (%(id)s, %(provider)s, %(outcome)s, %(user_id)s, %(session_id)s, %(ip)s, %(user_agent)s)
           ON CONFLICT (id) DO NOTHING""",
        id=audit_id,
        provider=provider,
        outcome=outcome,
        user_id=user_id,
        session_id=session_id,
        ip=origin.ip,
        user_agent=origin.user_agent,
    )


_DEVICE: LiteralString = "id, provider, device_id, user_agent, ip, created_at, refreshed_at, revoked_at"
_AUDIT: LiteralString = "id, provider, outcome, ip, user_agent, created_at"


async def sign_ins_of(db: Db, user: UUID) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(sessions, audited sign-ins) of a user, oldest first, over or not."""
    held = await db.rows(f"SELECT {_DEVICE} FROM auth.sessions WHERE user_id = %(user)s ORDER BY created_at", user=user)
    audited = await db.rows(
        f"SELECT {_AUDIT} FROM auth.login_audits WHERE user_id = %(user)s ORDER BY created_at", user=user
    )
    return (
        [dict(zip(_DEVICE.split(", "), row, strict=True)) for row in held],
        [dict(zip(_AUDIT.split(", "), row, strict=True)) for row in audited],
    )


async def forget(db: Db, user: UUID) -> int:
    """Remove role, sessions and audits of a user; returns how many rows. Revocations go when their tokens have run
    out."""
    removed = await db.run("DELETE FROM auth.roles WHERE user_id = %(user)s", user=user)
    removed += await db.run("DELETE FROM auth.sessions WHERE user_id = %(user)s", user=user)
    return removed + await db.run("DELETE FROM auth.login_audits WHERE user_id = %(user)s", user=user)


# Roles


@dataclass(frozen=True)
class Granted:
    user_id: UUID
    role: str
    granted_by: str
    granted_at: datetime


async def role_of(tx: Transaction, user: UUID) -> str:
    """Kept from being withdrawn until the transaction ends."""
    row = await tx.row("SELECT role FROM auth.roles WHERE user_id = %(user)s FOR SHARE", user=user)
    return str(row[0]) if row else "citizen"


async def grant_role(tx: Transaction, user: UUID, role: str, by: str) -> None:
    """Sessions that are open get it with their next refresh."""
    await tx.run(
        """INSERT INTO auth.roles (user_id, role, granted_by) VALUES (%(user)s, %(role)s, %(by)s)
           ON CONFLICT (user_id) DO UPDATE SET role = excluded.role, granted_by = excluded.granted_by,
               granted_at = now()""",
        user=user,
        role=role,
        by=by,
    )
    await tx.run(
        "UPDATE auth.sessions SET role = %(role)s WHERE user_id = %(user)s AND revoked_at IS NULL", user=user, role=role
    )


async def withdraw_role(tx: Transaction, user: UUID) -> list[UUID] | None:
    """The sessions that have it; None where the user had none."""
    if not await tx.run("DELETE FROM auth.roles WHERE user_id = %(user)s", user=user):
        return None
    rows = await tx.rows("SELECT id FROM auth.sessions WHERE user_id = %(user)s AND revoked_at IS NULL", user=user)
    return [row[0] for row in rows]


async def roles(db: Db) -> list[Granted]:
    rows = await db.rows("SELECT user_id, role, granted_by, granted_at FROM auth.roles ORDER BY granted_at, user_id")
    return [Granted(*row) for row in rows]


# Revocations: the outbox


@dataclass(frozen=True)
class Ended:
    """A session that ended, and for how many seconds tokens of it can still be valid."""

    id: UUID
    seconds: int


@dataclass(frozen=True)
class Pending(Ended):
    until: datetime
    denied: bool
    published: bool

    def message(self) -> Revocation:
        return Revocation(id=self.id, until=int(self.until.timestamp()))


_PENDING: LiteralString = """id, ceil(extract(epoch FROM until - now()))::int, until, denied_at IS NOT NULL,
    published_at IS NOT NULL"""


async def add_revocations(db: Db, user: UUID, ids: Sequence[UUID], life: timedelta, reason: str) -> None:
    """May be repeated: an existing row is kept."""
    await db.run(
        """INSERT INTO auth.revocations (id, user_id, until, reason)
           SELECT ended.id, %(user)s, clock_timestamp() + %(life)s, %(reason)s
           FROM unnest(%(ids)s::uuid[]) AS ended (id)
           ON CONFLICT DO NOTHING""",
        user=user,
        life=life,
        reason=reason,
        ids=list(ids),
    )


async def undelivered(db: Db, limit: int, age: timedelta) -> list[Pending]:
    """The oldest first, none younger than `age`."""
    rows = await db.rows(
        f"""SELECT {_PENDING} FROM auth.revocations
            WHERE (denied_at IS NULL OR published_at IS NULL) AND created_at <= now() - %(age)s
            ORDER BY created_at LIMIT %(limit)s""",
        age=age,
        limit=limit,
    )
    return [Pending(*row) for row in rows]


async def not_denied(db: Db, user: UUID) -> list[UUID]:
    """Revocations of this user that are not in the list yet."""
    sql: LiteralString = "SELECT id FROM auth.revocations WHERE user_id = %(user)s AND denied_at IS NULL"
    return [row[0] for row in await db.rows(sql, user=user)]


async def in_force(db: Db) -> list[Pending]:
    """Every revocation of tokens that would still be valid, in order."""
    rows = await db.rows(f"SELECT {_PENDING} FROM auth.revocations WHERE until > now() ORDER BY created_at")
    return [Pending(*row) for row in rows]


async def mark_denied(db: Db, ids: Sequence[UUID]) -> None:
    await db.run("UPDATE auth.revocations SET denied_at = now() WHERE id = ANY(%(ids)s)", ids=list(ids))


async def mark_published(db: Db, ids: Sequence[UUID]) -> None:
    await db.run("UPDATE auth.revocations SET published_at = now() WHERE id = ANY(%(ids)s)", ids=list(ids))


# Revocations: what ext-authz reads (durable Redis)


_DENY = """
local now, life, last = tonumber(redis.call('TIME')[1]), tonumber(ARGV[1]), nil
local oldest = string.format('%.0f-0', (now - life) * 1000)
for i = 2, #ARGV, 2 do
  local ends = string.format('%.0f', now + ARGV[i + 1])
  last = redis.call('XADD', KEYS[1], 'MINID', '~', oldest, '*', 'id', ARGV[i], 'until', ends)
end
redis.call('EXPIRE', KEYS[1], life)
return last
"""


async def deny(redis: Redis, rows: Sequence[Ended], life_seconds: int) -> str:
    """Appends; returns the id of the last entry. Entries older than the longest life of a token are trimmed, the key
    goes when all of them are."""
    given = [value for row in rows for value in (str(row.id), row.seconds)]
    last: str = await redis.eval(_DENY, 1, DENIED_STREAM, life_seconds, *given)
    return last


async def run_id_and_complete(redis: Redis) -> tuple[str, str | None]:
    """Id of this server, and of the one on which the list is complete."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.info("server")
        pipe.get(COMPLETE_KEY)
        server, complete = await pipe.execute()
    return str(server["run_id"]), complete


async def declare_complete(redis: Redis, run_id: str) -> None:
    await redis.set(COMPLETE_KEY, run_id)


# Sign-ins under way, and counters of attempts (the Redis that evicts)


@dataclass(frozen=True)
class AppTarget:
    """Native app that began a sign-in: where it waits, its own state, and the digest of its verifier (PKCE, S256)."""

    redirect_uri: str
    state: str
    challenge: str


@dataclass(frozen=True)
class SignIn:
    """Store the state of a sign-in for its callback. `browser` is the digest of the cookie."""

    provider: str
    redirect_uri: str
    frontend: str
    verifier: str
    browser: str
    device_id: str | None
    app: AppTarget | None = None


@dataclass(frozen=True)
class Outcome:
    """Keep what the callback made of a sign-in for a repeated call: a session, the one-time code of a native app, or
    the reason why there is neither."""

    sign_in: SignIn
    code: str
    session: UUID | None
    reason: str | None
    app_code: str | None = None


@dataclass(frozen=True)
class Grant:
    """Sign-in that a one-time code stands for."""

    user: UUID
    provider: str
    device_id: str | None
    redirect_uri: str
    challenge: str


_SIGN_IN_FORM, _OUTCOME_FORM, _GRANT_FORM = Reader(SignIn), Reader(Outcome), Reader(Grant)


async def keep_sign_in(redis: Redis, state: str, sign_in: SignIn, seconds: int) -> None:
    """Also notes that the browser's cookie was issued here."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.set(_STATE.format(state), _document(sign_in), ex=seconds)
        pipe.set(_BROWSER.format(sign_in.browser), 1, ex=seconds)
        await pipe.execute()


async def known_browsers(redis: Redis, digests: Sequence[str]) -> list[str]:
    """Those whose cookie was issued here lately."""
    found = await redis.mget([_BROWSER.format(one) for one in digests]) if digests else []
    return [one for one, issued in zip(digests, found, strict=True) if issued]


async def sign_in(redis: Redis, state: str) -> SignIn | Outcome | None:
    """Load what `keep_sign_in` or `settle_sign_in` left."""
    begun, settled = await redis.mget(_STATE.format(state), _OUTCOME.format(state))
    if settled and settled != _CLAIMED:
        return _OUTCOME_FORM.loads(settled)
    return _SIGN_IN_FORM.loads(begun) if begun else None


def _document(value: SignIn | Outcome) -> bytes:
    """JSON of the fields that are there: the release before, which runs on during a roll-out, knows no others."""

    def fields(inner: Any) -> dict[str, Any]:
        return {name: value for name, value in vars(inner).items() if name != "app" or value is not None}

    return orjson.dumps(fields(value), fields, orjson.OPT_PASSTHROUGH_DATACLASS)


async def claim_sign_in(redis: Redis, state: str, seconds: int) -> bool:
    """True for one caller; the others wait for its result, or until its time is over."""
    return bool(await redis.set(_OUTCOME.format(state), _CLAIMED, nx=True, ex=seconds))


async def settle_sign_in(redis: Redis, state: str, outcome: Outcome, seconds: int) -> None:
    async with redis.pipeline(transaction=True) as pipe:
        pipe.set(_OUTCOME.format(state), _document(outcome), ex=seconds)
        pipe.delete(_STATE.format(state))
        await pipe.execute()


async def keep_grant(redis: Redis, digest: str, grant: Grant, seconds: int) -> None:
    await redis.set(_GRANT.format(digest), orjson.dumps(grant), ex=seconds)


async def grant(redis: Redis, digest: str) -> Grant | None:
    found = await redis.get(_GRANT.format(digest))
    return _GRANT_FORM.loads(found) if found else None


async def drop_grant(redis: Redis, digest: str) -> None:
    await redis.delete(_GRANT.format(digest))


async def count(redis: Redis, what: str, who: str, seconds: int) -> tuple[int, int]:
    """Count in this stretch of time, this time included; and in how many seconds the next one begins."""
    key = _LIMIT.format(what, who)
    async with redis.pipeline(transaction=False) as pipe:
        pipe.incr(key)
        pipe.expire(key, seconds, nx=True)
        pipe.ttl(key)
        times, _, left = await pipe.execute()
    return int(times), max(1, int(left))
