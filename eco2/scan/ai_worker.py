"""ai-worker: `image.analyze` starts the pipeline of a job, `image.classify` only looks at its photo. Queue `q.ai`."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from eco2 import knowledge
from eco2.contracts.events import Service
from eco2.contracts.queues import Q_AI, SCAN_EXCHANGE, SCAN_VISION
from eco2.contracts.tasks import IMAGE_ANALYZE, IMAGE_CLASSIFY
from eco2.core import redis
from eco2.core.ops import Check
from eco2.core.postgres import open_database
from eco2.core.settings import load
from eco2.core.storage import Storage
from eco2.messaging.broker import Publisher
from eco2.messaging.celery_worker import run_worker
from eco2.messaging.dead_letters import guarded
from eco2.messaging.events import EventBus
from eco2.scan import service, store, worker_resources
from eco2.scan.services import Services
from eco2.scan.settings import AiWorkerSettings

if TYPE_CHECKING:
    pass

NAME = "ai-worker"
CRASHES = 3
"""Times that an inference may end the whole process before its message is given up."""
CRASH_SECONDS = 3600


class GivenUp(Exception):
    """The process died of this photo again and again."""


@dataclass(frozen=True)
class Resources(Services):
    settings: AiWorkerSettings
    tasks_publisher: Publisher
    models: "LazyModels"

    def checks(self) -> Mapping[str, Check]:
        return {
            "postgres": self.db.ping,
            "redis-streams": self.bus.redis.ping,
            "object-store": self.storage.ping,
        }


class LazyModels:
    """The stages' resources, opened when the first photo comes: the model takes 40 MB that most workers never need."""

    def __init__(self, settings: AiWorkerSettings, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._opened: worker_resources.Resources | None = None
        self._opening = asyncio.Lock()

    async def get(self) -> "worker_resources.Resources":

        async with self._opening:
            if self._opened is None:
                self._opened = await self._stack.enter_async_context(worker_resources.open_resources(self._settings))
        return self._opened


async def analyze(resources: Resources, job_id: str) -> None:
    """Hand the job over to the first stage. A job that has ended only says so again."""
    job = await store.load(resources.db, UUID(job_id))
    if job is not None and job.status in ("completed", "failed"):
        await service.announce(resources, job)
    elif job is not None:
        await resources.publisher.send_task(SCAN_EXCHANGE, SCAN_VISION, SCAN_VISION, job_id)


async def classify(resources: Resources, job_id: str) -> None:
    """The vision stage alone: its output is stored with the job, where the pipeline finds it."""
    from eco2.scan import worker

    # A classic queue counts no deliveries: a message that kills the process would come back without end.
    key = f"scan:classify:{job_id}"
    if await resources.bus.redis.incr(key) > CRASHES:
        await resources.bus.redis.delete(key)
        raise GivenUp(f"the worker did not survive {CRASHES} attempts")
    await resources.bus.redis.expire(key, CRASH_SECONDS)
    await worker.run_stage(await resources.models.get(), worker.see, UUID(job_id))
    await resources.bus.redis.delete(key)


@asynccontextmanager
async def open_resources(settings: AiWorkerSettings) -> AsyncIterator[Resources]:
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(open_database(settings, repeat=False))
        streams = await stack.enter_async_context(redis.connect(settings.redis_streams_url))
        publishers = [Publisher(url) for url in (settings.broker_url, settings.tasks_broker_url)]
        for publisher in publishers:
            stack.push_async_callback(publisher.close)
        resources = Resources(
            db=db,
            storage=Storage(settings),
            bus=EventBus(streams, Service.SCAN),
            publisher=publishers[0],
            knowledge=knowledge.load(settings.data_dir),
            upload_secret=settings.upload_secret,
            settings=settings,
            tasks_publisher=publishers[1],
            models=LazyModels(settings, stack),
        )
        stack.push_async_callback(resources.announced_marks.close, db)
        yield resources


def _tasks_publisher(resources: Resources) -> Publisher:
    return resources.tasks_publisher


TASKS = {
    IMAGE_ANALYZE.name: guarded(IMAGE_ANALYZE, analyze, _tasks_publisher),
    IMAGE_CLASSIFY.name: guarded(IMAGE_CLASSIFY, classify, _tasks_publisher),
}


def run() -> None:
    settings = load(AiWorkerSettings)
    run_worker(
        NAME,
        settings,
        lambda: open_resources(settings),
        TASKS,
        [Q_AI],
        Resources.checks,
        _tasks_publisher,
    )
