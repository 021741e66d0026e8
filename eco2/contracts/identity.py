"""Identity of the caller: cookies, headers and token claims that cross process boundaries."""

from typing import Literal
from uuid import UUID, uuid5

from pydantic import BaseModel

Provider = Literal["google", "kakao", "naver"]
"""Sign-in provider."""

Role = Literal["guest", "citizen", "steward", "operator"]
STEWARDS: frozenset[Role] = frozenset({"steward", "operator"})
"""Roles that look after rules and places."""
GUEST: Role = "guest"
"""Role, also in place of a provider, of a user without an account, in a short session."""

GUEST_VERSION = 8
"""Version of a UUID (RFC 9562: one's own) that ids of guests have, and no account has. Whoever meets an id, in a row, a
message or an event, so knows whose it is. It decides no access: that is the role's."""


def guest_id(session: UUID) -> UUID:
    """The user id of the guest of this session: always the same one."""
    bits = uuid5(session, GUEST).int & ~(0xF << 76) | GUEST_VERSION << 76
    return UUID(int=bits)


def is_guest(user: UUID) -> bool:
    return user.version == GUEST_VERSION


ACCESS_COOKIE = "s_access"
REFRESH_COOKIE = "s_refresh"
AUTH_PATH = "/api/v1/auth"
"""The only path that the refresh token is sent to."""

USER_ID_HEADER = "x-user-id"
PROVIDER_HEADER = "x-auth-provider"
ROLE_HEADER = "x-user-role"
SESSION_HEADER = "x-session-id"
"""Subject of a revocation: the session of the request, or the token itself where it belongs to none."""
IDENTITY_HEADERS = (USER_ID_HEADER, PROVIDER_HEADER, ROLE_HEADER, SESSION_HEADER)
"""Set by ext-authz only; the edge removes such headers of clients."""

IDENTITY_PROOF_HEADER = "x-identity-proof"
"""Signed by ext-authz over the identity headers. A service believes none without it (`eco2.core.proof`)."""
SERVICE_PROOF_KEY = "x-service-proof"
"""gRPC metadata by which a service knows that one of ours calls it."""

VERIFIED_CLAIMS_HEADER = "x-jwt-payload"
"""The name under which a mesh may pass on claims. Ours uses no header for them, and removes a client's own."""

SCHEME_HEADER = "x-auth-scheme"
"""Set by the edge for ext-authz: `bearer` where the claims are those of the bearer token. No service sees it."""

TOKEN_COPY_HEADERS = tuple(f"x-access-token-{number}" for number in range(1, 6))
"""Headers in which the edge puts the bearer token, or each cookie of the name, to be verified. No service sees them."""

CLIENT_ADDRESS_HEADER = "x-client-address"
"""Set by the edge: where the request comes from, behind the proxies that are configured there."""

ACCESS_AUDIENCE = "api"
REFRESH_AUDIENCE = "refresh"

LONGEST_ACCESS_SECONDS, LONGEST_REFRESH_SECONDS = 24 * 3600, 30 * 24 * 3600
"""A token with a longer life is refused, even with a valid signature."""


class Claims(BaseModel):
    """Claims of an access or refresh token; times are epoch seconds."""

    sub: str
    jti: str
    type: str
    iss: str
    aud: str
    iat: int
    nbf: int
    exp: int
    provider: str
    role: str = "citizen"
    sid: str | None = None
    """The session; a token that was not made by a sign-in has none, and is revoked by its `jti`."""
