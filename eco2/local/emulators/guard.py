"""Keeps web pages away from an emulator: it has no authentication, and a browser on this machine reaches its port.

A page of another site comes with its `Origin` (a form, a script), or under a name of its own that it has pointed at
127.0.0.1. Programs send no `Origin`, and call a loopback address by its name.
"""

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from eco2.core.ops import Receive, Scope, Send, send_json

App = Callable[[Scope, Receive, Send], Awaitable[None]]
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
PROBLEM = {"detail": "This port answers programs and its own pages on this machine only.", "code": "NOT_FROM_HERE"}


class FromHereOnly:
    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_from_here(scope["headers"]):
            await send_json(send, 403, PROBLEM)
            return
        await self._app(scope, receive, send)


def is_from_here(headers: list[tuple[bytes, bytes]]) -> bool:
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
    return len(hosts) == 1 and _is_loopback(hosts[0]) and all(one == f"http://{hosts[0]}" for one in origins)


def _is_loopback(host: str) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # ValueError where it is none
    except ValueError:
        return False
    return parts.hostname in LOOPBACK and parts.netloc == host and "@" not in host
