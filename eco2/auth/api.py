"""Routes of auth-api."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, Field

from eco2.auth import service, sign_in
from eco2.auth.oauth import NotOffered
from eco2.auth.service import Caller, Pair, Services
from eco2.auth.settings import Settings
from eco2.auth.sign_in import Answer, Start
from eco2.contracts.identity import ACCESS_COOKIE, AUTH_PATH, CLIENT_ADDRESS_HEADER, REFRESH_COOKIE
from eco2.core import cookies
from eco2.core.app import BadUser, ErrorBody, MissingUser, User, error_responses, opened, services_of
from eco2.core.errors import AppError
from eco2.core.storable import takes_any_text

BROWSER_COOKIE = "s_signin"
router = APIRouter(prefix=AUTH_PATH, tags=["auth"])

Provider = Literal["kakao", "google", "naver"]
_STATE = "3q2-7wAbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
_URL = "https://kauth.kakao.com/oauth/authorize?response_type=code&client_id=…&state=…"

At = Annotated[Services, opened(Services)]


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


def _caller(request: Request) -> Caller:
    peer = request.client.host if request.client else ""
    address = request.headers.get(CLIENT_ADDRESS_HEADER) or peer
    return Caller(address, request.headers.get("user-agent", ""), request.headers.get("host", ""))


def _own_page(
    request: Request,
    origin: Annotated[str | None, Header(include_in_schema=False)] = None,
    sec_fetch_site: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> None:
    service.check_origin(services_of(request, Services).settings, origin, sec_fetch_site)


From = Annotated[Caller, Depends(_caller)]
own_page = Depends(_own_page)


# Tokens that a request carries


def _bearers(request: Request, header: str = "authorization") -> list[str]:
    parts = [line.partition(" ") for line in request.headers.getlist(header)]
    return [token.strip() for scheme, _, token in parts if scheme.lower() == "bearer" and token.strip()]


def _access_tokens(request: Request) -> list[str]:
    return [*_bearers(request), *cookies.values(request, ACCESS_COOKIE)]


def _refresh_tokens(request: Request) -> list[str]:
    held = cookies.values(request, REFRESH_COOKIE)
    return [*held, *_bearers(request, "x-refresh-token"), *_bearers(request)]


AccessTokens = Annotated[list[str], Depends(_access_tokens)]
RefreshTokens = Annotated[list[str], Depends(_refresh_tokens)]


# Cookies


def _browser_cookie(settings: Settings) -> tuple[str, str, str | None]:
    """Name, path, domain. Only this host can set a cookie of the first name."""
    if settings.over_https:
        return f"__Host-{BROWSER_COOKIE}", "/", None
    return BROWSER_COOKIE, AUTH_PATH, settings.cookie_domain


def _browsers(request: Request) -> list[str]:
    name, _, _ = _browser_cookie(services_of(request, Services).settings)
    return cookies.values(request, name)


Browsers = Annotated[list[str], Depends(_browsers)]


def _keep(request: Request, response: Response, pair: Pair, *, alone: bool) -> None:
    """`alone`: take back what other cookies of these names there may be."""
    both = {
        ACCESS_COOKIE: (pair.access, pair.access_seconds),
        REFRESH_COOKIE: (pair.refresh, pair.refresh_seconds),
    }
    cookies.keep(response, services_of(request, Services).settings.cookie_domain, both, alone=alone)


def keep_alone(request: Request, response: Response, pair: Pair) -> None:
    """Set both cookies in place of all that came under their names."""
    _keep(request, response, pair, alone=_most_values(request) > 0)


def _forget(request: Request, response: Response) -> None:
    cookies.forget(response, services_of(request, Services).settings.cookie_domain)


def _most_values(request: Request) -> int:
    return max(len(cookies.values(request, name)) for name in (ACCESS_COOKIE, REFRESH_COOKIE))


def _refused(error: AppError) -> Response:
    """As the app answers an error, for a handler that adds cookies to it."""
    return JSONResponse(ErrorBody(detail=error.message, code=error.code).model_dump(), error.status, error.headers)


# Keys


@router.get(
    "/.well-known/jwks.json",
    operation_id="getSigningKeys",
    response_model=Jwks,
    summary="Public keys that verify the tokens",
)
async def jwks(at: At, response: Response) -> dict[str, Any]:
    """Every key that may have signed a token still valid. May be cached for a minute."""
    response.headers["Cache-Control"] = "public, max-age=60"
    return at.keyring.jwks


# Your sessions (before the routes of the providers, whose path would match)


def _this_session(x_session_id: Annotated[UUID | None, Header(include_in_schema=False)] = None) -> UUID | None:
    """As ext-authz found it: the session of the token that let the request in, or the token itself."""
    return x_session_id


ThisSession = Annotated[UUID | None, Depends(_this_session)]
_REFUSED = (MissingUser, BadUser)


@router.get(
    "/sessions",
    operation_id="listSessions",
    response_model=list[SessionInfo],
    summary="Your sessions",
    responses=error_responses(*_REFUSED),
)
async def sessions(user: User, at: At, this: ThisSession) -> list[SessionInfo]:
    """Last used first."""
    return [
        SessionInfo(
            id=row.id,
            provider=row.provider,
            device_id=row.device_id,
            user_agent=row.user_agent,
            ip=row.ip,
            created_at=row.created_at,
            refreshed_at=row.refreshed_at,
            current=row.id == this,
        )
        for row in await service.sessions(at, user)
    ]


@router.delete(
    "/sessions/{session_id}",
    operation_id="endSession",
    status_code=204,
    summary="End one of your sessions",
    responses=error_responses(*_REFUSED, service.NoSuchSession, service.NotLockedOut),
)
async def end_session(user: User, at: At, session_id: UUID) -> None:
    await service.end_one(at, user, session_id)


@router.post(
    "/logout/all",
    operation_id="logoutEverywhere",
    response_model=LoggedOut,
    summary="End all of your sessions",
    responses=error_responses(*_REFUSED, service.NotLockedOut),
)
async def logout_everywhere(request: Request, user: User, at: At, this: ThisSession) -> Response:
    """Also the one of this request, and its token if that has no session."""
    ended = await service.end_all(at, user, "logout_all", *([this] if this else []))
    response = JSONResponse(LoggedOut(data=Message(message=f"Signed out of {ended} sessions.")).model_dump())
    _forget(request, response)
    return response


# Sign in

RedirectUri = Annotated[
    str | None, Query(max_length=500, description="Default: the callback of this API. Only known ones are accepted")
]
FrontendOrigin = Annotated[str | None, Query(max_length=200, description="Web app to return to; only known origins")]
DeviceId = Annotated[str | None, Query(max_length=200, pattern=r"^[\x21-\x7e]*$")]
FrontendHeader = Annotated[str | None, Header(alias="X-Frontend-Origin", max_length=200)]
_STARTS = error_responses(sign_in.RedirectRefused, NotOffered, service.TooMany)


async def _start(
    at: At,
    caller: From,
    response: Response,
    browsers: Browsers,
    provider: Provider,
    redirect_uri: RedirectUri = None,
    frontend_origin: FrontendOrigin = None,
    device_id: DeviceId = None,
    x_frontend_origin: FrontendHeader = None,
) -> Start:
    frontend = frontend_origin or x_frontend_origin
    made = await sign_in.start(at, caller, provider, redirect_uri, frontend, device_id, browsers)
    keep_browser(at, response, made)
    return made


def keep_browser(at: Services, response: Response, made: Start) -> None:
    """Set the cookie by which the callback knows the browser again."""
    name, path, domain = _browser_cookie(at.settings)
    cookies.put(response, name, made.browser, int(at.settings.state_ttl.total_seconds()), path, domain)


Started = Annotated[Start, Depends(_start)]


@router.get(
    "/{provider}", operation_id="beginSignIn", response_model=ProviderUrl, summary="Begin a sign-in", responses=_STARTS
)
async def begin(started: Started) -> ProviderUrl:
    """Send the browser to `authorization_url`; the same browser has to come back to the callback within ten minutes."""
    return ProviderUrl(data=_authorization(started))


@router.get(
    "/{provider}/login",
    operation_id="beginSignInAtLogin",
    response_model=ProviderUrl,
    summary="The same",
    responses=_STARTS,
)
async def login(started: Started) -> ProviderUrl:
    return ProviderUrl(data=_authorization(started))


@router.get(
    "/{provider}/authorize",
    operation_id="authorizeSignIn",
    response_model=Authorization,
    summary="The same, in short",
    responses=_STARTS,
)
async def authorize(started: Started) -> Authorization:
    """The state is always made by the server."""
    return Authorization(authorization_url=started.authorization_url, state=started.state)


def _authorization(started: Start) -> AuthorizationUrl:
    return AuthorizationUrl(
        provider=started.provider,
        state=started.state,
        authorization_url=started.authorization_url,
        expires_at=started.expires_at,
    )


@router.get(
    "/{provider}/callback",
    operation_id="completeSignIn",
    status_code=302,
    response_class=RedirectResponse,
    summary="Callback of the provider",
    responses={
        302: {
            "description": "Signed in: to `/#/home` of the web app, with both cookies. To the native app that began, "
            "with `code` or `error`"
        },
        307: {"description": "Not signed in: to `/#/login?error=…` of the web app"},
        **error_responses(sign_in.Prefetched),
    },
)
@takes_any_text
async def callback(
    request: Request,
    at: At,
    caller: From,
    browsers: Browsers,
    access: AccessTokens,
    refresh: RefreshTokens,
    provider: Provider,
    code: str | None = None,
    state: str | None = None,
    error: str | None = None,
) -> Response:
    """`error` is `access_denied` (the user left), `invalid_state` (too late, or begun in another browser),
    `provider_unavailable`, `temporarily_unavailable`, `rate_limited` or `oauth_failed`. Called again by the same
    browser it ends as it did the first time. A browser that fetches the page ahead is refused, and goes there later."""
    if _is_prefetch(request):
        raise sign_in.Prefetched
    ending = await sign_in.finish(at, caller, provider, Answer(code, state, error), browsers, [*access, *refresh])
    status = 302 if ending.pair or ending.to_app else 307
    response = RedirectResponse(ending.url, status, {"Cache-Control": "no-store"})
    if ending.pair:
        keep_alone(request, response, ending.pair)
    return response


def _is_prefetch(request: Request) -> bool:
    purposes = (request.headers.get(name, "") for name in ("sec-purpose", "purpose", "x-purpose", "x-moz"))
    return any(purpose.lower().startswith(("prefetch", "prerender", "preview")) for purpose in purposes)


# Stay signed in


@router.post(
    "/refresh",
    operation_id="refreshTokens",
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
async def refresh(request: Request, at: At, tokens: RefreshTokens) -> Response:
    """A refresh token is used once. For a minute it still gives the pair that replaced it, so that neither requests
    that were under way nor a lost answer sign the user out; used later, it ends the session.

    Of several cookies of the name the first counts that a session goes on with. Where there is none, they are taken
    back."""
    try:
        pair = await service.refresh(at, tokens)
    except service.REFUSALS as error:
        response = _refused(error)
        if cookies.values(request, REFRESH_COOKIE):
            _forget(request, response)
        return response
    response = JSONResponse(None, 201, {"Cache-Control": "no-store"})
    _keep(request, response, pair, alone=_most_values(request) > 1)
    return response


# Sign out


@router.post(
    "/logout",
    operation_id="logout",
    response_model=LoggedOut,
    dependencies=[own_page],
    summary="End this session",
    responses=error_responses(service.OriginRefused, service.NotLockedOut),
)
async def logout(request: Request, at: At, access: AccessTokens, refresh: RefreshTokens) -> Response:
    """Ends every session that a token or cookie of the request names, and takes the cookies back.

    200 with or without a session, and never before no refresh brings the session back and its end is written down for
    every instance of the check. They hear of it within milliseconds, at the latest after a second: a request that comes
    that soon after the answer may still be served. 503 says that it is not over: without
    new cookies nothing has happened yet; with cleared ones (REVOCATION_PENDING) no refresh brings it back, but its
    last access token may be accepted for a moment."""
    try:
        ended = await service.logout(at, [*access, *refresh])
    except service.NotLockedOut as error:
        response = _refused(error)
    else:
        message = Message(message="Signed out." if ended else "There was no session.")
        response = JSONResponse(LoggedOut(data=message).model_dump())
    _forget(request, response)
    return response
