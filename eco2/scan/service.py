"""Scans: hand a job over, run its stages, tell how far it is, take the user's choice.

Every step is stored before anything that follows from it leaves the process, and every step can be repeated: a message
delivered twice finds its output stored, emits the same events (the bus drops repeats) and hands over again.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from eco2.contracts import uploads
from eco2.contracts.events import Draft, Stage, Status
from eco2.contracts.grants import Grant
from eco2.contracts.queues import REWARD_EXCHANGE, REWARD_QUEUE, SCAN_ANSWER, SCAN_EXCHANGE, SCAN_RULE, SCAN_VISION
from eco2.core import photos
from eco2.core.bus import EventBus
from eco2.core.errors import BadRequest, Conflict, NotFound, Unavailable
from eco2.core.queue import BrokerDown, Publisher
from eco2.core.storage import Storage
from eco2.knowledge import Knowledge
from eco2.scan import pipeline, store
from eco2.scan.pipeline import ImageGone
from eco2.scan.store import Job, Json

log = logging.getLogger(__name__)

PROGRESS = {"queued": 0, "vision": 25, "rule": 50, "answer": 75, "reward": 100}
"""Progress when the stage is completed; when it starts, that of the stage before."""


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
    """No item of this name; take one of the candidates or a name from the catalogue."""

    code = "UNKNOWN_CATEGORY"


@dataclass(frozen=True)
class Services:
    """What the functions below work with; the worker's stages have the vision model besides."""

    engine: AsyncEngine
    storage: Storage
    bus: EventBus
    publisher: Publisher
    knowledge: Knowledge
    upload_secret: str


async def own_image(services: Services, user: UUID, image_url: str | None) -> str:
    """The object key of the user's own uploaded photo that `image_url` names."""
    if not image_url:
        raise ImageUrlRequired
    key = services.storage.key_of(image_url)
    if key is None or uploads.key_channel(key) != "scan":
        raise ImageUrlRefused
    if not uploads.owns(services.upload_secret, str(user), key):
        raise ImageGone
    info = await services.storage.head(key)
    if info is None:
        raise ImageGone
    if info.size > photos.MAX_BYTES:
        await services.storage.delete(key)
        raise photos.PhotoTooLarge
    return key


async def register(
    tx: AsyncConnection, user: UUID, idempotency_key: str | None, key: str, user_input: str | None, model: str | None
) -> Job:
    """The user's job for this key, new or known."""
    job = await store.add(tx, uuid4(), user, idempotency_key, key, user_input, model)
    if job.image_key != key:
        raise KeyReused
    return job


async def hand_over(services: Services, job: Job) -> None:
    """Queue the job. Without the broker's confirm the row is aborted, and the same idempotency key revives it."""
    job_id = str(job.id)
    try:
        await services.bus.open(job_id, str(job.user_id))
        await services.bus.emit(job_id, *_both(Stage.QUEUED))
        await services.publisher.send_task(SCAN_EXCHANGE, SCAN_VISION, SCAN_VISION, job_id)
    except (BrokerDown, RedisError, OSError) as error:
        log.warning("job could not be queued: %r", error, extra={"job_id": job_id})
        async with services.engine.begin() as tx:
            await store.abort(tx, job.id)
        raise ScanUnavailable from error
    async with services.engine.begin() as tx:
        await store.enqueued(tx, job.id)


def _both(stage: Stage) -> tuple[Draft, Draft]:
    return started(stage), completed(stage)


def started(stage: Stage) -> Draft:
    before = max(0, PROGRESS[stage] - 25)
    return Draft(stage, Status.STARTED, before)


def completed(stage: Stage) -> Draft:
    return Draft(stage, Status.COMPLETED, PROGRESS[stage])


# --- stages -----------------------------------------------------------------------------------------------------------


async def after_vision(services: Services, job: Job) -> None:
    await services.bus.emit(str(job.id), completed(Stage.VISION))
    await services.publisher.send_task(SCAN_EXCHANGE, SCAN_RULE, SCAN_RULE, str(job.id))


async def match_rule(services: Services, job: Job) -> None:
    """Stage `rule`."""
    job_id = str(job.id)
    if job.rule is None:
        assert job.vision is not None, "stage rule before stage vision"
        await services.bus.emit(job_id, started(Stage.RULE))
        rule = pipeline.match(services.knowledge, job.vision, job.user_input)
        async with services.engine.begin() as tx:
            await store.save_rule(tx, job.id, rule)
    await services.bus.emit(job_id, completed(Stage.RULE))
    await services.publisher.send_task(SCAN_EXCHANGE, SCAN_ANSWER, SCAN_ANSWER, job_id)


async def write_answer(services: Services, job: Job) -> None:
    """Stage `answer`, and the reward that follows from it."""
    if job.open:
        assert job.rule is not None, "stage answer before stage rule"
        await services.bus.emit(str(job.id), started(Stage.ANSWER))
        answer = pipeline.answer(services.knowledge, job.rule, job.user_input)
        reward = pipeline.reward(services.knowledge, job.rule, answer)
        async with services.engine.begin() as tx:
            done = await store.complete(tx, job.id, answer, reward)
        if done is None:
            return
        job = done
    await announce(services, job)


async def announce(services: Services, job: Job) -> None:
    """Emit what is left to say about a finished job, and grant its reward before the last event."""
    job_id = str(job.id)
    if job.status == "failed":
        failed = Draft(Stage.DONE, Status.FAILED, 100, result_body(services.knowledge, job), message=job.error or "")
        await services.bus.emit(job_id, failed)
        return
    await services.bus.emit(job_id, completed(Stage.ANSWER), started(Stage.REWARD))
    await grant(services, job)
    done = Draft(Stage.DONE, Status.COMPLETED, 100, result_body(services.knowledge, job))
    await services.bus.emit(job_id, completed(Stage.REWARD), done)


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
    )
    body = message.model_dump(mode="json")
    await services.publisher.send_json(REWARD_EXCHANGE, REWARD_QUEUE, body, message_id=f"grant-{job.id}")


async def fail(services: Services, job_id: UUID, reason: str) -> None:
    """End the job as failed, unless it has ended already; say so in either case."""
    async with services.engine.begin() as tx:
        job = await store.fail(tx, job_id, reason) or await store.load(tx, job_id)
    if job is not None:
        await announce(services, job)


# --- reading ----------------------------------------------------------------------------------------------------------


async def find(tx: AsyncConnection, job_id: UUID, user: UUID) -> Job:
    job = await store.load_own(tx, job_id, user)
    if job is None:
        raise ResultNotFound
    return job


def progress(job: Job) -> tuple[str, int]:
    """(stage that is running, percent) of an open job."""
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
            "final_answer": job.answer,
            "stream": pipeline.stream(knowledge, job.rule),
        },
        "reward": reward,
        "needs_choice": job.rule["needs_choice"],
        "candidates": job.rule["candidates"] if job.rule["needs_choice"] else [],
    }


async def choose(services: Services, tx: AsyncConnection, job: Job, minor_category: str) -> Job:
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
    rule = {**pipeline.rule_of(services.knowledge, item, job.user_input), "chosen": item.id}
    answer = pipeline.answer(services.knowledge, rule, job.user_input)
    reward = pipeline.reward(services.knowledge, rule, answer)
    chosen = await store.choose(tx, job.id, rule, answer, reward)
    if chosen is None:
        raise ChoiceNotNeeded
    return chosen


def checked_model(model: str | None, known: tuple[str, ...]) -> str | None:
    if model is not None and model not in known:
        raise ModelUnsupported(f"{model!r} is not available; use one of {', '.join(known)}, or none.")
    return model
