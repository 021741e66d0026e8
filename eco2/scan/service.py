"""Scans: hand a job over, run its stages, tell how far it is, take the user's choice.

Every step is stored before anything that follows from it leaves the process, and every step can be repeated: a message
delivered twice finds its output stored, emits the same events (the bus drops repeats) and hands over again.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from prometheus_client import Counter, Histogram
from redis.exceptions import RedisError

from eco2 import photos
from eco2.contracts import uploads
from eco2.contracts.events import Draft, Stage
from eco2.contracts.grants import Grant, Photo
from eco2.contracts.queues import (
    REWARD_EXCHANGE,
    REWARD_QUEUE,
    SCAN_ANSWER,
    SCAN_EXCHANGE,
    SCAN_VISION,
    TASKS_EXCHANGE,
)
from eco2.contracts.tasks import IMAGE_ANALYZE
from eco2.core.aside import aside
from eco2.core.cursors import BadCursor
from eco2.core.errors import AppError, BadRequest, Conflict, NotFound, Unavailable
from eco2.core.postgres import Database
from eco2.core.storage import Storage
from eco2.knowledge import Item, Knowledge, search
from eco2.messaging.broker import BrokerDown, Publisher
from eco2.messaging.events import EventBus
from eco2.scan import stages, store
from eco2.scan.audience import Audience
from eco2.scan.in_work import InWork
from eco2.scan.limits import UNLIMITED, Limits, Standing, refusal
from eco2.scan.marks import Marks
from eco2.scan.outputs import Answer, FinalAnswer, NewerForm, Rule
from eco2.scan.progress import both, completed, started
from eco2.scan.recent_jobs import RecentJobs
from eco2.scan.result import done_event, outcome
from eco2.scan.stages import ImageGone
from eco2.scan.store import Job

log = logging.getLogger(__name__)

ENDED = Counter("eco2_scans_ended_total", "Scans that ended, by the outcome of their result", ["outcome"])
SECONDS = Histogram(
    "eco2_scan_seconds",
    "Time from the acceptance of a scan to its stored answer; failed ones are not in it",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)

EVENTS_TAKE = timedelta(seconds=2)
"""Far longer than the last events of a job are on their way to its streams."""


DUPLICATE_SECONDS = 10
"""A client without idempotency keys that submits the same photo and words twice within this slot gets one job."""


class ImageUrlRequired(BadRequest):
    """Give the cdn_url of an uploaded photo as image_url."""

    code = "IMAGE_URL_REQUIRED"


class ImageUrlRefused(BadRequest):
    """image_url must be the cdn_url that POST /images/scan gave you; other addresses are never fetched."""

    code = "IMAGE_URL_NOT_ALLOWED"


class ModelUnsupported(BadRequest):
    """This model is not available."""

    code = "UNSUPPORTED_MODEL"


class KeyReused(Conflict):
    """The idempotency key was used for another photo; make a new key for each scan."""

    code = "IDEMPOTENCY_KEY_REUSED"


class ScanUnavailable(Unavailable):
    """The scan could not be queued; nothing is lost, try again with the same idempotency key."""

    code = "SCAN_UNAVAILABLE"


class ResultNotFound(NotFound):
    """There is no such scan."""

    code = "RESULT_NOT_FOUND"


class ChoiceNotNeeded(Conflict):
    """This scan does not wait for a choice."""

    code = "CHOICE_NOT_NEEDED"


class ChoiceUnknown(BadRequest):
    """No item of this name; take one of the candidates or a name of GET /api/v1/scan/items."""

    code = "UNKNOWN_CATEGORY"


@dataclass(frozen=True)
class Services:
    """Dependencies of the scan service. Worker stages also get the vision model."""

    db: Database
    storage: Storage
    bus: EventBus
    publisher: Publisher
    knowledge: Knowledge
    upload_secret: str
    recent_jobs: RecentJobs = field(default_factory=RecentJobs, kw_only=True)
    in_work: InWork = field(default_factory=InWork, kw_only=True)
    queued_marks: Marks = field(default_factory=lambda: Marks("queued", store.enqueued), kw_only=True)
    announced_marks: Marks = field(default_factory=lambda: Marks("announced", store.announced), kw_only=True)
    languages: dict[UUID, str | None] = field(default_factory=dict, kw_only=True)
    """Of jobs that are polled."""


def own_image(services: Services, user: UUID, image_url: str | None) -> str:
    """The object key that `image_url` names, if it was given to the user. The object may still be missing."""
    if not image_url:
        raise ImageUrlRequired
    key = services.storage.key_of(image_url)
    if key is None or uploads.key_channel(key) != "scan":
        raise ImageUrlRefused
    if not uploads.owns(services.upload_secret, str(user), key):
        raise ImageGone
    return key


async def require_object(services: Services, key: str) -> None:
    info = await services.storage.find(key)
    if info is None:
        raise ImageGone
    if info.size > photos.MAX_BYTES:
        await services.storage.uploads.delete([key])
        raise photos.PhotoTooLarge


def unique_key(idempotency_key: str | None, key: str, user_input: str | None, model: str | None) -> str:
    """One per job of a user."""
    if idempotency_key is not None:
        return f"key:{idempotency_key}"
    said = hashlib.sha256(f"{user_input}\n{model}".encode()).hexdigest()[:16]
    return f"auto:{key}:{said}:{int(time.time()) // DUPLICATE_SECONDS}"


async def register(
    db: Database,
    user: UUID,
    idempotency_key: str | None,
    key: str,
    user_input: str | None,
    model: str | None,
    limits: Limits = UNLIMITED,
) -> Job:
    """The user's job for this key, new or known. TooMany where a new one would be past the limits."""
    unique = unique_key(idempotency_key, key, user_input, model)
    job = await store.add(db, uuid4(), user, unique, key, user_input, model, limits)
    if isinstance(job, Standing):
        standing, job = job, await store.find_known(db, user, unique)  # another process may just have taken the key
        if isinstance(job, Standing):
            raise refusal(standing, limits)
    return same_photo(job, key)


def same_photo(job: Job, key: str) -> Job:
    if job.image_key != key:
        raise KeyReused
    return job


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


async def hand_on(services: Services, job: Job, queue: str, *, stored: bool) -> None:
    """Send the job to its next stage. `stored`: `job` is what is stored now, not what would have been."""
    if stored:
        services.recent_jobs.put(job, queue)
    await services.publisher.send_task(SCAN_EXCHANGE, queue, queue, str(job.id))


async def match_rule(services: Services, job: Job) -> None:
    """Stage `rule`."""
    stored = job.rule is None
    if job.rule is None:
        assert job.vision is not None, "stage rule before stage vision"
        audience = audience_of(services, job)
        rule = await aside(job.user_input, stages.match, services.knowledge, job.vision, job.user_input, audience)
        stored = await store.save_rule(services.db, job.id, rule)
        job = replace(job, rule=rule)
    # At once, with the end of the stage before and the start of the next: it takes less time than an event.
    await services.bus.emit(str(job.id), completed(Stage.VISION), *both(Stage.RULE), started(Stage.ANSWER))
    await hand_on(services, job, SCAN_ANSWER, stored=stored)


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
        reward = stages.reward(services.knowledge, job.rule, answer, audience)
        seconds = await store.complete(services.db, job.id, answer, reward)
        if seconds is None:
            return
        SECONDS.observe(seconds)
        job = replace(job, answer=answer, reward=reward, status="completed")
        ENDED.labels(outcome(job)).inc()
    await announce(services, job)


async def announce(services: Services, job: Job) -> None:
    """Say how a finished job ended, then mark that it was said: the sweeper repeats it where that mark is missing."""
    job.require_outputs()
    await _announce(services, job)
    services.announced_marks.add(services.db, job.id)


async def _announce(services: Services, job: Job) -> None:
    """Emit what is left to say about a finished job, and grant its reward before the last event."""
    job_id = str(job.id)
    log.info("scan %s", job.status, extra={"item": job.rule.item_id if job.rule else None})
    done = done_event(services.knowledge, job)
    if job.status == "failed":
        await services.bus.emit(job_id, done)
        return
    await grant(services, job)
    await services.bus.emit(job_id, completed(Stage.ANSWER), *both(Stage.REWARD), done)


async def grant(services: Services, job: Job) -> None:
    """Send the reward of a job to the character domain; sending it twice grants once."""
    if job.reward is None:
        return
    message = Grant(
        job_id=job.id,
        user_id=job.user_id,
        character_code=job.reward.code,
        source="scan",
        earned_at=datetime.now(UTC),
        photo=_photo(job),
    )
    body = message.model_dump(mode="json")
    await services.publisher.send_json(REWARD_EXCHANGE, REWARD_QUEUE, body, message_id=f"grant-{job.id}")


async def grant_choice(services: Services, job: Job) -> None:
    """Grant what a choice has earned, then mark it as announced."""
    await grant(services, job)
    services.announced_marks.add(services.db, job.id)


def _photo(job: Job) -> Photo | None:
    """None for a job whose vision was stored by a version that did not tell photos apart."""
    seen = job.vision
    return Photo(digest=seen.digest, phash=seen.phash) if seen and seen.digest and seen.phash else None


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


async def states(services: Services, job_ids: Sequence[UUID]) -> list[tuple[Job, Draft | None]]:
    """Jobs with the terminal event of each that is over; None also while its events may still be on their way."""
    found = await store.states(services.db, job_ids, EVENTS_TAKE)
    told = {job.id for job, over in found if over and not isinstance(job.unread, NewerForm)}
    return [(job, done_event(services.knowledge, job) if job.id in told else None) for job, _ in found]


async def wait_done(services: Services, job_id: UUID, seconds: float) -> None:
    """Return when the job has ended, or after `seconds`; at once when nobody can tell."""
    try:
        async with asyncio.timeout(seconds):
            await services.bus.wait_ended(str(job_id))
    except TimeoutError:
        return
    except (RedisError, OSError) as error:
        log.warning("the end of a job cannot be waited for: %r", error, extra={"job_id": str(job_id)})


async def choose(services: Services, job: Job, minor_category: str | None) -> Job:
    """Complete an uncertain scan with the item that the user names; the same choice again changes nothing.

    None: it is none of the candidates. The caller grants the reward after the commit (`grant_choice`). Should it die
    between, the sweeper grants it.
    """
    if minor_category is None:
        return await _choose_none(services, job)
    item = services.knowledge.resolve(minor_category)
    if item is None:
        raise ChoiceUnknown
    if job.status != "completed" or job.rule is None:
        raise ChoiceNotNeeded
    if not job.rule.needs_choice:
        if job.rule.chosen == item.id:
            return job
        raise ChoiceNotNeeded
    audience = audience_of(services, job)
    said = job.user_input
    rule = await aside(said, stages.rule_of, services.knowledge, item, said, waste=job.rule.waste, audience=audience)
    shown = stages.shows(services.knowledge, job.vision, item)
    rule = replace(rule, shown=shown, chosen=item.id, others=job.rule.others)
    answer = await aside(said, stages.answer, services.knowledge, rule, said, audience)
    reward = stages.reward(services.knowledge, rule, answer, audience)
    chosen = await store.choose(services.db, job.id, rule, Answer.of(answer), reward)
    if chosen is None:  # somebody was faster: the same person, clicking twice?
        chosen = await find(services.db, job.id, job.user_id)
        if chosen.rule is None or chosen.rule.chosen != item.id:
            raise ChoiceNotNeeded
    return chosen


async def _choose_none(services: Services, job: Job) -> Job:
    """The scan ends as unsure; the user may still name the thing."""
    if job.status != "completed" or job.rule is None or not job.rule.needs_choice:
        raise ChoiceNotNeeded
    if stages.unsure(job.rule):
        return job
    rule = stages.none_of_these(job.rule)
    answer = stages.answer(services.knowledge, rule, None, audience_of(services, job))
    chosen = await store.choose(services.db, job.id, rule, Answer.of(answer), None)
    if chosen is None:
        raise ChoiceNotNeeded
    return chosen


def page_of_items(knowledge: Knowledge, wanted: str, cursor: str | None, limit: int) -> tuple[list[Item], str | None]:
    """(items, cursor of the next page): the id of the last one. BadCursor."""
    found = search(knowledge, wanted)
    ids = [item.id for item in found]
    if cursor is not None and cursor not in ids:
        raise BadCursor
    start = ids.index(cursor) + 1 if cursor is not None else 0
    page = found[start : start + limit]
    return page, page[-1].id if page and start + limit < len(found) else None


def checked_model(model: str | None, known: tuple[str, ...]) -> str | None:
    if model is not None and model not in known:
        raise ModelUnsupported(f"{model!r} is not available; use one of {', '.join(known)}, or none.")
    return model
