"""The real broker: queue `celery`, which no process of the stack consumes."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import orjson
import pytest

from eco2.contracts.queues import CELERY_EXCHANGE, CELERY_QUEUE, QUEUES
from eco2.messaging import consumer
from eco2.messaging.broker import Heartbeat, Publisher
from eco2.messaging.consumer import Message, consume_batches
from tests.redis_server import free_port, until

DEAD = str(QUEUES[CELERY_QUEUE].dead_letter_key)


@pytest.fixture(autouse=True)
async def empty_queues(environment: dict[str, str]) -> AsyncIterator[None]:
    yield
    async with await aio_pika.connect(environment["ECO2_BROKER_URL"]) as connection:
        channel = await connection.channel()
        for name in (CELERY_QUEUE, DEAD):
            await (await channel.get_queue(name, ensure=False)).purge()


@contextlib.asynccontextmanager
async def consuming(url: str, handle: consumer.Handle, **options: Any) -> AsyncIterator[Heartbeat]:
    heartbeat = Heartbeat()
    task = asyncio.create_task(consume_batches(url, CELERY_QUEUE, handle, heartbeat, **options))
    yield heartbeat
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def dead_letters(url: str, count: int) -> list[Any]:
    """Waits for that many dead letters and takes them."""
    found: list[Any] = []
    async with await aio_pika.connect(url) as connection, asyncio.timeout(20):
        queue = await (await connection.channel()).get_queue(DEAD, ensure=False)
        while len(found) < count:
            message = await queue.get(fail=False)
            if message is None:
                await asyncio.sleep(0.05)
                continue
            await message.ack()
            found.append(orjson.loads(message.body)["n"])
    return found


async def send(publisher: Publisher, *numbers: int) -> None:
    for n in numbers:
        await publisher.send_json(CELERY_EXCHANGE, CELERY_QUEUE, {"n": n}, uuid.uuid4().hex)


def number(message: Message) -> int:
    return int(orjson.loads(message.body)["n"])


class Wire:
    """A TCP proxy to the broker whose connections can be cut, as a network does."""

    def __init__(self, port: int) -> None:
        self._broker = port
        self._writers: set[asyncio.StreamWriter] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self._broker)
        self._writers |= {writer, to_broker}
        await asyncio.gather(self._pipe(reader, to_broker), self._pipe(from_broker, writer))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@contextlib.asynccontextmanager
async def wired(url: str) -> AsyncIterator[tuple[str, Wire]]:
    """The broker behind a wire of its own: its URL there, and the wire."""
    parts = urlsplit(url)
    wire, port = Wire(parts.port or 0), free_port()
    async with await asyncio.start_server(wire.accept, "127.0.0.1", port):
        yield parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{port}")).geturl(), wire
        wire.cut()


class Stage:
    """The work on a message: counts how often it begins and ends, and goes on when it is let."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.redelivered: list[int] = []
        self.most = 0
        self.gate = asyncio.Event()

    async def __call__(self, message: Message) -> None:
        n = int(orjson.loads(message.body)["n"])
        self.begun.append(n)
        if message.redelivered:
            self.redelivered.append(n)
        self.most = max(self.most, len(self.begun) - len(self.ended))
        await self.gate.wait()
        self.ended.append(n)

    async def finished(self, count: int) -> None:
        async def so_many() -> bool:
            return len(self.ended) >= count

        await until(so_many)

    async def began(self, *numbers: int) -> None:
        async def all_of_them() -> bool:
            return set(numbers) <= set(self.begun)

        await until(all_of_them)
