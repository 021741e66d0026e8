"""Scenarios of a stack that has been in use: a filled database, memory after many scans, a soak with its slopes."""

import asyncio
import itertools
import os
import random
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression, median
from typing import Any

import psycopg

from eco2.core import redis
from eco2.scan.vision import look_index, phash
from tests.load.bench import ELSEWHERE, Bench, cpu_measure, load_of_driver, words
from tests.load.client import Outcome, failures, percentile
from tests.load.footprint import stack_pss
from tests.load.jobs import templates
from tests.load.machine import STRANGERS, Usage, own_pss
from tests.load.photos import photo
from tests.load.pipeline import AT_ONCE, cost
from tests.load.report import Measure
from tests.load.target import Photo

SCANS, SCANS_QUICK = 150_000, 15_000
DAYS = 30
LOOKS = 10_000
"""Photos among which a new one is searched for its like."""
MANY, MANY_QUICK = 20_000, 1_500
BATCH = 500
SOAK_SECONDS, SOAK_QUICK_SECONDS = 1800, 60
LEAST_SECONDS = 600
"""A shorter soak tells no slope."""
SOAK_RATE = 10.0
"""Scans a second: a third of what the machine gets done, so that nothing queues."""
SOAK_USERS = 200
SAMPLE_SECONDS = 10.0
KEEPERS = ("postgres", "rabbitmq", "redis-streams", "redis-cache", "object-store")
"""Servers whose memory is to grow with what they keep."""

FILL = """
INSERT INTO scan.jobs (
    id, user_id, image_key, status, vision, rule, answer, reward, created_at, enqueued_at, moved_at, finished_at,
    announced_at)
SELECT gen_random_uuid(), md5((n %% %(users)s)::text)::uuid, 'scan/' || n, 'completed', t.vision, t.rule, t.answer,
       t.reward, at, at, at, at + interval '5 seconds', at + interval '5 seconds'
FROM generate_series(1, %(scans)s::bigint) n
CROSS JOIN LATERAL (SELECT now() - interval '1 hour' - n * %(days)s * interval '1 day' / %(scans)s AS at) w
JOIN bench_filling t ON t.id = n %% %(templates)s
"""


async def fill_database(url: str, scans: int) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        await db.execute(
            "CREATE TEMPORARY TABLE bench_filling (id bigint, vision jsonb, rule jsonb, answer jsonb, reward jsonb)"
        )
        rows = [(n, *row) for n, row in enumerate(templates())]
        async with db.cursor() as cursor:
            await cursor.executemany("INSERT INTO bench_filling VALUES (%s, %s, %s, %s, %s)", rows)
        values = {"scans": scans, "users": scans // 20, "days": DAYS, "templates": len(rows)}
        await db.execute(FILL, values)
        await db.execute("VACUUM ANALYZE scan.jobs")


async def fill_index(url: str) -> int:
    """Photos in the stream of each version that the stack has."""
    async with redis.connect(url, decode_responses=False) as cache:
        streams = [name async for name in cache.scan_iter(match=f"{look_index.PREFIX}*")]
        if not streams:
            raise RuntimeError("no photo was looked at by a paid model")
        for stream in streams:
            for _ in range(LOOKS // BATCH):
                pipeline = cache.pipeline()
                for _ in range(BATCH):
                    entry = look_index.packed(random.getrandbits(phash.BITS), os.urandom(32).hex())
                    pipeline.xadd(stream, {look_index.FIELD: entry}, maxlen=look_index.MOST)
                await pipeline.execute()
        return int(await cache.xlen(streams[0]))


async def filled(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """CPU of a scan in a stack that has many scans and photos, of that before they were there."""
    await bench.llm_seconds(0, 0)
    await bench.scan_all(await bench.photos(bench.sized(300, 120)), AT_ONCE)
    jobs, rounds = bench.sized(300, 120), bench.sized(5, 3)
    empty = [await cost(bench, await bench.photos(jobs)) for _ in range(rounds)]
    scans = bench.sized(SCANS, SCANS_QUICK)
    start = time.monotonic()
    await fill_database(bench.target.environment["ECO2_DATABASE_URL"], scans)
    looks = await fill_index(bench.target.environment["ECO2_REDIS_CACHE_URL"])
    seconds = time.monotonic() - start
    await bench.scan_all(await bench.photos(30), AT_ONCE)  # the worker reads the photos of the index
    full = [await cost(bench, await bench.photos(jobs)) for _ in range(rounds)]
    path = [[1000 * usage.path / jobs for usage in found] for found in (empty, full)]
    details = {
        "scans": scans,
        "looks": looks,
        "filled_in_s": round(seconds),
        "jobs_per_round": jobs,
        "empty_ms": [round(one, 2) for one in path[0]],
        "filled_ms": [round(one, 2) for one in path[1]],
        **load_of_driver(full[-1], jobs),
    }
    return [cpu_measure("filled_to_empty", median(path[1]) / median(path[0]), details)]


def whole_pss(bench: Bench) -> tuple[float, dict[str, float]]:
    """MB of the stack, its supervisor included, and by process."""
    total, used = stack_pss(bench)
    supervisor = own_pss(bench.target.supervisor) / 1e6
    return total + supervisor, {**used, "supervisor": round(supervisor, 1)}


async def memory_after_many(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    await bench.llm_seconds(0, 0)
    count = bench.sized(MANY, MANY_QUICK)
    while bench.scanned < count:
        await bench.scan_all(await bench.photos(min(BATCH, count - bench.scanned)), AT_ONCE)
    total, used = whole_pss(bench)
    return [Measure("memory_after_many", total, {"jobs": bench.scanned, "mb_by_process": used})]


@dataclass(frozen=True)
class Sample:
    """State of the stack at a moment: MB of its programs and of the servers that keep data."""

    at: float
    programs: float
    keepers: float


async def soak(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """Scans at a steady rate, each at its own time, and what grows meanwhile. The model answers at once, so that the
    time of a scan is that of the platform."""
    seconds = bench.sized(SOAK_SECONDS, SOAK_QUICK_SECONDS)
    await bench.llm_seconds(0, 0)
    await bench.scan_all(await bench.photos(200), AT_ONCE)
    ended, samples = list[tuple[float, Outcome]](), list[Sample]()
    running = set[asyncio.Task[None]]()
    start = time.monotonic()
    before = bench.target.usage()

    async def scan(one: Photo) -> None:
        outcome = await bench.client.scan(one)
        ended.append((time.monotonic() - start, outcome))

    async def watch() -> None:
        while True:
            samples.append(await asyncio.to_thread(_sample, bench, start))
            await asyncio.sleep(SAMPLE_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        while time.monotonic() - start < seconds:
            for one in await _album(bench, int(SOAK_RATE * SAMPLE_SECONDS)):
                task = asyncio.create_task(scan(one))
                running.add(task)
                task.add_done_callback(running.discard)
                await asyncio.sleep(random.expovariate(SOAK_RATE))
        while running:
            await asyncio.wait(running)
    finally:
        watching.cancel()
    bench.scanned += len(ended)
    return _slopes(ended, samples, bench.target.usage().since(before))


async def _album(bench: Bench, count: int) -> list[Photo]:
    images = ((photo(seed), words(seed)) for seed in itertools.islice(bench.target.seeds, count))
    users = bench.target.users(SOAK_USERS)
    return await bench.target.upload(images, random.sample(users, len(users)))


def _sample(bench: Bench, start: float) -> Sample:
    total, used = whole_pss(bench)
    keepers = sum(used[name] for name in KEEPERS)
    return Sample(time.monotonic() - start, total - keepers, keepers)


def _slopes(ended: Sequence[tuple[float, Outcome]], samples: Sequence[Sample], usage: Usage) -> list[Measure]:
    """Growth an hour by least squares over the second half, in which caches and pools have what they want."""
    half = samples[len(samples) // 2].at
    late = [sample for sample in samples if sample.at >= half]
    done = [(at, one.seconds) for at, one in ended if one.ok]
    times = [sample.at / 3600 for sample in late]
    programs = linear_regression(times, [sample.programs for sample in late]).slope
    keepers = linear_regression(times, [sample.keepers for sample in late]).slope
    after = [(at / 3600, 1000 * took) for at, took in done if at >= half]
    slower = linear_regression(*zip(*after, strict=True)).slope
    took = [seconds for _, seconds in done]
    details = {
        "seconds": round(usage.wall),
        "scans": len(ended),
        "failures": failures([one for _, one in ended]),
        "programs_mb": [round(samples[0].programs), round(samples[-1].programs)],
        "keepers_mb": [round(samples[0].keepers), round(samples[-1].keepers)],
        "keepers_mb_an_hour": round(keepers, 1),
        "p50_ms": round(1000 * percentile(took, 50), 1),
        "p99_ms": round(1000 * percentile(took, 99), 1),
        "path_ms_per_job": round(1000 * usage.path / len(ended), 2),
        "whole_ms_per_job": round(1000 * usage.whole(ELSEWHERE) / len(ended), 2),
        **load_of_driver(usage, len(ended)),
    }
    short = f"not measured: {usage.wall:.0f} s tell no slope" if usage.wall < LEAST_SECONDS else ""
    busy = f"not measured: {usage.strangers:.2g} cores were used by others" if usage.strangers > STRANGERS else ""
    return [
        Measure("soak_success", 100 * len(done) / len(ended), details),
        _slope("soak_memory_slope", programs, details, short),
        _slope("soak_latency_slope", slower, details, short or busy),
    ]


def _slope(name: str, value: float, details: Mapping[str, Any], why_not: str) -> Measure:
    if not why_not:
        return Measure(name, value, details)
    return Measure(name, None, {**details, "skipped": f"{why_not}; {value:.0f} came out"})
