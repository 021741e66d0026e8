"""SQL for a user's list, choice, preferences and deletion of scans."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from eco2.core.postgres import Database
from eco2.scan.job import COLUMNS, OPEN, Job, job_of, job_or_none
from eco2.scan.outputs import Answer, Reward, Rule
from eco2.scan.store import stored_form


async def choose(db: Database, job_id: UUID, rule: Rule, answer: Answer, reward: Reward | None) -> Job | None:
    """Replace the outcome of a job that waits for a choice; None when it does not, so a choice counts once.

    Its reward is still to be granted, so the job is no longer announced."""
    row = await db.row(
        f"""UPDATE scan.jobs SET rule = %(rule)s, answer = %(answer)s, reward = %(reward)s, announced_at = NULL
            WHERE id = %(id)s AND status = 'completed' AND jobs.needs_choice
            RETURNING {COLUMNS}""",
        id=job_id,
        rule=stored_form(rule),
        answer=stored_form(answer),
        reward=stored_form(reward) if reward else None,
    )
    return job_or_none(row)


SHOWN = (*OPEN, "completed", "failed")
"""A job whose photo or message never came is none that the user remembers."""


@dataclass(frozen=True)
class Filter:
    """Filter of a user's jobs; None leaves a thing open. `items`: of the middle class that is asked for."""

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


_HISTORY: LiteralString = f"""SELECT {COLUMNS}, created_at, finished_at FROM scan.jobs
    WHERE user_id = %(user)s AND status = ANY(%(statuses)s)"""


async def history(
    db: Database, user: UUID, wanted: Filter, after: tuple[datetime, UUID] | None, limit: int, *, newest: bool
) -> list[Dated]:
    """The user's jobs from the newest or the oldest one on, after that of (created at, id)."""
    sql = _HISTORY
    if wanted.stream is not None:
        sql += " AND stream_id = %(stream)s"
    if wanted.items is not None:
        sql += " AND item_id = ANY(%(items)s)"
    if wanted.since is not None:
        sql += " AND created_at >= %(since)s"
    if wanted.until is not None:
        sql += " AND created_at < %(until)s"
    if after is not None:
        sql += " AND (created_at, id) < (%(at)s, %(id)s)" if newest else " AND (created_at, id) > (%(at)s, %(id)s)"
    sql += " ORDER BY created_at DESC, id DESC" if newest else " ORDER BY created_at, id"
    at, job_id = after or (None, None)
    rows = await db.rows(
        sql + " LIMIT %(limit)s",
        user=user,
        statuses=list(wanted.statuses),
        stream=wanted.stream,
        items=list(wanted.items or ()),
        since=wanted.since,
        until=wanted.until,
        at=at,
        id=job_id,
        limit=limit,
    )
    return [Dated(job_of(row[:-2]), *row[-2:]) for row in rows]


async def forget_jobs(db: Database, job_ids: Sequence[UUID]) -> None:
    await db.rows("DELETE FROM scan.jobs WHERE id = ANY(%(ids)s)", ids=list(job_ids))


async def forget_job(db: Database, job_id: UUID, user: UUID) -> str | None:
    """Key of the photo that the job showed at its end; None when the user has no such job."""
    sql: LiteralString = "DELETE FROM scan.jobs WHERE id = %(id)s AND user_id = %(user)s RETURNING image_key"
    row = await db.row(sql, id=job_id, user=user)
    return row[0] if row else None


async def prefer(db: Database, user: UUID, version: int, language: str, district: str | None) -> None:
    """Keep the newest version."""
    await db.rows(
        """INSERT INTO scan.preferences AS known (user_id, version, language, district)
           VALUES (%(user)s, %(version)s, %(language)s, %(district)s)
           ON CONFLICT (user_id) DO UPDATE
           SET version = excluded.version, language = excluded.language, district = excluded.district
           WHERE known.version < excluded.version""",
        user=user,
        version=version,
        language=language,
        district=district,
    )


async def forget_user(db: Database, user: UUID) -> int:
    """Remove preferences and the count of the day; returns how many rows were removed."""
    sql: LiteralString = """WITH preferred AS (DELETE FROM scan.preferences WHERE user_id = %(user)s RETURNING user_id),
                                 used AS (DELETE FROM scan.usage WHERE user_id = %(user)s RETURNING user_id)
                            SELECT user_id FROM preferred UNION ALL SELECT user_id FROM used"""
    return len(await db.rows(sql, user=user))
