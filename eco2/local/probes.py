"""Readiness probes. Each answers whether the server takes work now, within a second, and never raises for a server
that is down."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from eco2.local.addresses import addresses

Probe = Callable[[], Awaitable[bool]]

_DOWN = (OSError, TimeoutError, asyncio.IncompleteReadError)


async def _ask(host: str, port: int, request: bytes, lines: int = 1, whole: bool = False) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        return await reader.read(-1) if whole else b"".join([await reader.readuntil() for _ in range(lines)])
    finally:
        writer.close()


def tcp(url: str) -> Probe:
    """A port of `url` accepts connections."""
    ports = addresses(url)

    async def probe() -> bool:
        return any(await asyncio.gather(*(_accepts(host, port) for host, port in ports)))

    return probe


async def _accepts(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection(host, port)
    except _DOWN:
        return False
    writer.close()
    return True


def http(
    url: str,
    headers: tuple[str, ...] = (),
    accept: Callable[[bytes], bool] | None = None,
    statuses: tuple[bytes, ...] = (b"200",),
) -> Probe:
    """GET answers with one of `statuses`, and with a body that `accept` likes."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    lines = (f"GET {target} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close", *headers, "", "")
    request = "\r\n".join(lines).encode()

    async def probe() -> bool:
        try:
            async with asyncio.timeout(1):
                answer = await _ask(parts.hostname or "", parts.port or 80, request, whole=accept is not None)
        except _DOWN:
            return False
        status, _, rest = answer.partition(b"\r\n")
        if status[9:12] not in statuses:  # "HTTP/1.1 200 OK"
            return False
        return accept is None or accept(rest.partition(b"\r\n\r\n")[2])

    return probe


def redis(url: str) -> Probe:
    """PING answers PONG, so the data set is loaded."""
    parts = urlsplit(url)
    command = f"AUTH {parts.password}\r\nPING\r\n" if parts.password else "PING\r\n"

    async def probe() -> bool:
        try:
            async with asyncio.timeout(1):
                answer = await _ask(
                    parts.hostname or "", parts.port or 6379, command.encode(), lines=command.count("\n")
                )
        except _DOWN:
            return False
        return answer.endswith(b"+PONG\r\n")

    return probe


def postgres(url: str) -> Probe:
    """A session can be opened and answers a query."""
    from psycopg import AsyncConnection, Error

    async def probe() -> bool:
        try:
            async with asyncio.timeout(2), await AsyncConnection.connect(url, connect_timeout=2) as connection:
                await connection.execute("SELECT 1")
        except (Error, *_DOWN):
            return False
        return True

    return probe
