"""Steps of a scan: hand a job over, match its rule, write its answer, announce its end.

Every step is stored before anything that follows from it leaves the process, and every step can be repeated: a message
delivered twice finds its output stored, emits the same events (the bus drops repeats) and hands over again.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

from prometheus_client import Counter, Histogram
from redis.exceptions import RedisError

from eco2.contracts.events import Stage
from eco2.contracts.queues import SCAN_EXCHANGE, SCAN_VISION, TASKS_EXCHANGE
from eco2.contracts.tasks import IMAGE_ANALYZE
from eco2.core import telemetry
from eco2.core.aside import aside
from eco2.core.errors import AppError
from eco2.core.postgres import Database
from eco2.messaging.broker import BrokerDown, Publisher
from eco2.scan import stages, store
from eco2.scan.audience import Audience
from eco2.scan.errors import ResultNotFound, ScanUnavailable
from eco2.scan.grants import grant, reward_of
from eco2.scan.job import Job
from eco2.scan.outputs import Answer, FinalAnswer, Rule
from eco2.scan.progress import both, completed, started
from eco2.scan.result import done_event, outcome
from eco2.scan.services import Services

log = logging.getLogger(__name__)

ENDED = Counter("eco2_scans_ended_total", "Scans that ended, by the outcome of their result", ["outcome"])
SECONDS = Histogram(
    "eco2_scan_seconds",
    "Time from the acceptance of a scan to its stored answer; failed ones are not in it",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)


async def hand_over(services: Services, job: Job, analysts: Publisher | None = None) -> None:
    """Queue the job. Without the broker's confirm the row is aborted, and the same idempotency key revives it.

    With `analysts`, a publisher of vhost `tasks`, it is an ai-worker that hands the job to the first stage.
    """
    if job.id in services.queued_marks:
        return
    try:
        await send_first(services, job, analysts)
    except (BrokerDown, RedisError, OSError) as error:
        log.warning("job could not be queued: %r", error, extra={"job_id": str(job.id)})
        await store.abort(services.db, job.id)
        raise ScanUnavailable from error


async def send_first(services: Services, job: Job, analysts: Publisher | None = None) -> None:
    """Send the first message of the job and mark it as queued. BrokerDown, RedisError, OSError."""
    job_id = str(job.id)
    await services.bus.emit(job_id, *both(Stage.QUEUED), owner=str(job.user_id))
    if analysts is None:
        await services.publisher.send_task(SCAN_EXCHANGE, SCAN_VISION, SCAN_VISION, job_id)
    else:
        task = IMAGE_ANALYZE
        await analysts.send_task(TASKS_EXCHANGE, task.routing_key, task.name, job_id, priority=task.priority)
    services.queued_marks.add(services.db, job.id)


async def hand_on(services: Services, job: Job, queue: str, *, as_stored: bool = True) -> None:
    """Send the job to its next stage; one that is not as it is stored is read there."""
    if as_stored:
        services.recent_jobs.put(job, queue)
    await services.publisher.send_task(SCAN_EXCHANGE, queue, queue, str(job.id))


async def find_rule(services: Services, job: Job) -> Rule:
    assert job.vision is not None, "stage rule before stage vision"
    audience = audience_of(services, job)
    return await aside(job.user_input, stages.match, services.knowledge, job.vision, job.user_input, audience)


async def match_rule(services: Services, job: Job) -> Job | None:
    """Stage `rule`; the job as it is stored then, None where it is gone."""
    if job.rule is None:
        rule = await find_rule(services, job)
        if await store.save_rule(services.db, job.id, rule):
            job = replace(job, rule=rule)
        elif (found := await store.load(services.db, job.id)) is not None and found.open:
            job = found
        else:
            return found
    # At once, with the end of the stage before and the start of the next: it takes less time than an event.
    await services.bus.emit(str(job.id), completed(Stage.VISION), *both(Stage.RULE), started(Stage.ANSWER))
    return job


def audience_of(services: Services, job: Job) -> Audience:
    return Audience.of(services.knowledge, job.language, job.district)


Word = Callable[[Rule, FinalAnswer, Job], Awaitable[Answer]]
"""Words the composed answer of a rule for the job."""


async def write_answer(services: Services, job: Job, word: Word) -> None:
    """Stage `answer`, and the reward that follows from it."""
    if job.open:
        assert job.rule is not None, "stage answer before stage rule"
        said, audience = job.user_input, audience_of(services, job)
        composed = await aside(said, stages.answer, services.knowledge, job.rule, said, audience)
        answer = await word(job.rule, composed, job)
        reward = reward_of(services, job, job.rule, answer, audience)
        seconds = await store.complete(services.db, job.id, answer, reward)
        if seconds is None:
            return
        SECONDS.observe(seconds, telemetry.exemplar())
        job = replace(job, answer=answer, reward=reward, status="completed")
        ENDED.labels(outcome(job)).inc()
    await announce(services, job)


async def announce(services: Services, job: Job) -> None:
    """Say how a finished job ended, then mark that it was said: the sweeper repeats it where that mark is missing."""
    job.require_outputs()
    await _announce(services, job)
    services.announced_marks.add(services.db, job.id)


async def _announce(services: Services, job: Job) -> None:
    """Emit the remaining events of a finished job, and grant its reward before the last one."""
    job_id = str(job.id)
    log.info("scan %s", job.status, extra={"item": job.rule.item_id if job.rule else None})
    done = done_event(services.knowledge, job)
    if job.status == "failed":
        await services.bus.emit(job_id, done)
        return
    await grant(services, job)
    await services.bus.emit(job_id, completed(Stage.ANSWER), *both(Stage.REWARD), done)


async def fail(services: Services, job_id: UUID, reason: AppError) -> None:
    """End the job as failed, unless it has ended already; say so in either case."""
    job = await store.fail(services.db, job_id, reason.code, reason.message, reason.english)
    if job is not None:
        ENDED.labels("failed").inc()
    else:
        job = await store.load(services.db, job_id)
    if job is not None:
        await announce(services, job)


async def find(db: Database, job_id: UUID, user: UUID) -> Job:
    job = await store.load_own(db, job_id, user)
    if job is None:
        raise ResultNotFound
    job.require_outputs()
    return job
