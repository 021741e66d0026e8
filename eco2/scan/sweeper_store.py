"""Every SQL statement of the sweeper."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import LiteralString
from uuid import UUID

from eco2.contracts.queues import SCAN_ANSWER, SCAN_RULE, SCAN_VISION
from eco2.core.postgres import Database
from eco2.scan.job import COLUMNS, IS_OPEN, UNFINISHED, Job, job_of

SWEEP_LOCK = 0x7363616E

PAGE = 200

Place = tuple[datetime, UUID]
"""Creation time and id of a row: pages of the oldest rows continue after it."""
START: Place = (datetime.min.replace(tzinfo=UTC), UUID(int=0))

_UNFINISHED: LiteralString = f"SELECT {COLUMNS}, created_at FROM scan.jobs WHERE {UNFINISHED} AND "
_OLDEST_FIRST: LiteralString = """
    AND (created_at, id) > (%(created_at)s, %(id)s) ORDER BY created_at, id LIMIT %(page)s"""


@asynccontextmanager
async def sweeping(db: Database) -> AsyncIterator[bool]:
    """True for the one sweeper of the moment; False while another process sweeps."""
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [SWEEP_LOCK])
        ours = bool((await cursor.fetchone() or (False,))[0])
        try:
            yield ours
        finally:
            if ours and not connection.broken:
                await connection.execute("SELECT pg_advisory_unlock(%s)", [SWEEP_LOCK])


@dataclass(frozen=True)
class Page:
    jobs: list[Job]
    last: Place | None
    """None: there are no more rows behind this page."""


@dataclass(frozen=True)
class Backlog:
    """Scans in the hands of the platform."""

    open: int
    oldest: Mapping[str, float]
    """Step that a scan waits for → seconds since its oldest came to that point."""


async def backlog(db: Database) -> Backlog:
    """Count open jobs, and find the oldest that waits for its message, its end and its announcement."""
    row = await db.row(
        f"""SELECT count(*) FILTER (WHERE {IS_OPEN}),
            min(created_at) FILTER (WHERE status = 'queued' AND enqueued_at IS NULL),
            min(created_at) FILTER (WHERE {IS_OPEN}),
            min(finished_at) FILTER (WHERE status IN ('completed', 'failed')),
            now()
        FROM scan.jobs WHERE {UNFINISHED}"""
    )
    assert row is not None, "an aggregate has a row"
    found, *since, now = row
    steps = ("message", "end", "announcement")
    ages = (0.0 if at is None else (now - at).total_seconds() for at in since)
    return Backlog(found, dict(zip(steps, ages, strict=True)))


async def _unfinished(db: Database, found: LiteralString, older: timedelta, after: Place) -> Page:
    sql = _UNFINISHED + found + _OLDEST_FIRST
    rows = await db.rows(sql, older=older, created_at=after[0], id=after[1], page=PAGE)
    jobs = [job_of(row[:-1]) for row in rows]
    return Page(jobs, (rows[-1][-1], jobs[-1].id) if len(rows) == PAGE else None)


async def never_queued(db: Database, older: timedelta, after: Place = START) -> Page:
    """Committed, but the broker never confirmed: the process died in between."""
    found: LiteralString = "status = 'queued' AND enqueued_at IS NULL AND created_at < now() - %(older)s"
    return await _unfinished(db, found, older, after)


async def overdue(db: Database, older: timedelta, after: Place = START) -> Page:
    """Not ended within the deadline."""
    found: LiteralString = "status IN ('queued', 'processing', 'aborted') AND created_at < now() - %(older)s"
    return await _unfinished(db, found, older, after)


async def unannounced(db: Database, older: timedelta, after: Place = START) -> Page:
    """Completed or failed, but not announced: the process died in between, or the message was lost."""
    found: LiteralString = (
        "status IN ('completed', 'failed') AND announced_at IS NULL AND finished_at < now() - %(older)s"
    )
    return await _unfinished(db, found, older, after)


async def revive_uploaded(db: Database, older: timedelta) -> int:
    """Queue again the aborted jobs of the waste flow, whose users follow a job that they know; how many there were.

    An aborted job of `/scan` is left to its client, who was told to try again and got no job."""
    rows = await db.rows(
        f"""UPDATE scan.jobs SET status = 'queued'
            WHERE {UNFINISHED} AND status = 'aborted' AND idempotency_key IS NULL AND created_at < now() - %(older)s
            RETURNING id""",
        older=older,
    )
    return len(rows)


async def forget_unused(db: Database, older: timedelta) -> int:
    """Delete jobs whose photo or message never came; how many there were, of a thousand at most."""
    rows = await db.rows(
        f"""DELETE FROM scan.jobs WHERE status IN ('waiting', 'aborted') AND id IN (
                SELECT id FROM scan.jobs
                WHERE {UNFINISHED} AND status IN ('waiting', 'aborted') AND created_at < now() - %(older)s
                ORDER BY created_at LIMIT 1000)
            RETURNING id""",
        older=older,
    )
    return len(rows)


# --- lost messages ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Silent:
    """An open job of which nothing was heard since `since`; `queue`: of the stage that it waits for or is in."""

    id: UUID
    queue: str
    since: datetime
    long: bool
    """Longer than a job may be silent that no queue holds."""


_QUEUED: LiteralString = f"{UNFINISHED} AND {IS_OPEN} AND enqueued_at IS NOT NULL"
_QUEUE: LiteralString = f"""
    CASE WHEN vision IS NULL THEN '{SCAN_VISION}' WHEN rule IS NULL THEN '{SCAN_RULE}' ELSE '{SCAN_ANSWER}' END"""
_SINCE: LiteralString = "coalesce(marked_at, greatest(enqueued_at, moved_at, swept_at))"


async def silent(db: Database, suspicious: timedelta, longest: timedelta) -> list[Silent]:
    """Jobs that have been silent for `suspicious`, the most silent ones first."""
    rows = await db.rows(
        f"""SELECT id, {_QUEUE}, {_SINCE} AS since, {_SINCE} < now() - %(longest)s FROM scan.jobs
            WHERE {_QUEUED} AND {_SINCE} < now() - %(suspicious)s
            ORDER BY since LIMIT 1000""",
        suspicious=suspicious,
        longest=longest,
    )
    return [Silent(*row) for row in rows]


async def in_queues(db: Database, longest: timedelta, settled: timedelta) -> Mapping[str, int]:
    """Queue → jobs that it holds unless they are lost: no worker has said within `longest` that it works on them.

    Those that came within `settled` are left out: the queue may have been asked before."""
    rows = await db.rows(
        f"""SELECT {_QUEUE}, count(*) FROM scan.jobs
            WHERE {_QUEUED} AND coalesce(marked_at < now() - %(longest)s, true) AND {_SINCE} < now() - %(settled)s
            GROUP BY 1""",
        longest=longest,
        settled=settled,
    )
    return dict(rows)


async def swept(db: Database, job_id: UUID) -> None:
    """Note that the message of the job was sent again."""
    await db.rows("UPDATE scan.jobs SET swept_at = now(), marked_at = NULL WHERE id = %(id)s", id=job_id)
