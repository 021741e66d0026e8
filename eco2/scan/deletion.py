"""Deletion of a scan by its user: the job, its feedback, its events, and its photo unless another job shows it.

A running job ends with it: a later result of a worker changes no row, grants nothing and is not announced.
"""

import logging
from dataclasses import replace
from uuid import UUID

from redis.exceptions import RedisError

from eco2.core.storage import StorageDown
from eco2.scan import photo_store, service, user_scans_store
from eco2.scan.errors import ResultNotFound
from eco2.scan.failures import Deleted
from eco2.scan.job import Job
from eco2.scan.services import Services

log = logging.getLogger(__name__)


async def delete(services: Services, job_id: UUID, user: UUID) -> None:
    """ResultNotFound. StorageDown, with nothing deleted: the photo goes first, so that no row is left without it."""
    job = await service.find(services.db, job_id, user)
    if not await photo_store.shown_by_another(services.db, job):
        await services.storage.delete([job.image_key])
    last_key = await user_scans_store.forget_job(services.db, job_id, user)
    if last_key is None:
        raise ResultNotFound  # deleted by another request meanwhile
    await _forget_events(services, job)
    try:
        # Published in between by the job's own worker, or spared for another job that was deleted at the same time.
        for key in {job.image_key, last_key}:  # another one where a guest's scans were just claimed
            await drop_unwanted(services, key)
    except StorageDown:
        log.warning("photo of a deleted scan may be left until the next cleanup", extra={"job_id": str(job_id)})


async def drop_unwanted(services: Services, key: str) -> None:
    """Delete the photo where no job shows it: its job was deleted, or its owner left, while it was published."""
    if not await photo_store.shown(services.db, key):
        await services.storage.delete([key])


async def _forget_events(services: Services, job: Job) -> None:
    """Tell followers of an open job that it is over; the events of a finished one hold its result, so they go."""
    try:
        if job.status in ("completed", "failed"):
            await services.bus.forget(str(job.id))
        else:
            why = Deleted()
            text = why.english if job.language == "en" else why.message
            await service.announce(services, replace(job, status="failed", error=text, error_code=why.code))
    except (RedisError, OSError) as error:
        log.warning("events of a deleted scan end by themselves: %r", error, extra={"job_id": str(job.id)})
