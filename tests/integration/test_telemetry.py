"""Spans reach a collector."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

SCRIPT = """
from eco2.core import telemetry
from eco2.core.settings import Settings
telemetry.setup("probe", Settings())
with telemetry.span("outer", {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}):
    print(telemetry.trace_headers()["traceparent"])
"""


@pytest.fixture
async def collector() -> AsyncIterator[tuple[str, "asyncio.Queue[bytes]"]]:
    """An OTLP/HTTP collector that takes whatever it is sent."""
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.splitlines() if line.lower().startswith(b"content-length:"))
        await received.put(head.splitlines()[0] + b"\n" + await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield f"http://127.0.0.1:{port}", received


async def test_spans_are_exported_with_the_trace_they_continue(collector: tuple[str, "asyncio.Queue[bytes]"]) -> None:
    url, received = collector
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIPT),
        env={"ECO2_ENVIRONMENT": "local", "ECO2_OTLP_ENDPOINT": url, "PATH": "/usr/bin"},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert out.decode().startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    sent = await asyncio.wait_for(received.get(), 10)
    assert sent.startswith(b"POST /v1/traces")
    assert bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736") in sent
    assert b"probe" in sent
