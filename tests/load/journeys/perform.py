"""Let a crowd live through a stage, and gather what the emulated model and the database say of it."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import psycopg
from rich.console import Console

from tests.load.bench import Bench
from tests.load.journeys.people import PATIENCE, Crowd
from tests.load.journeys.seen import SCAN, Act, Model, Seen, Stage
from tests.load.photos import photo

out = Console(stderr=True)
POPULAR = 20
SETTLE_SECONDS = 0.5
"""Acknowledgements and grants follow the last event; they belong to the job."""
LAG_EVERY = 0.05
TOLD_EVERY = 15.0
OVER = ("completed", "failed", "cancelled")
STATUSES = """
SELECT id::text, status FROM scan.jobs WHERE id = ANY(%(jobs)s::uuid[])
UNION ALL SELECT id::text, status FROM chat.turns WHERE id = ANY(%(jobs)s::uuid[])"""


async def perform(bench: Bench, stage: Stage, seed: int) -> Seen:
    chance = random.Random(seed)
    users = bench.target.users(stage.users)
    popular = await _known_photos(bench, chance) if stage.repeated else []
    await set_model(bench, stage.model)
    lags = list[float]()
    crowd = Crowd(bench.client, users, stage, chance, bench.target.seeds, popular)
    before = bench.target.usage()
    async with _watched(lags), _told(crowd):
        await crowd.run()
        await asyncio.sleep(SETTLE_SECONDS)
    usage = bench.target.usage().since(before)
    statuses = await _statuses(bench, [act.job for act in crowd.acts if act.job])
    return Seen(stage, crowd.acts, usage, lags, await _model_seconds(bench), statuses, os.cpu_count() or 1)


async def set_model(bench: Bench, model: Model) -> None:
    """Every other purpose, those of chats, takes as long as an answer."""
    await bench.llm_seconds(model.vision, model.answer, model.sigma)
    others = {"*": {"median": model.answer, "sigma": model.sigma}}
    async with bench.client.session.post(f"{bench.target.emulator_url}/_control", json=others) as response:
        response.raise_for_status()


async def _known_photos(bench: Bench, chance: random.Random) -> list[bytes]:
    """Photos that were scanned once, without words, so that a scan of them finds both stages remembered."""
    await set_model(bench, Model(0, 0))
    images = [photo(next(bench.target.seeds)) for _ in range(POPULAR)]
    visitors = [bench.target.visitor() for _ in images]
    photos = await bench.target.upload([(image, None) for image in images], visitors)
    await bench.scan_all(photos, POPULAR)
    chance.shuffle(images)
    return images


@asynccontextmanager
async def _watched(lags: list[float]) -> AsyncIterator[None]:
    """Note how late the driver's own event loop is: beyond that it cannot tell how long anything took."""

    async def watch() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(LAG_EVERY)
            lags.append(time.perf_counter() - start - LAG_EVERY)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


@asynccontextmanager
async def _told(crowd: Crowd) -> AsyncIterator[None]:
    """Say now and then how far it is."""

    async def tell() -> None:
        while True:
            await asyncio.sleep(TOLD_EVERY)
            failed = sum(act.seconds is None for act in crowd.acts)
            far = f"{crowd.clock:4.0f} of {crowd.stage.seconds:.0f} s"
            out.print(f"  {far}: {len(crowd.acts)} acts over, {failed} failed", highlight=False)

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        telling.cancel()


async def _model_seconds(bench: Bench) -> dict[str, float]:
    async with bench.client.session.get(f"{bench.target.emulator_url}/_calls") as response:
        return dict((await response.json())["seconds"])


async def _statuses(bench: Bench, jobs: Sequence[str]) -> dict[str, str]:
    """By job, once all have ended or a user's patience is over."""
    until = time.monotonic() + PATIENCE
    url = bench.target.environment["ECO2_DATABASE_URL"]
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        while True:
            found = await (await db.execute(STATUSES, {"jobs": list(jobs)})).fetchall()
            statuses = {str(job): str(status) for job, status in found}
            if all(statuses.get(job) in OVER for job in jobs) or time.monotonic() > until:
                return statuses
            await asyncio.sleep(1)


def together(rounds: Sequence[Seen]) -> Seen:
    """Rounds of the same stage as one."""
    first = rounds[0]
    model, statuses = dict[str, float](), dict[str, str]()
    for one in rounds:
        model |= one.model_seconds
        statuses |= one.statuses
    acts: list[Act] = []
    elapsed = 0.0
    for one in rounds:
        acts += [replace(act, began=act.began + elapsed) for act in one.acts]
        elapsed += one.usage.wall
    lags = [lag for one in rounds for lag in one.lags]
    usage = first.usage
    for one in rounds[1:]:
        usage = usage.plus(one.usage)
    return Seen(first.stage, acts, usage, lags, model, statuses, first.cores)


def cost(seen: Seen) -> float:
    """Milliseconds of CPU on the path for one scan."""
    return 1000 * seen.usage.path / max(1, len(seen.of(SCAN)))


def cores(seen: Seen) -> Mapping[str, float]:
    """Cores by process, the busiest first."""
    used = {name: seconds / seen.usage.wall for name, seconds in seen.usage.by_process.items()}
    return dict(sorted(used.items(), key=lambda row: -row[1]))
