"""The gRPC server of ext-authz, asked by the official client, and byte by byte by peers that break the protocol."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eco2.ext_authz import http2
from eco2.ext_authz.http2 import ACK, END_HEADERS, END_STREAM, PADDED, PREFACE, Fault, Frame, Server, Status
from eco2.ext_authz.official import OfficialServer

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


async def test_the_official_server_answers_the_same() -> None:
    async def answers(server: Server | OfficialServer) -> list[bytes | grpc.StatusCode]:
        port, found = await server.listen("127.0.0.1", 0), list[bytes | grpc.StatusCode]()
        await server.check_ready()
        for method, request in (
            (ECHO, b""),
            (ECHO, b"a" * 20_000),
            (SIZED, b"70000"),
            (BROKEN, b"0"),
            ("/test.Echo/No", b""),
        ):
            async with official(port, method) as call:
                try:
                    found.append(await call(request))
                except grpc.aio.AioRpcError as error:
                    found.append(error.code())
        await server.close(1)
        return found

    assert await answers(Server(METHODS)) == await answers(OfficialServer(METHODS))


# --- the official client ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 20_000, http2.DEFAULT_WINDOW - 5])
async def test_answers_the_official_client(port: int, size: int) -> None:
    async with official(port) as call:
        assert await call(b"a" * size) == b"a" * size


async def test_a_request_may_have_the_largest_size(port: int) -> None:
    async with official(port, SIZED) as call:
        assert await call(b"7".rjust(http2.MAX_MESSAGE - 5)) == b"x" * 7


async def test_many_calls_at_once(port: int) -> None:
    async with official(port) as call:
        said = [str(number).encode() * 30 for number in range(2000)]
        assert await asyncio.gather(*(call(one) for one in said)) == said


async def test_headers_that_need_continuations(port: int) -> None:
    async with official(port) as call:
        long = [(f"x-{number}", "v" * 7000) for number in range(6)]
        for _ in range(3):
            assert await call(b"hello", metadata=long) == b"hello"


@pytest.mark.parametrize(
    ("method", "request_", "status"),
    [
        ("/test.Echo/Unknown", b"", grpc.StatusCode.UNIMPLEMENTED),
        (BROKEN, b"0", grpc.StatusCode.INTERNAL),
        (ECHO, b"a" * (http2.MAX_MESSAGE + 1), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_a_call_that_fails_says_why_and_hurts_no_other(
    port: int, method: str, request_: bytes, status: grpc.StatusCode
) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        failing: Call = channel.unary_unary(method)
        echo: Call = channel.unary_unary(ECHO)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await failing(request_)
        assert failed.value.code() == status
        assert await echo(b"and on") == b"and on"


async def test_a_compressed_message_is_refused(port: int) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", compression=grpc.Compression.Gzip) as channel:
        echo: Call = channel.unary_unary(ECHO)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await echo(b"a" * 5000)
    assert failed.value.code() == grpc.StatusCode.INTERNAL


async def test_closing_lets_nobody_in_and_cuts_nobody_off() -> None:
    async with serving() as (server, port), official(port) as call:
        assert await call(b"before") == b"before"
        await server.check_ready()
        peer = await Peer.meet(port)
        peer.send(peer.call(1, ECHO, b"halfway", END_HEADERS)[: -len(b"way")])
        await peer.flush()
        closing = asyncio.create_task(server.close(5))
        assert await peer.until(Frame.GOAWAY) == struct.pack(">LL", 1, Fault.NO_ERROR)
        with pytest.raises(RuntimeError):
            await server.check_ready()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        assert not closing.done()
        peer.send(b"way")
        assert await peer.until(Frame.DATA) == message(b"halfway")
        async with asyncio.timeout(1):
            await closing


async def test_several_servers_share_a_port_only_if_all_of_them_say_so() -> None:
    first, second = Server({ECHO: lambda _: b"first"}), Server({ECHO: lambda _: b"second"})
    stranger = Server(METHODS)
    port = await first.listen("127.0.0.1", 0, share=True)
    await second.listen("127.0.0.1", port, share=True)
    with pytest.raises(OSError):
        await stranger.listen("127.0.0.1", port)
    answers = set()
    for _ in range(60):
        peer = await Peer.meet(port)
        peer.send(peer.call(1, ECHO, b""))
        answers.add(await peer.until(Frame.DATA))
    assert answers == {message(b"first"), message(b"second")}
    for server in (first, second):
        await server.close(1)


async def test_closing_does_not_wait_for_ever() -> None:
    async with serving() as (server, port):
        peer = await Peer.meet(port)
        peer.send(peer.call(1, ECHO, b"halfway")[:-3])
        await peer.flush()
        began = asyncio.get_running_loop().time()
        await server.close(0.2)
        assert asyncio.get_running_loop().time() - began < 2
        assert await peer.ended()


# --- byte by byte -----------------------------------------------------------------------------------------------------


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


async def test_a_call_byte_by_byte(port: int) -> None:
    peer = await Peer.meet(port)
    for byte in peer.call(1, ECHO, b"slow"):
        peer.send(bytes((byte,)))
        await asyncio.sleep(0)
    assert await peer.until(Frame.DATA) == message(b"slow")
    kind, flags, stream, payload = await peer.next()
    assert (kind, flags, stream) == (Frame.HEADERS, END_HEADERS | END_STREAM, 1)
    assert b"grpc-status\x010" in payload


async def test_padding_priority_and_unknown_frames_change_nothing(port: int) -> None:
    peer = await Peer.meet(port)
    padded = b"\x04" + b"\x00\x00\x00\x00\x10" + block(ECHO) + bytes(4)
    body = b"\x02" + message(b"padded") + bytes(2)
    peer.send(
        http2.frame(Frame.HEADERS, END_HEADERS | PADDED | http2.PRIORITY, 1, padded)
        + http2.frame(Frame.PRIORITY, 0, 1, bytes(5))
        + struct.pack(">HBBBL", 0, 3, 0x77, 0, 1)
        + b"new"
        + http2.frame(Frame.DATA, END_STREAM | PADDED, 1, body)
    )
    assert await peer.until(Frame.DATA) == message(b"padded")


async def test_a_header_table_that_the_peer_still_has_is_followed(port: int) -> None:
    """Until it has read that none is wanted. The same bytes then mean one path now, and another one later."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    peer = Peer(reader, writer)
    MET.append(peer)
    peer.send(PREFACE + http2.frame(Frame.SETTINGS, 0, 0))

    def add(path: str) -> bytes:
        return b"\x83\x86\x44" + bytes((len(path),)) + path.encode()  # literal with indexing, name :path

    newest = b"\x83\x86\xbe"
    for stream, head in ((1, add(ECHO)), (3, newest), (5, add("/test.Echo/Nothing")), (7, newest)):
        peer.send(http2.frame(Frame.HEADERS, END_HEADERS, stream, head))
        peer.send(http2.frame(Frame.DATA, END_STREAM, stream, message(b"hi")))
    statuses: dict[int, bytes] = {}
    while len(statuses) < 4:
        kind, flags, stream, payload = await peer.next()
        if kind == Frame.HEADERS and flags & END_STREAM:
            statuses[stream] = payload.rpartition(b"grpc-status")[2][1:]
    assert statuses == {1: b"0", 3: b"0", 5: b"12", 7: b"12"}


async def test_pings_are_answered(port: int) -> None:
    peer = await Peer.meet(port)
    peer.send(http2.frame(Frame.PING, 0, 0, b"12345678"))
    assert await peer.next() == (Frame.PING, ACK, 0, b"12345678")


async def test_a_cancelled_call_is_forgotten(port: int) -> None:
    peer = await Peer.meet(port)
    peer.send(http2.frame(Frame.HEADERS, END_HEADERS, 1, block(ECHO)) + http2.frame(Frame.RST_STREAM, 0, 1, bytes(4)))
    peer.send(http2.frame(Frame.DATA, END_STREAM, 1, message(b"late")) + peer.call(3, ECHO, b"next"))
    assert await peer.until(Frame.DATA) == message(b"next")
    assert {stream for _, _, stream, _ in peer.frames} == {0, 3}


async def test_answers_wait_for_the_window_of_the_connection(port: int) -> None:
    peer = await Peer.meet(port)
    size = 10_000
    for number in range(10):
        peer.send(peer.call(2 * number + 1, SIZED, str(size).encode()))
    peer.send(http2.frame(Frame.PING, 0, 0, bytes(8)))
    await peer.until(Frame.PING)
    streams = [stream for kind, _, stream, _ in peer.frames if kind == Frame.DATA]
    assert streams == [1, 3, 5, 7, 9, 11], "65,535 bytes hold six"
    peer.send(http2.frame(Frame.WINDOW_UPDATE, 0, 0, struct.pack(">L", 4 * size)))
    for number in range(6, 10):
        await peer.until(Frame.DATA)
        assert peer.frames[-1][2] == 2 * number + 1


async def test_the_window_for_requests_is_given_back(port: int) -> None:
    peer = await Peer.meet(port)
    size, sent = 16_000, 0
    while sent <= http2.WINDOW // 2:
        peer.send(peer.call(1 + 2 * (sent // size), "/nowhere", b"a" * size))
        sent += size
    (given,) = struct.unpack(">L", await peer.until(Frame.WINDOW_UPDATE))
    assert http2.WINDOW // 2 < given <= http2.WINDOW


async def test_an_answer_past_a_small_window_is_refused(port: int) -> None:
    peer = await Peer.meet(port, struct.pack(">HL", http2.INITIAL_WINDOW_SIZE, 100))
    peer.send(peer.call(1, SIZED, b"101"))
    assert b"grpc-status\x018" in await peer.until(Frame.HEADERS)
    peer.send(peer.call(3, SIZED, b"90"))
    assert await peer.until(Frame.DATA) == message(b"x" * 90)


async def test_more_open_calls_than_allowed_are_refused(port: int) -> None:
    peer = await Peer.meet(port)
    count = http2.MAX_STREAMS + 3
    for number in range(count):
        peer.send(http2.frame(Frame.HEADERS, END_HEADERS, 2 * number + 1, block(ECHO)))
    refused = [await peer.next() for _ in range(3)]
    assert [stream for _, _, stream, _ in refused] == [2 * number + 1 for number in range(count - 3, count)]
    assert all(b"grpc-status\x018" in payload for _, _, _, payload in refused)


async def test_a_peer_that_does_not_read_is_cut_off(port: int) -> None:
    peer = await Peer.meet(port)
    peer.send(http2.frame(Frame.WINDOW_UPDATE, 0, 0, struct.pack(">L", 1 << 30)))
    peer.reader._transport.pause_reading()  # type: ignore[attr-defined]

    async def asking() -> None:
        for number in range(5000):
            peer.send(peer.call(2 * number + 1, SIZED, b"60000"))
            await asyncio.sleep(0.001)
            await peer.writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(asking(), 20)
    async with official(port) as call:
        assert await call(b"others") == b"others"


BIG = struct.pack(">HBBBL", 1 << 8, 0, Frame.DATA, 0, 1)  # 65,536 bytes announced
FAULTS = {
    "oversized frame": (BIG, Fault.FRAME_SIZE_ERROR),
    "even stream": (http2.frame(Frame.HEADERS, END_HEADERS, 2, block(ECHO)), Fault.PROTOCOL_ERROR),
    "stream again": (2 * Peer.call(1, ECHO, b""), Fault.STREAM_CLOSED),
    "data of no stream": (http2.frame(Frame.DATA, 0, 0, b"x"), Fault.PROTOCOL_ERROR),
    "data of an unopened stream": (http2.frame(Frame.DATA, 0, 9, b"x"), Fault.PROTOCOL_ERROR),
    "push": (http2.frame(Frame.PUSH_PROMISE, 0, 1, bytes(4)), Fault.PROTOCOL_ERROR),
    "continuation of nothing": (http2.frame(Frame.CONTINUATION, 0, 1, b""), Fault.PROTOCOL_ERROR),
    "something between headers": (
        http2.frame(Frame.HEADERS, 0, 1, block(ECHO)) + http2.frame(Frame.PING, 0, 0, bytes(8)),
        Fault.PROTOCOL_ERROR,
    ),
    "endless headers": (
        http2.frame(Frame.HEADERS, 0, 1, b"") + 9 * http2.frame(Frame.CONTINUATION, 0, 1, bytes(1 << 13)),
        Fault.ENHANCE_YOUR_CALM,
    ),
    "garbled headers": (http2.frame(Frame.HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff"), Fault.COMPRESSION_ERROR),
    "a table that was not offered": (
        http2.frame(Frame.HEADERS, END_HEADERS, 1, b"\x3f\xe1\x1f"),
        Fault.COMPRESSION_ERROR,
    ),
    "padding past the end": (http2.frame(Frame.HEADERS, END_HEADERS | PADDED, 1, b"\x05abc"), Fault.PROTOCOL_ERROR),
    "short ping": (http2.frame(Frame.PING, 0, 0, b"1"), Fault.FRAME_SIZE_ERROR),
    "odd settings": (http2.frame(Frame.SETTINGS, 0, 0, b"12345"), Fault.FRAME_SIZE_ERROR),
    "huge window": (
        http2.frame(Frame.SETTINGS, 0, 0, struct.pack(">HL", http2.INITIAL_WINDOW_SIZE, 1 << 31)),
        Fault.FLOW_CONTROL_ERROR,
    ),
    "window past its end": (
        http2.frame(Frame.WINDOW_UPDATE, 0, 0, struct.pack(">L", (1 << 31) - 1)),
        Fault.FLOW_CONTROL_ERROR,
    ),
    "short window update": (http2.frame(Frame.WINDOW_UPDATE, 0, 0, b"1"), Fault.FRAME_SIZE_ERROR),
    "trailers that do not end": (
        2 * http2.frame(Frame.HEADERS, END_HEADERS, 1, block(ECHO)),
        Fault.PROTOCOL_ERROR,
    ),
}


@pytest.mark.parametrize(("sent", "fault"), FAULTS.values(), ids=FAULTS.keys())
async def test_a_broken_protocol_ends_the_connection_and_says_why(port: int, sent: bytes, fault: Fault) -> None:
    peer = await Peer.meet(port)
    peer.send(sent)
    assert await peer.fault() == fault
    async with official(port) as call:
        assert await call(b"others") == b"others"


async def test_http_1_is_sent_away(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        assert struct.pack(">LL", 0, Fault.PROTOCOL_ERROR) in await reader.read()
    writer.close()


# --- connections that are not used ------------------------------------------------------------------------------------


@pytest.fixture
def short_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "DRAIN_SECONDS", 0.2)


async def nobody_left(server: Server) -> None:
    async with asyncio.timeout(5):
        while server._peers:
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("short_goodbye")
async def test_a_silent_connection_is_told_to_go_and_answered_until_it_does() -> None:
    async with serving(idle=0.2) as (server, port):
        peer = await Peer.meet(port)
        last, code = struct.unpack(">LL", await peer.until(Frame.GOAWAY))
        assert (last, code) == (2**31 - 1, Fault.NO_ERROR), "no call is refused yet"
        peer.send(peer.call(1, ECHO, b"on its way"))
        assert await peer.until(Frame.DATA) == message(b"on its way")
        assert struct.unpack(">LL", await peer.until(Frame.GOAWAY)) == (1, Fault.NO_ERROR)
        assert await peer.ended()
        await nobody_left(server)


@pytest.mark.usefixtures("short_goodbye")
async def test_a_connection_that_is_used_stays() -> None:
    async with serving(idle=0.4) as (_, port):
        peer = await Peer.meet(port)
        for stream in range(1, 30, 2):
            peer.send(peer.call(stream, ECHO, b"again"))
            assert await peer.until(Frame.DATA) == message(b"again")
            await asyncio.sleep(0.06)
        assert not [frame for frame in peer.frames if frame[0] == Frame.GOAWAY]


@pytest.mark.usefixtures("short_goodbye")
@pytest.mark.parametrize("sent", [b"", PREFACE[:10], PREFACE + http2.frame(Frame.HEADERS, END_HEADERS, 1, block(ECHO))])
async def test_a_peer_that_is_gone_in_the_middle_does_not_stay(sent: bytes) -> None:
    """Before its greeting, within it, and with a call begun; it reads nothing either."""
    async with serving(idle=0.2) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(sent)
        await asyncio.sleep(0.05)
        assert server._peers
        await nobody_left(server)
        writer.transport.abort()


@pytest.mark.usefixtures("short_goodbye")
async def test_the_official_client_notices_nothing() -> None:
    async with serving(idle=0.2) as (_, port), official(port) as call:
        for _ in range(3):
            assert await call(b"hello") == b"hello"
            await asyncio.sleep(0.7)


frames = st.builds(
    lambda kind, flags, stream, payload: http2.frame(kind, flags, stream, payload),
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from([0, 1, 1, 3, 5, 2**31 - 1]),
    st.one_of(st.binary(max_size=40), st.just(block(ECHO)), st.just(message(b"hi"))),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.lists(st.one_of(frames, st.binary(max_size=60)), max_size=12))
def test_no_input_breaks_the_server(sent: list[bytes]) -> None:
    async def tried() -> None:
        async with serving() as (_, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(PREFACE + http2.frame(Frame.SETTINGS, 0, 0) + b"".join(sent))
            await writer.drain()
            peer = await Peer.meet(port)
            peer.send(peer.call(1, ECHO, b"others"))
            assert await peer.until(Frame.DATA) == message(b"others")
            for one in (writer, peer.writer):
                one.transport.abort()
            MET.remove(peer)
            await asyncio.sleep(0)

    failures: list[object] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
        await tried()

    asyncio.run(watched())
    assert not failures


def test_statuses_are_grpc_s_own() -> None:
    assert {status.name: int(status) for status in Status} == {
        status.name: grpc.StatusCode[status.name].value[0] for status in Status
    }
