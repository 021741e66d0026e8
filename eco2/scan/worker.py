"""scan-worker: the stages vision, rule and answer on their queues.

A message is a Celery task of protocol 2 whose only argument is the job's id (docs/adr/0011).
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from uuid import UUID

from eco2 import knowledge
from eco2.contracts.events import Service, Stage
from eco2.contracts.queues import SCAN_ANSWER, SCAN_RULE, SCAN_VISION
from eco2.core import telemetry
from eco2.core.errors import AppError, Unavailable
from eco2.core.ops import Check, OpsApp, run_until_terminated, serve_async
from eco2.core.postgres import open_database
from eco2.core.settings import load
from eco2.core.shared_redis import connect_shared
from eco2.core.storage import Storage
from eco2.core.time_limit import time_limit
from eco2.knowledge import Knowledge
from eco2.llm import spending
from eco2.llm.calls import Llm
from eco2.llm.control import Controls
from eco2.messaging.broker import Heartbeat, Publisher
from eco2.messaging.consumer import Delivery, consume_each
from eco2.messaging.events import EventBus
from eco2.photos import published
from eco2.photos.pool import Decoders
from eco2.scan import dead_letters, deletion, progress, service, store
from eco2.scan.outputs import Answer, FinalAnswer, Rule
from eco2.scan.service import Services
from eco2.scan.settings import WorkerSettings
from eco2.scan.stages import ImageGone
from eco2.scan.store import Job
from eco2.scan.supply import Teller
from eco2.scan.vision.beliefs import Senses
from eco2.scan.vision.cache import ResultCache
from eco2.scan.vision.choose import Cascade, Models
from eco2.scan.vision.embedded import EmbeddedVision
from eco2.scan.vision.llm import LlmProvider, Prompts
from eco2.scan.vision.providers import Embedded, Provider

NAME = "scan-worker"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources(Services):
    settings: WorkerSettings
    models: Models
    consumer: Heartbeat
    llm: Llm | None
    teller: Teller

    def checks(self) -> Mapping[str, Check]:
        return {
            "postgres": self.db.ping,
            "redis-streams": self.bus.redis.ping,
            "object-store": self.storage.ping,
            "consumer": self.consumer.check_ready,
        }


async def _vision(resources: Resources, job: Job) -> None:
    seen = await see(resources, job)
    await service.hand_on(resources, seen or job, SCAN_RULE, stored=seen is not None)


async def see(resources: Resources, job: Job) -> Job | None:
    """The look alone: stored, and nothing handed over. The job with it, or None where it has it already."""
    if job.vision is not None:
        return None
    await resources.bus.emit(str(job.id), progress.started(Stage.VISION))
    picture = resources.models.picture(job.user_id, job.model)
    photo = await published.take(resources.storage, job.image_key, picture.inspect)
    if photo is None:
        raise ImageGone
    picture.keep(photo[0])
    seen = await resources.models.look(picture, job.model, asked=bool(job.user_input))
    stored = await store.save_vision(resources.db, job.id, seen)
    if not stored:
        await deletion.drop_unwanted(resources, job.image_key)
    return replace(job, vision=seen, status="processing") if stored else None


async def _answer(resources: Resources, job: Job) -> None:
    async def word(rule: Rule, composed: FinalAnswer, job: Job) -> Answer:
        audience = service.audience_of(resources, job)
        return await resources.models.answer(rule, composed, job.user_input, job.model, audience)

    await service.write_answer(resources, job, word)
    resources.teller.ended()


StageWork = Callable[[Resources, Job], Awaitable[object]]

STAGES: dict[str, StageWork] = {SCAN_VISION: _vision, SCAN_RULE: service.match_rule, SCAN_ANSWER: _answer}
"""Queue, which is also its routing key and the name of its task → stage."""
ASKING = (SCAN_VISION, SCAN_ANSWER)
"""Stages that ask the paid model."""


async def work(resources: Resources, queue: str, message: Delivery) -> None:
    job_id = dead_letters.job_id(message)
    known = resources.recent_jobs.take(job_id, queue)
    # What comes again may have been worked on elsewhere: its stored outputs save a paid call.
    await run_stage(resources, STAGES[queue], job_id, None if message.redelivered else known)


async def run_stage(resources: Resources, stage: StageWork, job_id: UUID, known: Job | None = None) -> None:
    """Run one stage of a job that is still open. An expected error ends the job; a passing one is raised.

    `known`: the job as it is stored, where that need not be read."""
    with resources.in_work.on(job_id):
        await _run_stage(resources, stage, job_id, known)


async def _run_stage(resources: Resources, stage: StageWork, job_id: UUID, known: Job | None) -> None:
    telemetry.about_job(str(job_id))
    job = known or await store.load(resources.db, job_id)
    if job is None:
        log.warning("message of a job that does not exist")
    elif job.status in ("completed", "failed"):
        await service.announce(resources, job)
    elif job.unread is not None:
        raise job.unread
    else:
        try:
            async with time_limit(resources.settings.stage_timeout.total_seconds()):
                await stage(resources, job)
        except Unavailable:
            raise
        except AppError as error:
            await service.fail(resources, job.id, error)


@asynccontextmanager
async def open_resources(settings: WorkerSettings) -> AsyncIterator[Resources]:
    data_dir = settings.data_dir or knowledge.default_directory()
    base = knowledge.load(data_dir)
    publisher = Publisher(settings.broker_url)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(open_database(settings, repeat=False))
        streams = await stack.enter_async_context(connect_shared(settings.redis_streams_url))
        cache = await stack.enter_async_context(connect_shared(settings.redis_cache_url, decode_responses=False))
        stack.push_async_callback(publisher.close)
        executor = ThreadPoolExecutor(settings.vision_threads, thread_name_prefix="vision")
        stack.callback(executor.shutdown, wait=False, cancel_futures=True)  # the loop must not wait for a photo
        decoders = await stack.enter_async_context(Decoders(settings))
        await decoders.warm()
        llm = Llm(settings, cache, Controls(db)) if settings.endpoints() else None
        if llm is not None:
            stack.push_async_callback(llm.aclose)
        resources = Resources(
            db=db,
            storage=Storage(settings),
            bus=EventBus(streams, Service.SCAN),
            publisher=publisher,
            knowledge=base,
            upload_secret=settings.upload_secret,
            settings=settings,
            models=Models(
                embedded=Embedded(_vision_model(settings, base, data_dir), executor, base.version),
                paid=_paid_models(settings, base, llm),
                cache=ResultCache(cache),
                decoders=decoders,
                cascade=_cascade(settings),
            ),
            consumer=Heartbeat(),
            llm=llm,
            teller=Teller(streams, f"{socket.gethostname()}:{os.getpid()}", settings, llm),
        )
        stack.push_async_callback(resources.announced_marks.close, db)
        stack.callback(asyncio.create_task(resources.in_work.run(db)).cancel)
        yield resources


def _vision_model(settings: WorkerSettings, base: Knowledge, data_dir: Path) -> EmbeddedVision:
    try:
        senses = Senses.load(data_dir / "vision", base)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    vision = EmbeddedVision(settings.model_dir, senses)
    looks_first = not settings.endpoints() or settings.cascade != "off"
    if looks_first:  # else it looks only where a paid model fails
        vision.warm()
    return vision


def _cascade(settings: WorkerSettings) -> Cascade | None:
    if settings.cascade == "off":
        return None
    return Cascade(settings.cascade_confidence, settings.cascade_model if settings.cascade == "downgrade" else None)


def _paid_models(settings: WorkerSettings, base: Knowledge, llm: Llm | None) -> Callable[[str | None], Provider | None]:
    """Model name → its provider, made when it is first asked for; None for models that no configured key serves."""
    if llm is None:
        return lambda _model: None
    prompts = Prompts.of(base)
    made: dict[str, Provider] = {}

    def provider(model: str | None) -> Provider | None:
        name = model or settings.llm_default_model
        if name not in made and llm.serves(name):
            made[name] = LlmProvider(llm, name, prompts)
        return made.get(name)

    return provider


def _room(resources: Resources, queue: str) -> int | None:
    """Leave in the queue what would have to wait for the paid model's provider."""
    return resources.llm.room() if resources.llm is not None and queue in ASKING else None


async def _serve(settings: WorkerSettings) -> None:
    """Consume until cancelled, which lets the messages in work finish."""
    grace = settings.shutdown_grace.total_seconds()
    async with open_resources(settings) as resources, asyncio.TaskGroup() as tasks:
        works = {queue: partial(work, resources, queue) for queue in STAGES}
        pages = OpsApp(NAME, resources.checks(), alive=resources.consumer.check_alive)
        tasks.create_task(serve_async(pages, settings))
        tasks.create_task(resources.teller.run())
        at_once, room = settings.worker_concurrency, partial(_room, resources)
        tasks.create_task(consume_each(settings.broker_url, works, at_once, resources.consumer, grace, room))
        log.info("%s", await spending.described(settings, resources.llm, "the embedded model answers"))


def run() -> None:
    settings = load(WorkerSettings)
    telemetry.setup(NAME, settings)
    run_until_terminated(_serve(settings))
