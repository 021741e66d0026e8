"""Every SQL statement of the scan services."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import case, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from eco2.scan.tables import UNFINISHED, jobs

Json = dict[str, Any]

OPEN = ("queued", "processing")
SWEEP_LOCK = 0x7363616E


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
    """None when the job has ended meanwhile; so do the other saves. The first output stays: later stages rest on it."""
    values = {"vision": vision, "status": "processing"}
    return await _change(tx, job_id, (*OPEN, "aborted"), values, jobs.c.vision.is_(None))


async def save_rule(tx: AsyncConnection, job_id: UUID, rule: Json) -> Job | None:
    return await _change(tx, job_id, OPEN, {"rule": rule}, jobs.c.rule.is_(None))


async def complete(tx: AsyncConnection, job_id: UUID, answer: Json, reward: Json | None) -> Job | None:
    """Marked announced: the message that ends here is acknowledged only after the last event is out."""
    values = {"answer": answer, "reward": reward, "status": "completed"}
    return await _change(tx, job_id, OPEN, {**values, "finished_at": func.now(), "announced_at": func.now()})


async def fail(tx: AsyncConnection, job_id: UUID, error: str) -> Job | None:
    values = {"error": error, "status": "failed", "finished_at": func.now()}
    return await _change(tx, job_id, (*OPEN, "aborted"), values)


async def announced(tx: AsyncConnection, job_id: UUID) -> None:
    await tx.execute(update(jobs).where(jobs.c.id == job_id).values(announced_at=func.now()))


async def add_waiting(
    tx: AsyncConnection, job_id: UUID, user: UUID, image_key: str, user_input: str | None, model: str | None
) -> None:
    """A job whose photo is still to be uploaded."""
    row = {"id": job_id, "user_id": user, "image_key": image_key, "user_input": user_input, "model": model}
    await tx.execute(insert(jobs).values({**row, "status": "waiting"}))


async def uploaded(tx: AsyncConnection, job_id: UUID) -> None:
    """The photo of a waiting (or aborted) job is there; any other job stays as it is."""
    found = (jobs.c.id == job_id, jobs.c.status.in_(("waiting", "aborted")))
    await tx.execute(update(jobs).where(*found).values(status="queued"))


# --- sweeper ----------------------------------------------------------------------------------------------------------

SWEEP_ROWS = 200


@asynccontextmanager
async def sweeping(engine: AsyncEngine) -> AsyncIterator[AsyncConnection | None]:
    """A connection for the one sweeper of the moment; None while another process sweeps."""
    async with engine.connect() as connection:
        ours = await connection.scalar(select(func.pg_try_advisory_lock(SWEEP_LOCK)))
        await connection.commit()
        if not ours:
            yield None
            return
        try:
            yield connection
        finally:
            await connection.execute(select(func.pg_advisory_unlock(SWEEP_LOCK)))
            await connection.commit()


async def _unfinished(tx: AsyncConnection, *found: Any) -> list[Job]:
    statement = select(*_COLUMNS).where(UNFINISHED, *found).order_by(jobs.c.created_at).limit(SWEEP_ROWS)
    return [Job(*row) for row in await tx.execute(statement)]


async def never_queued(tx: AsyncConnection, older: timedelta) -> list[Job]:
    """Committed, but the broker never confirmed: the process died in between."""
    found = (jobs.c.status == "queued", jobs.c.enqueued_at.is_(None), jobs.c.created_at < func.now() - older)
    return await _unfinished(tx, *found)


async def stuck(tx: AsyncConnection, older: timedelta) -> list[Job]:
    """Queued, and then nothing for so long that the message must have been lost."""
    last = func.coalesce(jobs.c.swept_at, jobs.c.enqueued_at)
    return await _unfinished(tx, jobs.c.status.in_(OPEN), last < func.now() - older)


async def swept(tx: AsyncConnection, job_id: UUID) -> None:
    await tx.execute(update(jobs).where(jobs.c.id == job_id).values(swept_at=func.now()))


async def overdue(tx: AsyncConnection, older: timedelta) -> list[Job]:
    """Still open so long after they came that nobody waits any more."""
    return await _unfinished(tx, jobs.c.status.in_(OPEN), jobs.c.created_at < func.now() - older)


async def unannounced(tx: AsyncConnection, older: timedelta) -> list[Job]:
    """Failed, but nobody was told: the process died in between."""
    found = (jobs.c.status == "failed", jobs.c.announced_at.is_(None), jobs.c.finished_at < func.now() - older)
    return await _unfinished(tx, *found)


async def choose(tx: AsyncConnection, job_id: UUID, rule: Json, answer: Json, reward: Json | None) -> Job | None:
    """Replace the outcome of a job that waits for a choice; None when it does not, so a choice counts once."""
    values = {"rule": rule, "answer": answer, "reward": reward}
    return await _change(tx, job_id, ("completed",), values, jobs.c.rule["needs_choice"].as_boolean())
