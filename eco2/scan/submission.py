"""From a request for a scan to its row: what the user may still have, what the platform can take, the photo, the row.

A known idempotency key is answered with its job whatever the limits say.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from eco2.core.errors import TooMany
from eco2.core.turns import AtOnce, Recent, Turns
from eco2.messaging.broker import Publisher
from eco2.scan import service, store, waste_flow
from eco2.scan.admission import Admission
from eco2.scan.limits import Limits, Standing, full, refusal
from eco2.scan.service import Services
from eco2.scan.store import Job

MOST_WAITING = 100
"""Requests of one user that wait for their turn; a turn takes some milliseconds."""
REFUSED_SECONDS = 5.0
"""Time for which a user who was refused is asked for first, before the photo is looked for."""


@dataclass(frozen=True)
class Door:
    """Checks that a new job has to pass. One per process."""

    admission: Admission
    limits: Limits
    models: tuple[str, ...]
    tickets_per_minute: int
    turns: Turns = field(default_factory=lambda: Turns(MOST_WAITING))
    refused: Recent = field(default_factory=lambda: Recent(REFUSED_SECONDS))

    waits: AtOnce = field(init=False)
    """Requests that stay until their scan has ended."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "waits", AtOnce(self.limits.open_jobs))

    @asynccontextmanager
    async def turn(self, user: UUID) -> AsyncIterator[None]:
        """The user's turn; remembers a refusal."""
        async with self.turns.turn(user):
            try:
                yield
            except TooMany:
                self.refused.add(user)
                raise


@dataclass(frozen=True)
class ApiServices(Services):
    """Dependencies of scan-api."""

    tasks_publisher: Publisher
    door: Door


async def submit(
    services: Services,
    door: Door,
    user: UUID,
    idempotency_key: str | None,
    image_url: str | None,
    user_input: str | None,
    model: str | None,
) -> Job:
    """The user's job for this photo, new or known, and handed over."""
    model = service.checked_model(model, door.models)
    key = service.own_image(services, user, image_url)
    async with door.turn(user):
        job = await _known(services, door, user, service.unique_key(idempotency_key, key, user_input, model))
        if job is None or job.status == "aborted":
            await service.require_object(services, key)
            job = await service.register(services.db, user, idempotency_key, key, user_input, model, door.limits)
    service.same_photo(job, key)
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


async def prepare(
    services: Services, door: Door, user: UUID, content_type: str, user_input: str | None, model: str | None
) -> tuple[UUID, str]:
    """(job id, object key) of a new job of the waste flow."""
    model = service.checked_model(model, door.models)
    async with door.turn(user):
        if busy := await door.admission.refusal(user):
            raise busy
        prepared = await waste_flow.prepare(services, user, content_type, user_input, model, door.tickets_per_minute)
    await waste_flow.open_events(services, prepared[0], user)
    return prepared


async def accept_upload(services: Services, door: Door, job_id: UUID, user: UUID) -> Job:
    async with door.turn(user):
        return await waste_flow.accept_upload(services, job_id, user, door.limits)
