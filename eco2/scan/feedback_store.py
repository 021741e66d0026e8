"""Every SQL statement about feedback."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from eco2.core.postgres import Database
from eco2.scan import outputs
from eco2.scan.feedback import Disputed, Given, Judged, Judgement, Wrong
from eco2.scan.job import Job
from eco2.scan.outputs import Rule, VisionResult

_GIVEN: LiteralString = "job_id, verdict, actual_item_id, comment, updated_at"


async def save(db: Database, job: Job, judgement: Judgement) -> Given:
    row = await db.row(
        f"""INSERT INTO scan.feedback (job_id, user_id, verdict, item_id, actual_item_id, comment, model)
            VALUES (%(job)s, %(user)s, %(verdict)s, %(item_id)s, %(actual_item_id)s, %(comment)s, %(model)s)
            ON CONFLICT (job_id, user_id) DO UPDATE SET verdict = excluded.verdict, item_id = excluded.item_id,
                actual_item_id = excluded.actual_item_id, comment = excluded.comment, model = excluded.model,
                updated_at = now()
            RETURNING {_GIVEN}""",
        job=job.id,
        user=job.user_id,
        **asdict(judgement),
    )
    assert row is not None
    return Given(*row)


async def load(db: Database, job_id: UUID, user: UUID) -> Given | None:
    row = await db.row(
        f"SELECT {_GIVEN} FROM scan.feedback WHERE job_id = %(job)s AND user_id = %(user)s", job=job_id, user=user
    )
    return Given(*row) if row else None


async def of_jobs(db: Database, jobs: Sequence[UUID]) -> dict[UUID, Given]:
    """Feedback of their owners on these jobs."""
    rows = await db.rows(f"SELECT {_GIVEN} FROM scan.feedback WHERE job_id = ANY(%(jobs)s)", jobs=list(jobs))
    return {row[0]: Given(*row) for row in rows}


async def judged(db: Database, since: datetime) -> AsyncIterator[Judged]:
    """All feedback since then with its job, oldest first, a few rows at a time."""
    async with db.connection() as connection, connection.transaction(), connection.cursor("feedback") as cursor:
        await cursor.execute(
            """SELECT f.job_id, f.verdict, f.item_id, f.actual_item_id, f.model, f.updated_at,
                   j.image_key, j.user_input, j.vision, j.rule
               FROM scan.feedback f JOIN scan.jobs j ON j.id = f.job_id
               WHERE f.updated_at >= %(since)s ORDER BY f.updated_at, f.job_id""",
            {"since": since},
        )
        async for row in cursor:
            vision, _ = outputs.attempt(VisionResult, row[-2])
            rule, _ = outputs.attempt(Rule, row[-1])
            yield Judged(*(*row[:-2], vision, rule))


async def top(db: Database, since: datetime, limit: int) -> list[Disputed]:
    """The items that people dispute most: what many call wrong comes before what few do."""
    found = await db.rows(
        """WITH said AS (
               SELECT item_id, count(*) AS judged, count(*) FILTER (WHERE verdict = 'wrong') AS wrong
               FROM scan.feedback WHERE updated_at >= %(since)s GROUP BY item_id
           ), meant AS (
               SELECT item_id, actual_item_id, count(*) AS times,
                   row_number() OVER (PARTITION BY item_id ORDER BY count(*) DESC, actual_item_id) AS place
               FROM scan.feedback
               WHERE updated_at >= %(since)s AND verdict = 'wrong' AND actual_item_id IS NOT NULL
               GROUP BY item_id, actual_item_id
           )
           SELECT said.item_id, judged, wrong, coalesce(
               jsonb_agg(jsonb_build_array(actual_item_id, times) ORDER BY place)
               FILTER (WHERE place <= 3), '[]'
           )
           FROM said LEFT JOIN meant USING (item_id)
           WHERE wrong > 0
           GROUP BY said.item_id, judged, wrong
           ORDER BY wrong DESC, wrong::float / judged DESC, said.item_id
           LIMIT %(limit)s""",
        since=since,
        limit=limit,
    )
    return [Disputed(*row) for row in found]


async def wrong(db: Database, item: str | None, after: tuple[datetime, UUID] | None, limit: int) -> list[Wrong]:
    """Feedback that calls a result wrong, the newest first, after that of (time, job)."""
    at, job = after or (None, None)
    rows = await db.rows(
        """SELECT job_id, item_id, actual_item_id, comment, model, updated_at FROM scan.feedback
           WHERE verdict = 'wrong' AND (%(item)s::text IS NULL OR item_id = %(item)s)
             AND (%(at)s::timestamptz IS NULL OR (updated_at, job_id) < (%(at)s, %(job)s::uuid))
           ORDER BY updated_at DESC, job_id DESC LIMIT %(limit)s""",
        item=item,
        at=at,
        job=job,
        limit=limit,
    )
    return [Wrong(*row) for row in rows]
