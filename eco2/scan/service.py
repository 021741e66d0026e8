"""Scans: hand a job over, run its stages, tell how far it is, take the user's choice.

Every step is stored before anything that follows from it leaves the process, and every step can be repeated: a message
delivered twice finds its output stored, emits the same events (the bus drops repeats) and hands over again.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

from redis.exceptions import RedisError

from eco2.contracts import uploads
from eco2.contracts.events import Draft, Stage, Status
from eco2.contracts.grants import Grant, Photo
from eco2.contracts.queues import (
    REWARD_EXCHANGE,
    REWARD_QUEUE,
    SCAN_ANSWER,
    SCAN_EXCHANGE,
    SCAN_RULE,
    SCAN_VISION,
    TASKS_EXCHANGE,
)
from eco2.contracts.tasks import IMAGE_ANALYZE
from eco2.core import photos
from eco2.core.broker import BrokerDown, Publisher
from eco2.core.bus import EventBus
from eco2.core.database import Database
from eco2.core.errors import AppError, BadRequest, Conflict, NotFound, Unavailable
from eco2.core.storage import Storage
from eco2.knowledge import Knowledge
from eco2.scan import pipeline, store
from eco2.scan.confirmed import Confirmed
from eco2.scan.handed import Handed
from eco2.scan.pipeline import ImageGone
from eco2.scan.store import Job, Json

log = logging.getLogger(__name__)

PROGRESS = {"queued": 0, "vision": 25, "rule": 50, "answer": 75, "reward": 100}
"""Progress when the stage is completed; when it starts, that of the stage before."""


DEPTH_SECONDS = 1.0
WAIT_SECONDS = 0.1
BUSY_SECONDS = 10
DUPLICATE_SECONDS = 10
"""A client without idempotency keys that submits the same photo and words twice within this slot gets one job."""

STAGE_TEXT = {
    "upload": "사진을 기다리고 있어요.",
    "queued": "순서를 기다리고 있어요.",
    "vision": "사진을 보고 있어요.",
    "rule": "배출 규칙을 찾고 있어요.",
    "answer": "안내를 쓰고 있어요.",
    "reward": "보상을 확인하고 있어요.",
    "done": "다 됐어요.",
}


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


class TooBusy(AppError):
    """Too many scans are waiting; try again in a moment."""

    status = 429
    code = "TOO_MANY_JOBS"

    def __init__(self, message: str = "") -> None:
        super().__init__(message, headers={"Retry-After": str(BUSY_SECONDS)})


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
    """What the functions below work with; the worker's stages have the vision model besides."""

    db: Database
    storage: Storage
    bus: EventBus
    publisher: Publisher
    knowledge: Knowledge
    upload_secret: str
    handed: Handed = field(default_factory=Handed, kw_only=True)
    confirmed: Confirmed = field(default_factory=Confirmed, kw_only=True)


class Admission:
    """Refuses new jobs while the backlog is past its limit: an answer now instead of a wait without end."""

    def __init__(self, publisher: Publisher, limit: int) -> None:
        self._publisher = publisher
        self._limit = limit
        self._depth = 0
        self._asked = -DEPTH_SECONDS

    async def check(self) -> None:
        """TooBusy past the limit. A broker that does not answer is no backlog; submitting will say so."""
        now = time.monotonic()
        if now - self._asked >= DEPTH_SECONDS:
            self._asked = now
            try:
                self._depth = await self._publisher.depth(SCAN_VISION, SCAN_RULE, SCAN_ANSWER)
            except BrokerDown:
                self._depth = 0
        if self._depth >= self._limit:
            raise TooBusy


async def own_image(services: Services, user: UUID, image_url: str | None) -> str:
    """The object key of the user's own uploaded photo that `image_url` names."""
    if not image_url:
        raise ImageUrlRequired
    key = services.storage.key_of(image_url)
    if key is None or uploads.key_channel(key) != "scan":
        raise ImageUrlRefused
    if not uploads.owns(services.upload_secret, str(user), key):
        raise ImageGone
    await _require_object(services, key)
    return key


async def _require_object(services: Services, key: str) -> None:
    info = await services.storage.head(key)
    if info is None:
        raise ImageGone
    if info.size > photos.MAX_BYTES:
        await services.storage.delete(key)
        raise photos.PhotoTooLarge


async def register(
    db: Database, user: UUID, idempotency_key: str | None, key: str, user_input: str | None, model: str | None
) -> Job:
    """The user's job for this key, new or known."""
    if idempotency_key is None:
        said = hashlib.sha256(f"{user_input}\n{model}".encode()).hexdigest()[:16]
        unique = f"auto:{key}:{said}:{int(time.time()) // DUPLICATE_SECONDS}"
    else:
        unique = f"key:{idempotency_key}"
    job = await store.add(db, uuid4(), user, unique, key, user_input, model)
    if job.image_key != key:
        raise KeyReused
    return job


async def hand_over(services: Services, job: Job, analysts: Publisher | None = None) -> None:
    """Queue the job. Without the broker's confirm the row is aborted, and the same idempotency key revives it.

    With `analysts`, a publisher of vhost `tasks`, it is an ai-worker that hands the job to the first stage.
    """
    if job.id in services.confirmed:
        return
    job_id = str(job.id)
    try:
        await services.bus.emit(job_id, *_both(Stage.QUEUED), owner=str(job.user_id))
        if analysts is None:
            await services.publisher.send_task(SCAN_EXCHANGE, SCAN_VISION, SCAN_VISION, job_id)
        else:
            task = IMAGE_ANALYZE
            await analysts.send_task(TASKS_EXCHANGE, task.routing_key, task.name, job_id, priority=task.priority)
    except (BrokerDown, RedisError, OSError) as error:
        log.warning("job could not be queued: %r", error, extra={"job_id": job_id})
        await store.abort(services.db, job.id)
        raise ScanUnavailable from error
    services.confirmed.add(services.db, job.id)


def _both(stage: Stage) -> tuple[Draft, Draft]:
    return started(stage), completed(stage)


def started(stage: Stage) -> Draft:
    before = max(0, PROGRESS[stage] - 25)
    return Draft(stage, Status.STARTED, before)


def completed(stage: Stage) -> Draft:
    return Draft(stage, Status.COMPLETED, PROGRESS[stage])


# --- waste flow -------------------------------------------------------------------------------------------------------


async def prepare(
    services: Services, user: UUID, content_type: str, user_input: str | None, model: str | None
) -> tuple[UUID, str]:
    """(job id, object key) of a job whose photo is still to come."""
    extension = photos.CONTENT_TYPES.get(content_type.partition(";")[0].strip().lower())
    if extension is None:
        accepted = ", ".join(photos.CONTENT_TYPES)
        raise photos.PhotoTypeRefused(f"{content_type!r} is not accepted; send one of {accepted}.")
    job_id, key = uuid4(), uploads.new_key(services.upload_secret, str(user), "scan", extension)
    await store.add_waiting(services.db, job_id, user, key, user_input, model)
    return job_id, key


async def open_events(services: Services, job_id: UUID, user: UUID) -> None:
    """Let the user poll before anything has happened. Not needed for the job to work."""
    try:
        await services.bus.open(str(job_id), str(user))
    except (RedisError, OSError) as error:
        log.warning("events could not be opened: %r", error, extra={"job_id": str(job_id)})


async def accept_upload(services: Services, job_id: UUID, user: UUID) -> Job:
    """The job, queued when its photo is there. One that runs or is over already stays as it is."""
    job = await find(services.db, job_id, user)
    if job.status in ("waiting", "aborted"):
        await _require_object(services, job.image_key)
        job = await store.uploaded(services.db, job_id) or await find(services.db, job_id, user)
    return job


async def waste_status(services: Services, job_id: UUID, user: UUID) -> Json:
    """`{job_id, progress, message, result}`; from the newest event, or from the row when there is none any more."""
    owner, frame = await services.bus.standing(str(job_id))
    if owner == str(user) and frame is not None:
        body = {"job_id": str(job_id), "progress": frame["progress"], "message": STAGE_TEXT[str(frame["stage"])]}
        body["result"] = None
        if frame["stage"] != Stage.DONE:
            return body
        failed = frame["status"] == Status.FAILED
        outcome = {"progress": -1, "message": frame.get("message", "")} if failed else {}
        return {**body, **outcome, "result": frame["result"]}
    return _row_status(services, await find(services.db, job_id, user))


def _row_status(services: Services, job: Job) -> Json:
    if job.status in ("completed", "failed"):
        progress, message = (100, STAGE_TEXT["done"]) if job.status == "completed" else (-1, job.error or "")
        return {
            "job_id": str(job.id),
            "progress": progress,
            "message": message,
            "result": result_body(services.knowledge, job),
        }
    stage, percent = progress_of(job)
    return {"job_id": str(job.id), "progress": percent, "message": STAGE_TEXT[stage], "result": None}


# --- stages -----------------------------------------------------------------------------------------------------------


async def hand_on(services: Services, job: Job, queue: str, *, stored: bool) -> None:
    """Send the job to its next stage. `stored`: `job` is what is stored now, not what would have been."""
    if stored:
        services.handed.put(job, queue)
    await services.publisher.send_task(SCAN_EXCHANGE, queue, queue, str(job.id))


async def match_rule(services: Services, job: Job) -> None:
    """Stage `rule`."""
    stored = job.rule is None
    if job.rule is None:
        assert job.vision is not None, "stage rule before stage vision"
        rule = pipeline.match(services.knowledge, job.vision, job.user_input, audience_of(services, job))
        stored = await store.save_rule(services.db, job.id, rule)
        job = replace(job, rule=rule)
    # At once, with the end of the stage before and the start of the next: it takes less time than an event.
    await services.bus.emit(str(job.id), completed(Stage.VISION), *_both(Stage.RULE), started(Stage.ANSWER))
    await hand_on(services, job, SCAN_ANSWER, stored=stored)


def audience_of(services: Services, job: Job) -> pipeline.Audience:
    return pipeline.Audience.of(services.knowledge, job.language, job.district)


Word = Callable[[Json, Json, Job], Awaitable[Json]]
"""Words the composed answer of a rule for the job."""


async def write_answer(services: Services, job: Job, word: Word) -> None:
    """Stage `answer`, and the reward that follows from it."""
    if job.open:
        assert job.rule is not None, "stage answer before stage rule"
        composed = pipeline.answer(services.knowledge, job.rule, job.user_input, audience_of(services, job))
        answer = await word(job.rule, composed, job)
        reward = pipeline.reward(services.knowledge, job.rule, answer)
        if not await store.complete(services.db, job.id, answer, reward):
            return
        job = replace(job, answer=answer, reward=reward, status="completed")
    await announce(services, job)


async def announce(services: Services, job: Job) -> None:
    """Emit what is left to say about a finished job, and grant its reward before the last event."""
    job_id = str(job.id)
    log.info("scan %s", job.status, extra={"item": job.rule["item_id"] if job.rule else None})
    if job.status == "failed":
        failed = Draft(Stage.DONE, Status.FAILED, 100, result_body(services.knowledge, job), message=job.error or "")
        await services.bus.emit(job_id, failed)
        return
    await grant(services, job)
    done = Draft(Stage.DONE, Status.COMPLETED, 100, result_body(services.knowledge, job))
    await services.bus.emit(job_id, completed(Stage.ANSWER), *_both(Stage.REWARD), done)


async def grant(services: Services, job: Job) -> None:
    """Send the reward of a job to the character domain; sending it twice grants once."""
    if job.reward is None:
        return
    message = Grant(
        job_id=job.id,
        user_id=job.user_id,
        character_code=job.reward["code"],
        source="scan",
        earned_at=datetime.now(UTC),
        photo=_photo(job),
    )
    body = message.model_dump(mode="json")
    await services.publisher.send_json(REWARD_EXCHANGE, REWARD_QUEUE, body, message_id=f"grant-{job.id}")


def _photo(job: Job) -> Photo | None:
    """None for a job whose vision was stored by a version that did not tell photos apart."""
    seen = job.vision or {}
    return Photo(digest=seen["digest"], phash=seen["phash"]) if {"digest", "phash"} <= seen.keys() else None


async def fail(services: Services, job_id: UUID, reason: str) -> None:
    """End the job as failed, unless it has ended already; say so in either case."""
    job = await store.fail(services.db, job_id, reason) or await store.load(services.db, job_id)
    if job is None:
        return
    await announce(services, job)
    await store.announced(services.db, job.id)


# --- reading ----------------------------------------------------------------------------------------------------------


async def find(db: Database, job_id: UUID, user: UUID) -> Job:
    job = await store.load_own(db, job_id, user)
    if job is None:
        raise ResultNotFound
    return job


async def wait_done(services: Services, job_id: UUID, seconds: float) -> None:
    """Return when the job has ended, or after `seconds`."""
    for _ in range(int(seconds / WAIT_SECONDS)):
        frame = await services.bus.state(str(job_id))
        if frame is not None and frame["stage"] == Stage.DONE:
            return
        await asyncio.sleep(WAIT_SECONDS)


def progress_of(job: Job) -> tuple[str, int]:
    """(stage that is running, percent) of an open job."""
    if job.status == "waiting":
        return "upload", 0
    if job.rule is not None:
        return "answer", PROGRESS["rule"]
    if job.vision is not None:
        return "rule", PROGRESS["vision"]
    return "vision" if job.status == "processing" else "queued", 0


def result_body(knowledge: Knowledge, job: Job) -> Json:
    """The result of a finished job as the contract has it."""
    body: Json = {
        "task_id": str(job.id),
        "status": job.status,
        "message": None,
        "error": job.error,
        "pipeline_result": None,
        "reward": None,
        "needs_choice": False,
        "candidates": [],
    }
    if job.status != "completed" or job.rule is None:
        return body
    reward = {name: text for name, text in job.reward.items() if name != "code"} if job.reward else None
    return {
        **body,
        "pipeline_result": {
            "classification_result": pipeline.classification(knowledge, job.rule, job.user_input),
            "disposal_rules": job.rule["disposal_rules"],
            "final_answer": {name: value for name, value in (job.answer or {}).items() if name != "source"},
            "stream": pipeline.stream(knowledge, job.rule),
            "others": job.rule.get("others", []),
        },
        "reward": reward,
        "needs_choice": job.rule["needs_choice"],
        "candidates": job.rule["candidates"] if job.rule["needs_choice"] else [],
    }


async def choose(services: Services, job: Job, minor_category: str) -> Job:
    """Complete an uncertain scan with the item that the user names; the same choice again changes nothing.

    The caller grants the reward after the commit. Should it die between, repeating the choice grants it.
    """
    item = services.knowledge.resolve(minor_category)
    if item is None:
        raise ChoiceUnknown
    if job.status != "completed" or job.rule is None:
        raise ChoiceNotNeeded
    if not job.rule["needs_choice"]:
        if job.rule.get("chosen") == item.id:
            return job
        raise ChoiceNotNeeded
    shows_waste = job.rule.get("waste", True)
    audience = audience_of(services, job)
    chosen_rule = pipeline.rule_of(services.knowledge, item, job.user_input, waste=shows_waste, audience=audience)
    rule = {**chosen_rule, "chosen": item.id, "others": job.rule.get("others", [])}
    answer = pipeline.answer(services.knowledge, rule, job.user_input, audience)
    reward = pipeline.reward(services.knowledge, rule, answer)
    chosen = await store.choose(services.db, job.id, rule, answer, reward)
    if chosen is None:  # somebody was faster: the same person, clicking twice?
        chosen = await find(services.db, job.id, job.user_id)
        if chosen.rule is None or chosen.rule.get("chosen") != item.id:
            raise ChoiceNotNeeded
    return chosen


def checked_model(model: str | None, known: tuple[str, ...]) -> str | None:
    if model is not None and model not in known:
        raise ModelUnsupported(f"{model!r} is not available; use one of {', '.join(known)}, or none.")
    return model
