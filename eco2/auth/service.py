"""Sign in, stay signed in, be locked out.

A sign-in makes a session; a session has one pair of tokens at a time. Its refresh token is used once: the answer
carries the pair that replaces it. Used again within the grace it gives that same pair (requests that were under way);
used later it is a stolen copy, and the whole session ends.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID, uuid4, uuid5

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncEngine

from eco2.auth import keys, store
from eco2.auth.keys import Keyring, TokenExpired, TokenInvalid
from eco2.auth.oauth import ProviderAway, Providers
from eco2.auth.settings import Settings
from eco2.auth.store import Session
from eco2.auth.users import Users
from eco2.contracts.identity import Claims
from eco2.contracts.revocations import Revocation
from eco2.core.errors import AWAY, AppError, BadRequest, NotFound, Unauthorized, Unavailable

log = logging.getLogger(__name__)

REDIRECT_MAX, AGENT_MAX, DEVICE_MAX = 500, 300, 200
REPLACED_MAX = 20
DENY_SECONDS = 2.0
"""How long a logout waits for the list of the denied."""
HOME, LOGIN = "/#/home", "/#/login"


class RedirectRefused(BadRequest):
    """Not an address of this platform: redirect_uri is the callback of the provider, frontend_origin a known app."""

    code = "REDIRECT_NOT_ALLOWED"


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
    """That is an access token; the refresh token is needed."""

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
    """The session is ended, but its last access token may be accepted for a moment: the list of the denied is away."""

    code = "REVOCATION_PENDING"


@dataclass(frozen=True)
class Caller:
    """Where a request came from."""

    ip: str
    user_agent: str
    host: str

    @property
    def columns(self) -> dict[str, str | None]:
        return {"ip": self.ip or None, "user_agent": self.user_agent[:AGENT_MAX] or None}


@dataclass(frozen=True)
class Pair:
    access: str
    refresh: str
    access_seconds: int
    refresh_seconds: int


@dataclass(frozen=True)
class Start:
    provider: str
    state: str
    authorization_url: str
    expires_at: datetime
    browser: str
    """For the cookie that the callback has to bring."""


@dataclass(frozen=True)
class Ending:
    """Where the browser goes after the callback, with tokens if it is signed in."""

    url: str
    pair: Pair | None = None


@dataclass(frozen=True)
class Services:
    settings: Settings
    engine: AsyncEngine
    streams: Redis
    cache: Redis
    keyring: Keyring
    providers: Providers
    users: Users
    undelivered: asyncio.Event = field(default_factory=asyncio.Event)
    """Wakes the relay."""


# Limits


async def limit(at: Services, what: str, who: str, most: int) -> None:
    """TooMany. Without the counters there is no limit: nobody is locked out because a cache is away."""
    try:
        times, wait = await store.count(at.cache, what, who)
    except RedisError as error:
        log.warning("no rate limits: %s", error)
        return
    if times > most:
        raise TooMany(headers={"Retry-After": str(wait)})


# Sign in


async def start(
    at: Services,
    caller: Caller,
    provider: str,
    redirect_uri: str | None,
    frontend: str | None,
    device_id: str | None,
    browser: str | None,
) -> Start:
    """Where to send the browser; RedirectRefused, NotOffered, TooMany. `browser` is the cookie of an earlier start."""
    await limit(at, "start", caller.ip, at.settings.sign_ins_per_minute)
    target = redirect_uri or _callback_at(at.settings, provider, caller.host)
    frontend = frontend or at.settings.frontend_url
    if target not in _callbacks(at.settings, provider) or frontend not in at.settings.origins:
        raise RedirectRefused
    # Kept when there is one, so that two sign-ins may be under way in two tabs.
    browser = browser or secrets.token_urlsafe(32)
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
    url = at.providers.authorization_url(provider, target, state, verifier)
    sign_in = store.SignIn(
        provider, target, frontend, verifier, _digest(browser), device_id[:DEVICE_MAX] if device_id else None
    )
    ttl = at.settings.state_ttl
    await store.keep_sign_in(at.cache, state, sign_in, int(ttl.total_seconds()))
    return Start(provider, state, url, datetime.now(UTC) + ttl, browser)


def _callbacks(settings: Settings, provider: str) -> list[str]:
    return [f"{base}/api/v1/auth/{provider}/callback" for base in settings.redirect_bases]


def _callback_at(settings: Settings, provider: str, host: str) -> str:
    """The callback at the host that was asked, where the cookie of this start will be sent."""
    known = _callbacks(settings, provider)
    return next((url for url in known if urlsplit(url).netloc == host), known[0])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class _SignInFailed(Exception):
    """`reason` goes to the web app and into the audit."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


async def finish(
    at: Services,
    caller: Caller,
    provider: str,
    code: str | None,
    state: str | None,
    error: str | None,
    browser: str | None,
) -> Ending:
    """The callback. However it ends, the browser is sent to the app that began, or to the default one."""
    sign_in: store.SignIn | None = None
    expected: tuple[type[Exception], ...] = (_SignInFailed, AppError, *AWAY)
    try:
        await limit(at, "callback", caller.ip, at.settings.sign_ins_per_minute)
        sign_in = await _take(at, provider, state, browser)
        if error or not code:
            raise _SignInFailed("access_denied" if error == "access_denied" else "oauth_failed")
        pair = await _sign_in(at, caller, sign_in, code, state or "")
    except expected as failure:
        reason = _reason(failure)
        await _audit_failure(at, caller, provider, reason)
        frontend = sign_in.frontend if sign_in else at.settings.frontend_url
        return Ending(f"{frontend}{LOGIN}?{urlencode({'error': reason})}")
    return Ending(sign_in.frontend + HOME, pair)


async def _take(at: Services, provider: str, state: str | None, browser: str | None) -> store.SignIn:
    """What `start` kept for this state, once, and only for the browser that it was made for."""
    sign_in = await store.take_sign_in(at.cache, state) if state else None
    if sign_in is None or sign_in.provider != provider:
        raise _SignInFailed("invalid_state")
    if not browser or not hmac.compare_digest(_digest(browser), sign_in.browser):
        raise _SignInFailed("invalid_state")
    return sign_in


def _reason(failure: Exception) -> str:
    if isinstance(failure, _SignInFailed):
        return failure.reason
    if isinstance(failure, tuple(AWAY)):
        return "temporarily_unavailable"
    if isinstance(failure, TooMany):
        return "rate_limited"
    return "provider_unavailable" if isinstance(failure, ProviderAway) else "oauth_failed"


async def _sign_in(at: Services, caller: Caller, sign_in: store.SignIn, code: str, state: str) -> Pair:
    profile = await at.providers.profile_of_code(sign_in.provider, sign_in.redirect_uri, code, state, sign_in.verifier)
    user = await at.users.find_or_create(profile)
    async with at.engine.begin() as tx:
        session = await store.add_session(
            tx,
            id=uuid4(),
            user_id=user,
            provider=profile.provider,
            role="citizen",
            device_id=sign_in.device_id,
            refresh_id=uuid4(),
            refreshed_at=_now(),
            **caller.columns,
        )
        signed_in = {"user_id": user, "session_id": session.id}
        await store.audit(tx, id=uuid4(), provider=profile.provider, outcome="signed_in", **signed_in, **caller.columns)
    return pair_of(at, session)


async def _audit_failure(at: Services, caller: Caller, provider: str, reason: str) -> None:
    """A database that is away does not keep the browser from being sent back; a flood of attempts does not fill it."""
    log.info("sign-in failed", extra={"provider": provider, "reason": reason})
    if reason == "rate_limited":
        return
    try:
        async with at.engine.begin() as tx:
            await store.audit(tx, id=uuid4(), provider=provider, outcome=reason, **caller.columns)
    except tuple(AWAY) as error:
        log.warning("a failed sign-in is not in the audit: %s", error)


# Tokens


def _now() -> datetime:
    """Whole seconds, as tokens have them: the pair of a session can then be made again, byte by byte."""
    return datetime.now(UTC).replace(microsecond=0)


def pair_of(at: Services, session: Session) -> Pair:
    """The tokens of the session as it is. The same session always gives the same tokens, until a key is rotated."""
    settings, made_at = at.settings, int(session.refreshed_at.timestamp())

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
        token("access", uuid5(session.refresh_id, "access"), settings.access_ttl),
        token("refresh", session.refresh_id, settings.refresh_ttl),
        int(settings.access_ttl.total_seconds()),
        int(settings.refresh_ttl.total_seconds()),
    )


def read_refresh(at: Services, token: str | None) -> Claims:
    """NoRefreshToken, RefreshInvalid, RefreshExpired, WrongType."""
    if not token:
        raise NoRefreshToken
    try:
        claims = at.keyring.read(token)
    except TokenExpired:
        raise RefreshExpired from None
    except TokenInvalid:
        raise RefreshInvalid from None
    if claims.type != "refresh":
        raise WrongType
    if not claims.sid:
        raise RefreshInvalid
    return claims


async def refresh(at: Services, caller: Caller, token: str | None) -> Pair:
    """The next pair; NoRefreshToken, RefreshInvalid, RefreshExpired, RefreshRevoked, WrongType, UserGone, TooMany."""
    most = at.settings.refreshes_per_minute
    await limit(at, "refresh-ip", caller.ip, 20 * most)
    claims = read_refresh(at, token)
    session_id, user, refresh_id = UUID(claims.sid), UUID(claims.sub), UUID(claims.jti)
    await limit(at, "refresh", str(session_id), most)
    if not await at.users.exists(user):
        await end(at, user, "user_gone", session_id)
        raise UserGone
    async with at.engine.begin() as tx:
        session = await store.lock_session(tx, session_id)
        if session is None or session.revoked_at is not None:
            raise RefreshRevoked
        rotated = _rotated(session, refresh_id, at.settings.refresh_grace)
        if rotated is not None and rotated is not session:
            await store.rotate(tx, session.id, rotated.refresh_id, rotated.refreshed_at, rotated.replaced)
    if rotated is None:
        log.warning("a refresh token was used again", extra={"session": str(session_id), "user": str(user)})
        await end(at, user, "reuse", session_id)
        raise RefreshRevoked
    return pair_of(at, rotated)


def _rotated(session: Session, used: UUID, grace: timedelta) -> Session | None:
    """The session after one of its refresh tokens was used; the same where that changes nothing, None for a reuse."""
    now = _now()
    young = [row for row in session.replaced if now.timestamp() - row[1] <= grace.total_seconds()]
    if used == session.refresh_id:
        replaced = [*young, [str(used), int(now.timestamp())]][-REPLACED_MAX:]
        changed: dict[str, Any] = {"refresh_id": uuid4(), "refreshed_at": now, "replaced": replaced}
        return Session(**{**vars(session), **changed})
    return session if str(used) in [row[0] for row in young] else None


# Lock out


async def logout(at: Services, access: str | None, refresh_token: str | None) -> bool:
    """Ends the session of these tokens; False when there is none to end. NotLockedOut; an error when nothing was done.

    An expired token still says whose session it was, a forged one says nothing.
    """
    found = [claims for token in (access, refresh_token) if (claims := claims_of(at, token))]
    for session, user in {(claims.sid or claims.jti): claims.sub for claims in found}.items():
        await end(at, UUID(user), "logout", UUID(session))
    return bool(found)


def claims_of(at: Services, token: str | None) -> Claims | None:
    """Of a token that this platform signed, if only once; None for any other."""
    if not token:
        return None
    try:
        return at.keyring.read(token, expired=True)
    except TokenInvalid:
        return None


async def sessions(at: Services, user: UUID) -> list[Session]:
    async with at.engine.connect() as tx:
        return await store.sessions_of(tx, user, datetime.now(UTC) - at.settings.refresh_ttl)


async def end_one(at: Services, user: UUID, session: UUID) -> None:
    """NoSuchSession, NotLockedOut."""
    async with at.engine.begin() as tx:
        known = await store.lock_session(tx, session)
    if known is None or known.user_id != user or known.revoked_at is not None:
        raise NoSuchSession
    await end(at, user, "ended_by_user", session)


async def end_all(at: Services, user: UUID, reason: str, *also: UUID, before: datetime | None = None) -> int:
    """Log out everywhere: how many sessions that were. `also`: ids of tokens without a session. NotLockedOut.

    Repeated after a NotLockedOut it tries again what was left over.
    """
    alive = [row.id for row in await sessions(at, user) if before is None or row.created_at < before]
    async with at.engine.connect() as tx:
        left = await store.not_denied(tx, user)
    if ids := [*alive, *also, *left]:
        await end(at, user, reason, *ids)
    return len(alive)


async def end(at: Services, user: UUID, reason: str, *ids: UUID) -> None:
    """Ends sessions (or tokens without one): for good in the database, then for every ext-authz.

    An error of the database means that nothing has happened. NotLockedOut means that the session is over, that no
    refresh brings it back, and that every ext-authz that hears the broker is told; but one that starts right now reads
    a list that lacks it, until the relay gets through.
    """
    async with at.engine.begin() as tx:
        await store.end_sessions(tx, user, reason, ids)
        # After the sessions are locked: a refresh that was faster has made its token before this moment.
        until = _now() + at.settings.access_ttl + timedelta(seconds=keys.LEEWAY_SECONDS + 1)
        await store.add_revocations(tx, user, ids, until, reason)
    try:
        await deny(at, [Revocation(id=each, until=int(until.timestamp())) for each in ids])
        async with at.engine.begin() as tx:
            await store.mark_denied(tx, ids)
    except (RedisError, TimeoutError) as error:
        raise NotLockedOut from error
    finally:
        at.undelivered.set()


async def deny(at: Services, rows: Sequence[Revocation]) -> None:
    """RedisError, TimeoutError."""
    async with asyncio.timeout(DENY_SECONDS):
        await store.deny(at.streams, rows, life_seconds(at.settings))


def life_seconds(settings: Settings) -> int:
    """The longest that an entry of the list can matter."""
    return int(settings.access_ttl.total_seconds()) + 60


# Pages that use the cookies


def check_origin(settings: Settings, origin: str | None, fetch_site: str | None) -> None:
    """OriginRefused. Browsers send one of the two with whatever changes something; what sends neither is none."""
    if origin is not None and origin not in settings.origins:
        raise OriginRefused
    if origin is None and fetch_site not in (None, "same-origin", "none"):
        raise OriginRefused
