"""Operator's endpoints of every process: `/health`, `/ready`, `/metrics`; and how a process serves HTTP.

`/health` says that the process runs, `/ready` that it can do its work now (each named check passed within its time),
`/metrics` is the Prometheus text, or OpenMetrics on request. The edge never routes to them.
"""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from contextlib import nullcontext
from typing import Any
from urllib.parse import quote

import orjson
import uvicorn
import uvloop
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from eco2.core.settings import Settings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
Check = Callable[[], Awaitable[object]]

CHECK_SECONDS = 2.0
COLLECT_AFTER = 20_000
"""So many more objects made than gone since the collector looked last."""
log = logging.getLogger(__name__)


async def send_json(send: Send, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
    """One whole JSON response of a raw ASGI app."""
    await _send(send, status, orjson.dumps(body), "application/json", headers)


async def send_body(send: Send, body: bytes) -> None:
    """The same for JSON that is made already, and good."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send(
    send: Send, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
) -> None:
    pairs = {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}
    encoded = [(name.lower().encode(), value.encode()) for name, value in pairs.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


class OpsApp:
    """ASGI app that answers the ops paths and passes every other path to `inner` (404 without one). A path with a slash
    at its end is redirected to the one without, in every service.

    `checks` maps the name of a dependency to a coroutine function that raises when it is away; `alive` raises when
    the process has to be restarted.
    """

    def __init__(
        self,
        name: str,
        checks: Mapping[str, Check],
        inner: AsgiApp | None = None,
        alive: Check | None = None,
    ) -> None:
        self.name = name
        self.checks = checks
        self.inner = inner
        self.alive = alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in ("/health", "/ready", "/metrics"):
            await self._answer(scope, send)
        elif scope["type"] == "http" and scope["path"].endswith("/") and scope["path"].strip("/"):
            await _redirect(send, _without_last_slash(scope))
        elif self.inner is not None:
            await self.inner(scope, receive, send)
        elif scope["type"] == "http":
            await send_json(send, 404, {"detail": "There is nothing at this path.", "code": "NOT_FOUND"})

    async def _answer(self, scope: Scope, send: Send) -> None:
        path = scope["path"]
        if path == "/health":
            reason = await _reason(self.alive) if self.alive else ""
            body = {"status": reason or "ok", "service": self.name}
            await send_json(send, 503 if reason else 200, body)
        elif path == "/metrics":
            # As OpenMetrics, which Prometheus asks for, it has exemplars: the traces behind a measurement.
            wanted = [value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"]
            encode, content_type = choose_encoder(",".join(wanted))
            await _send(send, 200, encode(REGISTRY), content_type)
        else:
            failed = await self.failed_checks()
            status = "ready" if not failed else "not ready"
            await send_json(send, 503 if failed else 200, {"status": status, "service": self.name, "failed": failed})

    async def failed_checks(self) -> dict[str, str]:
        """Name → reason of every check that does not pass now."""
        results = await asyncio.gather(*(_reason(check) for check in self.checks.values()))
        return {name: reason for name, reason in zip(self.checks, results, strict=True) if reason}


def _without_last_slash(scope: Scope) -> str:
    """The path without its last slash, relative to the host: the scheme in front of the edge is not known here.

    It begins with one slash; two would name another host."""
    query = scope["query_string"].decode("latin-1")
    path = quote("/" + scope["path"].strip("/"), safe="/%:@!$&'()*+,;=~")
    return f"{path}?{query}" if query else path


async def _redirect(send: Send, location: str) -> None:
    headers = [(b"location", location.encode("latin-1")), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 308, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _reason(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 - whatever a client library raises means: not ready
        return f"{type(error).__name__}: {error}"[:200]
    return ""


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """By now the process holds what it works with. The collector leaves that alone, and looks at the rest after
        some hundred messages instead of some ten."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER, 20, 100)


def _server(app: AsgiApp, settings: Settings) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.shutdown_grace.total_seconds()),
    )
    return _Server(config)


def serve(app: AsgiApp, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let the requests in flight finish."""
    _server(app, settings).run()


class _EmbeddedServer(_Server):
    """A server inside a loop that owns the signals itself."""

    def capture_signals(self) -> Any:
        return nullcontext()


async def serve_async(app: AsgiApp, settings: Settings) -> None:
    """Serve inside the running loop until cancelled."""
    server = _EmbeddedServer(_server(app, settings).config)
    try:
        await server.serve()
    except SystemExit as error:  # how uvicorn says that it cannot listen
        raise OSError(f"cannot listen on {settings.host}:{settings.port}") from error
    except asyncio.CancelledError:
        server.should_exit = True
        await server.shutdown()
        raise


def run_until_terminated(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` on an event loop; SIGTERM or SIGINT cancels it, and its clean-up is waited for."""

    async def supervised() -> None:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, task.cancel)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    uvloop.run(supervised())
