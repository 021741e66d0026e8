"""Every SQL statement of the scan services."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import case, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from eco2.scan.tables import UNFINISHED, jobs, preferences

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
    language: str | None
    district: str | None
    enqueued: bool

    @property
    def open(self) -> bool:
        return self.status in OPEN


_COLUMNS = [
    *(jobs.c[name] for name in Job.__dataclass_fields__ if name != "enqueued"),
    jobs.c.enqueued_at.is_not(None).label("enqueued"),
]


def _preferred(user: UUID) -> Json:
    """What the user prefers, read by the statement that writes the job."""
    theirs = preferences.c.user_id == user
    columns = (preferences.c.language, preferences.c.district)
    return {column.name: select(column).where(theirs).scalar_subquery() for column in columns}


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
    row: Json = {"id": job_id, "user_id": user, "idempotency_key": idempotency_key, "image_key": image_key}
    row |= {"user_input": user_input, "model": model, "status": "queued"}
    statement = insert(jobs).values({**row, **_preferred(user)})
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
    await tx.execute(insert(jobs).values({**row, **_preferred(user), "status": "waiting"}))


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


# --- what a user has here ---------------------------------------------------------------------------------------------

SHOWN = (*OPEN, "completed", "failed")
"""A job whose photo or message never came is none that the user remembers."""


@dataclass(frozen=True)
class Filter:
    """Which jobs of a user; None leaves a thing open. `items`: of the middle class that is asked for."""

    statuses: Sequence[str] = SHOWN
    stream: str | None = None
    items: Sequence[str] | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Dated:
    job: Job
    created_at: datetime
    finished_at: datetime | None


async def history(
    tx: AsyncConnection, user: UUID, wanted: Filter, after: tuple[datetime, UUID] | None, limit: int, *, newest: bool
) -> list[Dated]:
    """The user's jobs from the newest or the oldest one on, after that of (created at, id)."""
    place = (jobs.c.created_at, jobs.c.id)
    statement = select(*_COLUMNS, jobs.c.created_at, jobs.c.finished_at).where(jobs.c.user_id == user)
    statement = statement.where(*_filtered(wanted)).limit(limit)
    statement = statement.order_by(*(column.desc() if newest else column for column in place))
    if after is not None:
        row, last = tuple_(*place), tuple_(*after)
        statement = statement.where(row < last if newest else row > last)
    return [Dated(Job(*row[:-2]), *row[-2:]) for row in await tx.execute(statement)]


def _filtered(wanted: Filter) -> list[Any]:
    found: list[Any] = [jobs.c.status.in_(wanted.statuses)]
    if wanted.stream is not None:
        found.append(jobs.c.rule["stream_id"].as_string() == wanted.stream)
    if wanted.items is not None:
        found.append(jobs.c.rule["item_id"].as_string().in_(wanted.items))
    if wanted.since is not None:
        found.append(jobs.c.created_at >= wanted.since)
    if wanted.until is not None:
        found.append(jobs.c.created_at < wanted.until)
    return found


async def photos_of(tx: AsyncConnection, user: UUID, limit: int) -> list[tuple[UUID, str]]:
    """(job id, object key) of some of the user's jobs."""
    rows = await tx.execute(select(jobs.c.id, jobs.c.image_key).where(jobs.c.user_id == user).limit(limit))
    return [(job_id, key) for job_id, key in rows]


async def forget_jobs(tx: AsyncConnection, job_ids: Sequence[UUID]) -> None:
    await tx.execute(delete(jobs).where(jobs.c.id.in_(job_ids)))


async def prefer(tx: AsyncConnection, user: UUID, version: int, language: str, district: str | None) -> None:
    """Keep the newest version."""
    statement = insert(preferences).values(user_id=user, version=version, language=language, district=district)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=[preferences.c.user_id],
        set_={"version": new.version, "language": new.language, "district": new.district},
        where=preferences.c.version < new.version,
    )
    await tx.execute(statement)


async def forget_preferences(tx: AsyncConnection, user: UUID) -> int:
    return (await tx.execute(delete(preferences).where(preferences.c.user_id == user))).rowcount
