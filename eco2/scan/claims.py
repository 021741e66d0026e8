"""Scans of a guest who has signed in: jobs, feedback, events and photos become the user's.

After a crash the next call continues. The events go first: in between the result cannot be read, and then
both are the user's. A running job continues; its photo gets its new key at the end.
"""

import logging
from uuid import UUID

from eco2.photos.reissue import reissue
from eco2.scan import claim_store, deletion, user_scans_store
from eco2.scan.services import Services

log = logging.getLogger(__name__)

PAGE = 100


async def claim(services: Services, guest: UUID, user: UUID) -> int:
    """Number of jobs that became the user's. RedisError, StorageDown: the next call claims the rest."""
    await user_scans_store.forget_user(services.db, guest)
    claimed = 0
    while jobs := await claim_store.jobs_of(services.db, guest, PAGE):
        for job_id in jobs:
            await services.bus.give(str(job_id), str(user))
        claimed += await claim_store.give(services.db, jobs, guest, user)
    await claim_store.give_feedback(services.db, guest, user)
    for job_id, key in await claim_store.ended_photos(services.db, user):
        await _reissue(services, user, job_id, key)
    if claimed:
        log.info("scans of a guest are claimed", extra={"guest": str(guest), "user": str(user), "jobs": claimed})
    return claimed


async def _reissue(services: Services, user: UUID, job_id: UUID, key: str) -> None:
    new = await reissue(services.storage, services.upload_secret, user, key)
    if new == key:
        return
    if not await claim_store.rekey(services.db, job_id, user, key, new):
        await deletion.drop_unwanted(services, new)  # the scan was deleted meanwhile
    await deletion.drop_unwanted(services, key)
