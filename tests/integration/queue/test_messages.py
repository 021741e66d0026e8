"""Consuming message by message: what is in work outlives its connection and its consumer, and is begun once."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import pytest

from eco2.contracts.queues import CELERY_EXCHANGE, CELERY_QUEUE
from eco2.messaging import consumer
from eco2.messaging.broker import Heartbeat, Publisher
from eco2.messaging.consumer import Message, consume_each
from tests.integration.queue.conftest import Stage, send, wired
from tests.redis_server import until


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
