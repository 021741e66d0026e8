"""Every SQL statement of runs, schedule and statistics."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from eco2.contracts.facts import FACTS, VERDICTS
from eco2.jobs.tables import UNFINISHED, daily_stats, runs, schedule

LEADER_LOCK = 0x6C656164
RUN_LOCKS = 0x72756E73
"""First half of the locks of runs; the second is a hash of the run's id."""
DISPATCH_ROWS = 100

Json = dict[str, Any]


@dataclass(frozen=True)
class Run:
    id: str
    task: str
    argument: str
    status: str
    attempts: int


_RUN = [runs.c[name] for name in Run.__dataclass_fields__]


# --- runs -------------------------------------------------------------------------------------------------------------


async def add(tx: AsyncConnection, run_id: str, task: str, argument: str) -> bool:
    """False when there is such a run already."""
    statement = insert(runs).values(id=run_id, task=task, argument=argument).on_conflict_do_nothing()
    return (await tx.execute(statement.returning(runs.c.id))).one_or_none() is not None


@asynccontextmanager
async def alone(engine: AsyncEngine, run_id: str) -> AsyncIterator[None]:
    """Waits until no other process has this run in work; a process that dies lets go of it."""
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("SET statement_timeout = 0"))
        lock = (RUN_LOCKS, func.hashtext(run_id))
        await connection.execute(select(func.pg_advisory_lock(*lock)))
        try:
            yield
        finally:
            await connection.invalidate()  # ends the session, and with it the lock, whatever state it is in


async def last_done(tx: AsyncConnection) -> dict[str, datetime]:
    """Task → when a run of it was done last, as far back as runs are kept."""
    done = (
        select(runs.c.task, func.max(runs.c.finished_at).label("at"))
        .where(runs.c.status == "done")
        .group_by(runs.c.task)
    )
    return {row.task: row.at for row in await tx.execute(done)}


async def oldest_waiting(tx: AsyncConnection) -> float:
    """Age in seconds of the oldest run that no worker has begun; 0 without one."""
    age = func.extract("epoch", func.now() - func.min(runs.c.created_at))
    waiting = select(func.coalesce(age, 0)).where(runs.c.status.in_(("due", "sent")))
    return float((await tx.execute(waiting)).scalar_one())


async def claim(tx: AsyncConnection, run_id: str) -> Run | None:
    """The run, now in work and with one attempt more; None when it is done or unknown."""
    values = {"status": "running", "attempts": runs.c.attempts + 1, "started_at": func.now(), "error": None}
    statement = update(runs).where(runs.c.id == run_id, runs.c.status != "done").values(values).returning(*_RUN)
    row = (await tx.execute(statement)).one_or_none()
    return Run(*row) if row else None


async def done(tx: AsyncConnection, run_id: str, result: Mapping[str, object]) -> None:
    values = {"status": "done", "result": dict(result), "finished_at": func.now()}
    await tx.execute(update(runs).where(runs.c.id == run_id).values(values))


async def failed(tx: AsyncConnection, run_id: str, error: str) -> None:
    """A run that is done stays so."""
    values = {"status": "failed", "error": error, "finished_at": func.now()}
    await tx.execute(update(runs).where(runs.c.id == run_id, runs.c.status != "done").values(values))


async def to_send(tx: AsyncConnection, patience: timedelta) -> list[Run]:
    """Runs that no message is under way for: made just now, or without a sign of life for so long that it was lost."""
    silent = func.greatest(runs.c.sent_at, runs.c.started_at) < func.now() - patience
    lost = runs.c.status.in_(("sent", "running")) & silent
    found = select(*_RUN).where(UNFINISHED, or_(runs.c.status == "due", lost))
    return [Run(*row) for row in await tx.execute(found.order_by(runs.c.created_at).limit(DISPATCH_ROWS))]


async def sent(tx: AsyncConnection, run_id: str) -> None:
    """Its worker may be faster than this note."""
    await tx.execute(update(runs).where(runs.c.id == run_id).values(sent_at=func.now()))
    await tx.execute(update(runs).where(runs.c.id == run_id, runs.c.status == "due").values(status="sent"))


async def newest(tx: AsyncConnection, task: str | None, limit: int) -> list[Json]:
    statement = select(runs).order_by(runs.c.created_at.desc()).limit(limit)
    if task is not None:
        statement = statement.where(runs.c.task == task)
    return [dict(row) for row in (await tx.execute(statement)).mappings()]


async def forget_before(tx: AsyncConnection, age: timedelta) -> int:
    """Deletes finished runs older than that; how many there were."""
    finished = runs.c.status.in_(("done", "failed"))
    return (await tx.execute(delete(runs).where(finished, runs.c.created_at < func.now() - age))).rowcount


# --- schedule ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def leading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection | None]:
    """The connection of the one leading scheduler; None while another leads. Who loses it has lost the lead."""
    async with engine.connect() as connection:
        # A leader whose machine is gone holds the lock until the server notices: within a minute, not two hours.
        for option, value in (("idle", 30), ("interval", 10), ("count", 3)):
            await connection.execute(text(f"SET tcp_keepalives_{option} = {value}"))
        ours = await connection.scalar(select(func.pg_try_advisory_lock(LEADER_LOCK)))
        await connection.commit()
        try:
            yield connection if ours else None
        finally:
            if ours:
                await connection.invalidate()  # ends the session, and with it the lock, whatever state it is in


async def now(tx: AsyncConnection) -> datetime:
    """The database's clock: one for all schedulers."""
    found: datetime = (await tx.execute(select(func.clock_timestamp()))).scalar_one()
    return found


async def dealt_with(tx: AsyncConnection) -> dict[str, datetime]:
    """Task → the planned time up to which all is dealt with."""
    return {row.task: row.last for row in await tx.execute(select(schedule.c.task, schedule.c.last))}


async def deal_with(tx: AsyncConnection, task: str, last: datetime) -> None:
    statement = insert(schedule).values(task=task, last=last)
    await tx.execute(statement.on_conflict_do_update(index_elements=[schedule.c.task], set_={"last": last}))


# --- statistics -------------------------------------------------------------------------------------------------------

_GROUPS = [
    FACTS.c.status,
    FACTS.c.seen_by,
    FACTS.c.vision_source,
    FACTS.c.answer_source,
    FACTS.c.stream_id,
    FACTS.c.needs_choice,
    FACTS.c.chosen,
    FACTS.c.reward.is_not(None).label("rewarded"),
]


async def allow_long(tx: AsyncConnection, minutes: int) -> None:
    await tx.execute(text(f"SET LOCAL statement_timeout = '{int(minutes)}min'"))


async def count_scans(tx: AsyncConnection, start: datetime, end: datetime) -> list[Row[*tuple[Any, ...]]]:
    """Numbers of scans of each kind in that time: `_GROUPS` and their `count`, a few hundred rows at most."""
    within = (FACTS.c.created_at >= start, FACTS.c.created_at < end)
    rows = await tx.execute(select(*_GROUPS, func.count().label("count")).where(*within).group_by(*_GROUPS))
    return list(rows)


async def count_users(tx: AsyncConnection, start: datetime, end: datetime) -> int:
    within = (FACTS.c.created_at >= start, FACTS.c.created_at < end)
    users = select(FACTS.c.user_id).where(*within).group_by(FACTS.c.user_id).subquery()  # this form runs in parallel
    return int((await tx.execute(select(func.count()).select_from(users))).scalar_one())


async def count_verdicts(tx: AsyncConnection, start: datetime, end: datetime) -> dict[str, int]:
    """Verdict → how many users gave it last in that time."""
    within = (VERDICTS.c.updated_at >= start, VERDICTS.c.updated_at < end)
    statement = select(VERDICTS.c.verdict, func.count()).where(*within).group_by(VERDICTS.c.verdict)
    return {verdict: count for verdict, count in await tx.execute(statement)}  # noqa: C416 - rows, typed as pairs


async def durations(tx: AsyncConnection, start: datetime, end: datetime) -> tuple[float, float] | None:
    """Seconds from submission to result: median and 95th percentile; None without a finished scan."""
    seconds = func.extract("epoch", FACTS.c.finished_at - FACTS.c.created_at)
    both = func.percentile_cont(text("ARRAY[0.5, 0.95]")).within_group(seconds)
    within = (FACTS.c.created_at >= start, FACTS.c.created_at < end, FACTS.c.status == "completed")
    found = (await tx.execute(select(both).where(*within, FACTS.c.finished_at.is_not(None)))).scalar_one()
    return (float(found[0]), float(found[1])) if found else None


async def replace_day(tx: AsyncConnection, day: date, values: Mapping[tuple[str, str], float]) -> None:
    await tx.execute(delete(daily_stats).where(daily_stats.c.day == day))
    rows = [{"day": day, "metric": m, "label": label, "value": value} for (m, label), value in values.items()]
    await tx.execute(insert(daily_stats), rows)


async def stats(tx: AsyncConnection, first: date, last: date) -> dict[date, dict[str, dict[str, float]]]:
    """Day → metric → label → value, of the days that were computed."""
    columns = (daily_stats.c.day, daily_stats.c.metric, daily_stats.c.label, daily_stats.c.value)
    found: dict[date, dict[str, dict[str, float]]] = {}
    for day, metric, label, value in await tx.execute(select(*columns).where(daily_stats.c.day.between(first, last))):
        found.setdefault(day, {}).setdefault(metric, {})[label] = value
    return found


async def newest_day(tx: AsyncConnection) -> date | None:
    found: date | None = await tx.scalar(select(func.max(daily_stats.c.day)))
    return found
