"""Routes of auth-api."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Cookie, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, Field

from eco2.auth import service
from eco2.auth.oauth import NotOffered
from eco2.auth.service import Caller, Pair, Services
from eco2.contracts.identity import ACCESS_COOKIE, REFRESH_COOKIE
from eco2.core.app import BadUser, ErrorBody, MissingUser, User, error_responses

PREFIX = "/api/v1/auth"
BROWSER_COOKIE = "s_signin"
router = APIRouter(prefix=PREFIX, tags=["auth"])

Provider = Literal["kakao", "google", "naver"]
_STATE = "3q2-7wAbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
_URL = "https://kauth.kakao.com/oauth/authorize?response_type=code&client_id=…&state=…"


class Jwk(BaseModel):
    """Public RSA key of RFC 7517."""

    kty: Annotated[str, Field(examples=["RSA"])]
    kid: Annotated[str, Field(examples=["6740a1b2-9f3c0d1e"])]
    use: Annotated[str, Field(examples=["sig"])]
    alg: Annotated[str, Field(examples=["RS256"])]
    n: Annotated[str, Field(examples=["vXtT4…"])]
    e: Annotated[str, Field(examples=["AQAB"])]


class Jwks(BaseModel):
    keys: list[Jwk]


class AuthorizationUrl(BaseModel):
    provider: Annotated[str, Field(examples=["kakao"])]
    state: Annotated[str, Field(examples=[_STATE])]
    authorization_url: Annotated[str, Field(examples=[_URL])]
    expires_at: Annotated[datetime, Field(examples=["2026-11-22T09:30:00Z"])]


class ProviderUrl(BaseModel):
    success: Literal[True] = True
    data: AuthorizationUrl


class Authorization(BaseModel):
    authorization_url: Annotated[str, Field(examples=[_URL])]
    state: Annotated[str, Field(examples=[_STATE])]


class Message(BaseModel):
    message: Annotated[str, Field(examples=["Signed out."])]


class LoggedOut(BaseModel):
    success: Literal[True] = True
    data: Message


class SessionInfo(BaseModel):
    id: Annotated[UUID, Field(examples=["6f1d3f0e-5f54-4f3c-9d0e-7c1f2a8b9e10"])]
    provider: Annotated[str, Field(examples=["kakao"])]
    device_id: Annotated[str | None, Field(examples=["android-7c1f"])]
    user_agent: Annotated[str | None, Field(examples=["Mozilla/5.0 (Linux; Android 16)"])]
    ip: Annotated[str | None, Field(examples=["203.0.113.7"])]
    created_at: Annotated[datetime, Field(examples=["2026-11-22T09:30:00Z"])]
    refreshed_at: Annotated[datetime, Field(examples=["2026-11-22T12:31:00Z"])]
    current: Annotated[bool, Field(description="The session of this request", examples=[True])]


def _services(request: Request) -> Services:
    found: Services = request.app.state.resources.services
    return found


def _caller(request: Request) -> Caller:
    """The address is the last one in the list: the edge appended it, whatever came before is the client's word."""
    forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    peer = request.client.host if request.client else ""
    return Caller(forwarded or peer, request.headers.get("user-agent", ""), request.headers.get("host", ""))


def _own_page(
    request: Request,
    origin: Annotated[str | None, Header(include_in_schema=False)] = None,
    sec_fetch_site: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> None:
    service.check_origin(_services(request).settings, origin, sec_fetch_site)


At = Annotated[Services, Depends(_services)]
From = Annotated[Caller, Depends(_caller)]
AccessToken = Annotated[str | None, Cookie(alias=ACCESS_COOKIE, include_in_schema=False)]
RefreshToken = Annotated[str | None, Cookie(alias=REFRESH_COOKIE, include_in_schema=False)]
Bearer = Annotated[str | None, Header(alias="Authorization", include_in_schema=False)]
own_page = Depends(_own_page)


def _bearer(header: str | None) -> str | None:
    scheme, _, token = (header or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


# Cookies


def _set(at: Services, response: Response, name: str, value: str, seconds: int, path: str) -> None:
    response.set_cookie(
        name, value, seconds, path=path, domain=at.settings.cookie_domain, secure=True, httponly=True, samesite="lax"
    )


def _keep(at: Services, response: Response, pair: Pair) -> None:
    _set(at, response, ACCESS_COOKIE, pair.access, pair.access_seconds, "/")
    _set(at, response, REFRESH_COOKIE, pair.refresh, pair.refresh_seconds, PREFIX)


def _forget(at: Services, response: Response) -> None:
    _set(at, response, ACCESS_COOKIE, "", 0, "/")
    _set(at, response, REFRESH_COOKIE, "", 0, PREFIX)


# Keys


@router.get("/.well-known/jwks.json", response_model=Jwks, summary="Public keys that verify the tokens")
async def jwks(at: At, response: Response) -> dict[str, Any]:
    """Every key that may have signed a token still valid. May be cached for a minute."""
    response.headers["Cache-Control"] = "public, max-age=60"
    return at.keyring.jwks


# Your sessions (before the routes of the providers, whose path would match)


def _session_of(at: Services, access: str | None, bearer: str | None) -> UUID | None:
    """The session of the request, as its token has it; the edge has verified that token."""
    claims = service.claims_of(at, _bearer(bearer) or access)
    return UUID(claims.sid) if claims and claims.sid else None


_REFUSED = (MissingUser, BadUser)


@router.get(
    "/sessions",
    response_model=list[SessionInfo],
    summary="Where you are signed in",
    responses=error_responses(*_REFUSED),
)
async def sessions(user: User, at: At, access: AccessToken = None, authorization: Bearer = None) -> list[SessionInfo]:
    """The session that was used last comes first."""
    current = _session_of(at, access, authorization)
    return [
        SessionInfo(
            id=row.id,
            provider=row.provider,
            device_id=row.device_id,
            user_agent=row.user_agent,
            ip=row.ip,
            created_at=row.created_at,
            refreshed_at=row.refreshed_at,
            current=row.id == current,
        )
        for row in await service.sessions(at, user)
    ]


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    summary="End one of your sessions",
    responses=error_responses(*_REFUSED, service.NoSuchSession, service.NotLockedOut),
)
async def end_session(user: User, at: At, session_id: UUID) -> None:
    await service.end_one(at, user, session_id)


@router.post(
    "/logout/all",
    response_model=LoggedOut,
    summary="End all of your sessions",
    responses=error_responses(*_REFUSED, service.NotLockedOut),
)
async def logout_everywhere(user: User, at: At, access: AccessToken = None, authorization: Bearer = None) -> Response:
    """Also the one of this request, and its token if that has no session."""
    claims = service.claims_of(at, _bearer(authorization) or access)
    also = [UUID(claims.sid or claims.jti)] if claims else []
    ended = await service.end_all(at, user, "logout_all", *also)
    response = JSONResponse(LoggedOut(data=Message(message=f"Signed out of {ended} sessions.")).model_dump())
    _forget(at, response)
    return response


# Sign in

RedirectUri = Annotated[
    str | None, Query(max_length=500, description="Default: the callback of this API. Only known ones are accepted")
]
FrontendOrigin = Annotated[str | None, Query(max_length=200, description="Where it ends; only known origins")]
DeviceId = Annotated[str | None, Query(max_length=200, pattern=r"^[\x21-\x7e]*$")]
FrontendHeader = Annotated[str | None, Header(alias="X-Frontend-Origin", max_length=200)]
BrowserCookie = Annotated[str | None, Cookie(alias=BROWSER_COOKIE, include_in_schema=False)]
_STARTS = error_responses(service.RedirectRefused, NotOffered, service.TooMany)


async def _start(
    at: At,
    caller: From,
    response: Response,
    provider: Provider,
    redirect_uri: RedirectUri = None,
    frontend_origin: FrontendOrigin = None,
    device_id: DeviceId = None,
    x_frontend_origin: FrontendHeader = None,
    browser: BrowserCookie = None,
) -> service.Start:
    frontend = frontend_origin or x_frontend_origin
    made = await service.start(at, caller, provider, redirect_uri, frontend, device_id, _sane(browser))
    _set(at, response, BROWSER_COOKIE, made.browser, int(at.settings.state_ttl.total_seconds()), PREFIX)
    return made


def _sane(cookie: str | None) -> str | None:
    return cookie if cookie and len(cookie) >= 20 else None


Started = Annotated[service.Start, Depends(_start)]


@router.get("/{provider}", response_model=ProviderUrl, summary="Begin to sign in", responses=_STARTS)
async def begin(started: Started) -> ProviderUrl:
    """Send the browser to `authorization_url`; the same browser has to come back to the callback within ten minutes."""
    return ProviderUrl(data=_authorization(started))


@router.get("/{provider}/login", response_model=ProviderUrl, summary="The same", responses=_STARTS)
async def login(started: Started) -> ProviderUrl:
    return ProviderUrl(data=_authorization(started))


@router.get("/{provider}/authorize", response_model=Authorization, summary="The same, in short", responses=_STARTS)
async def authorize(started: Started) -> Authorization:
    """The state is always made by the server."""
    return Authorization(authorization_url=started.authorization_url, state=started.state)


def _authorization(started: service.Start) -> AuthorizationUrl:
    return AuthorizationUrl(
        provider=started.provider,
        state=started.state,
        authorization_url=started.authorization_url,
        expires_at=started.expires_at,
    )


@router.get(
    "/{provider}/callback",
    status_code=302,
    response_class=RedirectResponse,
    summary="Where the provider sends the browser back",
    responses={
        302: {"description": "Signed in: to `/#/home` of the web app, with both cookies"},
        307: {"description": "Not signed in: to `/#/login?error=…` of the web app"},
    },
)
async def callback(
    at: At,
    caller: From,
    provider: Provider,
    code: Annotated[str | None, Query(max_length=2000)] = None,
    state: Annotated[str | None, Query(max_length=200)] = None,
    error: Annotated[str | None, Query(max_length=200)] = None,
    browser: BrowserCookie = None,
) -> Response:
    """`error` is `access_denied` (the user left), `invalid_state` (too late, used twice, or begun in another browser),
    `provider_unavailable`, `temporarily_unavailable`, `rate_limited` or `oauth_failed`."""
    ending = await service.finish(at, caller, provider, code, state, error, browser)
    response = RedirectResponse(ending.url, 302 if ending.pair else 307, {"Cache-Control": "no-store"})
    if ending.pair:
        _keep(at, response, ending.pair)
    return response


# Stay signed in


@router.post(
    "/refresh",
    status_code=201,
    response_model=None,
    dependencies=[own_page],
    summary="The next pair of tokens",
    responses={
        201: {
            "description": "Both cookies are replaced",
            "content": {"application/json": {"schema": {"type": "null"}}},
        },
        **error_responses(
            service.NoRefreshToken,
            service.RefreshInvalid,
            service.RefreshExpired,
            service.RefreshRevoked,
            service.WrongType,
            service.OriginRefused,
            service.UserGone,
            service.TooMany,
        ),
    },
)
async def refresh(
    at: At,
    caller: From,
    cookie: RefreshToken = None,
    x_refresh_token: Annotated[str | None, Header(include_in_schema=False)] = None,
    authorization: Bearer = None,
) -> Response:
    """A refresh token is used once. For ten seconds it still gives the pair that replaced it, so that requests that
    were under way do not sign anybody out; used later, it ends the session."""
    pair = await service.refresh(at, caller, cookie or _bearer(x_refresh_token) or _bearer(authorization))
    response = JSONResponse(None, 201, {"Cache-Control": "no-store"})
    _keep(at, response, pair)
    return response


# Sign out


@router.post(
    "/logout",
    response_model=LoggedOut,
    dependencies=[own_page],
    summary="End this session",
    responses=error_responses(service.OriginRefused, service.NotLockedOut),
)
async def logout(
    at: At, access: AccessToken = None, refresh_token: RefreshToken = None, authorization: Bearer = None
) -> Response:
    """200 with or without a session, and never before the session is over everywhere. 503 says that it is not: without
    new cookies nothing has happened yet; with cleared ones (REVOCATION_PENDING) no refresh brings it back, but its
    last access token may be accepted for a moment."""
    try:
        ended = await service.logout(at, access or _bearer(authorization), refresh_token)
    except service.NotLockedOut as error:
        body = ErrorBody(detail=error.message, code=error.code).model_dump()
        response = JSONResponse(body, error.status, error.headers)
    else:
        message = Message(message="Signed out." if ended else "There was no session.")
        response = JSONResponse(LoggedOut(data=message).model_dump())
    _forget(at, response)
    return response
