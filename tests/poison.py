"""Messages that nobody ought to send: bodies, and header tables as they go over the wire."""

import contextlib
import random
import struct
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import aiormq
import orjson
from aiormq import spec

from eco2.messaging.broker import open_connection


class _Raw(spec.Basic.Properties):
    """Properties whose header table is written as it is."""

    table = b""

    def marshal(self) -> bytes:
        name = str(self.message_id).encode()
        return struct.pack(">HL", 0x2000 | 0x1000 | 0x0080, len(self.table)) + self.table + b"\2" + _short(name)


@dataclass(frozen=True)
class Poison:
    """`table`: what stands in the header table besides the usual, encoded."""

    kind: str
    body: bytes
    table: bytes = b""
    id: str = field(default_factory=lambda: f"poison-{uuid.uuid4().hex}")


def _short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _long(text: bytes) -> bytes:
    return b"S" + struct.pack(">L", len(text)) + text


def _nested(kind: bytes, depth: int) -> bytes:
    value, name = b"", b"\1a" if kind == b"F" else b""
    for _ in range(depth):
        inner = name + value if value else b""
        value = kind + struct.pack(">L", len(inner)) + inner
    return value


def _array(*items: bytes) -> bytes:
    inside = b"".join(items)
    return b"A" + struct.pack(">L", len(inside)) + inside


def _dict(**items: bytes) -> bytes:
    inside = b"".join(_short(name.replace("_", "-").encode()) + value for name, value in items.items())
    return b"F" + struct.pack(">L", len(inside)) + inside


VALUES: dict[str, bytes] = {
    "void": b"V",
    "text": _long(b"abc"),
    "no text": _long(b"\xff\xfe"),
    "long text": _long(b"x" * 50_000),
    "control characters": _long("\x1b[2J[/red]\u202e\0".encode()),
    "negative": b"I" + struct.pack(">l", -5),
    "largest": b"l" + struct.pack(">q", 2**63 - 1),
    "time past 9999": b"T" + struct.pack(">Q", 2**63 - 1),
    "time of milliseconds": b"T" + struct.pack(">Q", 2**40),
    "fraction": b"D" + struct.pack(">BL", 255, 2**31),
    "bytes": b"x" + struct.pack(">L", 3) + b"\0\xff\1",
    "flag": b"t\1",
    "empty list": _array(),
    "list of text": _array(_long(b"abc")),
    "empty table": _dict(),
    "list of an empty table": _array(_dict()),
    "deep lists": _nested(b"A", 1500),
    "deep tables": _nested(b"F", 1500),
    "year 9999": _long(b"9999-12-31T23:59:59+00:00"),
    "year 1": _long(b"0001-01-01T00:00:00+23:59"),
    "a strange death": _array(
        _dict(queue=b"I\0\0\0\1", reason=_long(b"expired"), time=_long(b"now"), routing_keys=b"V")
    ),
    "a death elsewhere": _array(
        _dict(
            queue=_long(b"q.nowhere"),
            reason=_long(b"expired"),
            exchange=_long(b"no.such.exchange"),
            routing_keys=_array(_long(b"k" * 200)),
        )
    ),
}
NAMES = (
    b"x-death",
    b"x-delivery-count",
    b"x-eco2-died-at",
    b"x-eco2-replays",
    b"x-eco2-error",
    b"x-eco2-routing-key",
    b"x-eco2-transient",
    b"traceparent",
    b"task",
    b"id",
    b"eta",
    b"expires",
    b"retries",
    b"timelimit",
    b"compression",
    b"\xff\xfe",
    b"",
)

BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no UTF-8": b"\xff\x00\xfe",
    "no JSON": b"{not json",
    "null": b"null",
    "a number for an id": b"[[123],{},{}]",
    "a table for an id": b'[[{"a":1}],{},{}]',
    "no argument": b"[[],{},{}]",
    "two arguments": b'[["a","b"],{},{}]',
    "a keyword": b'[["a"],{"b":1},{}]',
    "no lists": b'{"args":["a"]}',
    "text": b'"abc"',
    "deep": b"[" * 20_000 + b"]" * 20_000,
    "a huge number": b"[[1e999],{},{}]",
    "a megabyte": orjson.dumps([["x" * 1_000_000], {}, {}]),
    "a zero byte": orjson.dumps([["a\0b"], {}, {}]),
    "control characters": orjson.dumps([["\x1b[2J[/red]"], {}, {}]),
    "eight megabytes of nothing": bytes(8_000_000),
}


def entry(name: bytes, value: bytes) -> bytes:
    return _short(name) + value


def every_header() -> Iterator[tuple[str, bytes]]:
    """(what it is, its entry) of each value at one name at least, and of each name with several."""
    names, values = list(NAMES), list(VALUES.items())
    for number in range(max(len(names), len(values)) * 3):
        name, (kind, value) = names[number % len(names)], values[(number * 7) % len(values)]
        yield f"{name!r}: {kind}", entry(name, value)


def some(seed: int, count: int) -> Iterator[Poison]:
    """Bodies that are mutations of BODIES and of a good one, with a few header entries each."""
    chance = random.Random(seed)
    good = orjson.dumps([["no id, and too long for one " * 50], {}, {}])
    for _ in range(count):
        body = bytearray(chance.choice([good, *(body for body in BODIES.values() if len(body) < 1000)]))
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(body) + 1)
            body[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(4))
        entries = {chance.choice(NAMES): chance.choice(list(VALUES.values())) for _ in range(chance.randrange(4))}
        yield Poison("random", bytes(body), b"".join(entry(*one) for one in entries.items()))


def usual(**headers: str) -> bytes:
    """Header entries as our own senders write them."""
    return b"".join(_short(name.encode()) + _long(value.encode()) for name, value in headers.items())


class Sender:
    """Publishes with confirms."""

    def __init__(self, channel: aiormq.abc.AbstractChannel) -> None:
        self._channel = channel

    async def send(self, exchange: str, routing_key: str, poison: Poison) -> None:
        properties = _Raw(message_id=poison.id)
        properties.table = poison.table
        await self._channel.basic_publish(
            poison.body, exchange=exchange, routing_key=routing_key, properties=properties, mandatory=True
        )


@contextlib.asynccontextmanager
async def sender(url: str) -> AsyncIterator[Sender]:
    connection = await open_connection(url)
    async with connection:
        assert connection.transport is not None
        channel = await connection.transport.connection.channel(publisher_confirms=True, on_return_raises=True)
        yield Sender(channel)
