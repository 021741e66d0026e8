"""A worker of vhost `tasks` whose connection to the broker is cut in the middle of its work."""

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

from eco2.contracts.queues import Q_API, TASKS_EXCHANGE
from eco2.contracts.tasks import OAUTH_VERIFY
from eco2.core import redis
from eco2.core.settings import CacheSettings, TasksWorkerSettings, load
from eco2.messaging.broker import Publisher
from eco2.messaging.celery_worker import run_worker
from eco2.messaging.dead_letters import guarded
from tests.integration.queue.conftest import wired
from tests.redis_server import free_port, until


class Settings(TasksWorkerSettings, CacheSettings):
    worker_concurrency: int = 8


async def work(cache: Redis, argument: str) -> None:
    """Counts how often it begins and ends, and goes on when it is let."""
    await cache.incr(f"test:{argument}:begun")
    while not await cache.exists(f"test:{argument}:go"):
        await asyncio.sleep(0.02)
    await cache.incr(f"test:{argument}:ended")


def main() -> None:
    settings = load(Settings)

    @asynccontextmanager
    async def resources() -> AsyncIterator[Redis]:
        client = redis.connect(settings.redis_cache_url)
        yield client
        await client.aclose()

    publisher = Publisher(settings.tasks_broker_url)
    tasks = {OAUTH_VERIFY.name: guarded(OAUTH_VERIFY, work, lambda _cache: publisher)}
    run_worker("test-worker", settings, resources, tasks, [Q_API], lambda _cache: {}, lambda _cache: publisher)


@asynccontextmanager
async def working(environment: dict[str, str], url: str) -> AsyncIterator[None]:
    own = {**os.environ, **environment, "ECO2_TASKS_BROKER_URL": url, "ECO2_PORT": str(free_port())}
    command = (sys.executable, "-c", f"from tests.integration.{Path(__file__).stem} import main; main()")
    process = await asyncio.create_subprocess_exec(*command, env=own, cwd=Path(__file__).parents[2])
    try:
        yield
        assert process.returncode is None
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_task_outlives_the_connection_it_came_by_and_is_not_begun_twice(environment: dict[str, str]) -> None:
    cache, url = redis.connect(environment["ECO2_REDIS_CACHE_URL"]), environment["ECO2_TASKS_BROKER_URL"]
    publisher, (first, *others) = Publisher(url), [uuid.uuid4().hex for _ in range(3)]

    async def counted(argument: str, what: str) -> None:
        async def there() -> bool:
            return bool(await cache.exists(f"test:{argument}:{what}"))

        await until(there, 30)

    async def send(argument: str) -> None:
        await publisher.send_task(TASKS_EXCHANGE, OAUTH_VERIFY.routing_key, OAUTH_VERIFY.name, argument)
        await counted(argument, "begun")

    async with wired(url) as (behind_wire, wire), working(environment, behind_wire):
        await send(first)
        for other in others:
            wire.cut()
            await send(other)  # what was in work comes again before it
        for argument in (first, *others):
            await cache.set(f"test:{argument}:go", 1, ex=60)
            await counted(argument, "ended")
        await asyncio.sleep(0.5)
    assert await publisher.depth(Q_API) == 0
    assert [await cache.get(f"test:{argument}:begun") for argument in (first, *others)] == ["1"] * 3
    await publisher.close()
    await cache.aclose()
