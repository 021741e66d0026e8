"""scan-worker: the stages vision, rule and answer on their queues; vision for photos of chats over gRPC.

A message is a Celery task of protocol 2 whose only argument is the job's id (docs/adr/0011).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from uuid import UUID

from eco2.contracts.events import Stage
from eco2.contracts.queues import SCAN_ANSWER, SCAN_RULE, SCAN_VISION
from eco2.core import telemetry
from eco2.core.errors import AppError, Unavailable
from eco2.core.ops import OpsApp, run_until_terminated, serve_async
from eco2.core.settings import load
from eco2.core.time_limit import time_limit
from eco2.llm import budget, spending
from eco2.messaging.broker import is_away
from eco2.messaging.consumer import Message, consume_each, timed
from eco2.photos import published
from eco2.scan import dead_letters, deletion, looking, progress, service, store
from eco2.scan.errors import ImageGone
from eco2.scan.job import Job
from eco2.scan.outputs import Answer, FinalAnswer, Rule
from eco2.scan.settings import WorkerSettings
from eco2.scan.worker_resources import Resources, open_resources

NAME = "scan-worker"
log = logging.getLogger(__name__)


async def _vision(resources: Resources, job: Job) -> Job | None:
    if job.vision is not None:
        return job
    seen = await see(resources, job, with_rule=not resources.settings.stage_by_stage)
    return seen or await store.load(resources.db, job.id)


async def see(resources: Resources, job: Job, *, with_rule: bool = False) -> Job | None:
    """The look alone: stored, and nothing handed over. The job with it, or None where it has it already.

    `with_rule`: find the rule, too, and store both in one transaction."""
    if job.vision is not None:
        return None
    await resources.bus.emit(str(job.id), progress.started(Stage.VISION))
    picture = resources.models.picture(job.user_id, job.model)
    photo = await published.take(resources.storage, job.image_key, picture.inspect)
    if photo is None:
        raise ImageGone
    picture.keep(photo[0])
    vision = await resources.models.look(picture, job.model, asked=bool(job.user_input))
    seen = replace(job, vision=vision, status="processing")
    if with_rule:
        seen = replace(seen, rule=await _rule(resources, seen))
    stored = await store.save_vision(resources.db, job.id, vision, seen.rule)
    if not stored:
        await deletion.drop_unwanted(resources, job.image_key)
    return seen if stored else None


async def _rule(resources: Resources, seen: Job) -> Rule | None:
    """None where that fails: vision is stored first, and stage `rule` meets the error again."""
    try:
        return await service.find_rule(resources, seen)
    except Exception:
        log.exception("no rule could be found with the look")
        return None


async def _answer(resources: Resources, job: Job) -> None:
    async def word(rule: Rule, composed: FinalAnswer, job: Job) -> Answer:
        audience = service.audience_of(resources, job)
        return await resources.models.answer(rule, composed, job.user_input, job.model, audience)

    await service.write_answer(resources, job, word)
    resources.teller.ended()


StageWork = Callable[[Resources, Job], Awaitable[Job | None]]
"""Returns the job as it is stored for the next stage, None where it needs none."""

STAGES: dict[str, StageWork] = {SCAN_VISION: _vision, SCAN_RULE: service.match_rule, SCAN_ANSWER: _answer}
"""Queue, which is also its routing key and the name of its task → stage."""
NEXT = {SCAN_VISION: SCAN_RULE, SCAN_RULE: SCAN_ANSWER}
ASKING = (SCAN_VISION, SCAN_ANSWER)
"""Stages that ask the paid model."""


async def work(resources: Resources, queue: str, message: Message) -> None:
    """Run the stage of the message and those after it; one that fails or has to wait gets a message of its own."""
    job_id = dead_letters.job_id(message)
    known = resources.recent_jobs.take(job_id, queue)
    # What comes again may have been worked on elsewhere: its stored outputs save a paid call.
    job = await run_stage(resources, STAGES[queue], job_id, None if message.redelivered else known)
    while job is not None and queue in NEXT:
        queue, done = NEXT[queue], job
        if resources.settings.stage_by_stage or _has_to_wait(resources, queue):
            await service.hand_on(resources, done, queue)
            return
        try:
            with timed(queue), telemetry.detail(queue):
                job = await run_stage(resources, STAGES[queue], job_id, done)
        except Exception as error:
            if is_away(error):
                raise
            log.exception("a stage failed, its own queue tries it again", extra={"task": queue})
            await service.hand_on(resources, done, queue, as_stored=False)
            return


def _has_to_wait(resources: Resources, queue: str) -> bool:
    """True where the process ends, or the paid model's provider limits the rate: the queue waits for capacity."""
    return resources.ending.is_set() or _room(resources, queue) is not None


async def run_stage(resources: Resources, stage: StageWork, job_id: UUID, known: Job | None = None) -> Job | None:
    """Run one stage of a job that is still open. An expected error ends the job; a passing one is raised.

    `known`: the job as it is stored, where that need not be read. The job for the next stage, None after the last."""
    with resources.in_work.on(job_id):
        return await _run_stage(resources, stage, job_id, known)


async def _run_stage(resources: Resources, stage: StageWork, job_id: UUID, known: Job | None) -> Job | None:
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
            budget.spender.set(str(job.user_id))
            async with time_limit(resources.settings.stage_timeout.total_seconds()):
                return await stage(resources, job)
        except Unavailable:
            raise
        except AppError as error:
            await service.fail(resources, job.id, error)
    return None


def _room(resources: Resources, queue: str) -> int | None:
    """Leave in the queue what would have to wait for the paid model's provider."""
    return resources.llm.room() if resources.llm is not None and queue in ASKING else None


async def _serve(settings: WorkerSettings) -> None:
    """Consume until cancelled, which lets the messages in work finish."""
    grace = settings.shutdown_grace.total_seconds()
    async with AsyncExitStack() as stack:
        resources = await stack.enter_async_context(open_resources(settings))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        answering = await looking.serve(tasks, settings, resources)
        works = {queue: partial(work, resources, queue) for queue in STAGES}
        pages = OpsApp(NAME, {**resources.checks(), "grpc": answering}, alive=resources.consumer.check_alive)
        tasks.create_task(serve_async(pages, settings))
        tasks.create_task(resources.teller.run())
        at_once, room = settings.worker_concurrency, partial(_room, resources)
        tasks.create_task(consume_each(settings.broker_url, works, at_once, resources.consumer, grace, room))
        log.info("%s", await spending.described(settings, resources.llm, "the embedded model answers"))


def run() -> None:
    settings = load(WorkerSettings)
    telemetry.setup(NAME, settings)
    run_until_terminated(_serve(settings))
