"""Sessions: refresh and revocation.

A session has one pair of tokens at a time. Its refresh token is used once: the answer carries the pair that replaces
it. Used again within the grace it gives that same pair (requests under way, lost answers); used
later it is a stolen copy, and the whole session ends. Tokens are dated by the database's clock.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.auth import keys, store
from eco2.auth.keys import Keyring, TokenInvalid
from eco2.auth.oauth import Providers
from eco2.auth.settings import Settings
from eco2.auth.store import Ended, Session
from eco2.auth.users import Users
from eco2.contracts.identity import GUEST, Claims, Role
from eco2.core.errors import AppError, BadRequest, NotFound, Unauthorized, Unavailable
from eco2.core.postgres import Database

log = logging.getLogger(__name__)

AGENT_MAX = 300
REPLACED_MAX = 60
"""As many refreshes as a session may have within the grace."""
DENY_SECONDS = 2.0
"""Seconds that a logout waits for the denylist."""


class OriginRefused(BadRequest):
    """This page may not use the cookies of the platform."""

    code = "ORIGIN_NOT_ALLOWED"


class NoRefreshToken(Unauthorized):
    """There is no refresh token; sign in."""

    code = "MISSING_TOKEN"


class RefreshInvalid(Unauthorized):
    """This is no token of the platform; sign in again."""

    code = "INVALID_TOKEN"


class RefreshExpired(Unauthorized):
    """The session is over; sign in again."""

    code = "TOKEN_EXPIRED"


class RefreshRevoked(Unauthorized):
    """The session was ended; sign in again."""

    code = "TOKEN_REVOKED"


class WrongType(BadRequest):
    """This is an access token; send the refresh token."""

    code = "TOKEN_TYPE_MISMATCH"


class UserGone(NotFound):
    """The account does not exist any more."""

    code = "USER_NOT_FOUND"


class NoSuchSession(NotFound):
    """There is no such session, or it is over."""

    code = "SESSION_NOT_FOUND"


class TooMany(AppError):
    """Too many attempts; wait a moment."""

    status = 429
    code = "RATE_LIMITED"


class NotLockedOut(Unavailable):
    """The session is ended, but its last access token may be accepted for a moment: the denylist is away."""

    code = "REVOCATION_PENDING"


@dataclass(frozen=True)
class Caller:
    """Origin of a request."""

    ip: str
    user_agent: str
    host: str

    @property
    def network(self) -> str:
        """Address range of one household or office: an IPv4 address, or the first half of an IPv6 address."""
        try:
            address = ipaddress.ip_address(self.ip)
        except ValueError:
            return self.ip
        return str(ipaddress.ip_network((address, 64 if address.version == 6 else 32), strict=False))

    @property
    def origin(self) -> store.Origin:
        return store.Origin(self.ip or None, self.user_agent[:AGENT_MAX] or None)


@dataclass(frozen=True)
class Pair:
    access: str
    refresh: str
    access_seconds: int
    refresh_seconds: int
    role: str


@dataclass(frozen=True)
class Services:
    settings: Settings
    db: Database
    streams: Redis
    cache: Redis
    keyring: Keyring
    providers: Providers
    users: Users
    undelivered: asyncio.Event = field(default_factory=asyncio.Event)
    """Wakes the relay."""


# Limits


async def limit(at: Services, what: str, who: str, most: int, seconds: int = store.WINDOW_SECONDS) -> int:
    """Count one more in this minute, or other stretch of time. TooMany. Without the counters there is no limit: nobody
    is locked out because a cache is away."""
    try:
        times, wait = await store.count(at.cache, what, who, seconds)
    except RedisError as error:
        log.warning("no rate limits: %s", error)
        return 0
    if times > most:
        raise TooMany(headers={"Retry-After": str(wait)})
    return times


# Tokens


async def open_session(
    at: Services,
    caller: Caller,
    user: UUID,
    provider: str,
    device_id: str | None,
    session_id: UUID,
    role: Role | None = None,
) -> Session | None:
    """A signed-in device, which has the role of its user, or a guest. None where the session was opened before."""
    async with at.db.transaction() as tx:
        session = await store.add_session(
            tx,
            session_id=session_id,
            user_id=user,
            provider=provider,
            role=role or await store.role_of(tx, user),
            device_id=device_id,
            refresh_id=uuid4(),
            origin=caller.origin,
        )
        if session:
            await store.audit(
                tx,
                audit_id=uuid4(),
                provider=provider,
                outcome="signed_in",
                origin=caller.origin,
                user_id=user,
                session_id=session.id,
            )
    return session


def pair_of(at: Services, session: Session) -> Pair:
    """The tokens of the session as it is. The same session always gives the same tokens, until a key is rotated."""
    settings, made_at = at.settings, int(session.refreshed_at.timestamp())
    access_ttl, refresh_ttl = settings.access_ttl, settings.refresh_ttl
    if session.role == GUEST:
        refresh_ttl = _end_of_guest(settings, session) - session.refreshed_at
        access_ttl = min(access_ttl, refresh_ttl)

    def token(kind: str, token_id: UUID, ttl: timedelta) -> str:
        claims = keys.claims(
            settings,
            kind,
            session.user_id,
            session.provider,
            role=session.role,
            token_id=token_id,
            session=session.id,
            made_at=made_at,
            ttl=ttl,
        )
        return at.keyring.sign(claims)

    return Pair(
        token("access", uuid5(session.refresh_id, "access"), access_ttl),
        token("refresh", session.refresh_id, refresh_ttl),
        int(access_ttl.total_seconds()),
        int(refresh_ttl.total_seconds()),
        session.role,
    )


def _end_of_guest(settings: Settings, session: Session) -> datetime:
    return session.created_at.replace(microsecond=0) + settings.guest_ttl


def read_refresh(at: Services, token: str) -> Claims:
    """RefreshInvalid, WrongType."""
    try:
        claims = at.keyring.read(token)
    except TokenInvalid:
        raise RefreshInvalid from None
    if claims.type != "refresh":
        raise WrongType
    if not claims.sid:
        raise RefreshInvalid
    return claims


REFUSALS = (Unauthorized, WrongType, UserGone)
"""Errors that `refresh` raises when no token that came is worth anything."""


async def refresh(at: Services, tokens: Sequence[str]) -> Pair:
    """The next pair of the first session that goes on with one of the tokens; else why none does.

    NoRefreshToken, RefreshInvalid, RefreshExpired, RefreshRevoked, WrongType, UserGone, TooMany.
    """
    found: dict[str, list[Claims]] = {}
    refusals: list[AppError] = []
    for token in tokens:
        try:
            claims = read_refresh(at, token)
            found.setdefault(claims.sid or "", []).append(claims)
        except REFUSALS as error:
            refusals.append(error)
    for session, all_of_it in found.items():
        try:
            return await _refresh(at, UUID(session), all_of_it)
        except REFUSALS as error:
            refusals.insert(0, error)
    raise refusals[0] if refusals else NoRefreshToken()


async def _refresh(at: Services, session_id: UUID, tokens: Sequence[Claims]) -> Pair:
    """`tokens`: all that came for this session, so that an old one beside the right one is no reuse."""
    await limit(at, "refresh", str(session_id), at.settings.refreshes_per_minute)
    user, used = UUID(tokens[0].sub), await _usable(at, session_id, tokens)
    if not await at.users.exists(user):
        await end(at, user, "user_gone", session_id)
        raise UserGone
    async with at.db.transaction() as tx:
        session = await store.lock_session(tx, session_id)
        if session is None or session.revoked_at is not None:
            raise RefreshRevoked
        rotated = _rotated(session, used, await store.now(tx), at.settings.refresh_grace)
        if rotated is not None and rotated is not session:
            await store.rotate(tx, session.id, rotated.refresh_id, rotated.refreshed_at, rotated.replaced)
    if rotated is None:
        log.warning("a refresh token was used again", extra={"session": str(session_id), "user": str(user)})
        await end(at, user, "reuse", session_id)
        raise RefreshRevoked
    return pair_of(at, rotated)


async def _usable(at: Services, session_id: UUID, tokens: Sequence[Claims]) -> list[UUID]:
    """The ids of those that are not over. RefreshExpired, RefreshRevoked."""
    session, now = await store.session(at.db, session_id), await store.now(at.db)
    if session is None or session.revoked_at is not None:
        raise RefreshRevoked
    usable = [UUID(claims.jti) for claims in tokens if claims.exp + keys.LEEWAY_SECONDS > now.timestamp()]
    if not usable or (session.role == GUEST and now >= _end_of_guest(at.settings, session)):
        raise RefreshExpired
    return usable


def _rotated(session: Session, used: Sequence[UUID], now: datetime, grace: timedelta) -> Session | None:
    """The session after one of its refresh tokens was used; the same where that changes nothing, None for a reuse."""
    young = [row for row in session.replaced if now.timestamp() - row[1] <= grace.total_seconds()]
    if session.refresh_id in used:
        replaced = [*young, [str(session.refresh_id), int(now.timestamp())]][-REPLACED_MAX:]
        changed: dict[str, Any] = {"refresh_id": uuid4(), "refreshed_at": now, "replaced": replaced}
        return Session(**{**vars(session), **changed})
    known = {row[0] for row in young}
    return session if any(str(one) in known for one in used) else None


# Lock out


async def logout(at: Services, tokens: Sequence[str]) -> bool:
    """Ends every session that one of the tokens names; False when there is none to end. NotLockedOut; an error when
    nothing was done.

    An expired token still says whose session it was, a forged one says nothing.
    """
    found = [claims for token in tokens if (claims := claims_of(at, token))]
    pending: NotLockedOut | None = None
    for session, user in {(claims.sid or claims.jti): claims.sub for claims in found}.items():
        try:
            await end(at, UUID(user), "logout", UUID(session))
        except NotLockedOut as error:
            pending = error
    if pending is not None:
        raise pending
    return bool(found)


def claims_of(at: Services, token: str | None) -> Claims | None:
    """Of a token that this platform signed, if only once; None for any other."""
    if not token:
        return None
    try:
        return at.keyring.read(token)
    except TokenInvalid:
        return None


async def sessions(at: Services, user: UUID) -> list[Session]:
    return await store.sessions_of(at.db, user, at.settings.refresh_ttl)


async def end_one(at: Services, user: UUID, session: UUID) -> None:
    """NoSuchSession, NotLockedOut."""
    async with at.db.transaction() as tx:
        known = await store.lock_session(tx, session)
    if known is None or known.user_id != user or known.revoked_at is not None:
        raise NoSuchSession
    await end(at, user, "ended_by_user", session)


async def end_all(at: Services, user: UUID, reason: str, *also: UUID, before: datetime | None = None) -> int:
    """Log out everywhere: how many sessions that were. `also`: ids of tokens without a session. NotLockedOut.

    Repeated after a NotLockedOut it continues with the rest.
    """
    alive = [row.id for row in await sessions(at, user) if before is None or row.created_at < before]
    left = await store.not_denied(at.db, user)
    if ids := [*alive, *also, *left]:
        await end(at, user, reason, *ids)
    return len(alive)


async def end(at: Services, user: UUID, reason: str, *ids: UUID) -> None:
    """Ends sessions (or tokens without one): for good in the database, then for every ext-authz.

    An error of the database means that nothing has happened. NotLockedOut means that the session is over, that no
    refresh brings it back, and that every ext-authz that hears the broker is told; but one that starts right now reads
    a list that lacks it, until the relay gets through.
    """
    life = at.settings.access_ttl + timedelta(seconds=keys.LEEWAY_SECONDS + 1)
    async with at.db.transaction() as tx:
        await store.end_sessions(tx, user, reason, ids)
        # After the sessions are locked: a refresh that was faster has made its token before this moment.
        await store.add_revocations(tx, user, ids, life, reason)
    try:
        await deny(at, [Ended(each, int(life.total_seconds())) for each in ids])
        await store.mark_denied(at.db, ids)
    except (RedisError, TimeoutError) as error:
        raise NotLockedOut from error
    finally:
        at.undelivered.set()


async def deny(at: Services, rows: Sequence[Ended]) -> None:
    """RedisError, TimeoutError."""
    async with asyncio.timeout(DENY_SECONDS):
        await store.deny(at.streams, rows, life_seconds(at.settings))


def life_seconds(settings: Settings) -> int:
    """The longest that an entry of the list can matter."""
    return int(settings.access_ttl.total_seconds()) + 60


# Pages that use the cookies


def check_origin(settings: Settings, origin: str | None, fetch_site: str | None) -> None:
    """OriginRefused. Browsers send one of the two with every change; a client that sends neither is no browser."""
    if origin is not None and origin not in settings.origins:
        raise OriginRefused
    if origin is None and fetch_site not in (None, "same-origin", "none"):
        raise OriginRefused
