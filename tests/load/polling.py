"""Scenario of the waste flow: many users that poll the state of their jobs."""

import asyncio
import random
import time
from collections.abc import Collection

import orjson

from eco2.contracts.events import Draft, Stage, Status
from tests.load.bench import USERS, Bench, load_of_driver
from tests.load.client import percentile
from tests.load.report import Measure
from tests.load.target import User

EVERY_SECONDS = 0.5
FINISHED = 0.1
"""Share of the polled jobs that are over: of the ten polls of a job of five seconds, the last one sees its result."""
SUBMITS_AT_ONCE = 32
SO_FAR = [
    Draft(Stage.QUEUED, Status.STARTED, 0),
    Draft(Stage.QUEUED, Status.COMPLETED, 0),
    Draft(Stage.VISION, Status.STARTED, 0),
]


async def waste_polling(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    seconds = bench.sized(30, 15)
    await bench.llm_seconds(0, 0)
    paths = await jobs(bench, USERS)
    before = bench.target.usage()
    times, refused = await poll(bench, paths, seconds)
    usage = bench.target.usage().since(before)
    details = {
        "users": USERS,
        "every_seconds": EVERY_SECONDS,
        "seconds": seconds,
        "requests": len(times),
        "refused": refused,
        "note": f"{refused} refused" if refused else "",
        "p50": round(1000 * percentile(times, 50), 1),
        "cores_by_process": {name: round(cpu / usage.wall, 3) for name, cpu in usage.by_process.items()},
        **load_of_driver(usage, len(times)),
    }
    cores = usage.path / usage.wall
    return [
        Measure("waste_polling_p99", 1000 * percentile(times, 99), details),
        Measure("waste_polling_cpu", cores, details),
    ]


async def jobs(bench: Bench, count: int) -> list[tuple[User, str]]:
    """A status path for each user: of a job that is being looked at, or of one that is done."""
    users = bench.target.users(count)
    done = int(count * FINISHED)
    finished = await bench.photos(done)
    paths: list[tuple[User, str]] = []
    slots = asyncio.Semaphore(SUBMITS_AT_ONCE)

    async def begin(user: User) -> None:
        async with slots:
            paths.append((user, await _begin(bench, user)))

    async with asyncio.TaskGroup() as tasks:
        for user in users[done:]:
            tasks.create_task(begin(user))
    for photo in finished:
        stream = await bench.client.submit(photo)
        paths.append((photo.user, f"/api/v1/waste/status/{stream.split('/')[-2]}"))
    await asyncio.sleep(3)
    return paths


async def _begin(bench: Bench, user: User) -> str:
    """A job that waits for its photo, told that it is already being looked at."""
    url = f"{bench.target.url}/api/v1/waste/analyze"
    async with bench.client.session.post(url, json={}, headers=user.headers) as response:
        response.raise_for_status()
        job = orjson.loads(await response.read())
    await bench.target.bus.emit(job["job_id"], *SO_FAR)
    return str(job["status_url"])


async def poll(bench: Bench, paths: list[tuple[User, str]], seconds: float) -> tuple[list[float], int]:
    """Seconds of each request, and how many were not answered with 200."""
    times: list[float] = []
    refused = 0
    end = time.perf_counter() + seconds

    async def keep_asking(user: User, path: str) -> None:
        nonlocal refused
        due = time.perf_counter() + random.uniform(0, EVERY_SECONDS)
        while due < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            start = time.perf_counter()
            async with bench.client.session.get(bench.target.url + path, headers=user.headers) as response:
                await response.read()
            times.append(time.perf_counter() - start)
            refused += response.status != 200
            due += EVERY_SECONDS

    async with asyncio.TaskGroup() as users:
        for user, path in paths:
            users.create_task(keep_asking(user, path))
    return times, refused
