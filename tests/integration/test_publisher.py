"""A publisher leaves a connection whose other end is gone without a word."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aio_pika
import pytest

from eco2.contracts.queues import CELERY_EXCHANGE, CELERY_QUEUE
from eco2.messaging import broker
from eco2.messaging.broker import BrokerDown, Publisher
from tests.redis_server import free_port

BYTES = 65536


class Relay:
    """A port before the broker. `silence` lets what is open neither answer nor end; new connections work."""

    def __init__(self, url: str) -> None:
        self._broker = urlsplit(url)
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.url = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port := free_port())
        own = f"{self._broker.username}:{self._broker.password}@127.0.0.1:{port}"
        self.url = self._broker._replace(netloc=own).geturl()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(self._broker.hostname, self._broker.port)
        self._writers += [writer, ours]
        self._pumps |= {asyncio.create_task(_pump(reader, ours)), asyncio.create_task(_pump(theirs, writer))}

    def silence(self) -> None:
        for pump in self._pumps:
            pump.cancel()

    async def stop(self) -> None:
        self._server.close()
        self.silence()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(BYTES):
        writer.write(data)
        await writer.drain()


@pytest.fixture
async def relay(environment: dict[str, str]) -> AsyncIterator[Relay]:
    relay = Relay(environment["ECO2_BROKER_URL"])
    await relay.start()
    yield relay
    await relay.stop()
    async with await aio_pika.connect(environment["ECO2_BROKER_URL"]) as connection:
        await (await (await connection.channel()).get_queue(CELERY_QUEUE, ensure=False)).purge()


async def test_a_publisher_leaves_a_connection_on_which_nobody_answers(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = Publisher(relay.url)
    await publisher.send_json(CELERY_EXCHANGE, CELERY_QUEUE, {}, "before")
    relay.silence()
    with monkeypatch.context() as patch:
        patch.setattr(broker, "PUBLISH_SECONDS", 0.5)
        with pytest.raises(BrokerDown):
            await publisher.send_json(CELERY_EXCHANGE, CELERY_QUEUE, {}, "unanswered")
    await publisher.send_json(CELERY_EXCHANGE, CELERY_QUEUE, {}, "after")
    await publisher.close()
