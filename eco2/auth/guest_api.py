"""Routes for guests: a short session without an account, for a small proof of work."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from eco2.auth import guests, service
from eco2.auth.api import At, From, RefreshTokens, keep_alone, own_page
from eco2.auth.settings import Settings
from eco2.contracts.identity import AUTH_PATH
from eco2.core import cookies
from eco2.core.app import error_responses, services_of

BROWSER_COOKIE = "s_guest"
_BROWSER_SECONDS = 30 * 24 * 3600
router = APIRouter(prefix=AUTH_PATH, tags=["auth"])

_CHALLENGE = "EAAAAABpLCEkq1WmR0V3oZxJmYp9Hn0s5Q.0j3mXkVYp5m1cJ8y3r9rT6nq2b7VwE4uKfHsLdGaZxo"


class Challenge(BaseModel):
    challenge: Annotated[str, Field(examples=[_CHALLENGE])]
    difficulty: Annotated[int, Field(description="Zero bits that the digest begins with", examples=[16])]
    expires_in: Annotated[int, Field(description="Seconds", examples=[120])]


class Proof(BaseModel):
    proof: Annotated[
        str,
        Field(
            max_length=guests.PROOF_LENGTH,
            pattern=guests.PROOF_PATTERN,
            description="`<challenge>.<nonce>`; the nonce is any text of letters, digits, `-` and `_`",
            examples=[f"{_CHALLENGE}.80165"],
        ),
    ]


class SessionOfGuest(BaseModel):
    role: Annotated[str, Field(description="Another role if the browser was signed in", examples=["guest"])]
    expires_in: Annotated[int, Field(description="Seconds until the session ends", examples=[86400])]


def _browser_cookie(settings: Settings) -> tuple[str, str, str | None]:
    """Name, path, domain. Only this host can set a cookie of the first name."""
    if settings.over_https:
        return f"__Host-{BROWSER_COOKIE}", "/", None
    return BROWSER_COOKIE, AUTH_PATH, settings.cookie_domain


def _browsers(request: Request) -> list[str]:
    name, _, _ = _browser_cookie(services_of(request, service.Services).settings)
    return cookies.values(request, name)


@router.post(
    "/guest/challenge",
    operation_id="getGuestChallenge",
    response_model=Challenge,
    dependencies=[own_page],
    summary="A challenge that a guest has to answer",
    responses=error_responses(service.OriginRefused, service.TooMany),
)
async def challenge(at: At, caller: From, response: Response) -> Challenge:
    """Find a nonce so that SHA-256 of `<challenge>.<nonce>` begins with `difficulty` zero bits: at 16 that takes 65,536
    attempts on average, a fraction of a second. A challenge counts once."""
    response.headers["Cache-Control"] = "no-store"
    return Challenge(
        challenge=await guests.challenge(at, caller),
        difficulty=at.settings.guest_difficulty,
        expires_in=int(at.settings.guest_challenge_ttl.total_seconds()),
    )


@router.post(
    "/guest",
    operation_id="enterAsGuest",
    status_code=201,
    response_model=SessionOfGuest,
    dependencies=[own_page],
    summary="A short session without an account",
    responses=error_responses(*guests.REFUSALS, service.OriginRefused, service.TooMany),
)
async def enter(
    request: Request,
    at: At,
    caller: From,
    body: Proof,
    tokens: RefreshTokens,
    browsers: Annotated[list[str], Depends(_browsers)],
) -> Response:
    """Sets both cookies as a sign-in does. The session ends after a day at the latest; refreshes go on until then.
    A browser that has a session keeps it and gets its next tokens, a guest as well as somebody who is signed in."""
    entered = await guests.enter(at, caller, body.proof, tokens, browsers)
    session = SessionOfGuest(role=entered.pair.role, expires_in=entered.pair.refresh_seconds)
    response = JSONResponse(session.model_dump(), 201, {"Cache-Control": "no-store"})
    keep_alone(request, response, entered.pair)
    name, path, domain = _browser_cookie(at.settings)
    cookies.put(response, name, entered.browser, _BROWSER_SECONDS, path, domain)
    return response
