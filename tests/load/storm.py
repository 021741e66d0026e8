"""Scenario of one user who asks a thousand times as much as each of the others: what the others notice of it."""

import asyncio
import itertools
import random
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager

import aiohttp

from tests.load.bench import Bench, load_of_driver, words
from tests.load.client import Outcome, failures, percentile
from tests.load.machine import Usage
from tests.load.photos import photo
from tests.load.report import Measure
from tests.load.target import Photo

OTHERS = 100
EVERY_SECONDS = 10.0
"""Scans a second of each of them."""
TIMES = 1000
MOST_OPEN = 300
"""Requests of the storm that wait for an answer; a client opens no more."""
ROUNDS = 3


async def storm(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """Rounds without the storm and with it in turn, so that a change of the machine's load meets both."""
    seconds = bench.sized(30, 12)
    await bench.llm_seconds(0, 0)
    await bench.scan_all(await bench.photos(30), OTHERS // 4)
    calm, stormy = list[Outcome](), list[Outcome]()
    answers: Counter[int] = Counter()
    calm_cores = defaultdict[str, float](float)
    stormy_cores = defaultdict[str, float](float)
    stormy_seconds = 0.0
    before = bench.target.usage()
    for _ in range(ROUNDS):
        start = bench.target.usage()
        calm += await _others(bench, seconds)
        middle = bench.target.usage()
        async with _storm(bench, answers):
            stormy += await _others(bench, seconds)
        _add(calm_cores, middle.since(start))
        within_storm = bench.target.usage().since(middle)
        stormy_seconds += within_storm.wall
        _add(stormy_cores, within_storm)
    usage = bench.target.usage().since(before)
    without, within = ([one.seconds for one in found if one.ok] for found in (calm, stormy))
    details = {
        "others": OTHERS,
        "every_seconds": EVERY_SECONDS,
        "times": TIMES,
        "rounds": ROUNDS,
        "scans": len(without) + len(within),
        "failures": failures([*calm, *stormy]),
        "p50": [round(percentile(found, 50), 4) for found in (without, within)],
        "p95": [round(percentile(found, 95), 4) for found in (without, within)],
        "cores_by_process": {
            name: [round(cores[name] / ROUNDS, 2) for cores in (calm_cores, stormy_cores)] for name in usage.by_process
        },
        "storm_answers": dict(sorted(answers.items())),
        "storm_per_second": round(sum(answers.values()) / stormy_seconds, 1),
        **load_of_driver(usage, max(1, len(without) + len(within))),
    }
    success = 100 * (len(without) + len(within)) / max(1, len(calm) + len(stormy))
    ratio = percentile(within, 95) / percentile(without, 95)
    return [Measure("storm_others_p95", ratio, details), Measure("storm_others_success", success, details)]


def _add(cores: dict[str, float], usage: Usage) -> None:
    for name, seconds in usage.by_process.items():
        cores[name] += seconds / usage.wall


async def _others(bench: Bench, seconds: float) -> list[Outcome]:
    """Each of them scans at its own time, again and again."""
    count = OTHERS * (int(seconds / EVERY_SECONDS) + 1)
    seeds = itertools.islice(bench.target.seeds, count)
    photos = await bench.target.upload(((photo(seed), words(seed)) for seed in seeds), bench.target.users(OTHERS))
    albums: dict[str, list[Photo]] = {}
    for one in photos:
        albums.setdefault(one.user.id, []).append(one)
    outcomes, end = list[Outcome](), time.monotonic() + seconds

    async def live(album: list[Photo]) -> None:
        await asyncio.sleep(random.uniform(0, EVERY_SECONDS))
        while album and time.monotonic() < end:
            outcomes.append(await bench.client.scan(album.pop()))
            await asyncio.sleep(EVERY_SECONDS)

    async with asyncio.TaskGroup() as users:
        for album in albums.values():
            users.create_task(live(album))
    bench.scanned += len(outcomes)
    return outcomes


@asynccontextmanager
async def _storm(bench: Bench, answers: "Counter[int]") -> AsyncIterator[None]:
    """One more user asks for tickets, scans and answers, TIMES as often as each of the others scans."""
    user = bench.target.users(OTHERS * 10)[-1]
    photos = await bench.target.upload([(photo(next(bench.target.seeds)), None)], [user])
    asking = set[asyncio.Task[None]]()

    async def ask(path: str, body: dict[str, object], headers: dict[str, str]) -> None:
        try:
            async with bench.client.session.post(bench.client.url + path, json=body, headers=headers) as response:
                await response.read()
                answers[response.status] += 1
        except aiohttp.ClientError:
            answers[0] += 1

    async def blow() -> None:
        requests, pause = _requests(photos[0]), EVERY_SECONDS / TIMES
        at = time.monotonic()
        while True:
            at += pause
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            if len(asking) < MOST_OPEN:
                task = asyncio.create_task(ask(*next(requests)))
                asking.add(task)
                task.add_done_callback(asking.discard)

    blowing = asyncio.create_task(blow())
    try:
        yield
    finally:
        blowing.cancel()
        await asyncio.wait([blowing, *asking], timeout=30)


def _requests(own: Photo) -> Iterator[tuple[str, dict[str, object], dict[str, str]]]:
    """Path, body and headers: two scans, each with a key of its own, for a ticket and a question."""
    paths: Sequence[tuple[str, dict[str, object]]] = [
        ("/api/v1/scan", {"image_url": own.url}),
        ("/api/v1/images/scan", {"filename": "a.jpg", "content_type": "image/jpeg"}),
        ("/api/v1/scan", {"image_url": own.url}),
        ("/api/v1/recycling/ask", {"question": "우유팩은 어떻게 버려요?"}),
    ]
    for path, body in itertools.cycle(paths):
        yield path, body, {**own.user.headers, "X-Idempotency-Key": uuid.uuid4().hex}
