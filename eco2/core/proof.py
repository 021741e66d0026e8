"""Short-lived proofs that identity headers come from our edge, and gRPC calls from our own services.

A second check behind the mesh's mTLS and its policies: a foreign caller that reaches a port is not
trusted. Proofs are JWTs signed with the key that all processes share (`ECO2_SERVICE_SECRET`). A process without the
key, which only a local one may be, asks for none.
"""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jwt

from eco2.contracts.identity import (
    IDENTITY_HEADERS,
    IDENTITY_PROOF_HEADER,
    PROVIDER_HEADER,
    ROLE_HEADER,
    SESSION_HEADER,
    USER_ID_HEADER,
)

ALGORITHM = "HS256"
EDGE = "eco2-edge"
"""Audience of the proofs of identity headers; that of a call is the full name of the gRPC service."""
VALID_SECONDS, RENEW_SECONDS = 120, 60
"""A proof is used for RENEW_SECONDS at most, and holds as long again: clocks, and requests on their way."""

RawHeaders = Sequence[tuple[bytes, bytes]]
_CLAIMS = {USER_ID_HEADER: "sub", PROVIDER_HEADER: "provider", ROLE_HEADER: "role", SESSION_HEADER: "sid"}
_NAMES = frozenset(name.encode() for name in (*IDENTITY_HEADERS, IDENTITY_PROOF_HEADER))
_PROOF = IDENTITY_PROOF_HEADER.encode()


def period() -> int:
    """Number of the current stretch of RENEW_SECONDS; proofs of one stretch are the same."""
    return int(time.time()) // RENEW_SECONDS


def of_identity(secret: str, headers: dict[str, str], stretch: int) -> str:
    """The proof that goes with these identity headers."""
    claims = {claim: headers.get(name, "") for name, claim in _CLAIMS.items()}
    return _signed(secret, EDGE, claims, stretch)


@lru_cache(maxsize=64)
def of_caller(secret: str, service: str, stretch: int) -> str:
    """The proof of a caller of the gRPC service `service`."""
    return _signed(secret, service, {}, stretch)


def _signed(secret: str, audience: str, claims: dict[str, str], stretch: int) -> str:
    end = stretch * RENEW_SECONDS + VALID_SECONDS
    return jwt.encode({**claims, "aud": audience, "exp": end}, secret, algorithm=ALGORITHM)


def proves_call(secret: str, service: str, proof: str) -> bool:
    return _claims_of(secret, service, proof) is not None


def without_unproven_identity(secret: str, headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """The headers of a request, without those of identity unless a valid proof names exactly their values."""
    identity = [(name, value) for name, value in headers if name in _NAMES]
    if identity and not _proven(secret, identity):
        return [(name, value) for name, value in headers if name not in _NAMES]
    return list(headers)


def _proven(secret: str, identity: RawHeaders) -> bool:
    found = dict(identity)
    if len(found) < len(identity) or _PROOF not in found:  # a header twice: which one would be read?
        return False
    claims = _claims_of(secret, EDGE, found[_PROOF].decode("latin-1"))
    if claims is None:
        return False
    return all(
        found.get(name.encode(), b"").decode("latin-1") == claims.get(claim, "") for name, claim in _CLAIMS.items()
    )


def _claims_of(secret: str, audience: str, proof: str) -> dict[str, Any] | None:
    claims = _verified(secret, audience, proof)
    return claims if claims is not None and claims["exp"] > time.time() else None


@lru_cache(maxsize=4096)
def _verified(secret: str, audience: str, proof: str) -> dict[str, Any] | None:
    """Claims of a proof with a valid signature. Its end is not checked here, as cached claims grow old."""
    options: Any = {"require": ["aud", "exp"], "verify_exp": False}
    try:
        return jwt.decode(proof, secret, algorithms=[ALGORITHM], audience=audience, options=options)
    except jwt.PyJWTError:
        return None
