"""States of jobs, for callers that ask or wait."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from redis.exceptions import RedisError

from eco2.contracts.events import Draft
from eco2.scan import state_store
from eco2.scan.job import Job
from eco2.scan.outputs import NewerForm
from eco2.scan.result import done_event
from eco2.scan.services import Services

log = logging.getLogger(__name__)

EVENTS_TAKE = timedelta(seconds=2)
"""Far longer than the last events of a job are on their way to its streams."""


async def states(services: Services, job_ids: Sequence[UUID]) -> list[tuple[Job, Draft | None]]:
    """Jobs with the terminal event of each that is over; None also while its events may still be on their way."""
    found = await state_store.states(services.db, job_ids, EVENTS_TAKE)
    told = {job.id for job, over in found if over and not isinstance(job.unread, NewerForm)}
    return [(job, done_event(services.knowledge, job) if job.id in told else None) for job, _ in found]


async def wait_done(services: Services, job_id: UUID, seconds: float) -> None:
    """Return when the job has ended, or after `seconds`; at once when Redis is away."""
    try:
        async with asyncio.timeout(seconds):
            await services.bus.wait_ended(str(job_id))
    except TimeoutError:
        return
    except (RedisError, OSError) as error:
        log.warning("the end of a job cannot be waited for: %r", error, extra={"job_id": str(job_id)})
