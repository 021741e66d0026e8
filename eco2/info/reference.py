"""The API document, and a page to read it: Swagger UI from its package, so that no other host is asked for anything."""

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from fastapi import APIRouter, Request, Response

from eco2.core.errors import NotFound
from eco2.core.rendered import Rendered

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


def _answer(request: Request, name: str) -> Response:
    known: Mapping[str, Rendered] = request.app.state.resources.reference
    if name not in known:
        raise NoSuchPart
    response = known[name].answer(request)
    response.headers.update(SHUT)
    return response


@router.get("/openapi.json")
async def document(request: Request) -> Response:
    return _answer(request, "openapi.json")


@router.get("/docs")
async def page(request: Request) -> Response:
    return _answer(request, "docs")


@router.get("/docs/{name}")
async def part(request: Request, name: str) -> Response:
    return _answer(request, name)
