"""Publishing, and consuming in batches: bad messages, lost connections, a broker that is away."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

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
from tests.integration.queue.conftest import Stage, consuming, dead_letters, number, send, wired
from tests.redis_server import free_port, until


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
