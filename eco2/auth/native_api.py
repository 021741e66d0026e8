"""Routes for native apps, in the form of OAuth 2: libraries such as AppAuth know them by their two addresses."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Query, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from eco2.auth import native, service, sign_in
from eco2.auth.api import At, Browsers, DeviceId, From, Provider, keep_browser
from eco2.auth.oauth import NotOffered
from eco2.auth.service import Pair
from eco2.auth.store import AppTarget
from eco2.contracts.identity import AUTH_PATH
from eco2.core.app import ErrorBody, error_responses
from eco2.core.errors import AppError, BadRequest
from eco2.core.storable import takes_any_text

router = APIRouter(prefix=AUTH_PATH, tags=["auth"])

_CODE = "Qm1z0a3Qb8q0n7ZJ2l4y6pXr5sT9uV1wEoKdHcGfBiA"
_VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
_CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
_APP = "kr.eco2.app:/signed-in"


Word = Literal["invalid_grant", "invalid_request", "temporarily_unavailable"]
"""`error` of RFC 6749."""


class GrantIncomplete(BadRequest):
    """With grant_type authorization_code send code, code_verifier, redirect_uri; with refresh_token, refresh_token."""

    code = "INVALID_REQUEST"


class TokenRequest(BaseModel):
    """Fields of RFC 6749; further ones, such as `client_id` and `scope`, are not read."""

    model_config = ConfigDict(extra="ignore")

    grant_type: Annotated[Literal["authorization_code", "refresh_token"], Field(examples=["authorization_code"])]
    code: Annotated[str | None, Field(max_length=100, description="From the redirect", examples=[_CODE])] = None
    code_verifier: Annotated[
        str | None,
        Field(pattern=native.VERIFIER_PATTERN, description="The one of code_challenge", examples=[_VERIFIER]),
    ] = None
    redirect_uri: Annotated[str | None, Field(max_length=500, description="As at the start", examples=[_APP])] = None
    refresh_token: Annotated[str | None, Field(max_length=4096, description="The last one", examples=[None])] = None


class Tokens(BaseModel):
    access_token: Annotated[str, Field(description="For `Authorization: Bearer …`", examples=["eyJhbGciOiJSUzI1NiIs…"])]
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 (a word of the protocol)
    expires_in: Annotated[int, Field(description="Seconds", examples=[10800])]
    refresh_token: Annotated[str, Field(description="Good for one refresh", examples=["eyJhbGciOiJSUzI1NiIs…"])]
    refresh_expires_in: Annotated[int, Field(description="Seconds", examples=[2592000])]


class OAuthErrorBody(ErrorBody):
    """As every error, and in the words of RFC 6749."""

    error: Word


def _app(
    at: At,
    redirect_uri: Annotated[str, Query(max_length=500, examples=[_APP], description="Of a known app")],
    state: Annotated[
        str,
        Query(
            min_length=8,
            max_length=200,
            pattern=r"^[\x21-\x7e]*$",
            description="Random, comes back to the app, which compares it",
        ),
    ],
    code_challenge: Annotated[
        str, Query(pattern=native.CHALLENGE_PATTERN, examples=[_CHALLENGE], description="SHA-256 of the verifier")
    ],
    response_type: Annotated[Literal["code"], Query()] = "code",
    code_challenge_method: Annotated[Literal["S256"], Query()] = "S256",
) -> AppTarget:
    del response_type, code_challenge_method  # the only values there are
    return native.target(at, redirect_uri, state, code_challenge)


@router.get(
    "/{provider}/app",
    operation_id="beginAppSignIn",
    status_code=302,
    response_class=RedirectResponse,
    summary="Begin a sign-in to a native app",
    responses={
        302: {"description": "To the provider, or to redirect_uri with `error=rate_limited`"},
        **error_responses(native.AppRedirectRefused, NotOffered),
    },
)
async def begin_app(
    at: At,
    caller: From,
    browsers: Browsers,
    provider: Provider,
    app: Annotated[AppTarget, Depends(_app)],
    device_id: DeviceId = None,
) -> Response:
    """The app opens this address in the system browser (never in a web view of its own). It ends at `redirect_uri`
    with `code` and `state`, or with `error` and `state`: the errors are those of the callback. The code is good once,
    for a minute, with the verifier."""
    headers = {"Cache-Control": "no-store"}
    try:
        made = await sign_in.start(at, caller, provider, None, None, device_id, browsers, app)
    except service.TooMany:
        return RedirectResponse(native.address(app, error="rate_limited"), 302, headers)
    response = RedirectResponse(made.authorization_url, 302, headers)
    keep_browser(at, response, made)
    return response


_REFUSALS: tuple[type[AppError], ...] = (
    GrantIncomplete,
    native.CodeRefused,
    service.RefreshInvalid,
    service.RefreshExpired,
    service.RefreshRevoked,
    service.WrongType,
    service.UserGone,
    service.TooMany,
)


def _word(error: type[AppError]) -> Word:
    if issubclass(error, GrantIncomplete):
        return "invalid_request"
    return "temporarily_unavailable" if issubclass(error, service.TooMany) else "invalid_grant"


def _refusals() -> dict[int | str, dict[str, Any]]:
    found = error_responses(*_REFUSALS)
    words = {error.code: _word(error) for error in _REFUSALS}
    for answer in found.values():
        answer["model"] = OAuthErrorBody
        for code, example in answer["content"]["application/json"]["examples"].items():
            example["value"]["error"] = words[code]
    return found


@router.post(
    "/token",
    operation_id="getAppTokens",
    response_model=Tokens,
    summary="Tokens of a native app: the first ones, and the next ones",
    responses=_refusals(),
)
@takes_any_text  # nothing of the form is kept
async def tokens(at: At, caller: From, form: Annotated[TokenRequest, Form()]) -> Response:
    """`grant_type=authorization_code` trades a code for tokens, `grant_type=refresh_token` the last refresh token for
    the next pair, by the rules of `refreshTokens`. Errors add `error` of RFC 6749: after `invalid_grant` the user signs
    in again. Cookies play no part here."""
    try:
        pair = await _pair(at, caller, form)
    except _REFUSALS as error:
        body = OAuthErrorBody(detail=error.message, code=error.code, error=_word(type(error)))
        return JSONResponse(body.model_dump(), error.status, error.headers)
    found = Tokens(
        access_token=pair.access,
        expires_in=pair.access_seconds,
        refresh_token=pair.refresh,
        refresh_expires_in=pair.refresh_seconds,
    )
    return JSONResponse(found.model_dump(), headers={"Cache-Control": "no-store"})


async def _pair(at: service.Services, caller: service.Caller, form: TokenRequest) -> Pair:
    if form.grant_type == "refresh_token" and form.refresh_token:
        return await service.refresh(at, [form.refresh_token])
    if form.grant_type == "authorization_code" and form.code and form.code_verifier and form.redirect_uri:
        return await native.exchange(at, caller, form.code, form.code_verifier, form.redirect_uri)
    raise GrantIncomplete
