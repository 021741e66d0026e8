"""Every SQL statement and every Redis key of auth-api.

Times are those of the database and of the Redis server: the clocks of the auth-api processes decide nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from redis.asyncio import Redis
from sqlalchemy import Integer, cast, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from eco2.auth.tables import login_audits, revocations, sessions
from eco2.contracts.revocations import COMPLETE_KEY, DENIED_STREAM, Revocation

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


_NOW = func.date_trunc("second", func.clock_timestamp())
"""Whole seconds, as tokens have them: the pair of a session can then be made again, byte by byte. Not the beginning of
the transaction: it may have waited for a lock since."""

_SESSION = [sessions.c[name] for name in Session.__dataclass_fields__]


async def add_session(tx: AsyncConnection, **values: Any) -> Session | None:
    """None where there is a session of this id."""
    made = upsert(sessions).values(**values, refreshed_at=_NOW, replaced=[]).on_conflict_do_nothing()
    row = (await tx.execute(made.returning(*_SESSION))).one_or_none()
    return Session(*row) if row else None


async def now(tx: AsyncConnection) -> datetime:
    found: datetime = (await tx.execute(select(_NOW))).scalar_one()
    return found


async def session(tx: AsyncConnection, session: UUID) -> Session | None:
    row = (await tx.execute(select(*_SESSION).where(sessions.c.id == session))).one_or_none()
    return Session(*row) if row else None


async def lock_session(tx: AsyncConnection, session: UUID) -> Session | None:
    """The row, which nobody else can change until the transaction ends."""
    row = (await tx.execute(select(*_SESSION).where(sessions.c.id == session).with_for_update())).one_or_none()
    return Session(*row) if row else None


async def rotate(
    tx: AsyncConnection, session: UUID, refresh_id: UUID, refreshed_at: datetime, replaced: Sequence[Sequence[Any]]
) -> None:
    values = {"refresh_id": refresh_id, "refreshed_at": refreshed_at, "replaced": [list(row) for row in replaced]}
    await tx.execute(update(sessions).where(sessions.c.id == session).values(**values))


async def sessions_of(tx: AsyncConnection, user: UUID, life: timedelta) -> list[Session]:
    """Those that can still be refreshed, the newest use first."""
    alive = (sessions.c.user_id == user, sessions.c.revoked_at.is_(None), sessions.c.refreshed_at > func.now() - life)
    rows = await tx.execute(select(*_SESSION).where(*alive).order_by(sessions.c.refreshed_at.desc()))
    return [Session(*row) for row in rows]


async def end_sessions(tx: AsyncConnection, user: UUID, reason: str, ids: Sequence[UUID]) -> None:
    query = update(sessions).where(sessions.c.user_id == user, sessions.c.id.in_(ids), sessions.c.revoked_at.is_(None))
    await tx.execute(query.values(revoked_at=func.now(), revoked_for=reason))


async def forget_old(tx: AsyncConnection, session_life: timedelta, audit_life: timedelta) -> None:
    """Deletes what no token can refer to any more."""
    await tx.execute(delete(sessions).where(sessions.c.refreshed_at < func.now() - session_life))
    over = (revocations.c.until < func.now(), revocations.c.denied_at.is_not(None))
    await tx.execute(delete(revocations).where(*over, revocations.c.published_at.is_not(None)))
    await tx.execute(delete(login_audits).where(login_audits.c.created_at < func.now() - audit_life))


async def audit(tx: AsyncConnection, **values: Any) -> None:
    await tx.execute(insert(login_audits).values(**values))


async def sign_ins_of(tx: AsyncConnection, user: UUID) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(sessions, audited sign-ins) of a user, oldest first, over or not."""
    devices = [sessions.c[name] for name in ("id", "provider", "device_id", "user_agent", "ip", "created_at")]
    held = select(*devices, sessions.c.refreshed_at, sessions.c.revoked_at).where(sessions.c.user_id == user)
    audited = select(
        *(login_audits.c[name] for name in ("id", "provider", "outcome", "ip", "user_agent", "created_at"))
    )
    theirs = audited.where(login_audits.c.user_id == user).order_by(login_audits.c.created_at)
    rows = await tx.execute(held.order_by(sessions.c.created_at)), await tx.execute(theirs)
    return _plain(rows[0].mappings()), _plain(rows[1].mappings())


def _plain(rows: Iterable[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    """With names that JSON takes: those of SQLAlchemy are of a class of its own."""
    return [{str(name): value for name, value in row.items()} for row in rows]


async def forget(tx: AsyncConnection, user: UUID) -> int:
    """Remove sessions and audits of a user; returns how many rows. Revocations go when their tokens have run out."""
    removed = 0
    for table in (sessions, login_audits):
        removed += (await tx.execute(delete(table).where(table.c.user_id == user))).rowcount
    return removed


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


_PENDING = (
    revocations.c.id,
    cast(func.ceil(func.extract("epoch", revocations.c.until - func.now())), Integer),
    revocations.c.until,
    revocations.c.denied_at.is_not(None),
    revocations.c.published_at.is_not(None),
)


async def add_revocations(tx: AsyncConnection, user: UUID, ids: Sequence[UUID], life: timedelta, reason: str) -> None:
    """Repeated: what is there is kept."""
    until = func.clock_timestamp() + life
    rows = [{"id": each, "user_id": user, "until": until, "reason": reason} for each in ids]
    if rows:
        await tx.execute(upsert(revocations).values(rows).on_conflict_do_nothing())


async def undelivered(tx: AsyncConnection, limit: int, age: timedelta) -> list[Pending]:
    """The oldest first, none younger than `age`."""
    waiting = or_(revocations.c.denied_at.is_(None), revocations.c.published_at.is_(None))
    query = select(*_PENDING).where(waiting, revocations.c.created_at <= func.now() - age)
    return [Pending(*row) for row in await tx.execute(query.order_by(revocations.c.created_at).limit(limit))]


async def not_denied(tx: AsyncConnection, user: UUID) -> list[UUID]:
    """Revocations of this user that are not in the list yet."""
    query = select(revocations.c.id).where(revocations.c.user_id == user, revocations.c.denied_at.is_(None))
    return list((await tx.execute(query)).scalars())


async def in_force(tx: AsyncConnection) -> list[Pending]:
    """Every revocation of tokens that would still be valid, in order."""
    query = select(*_PENDING).where(revocations.c.until > func.now()).order_by(revocations.c.created_at)
    return [Pending(*row) for row in await tx.execute(query)]


async def mark_denied(tx: AsyncConnection, ids: Sequence[UUID]) -> None:
    await tx.execute(update(revocations).where(revocations.c.id.in_(ids)).values(denied_at=func.now()))


async def mark_published(tx: AsyncConnection, ids: Sequence[UUID]) -> None:
    await tx.execute(update(revocations).where(revocations.c.id.in_(ids)).values(published_at=func.now()))


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
    """Which server this is, and the one that the list is complete on."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.info("server")
        pipe.get(COMPLETE_KEY)
        server, complete = await pipe.execute()
    return str(server["run_id"]), complete


async def declare_complete(redis: Redis, run_id: str) -> None:
    await redis.set(COMPLETE_KEY, run_id)


# Sign-ins under way, and how often somebody has tried (the Redis that may forget)


@dataclass(frozen=True)
class AppTarget:
    """Native app that began a sign-in: where it waits, its own state, and the digest of its verifier (PKCE, S256)."""

    redirect_uri: str
    state: str
    challenge: str


@dataclass(frozen=True)
class SignIn:
    """Keep what the start of a sign-in leaves for its callback. `browser` is the digest of the cookie."""

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


async def keep_sign_in(redis: Redis, state: str, sign_in: SignIn, seconds: int) -> None:
    """Also notes that the browser's cookie was issued here."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.set(_STATE.format(state), orjson.dumps(sign_in), ex=seconds)
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
        found = orjson.loads(settled)
        session = UUID(found["session"]) if found["session"] else None
        return Outcome(_read(found["sign_in"]), found["code"], session, found["reason"], found.get("app_code"))
    return _read(orjson.loads(begun)) if begun else None


def _read(found: dict[str, Any]) -> SignIn:
    app = found.get("app")
    return SignIn(**{**found, "app": AppTarget(**app) if app else None})


async def claim_sign_in(redis: Redis, state: str, seconds: int) -> bool:
    """True for one caller; the others wait for what it makes of it, or until its time is over."""
    return bool(await redis.set(_OUTCOME.format(state), _CLAIMED, nx=True, ex=seconds))


async def settle_sign_in(redis: Redis, state: str, outcome: Outcome, seconds: int) -> None:
    async with redis.pipeline(transaction=True) as pipe:
        pipe.set(_OUTCOME.format(state), orjson.dumps(outcome), ex=seconds)
        pipe.delete(_STATE.format(state))
        await pipe.execute()


async def keep_grant(redis: Redis, digest: str, grant: Grant, seconds: int) -> None:
    await redis.set(_GRANT.format(digest), orjson.dumps(grant), ex=seconds)


async def grant(redis: Redis, digest: str) -> Grant | None:
    if not (found := await redis.get(_GRANT.format(digest))):
        return None
    values = orjson.loads(found)
    return Grant(**{**values, "user": UUID(values["user"])})


async def drop_grant(redis: Redis, digest: str) -> None:
    await redis.delete(_GRANT.format(digest))


async def count(redis: Redis, what: str, who: str) -> tuple[int, int]:
    """Count in this minute, this time included; and in how many seconds the next one begins."""
    key = _LIMIT.format(what, who)
    async with redis.pipeline(transaction=False) as pipe:
        pipe.incr(key)
        pipe.expire(key, WINDOW_SECONDS, nx=True)
        pipe.ttl(key)
        times, _, left = await pipe.execute()
    return int(times), max(1, int(left))
