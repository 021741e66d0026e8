"""scan-worker: the stages vision, rule and answer on their queues, and the watch over their dead letters."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from redis.asyncio import Redis

from eco2 import knowledge
from eco2.contracts.events import Stage
from eco2.contracts.queues import DEAD_LETTER_EXCHANGE, QUEUES, SCAN_ANSWER, SCAN_RULE, SCAN_VISION
from eco2.core import redis, uploaded
from eco2.core.broker import Heartbeat, Publisher
from eco2.core.bus import EventBus
from eco2.core.db import open_engine, ping, single
from eco2.core.errors import AppError, Unavailable
from eco2.core.llm import Llm
from eco2.core.ops import Check
from eco2.core.queue import Handler, run_worker
from eco2.core.settings import load
from eco2.core.storage import Storage
from eco2.knowledge import Knowledge
from eco2.scan import service, store, sweeper, watch
from eco2.scan.cache import ResultCache
from eco2.scan.eyes import Eyes
from eco2.scan.llm import LlmProvider, Prompts
from eco2.scan.pipeline import ImageGone
from eco2.scan.providers import Embedded, Provider
from eco2.scan.service import Services
from eco2.scan.settings import WorkerSettings
from eco2.scan.store import Job
from eco2.scan.vision import EmbeddedVision, LabelTable, check_table

NAME = "scan-worker"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources(Services):
    settings: WorkerSettings
    eyes: Eyes
    dead_letters: Heartbeat

    def checks(self) -> Mapping[str, Check]:
        return {
            "postgres": lambda: ping(self.engine),
            "redis-streams": self.bus.redis.ping,
            "object-store": self.storage.ping,
            "dead-letters": self.dead_letters.check_ready,
        }


async def vision(resources: Resources, job_id: str) -> None:
    await stage(resources, job_id, _vision)


async def rule(resources: Resources, job_id: str) -> None:
    await stage(resources, job_id, service.match_rule)


async def answer(resources: Resources, job_id: str) -> None:
    await stage(resources, job_id, _answer)


TASKS: dict[str, Handler[Resources]] = {SCAN_VISION: vision, SCAN_RULE: rule, SCAN_ANSWER: answer}
"""Task name, which is also its queue and routing key → handler."""


async def _vision(resources: Resources, job: Job) -> None:
    await see(resources, job)
    await service.after_vision(resources, job)


async def see(resources: Resources, job: Job) -> None:
    """The look alone: stored, and nothing handed over."""
    if job.vision is None:
        await resources.bus.emit(str(job.id), service.started(Stage.VISION))
        photo = await uploaded.take(resources.storage, job.image_key, resources.eyes.executor)
        if photo is None:
            raise ImageGone
        seen = await resources.eyes.look(*photo, job.model)
        async with resources.engine.begin() as tx:
            await store.save_vision(tx, job.id, seen)


async def _answer(resources: Resources, job: Job) -> None:
    async def word(rule: store.Json, composed: store.Json, job: Job) -> store.Json:
        return await resources.eyes.answer(rule, composed, job.user_input, job.model)

    await service.write_answer(resources, job, word)


async def stage(resources: Resources, job_id: str, work: Callable[[Resources, Job], Awaitable[None]]) -> None:
    """Run one stage of a job that is still open. An expected error ends the job; a passing one is raised."""
    async with resources.engine.connect() as tx:
        job = await store.load(tx, UUID(job_id))
    if job is None:
        log.warning("message of a job that does not exist", extra={"job_id": job_id})
    elif job.status in ("completed", "failed"):
        await service.announce(resources, job)
    else:
        try:
            async with asyncio.timeout(resources.settings.stage_timeout.total_seconds()):
                await work(resources, job)
        except Unavailable:
            raise
        except AppError as error:
            await service.fail(resources, job.id, error.message)


async def _watch(resources: Resources) -> None:
    keys = [str(QUEUES[name].dead_letter_key) for name in TASKS]
    await watch.fail_the_dead(
        resources, resources.settings.broker_url, DEAD_LETTER_EXCHANGE, keys, resources.dead_letters
    )


async def _sweep(resources: Resources) -> None:
    await sweeper.run(resources, resources.settings)


@asynccontextmanager
async def open_resources(settings: WorkerSettings) -> AsyncIterator[Resources]:
    data_dir = settings.data_dir or knowledge.default_directory()
    base = knowledge.load(data_dir)
    publisher = Publisher(settings.broker_url)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_engine(settings, test=False))
        streams = await stack.enter_async_context(redis.connect(settings.redis_streams_url))
        cache = await stack.enter_async_context(redis.connect(settings.redis_cache_url, decode_responses=False))
        stack.push_async_callback(publisher.close)
        executor = ThreadPoolExecutor(settings.vision_threads, thread_name_prefix="vision")
        stack.callback(executor.shutdown, wait=False, cancel_futures=True)  # the loop must not wait for a photo
        yield Resources(
            engine=single(engine),
            storage=Storage(settings),
            bus=EventBus(streams),
            publisher=publisher,
            knowledge=base,
            upload_secret=settings.upload_secret,
            settings=settings,
            eyes=Eyes(
                embedded=Embedded(_vision_model(settings, base, data_dir), executor, base.version),
                paid=_paid_models(settings, base, cache, executor, stack),
                cache=ResultCache(cache),
                executor=executor,
            ),
            dead_letters=Heartbeat(),
        )


def _vision_model(settings: WorkerSettings, base: Knowledge, data_dir: Path) -> EmbeddedVision:
    table = LabelTable.load(data_dir / "vision" / "imagenet_items.csv")
    if unknown := check_table(table, set(base.items)):
        raise SystemExit(f"the label table names unknown items: {', '.join(unknown)}")
    return EmbeddedVision(settings.model_dir, table)


def _paid_models(
    settings: WorkerSettings, base: Knowledge, cache: Redis, executor: Executor, stack: AsyncExitStack
) -> Callable[[str | None], Provider | None]:
    """Model name → its provider, made when it is first asked for; None for models that no configured key serves."""
    if not settings.endpoints():
        return lambda _model: None
    llm, prompts = Llm(settings, cache), Prompts.of(base)
    stack.push_async_callback(llm.aclose)
    made: dict[str, Provider] = {}

    def provider(model: str | None) -> Provider | None:
        name = model or settings.llm_default_model
        if name not in made and llm.serves(name):
            made[name] = LlmProvider(llm, name, prompts, executor)
        return made.get(name)

    return provider


def run() -> None:
    settings = load(WorkerSettings)
    run_worker(
        NAME,
        settings,
        lambda: open_resources(settings),
        TASKS,
        list(TASKS),
        Resources.checks,
        [_watch, _sweep],
    )
