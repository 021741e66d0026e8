"""Scenarios of the character domain: a full queue of grants, and the catalogue."""

import asyncio
import itertools
import os
import secrets
import signal
import time
import uuid
from collections.abc import Collection
from datetime import UTC, datetime

from eco2.contracts.grants import Grant, Photo
from eco2.contracts.queues import REWARD_EXCHANGE, REWARD_QUEUE
from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings
from eco2.messaging.broker import Publisher
from tests.load.bench import Bench, load_of_driver
from tests.load.client import percentile
from tests.load.report import Measure

WORKER = "character-worker"
CODES = ("char-petty", "char-bini", "char-glassy", "char-pli")
PUBLISHED_AT_ONCE = 32
PER_USER = 4
LONGEST_SECONDS = 120


async def grants_per_second(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """The worker is stopped while its queue fills. Every photo is new: looked for, and not found."""
    count = bench.sized(20_000, 4_000)
    environment = bench.target.environment
    pid = bench.target.pids()[WORKER]
    settings = DatabaseSettings(database_url=environment["ECO2_DATABASE_URL"])
    async with open_database(settings, repeat=True) as db:
        before = await _written(db)
        os.kill(pid, signal.SIGSTOP)
        try:
            await _fill(environment["ECO2_BROKER_URL"], count)
        finally:
            os.kill(pid, signal.SIGCONT)
        usage, start = bench.target.usage(), time.perf_counter()
        while await _written(db) < before + count:
            if time.perf_counter() - start > LONGEST_SECONDS:
                raise RuntimeError("the grants were not written in time")
            await asyncio.sleep(0.05)
        seconds = time.perf_counter() - start
    used = bench.target.usage().since(usage)
    details = {
        "grants": count,
        "seconds": round(seconds, 2),
        "ms_per_grant_by_process": {
            name: round(1000 * used.by_process[name] / count, 3) for name in (WORKER, "postgres", "rabbitmq")
        },
        **load_of_driver(used, count),
    }
    return [Measure("grants_per_second", count / seconds, details)]


async def _written(db: Database) -> int:
    row = await db.row("SELECT count(*) FROM character.points")
    return int(row[0]) if row else 0


async def _fill(broker_url: str, count: int) -> None:
    publisher = Publisher(broker_url)
    users = itertools.chain.from_iterable(itertools.repeat(uuid.uuid4(), PER_USER) for _ in itertools.count())
    waiting = iter(list(zip(users, itertools.cycle(CODES), range(count), strict=False)))

    async def publish() -> None:
        for user, code, _ in waiting:
            grant = _grant(user, code)
            await publisher.send_json(
                REWARD_EXCHANGE, REWARD_QUEUE, grant.model_dump(mode="json"), f"grant-{grant.job_id}"
            )

    async with asyncio.TaskGroup() as tasks:
        for _ in range(PUBLISHED_AT_ONCE):
            tasks.create_task(publish())
    await publisher.close()


def _grant(user: uuid.UUID, code: str) -> Grant:
    return Grant(
        job_id=uuid.uuid4(),
        user_id=user,
        character_code=code,
        source="scan",
        earned_at=datetime.now(UTC),
        photo=Photo(digest=secrets.token_hex(32), phash=secrets.token_hex(32)),
    )


async def catalogue(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """One client, one request after the other, over the edge."""
    count = bench.sized(2_000, 500)
    user = bench.target.users(1)[0]
    url = f"{bench.target.url}/api/v1/character/catalog"
    fresh = await _times(bench, url, user.headers, count)
    async with bench.client.session.get(url, headers=user.headers) as response:
        tag = response.headers["ETag"]
    unchanged = await _times(bench, url, {**user.headers, "If-None-Match": tag}, count)
    details = {
        "requests": count,
        "p50": round(1000 * percentile(fresh, 50), 2),
        "p99": round(1000 * percentile(fresh, 99), 2),
        "unchanged_p95": round(1000 * percentile(unchanged, 95), 2),
    }
    return [Measure("catalogue_p95", 1000 * percentile(fresh, 95), details)]


async def _times(bench: Bench, url: str, headers: dict[str, str], count: int) -> list[float]:
    """Seconds of each request; the first few open connections and are left out."""
    times = []
    for _ in range(count + 20):
        start = time.perf_counter()
        async with bench.client.session.get(url, headers=headers) as response:
            await response.read()
        times.append(time.perf_counter() - start)
        if response.status not in (200, 304):
            raise RuntimeError(f"the catalogue answered {response.status}")
    return times[20:]
