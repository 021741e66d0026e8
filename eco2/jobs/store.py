"""Every SQL statement of runs, schedule and statistics."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, LiteralString, cast

from psycopg.types.json import Jsonb

from eco2.contracts.facts import FACTS, VERDICTS
from eco2.core.postgres import Database, OneConnection, Session

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


_RUN: LiteralString = "id, task, argument, status, attempts"
_NEWEST: LiteralString = (
    "id, task, argument, status, attempts, error, result, created_at, sent_at, started_at, finished_at"
)


# --- runs -------------------------------------------------------------------------------------------------------------


async def add(db: Session, run_id: str, task: str, argument: str) -> bool:
    """False when there is such a run already."""
    sql: LiteralString = """INSERT INTO jobs.runs (id, task, argument) VALUES (%(id)s, %(task)s, %(argument)s)
        ON CONFLICT DO NOTHING"""
    return await db.run(sql, id=run_id, task=task, argument=argument) > 0


@asynccontextmanager
async def alone(db: Database, run_id: str) -> AsyncIterator[None]:
    """Waits until no other process has this run in work; a process that dies lets go of it."""
    async with db.session() as session:
        try:
            await session.run("SET statement_timeout = 0")
            await session.rows("SELECT pg_advisory_lock(%(locks)s, hashtext(%(id)s))", locks=RUN_LOCKS, id=run_id)
            yield
        finally:
            await session.end_session()


async def last_done(db: Session) -> dict[str, datetime]:
    """Task → when a run of it was done last, as far back as runs are kept."""
    rows = await db.rows("SELECT task, max(finished_at) FROM jobs.runs WHERE status = 'done' GROUP BY task")
    return {task: at for task, at in rows}  # noqa: C416 - rows, typed as pairs


async def oldest_waiting(db: Session) -> float:
    """Age in seconds of the oldest run that no worker has begun; 0 without one."""
    sql: LiteralString = """SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM jobs.runs
        WHERE status IN ('due', 'sent')"""
    row = await db.row(sql)
    return float(row[0]) if row else 0.0


async def claim(db: Session, run_id: str) -> Run | None:
    """The run, now in work and with one attempt more; None when it is done or unknown."""
    row = await db.row(
        f"""UPDATE jobs.runs SET status = 'running', attempts = attempts + 1, started_at = now(), error = NULL
            WHERE id = %(id)s AND status <> 'done' RETURNING {_RUN}""",
        id=run_id,
    )
    return Run(*row) if row else None


async def done(db: Session, run_id: str, result: Mapping[str, object]) -> None:
    sql: LiteralString = (
        "UPDATE jobs.runs SET status = 'done', result = %(result)s, finished_at = now() WHERE id = %(id)s"
    )
    await db.run(sql, id=run_id, result=Jsonb(dict(result)))


async def failed(db: Session, run_id: str, error: str) -> None:
    """A run that is done stays so."""
    sql: LiteralString = """UPDATE jobs.runs SET status = 'failed', error = %(error)s, finished_at = now()
        WHERE id = %(id)s AND status <> 'done'"""
    await db.run(sql, id=run_id, error=error)


async def to_send(db: Session, patience: timedelta) -> list[Run]:
    """Runs that no message is under way for: made just now, or without a sign of life for so long that it was lost."""
    rows = await db.rows(
        f"""SELECT {_RUN} FROM jobs.runs
            WHERE status IN ('due', 'sent', 'running')
                AND (status = 'due' OR greatest(sent_at, started_at) < now() - %(patience)s)
            ORDER BY created_at LIMIT %(most)s""",
        patience=patience,
        most=DISPATCH_ROWS,
    )
    return [Run(*row) for row in rows]


async def sent(db: Session, run_id: str) -> None:
    """Its worker may be faster than this note."""
    sql: LiteralString = """UPDATE jobs.runs SET sent_at = now(),
            status = CASE status WHEN 'due' THEN 'sent' ELSE status END
        WHERE id = %(id)s"""
    await db.run(sql, id=run_id)


async def newest(db: Session, task: str | None, limit: int) -> list[Json]:
    rows = await db.rows(
        f"""SELECT {_NEWEST} FROM jobs.runs WHERE %(task)s::text IS NULL OR task = %(task)s
            ORDER BY created_at DESC LIMIT %(limit)s""",
        task=task,
        limit=limit,
    )
    return [dict(zip(_NEWEST.split(", "), row, strict=True)) for row in rows]


async def forget_before(db: Session, age: timedelta) -> int:
    """Deletes finished runs older than that; how many there were."""
    sql: LiteralString = "DELETE FROM jobs.runs WHERE status IN ('done', 'failed') AND created_at < now() - %(age)s"
    return await db.run(sql, age=age)


# --- schedule ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def leading(db: Database) -> AsyncIterator[OneConnection | None]:
    """The session of the one leading scheduler; None while another leads. Who loses it has lost the lead."""
    async with db.session() as session:
        # A leader whose machine is gone holds the lock until the server notices: within a minute, not two hours.
        await session.run("SET tcp_keepalives_idle = 30")
        await session.run("SET tcp_keepalives_interval = 10")
        await session.run("SET tcp_keepalives_count = 3")
        ours = await session.row("SELECT pg_try_advisory_lock(%(lock)s)", lock=LEADER_LOCK) == (True,)
        try:
            yield session if ours else None
        finally:
            if ours:
                await session.end_session()


async def now(db: Session) -> datetime:
    """The database's clock: one for all schedulers."""
    row = await db.row("SELECT clock_timestamp()")
    assert row is not None
    return cast(datetime, row[0])


async def dealt_with(db: Session) -> dict[str, datetime]:
    """Task → the planned time up to which all is dealt with."""
    return {task: last for task, last in await db.rows("SELECT task, last FROM jobs.schedule")}  # noqa: C416


async def deal_with(db: Session, task: str, last: datetime) -> None:
    sql: LiteralString = """INSERT INTO jobs.schedule (task, last) VALUES (%(task)s, %(last)s)
        ON CONFLICT (task) DO UPDATE SET last = excluded.last"""
    await db.run(sql, task=task, last=last)


# --- statistics -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Scans of one kind, counted; names are None until the stage has ended."""

    status: str
    seen_by: str | None
    vision_source: str | None
    answer_source: str | None
    stream_id: str | None
    needs_choice: bool
    chosen: bool
    rewarded: bool
    count: int


async def allow_long(db: Session, minutes: int) -> None:
    """For the rest of the transaction."""
    await db.rows("SELECT set_config('statement_timeout', %(value)s, true)", value=f"{minutes}min")


async def count_scans(db: Session, start: datetime, end: datetime) -> list[Group]:
    """Numbers of scans of each kind in that time, a few hundred rows at most."""
    rows = await db.rows(
        f"""SELECT status, seen_by, vision_source, answer_source, stream_id, needs_choice, chosen,
               reward IS NOT NULL AS rewarded, count(*)
           FROM {FACTS} WHERE created_at >= %(start)s AND created_at < %(end)s
           GROUP BY status, seen_by, vision_source, answer_source, stream_id, needs_choice, chosen, rewarded""",
        start=start,
        end=end,
    )
    return [Group(*row) for row in rows]


async def count_users(db: Session, start: datetime, end: datetime) -> int:
    row = await db.row(  # grouping runs in parallel, count(DISTINCT …) does not
        f"""SELECT count(*) FROM (
               SELECT user_id FROM {FACTS} WHERE created_at >= %(start)s AND created_at < %(end)s GROUP BY user_id
           ) AS users""",
        start=start,
        end=end,
    )
    return int(row[0]) if row else 0


async def count_verdicts(db: Session, start: datetime, end: datetime) -> dict[str, int]:
    """Verdict → how many users gave it last in that time."""
    rows = await db.rows(
        f"""SELECT verdict, count(*) FROM {VERDICTS}
           WHERE updated_at >= %(start)s AND updated_at < %(end)s GROUP BY verdict""",
        start=start,
        end=end,
    )
    return {verdict: count for verdict, count in rows}  # noqa: C416 - rows, typed as pairs


async def durations(db: Session, start: datetime, end: datetime) -> tuple[float, float] | None:
    """Seconds from submission to result: median and 95th percentile; None without a finished scan."""
    row = await db.row(
        f"""SELECT percentile_cont(ARRAY[0.5, 0.95])
               WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - created_at)::double precision)
           FROM {FACTS}
           WHERE created_at >= %(start)s AND created_at < %(end)s AND status = 'completed'
               AND finished_at IS NOT NULL""",
        start=start,
        end=end,
    )
    found = row[0] if row else None
    return (float(found[0]), float(found[1])) if found else None


async def replace_day(db: Session, day: date, values: Mapping[tuple[str, str], float]) -> None:
    await db.run("DELETE FROM jobs.daily_stats WHERE day = %(day)s", day=day)
    await db.run(
        """INSERT INTO jobs.daily_stats (day, metric, label, value)
           SELECT %(day)s, metric, label, value
           FROM unnest(%(metrics)s::text[], %(labels)s::text[], %(values)s::double precision[])
               AS figures (metric, label, value)""",
        day=day,
        metrics=[metric for metric, _ in values],
        labels=[label for _, label in values],
        values=[float(value) for value in values.values()],
    )


async def stats(db: Session, first: date, last: date) -> dict[date, dict[str, dict[str, float]]]:
    """Day → metric → label → value, of the days that were computed."""
    found: dict[date, dict[str, dict[str, float]]] = {}
    sql: LiteralString = (
        "SELECT day, metric, label, value FROM jobs.daily_stats WHERE day BETWEEN %(first)s AND %(last)s"
    )
    for day, metric, label, value in await db.rows(sql, first=first, last=last):
        found.setdefault(day, {}).setdefault(metric, {})[label] = value
    return found


async def newest_day(db: Session) -> date | None:
    row = await db.row("SELECT max(day) FROM jobs.daily_stats")
    return row[0] if row else None
