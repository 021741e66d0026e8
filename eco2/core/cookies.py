"""Cookies of the session: every value that a request brings, and how they are set and taken back.

A browser keeps cookies of one name apart by path and domain, and sends all of them: what an earlier backend or another
setting left stays beside ours until it is taken back in its own place.
"""

from collections.abc import Iterator, Mapping

from starlette.requests import Request
from starlette.responses import Response

from eco2.contracts.identity import ACCESS_COOKIE, AUTH_PATH, REFRESH_COOKIE

MOST_VALUES = 20
PATHS = {ACCESS_COOKIE: "/", REFRESH_COOKIE: AUTH_PATH}


def values(request: Request, name: str) -> list[str]:
    """Different ones, in the order in which they were sent: those of a longer path come first."""
    pairs = (pair.partition("=") for line in request.headers.getlist("cookie") for pair in line.split(";"))
    found = (value.strip().strip('"') for key, _, value in pairs if key.strip() == name)
    return list(dict.fromkeys(value for value in found if value))[:MOST_VALUES]


def put(response: Response, name: str, value: str, seconds: int, path: str, domain: str | None) -> None:
    response.set_cookie(name, value, seconds, path=path, domain=domain, secure=True, httponly=True, samesite="lax")


def forget(response: Response, domain: str | None) -> None:
    """Take both cookies back, wherever one of that name may be."""
    for name, path, host in _places(domain):
        put(response, name, "", 0, path, host)


def keep(response: Response, domain: str | None, pair: Mapping[str, tuple[str, int]], *, alone: bool) -> None:
    """Set both cookies: name → (value, seconds). `alone`: take back others of their names."""
    if alone:
        for name, path, host in _places(domain):
            if (path, host) != (PATHS[name], domain):
                put(response, name, "", 0, path, host)
    for name, (value, seconds) in pair.items():
        put(response, name, value, seconds, PATHS[name], domain)


def _places(domain: str | None) -> Iterator[tuple[str, str, str | None]]:
    """Name, path, domain. Without a domain a cookie belongs to the host alone."""
    for name in PATHS:
        for path in PATHS.values():
            for host in dict.fromkeys((None, domain)):
                yield name, path, host
