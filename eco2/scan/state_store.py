"""SQL for views of jobs from outside the pipeline: states and times, and the mark of jobs in work."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from eco2.core.postgres import Database
from eco2.scan.job import COLUMNS, IS_OPEN, Job, job_of

TIMES = ("created_at", "enqueued_at", "finished_at", "announced_at", "moved_at", "marked_at", "swept_at")

_TIMES: LiteralString = ", ".join(f"jobs.{name}" for name in TIMES)


async def load_with_times(db: Database, job_id: UUID) -> tuple[Job, dict[str, datetime | None]] | None:
    row = await db.row(f"SELECT {_TIMES}, {COLUMNS} FROM scan.jobs WHERE id = %(id)s", id=job_id)
    return (job_of(row[len(TIMES) :]), dict(zip(TIMES, row, strict=False))) if row else None


async def states(db: Database, job_ids: Sequence[UUID], quiet: timedelta) -> list[tuple[Job, bool]]:
    """The jobs of these ids; True for one that ended at least `quiet` ago."""
    rows = await db.rows(
        f"""SELECT {COLUMNS}, coalesce(finished_at < now() - %(quiet)s, false) FROM scan.jobs
            WHERE id = ANY(%(ids)s)""",
        ids=list(job_ids),
        quiet=quiet,
    )
    return [(job_of(row[:-1]), row[-1]) for row in rows]


async def in_work(db: Database, job_ids: Sequence[UUID]) -> None:
    """Mark jobs that a worker works on now."""
    await db.rows(
        f"UPDATE scan.jobs SET marked_at = now() WHERE id = ANY(%(ids)s) AND {IS_OPEN}",
        ids=list(job_ids),
    )
