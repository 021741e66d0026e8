"""Scenarios of the scan path: CPU per job, throughput, many users, repeated photos."""

import asyncio
import itertools
import os
import random
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from math import log
from statistics import median

from tests.load.bench import ELSEWHERE, USERS, Bench, breakdown, cpu_measure, load_of_driver, words
from tests.load.client import Client, Outcome, failures, percentile
from tests.load.machine import Usage
from tests.load.photos import THREE_MEGAPIXELS, TINY, photo
from tests.load.report import Measure, skipped
from tests.load.target import Photo

AT_ONCE = 32
SATURATED = 64
SETTLE_SECONDS = 0.5
"""Acknowledgements and grants follow the terminal event; they belong to the job."""
THINK_SECONDS = 10.0
LLM_SECONDS = (3.0, 2.0)
"""Of vision and of the answer."""
SIGMA = 0.25
"""Of the logarithm of a call's time in the realistic regime."""
REPEATED = 0.7
POPULAR = 20
SIZES = {"cpu_per_job_tiny": (TINY, 300, 120), "cpu_per_job_3mp": (THREE_MEGAPIXELS, 80, 30)}
"""Measure → size, jobs of a full round, of a quick one."""


async def cpu_per_job(bench: Bench, wanted: Collection[str]) -> list[Measure]:
    """Rounds of the sizes in turn, so that a change of the machine's load meets both."""
    await bench.scan_all(await bench.photos(30), AT_ONCE)
    await bench.llm_seconds(0, 0)
    rounds: dict[str, list[tuple[Usage, int]]] = {name: [] for name in SIZES if name in wanted}
    for _ in range(bench.sized(5, 3)):
        for name, done in rounds.items():
            size, full, quick = SIZES[name]
            photos = await bench.photos(bench.sized(full, quick), size)
            done.append((await cost(bench, photos), len(photos)))
    jobs = sum(count for done in rounds.values() for _, count in done)
    calls = {"llm_calls_per_job": await bench.llm_calls() / jobs}
    found = [_cpu_measure(name, done, calls) for name, done in rounds.items()]
    if tiny := rounds.get("cpu_per_job_tiny"):
        found.append(_whole("cpu_per_job_whole", tiny))
        uploaded = [(await _with_upload(bench, jobs), jobs) for _, jobs in tiny]
        found.append(_whole("cpu_per_job_upload", uploaded))
    return found


async def _with_upload(bench: Bench, jobs: int) -> Usage:
    """Usage of so many scans and of the uploads before them, through the edge."""
    users = itertools.cycle(bench.target.users(USERS))
    images = [(next(users), photo(seed), words(seed)) for seed, _ in zip(bench.target.seeds, range(jobs), strict=False)]
    waiting, photos = iter(images), list[Photo]()

    async def upload() -> None:
        photos.extend([await bench.client.upload(*image) for image in waiting])

    before = bench.target.usage()
    async with asyncio.TaskGroup() as uploads:
        for _ in range(AT_ONCE):
            uploads.create_task(upload())
    await bench.scan_all(photos, AT_ONCE)
    await asyncio.sleep(SETTLE_SECONDS)
    return bench.target.usage().since(before)


async def cost(bench: Bench, photos: Sequence[Photo]) -> Usage:
    before = bench.target.usage()
    await bench.scan_all(photos, AT_ONCE)
    await asyncio.sleep(SETTLE_SECONDS)
    return bench.target.usage().since(before)


def _cpu_measure(name: str, rounds: Sequence[tuple[Usage, int]], calls: dict[str, float]) -> Measure:
    costs = [1000 * usage.path / jobs for usage, jobs in rounds]
    middle, jobs = sorted(rounds, key=lambda row: row[0].path)[len(rounds) // 2]
    details = {
        "jobs_per_round": jobs,
        "in_flight": AT_ONCE,
        "rounds": [round(cost, 2) for cost in costs],
        **calls,
        "ms_per_job_by_process": breakdown(middle, jobs),
        **load_of_driver(middle, jobs),
    }
    return cpu_measure(name, median(costs), details)


def _whole(name: str, rounds: Sequence[tuple[Usage, int]]) -> Measure:
    """CPU of all processes of the stack in these rounds, what idles beside them included."""
    costs = [1000 * usage.whole(ELSEWHERE) / jobs for usage, jobs in rounds]
    middle, jobs = sorted(rounds, key=lambda row: row[0].whole(ELSEWHERE))[len(rounds) // 2]
    details = {
        "rounds": [round(cost, 2) for cost in costs],
        "ms_per_job_by_process": breakdown(middle, jobs),
        **load_of_driver(middle, jobs),
    }
    return cpu_measure(name, median(costs), details)


FLOOR_PORT = 11599
FLOOR = ("floor", "postgres", "rabbitmq", "redis-streams")
"""Processes whose CPU a scan of `tests.load.floor` costs."""


@asynccontextmanager
async def _floor(bench: Bench) -> AsyncIterator[tuple[Client, int]]:
    """A client of a fresh floor on the servers of the stack, and the floor's process id."""
    model = {"ECO2_LLM_API_KEY": "emulated", "ECO2_LLM_BASE_URL": f"{bench.target.emulator_url}/v1"}
    command = (sys.executable, "-m", "tests.load.floor", str(FLOOR_PORT))
    environment = {**os.environ, **bench.target.environment, **model}
    child = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=environment)
    assert child.stdin is not None, "piped"
    assert child.stdout is not None, "piped"
    try:
        if not await child.stdout.readline():
            raise RuntimeError("the floor could not be started")
        yield Client(bench.client.session, f"http://127.0.0.1:{FLOOR_PORT}"), child.pid
    finally:
        child.stdin.close()
        await child.wait()


async def path_to_floor(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """CPU of a scan against that of `tests.load.floor`, rounds in turn on the same servers."""
    if bench.target.emulator_url is None:
        return [skipped("path_to_floor", "the floor asks the emulated LLM")]
    await bench.llm_seconds(0, 0)
    jobs, paths, floors = bench.sized(300, 120), [], []
    async with _floor(bench) as (client, pid):
        for number in range(bench.sized(5, 3) + 1):
            usage = await cost(bench, await bench.photos(jobs))
            photos, pids = await bench.photos(jobs), {**bench.target.pids(), "floor": pid}
            before = Usage.now(pids)
            if not all(one.ok for one in await client.scan_all(photos, AT_ONCE)):
                raise RuntimeError("scans of the floor failed")
            await asyncio.sleep(SETTLE_SECONDS)
            least = Usage.now(pids).since(before)
            if number:  # the first round warms both up
                paths.append(1000 * usage.path / jobs)
                floors.append(1000 * sum(least.by_process[name] for name in FLOOR) / jobs)
    ratios = [path / floor for path, floor in zip(paths, floors, strict=True)]
    details = {
        "jobs_per_round": jobs,
        "in_flight": AT_ONCE,
        "path_ms": [round(one, 2) for one in paths],
        "floor_ms": [round(one, 2) for one in floors],
        "floor_ms_by_process": {name: round(1000 * least.by_process[name] / jobs, 2) for name in FLOOR},
        "rounds": [round(one, 2) for one in ratios],
        **load_of_driver(least, jobs),
    }
    return [Measure("path_to_floor", median(ratios), details)]


async def jobs_per_second(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    rates, usages, count = [], [], bench.sized(600, 200)
    await bench.llm_seconds(0, 0)
    for _ in range(3):
        photos = await bench.photos(count)
        before = bench.target.usage()
        start = time.perf_counter()
        await bench.scan_all(photos, SATURATED)
        rates.append(count / (time.perf_counter() - start))
        usages.append(bench.target.usage().since(before))
    details = {
        "jobs_per_round": count,
        "in_flight": SATURATED,
        "rounds": [round(rate, 1) for rate in rates],
        "cores_by_process": {name: round(cpu / usages[-1].wall, 2) for name, cpu in usages[-1].by_process.items()},
        **load_of_driver(usages[-1], count),
    }
    return [Measure("jobs_per_second", median(rates), details)]


async def _crowd(bench: Bench, photos: Sequence[Photo], seconds: float) -> tuple[list[Outcome], Usage]:
    """Users that scan, think, and scan again, each somewhere else in that cycle: begun within less than one, they would
    come in waves for as long as it runs."""
    outcomes: list[Outcome] = []
    own: dict[str, list[Photo]] = {}
    for each in photos:
        own.setdefault(each.user.id, []).append(each)
    before = bench.target.usage()
    end = time.monotonic() + seconds

    async def live(album: list[Photo]) -> None:
        await asyncio.sleep(random.uniform(0, THINK_SECONDS + sum(LLM_SECONDS)))
        while album and time.monotonic() < end:
            outcomes.append(await bench.client.scan(album.pop()))
            await asyncio.sleep(THINK_SECONDS)

    async with asyncio.TaskGroup() as users:
        for album in own.values():
            users.create_task(live(album))
    bench.scanned += len(outcomes)
    return outcomes, bench.target.usage().since(before)


def _photos_needed(seconds: float) -> int:
    return USERS * (int(seconds / THINK_SECONDS) + 1)


def _crowd_details(outcomes: Sequence[Outcome], usage: Usage) -> dict[str, object]:
    return {
        "users": USERS,
        "think_seconds": THINK_SECONDS,
        "jobs": len(outcomes),
        "jobs_per_second": round(len(outcomes) / usage.wall, 1),
        "path_cores": round(usage.path / usage.wall, 2),
        "failures": failures(outcomes),
        **load_of_driver(usage, max(1, len(outcomes))),
    }


async def users_500(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    seconds = bench.sized(60, 20)
    photos = await bench.photos(_photos_needed(seconds))
    llm = await bench.llm_seconds(*LLM_SECONDS)
    outcomes, usage = await _crowd(bench, photos, seconds)
    details = {**_crowd_details(outcomes, usage), "llm_seconds": llm, "llm_calls": await bench.llm_calls()}
    done = [one.seconds for one in outcomes if one.ok]
    success = 100 * len(done) / len(outcomes)
    overhead = percentile(done, 95) - llm
    details["overhead_p50"] = round(percentile(done, 50) - llm, 3)
    cost = 1000 * usage.path / len(outcomes)
    return [
        Measure("users_500_success", success, details),
        Measure("users_500_overhead_p95", overhead, details),
        cpu_measure("users_500_cpu", cost, {**details, "ms_per_job_by_process": breakdown(usage, len(outcomes))}),
    ]


async def realistic(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """The same users, and a model whose calls take as long as real ones do: log-normal, some much longer than most.

    The overhead is what the p95 is beyond that of a platform that takes no time."""
    seconds = bench.sized(120, 30)
    photos = await bench.photos(_photos_needed(seconds))
    await bench.llm_seconds(*LLM_SECONDS, SIGMA)
    outcomes, usage = await _crowd(bench, photos, seconds)
    done = [one.seconds for one in outcomes if one.ok]
    draw = random.Random(0)
    least = percentile([sum(draw.lognormvariate(log(one), SIGMA) for one in LLM_SECONDS) for _ in range(20_000)], 95)
    jobs = len(outcomes)
    details = {
        **_crowd_details(outcomes, usage),
        "llm_median_seconds": LLM_SECONDS,
        "llm_sigma": SIGMA,
        "p50": round(percentile(done, 50), 2),
        "p95": round(percentile(done, 95), 2),
        "p95_of_the_model": round(least, 2),
        "ms_per_job_by_process": breakdown(usage, jobs),
        "whole_ms_per_job": round(1000 * usage.whole(ELSEWHERE) / jobs, 2),
    }
    return [
        Measure("realistic_success", 100 * len(done) / jobs, details),
        cpu_measure("realistic_overhead_p95", percentile(done, 95) - least, details),
        cpu_measure("realistic_cpu", 1000 * usage.path / jobs, details),
    ]


async def repeated_images(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """70 % of the photos are one of a few popular ones, byte for byte, each uploaded by its own user."""
    seconds = bench.sized(60, 20)
    seeds = bench.target.seeds
    popular: list[tuple[bytes, str | None]] = [(photo(next(seeds)), None) for _ in range(POPULAR)]
    images = (
        random.choice(popular) if random.random() < REPEATED else (photo(seed), words(seed))
        for seed, _ in zip(seeds, range(_photos_needed(seconds)), strict=False)
    )
    photos = await bench.target.upload(images, bench.target.users(USERS))
    llm = await bench.llm_seconds(*LLM_SECONDS)
    outcomes, usage = await _crowd(bench, photos, seconds)
    details = {**_crowd_details(outcomes, usage), "popular": POPULAR, "repeated_share": REPEATED, "llm_seconds": llm}
    details["llm_calls"] = await bench.llm_calls()
    done = [one.seconds for one in outcomes if one.ok]
    p50, p95 = percentile(done, 50), percentile(done, 95) - llm
    return [Measure("repeated_images_p50", p50, details), Measure("repeated_images_overhead_p95", p95, details)]
