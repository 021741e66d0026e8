"""The gRPC server of ext-authz, byte by byte: peers that keep to the protocol, and peers that break it."""

import asyncio
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eco2.ext_authz import http2
from eco2.ext_authz.http2 import ACK, END_HEADERS, END_STREAM, PADDED, PREFACE, Fault, Frame
from tests.integration.check_server.conftest import ECHO, MET, SIZED, Peer, block, message, official, serving


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
