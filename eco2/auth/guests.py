"""Guests: a short session for a small proof of work, without an account and without a provider.

A challenge is sealed and not stored. It counts once by the session that it gives: its id is derived from the
challenge, so a second one meets the first in the table of sessions, whatever Redis has forgotten. The proof makes many
sessions cost something; the limits of browser and address keep one place from making them all.
"""

import hashlib
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import NAMESPACE_URL, UUID, uuid5

from prometheus_client import Counter

from eco2.auth import keys, service, store
from eco2.auth.service import Caller, Pair, Services, TooMany, limit, open_session, pair_of
from eco2.contracts.identity import GUEST, guest_id
from eco2.core.errors import AWAY, AppError, BadRequest

log = logging.getLogger(__name__)

PROOF_PATTERN = r"^[A-Za-z0-9_.-]*$"
PROOF_LENGTH = 200
_CHALLENGE, _BROWSER = "guest challenge", "guest browser"
_RANDOM, _DAY_SECONDS = 16, 24 * 3600

SESSIONS = Counter(
    "eco2_guest_sessions_total",
    "Requests for the session of a guest: opened, kept (there was a session), refused (proof), limited",
    ["outcome"],
)


class ProofInvalid(BadRequest):
    """The proof fits no challenge: SHA-256 of challenge, dot and nonce has to begin with `difficulty` zero bits."""

    code = "GUEST_PROOF_INVALID"


class ProofExpired(BadRequest):
    """The challenge is too old; take a new one."""

    code = "GUEST_PROOF_EXPIRED"


class ProofUsed(AppError):
    """A challenge counts once; take a new one."""

    status = 409
    code = "GUEST_PROOF_USED"


REFUSALS: tuple[type[AppError], ...] = (ProofInvalid, ProofExpired, ProofUsed)


@dataclass(frozen=True)
class Opened:
    pair: Pair
    browser: str
    """Sealed, for the cookie that tells this browser from its neighbours."""


async def challenge(at: Services, caller: Caller) -> str:
    """TooMany."""
    await limit(at, "challenges-of-network", caller.network, at.settings.guests_per_minute_of_network)
    expires = int(time.time() + at.settings.guest_challenge_ttl.total_seconds())
    payload = bytes([at.settings.guest_difficulty]) + expires.to_bytes(8) + secrets.token_bytes(_RANDOM)
    return at.keyring.seal(_CHALLENGE, payload)


async def enter(
    at: Services, caller: Caller, proof: str, refresh_tokens: Sequence[str], browsers: Sequence[str]
) -> Opened:
    """The session of a new guest; a browser that is signed in, or a guest already, keeps the session that it has.

    ProofInvalid, ProofExpired, ProofUsed, TooMany.
    """
    try:
        await limit(at, "guests-of-network", caller.network, at.settings.guests_per_minute_of_network)
        browser = _known(at, browsers) or secrets.token_bytes(_RANDOM)
        pair = await _kept(at, refresh_tokens)
        if pair is None:
            pair = await _opened(at, caller, proof, browser)
            SESSIONS.labels("opened").inc()
        else:
            SESSIONS.labels("kept").inc()
    except REFUSALS:
        SESSIONS.labels("refused").inc()
        raise
    except TooMany:
        SESSIONS.labels("limited").inc()
        raise
    return Opened(pair, at.keyring.seal(_BROWSER, browser))


def _known(at: Services, browsers: Sequence[str]) -> bytes | None:
    """The id that an earlier cookie of this browser holds; one that was not sealed here is refused."""
    found = (at.keyring.unseal(_BROWSER, one) for one in browsers)
    return next((one for one in found if one is not None), None)


async def _kept(at: Services, refresh_tokens: Sequence[str]) -> Pair | None:
    try:
        return await service.refresh(at, refresh_tokens)
    except service.REFUSALS:
        return None


async def _opened(at: Services, caller: Caller, proof: str, browser: bytes) -> Pair:
    sealed = _proven(at, proof)
    await limit(at, "guests-of-browser", browser.hex(), at.settings.guests_per_day_of_browser, _DAY_SECONDS)
    session_id = uuid5(NAMESPACE_URL, f"eco2:guest:{sealed}")
    user = guest_id(session_id)
    # First, so that no session is without what ends its data.
    await at.users.open_guest(user, int(at.settings.guest_ttl.total_seconds()))
    session = await open_session(at, caller, user, GUEST, None, session_id, role=GUEST)
    if session is None:
        raise ProofUsed
    return pair_of(at, session)


def _proven(at: Services, proof: str) -> str:
    """The challenge that the proof answers. ProofInvalid, ProofExpired."""
    sealed = proof.rpartition(".")[0]
    payload = at.keyring.unseal(_CHALLENGE, sealed)
    if payload is None or not proves(proof, payload[0]):
        raise ProofInvalid
    if int.from_bytes(payload[1:9]) + keys.LEEWAY_SECONDS < time.time():
        raise ProofExpired
    return sealed


# Sign in


async def of_browser(at: Services, tokens: Sequence[str]) -> store.Session | None:
    """The session of the guest who signs in: a holder of one of its tokens is that guest until it ends."""
    for token in tokens:
        claims = service.claims_of(at, token)
        if claims and claims.role == GUEST and claims.sid:
            session = await store.session(at.db, UUID(claims.sid))
            if session and session.role == GUEST and session.revoked_at is None:
                return session
    return None


async def leave(at: Services, session: store.Session) -> None:
    """End the session of a guest who has signed in. Data stored meanwhile are claimed later."""
    try:
        await service.end(at, session.user_id, "claimed", session.id)
    except tuple(AWAY) as error:  # NotLockedOut is one of them
        log.warning("the session of a guest goes on until its time is over: %r", error)


def proves(proof: str, difficulty: int) -> bool:
    digest = int.from_bytes(hashlib.sha256(proof.encode()).digest())
    return digest >> (256 - difficulty) == 0
