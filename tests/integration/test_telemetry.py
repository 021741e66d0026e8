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


PARTS = """
import time
from opentelemetry.trace import SpanKind
from eco2.core import telemetry
from eco2.core.settings import Settings
telemetry.setup("probe", Settings())
parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"
with telemetry.span("of-nobody"):
    assert telemetry.exemplar() is None
with telemetry.span("outer", {"traceparent": parent + "1"}), telemetry.detail("inner"):
    assert telemetry.exemplar() == {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
telemetry.record("late", parent + "1", time.time() - 1, SpanKind.CONSUMER, {})
telemetry.record("not-collected", parent + "0", time.time(), SpanKind.CONSUMER, {})
"""


async def test_the_share_is_of_what_begins_here(collector: tuple[str, "asyncio.Queue[bytes]"]) -> None:
    url, received = collector
    environment = {"ECO2_ENVIRONMENT": "local", "ECO2_OTLP_ENDPOINT": url, "ECO2_TRACE_SHARE": "0", "PATH": "/usr/bin"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PARTS, env=environment)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    sent = await asyncio.wait_for(received.get(), 10)
    assert all(name in sent for name in (b"outer", b"inner", b"late"))
    assert not any(name in sent for name in (b"of-nobody", b"not-collected"))


async def test_nothing_is_made_where_nobody_collects() -> None:
    script = PARTS.replace("assert telemetry.exemplar() ==", "assert telemetry.exemplar() !=")
    script += "from contextlib import nullcontext\nassert isinstance(telemetry.detail('x'), nullcontext)\n"
    environment = {"ECO2_ENVIRONMENT": "local", "PATH": "/usr/bin"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, env=environment)
    assert await asyncio.wait_for(process.wait(), 30) == 0
