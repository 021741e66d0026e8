"""Refusal of requests whose texts no database can store: half an emoji (a lone surrogate), NUL, broken UTF-8."""

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from fastapi import Request
from fastapi.exceptions import RequestValidationError

_UNSTORABLE = re.compile("[\\ud800-\\udfff\\0]")
_SUSPECT = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)|\xed[\xa0-\xbf]|\0")
"""Escaped, as broken UTF-8 that the parser lets pass, or in UTF-16, which has a NUL beside every sign of the JSON."""
_MESSAGE = "must be Unicode text without half an emoji (a lone surrogate) and without the character NUL"
_SHOWN = 100


Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def takes_any_text(endpoint: Endpoint) -> Endpoint:
    """Mark the function of a route that answers odd texts itself, such as one that must not answer with JSON."""
    endpoint.takes_any_text = True  # type: ignore[attr-defined]
    return endpoint


async def storable(request: Request) -> None:
    """A dependency of every route. RequestValidationError names the fields."""
    if getattr(request.scope.get("endpoint"), "takes_any_text", False):
        return
    found: list[tuple[str | int, ...]] = [
        ("path", key) for key, value in request.path_params.items() if _unstorable(value)
    ]
    found += [("query", key) for key, value in request.query_params.multi_items() if _unstorable(key + value)]
    found += [(part,) for part, raw in _encoded(request) if not _utf8(raw)]
    if _SUSPECT.search(await request.body()):
        found += [("body", *place) for place in _places(await _parsed(request))]
    if found:
        errors = [{"type": "string_unicode", "loc": place, "msg": _MESSAGE, "input": None} for place in found]
        raise RequestValidationError(errors)


def _unstorable(value: object) -> bool:
    return isinstance(value, str) and _UNSTORABLE.search(value) is not None


def _encoded(request: Request) -> Iterator[tuple[str, bytes]]:
    raw_path = request.scope.get("raw_path") or b""
    yield from (pair for pair in (("path", raw_path), ("query", request.scope["query_string"])) if b"%" in pair[1])


def _utf8(raw: bytes) -> bool:
    try:
        unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        return False
    return True


async def _parsed(request: Request) -> Any:
    """The JSON as the routes get it; None where it is none, which they refuse themselves."""
    try:
        return await request.json()
    except (ValueError, RecursionError):
        return None


def _places(value: Any) -> Iterator[tuple[str | int, ...]]:
    """Places of the texts in the document; of a key, that of the object which has it."""
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while waiting:
        place, inner = waiting.pop()
        if _unstorable(inner):
            yield place
        elif isinstance(inner, dict):
            if any(map(_unstorable, inner)):
                yield place
            waiting += [((*place, key[:_SHOWN]), below) for key, below in inner.items() if not _unstorable(key)]
        elif isinstance(inner, list):
            waiting += [((*place, n), below) for n, below in enumerate(inner)]
