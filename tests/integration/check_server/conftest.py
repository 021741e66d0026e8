"""The gRPC server of ext-authz with three methods, and a peer that speaks HTTP/2 by hand."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import grpc
import pytest

from eco2.ext_authz import http2
from eco2.ext_authz.http2 import ACK, END_HEADERS, END_STREAM, PREFACE, Frame, Server

ECHO, SIZED, BROKEN = "/test.Echo/Say", "/test.Echo/Sized", "/test.Echo/Broken"
METHODS: dict[str, http2.Method] = {
    ECHO: lambda request: request,
    SIZED: lambda request: b"x" * int(request),
    BROKEN: lambda request: bytes(1 // int(request)),
}


@asynccontextmanager
async def serving(idle: float = 60) -> AsyncIterator[tuple[Server, int]]:
    server = Server(METHODS, idle)
    port = await server.listen("127.0.0.1", 0)
    try:
        yield server, port
    finally:
        await server.close(1)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serving() as (_, number):
        yield number


Call = Callable[..., "grpc.aio.UnaryUnaryCall[bytes, bytes]"]


@asynccontextmanager
async def official(port: int, method: str = ECHO) -> AsyncIterator[Call]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel.unary_unary(method)


def message(body: bytes) -> bytes:
    return struct.pack(">BL", 0, len(body)) + body


def literal(name: str, value: str) -> bytes:
    return b"\x00" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()


def block(path: str) -> bytes:
    """The table of size 0 that the server asks for, POST, http, and what names the call."""
    return b"\x20\x83\x86" + literal(":path", path) + literal("te", "trailers")


MET: "list[Peer]" = []


@pytest.fixture(autouse=True)
async def goodbye() -> AsyncIterator[None]:
    """Closes the connections that a test made."""
    yield
    for peer in MET:
        peer.writer.transport.abort()
    MET.clear()
    await asyncio.sleep(0)


@dataclass
class Peer:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    frames: list[tuple[int, int, int, bytes]] = field(default_factory=list)

    @classmethod
    async def meet(cls, port: int, settings: bytes = b"") -> "Peer":
        peer = cls(*await asyncio.open_connection("127.0.0.1", port))
        MET.append(peer)
        peer.send(PREFACE + http2.frame(Frame.SETTINGS, 0, 0, settings) + http2.frame(Frame.SETTINGS, ACK, 0))
        await peer.until(Frame.SETTINGS)
        await peer.until(Frame.WINDOW_UPDATE)
        await peer.until(Frame.SETTINGS)
        return peer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def flush(self) -> None:
        """Returns when the server has read what was sent."""
        self.send(b"")
        await self.writer.drain()
        await asyncio.sleep(0.05)

    @staticmethod
    def call(stream: int, path: str, body: bytes, flags: int = END_HEADERS) -> bytes:
        head = http2.frame(Frame.HEADERS, flags, stream, block(path))
        return head + http2.frame(Frame.DATA, END_STREAM, stream, message(body))

    async def next(self) -> tuple[int, int, int, bytes]:
        async with asyncio.timeout(5):
            head = await self.reader.readexactly(9)
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            found = kind, flags, stream, await self.reader.readexactly(int.from_bytes(head[:3], "big"))
        self.frames.append(found)
        return found

    async def until(self, kind: Frame) -> bytes:
        """The payload of the next frame of this kind."""
        while True:
            found, _, _, payload = await self.next()
            if found == kind:
                return payload

    async def ended(self) -> bool:
        async with asyncio.timeout(5):
            with suppress(ConnectionResetError):
                await self.reader.read()
        return True

    async def fault(self) -> int:
        """Reason for which the server ends the connection, once it has."""
        code: int = struct.unpack(">LL", await self.until(Frame.GOAWAY))[1]
        assert await self.ended()
        return code


@pytest.fixture
def short_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "DRAIN_SECONDS", 0.2)


async def nobody_left(server: Server) -> None:
    async with asyncio.timeout(5):
        while server._peers:
            await asyncio.sleep(0.02)
