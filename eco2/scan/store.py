"""Every SQL statement of the scan services."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import case, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eco2.scan.tables import jobs

Json = dict[str, Any]

OPEN = ("queued", "processing")


@dataclass(frozen=True)
class Job:
    """A row of `scan.jobs`; `vision`, `rule`, `answer` are None until their stage is done."""

    id: UUID
    user_id: UUID
    image_key: str
    user_input: str | None
    model: str | None
    status: str
    vision: Json | None
    rule: Json | None
    answer: Json | None
    reward: Json | None
    error: str | None
    enqueued: bool

    @property
    def open(self) -> bool:
        return self.status in OPEN


_COLUMNS = [
    *(jobs.c[name] for name in Job.__dataclass_fields__ if name != "enqueued"),
    jobs.c.enqueued_at.is_not(None).label("enqueued"),
]


async def add(
    tx: AsyncConnection,
    job_id: UUID,
    user: UUID,
    idempotency_key: str | None,
    image_key: str,
    user_input: str | None,
    model: str | None,
) -> Job:
    """Insert a queued job, or return the user's job of the same key; an aborted one is queued again. One statement."""
    row = {"id": job_id, "user_id": user, "idempotency_key": idempotency_key, "image_key": image_key}
    statement = insert(jobs).values({**row, "user_input": user_input, "model": model, "status": "queued"})
    revived = case((jobs.c.status == "aborted", "queued"), else_=jobs.c.status)
    statement = statement.on_conflict_do_update(
        index_elements=[jobs.c.user_id, jobs.c.idempotency_key], set_={"status": revived}
    )
    return Job(*(await tx.execute(statement.returning(*_COLUMNS))).one())


async def enqueued(tx: AsyncConnection, job_id: UUID) -> None:
    """Note that the broker has the job's first message; it may already be further."""
    revived = case((jobs.c.status == "aborted", "queued"), else_=jobs.c.status)
    await tx.execute(update(jobs).where(jobs.c.id == job_id).values(enqueued_at=func.now(), status=revived))


async def abort(tx: AsyncConnection, job_id: UUID) -> None:
    """Mark a job that could not be handed over, unless another request has managed to."""
    found = (jobs.c.id == job_id, jobs.c.enqueued_at.is_(None), jobs.c.status == "queued")
    await tx.execute(update(jobs).where(*found).values(status="aborted"))


async def load(tx: AsyncConnection, job_id: UUID) -> Job | None:
    row = (await tx.execute(select(*_COLUMNS).where(jobs.c.id == job_id))).one_or_none()
    return Job(*row) if row else None


async def load_own(tx: AsyncConnection, job_id: UUID, user: UUID) -> Job | None:
    """The job if it is the user's."""
    row = (await tx.execute(select(*_COLUMNS).where(jobs.c.id == job_id, jobs.c.user_id == user))).one_or_none()
    return Job(*row) if row else None


async def _change(tx: AsyncConnection, job_id: UUID, statuses: tuple[str, ...], values: Json, *also: Any) -> Job | None:
    found = (jobs.c.id == job_id, jobs.c.status.in_(statuses), *also)
    statement = update(jobs).where(*found).values(values).returning(*_COLUMNS)
    row = (await tx.execute(statement)).one_or_none()
    return Job(*row) if row else None


async def save_vision(tx: AsyncConnection, job_id: UUID, vision: Json) -> Job | None:
    """None when the job has ended meanwhile; so do the other saves."""
    return await _change(tx, job_id, (*OPEN, "aborted"), {"vision": vision, "status": "processing"})


async def save_rule(tx: AsyncConnection, job_id: UUID, rule: Json) -> Job | None:
    return await _change(tx, job_id, OPEN, {"rule": rule})


async def complete(tx: AsyncConnection, job_id: UUID, answer: Json, reward: Json | None) -> Job | None:
    values = {"answer": answer, "reward": reward, "status": "completed", "finished_at": func.now()}
    return await _change(tx, job_id, OPEN, values)


async def fail(tx: AsyncConnection, job_id: UUID, error: str) -> Job | None:
    values = {"error": error, "status": "failed", "finished_at": func.now()}
    return await _change(tx, job_id, (*OPEN, "aborted"), values)


async def choose(tx: AsyncConnection, job_id: UUID, rule: Json, answer: Json, reward: Json | None) -> Job | None:
    """Replace the outcome of a job that waits for a choice; None when it does not, so a choice counts once."""
    values = {"rule": rule, "answer": answer, "reward": reward}
    return await _change(tx, job_id, ("completed",), values, jobs.c.rule["needs_choice"].as_boolean())
