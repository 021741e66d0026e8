"""A small gRPC server for calls that are answered from memory: HTTP/2 on asyncio, unary calls, synchronous answers.

grpc.aio spends more than nine tenths of such a call in its own machinery (docs/adr/0023). This one parses frames where
they arrive and writes all answers of one read at once. It speaks what RFC 9113 asks of a server without push: settings,
pings, both flow-control windows, continuations, padding, GOAWAY. What it does not allow ends the connection with the
error code of the RFC; a peer can make it hold at most MAX_STREAMS requests of MAX_MESSAGE bytes, and a connection that
is not used for no longer than its idle time.
"""

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import cast

import hpack

log = logging.getLogger(__name__)

Method = Callable[[bytes], bytes]
"""From the request's message to the answer's, both encoded. What it raises is answered as INTERNAL."""

MAX_FRAME, MAX_HEADERS, MAX_MESSAGE, MAX_STREAMS = 1 << 14, 1 << 16, 1 << 17, 1024
WINDOW = 1 << 24
"""Bytes that a peer may send before it hears of more; given back in halves."""
DEFAULT_WINDOW, LARGEST_WINDOW = (1 << 16) - 1, (1 << 31) - 1
LARGEST_STREAM = (1 << 31) - 1
IDLE_SECONDS, DRAIN_SECONDS = 300.0, 1.0
"""Without a word from it a peer is told to go; so long after that it is not asked any more."""
KNOWN_HEADERS = 256
"""Header blocks remembered by their bytes; Envoy's are the same for every call."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_HEAD = struct.Struct(">HBBBL")
_MESSAGE = struct.Struct(">BL")
_SETTING = struct.Struct(">HL")
_LONG = struct.Struct(">L")
_LITERAL = b"\x10"  # never indexed, with a new name: the peer's table stays empty


class Frame(IntEnum):
    DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)


class Fault(IntEnum):
    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Status(IntEnum):
    """Of gRPC."""

    OK = 0
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13


END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 1, 3, 4


class ConnectionFault(Exception):
    """The peer broke the protocol: the connection ends."""

    def __init__(self, code: Fault, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def frame(kind: Frame, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _HEAD.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    assert max(len(name), len(value)) < 127, "longer ones have another encoding"
    return _LITERAL + bytes((len(name),)) + name + bytes((len(value),)) + value


_STATUS_200 = b"\x88"
_STARTED = _STATUS_200 + _literal(b"content-type", b"application/grpc")
_TRAILERS = {status: _literal(b"grpc-status", str(int(status)).encode()) for status in Status}


def answered(stream: int, message: bytes) -> bytes:
    """The frames of a call that went well, but for its message only one write."""
    body = _MESSAGE.pack(0, len(message)) + message
    parts = [body[start : start + MAX_FRAME] for start in range(0, len(body), MAX_FRAME)]
    return b"".join(
        (
            frame(Frame.HEADERS, END_HEADERS, stream, _STARTED),
            *(frame(Frame.DATA, 0, stream, part) for part in parts),
            frame(Frame.HEADERS, END_HEADERS | END_STREAM, stream, _TRAILERS[Status.OK]),
        )
    )


def refused(stream: int, status: Status) -> bytes:
    """A call without a message: its status comes with the first and only headers."""
    return frame(Frame.HEADERS, END_HEADERS | END_STREAM, stream, _STARTED + _TRAILERS[status])


@dataclass(slots=True)
class _Call:
    path: bytes
    body: bytearray = field(default_factory=bytearray)


class Connection(asyncio.Protocol):
    """One peer. `methods` maps the `:path` of a call to its handler."""

    def __init__(self, methods: Mapping[bytes, Method], peers: "set[Connection]") -> None:
        self._methods, self._peers = methods, peers
        self._unread = bytearray()
        self._greeted = False
        self._decoder = hpack.Decoder(max_header_list_size=MAX_HEADERS)
        self._paths: dict[bytes, bytes] = {}
        self._calls: dict[int, _Call] = {}
        self._newest = 0
        self._headers: tuple[int, int, bytearray] | None = None
        """(stream, flags, block so far) of headers that are to be continued."""
        self._received = 0
        self._window, self._stream_window = DEFAULT_WINDOW, DEFAULT_WINDOW
        """Bytes that the peer takes: on the connection now, and on a new stream."""
        self._held: deque[tuple[int, bytes]] = deque()
        """(bytes that count, frames) of answers that wait for the peer's window."""
        self._out: list[bytes] = []
        self._leaving = False
        self._told = False
        self._loop = asyncio.get_running_loop()
        self._heard = self._due = self._loop.time()
        """When something came last, and when the next step of saying goodbye is due."""
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._peers.add(self)
        limits = {HEADER_TABLE_SIZE: 0, MAX_CONCURRENT_STREAMS: MAX_STREAMS, INITIAL_WINDOW_SIZE: 2 * MAX_MESSAGE}
        settings = b"".join(_SETTING.pack(*one) for one in limits.items())
        more = _LONG.pack(WINDOW - DEFAULT_WINDOW)
        self._decoder.max_allowed_table_size = 4096  # until the peer has read that we want none
        self._transport.write(frame(Frame.SETTINGS, 0, 0, settings) + frame(Frame.WINDOW_UPDATE, 0, 0, more))

    def connection_lost(self, _error: Exception | None) -> None:
        self._peers.discard(self)
        self.ended.set()

    def pause_writing(self) -> None:
        """A peer that asks and does not read the answers would fill the memory."""
        log.warning("a peer does not read its answers; its connection is closed")
        self._transport.abort()

    def leave(self) -> None:
        """Take no new calls on this connection, and close it when those in flight are answered."""
        self._leaving = True
        self._transport.write(frame(Frame.GOAWAY, 0, 0, _LONG.pack(self._newest) + _LONG.pack(Fault.NO_ERROR)))
        self._close_when_idle()

    def abort(self) -> None:
        self._transport.abort()

    def tend(self, now: float, idle: float) -> None:
        """Say goodbye to a peer that has been silent for `idle` seconds, as RFC 9113 (6.8) asks: what it sends until
        it has heard that is answered. One that is not there any more does not stay."""
        if not self._told:
            if now - self._heard < idle:
                return
            self._told = True
            self._transport.write(frame(Frame.GOAWAY, 0, 0, _LONG.pack(LARGEST_STREAM) + _LONG.pack(Fault.NO_ERROR)))
        elif now < self._due:
            return
        elif not self._leaving:
            self.leave()
        else:
            self.abort()
        self._due = now + DRAIN_SECONDS

    def _close_when_idle(self) -> None:
        if self._leaving and not self._calls and not self._held:
            self._transport.close()

    # Reading

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self._unread += data
        try:
            self._read()
        except ConnectionFault as fault:
            self._fail(fault.code, str(fault))
        except hpack.HPACKError as error:
            self._fail(Fault.COMPRESSION_ERROR, repr(error))
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()
        self._close_when_idle()

    def _fail(self, code: Fault, reason: str) -> None:
        log.warning("a connection ends: %s", reason, extra={"code": code.name})
        self._out.append(frame(Frame.GOAWAY, 0, 0, _LONG.pack(self._newest) + _LONG.pack(code)))
        self._transport.write(b"".join(self._out))
        self._out.clear()
        self._unread.clear()
        self._transport.close()

    def _read(self) -> None:
        unread = self._unread
        if not self._greeted:
            if not unread.startswith(PREFACE[: len(unread)]):
                raise ConnectionFault(Fault.PROTOCOL_ERROR, "no HTTP/2 with prior knowledge")
            if len(unread) < len(PREFACE):
                return
            del unread[: len(PREFACE)]
            self._greeted = True
        at = 0
        while len(unread) - at >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(unread, at)
            size = high << 8 | low
            if size > MAX_FRAME:
                raise ConnectionFault(Fault.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            end = at + _HEAD.size + size
            if len(unread) < end:
                break
            self._on_frame(kind, flags, stream & 0x7FFFFFFF, bytes(unread[at + _HEAD.size : end]))
            at = end
        del unread[:at]

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._headers is not None and kind != Frame.CONTINUATION:
            raise ConnectionFault(Fault.PROTOCOL_ERROR, "headers are to be continued, something else came")
        if kind == Frame.DATA:
            self._on_data(flags, stream, payload)
        elif kind == Frame.HEADERS:
            self._on_headers(flags, stream, payload)
        elif kind == Frame.CONTINUATION:
            self._on_continuation(flags, stream, payload)
        elif kind == Frame.WINDOW_UPDATE:
            self._on_window(stream, payload)
        elif kind == Frame.SETTINGS:
            self._on_settings(flags, payload)
        elif kind == Frame.PING:
            if len(payload) != 8:
                raise ConnectionFault(Fault.FRAME_SIZE_ERROR, "a ping has 8 bytes")
            if not flags & ACK:
                self._out.append(frame(Frame.PING, ACK, 0, payload))
        elif kind == Frame.RST_STREAM:
            self._calls.pop(stream, None)
        elif kind == Frame.PUSH_PROMISE:
            raise ConnectionFault(Fault.PROTOCOL_ERROR, "a client does not push")
        # PRIORITY, GOAWAY and kinds of frames that nobody knows change nothing here.

    def _on_settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            self._decoder.max_allowed_table_size = 0
            return
        if len(payload) % _SETTING.size:
            raise ConnectionFault(Fault.FRAME_SIZE_ERROR, "settings come in sixes")
        for name, value in _SETTING.iter_unpack(payload):
            if name == INITIAL_WINDOW_SIZE:
                if value > LARGEST_WINDOW:
                    raise ConnectionFault(Fault.FLOW_CONTROL_ERROR, "a window past 2^31 - 1")
                self._stream_window = value
        self._out.append(frame(Frame.SETTINGS, ACK, 0))

    def _on_window(self, stream: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Fault.FRAME_SIZE_ERROR, "a window update has 4 bytes")
        if stream:  # an answer fits the window that a stream begins with, or is not sent
            return
        self._window += _LONG.unpack(payload)[0] & LARGEST_WINDOW
        if self._window > LARGEST_WINDOW:
            raise ConnectionFault(Fault.FLOW_CONTROL_ERROR, "a window past 2^31 - 1")
        while self._held and self._held[0][0] <= self._window:
            counted, frames = self._held.popleft()
            self._window -= counted
            self._out.append(frames)

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream % 2:
            raise ConnectionFault(Fault.PROTOCOL_ERROR, f"a client opens no stream {stream}")
        payload = _unpadded(flags, payload)
        if flags & PRIORITY:
            payload = payload[5:]
        self._headers = (stream, flags, bytearray(payload))
        if flags & END_HEADERS:
            self._on_block()

    def _on_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._headers is None or self._headers[0] != stream:
            raise ConnectionFault(Fault.PROTOCOL_ERROR, "a continuation of nothing")
        self._headers[2].extend(payload)
        if len(self._headers[2]) > MAX_HEADERS:
            raise ConnectionFault(Fault.ENHANCE_YOUR_CALM, "endless headers")
        if flags & END_HEADERS:
            self._on_block()

    def _on_block(self) -> None:
        assert self._headers is not None
        (stream, flags, block), self._headers = self._headers, None
        path = self._path(bytes(block))
        if stream in self._calls:  # trailers, which a call of gRPC has none of
            if not flags & END_STREAM:
                raise ConnectionFault(Fault.PROTOCOL_ERROR, "trailers that do not end their stream")
        elif stream <= self._newest:
            raise ConnectionFault(Fault.STREAM_CLOSED, f"stream {stream} is over")
        else:
            self._newest = stream
            if self._leaving:  # it was told: it asks somebody else
                return
            if len(self._calls) + len(self._held) >= MAX_STREAMS:
                self._out.append(refused(stream, Status.RESOURCE_EXHAUSTED))
                return
            self._calls[stream] = _Call(path)
        if flags & END_STREAM:
            self._answer(stream)

    def _path(self, block: bytes) -> bytes:
        """The `:path` of a header block, decoded once where the block alone says it."""
        known = self._paths.get(block)
        if known is not None:
            return known
        headers = dict(self._decoder.decode(block, raw=True))
        path = bytes(headers.get(b":path", b""))
        # Without a table a block means the same each time; hpack calls it `dynamic_entries`.
        if self._decoder.max_allowed_table_size == 0 and not self._decoder.header_table.dynamic_entries:
            if len(self._paths) >= KNOWN_HEADERS:
                self._paths.clear()
            self._paths[block] = path
        return path

    def _on_data(self, flags: int, stream: int, payload: bytes) -> None:
        self._received += len(payload)
        if self._received > WINDOW // 2:
            self._out.append(frame(Frame.WINDOW_UPDATE, 0, 0, _LONG.pack(self._received)))
            self._received = 0
        call = self._calls.get(stream)
        if call is None:  # cancelled meanwhile, or refused already
            if stream == 0 or stream > self._newest:
                raise ConnectionFault(Fault.PROTOCOL_ERROR, f"data of a stream {stream} that was not opened")
            return
        call.body += _unpadded(flags, payload)
        if len(call.body) > MAX_MESSAGE:
            del self._calls[stream]
            self._out.append(refused(stream, Status.RESOURCE_EXHAUSTED))
        elif flags & END_STREAM:
            self._answer(stream)

    # Answering

    def _answer(self, stream: int) -> None:
        call = self._calls.pop(stream)
        method = self._methods.get(call.path)
        request = _message(call.body)
        if method is None or request is None:
            self._out.append(refused(stream, Status.UNIMPLEMENTED if method is None else Status.INTERNAL))
            return
        try:
            message = method(request)
        except Exception:
            log.exception("a call failed", extra={"path": call.path.decode(errors="replace")})
            self._out.append(refused(stream, Status.INTERNAL))
            return
        self._send(stream, message)

    def _send(self, stream: int, message: bytes) -> None:
        """Within the peer's windows; an answer waits for that of the connection."""
        counted = len(message) + _MESSAGE.size
        if counted > self._stream_window:
            self._out.append(refused(stream, Status.RESOURCE_EXHAUSTED))
        elif counted > self._window or self._held:
            self._held.append((counted, answered(stream, message)))
        else:
            self._window -= counted
            self._out.append(answered(stream, message))


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Fault.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def _message(body: bytearray) -> bytes | None:
    """The one message of a unary call; None when the body is none, or compressed, which was not offered."""
    if len(body) < _MESSAGE.size:
        return None
    compressed, size = _MESSAGE.unpack_from(body)
    return None if compressed or size != len(body) - _MESSAGE.size else bytes(body[_MESSAGE.size :])


class Server:
    """Listens until `close`, which lets calls in flight be answered. `idle`: seconds of silence that end a peer."""

    def __init__(self, methods: Mapping[str, Method], idle: float = IDLE_SECONDS) -> None:
        self._idle = idle
        self._tending: asyncio.TimerHandle | None = None
        self._methods = {path.encode(): method for path, method in methods.items()}
        self._peers: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int, *, share: bool = False) -> int:
        """The port, which the system picks for 0. OSError when it is taken, unless all who have it `share` it."""
        loop = asyncio.get_running_loop()

        def accept() -> Connection:
            return Connection(self._methods, self._peers)

        self._server = await loop.create_server(accept, host, port, reuse_port=share)
        self._tend()
        return int(self._server.sockets[0].getsockname()[1])

    def _tend(self) -> None:
        loop = asyncio.get_running_loop()
        for peer in list(self._peers):
            peer.tend(loop.time(), self._idle)
        self._tending = loop.call_later(min(1.0, self._idle / 4), self._tend)

    async def check_ready(self) -> None:
        """Raises when the server does not listen."""
        if self._server is None or not self._server.is_serving():
            raise RuntimeError("not serving")

    async def close(self, grace: float) -> None:
        """Returns when every peer is gone; those that are not after `grace` seconds are cut off."""
        if self._server is not None:
            self._server.close()
        if self._tending is not None:
            self._tending.cancel()
        peers = list(self._peers)
        for peer in peers:
            peer.leave()
        try:
            async with asyncio.timeout(grace):
                await asyncio.gather(*(peer.ended.wait() for peer in peers))
        except TimeoutError:
            for peer in peers:
                peer.abort()
