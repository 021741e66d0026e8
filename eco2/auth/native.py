"""Native apps: a sign-in in the system browser ends in the app with a one-time code, which gives tokens (RFC 8252).

The code can be read by another app that claims the same scheme, so it is worth nothing without the verifier that only
the app has (PKCE, RFC 7636). It counts once, for a minute. Its session has an id made of the code: that the code was
used before is then known from the table of sessions, whatever Redis has forgotten.
"""

import base64
import hashlib
import re
import secrets
from datetime import timedelta
from urllib.parse import urlencode
from uuid import NAMESPACE_URL, UUID, uuid5

from eco2.auth import store
from eco2.auth.service import Caller, Pair, Services, end, limit, open_session, pair_of
from eco2.auth.store import AppTarget, Grant, SignIn
from eco2.core.errors import BadRequest

CODE_LIFE = timedelta(seconds=60)
CHALLENGE_PATTERN = r"^[A-Za-z0-9_-]{43}$"
VERIFIER_PATTERN = r"^[A-Za-z0-9._~-]{43,128}$"
_LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\])):[1-9][0-9]{0,4}(/.*)")


class AppRedirectRefused(BadRequest):
    """This redirect_uri is not one of a known app; the operator adds it to ECO2_NATIVE_REDIRECT_URIS."""

    code = "APP_REDIRECT_NOT_ALLOWED"


class CodeRefused(BadRequest):
    """This code is unknown, used, older than a minute, or of another app; sign in again."""

    code = "INVALID_GRANT"


def target(at: Services, redirect_uri: str, state: str, challenge: str) -> AppTarget:
    """The app that a sign-in begins for. AppRedirectRefused."""
    if not is_known(at.settings.native_redirect_uris, redirect_uri):
        raise AppRedirectRefused
    return AppTarget(redirect_uri, state, challenge)


def is_known(known: tuple[str, ...], redirect_uri: str) -> bool:
    """Compare letter by letter, but for the port of a loopback address: an app listens at any that is free."""
    listening = _LOOPBACK.fullmatch(redirect_uri)
    return redirect_uri in known or (listening is not None and "".join(listening.groups()) in known)


def is_claimed(redirect_uri: str) -> bool:
    """True where the system proves which app gets the code. Any other app may pretend to be ours, so the user is asked
    even where the provider would send the browser straight back."""
    return redirect_uri.startswith("https://")


def address(app: AppTarget, **answer: str) -> str:
    """Address to which the browser goes at the end. `answer`: a code or an error."""
    return f"{app.redirect_uri}?{urlencode({**answer, 'state': app.state})}"


async def grant(at: Services, user: UUID, begun: SignIn, app: AppTarget) -> str:
    """A one-time code for the user who signed in."""
    code = secrets.token_urlsafe(32)
    kept = Grant(user, begun.provider, begun.device_id, app.redirect_uri, app.challenge)
    await store.keep_grant(at.cache, _digest(code), kept, int(CODE_LIFE.total_seconds()))
    return code


async def exchange(at: Services, caller: Caller, code: str, verifier: str, redirect_uri: str) -> Pair:
    """Tokens of a new session for a code. CodeRefused, TooMany.

    A wrong verifier uses the code up. A code that comes again with the right one ends the session that it gave: either
    the answer was lost with those tokens, or a thief has code and verifier.
    """
    await limit(at, "codes", caller.network, at.settings.sign_ins_per_minute_of_network)
    found = await store.grant(at.cache, _digest(code))
    if found is None:
        raise CodeRefused
    if not _proves(verifier, found.challenge) or redirect_uri != found.redirect_uri:
        await store.drop_grant(at.cache, _digest(code))
        raise CodeRefused
    if not await at.users.exists(found.user):
        raise CodeRefused
    session_id = uuid5(NAMESPACE_URL, f"eco2:code:{code}")
    session = await open_session(at, caller, found.user, found.provider, found.device_id, session_id)
    if session is None:
        await store.drop_grant(at.cache, _digest(code))
        await end(at, found.user, "code_reuse", session_id)
        raise CodeRefused
    return pair_of(at, session)


def _proves(verifier: str, challenge: str) -> bool:
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return secrets.compare_digest(digest, challenge.encode())


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
