"""Sign-in: the start, which leads to a provider, and the callback, to which the browser returns.

A sign-in belongs to the browser that began it, by a cookie that was issued here. Its callback may come several times (a
double tap, a page that was fetched ahead): one does the work, the others wait and end the same way. It ends in the web
app with cookies, or in a native app with a one-time code (`native`).
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit
from uuid import UUID, uuid4

from eco2.auth import guests, native, store
from eco2.auth.oauth import ProviderAway
from eco2.auth.service import Caller, Pair, Services, TooMany, limit, open_session, pair_of
from eco2.auth.settings import Settings
from eco2.auth.store import AppTarget, Outcome, SignIn
from eco2.core.errors import AWAY, AppError, BadRequest, Unavailable

log = logging.getLogger(__name__)

DEVICE_MAX, STATE_MAX, CODE_MAX = 200, 200, 2000
WAIT_SECONDS, CLAIM_SECONDS = 15, 30
"""The one that does the work has an answer by then (two calls to a provider of 5 s each, and ours); nobody else begins
before the edge has given it up."""
POLL_SECONDS = 0.1
HOME, LOGIN = "/#/home", "/#/login"


class RedirectRefused(BadRequest):
    """Not an address of this platform: redirect_uri is the callback of the provider, frontend_origin a known app."""

    code = "REDIRECT_NOT_ALLOWED"


class Prefetched(Unavailable):
    """A sign-in is finished by navigation, not by prefetching the page."""

    code = "PREFETCH_REFUSED"


@dataclass(frozen=True)
class Start:
    provider: str
    state: str
    authorization_url: str
    expires_at: datetime
    browser: str
    """For the cookie that the callback has to bring."""


@dataclass(frozen=True)
class Answer:
    """Parameters with which the provider sent the browser back."""

    code: str | None
    state: str | None
    error: str | None


@dataclass(frozen=True)
class Ending:
    """Address to which the browser goes after the callback, with tokens if it is signed in itself."""

    url: str
    pair: Pair | None = None
    to_app: bool = False


# Begin


async def start(
    at: Services,
    caller: Caller,
    provider: str,
    redirect_uri: str | None,
    frontend: str | None,
    device_id: str | None,
    browsers: Sequence[str],
    app: AppTarget | None = None,
) -> Start:
    """Address to send the browser to. RedirectRefused, NotOffered, TooMany. `browsers`: cookies of an earlier start."""
    await limit(at, "starts-of-network", caller.network, at.settings.sign_ins_per_minute_of_network)
    target = redirect_uri or _callback_at(at.settings, provider, caller.host)
    frontend = frontend or at.settings.frontend_url
    if target not in _callbacks(at.settings, provider) or frontend not in at.settings.origins:
        raise RedirectRefused
    browser = await _known(at, browsers)
    if browser:
        await limit(at, "starts", _digest(browser), at.settings.sign_ins_per_minute)
    else:
        browser = secrets.token_urlsafe(32)
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
    asks = app is not None and not native.is_claimed(app.redirect_uri)
    url = at.providers.authorization_url(provider, target, state, verifier, asks=asks)
    device = device_id[:DEVICE_MAX] if device_id else None
    ttl = at.settings.state_ttl
    begun = SignIn(provider, target, frontend, verifier, _digest(browser), device, app)
    await store.keep_sign_in(at.cache, state, begun, int(ttl.total_seconds()))
    return Start(provider, state, url, datetime.now(UTC) + ttl, browser)


async def _known(at: Services, browsers: Sequence[str]) -> str | None:
    """The cookie of this browser, kept so that two sign-ins may be under way in two tabs. One that was not issued here
    may be known to an attacker who planted it."""
    digests = {_digest(one): one for one in browsers}
    known = await store.known_browsers(at.cache, list(digests))
    return digests[known[0]] if known else None


def _callbacks(settings: Settings, provider: str) -> list[str]:
    return [f"{base}/api/v1/auth/{provider}/callback" for base in settings.redirect_bases]


def _callback_at(settings: Settings, provider: str, host: str) -> str:
    """The callback at the host that was asked, where the cookie of this start will be sent."""
    known = _callbacks(settings, provider)
    return next((url for url in known if urlsplit(url).netloc == host), known[0])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# Come back


class _SignInFailed(Exception):
    """`reason` goes to the web app and into the audit."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _expected() -> tuple[type[Exception], ...]:
    return (_SignInFailed, AppError, *AWAY)


async def finish(
    at: Services,
    caller: Caller,
    provider: str,
    answer: Answer,
    browsers: Sequence[str],
    tokens: Sequence[str] = (),
) -> Ending:
    """The callback. However it ends, the browser is sent to the app that began, or to the default one.

    `tokens`: those of the browser; if they are a guest's, the guest's data become the user's."""
    found: SignIn | None = None
    try:
        found, settled = await _begun(at, provider, answer, browsers)
        await limit(at, "callbacks", _digest(answer.state or ""), at.settings.sign_ins_per_minute)
        if settled is None and await store.claim_sign_in(at.cache, answer.state or "", CLAIM_SECONDS):
            return await _finish_once(at, caller, found, answer, tokens)
        return await _finish_again(at, answer, settled)
    except _expected() as failure:
        reason = _reason(failure)
        if found is None:
            reason = await _audit_stranger(at, caller, provider, reason)
        return _failed(at, found, reason)


async def _begun(at: Services, provider: str, answer: Answer, browsers: Sequence[str]) -> tuple[SignIn, Outcome | None]:
    """Load the state stored by `start` and its outcome; only for the browser that it was made for."""
    known = await store.sign_in(at.cache, answer.state) if answer.state and len(answer.state) <= STATE_MAX else None
    settled = known if isinstance(known, Outcome) else None
    found = known.sign_in if isinstance(known, Outcome) else known
    if found is None or found.provider != provider or found.browser not in map(_digest, browsers):
        raise _SignInFailed("invalid_state")
    return found, settled


async def _finish_once(at: Services, caller: Caller, found: SignIn, answer: Answer, tokens: Sequence[str]) -> Ending:
    session: store.Session | None = None
    app_code, reason = None, None
    try:
        if answer.error or not answer.code or len(answer.code) > CODE_MAX:
            raise _SignInFailed("access_denied" if answer.error == "access_denied" else "oauth_failed")
        # A native app is no guest, whatever the system browser is.
        guest = None if found.app else await guests.of_browser(at, tokens)
        user = await _user_of(at, found, answer.code, answer.state or "", guest.user_id if guest else None)
        if found.app:
            app_code = await native.grant(at, user, found, found.app)
        else:
            session = await open_session(at, caller, user, found.provider, found.device_id, uuid4())
            if guest:
                await guests.leave(at, guest)
    except _expected() as failure:
        reason = _reason(failure)
        await _audit_failure(at, caller, found.provider, reason)
    outcome = Outcome(found, _digest(answer.code or ""), session.id if session else None, reason, app_code)
    await _settle(at, answer.state or "", outcome)
    return _ended(at, outcome, session)


async def _settle(at: Services, state: str, outcome: Outcome) -> None:
    """Announce a sign-in; it holds even where it cannot be announced."""
    try:
        await store.settle_sign_in(at.cache, state, outcome, int(at.settings.state_ttl.total_seconds()))
    except tuple(AWAY) as error:
        log.warning("the outcome of a sign-in is not kept: %s", error)


async def _finish_again(at: Services, answer: Answer, settled: Outcome | None) -> Ending:
    """End as the first call did, with the session as it is now; if it is that of the same code and not over."""
    settled = settled or await _awaited(at, answer.state or "")
    if settled.code != _digest(answer.code or ""):
        raise _SignInFailed("invalid_state")
    if settled.session is None:
        return _ended(at, settled, None)
    session = await store.session(at.db, settled.session)
    if session is None or session.revoked_at is not None:
        raise _SignInFailed("invalid_state")
    return _ended(at, settled, session)


def _ended(at: Services, outcome: Outcome, session: store.Session | None) -> Ending:
    app = outcome.sign_in.app
    if app and outcome.app_code:
        return Ending(native.address(app, code=outcome.app_code), to_app=True)
    if session:
        return Ending(outcome.sign_in.frontend + HOME, pair_of(at, session))
    return _failed(at, outcome.sign_in, outcome.reason or "oauth_failed")


async def _awaited(at: Services, state: str) -> Outcome:
    """Outcome of this sign-in for another call of it."""
    for _ in range(int(WAIT_SECONDS / POLL_SECONDS)):
        if isinstance(settled := await store.sign_in(at.cache, state), Outcome):
            return settled
        await asyncio.sleep(POLL_SECONDS)
    raise _SignInFailed("temporarily_unavailable")


def _failed(at: Services, found: SignIn | None, reason: str) -> Ending:
    if found and found.app:
        return Ending(native.address(found.app, error=reason), to_app=True)
    frontend = found.frontend if found else at.settings.frontend_url
    return Ending(f"{frontend}{LOGIN}?{urlencode({'error': reason})}")


def _reason(failure: Exception) -> str:
    if isinstance(failure, _SignInFailed):
        return failure.reason
    if isinstance(failure, tuple(AWAY)):
        return "temporarily_unavailable"
    if isinstance(failure, TooMany):
        return "rate_limited"
    return "provider_unavailable" if isinstance(failure, ProviderAway) else "oauth_failed"


async def _user_of(at: Services, begun: SignIn, code: str, state: str, guest: UUID | None) -> UUID:
    profile = await at.providers.profile_of_code(begun.provider, begun.redirect_uri, code, state, begun.verifier)
    return await at.users.find_or_create(profile, guest)


# Audit


async def _audit_stranger(at: Services, caller: Caller, provider: str, reason: str) -> str:
    """The reason that is told. Callbacks that belong to no sign-in cost little, and a flood of them does not fill the
    audit."""
    try:
        times = await limit(at, "strangers", caller.network, at.settings.sign_ins_per_minute_of_network)
    except TooMany:
        return "rate_limited"
    if times <= at.settings.sign_ins_per_minute:
        await _audit_failure(at, caller, provider, reason)
    return reason


async def _audit_failure(at: Services, caller: Caller, provider: str, reason: str) -> None:
    """A database that is away does not keep the browser from being sent back."""
    log.info("sign-in failed", extra={"provider": provider, "reason": reason})
    try:
        await store.audit(at.db, audit_id=uuid4(), provider=provider, outcome=reason, origin=caller.origin)
    except tuple(AWAY) as error:
        log.warning("a failed sign-in is not in the audit: %s", error)
