"""The waste flow: a job before its photo, the upload that starts it, and its status for polling."""

import logging
import time
from collections.abc import Mapping
from uuid import UUID, uuid4

from redis.exceptions import RedisError

from eco2 import photos
from eco2.contracts import uploads
from eco2.contracts.events import Stage
from eco2.scan import waste_store
from eco2.scan.door import Door, checked_model
from eco2.scan.job import Job
from eco2.scan.limits import UNLIMITED, Limits, Standing, TooManyTickets, refusal
from eco2.scan.outputs import Json
from eco2.scan.progress import progress_of, stage_text
from eco2.scan.result import result_of
from eco2.scan.service import find
from eco2.scan.services import Services
from eco2.scan.submission import require_object

log = logging.getLogger(__name__)

SILENT_SECONDS = 5.0


async def prepare(
    services: Services,
    user: UUID,
    content_type: str,
    user_input: str | None,
    model: str | None,
    most_per_minute: int,
) -> tuple[UUID, str]:
    """(job id, object key) of a job whose photo is still to come. TooManyTickets past `most_per_minute`."""
    extension = photos.extension(photos.photo_type(content_type))
    job_id, key = uuid4(), uploads.new_key(services.upload_secret, str(user), "scan", extension)
    if wait := await waste_store.add_waiting(services.db, job_id, user, key, user_input, model, most_per_minute):
        raise TooManyTickets(retry_after=wait)
    return job_id, key


async def open_events(services: Services, job_id: UUID, user: UUID) -> None:
    """Let the user poll before anything has happened. Not needed for the job to work."""
    try:
        await services.bus.open(str(job_id), str(user))
    except (RedisError, OSError) as error:
        log.warning("events could not be opened: %r", error, extra={"job_id": str(job_id)})


async def accept_upload(services: Services, job_id: UUID, user: UUID, limits: Limits = UNLIMITED) -> Job:
    """The job, queued when its photo is there. One that runs or is over already stays as it is.

    TooMany past the limits; then the job keeps waiting."""
    job = await find(services.db, job_id, user)
    if job.status in ("waiting", "aborted"):
        await require_object(services, job.image_key)
        queued = await waste_store.uploaded(services.db, job_id, user, limits)
        if isinstance(queued, Standing):
            raise refusal(queued, limits)
        job = queued or await find(services.db, job_id, user)
    return job


async def status(services: Services, job_id: UUID, user: UUID) -> Json:
    """`{job_id, progress, message, result}`: of an open job from its newest event.

    Its row is read where events are silent, and then again every SILENT_SECONDS: they may be lost, and it over."""
    owner, frame = await services.bus.standing(str(job_id))
    if owner != str(user) or frame is None or frame["stage"] == Stage.DONE:
        return _row_status(services, await find(services.db, job_id, user))
    seen, silent = services.polled.get(job_id), _silent(frame)
    if seen is None or (silent and time.monotonic() - seen.at > SILENT_SECONDS):
        job = await find(services.db, job_id, user)
        if job.status in ("completed", "failed"):
            services.polled.forget(job_id)
            return _row_status(services, job)
        seen = services.polled.note(job)
    told, known = (str(frame["stage"]), int(str(frame["progress"]))), (seen.stage, seen.percent)
    first, second = (known, told) if silent else (told, known)
    stage, percent = second if second[1] > first[1] else first  # a lost event must not turn progress back
    message = stage_text(stage, seen.language)
    return {"job_id": str(job_id), "progress": percent, "message": message, "result": None}


async def stage_of(services: Services, job: Job) -> tuple[str, int]:
    """(stage that is running, percent) of an open job, as `status` tells it."""
    try:
        frame = await services.bus.state(str(job.id))
    except (RedisError, OSError):
        frame = None
    if frame is None or frame["stage"] == Stage.DONE or _silent(frame):
        return progress_of(job)
    return str(frame["stage"]), int(str(frame["progress"]))


def _silent(frame: Mapping[str, object]) -> bool:
    """True when later events may be lost: the row tells whether the job is over."""
    return time.time() - float(str(frame["ts"])) > SILENT_SECONDS


def _row_status(services: Services, job: Job) -> Json:
    """Of a job that has ended the result is that of `/scan`, and `progress` is -1 where it failed."""
    if job.status in ("completed", "failed"):
        result = result_of(services.knowledge, job)
        progress = -1 if result.outcome == "failed" else 100
        message = result.error or stage_text("done", job.language)
        return {"job_id": str(job.id), "progress": progress, "message": message, "result": result.body()}
    stage, percent = progress_of(job)
    return {"job_id": str(job.id), "progress": percent, "message": stage_text(stage, job.language), "result": None}


async def prepare_in_turn(
    services: Services, door: Door, user: UUID, content_type: str, user_input: str | None, model: str | None
) -> tuple[UUID, str]:
    """(job id, object key) of a new job of the waste flow."""
    model = checked_model(model, door.models)
    async with door.turn(user):
        if busy := await door.admission.refusal(user):
            raise busy
        prepared = await prepare(services, user, content_type, user_input, model, door.tickets_per_minute)
    await open_events(services, prepared[0], user)
    return prepared


async def accept_upload_in_turn(services: Services, door: Door, job_id: UUID, user: UUID) -> Job:
    async with door.turn(user):
        return await accept_upload(services, job_id, user, door.limits)
