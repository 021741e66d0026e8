"""Frames that a client sees: live, resumed, lost, late, and with Redis away."""

import asyncio
from contextlib import AsyncExitStack

import httpx2
import orjson
import pytest
from redis.asyncio import Redis

from eco2.contracts.events import Draft, channel, log_key
from eco2.core.redis import connect
from eco2.messaging.events import EventBus
from eco2.sse_gateway import hub
from tests.integration.sse.conftest import (
    USER,
    WHOLE_JOB,
    Event,
    emit_slowly,
    opened,
    read,
    seqs,
    serving,
    subscribed,
)
from tests.integration.test_bus import DONE, FAILED, STEPS, forwarded, routing, streamed, url_of
from tests.redis_server import RedisServer, until


async def test_before_during_and_after_the_job_give_the_same_frames(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        before = asyncio.create_task(read(gateway.url(job)))
        await subscribed(redis, job)
        await emit_slowly(redis, job, WHOLE_JOB[:5])
        during = asyncio.create_task(read(gateway.url(job)))
        await emit_slowly(redis, job, WHOLE_JOB[5:])
        live, mixed, replayed = await before, await during, await read(gateway.url(job))
        assert live == mixed == replayed
        assert [event["event"] for event in live] == [draft.stage for draft in WHOLE_JOB]
        assert seqs(live) == list(range(1, 12))
        assert [event["data"]["seq"] for event in live] == list(range(1, 12))
        assert {type(event["data"]["progress"]) for event in live} == {int}
        assert live[-1]["data"]["result"] == {"ok": True}


async def test_resume_works_from_every_event(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        await EventBus(redis).emit(job, *WHOLE_JOB)
        await forwarded(redis, job, 11)
        for last in range(11):
            assert seqs(await read(gateway.url(job), str(last))) == list(range(last + 1, 12))
        assert seqs(await read(gateway.url(job) + "?last_event_id=9")) == [10, 11]
        assert seqs(await read(gateway.url(job), "recovery:5")) == list(range(6, 12))
        assert seqs(await read(gateway.url(job), "4711")) == list(range(1, 12))
        async with httpx2.AsyncClient() as http:
            answer = await http.get(gateway.url(job), headers={"x-user-id": USER, "last-event-id": "11"})
        assert (answer.status_code, answer.content) == (204, b"")


async def test_a_failed_job_ends_with_one_done_frame(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        reading = asyncio.create_task(read(gateway.url(job)))
        await EventBus(redis).emit(job, STEPS[0], FAILED, FAILED, DONE)
        events = await reading
        assert [event["event"] for event in events] == ["queued", "done"]
        assert (events[-1]["data"]["status"], events[-1]["data"]["message"]) == ("failed", FAILED.message)


async def test_headers_tell_proxies_not_to_buffer(redis: Redis) -> None:
    async with serving(url_of(redis)) as gateway:
        job = await opened(redis)
        async with (
            httpx2.AsyncClient() as http,
            http.stream("GET", gateway.url(job), headers={"x-user-id": USER}) as response,
        ):
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["cache-control"] == "no-cache"
            assert response.headers["x-accel-buffering"] == "no"


async def test_silence_is_filled_and_a_long_stream_ends_with_the_timeout_frame(redis: Redis) -> None:
    async with serving(url_of(redis), keepalive=0.1, max_duration=0.55) as gateway:
        events = await read(gateway.url(await opened(redis)))
        assert [event["event"] for event in events] == ["keepalive"] * 5 + ["error"]
        assert all("id" not in event for event in events)
        assert "timestamp" in events[0]["data"]
        assert (events[-1]["data"]["type"], events[-1]["data"]["error"]) == ("error", "timeout")
        assert isinstance(events[-1]["data"]["message"], str)


@pytest.mark.parametrize(
    ("path", "user", "status", "code"),
    [
        ("/api/v1/scan/{job}/events", "", 401, "UNAUTHORIZED"),
        ("/api/v1/scan/{job}/events", "user-2", 404, "JOB_NOT_FOUND"),
        ("/api/v1/scan/00000000-unknown/events", USER, 404, "JOB_NOT_FOUND"),
        ("/api/v1/scan/short/events", USER, 400, "INVALID_JOB_ID"),
        ("/api/v1/stream", USER, 400, "INVALID_JOB_ID"),
        ("/api/v1/stream?job_id={job}", "user-2", 404, "JOB_NOT_FOUND"),
        ("/api/v1/news/{job}/events", USER, 400, "UNSUPPORTED_SERVICE"),
        ("/api/v1/scan/{job}", USER, 404, "NOT_FOUND"),
    ],
)
async def test_refusals(redis: Redis, path: str, user: str, status: int, code: str) -> None:
    async with serving(url_of(redis)) as gateway, httpx2.AsyncClient() as http:
        job = await opened(redis)
        headers = {"x-user-id": user} if user else {}
        answer = await http.get(gateway.base + path.format(job=job), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert set(answer.json()) == {"detail", "code"}
        answer = await http.post(gateway.base + f"/api/v1/scan/{job}/events", headers=headers)
        assert answer.status_code == 405


async def test_the_legacy_route_gives_the_same_stream(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        await EventBus(redis).emit(job, STEPS[0], DONE)
        assert seqs(await read(f"{gateway.base}/api/v1/stream?job_id={job}")) == [1, 2]


async def logged(redis: Redis, job: str, drafts: list[Draft]) -> list[str]:
    """Frames in the job's log without any live copy."""
    await EventBus(redis).emit(job, *drafts)
    texts = [orjson.dumps(frame).decode() for frame in await streamed(redis, job)]
    for seq, text in enumerate(texts, 1):
        await redis.zadd(log_key(job), {text: seq})
    return texts


async def test_duplicated_and_reordered_live_copies_are_set_right(redis: Redis) -> None:
    async with serving(url_of(redis)) as gateway:
        job = await opened(redis)
        reading = asyncio.create_task(read(gateway.url(job)))
        await subscribed(redis, job)
        texts = await logged(redis, job, WHOLE_JOB)
        for position in (2, 2, 0, 1, 1, 5, 4, 3, 0, 10, 9, 6, 8, 7, 10):
            await redis.publish(channel(job), texts[position])
        assert seqs(await reading) == list(range(1, 12))


async def test_garbage_on_a_channel_harms_nobody(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        reading = asyncio.create_task(read(gateway.url(job)))
        await subscribed(redis, job)
        for text in ("", "{", "[]", '{"seq": 1}', "\x00"):
            await redis.publish(channel(job), text)
        await EventBus(redis).emit(job, *WHOLE_JOB)
        assert seqs(await reading) == list(range(1, 12))


async def test_lost_live_copies_are_found_in_the_log(redis: Redis) -> None:
    async with serving(url_of(redis), check=0.2) as gateway:
        job = await opened(redis)
        reading = asyncio.create_task(read(gateway.url(job)))
        await subscribed(redis, job)
        await logged(redis, job, WHOLE_JOB)
        assert seqs(await reading) == list(range(1, 12))


async def test_an_event_that_is_late_in_the_log_is_waited_for(redis: Redis) -> None:
    async with serving(url_of(redis)) as gateway:
        job = await opened(redis)
        seen: list[int] = []

        def watch(event: Event) -> bool:
            seen.append(int(event["id"]))
            return False

        reading = asyncio.create_task(read(gateway.url(job), until_event=watch))
        await subscribed(redis, job)
        texts = await logged(redis, job, WHOLE_JOB)
        await redis.zrem(log_key(job), texts[1])
        for text in (texts[0], texts[10]):
            await redis.publish(channel(job), text)

        async def first_seen() -> bool:
            return seen == [1]

        await until(first_seen)
        await redis.publish(channel(job), texts[2])
        await asyncio.sleep(0.3)
        assert seen == [1], "nothing may be sent past the missing event"
        await redis.zadd(log_key(job), {texts[1]: 2})
        assert seqs(await reading) == list(range(1, 12))


async def test_what_was_published_while_pubsub_was_cut_is_caught_up(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "BACKOFF_SECONDS", (1.0, 1.0))
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        reading = asyncio.create_task(read(gateway.url(job)))
        await subscribed(redis, job)
        await EventBus(redis).emit(job, *WHOLE_JOB[:4])
        await redis.client_kill_filter(_type="pubsub")
        await EventBus(redis).emit(job, *WHOLE_JOB[4:])
        await forwarded(redis, job, 11)
        assert not await redis.pubsub_channels("job:*"), "published before the gateway was back"
        async with asyncio.timeout(10):
            assert seqs(await reading) == list(range(1, 12))


async def test_redis_away_in_mid_stream_keeps_the_stream_and_catches_up() -> None:
    async with RedisServer("--appendfsync", "always", aof=True) as server, AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connect(server.url))
        await stack.enter_async_context(routing(server.url))
        gateway = await stack.enter_async_context(serving(server.url, keepalive=0.2))
        job = await opened(redis)
        alive = asyncio.Event()
        down = asyncio.Event()

        def watch(event: Event) -> bool:
            if down.is_set() and event["event"] == "keepalive":
                alive.set()
            return False

        reading = asyncio.create_task(read(gateway.url(job), until_event=watch))
        await subscribed(redis, job)
        await EventBus(redis).emit(job, *WHOLE_JOB[:4])
        await forwarded(redis, job, 4)
        await server.kill()
        down.set()
        async with asyncio.timeout(5):
            await alive.wait()
        async with httpx2.AsyncClient(timeout=10) as http:
            refused = await http.get(gateway.url(job), headers={"x-user-id": USER})
            assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
            assert int(refused.headers["retry-after"]) > 0
            assert (await http.get(f"{gateway.base}/ready")).status_code == 503
            assert (await http.get(f"{gateway.base}/health")).status_code == 200
        await server.start()
        await EventBus(redis).emit(job, *WHOLE_JOB[4:])
        assert seqs(await reading) == list(range(1, 12))
