"""From a request for a scan to its row: limits of the user and of the platform, the photo, the row.

A known idempotency key is answered with its job, regardless of limits.
"""

import hashlib
import time
from uuid import UUID, uuid4

from eco2 import photos
from eco2.contracts import uploads
from eco2.core.postgres import Database
from eco2.scan import service, store
from eco2.scan.door import Door, checked_model
from eco2.scan.errors import ImageGone, ImageUrlRefused, ImageUrlRequired, KeyReused
from eco2.scan.job import Job
from eco2.scan.limits import UNLIMITED, Limits, Standing, full, refusal
from eco2.scan.services import Services


async def submit(
    services: Services,
    door: Door,
    user: UUID,
    idempotency_key: str | None,
    image_url: str | None,
    user_input: str | None,
    model: str | None,
    language: str | None = None,
) -> Job:
    """The user's job for this photo, new or known, and handed over."""
    model = checked_model(model, door.models)
    key = own_image(services, user, image_url)
    async with door.turn(user):
        job = await _known(services, door, user, unique_key(idempotency_key, key, user_input, model, language))
        if job is None or job.status == "aborted":
            await require_object(services, key)
            job = await register(services.db, user, idempotency_key, key, user_input, model, door.limits, language)
    same_photo(job, key)
    if not job.enqueued and job.id not in services.queued_marks:
        door.admission.admitted(user)
        await service.hand_over(services, job)
    return job


async def _known(services: Services, door: Door, user: UUID, unique: str) -> Job | None:
    """The job of this key, asked for where a new one would be refused: then TooMany, if there is none."""
    busy = await door.admission.refusal(user)
    if busy is None and user not in door.refused:
        return None
    found = await store.find_known(services.db, user, unique)
    if isinstance(found, Standing):
        if full(found, door.limits):
            raise refusal(found, door.limits)
        if busy is not None:
            raise busy
        return None
    return found


DUPLICATE_SECONDS = 10
"""A client without idempotency keys that submits the same photo and words twice within this slot gets one job."""


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


def unique_key(idempotency_key: str | None, key: str, *asked: str | None) -> str:
    """One per job of a user; `asked`: what else a different job differs in."""
    if idempotency_key is not None:
        return f"key:{idempotency_key}"
    said = hashlib.sha256(repr(asked).encode()).hexdigest()[:16]
    return f"auto:{key}:{said}:{int(time.time()) // DUPLICATE_SECONDS}"


async def register(
    db: Database,
    user: UUID,
    idempotency_key: str | None,
    key: str,
    user_input: str | None,
    model: str | None,
    limits: Limits = UNLIMITED,
    language: str | None = None,
) -> Job:
    """The user's job for this key, new or known. TooMany where a new one would be past the limits."""
    unique = unique_key(idempotency_key, key, user_input, model, language)
    job = await store.add(db, uuid4(), user, unique, key, user_input, model, limits, language)
    if isinstance(job, Standing):
        standing, job = job, await store.find_known(db, user, unique)  # another process may just have taken the key
        if isinstance(job, Standing):
            raise refusal(standing, limits)
    return same_photo(job, key)


def same_photo(job: Job, key: str) -> Job:
    if job.image_key != key:
        raise KeyReused
    return job
