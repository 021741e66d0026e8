"""Every SQL statement about guests: their open jobs, and the change of owner."""

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from eco2.contracts.identity import GUEST_VERSION
from eco2.core.postgres import Database
from eco2.scan.job import IS_OPEN, UNFINISHED

_LATELY: LiteralString = "created_at > now() - interval '7 days'"
"""Age beyond which no guest's jobs are still to be claimed."""


async def open_jobs_of_guests(db: Database) -> int:
    """Of all of them; the index of unfinished jobs holds little more than the backlog."""
    row = await db.row(
        f"""SELECT count(*) FROM scan.jobs
            WHERE {UNFINISHED} AND {IS_OPEN} AND substr(user_id::text, 15, 1) = %(version)s""",
        version=str(GUEST_VERSION),
    )
    return int(row[0]) if row else 0


async def jobs_of(db: Database, guest: UUID, limit: int) -> list[UUID]:
    sql: LiteralString = "SELECT id FROM scan.jobs WHERE user_id = %(guest)s LIMIT %(limit)s"
    return [job_id for (job_id,) in await db.rows(sql, guest=guest, limit=limit)]


async def give(db: Database, jobs: Sequence[UUID], guest: UUID, user: UUID) -> int:
    """Make these jobs of the guest the user's. A key that the user has used as well is none for a job of the guest."""
    rows = await db.rows(
        """UPDATE scan.jobs AS job
           SET user_id = %(user)s, idempotency_key = CASE WHEN NOT EXISTS (
               SELECT FROM scan.jobs AS own
               WHERE own.user_id = %(user)s AND own.idempotency_key = job.idempotency_key)
               THEN job.idempotency_key END
           WHERE id = ANY(%(jobs)s) AND user_id = %(guest)s RETURNING id""",
        jobs=list(jobs),
        guest=guest,
        user=user,
    )
    return len(rows)


async def give_feedback(db: Database, guest: UUID, user: UUID) -> None:
    await db.rows(
        f"""UPDATE scan.feedback AS said SET user_id = %(user)s
            WHERE user_id = %(guest)s
            AND job_id IN (SELECT id FROM scan.jobs WHERE user_id = %(user)s AND {_LATELY})
            AND NOT EXISTS (
                SELECT FROM scan.feedback AS own WHERE own.job_id = said.job_id AND own.user_id = %(user)s)""",
        guest=guest,
        user=user,
    )


async def ended_photos(db: Database, user: UUID) -> list[tuple[UUID, str]]:
    """(job id, object key) of the user's jobs that have ended lately."""
    rows = await db.rows(
        f"""SELECT id, image_key FROM scan.jobs
            WHERE user_id = %(user)s AND {_LATELY} AND status IN ('completed', 'failed')""",
        user=user,
    )
    return [(job_id, key) for job_id, key in rows]


async def rekey(db: Database, job_id: UUID, user: UUID, key: str, new_key: str) -> bool:
    """False when the user has no such job any more."""
    rows = await db.rows(
        """UPDATE scan.jobs SET image_key = %(new)s
           WHERE id = %(id)s AND user_id = %(user)s AND image_key = %(key)s RETURNING id""",
        id=job_id,
        user=user,
        key=key,
        new=new_key,
    )
    return bool(rows)
