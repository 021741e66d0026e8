"""Producers, streams and the router on a private redis-server; routers that are killed are processes of their own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import orjson
import pytest
from redis.asyncio import Redis

from eco2.contracts.events import (
    ENDED_TTL_SECONDS,
    JOB_TTL_SECONDS,
    Draft,
    Stage,
    Status,
    channel,
    job_key,
    log_key,
    shard_key,
    shard_keys,
)
from eco2.core.redis import connect
from eco2.event_router.router import GROUP, Router
from eco2.event_router.settings import Settings
from eco2.messaging.events import EventBus
from tests.redis_server import RedisServer, free_port, private_redis, until

STEPS = [
    Draft(stage, status, progress)
    for progress, stage in enumerate((Stage.QUEUED, Stage.VISION, Stage.RULE, Stage.ANSWER, Stage.REWARD))
    for status in (Status.STARTED, Status.COMPLETED)
]
DONE = Draft(Stage.DONE, Status.COMPLETED, 100, result={"ok": True})
FAILED = Draft(Stage.DONE, Status.FAILED, 100, message="the photo is unreadable")


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    async with private_redis() as url, connect(url) as client:
        yield client


def settings(url: str, name: str = "router-1") -> Settings:
    return Settings(
        redis_streams_url=url,
        router_consumer=name,
        router_reclaim_idle=timedelta(seconds=0.3),
        router_reclaim_every=timedelta(seconds=0.1),
    )


def url_of(redis: Redis) -> str:
    return f"redis://127.0.0.1:{redis.connection_pool.connection_kwargs['port']}/0"


@asynccontextmanager
async def routing(url: str, name: str = "router-1") -> AsyncIterator[Router]:
    router = Router(settings(url, name))
    loops = [asyncio.create_task(router.run()), asyncio.create_task(router.watch())]
    try:
        yield router
    finally:
        router.stop()
        async with asyncio.timeout(10):
            await asyncio.gather(*loops)
        await router.aclose()


async def log_of(redis: Redis, job_id: str) -> list[tuple[int, str]]:
    frames = [orjson.loads(frame) for frame in await EventBus(redis).log(job_id, 0, 1000)]
    return [(frame["seq"], f"{frame['stage']}:{frame['status']}") for frame in frames]


async def streamed(redis: Redis, job_id: str) -> list[dict[str, Any]]:
    """The frames of the job in its shard."""
    rows = cast(list[tuple[str, dict[str, str]]], await redis.xrange(shard_key(job_id)))
    return [orjson.loads(fields["frame"]) for _, fields in rows if fields["job_id"] == job_id]


async def forwarded(redis: Redis, job_id: str, count: int, seconds: float = 10) -> None:
    async def all_there() -> bool:
        return await redis.zcard(log_key(job_id)) == count

    await until(all_there, seconds)


async def pending(redis: Redis) -> int:
    return sum([(await redis.xpending(shard, GROUP))["pending"] for shard in shard_keys()])


# --- producers ---------------------------------------------------------------------------------------------


async def test_seq_counts_from_one_per_job(redis: Redis) -> None:
    bus = EventBus(redis)
    assert await bus.emit("job-a-0001", *STEPS[:3]) == [1, 2, 3]
    assert await bus.emit("job-b-0001", STEPS[0]) == [1]
    assert await bus.emit("job-a-0001", STEPS[3], DONE) == [4, 5]
    assert [frame["seq"] for frame in await streamed(redis, "job-a-0001")] == [1, 2, 3, 4, 5]


async def test_repeating_an_event_returns_its_first_seq_and_writes_nothing(redis: Redis) -> None:
    bus = EventBus(redis)
    assert await bus.emit("job-a-0001", STEPS[0], STEPS[1], STEPS[0]) == [1, 2, 1]
    assert await bus.emit("job-a-0001", STEPS[1], STEPS[2]) == [2, 3]
    assert await redis.xlen(shard_key("job-a-0001")) == 3


async def test_nothing_follows_the_terminal_event(redis: Redis) -> None:
    bus = EventBus(redis)
    assert await bus.emit("job-a-0001", STEPS[0], FAILED, STEPS[1], DONE) == [1, 2, 0, 0]
    assert await bus.emit("job-a-0001", FAILED, STEPS[0]) == [2, 1]
    assert await redis.xlen(shard_key("job-a-0001")) == 2
    head = await bus.head("job-a-0001")
    assert head is None
    await bus.open("job-a-0001", "user-1")
    head = await bus.head("job-a-0001")
    assert head is not None
    assert (head.seq, head.terminal) == (2, 2)


async def test_one_terminal_event_and_no_gap_from_many_producers_at_once(redis: Redis) -> None:
    buses = [EventBus(redis) for _ in range(8)]
    jobs = [uuid4().hex for _ in range(10)]
    emits = [
        bus.emit(job, *STEPS[number % 3 :], DONE if number % 2 else FAILED)
        for job in jobs
        for number, bus in enumerate(buses)
    ]
    await asyncio.gather(*emits)
    for job in jobs:
        frames = await streamed(redis, job)
        assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
        assert [frame["stage"] for frame in frames].count("done") == 1
        assert frames[-1]["stage"] == "done"


async def test_owner_is_set_once_and_expires_with_the_job(redis: Redis) -> None:
    bus = EventBus(redis)
    assert await bus.owner("job-a-0001") is None
    await bus.open("job-a-0001", "user-1")
    await bus.open("job-a-0001", "user-2")
    assert await bus.owner("job-a-0001") == "user-1"
    await bus.emit("job-a-0001", STEPS[0])
    assert JOB_TTL_SECONDS - 100 < await redis.ttl(job_key("job-a-0001")) <= JOB_TTL_SECONDS


async def test_an_emit_is_one_round_trip(redis: Redis) -> None:
    bus = EventBus(redis)
    await bus.emit("job-a-0001", STEPS[0])
    await redis.config_resetstat()
    await bus.emit("job-a-0001", *STEPS[1:], DONE)
    stats = await redis.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 1
    assert not {"cmdstat_script|exists", "cmdstat_script|load", "cmdstat_eval"} & stats.keys()


# --- router ------------------------------------------------------------------------------------------------


async def test_log_state_and_live_copy_are_written_and_acknowledged(redis: Redis) -> None:
    bus, job = EventBus(redis), uuid4().hex
    async with redis.pubsub() as live, routing(url_of(redis)):
        await live.subscribe(channel(job))
        await bus.emit(job, *STEPS, DONE)
        await forwarded(redis, job, 11)
        assert await log_of(redis, job) == [(n, draft.key) for n, draft in enumerate([*STEPS, DONE], 1)]
        state = await bus.state(job)
        assert state is not None
        assert (state["seq"], state["stage"], state["result"]) == (11, "done", {"ok": True})
        received: list[str] = []
        async with asyncio.timeout(5):
            async for message in live.listen():
                if message["type"] == "message":
                    received += message["data"].split("\n")
                if len(received) == 11:
                    break
        assert received == await bus.log(job, 0, 100)
        assert await pending(redis) == 0
        for key in (log_key(job), job_key(job)):
            assert ENDED_TTL_SECONDS - 100 < await redis.ttl(key) <= ENDED_TTL_SECONDS
        assert [await redis.xlen(shard) for shard in shard_keys()] == [0, 0, 0, 0], "what was forwarded is deleted"


async def test_events_of_an_open_job_stay_longer(redis: Redis) -> None:
    bus, job = EventBus(redis), uuid4().hex
    async with routing(url_of(redis)):
        await bus.emit(job, *STEPS[:2])
        await forwarded(redis, job, 2)
        for key in (log_key(job), job_key(job)):
            assert JOB_TTL_SECONDS - 100 < await redis.ttl(key) <= JOB_TTL_SECONDS


async def test_state_keeps_the_newest_event_when_an_older_one_arrives_late(redis: Redis) -> None:
    bus, job = EventBus(redis), uuid4().hex
    await bus.emit(job, STEPS[0], STEPS[1], DONE)
    router = Router(settings(url_of(redis)))
    await router._ensure_groups()
    entries = await router._read(">")
    for entry in reversed(entries):
        await router.forward([entry])
        state = await bus.state(job)
        assert state is not None
        assert state["stage"] == "done"
    await router.forward(entries)
    assert await log_of(redis, job) == [(1, "queued:started"), (2, "queued:completed"), (3, "done:completed")]
    await router.aclose()


async def test_entries_of_a_dead_router_are_taken_over_within_seconds(redis: Redis) -> None:
    bus, job = EventBus(redis), uuid4().hex
    dead = Router(settings(url_of(redis), "dead"))
    await dead._ensure_groups()
    await bus.emit(job, *STEPS)
    assert len(await dead._read(">")) == 10
    await dead.aclose()
    async with routing(url_of(redis), "alive"):
        await forwarded(redis, job, 10, 5)
        assert await pending(redis) == 0


async def test_own_pending_entries_are_read_again_at_start(redis: Redis) -> None:
    bus, job = EventBus(redis), uuid4().hex
    before = Router(settings(url_of(redis), "same"))
    await before._ensure_groups()
    await bus.emit(job, *STEPS)
    await before._read(">")
    await before.aclose()
    after = Router(settings(url_of(redis), "same"))
    task = asyncio.create_task(after.run())
    await forwarded(redis, job, 10, 5)
    after.stop()
    await task
    await after.aclose()
    assert await pending(redis) == 0


async def test_poison_is_dropped_and_what_is_behind_it_is_forwarded(redis: Redis) -> None:
    bus, job = EventBus(redis), uuid4().hex
    shard = shard_key(job)
    poison: list[dict[bytes | str, bytes | str]] = [
        {"foo": "bar"},
        {"job_id": job, "frame": "{not json"},
        {"job_id": job, "frame": b"\xff\xfe"},
        {b"\xff": b"\xff"},
    ]
    for fields in poison:
        await redis.xadd(shard, fields)  # type: ignore[arg-type]
    await bus.emit(job, STEPS[0])
    async with routing(url_of(redis)):
        await forwarded(redis, job, 1)
        assert await pending(redis) == 0


async def test_entries_trimmed_while_pending_do_not_stop_a_router(redis: Redis) -> None:
    bus, job = EventBus(redis), uuid4().hex
    before = Router(settings(url_of(redis), "same"))
    await before._ensure_groups()
    await bus.emit(job, *STEPS[:3])
    await before._read(">")
    await before.aclose()
    await redis.xtrim(shard_key(job), maxlen=0, approximate=False)
    await bus.emit(job, STEPS[3])
    async with routing(url_of(redis), "same"):
        await forwarded(redis, job, 1)
        assert await pending(redis) == 0


async def test_streams_that_vanish_are_made_again(redis: Redis) -> None:
    bus = EventBus(redis)
    async with routing(url_of(redis)):
        first, second = uuid4().hex, uuid4().hex
        await bus.emit(first, STEPS[0])
        await forwarded(redis, first, 1)
        await redis.flushall()
        await bus.emit(second, STEPS[0])
        await forwarded(redis, second, 1)


async def test_two_routers_share_the_work_and_lose_nothing(redis: Redis) -> None:
    bus, jobs = EventBus(redis), [uuid4().hex for _ in range(40)]
    async with routing(url_of(redis), "one"), routing(url_of(redis), "two"):
        for draft in [*STEPS, DONE]:
            await asyncio.gather(*(bus.emit(job, draft) for job in jobs))
        for job in jobs:
            await forwarded(redis, job, 11)
            assert [seq for seq, _ in await log_of(redis, job)] == list(range(1, 12))
            state = await bus.state(job)
            assert state is not None
            assert state["stage"] == "done"


async def test_a_redis_restart_in_mid_job_loses_nothing() -> None:
    async with RedisServer("--appendfsync", "always", aof=True) as server, connect(server.url) as redis:
        bus, job = EventBus(redis), uuid4().hex
        async with routing(server.url) as router:
            await bus.emit(job, *STEPS[:5])
            await forwarded(redis, job, 5)
            await server.kill()
            await server.start()
            assert await bus.emit(job, STEPS[4], *STEPS[5:], DONE) == [5, 6, 7, 8, 9, 10, 11]
            await forwarded(redis, job, 11)
            await router.check()


async def start_process(url: str, target: str, **environment: str) -> tuple[asyncio.subprocess.Process, int]:
    port = free_port()
    code = f"from {target} import run; run()"
    known = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    variables = {"ECO2_ENVIRONMENT": "local", "ECO2_REDIS_STREAMS_URL": url, "ECO2_PORT": str(port), **environment}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env=known | variables, cwd=Path(__file__).parents[2]
    )
    return process, port


async def test_a_router_killed_in_mid_batch_loses_nothing(redis: Redis) -> None:
    bus, jobs = EventBus(redis), [uuid4().hex for _ in range(150)]
    router, _ = await start_process(url_of(redis), "eco2.event_router.main", ECO2_ROUTER_BATCH="7")
    for draft in [*STEPS, DONE]:
        await asyncio.gather(*(bus.emit(job, draft) for job in jobs))

    async def at_work() -> bool:
        return bool(await redis.exists(log_key(jobs[0])))

    await until(at_work)
    router.kill()
    await router.wait()
    async with routing(url_of(redis), "next"):
        for job in jobs:
            await forwarded(redis, job, 11)
            assert [seq for seq, _ in await log_of(redis, job)] == list(range(1, 12))
        assert await pending(redis) == 0


async def test_sigterm_ends_a_router_with_nothing_pending(redis: Redis) -> None:
    bus, job = EventBus(redis), uuid4().hex
    router, _ = await start_process(url_of(redis), "eco2.event_router.main")
    await bus.emit(job, *STEPS)
    await forwarded(redis, job, 10)
    router.send_signal(signal.SIGTERM)
    async with asyncio.timeout(5):
        assert await router.wait() == 0
    assert await pending(redis) == 0
