"""A provider that limits its calls: what has to wait does so in the queue, all is answered, nothing comes twice."""

import asyncio
import time
import uuid
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from eco2.contracts.queues import CELERY_EXCHANGE, CELERY_QUEUE
from eco2.core import redis
from eco2.knowledge.grounding import Selection
from eco2.llm.calls import Llm
from eco2.llm.settings import LlmSettings
from eco2.messaging.broker import Heartbeat, Publisher
from eco2.messaging.consumer import Message, consume_each
from tests.llm_emulator import Emulator, emulated

MESSAGES, AT_ONCE = 100, 64
ASKED = [{"role": "user", "content": "{}"}]


async def _answered(llm: Llm, url: str, publisher: Publisher) -> tuple[list[bytes], int, int]:
    """Bodies as answered, the most in work when another one was begun at the limit, and how many came again."""
    answered, again, working, most = list[bytes](), 0, 0, 0
    limited_since = None

    async def stage(message: Message) -> None:
        nonlocal again, working, most, limited_since
        again += bool(message.redelivered)
        working += 1
        if llm.calls_per_second() is not None:
            limited_since = limited_since or time.monotonic()
            if time.monotonic() - limited_since > 1:  # the consumers have noticed
                most = max(most, working)
        try:
            await llm.structured(llm._settings.llm_default_model, Selection, ASKED, job="x", purpose="answer")
        finally:
            working -= 1
        answered.append(message.body)

    for number in range(MESSAGES):
        await publisher.send_json(CELERY_EXCHANGE, CELERY_QUEUE, {"n": number}, uuid.uuid4().hex)
    room = lambda _queue: llm.room()  # noqa: E731
    running = asyncio.create_task(consume_each(url, {CELERY_QUEUE: stage}, AT_ONCE, Heartbeat(), 5, room))
    try:
        async with asyncio.timeout(40):
            while len(answered) < MESSAGES:
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await asyncio.wait([running])
    return answered, most, again


async def _llm(emulator: Emulator, cache: Redis) -> Llm:
    given = LlmSettings(
        llm_api_key="key",
        llm_base_url=emulator.base_url,
        llm_prices={"gpt-5.2": (0, 0)},
        llm_deadline=timedelta(seconds=20),
    )
    return Llm(given, cache)


@pytest.mark.parametrize("tells_limit", [False, True])
async def test_a_limit_waits_in_the_queue_not_in_slots(
    environment: dict[str, str], publisher: Publisher, tells_limit: bool
) -> None:
    """20 calls a second, and 20 at once: 100 messages take 4 s, of which few are in work at any moment."""
    limit = {"per_minute": 1200, "burst": 20, "median": 0.2, "tells_limit": tells_limit}
    async with emulated() as emulator, redis.connect(environment["ECO2_REDIS_CACHE_URL"]) as cache:
        await emulator.behave(**{"*": limit})
        llm = await _llm(emulator, cache)
        began = time.monotonic()
        answered, most, again = await _answered(llm, environment["ECO2_BROKER_URL"], publisher)
        seconds = time.monotonic() - began
        calls = await emulator.calls()
        await llm.aclose()
    assert len(set(answered)) == MESSAGES
    assert again == 0
    assert seconds > 3.5
    assert 0 < most <= AT_ONCE * 3 // 4, "nothing is taken from the queue while too many wait for their turns"
    assert calls["refused"] < MESSAGES / 2


async def test_a_pause_of_the_provider_leaves_the_queue_alone(
    environment: dict[str, str], publisher: Publisher
) -> None:
    async with emulated() as emulator, redis.connect(environment["ECO2_REDIS_CACHE_URL"]) as cache:
        await emulator.behave(answer={"next": ["rate_limit"], "retry_after": 1.5})
        llm = await _llm(emulator, cache)
        assert llm.room() is None
        waiting = asyncio.create_task(llm.structured("gpt-5.2", Selection, ASKED, job="x", purpose="answer"))
        await asyncio.sleep(0.5)
        assert llm.room() == 0
        await waiting
        assert llm.room() != 0
        await llm.aclose()
