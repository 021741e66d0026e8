"""Publishing and consuming on the real broker: queue `celery`, which no process of the stack consumes."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import httpx2
import orjson
import pytest

from eco2.contracts.queues import CELERY_EXCHANGE, CELERY_QUEUE, QUEUES
from eco2.ext_authz import denylist
from eco2.ext_authz.denylist import Denylist, Follower
from eco2.ext_authz.settings import Settings as Edge
from eco2.messaging import consumer
from eco2.messaging.broker import BrokerDown, Heartbeat, Publisher
from eco2.messaging.consumer import Message, PoisonMessage, consume_batches, consume_each
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


async def test_messages_arrive_in_batches_and_once(publisher: Publisher, environment: dict[str, str]) -> None:
    batches: list[list[int]] = []

    async def handle(messages: Sequence[Message]) -> None:
        batches.append([number(message) for message in messages])

    await send(publisher, *range(25))
    async with consuming(environment["ECO2_BROKER_URL"], handle, size=10):

        async def all_there() -> bool:
            return sum(map(len, batches)) == 25

        await until(all_there)
    assert [n for batch in batches for n in batch] == list(range(25))
    assert max(map(len, batches)) == 10


async def test_one_bad_message_does_not_hold_up_the_rest(
    publisher: Publisher, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "RETRY_PAUSES", (0.01,))
    done: list[int] = []
    tries: list[int] = []

    async def handle(messages: Sequence[Message]) -> None:
        numbers = [number(message) for message in messages]
        if 3 in numbers:
            raise PoisonMessage("never")
        if 5 in numbers:
            tries.extend(n for n in numbers if n == 5)
            raise RuntimeError("not now")
        done.extend(numbers)

    url = environment["ECO2_BROKER_URL"]
    await send(publisher, *range(8))
    async with consuming(url, handle, size=8):
        assert sorted(await dead_letters(url, 2)) == [3, 5]
    assert sorted(done) == [0, 1, 2, 4, 6, 7], "handled once each"
    limit = QUEUES[CELERY_QUEUE].delivery_limit
    assert limit is not None
    assert len(tries) > limit, "tried up to the delivery limit"


async def test_a_message_that_nobody_would_get_is_refused(publisher: Publisher) -> None:
    with pytest.raises(BrokerDown):
        await publisher.send_json("scan.direct", "nowhere", {}, "1")


async def test_no_broker_is_said_in_time() -> None:
    publisher = Publisher(f"amqp://nobody:x@127.0.0.1:{free_port()}/eco2")
    async with asyncio.timeout(6):
        with pytest.raises(BrokerDown):
            await publisher.send_json("scan.direct", "scan.rule", {}, "1")
        with pytest.raises(BrokerDown):
            await publisher.ping()


async def test_both_sides_survive_lost_connections(environment: dict[str, str], management: httpx2.AsyncClient) -> None:
    url = environment["ECO2_BROKER_URL"]
    publisher, got = Publisher(url), list[int]()

    async def handle(messages: Sequence[Message]) -> None:
        got.extend(number(message) for message in messages)

    async with consuming(url, handle) as heartbeat:
        await send(publisher, 1)

        async def first() -> bool:
            return got == [1]

        await until(first)
        ours = await _connections_of_this_process(management, 2)
        for name in ours:
            (await management.delete(f"/connections/{name}")).raise_for_status()
        await send(publisher, 2)

        async def second() -> bool:
            return 2 in got and heartbeat.connected

        await until(second, 15)
    await publisher.close()


async def _connections_of_this_process(management: httpx2.AsyncClient, at_least: int) -> list[str]:
    """The management API lists a new connection only after its next statistics round (5 s)."""
    names: list[str] = []

    async def listed() -> bool:
        rows = (await management.get("/connections")).json()
        names[:] = [row["name"] for row in rows if "aiormq" in str(row.get("client_properties", {})).lower()]
        return len(names) >= at_least

    await until(listed, 20)
    return names


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


@contextlib.asynccontextmanager
async def consuming_each(url: str, stage: Stage, at_once: int = 4, grace: float = 5) -> AsyncIterator[Heartbeat]:
    heartbeat = Heartbeat()
    task = asyncio.create_task(consume_each(url, {CELERY_QUEUE: stage}, at_once, heartbeat, grace))
    yield heartbeat
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def delivered_again(publisher: Publisher) -> None:
    """Wait until the broker has taken back what was in work, and given it out again."""
    for waiting in (True, False):

        async def seen(waiting: bool = waiting) -> bool:
            return (await publisher.depth(CELERY_QUEUE) > 0) is waiting

        await until(seen)


async def unsettled(publisher: Publisher) -> int:
    """Messages that the broker still has once the consumer has ended."""
    await asyncio.sleep(0.1)
    return await publisher.depth(CELERY_QUEUE)


async def test_work_outlives_the_connection_it_came_by_and_is_not_begun_twice(
    publisher: Publisher, environment: dict[str, str]
) -> None:
    stage = Stage()
    async with wired(environment["ECO2_BROKER_URL"]) as (url, wire), consuming_each(url, stage) as heartbeat:
        await send(publisher, 1, 2, 3)
        await stage.began(1, 2, 3)
        for _ in range(2):
            wire.cut()
            await delivered_again(publisher)
        await send(publisher, 4)
        await stage.began(4)
        assert sorted(stage.begun) == [1, 2, 3, 4], "delivered three times, begun once"
        assert heartbeat.connected
        stage.gate.set()
        await stage.finished(4)
        await asyncio.sleep(0.2)
    assert sorted(stage.begun) == sorted(stage.ended) == [1, 2, 3, 4]
    assert await unsettled(publisher) == 0


async def test_what_was_done_while_the_connection_was_lost_is_delivered_again_and_told_so(
    publisher: Publisher, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "RECONNECT_SECONDS", (0.5,))
    stage = Stage()
    async with wired(environment["ECO2_BROKER_URL"]) as (url, wire), consuming_each(url, stage):
        await send(publisher, 1)
        await stage.began(1)
        wire.cut()
        stage.gate.set()
        await stage.finished(1)
        assert stage.begun == [1]
        await stage.finished(2)
        await asyncio.sleep(0.2)
    assert (stage.begun, stage.redelivered) == ([1, 1], [1]), "so the work looks for its stored output"
    assert await unsettled(publisher) == 0


async def test_no_more_is_in_work_at_once_however_often_the_connection_is_lost(
    publisher: Publisher, environment: dict[str, str]
) -> None:
    stage, others = Stage(), Stage()
    others.gate.set()
    url = environment["ECO2_BROKER_URL"]
    async with wired(url) as (behind_wire, wire), consuming_each(behind_wire, stage, at_once=2):
        await send(publisher, 1, 2)
        await stage.began(1, 2)
        async with consuming_each(url, others):  # takes what is delivered again
            wire.cut()
            await others.finished(2)
        await send(publisher, 3, 4)
        await asyncio.sleep(1)
        assert sorted(stage.begun) == [1, 2], "the places are taken by work that goes on"
        stage.gate.set()
        await stage.finished(4)
        await asyncio.sleep(0.2)
    assert stage.most == 2
    assert await unsettled(publisher) == 0


async def test_the_same_work_sent_twice_is_done_once_at_a_time(
    publisher: Publisher, environment: dict[str, str]
) -> None:
    stage = Stage()
    async with consuming_each(environment["ECO2_BROKER_URL"], stage):
        await send(publisher, 1, 1, 1)
        await stage.began(1)
        await asyncio.sleep(0.3)
        assert stage.begun == [1]
        stage.gate.set()
        await asyncio.sleep(0.3)
    assert stage.ended == [1]
    assert await unsettled(publisher) == 0


@pytest.mark.parametrize("lost", [False, True], ids=["connected", "connection lost"])
async def test_a_consumer_that_stops_lets_what_is_in_work_finish(
    publisher: Publisher, environment: dict[str, str], lost: bool
) -> None:
    stage, heartbeat = Stage(), Heartbeat()
    async with wired(environment["ECO2_BROKER_URL"]) as (url, wire):
        task = asyncio.create_task(consume_each(url, {CELERY_QUEUE: stage}, 4, heartbeat, 5))
        await send(publisher, 1)
        await stage.began(1)
        if lost:
            wire.cut()
            await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0.2)
        assert not task.done()
        stage.gate.set()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()
        assert stage.ended == [1]
    assert await unsettled(publisher) == int(lost), "acknowledged, or delivered again"


async def test_what_does_not_finish_in_time_is_cut_off_and_delivered_again(
    publisher: Publisher, environment: dict[str, str]
) -> None:
    stage = Stage()
    async with consuming_each(environment["ECO2_BROKER_URL"], stage, grace=0.2):
        await send(publisher, 1)
        await stage.began(1)
    assert (stage.ended, await unsettled(publisher)) == ([], 1)


async def test_work_that_was_cancelled_from_within_is_tried_again(
    publisher: Publisher, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something that it waited for was cancelled: that must not leave its message unsettled."""
    monkeypatch.setattr(consumer, "RETRY_PAUSES", (0.01,))
    again, tries = asyncio.Event(), 0

    async def work(_message: Message) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise asyncio.CancelledError
        again.set()

    url = environment["ECO2_BROKER_URL"]
    task = asyncio.create_task(consume_each(url, {CELERY_QUEUE: work}, 4, Heartbeat(), 1))
    await send(publisher, 1)
    async with asyncio.timeout(10):
        await again.wait()
    task.cancel()
    await asyncio.wait([task])
    assert (tries, await unsettled(publisher)) == (2, 0)


async def test_a_consumer_that_the_broker_has_cancelled_consumes_again(environment: dict[str, str]) -> None:
    """As it does when a queue is deleted: the connection and its channel stay, and nothing would come any more."""
    url, name, stage = environment["ECO2_BROKER_URL"], f"test-{uuid.uuid4().hex}", Stage()
    stage.gate.set()
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(name)
        task = asyncio.create_task(consume_each(url, {name: stage}, 4, Heartbeat(), 1))
        for n in (1, 2):
            await channel.default_exchange.publish(aio_pika.Message(orjson.dumps({"n": n})), name)
            await stage.finished(n)
            await channel.queue_delete(name)
            await channel.declare_queue(name)
        task.cancel()
        await asyncio.wait([task])
        await channel.queue_delete(name)


async def test_a_publisher_under_load_only_ever_says_that_the_broker_is_down(environment: dict[str, str]) -> None:
    """Its connections are cut again and again under many senders: a message is confirmed, or refused as BrokerDown."""
    errors: list[BaseException] = []
    sent, stop = 0, asyncio.Event()

    async def sender(publisher: Publisher) -> None:
        nonlocal sent
        while not stop.is_set():
            try:
                await publisher.send_json(CELERY_EXCHANGE, CELERY_QUEUE, {"n": 0}, uuid.uuid4().hex)
                sent += 1
            except BrokerDown:
                await asyncio.sleep(0.01)
            except Exception as error:  # noqa: BLE001 - whatever else escapes is the finding
                errors.append(error)

    async with wired(environment["ECO2_BROKER_URL"]) as (url, wire):
        publisher = Publisher(url)
        senders = [asyncio.create_task(sender(publisher)) for _ in range(16)]
        for _ in range(8):
            await asyncio.sleep(0.2)
            wire.cut()
        stop.set()
        await asyncio.gather(*senders)
        await publisher.close()
    assert not errors
    assert sent > 0


async def test_readiness_of_a_consumer_needs_its_connection() -> None:
    heartbeat = Heartbeat()
    heartbeat.beat()
    with pytest.raises(BrokerDown):
        await heartbeat.check_ready()
    heartbeat.connected = True
    await heartbeat.check_ready()
    heartbeat.last -= 61
    with pytest.raises(BrokerDown):
        await heartbeat.check_ready()
    with pytest.raises(RuntimeError):
        await heartbeat.check_alive()
    heartbeat.connected = False
    await heartbeat.check_alive()


# A broker that is away


async def _sending(url: str) -> None:
    publisher = Publisher(url)
    while True:
        with contextlib.suppress(BrokerDown):
            await publisher.send_json(CELERY_EXCHANGE, CELERY_QUEUE, {}, "n")


async def _consuming(url: str) -> None:
    async def handle(_batch: Sequence[Message]) -> None:
        raise AssertionError("there is nobody to hear from")

    await consume_batches(url, CELERY_QUEUE, handle, Heartbeat())


async def _listening(url: str) -> None:
    await Follower(Denylist(Edge(redis_streams_url="redis://127.0.0.1:1/0", broker_url=url)), None, url)._listen()  # type: ignore[arg-type]


@pytest.mark.parametrize("loop", [_sending, _consuming, _listening])
async def test_what_is_cancelled_meanwhile_ends(
    loop: Callable[[str], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """aio-pika now and then answers a cancellation with an error of the connection; a process would never stop."""
    monkeypatch.setattr(consumer, "RECONNECT_SECONDS", (0.001,))
    monkeypatch.setattr(denylist, "CONNECT_PAUSES", (0.001,))
    logging.disable()
    nowhere = f"amqp://a:b@127.0.0.1:{free_port()}/eco2"
    tasks = [asyncio.create_task(loop(nowhere)) for _ in range(200)]
    try:
        for task in tasks:
            await asyncio.sleep(0.002)
            task.cancel()
        _, left = await asyncio.wait(tasks, timeout=5)
        assert not left
    finally:
        logging.disable(logging.NOTSET)
        while stuck := [task for task in tasks if not task.done()]:
            for task in stuck:
                task.cancel()
            await asyncio.sleep(0.01)


async def test_a_queue_is_left_alone_while_there_is_no_room_and_nothing_is_given_back(
    environment: dict[str, str], publisher: Publisher
) -> None:
    """Full speed, a stop in the midst of work, a trickle, full speed: no message is delivered twice, none is lost."""
    room: int | None = None
    release, seen = asyncio.Event(), list[tuple[bytes, bool]]()
    working = 0

    async def stage(message: Message) -> None:
        nonlocal working
        working += 1
        await release.wait()
        await asyncio.sleep(0.01)
        working -= 1
        seen.append((message.body, bool(message.redelivered)))

    async def held(count: int) -> None:
        """Wait until `count` messages are in work, and see that no further one follows."""

        async def enough() -> bool:
            return working >= count

        await until(enough)
        await asyncio.sleep(0.6)
        assert working == count

    async def finished(count: int) -> None:
        async def enough() -> bool:
            return len(seen) >= count

        await until(enough)

    for number in range(60):
        await publisher.send_json(CELERY_EXCHANGE, CELERY_QUEUE, {"n": number}, uuid.uuid4().hex)
    url, heartbeat = environment["ECO2_BROKER_URL"], Heartbeat()
    running = asyncio.create_task(consume_each(url, {CELERY_QUEUE: stage}, 8, heartbeat, 5, lambda _queue: room))
    try:
        await held(8)
        room = 0
        await asyncio.sleep(0.6)
        release.set()
        await asyncio.sleep(0.6)
        assert (len(seen), await publisher.depth(CELERY_QUEUE)) == (8, 52), "what has to wait does so in the queue"
        release.clear()
        room = 3
        await held(2)  # the power of two below
        release.set()
        await finished(20)
        release.clear()
        room = None
        await held(8)
        release.set()
        await finished(60)
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert len({body for body, _ in seen}) == 60
    assert not any(redelivered for _, redelivered in seen)
