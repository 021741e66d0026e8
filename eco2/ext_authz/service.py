"""One decision per request: the identity of the caller, from the claims that the edge has verified.

The edge (native JWT verification) checks signature, issuer, audience and times, and hands the claims over as dynamic
metadata of the request, which no client can write. Here the claims become identity headers, or the answer is 401.
Which paths need no identity is decided by the edge's policy alone (workloads/routing): they never get here.

All inputs of an answer are in memory. A revoked session is 403, a denylist that is too
old is 503 for every request, and a cross-origin page that uses the cookies for a change is 400.
"""

import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

import orjson
from google.protobuf.struct_pb2 import Struct
from prometheus_client import Counter, Histogram

from eco2.contracts.identity import (
    ACCESS_AUDIENCE,
    IDENTITY_PROOF_HEADER,
    LONGEST_ACCESS_SECONDS,
    PROVIDER_HEADER,
    ROLE_HEADER,
    SCHEME_HEADER,
    SESSION_HEADER,
    USER_ID_HEADER,
)
from eco2.contracts.pb import ext_authz_pb2 as pb
from eco2.core import proof
from eco2.core.errors import AppError, BadRequest, Unauthorized
from eco2.ext_authz.denylist import Denylist

CLAIMS_NAMESPACE = "envoy.filters.http.jwt_authn"
CLAIMS_KEY, FAILED_KEY = "claims", "failed"
"""`payload_in_metadata` and `failed_status_in_metadata` of the edge's JWT provider."""
JWKS_FETCH_FAILED = 40
"""The code under FAILED_KEY when the edge has no keys, and auth-api does not hand them out."""

TOKEN_HEADERS = ("authorization", "cookie")
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
AUTH_PREFIX = "/api/v1/auth/"
"""The only routes whose service handles tokens itself."""

DECISIONS = Counter("eco2_authz_decisions_total", "Decisions of ext-authz", ["outcome"])
SECONDS = Histogram(
    "eco2_authz_check_seconds",
    "Time to decide",
    buckets=(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.1),
)

_HEADER_SAFE = re.compile(r"[\x21-\x7e]{1,128}")
OK, PERMISSION_DENIED = 0, 7
"""Status codes of gRPC, as they stand in the answer."""
_OVERWRITE = pb.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


class Refused(AppError):
    """Base of the answers that are no."""

    outcome = "refused"


class NoToken(Refused, Unauthorized):
    """Sign in first."""

    outcome = "no_token"


class BadClaims(Refused, Unauthorized):
    """The token is not an access token of this platform; sign in again."""

    outcome = "bad_claims"


class Revoked(Refused):
    """Your session was ended; sign in again."""

    status = 403
    code = "SESSION_REVOKED"
    outcome = "revoked"


class NoKeys(Refused):
    """Your token cannot be verified right now; try again in a moment."""

    status = 503
    code = "UNAVAILABLE"
    outcome = "no_keys"


class ForeignOrigin(Refused, BadRequest):
    """This page may not use the cookies of the platform."""

    code = "ORIGIN_NOT_ALLOWED"
    outcome = "foreign_origin"


class Stale(Refused):
    """Your session cannot be checked right now; try again in a moment."""

    status = 503
    code = "UNAVAILABLE"
    outcome = "stale"


@dataclass(frozen=True, slots=True)
class Identity:
    """`session` is the id in revocations: the `sid` of the token, or its `jti`."""

    user: str
    provider: str
    role: str
    session: str


def decide(request: pb.CheckRequest, denylist: Denylist, origins: Collection[str], secret: str | None) -> bytes:
    """A CheckResponse: allow with identity headers and their proof, or refuse with the JSON error of the platform."""
    http = request.attributes.request.http
    try:
        who = read_claims(request.attributes.metadata_context)
        if denylist.stale:
            raise Stale
        if who.session in denylist:
            raise Revoked
        if http.method not in SAFE_METHODS:
            check_origin(http, origins)
    except Refused as refusal:
        DECISIONS.labels(refusal.outcome).inc()
        return _refuse(refusal, http.headers.get("origin"), origins)
    DECISIONS.labels("allowed").inc()
    return _allow(who, http.path.startswith(AUTH_PREFIX), secret, proof.period())


def read_claims(context: pb.Metadata) -> Identity:
    """Identity of the owner of a verified access token. NoToken, BadClaims, NoKeys."""
    found = context.filter_metadata.get(CLAIMS_NAMESPACE)
    if found is None or CLAIMS_KEY not in found.fields:
        raise _why_none(found)
    fields = found.fields[CLAIMS_KEY].struct_value.fields
    # A claim that is missing or no text reads as an empty one.
    names = ("sub", "provider", "jti", "type", "aud")
    user, provider, token, kind, audience = (fields[name].string_value if name in fields else "" for name in names)
    role = fields["role"].string_value if "role" in fields else "citizen"
    session = fields["sid"].string_value if "sid" in fields else token
    made, ends = (fields[name].number_value if name in fields else 0 for name in ("iat", "exp"))
    if kind != "access" or audience != ACCESS_AUDIENCE or ends - made > LONGEST_ACCESS_SECONDS:
        raise BadClaims
    if not all(map(_HEADER_SAFE.fullmatch, (user, provider, role, session))):
        raise BadClaims
    return Identity(user, provider, role, session)


def _why_none(found: Struct | None) -> Refused:
    """There is no token that verifies; or there may be one, and the edge lacks the keys to tell."""
    if found is not None and FAILED_KEY in found.fields:
        status = found.fields[FAILED_KEY].struct_value.fields
        if "code" in status and status["code"].number_value == JWKS_FETCH_FAILED:
            return NoKeys()
    return NoToken()


def check_origin(http: pb.AttributeContext.HttpRequest, origins: Collection[str]) -> None:
    """ForeignOrigin where a browser may have sent the cookies by itself: it does so for any page, and says for which.

    It never adds a bearer token by itself, and where there is one the edge verifies no cookie: the claims are the
    token's. What sends neither Origin nor Sec-Fetch-Site is no browser. A browser says same-origin of pages of the host
    itself, such as an operator's; no script can.
    """
    origin, site = http.headers.get("origin"), http.headers.get("sec-fetch-site", "none")
    if http.headers.get(SCHEME_HEADER) == "bearer" or site == "same-origin":
        return
    foreign = site != "none" if origin is None else origin not in origins
    if foreign:
        raise ForeignOrigin


@lru_cache(maxsize=8192)
def _allow(who: Identity, keeps_tokens: bool, secret: str | None, stretch: int) -> bytes:
    identity = {
        USER_ID_HEADER: who.user,
        PROVIDER_HEADER: who.provider,
        ROLE_HEADER: who.role,
        SESSION_HEADER: who.session,
    }
    if secret is not None:
        identity[IDENTITY_PROOF_HEADER] = proof.of_identity(secret, identity, stretch)
    headers = [_header(name, value) for name, value in identity.items()]
    removed = (SCHEME_HEADER, *(() if keeps_tokens else TOKEN_HEADERS))
    answer = pb.OkHttpResponse(headers=headers, headers_to_remove=removed)
    return pb.CheckResponse(status=pb.Status(code=OK), ok_response=answer).SerializeToString()


def _refuse(refusal: Refused, origin: str | None, origins: Collection[str]) -> bytes:
    body = orjson.dumps({"detail": refusal.message, "code": refusal.code}).decode()
    headers = [_header("content-type", "application/json")]
    if refusal.status == 503:
        headers.append(_header("retry-after", "2"))
    if origin is not None and origin in origins:
        # The edge says so itself, but not of routes that it answers by itself: a browser would hide the refusal.
        headers += [
            _header("access-control-allow-origin", origin),
            _header("access-control-allow-credentials", "true"),
            _header("vary", "origin"),
        ]
    answer = pb.DeniedHttpResponse(status=pb.HttpStatus(code=refusal.status), headers=headers, body=body)
    return pb.CheckResponse(status=pb.Status(code=PERMISSION_DENIED), denied_response=answer).SerializeToString()


def _header(name: str, value: str) -> pb.HeaderValueOption:
    return pb.HeaderValueOption(header=pb.HeaderValue(key=name, value=value), append_action=_OVERWRITE)


class Authorization:
    """The service that the edge asks: envoy.service.auth.v3.Authorization."""

    def __init__(self, denylist: Denylist, origins: Collection[str], secret: str | None) -> None:
        self._denylist = denylist
        self._origins = frozenset(origins)
        self._secret = secret

    def check(self, request: bytes) -> bytes:
        """From a CheckRequest to a CheckResponse. DecodeError."""
        started = time.perf_counter()
        try:
            return decide(pb.CheckRequest.FromString(request), self._denylist, self._origins, self._secret)
        finally:
            SECONDS.observe(time.perf_counter() - started)
