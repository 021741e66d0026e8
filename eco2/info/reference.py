"""The API document, and a page to read it: Swagger UI from its package, so that no other host is asked for anything."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request, Response

from eco2.core.app import opened
from eco2.core.errors import NotFound
from eco2.core.rendered import Rendered
from eco2.info.service import Services

router = APIRouter(prefix="/api/v1", include_in_schema=False)

DOCUMENT = Path(__file__).parents[2] / "docs" / "api" / "openapi.json"
_OWN, _READER = files("eco2.info") / "templates", files("fastapi_offline") / "static"
_PARTS: dict[str, tuple[Traversable, str, str]] = {
    "docs": (_OWN, "reference.html", "text/html"),
    "reference.js": (_OWN, "reference.js", "text/javascript"),
    "reference.css": (_OWN, "reference.css", "text/css"),
    "swagger-ui.js": (_READER, "swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": (_READER, "swagger-ui.css", "text/css"),
}
SHUT = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""The page may run and fetch what this host serves, and nothing that stands in the page itself."""


class NoSuchPart(NotFound):
    """There is nothing at this path."""


def load() -> dict[str, Rendered]:
    """Every body, by the last part of its path."""
    parts = {name: Rendered.of((at / file).read_bytes(), kind) for name, (at, file, kind) in _PARTS.items()}
    return {"openapi.json": Rendered.of(DOCUMENT.read_bytes(), "application/json"), **parts}


At = Annotated[Services, opened(Services)]


def _answer(at: Services, request: Request, name: str) -> Response:
    if name not in at.reference:
        raise NoSuchPart
    response = at.reference[name].answer(request)
    response.headers.update(SHUT)
    return response


@router.get("/openapi.json")
async def document(at: At, request: Request) -> Response:
    return _answer(at, request, "openapi.json")


@router.get("/docs")
async def page(at: At, request: Request) -> Response:
    return _answer(at, request, "docs")


@router.get("/docs/{name}")
async def part(at: At, request: Request, name: str) -> Response:
    return _answer(at, request, name)
