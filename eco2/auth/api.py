"""Routes of auth-api."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

router = APIRouter(prefix="/api/v1/auth", tags=["auth"])


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


@router.get("/.well-known/jwks.json", response_model=Jwks, summary="Public keys that verify the tokens")
async def jwks(request: Request, response: Response) -> dict[str, Any]:
    """Every key that may have signed a token still valid. May be cached for five minutes."""
    response.headers["Cache-Control"] = "public, max-age=300"
    found: dict[str, Any] = request.app.state.resources.jwks
    return found
