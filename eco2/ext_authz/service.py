"""One decision per request: who is asking, from the claims that the edge has verified.

The edge (native JWT verification) checks signature, issuer, audience and times, and hands the claims over as dynamic
metadata of the request, which no client can write. Here the claims become identity headers, or the answer is 401.
Which paths need no identity is decided by the edge's policy alone (workloads/routing): they never get here.
"""

import re
import time
from collections.abc import Mapping

import orjson
from google.protobuf import struct_pb2
from grpc import StatusCode
from grpc.aio import ServicerContext
from prometheus_client import Counter, Histogram
from pydantic import ValidationError

from eco2.contracts.identity import (
    ACCESS_AUDIENCE,
    PROVIDER_HEADER,
    ROLE_HEADER,
    USER_ID_HEADER,
    Claims,
)
from eco2.contracts.pb import ext_authz_pb2 as pb
from eco2.contracts.pb.ext_authz_pb2_grpc import AuthorizationServicer
from eco2.core.errors import AppError, Unauthorized

CLAIMS_NAMESPACE = "envoy.filters.http.jwt_authn"
CLAIMS_KEY = "claims"
"""`payload_in_metadata` of the edge's JWT provider."""

TOKEN_HEADERS = ("authorization", "cookie")
AUTH_PREFIX = "/api/v1/auth/"
"""The only routes whose service handles tokens itself."""

DECISIONS = Counter("eco2_authz_decisions_total", "Decisions of ext-authz", ["outcome"])
SECONDS = Histogram(
    "eco2_authz_check_seconds",
    "Time to decide",
    buckets=(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.1),
)

_HEADER_SAFE = re.compile(r"[\x21-\x7e]{1,128}")
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


def decide(request: pb.CheckRequest) -> pb.CheckResponse:
    """Allow with identity headers, or refuse with the JSON error of the platform."""
    try:
        claims = read_claims(request.attributes.metadata_context)
    except Refused as refusal:
        DECISIONS.labels(refusal.outcome).inc()
        return _refuse(refusal)
    DECISIONS.labels("allowed").inc()
    return _allow(claims, request.attributes.request.http.path)


def read_claims(context: pb.Metadata) -> Claims:
    """The claims of a verified access token. NoToken, BadClaims."""
    found = context.filter_metadata.get(CLAIMS_NAMESPACE)
    if found is None or CLAIMS_KEY not in found.fields:
        raise NoToken
    try:
        claims = Claims.model_validate(_scalars(found.fields[CLAIMS_KEY].struct_value.fields))
    except ValidationError:
        raise BadClaims from None
    if claims.type != "access" or claims.aud != ACCESS_AUDIENCE:
        raise BadClaims
    if not all(map(_HEADER_SAFE.fullmatch, (claims.sub, claims.provider, claims.role))):
        raise BadClaims
    return claims


def _scalars(fields: Mapping[str, struct_pb2.Value]) -> dict[str, object]:
    return {name: getattr(value, value.WhichOneof("kind") or "null_value") for name, value in fields.items()}


def _allow(claims: Claims, path: str) -> pb.CheckResponse:
    identity = {USER_ID_HEADER: claims.sub, PROVIDER_HEADER: claims.provider, ROLE_HEADER: claims.role}
    headers = [_header(name, value) for name, value in identity.items()]
    tokens = () if path.startswith(AUTH_PREFIX) else TOKEN_HEADERS
    return pb.CheckResponse(
        status=pb.Status(code=StatusCode.OK.value[0]),
        ok_response=pb.OkHttpResponse(headers=headers, headers_to_remove=tokens),
    )


def _refuse(refusal: Refused) -> pb.CheckResponse:
    body = orjson.dumps({"detail": refusal.message, "code": refusal.code}).decode()
    return pb.CheckResponse(
        status=pb.Status(code=StatusCode.UNAUTHENTICATED.value[0]),
        denied_response=pb.DeniedHttpResponse(
            status=pb.HttpStatus(code=refusal.status),
            headers=[_header("content-type", "application/json")],
            body=body,
        ),
    )


def _header(name: str, value: str) -> pb.HeaderValueOption:
    return pb.HeaderValueOption(header=pb.HeaderValue(key=name, value=value), append_action=_OVERWRITE)


class Authorization(AuthorizationServicer):
    """The gRPC face: envoy.service.auth.v3.Authorization."""

    async def Check(  # noqa: N802 - the name of the method in the protocol
        self,
        request: pb.CheckRequest,
        _context: "ServicerContext[pb.CheckRequest, pb.CheckResponse]",
    ) -> pb.CheckResponse:
        started = time.perf_counter()
        try:
            return decide(request)
        finally:
            SECONDS.observe(time.perf_counter() - started)
