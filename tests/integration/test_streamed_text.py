"""Text that is written while clients follow it: producers, router and gateways on a private redis-server."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from eco2.contracts.events import (
    FIRST_TOKEN,
    TEXT_BYTES,
    Draft,
    Service,
    Stage,
    Status,
    channel,
    job_key,
    log_key,
    text_key,
)
from eco2.core.redis import connect
from eco2.core.shared_redis import connect_shared
from eco2.messaging.events import EventBus, Text
from eco2.sse_gateway.hub import KEPT_FRAMES
from tests.integration.sse.conftest import Event, opened, read, serving, subscribed
from tests.integration.test_bus import forwarded, routing, url_of
from tests.redis_server import private_redis, until
from tools import event_stream

STARTED = [Draft(Stage.QUEUED, Status.STARTED, 0), Draft(Stage.ANSWER, Status.STARTED, 50)]
ENDING = [
    Draft(Stage.ANSWER, Status.COMPLETED, 90),
    Draft(Stage.DONE, Status.COMPLETED, 100, result={"answer": "페트병은 라벨을 떼요."}),
]
PARTS = ("페트병은 ", "라벨을 ", "떼요.")


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    async with private_redis() as url, connect(url) as client:
        yield client


async def say(redis: Redis, job: str, *parts: str, round_: int = 1, first: int = 1) -> list[int]:
    bus = EventBus(redis, Service.CHAT)
    return [await bus.say(job, round_, first + number, part, "answer") for number, part in enumerate(parts)]


def told(events: list[Event]) -> str:
    """Text as a client shows it: parts are added, a recovery replaces what was there."""
    shown = ""
    for event in events:
        if event["event"] == "token":
            shown += event["data"]["content"]
        if event["event"] == "token_recovery":
            assert event["data"]["completed"] is False
            shown = event["data"]["accumulated"]
    return shown


def noting(events: list[Event]) -> Callable[[Event], bool]:
    """For `read`: keep what comes, until the end."""

    def note(event: Event) -> bool:
        events.append(event)
        return False

    return note


# --- producers --------------------------------------------------------------------------------------------------------


async def test_parts_add_up_and_a_repeated_one_is_said_once(redis: Redis) -> None:
    job, bus = await opened(redis), EventBus(redis)
    assert await say(redis, job, *PARTS) == [FIRST_TOKEN, FIRST_TOKEN + 1, FIRST_TOKEN + 2]
    assert await say(redis, job, *PARTS[1:], first=2) == [0, 0]
    assert await bus.text(job) == Text(1, FIRST_TOKEN + 2, "".join(PARTS))


async def test_a_newer_round_begins_anew_and_silences_the_one_before(redis: Redis) -> None:
    job, bus = await opened(redis), EventBus(redis)
    await say(redis, job, "half an ans")
    assert await say(redis, job, "the ", round_=2) == [FIRST_TOKEN + 1], "numbers go on"
    assert await say(redis, job, "wer", first=2) == [0], "a worker that was taken for dead"
    assert await say(redis, job, "answer", round_=2, first=2) == [FIRST_TOKEN + 2]
    assert await bus.text(job) == Text(2, FIRST_TOKEN + 2, "the answer")


async def test_the_end_drops_the_text_and_nothing_is_said_after_it(redis: Redis) -> None:
    job, bus = await opened(redis), EventBus(redis)
    await bus.emit(job, *STARTED)
    await say(redis, job, PARTS[0])
    await bus.emit(job, *ENDING)
    assert await say(redis, job, *PARTS[1:], first=2) == [0, 0]
    assert await bus.text(job) is None
    assert await redis.exists(text_key(job)) == 0


async def test_a_text_past_its_limit_is_said_no_further(redis: Redis) -> None:
    job, most = await opened(redis), "가" * (TEXT_BYTES // 3)
    assert await say(redis, job, most, "나") == [FIRST_TOKEN, 0]
    assert await redis.strlen(text_key(job)) == len(most.encode())
    assert await say(redis, job, "가", most, "나", round_=2) == [FIRST_TOKEN + 1, 0, 0], "one that fits leaves a hole"
    assert await EventBus(redis).text(job) == Text(2, FIRST_TOKEN + 1, "가")
    assert await say(redis, job, most + "가", "나", round_=3) == [0, 0]
    assert await say(redis, job, "다", round_=4) == [FIRST_TOKEN + 2], "the next round begins anew"


async def test_a_stage_of_another_service_is_refused(redis: Redis) -> None:
    bus = EventBus(redis, Service.SCAN)
    with pytest.raises(ValueError, match="weather"):
        await bus.emit("job-a-0001", Draft(Stage.WEATHER, Status.STARTED, 0))
    assert await redis.keys("*") == []


async def test_parts_of_a_stage_are_events_of_their_own(redis: Redis) -> None:
    job = await opened(redis)
    cans, jars = (Draft(Stage.WASTE, Status.COMPLETED, 30, part=item) for item in ("drink_can", "glass_jar"))
    assert await EventBus(redis, Service.CHAT).emit(job, cans, jars, cans) == [1, 2, 1]


async def test_a_long_turn_takes_little_of_the_server(redis: Redis) -> None:
    """Every stage of a chat, an answer of 6,000 letters said in 200 parts, the whole answer in its end."""
    job, bus = await opened(redis), EventBus(redis, Service.CHAT)
    stages = [stage for stage in Stage if stage not in (Stage.RULE, Stage.REWARD, Stage.DONE)]
    drafts = [Draft(stage, status, 10) for stage in stages for status in (Status.STARTED, Status.COMPLETED)]

    async def used() -> int:
        return sum(
            [await redis.memory_usage(key, samples=0) or 0 for key in (job_key(job), log_key(job), text_key(job))]
        )

    async with routing(url_of(redis)):
        await bus.emit(job, *drafts)
        await say(redis, job, *("가나다라마바사아자차카타파하 안녕하세요 여러분. "[:30] for _ in range(200)))
        await forwarded(redis, job, len(drafts))
        running = await used()
        await bus.emit(job, Draft(Stage.DONE, Status.COMPLETED, 100, result={"answer": "가" * 6000}))
        await forwarded(redis, job, len(drafts) + 1)
    assert max(running, await used()) <= 40_000
    assert 0 < await redis.ttl(log_key(job)) <= 3600


# --- what a client sees -----------------------------------------------------------------------------------------------


async def _turn(redis: Redis, job: str, *parts: str) -> None:
    bus = EventBus(redis, Service.CHAT)
    await bus.emit(job, *STARTED)
    await say(redis, job, *parts)
    await bus.emit(job, *ENDING)


async def test_who_follows_from_the_start_gets_each_part_between_its_events(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        reading = asyncio.create_task(read(gateway.url(job, "chat")))
        await subscribed(redis, job)
        await _turn(redis, job, *PARTS)
        events = await reading
        names = [event["event"] for event in events]
        assert names == ["queued", "answer", "token", "token", "token", "answer", "done"]
        assert [event["data"]["seq"] for event in events] == [1, 2, 1001, 1002, 1003, 3, 4]
        assert not any("id" in event for event in events if event["event"] == "token"), (
            "an id is what a client resumes from"
        )
        assert {name: type(value) for name, value in events[2]["data"].items()} == {
            name: type(value) for name, value in event_stream.TOKEN.items()
        }
        assert (told(events), events[2]["data"]["node"]) == ("".join(PARTS), "answer")


async def test_who_comes_late_or_again_gets_the_text_so_far_first(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway, serving(url_of(redis)) as other:
        job, bus = await opened(redis), EventBus(redis, Service.CHAT)
        await bus.emit(job, *STARTED)
        await forwarded(redis, job, 2)
        await say(redis, job, *PARTS[:2])
        late = asyncio.create_task(read(gateway.url(job, "chat")))
        again = asyncio.create_task(read(other.url(job, "chat"), "2"))
        await subscribed(redis, job, 2)
        for reading in (late, again):
            assert not reading.done()
        await say(redis, job, PARTS[2], first=3)
        await bus.emit(job, *ENDING)
        for events, before in ((await late, ["queued", "answer"]), (await again, [])):
            assert events[0]["event"] == "token_recovery"
            assert events[0]["data"]["accumulated"].startswith("".join(PARTS[:2]))
            assert told(events) == "".join(PARTS)
            rest = [event["event"] for event in events[1:] if event["event"] not in ("token", "token_recovery")]
            assert rest == [*before, "answer", "done"]


async def test_who_comes_after_the_end_gets_the_answer_and_no_recovery(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        await _turn(redis, job, *PARTS)
        await forwarded(redis, job, 4)
        events = await read(gateway.url(job, "chat"))
        assert [event["event"] for event in events] == ["queued", "answer", "answer", "done"]


async def test_a_part_that_was_lost_is_made_up_for_by_the_text_so_far(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job, bus = await opened(redis), EventBus(redis, Service.CHAT)
        events: list[Event] = []
        reading = asyncio.create_task(read(gateway.url(job, "chat"), until_event=noting(events)))
        await subscribed(redis, job)
        await bus.emit(job, *STARTED)
        await say(redis, job, PARTS[0])
        await until(lambda: _said(events, PARTS[0]))
        await redis.append(text_key(job), PARTS[1])
        await redis.hset(job_key(job), mapping={"part": 2, "said": FIRST_TOKEN + 1})
        await say(redis, job, PARTS[2], first=3)
        await until(lambda: _said(events, "".join(PARTS)))
        await bus.emit(job, *ENDING)
        names = [event["event"] for event in await reading]
        assert names == ["queued", "answer", "token", "token_recovery", "answer", "done"]


async def _said(events: list[Event], text: str) -> bool:
    return told(events) == text


async def test_the_last_part_is_found_when_its_live_copy_was_lost(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis), check=0.2) as gateway:
        job, bus = await opened(redis), EventBus(redis, Service.CHAT)
        events: list[Event] = []
        reading = asyncio.create_task(read(gateway.url(job, "chat"), until_event=noting(events)))
        await subscribed(redis, job)
        await bus.emit(job, *STARTED)
        await redis.set(text_key(job), "".join(PARTS))
        await redis.hset(job_key(job), mapping={"round": 1, "part": 3, "said": FIRST_TOKEN + 2})
        await until(lambda: _said(events, "".join(PARTS)))
        await bus.emit(job, *ENDING)
        await reading


async def test_a_text_that_begins_anew_replaces_what_the_client_shows(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job, bus = await opened(redis), EventBus(redis, Service.CHAT)
        events: list[Event] = []
        reading = asyncio.create_task(read(gateway.url(job, "chat"), until_event=noting(events)))
        await subscribed(redis, job)
        await bus.emit(job, *STARTED)
        await say(redis, job, "half an ans")
        await until(lambda: _said(events, "half an ans"))
        await say(redis, job, *PARTS, round_=2)
        await until(lambda: _said(events, "".join(PARTS)))
        await bus.emit(job, *ENDING)
        assert told(await reading) == "".join(PARTS)


async def test_a_part_waits_for_the_event_that_it_follows(redis: Redis) -> None:
    async with serving(url_of(redis)) as gateway:
        job, bus = await opened(redis), EventBus(redis, Service.CHAT)
        reading = asyncio.create_task(read(gateway.url(job, "chat")))
        await subscribed(redis, job)
        await bus.emit(job, *STARTED)  # nothing forwards it yet
        await say(redis, job, *PARTS)
        async with routing(url_of(redis)):
            await bus.emit(job, *ENDING)
            names = [event["event"] for event in await reading]
        assert names[:2] == ["queued", "answer"]
        assert names[-1] == "done"


async def test_a_client_that_does_not_keep_up_misses_no_text(redis: Redis) -> None:
    """More parts at once than a mailbox holds."""
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job, line = await opened(redis), connect_shared(url_of(redis))  # which keeps the order of its commands
        bus, events = EventBus(line, Service.CHAT), list[Event]()
        reading = asyncio.create_task(read(gateway.url(job, "chat"), until_event=noting(events)))
        await subscribed(redis, job)
        await bus.emit(job, *STARTED)
        parts = [f"{number} " for number in range(8 * KEPT_FRAMES)]
        await asyncio.gather(*(bus.say(job, 1, number, part, "answer") for number, part in enumerate(parts, 1)))
        await until(lambda: _said(events, "".join(parts)))
        await bus.emit(job, *ENDING)
        assert told(await reading) == "".join(parts)
        await line.aclose()


async def test_garbage_for_a_part_harms_nobody(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        reading = asyncio.create_task(read(gateway.url(job, "chat")))
        await subscribed(redis, job)
        for text in ('{"stage":"token"}', '{"stage":"token","seq":"1","round":1,"after":0}'):
            await redis.publish(channel(job), text)
        await _turn(redis, job, *PARTS)
        assert told(await reading) == "".join(PARTS)


async def test_a_scan_has_no_text(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        await say(redis, job, *PARTS)
        reading = asyncio.create_task(read(gateway.url(job)))
        await subscribed(redis, job)
        await EventBus(redis).emit(job, *STARTED, *ENDING)
        assert [event["event"] for event in await reading] == ["queued", "answer", "answer", "done"]
