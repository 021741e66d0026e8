"""SQL for a job's steps. Each statement is one transaction; a change of a job is conditional on its state."""

from collections.abc import Mapping
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from eco2.core.postgres import Database, Row
from eco2.scan import outputs
from eco2.scan.job import COLUMNS, IS_OPEN, Job, job_of, job_or_none
from eco2.scan.limits import UNLIMITED, Limits, Standing
from eco2.scan.outputs import Answer, Reward, Rule, VisionResult
from eco2.scan.usage_store import COUNT, COUNTED, STANDING

_REVIVED: LiteralString = "CASE jobs.status WHEN 'aborted' THEN 'queued' ELSE jobs.status END"
_AS_IF_NEW: LiteralString = "CASE jobs.status WHEN 'aborted' THEN now() ELSE jobs.created_at END"
LANGUAGE: LiteralString = "(SELECT language FROM scan.preferences WHERE user_id = %(user)s)"
DISTRICT: LiteralString = "(SELECT district FROM scan.preferences WHERE user_id = %(user)s)"
_MOVED: LiteralString = "moved_at = now(), marked_at = NULL"


_WITH_KEY: LiteralString = "user_id = %(user)s AND idempotency_key = %(idempotency_key)s"


async def add(
    db: Database,
    job_id: UUID,
    user: UUID,
    idempotency_key: str | None,
    image_key: str,
    user_input: str | None,
    model: str | None,
    limits: Limits = UNLIMITED,
    language: str | None = None,
) -> Job | Standing:
    """Insert a queued job, or return the user's job of the same key; an aborted one is queued again, as if new.

    A new job past the limits is not inserted: then the user's standing is returned. A known key never counts."""
    row = await db.row(
        f"""WITH standing AS MATERIALIZED ({STANDING}),
            known AS MATERIALIZED (SELECT EXISTS (SELECT FROM scan.jobs WHERE {_WITH_KEY}) AS known),
            counted AS ({COUNT} AND NOT (SELECT known FROM known) {COUNTED}),
            added AS (
                INSERT INTO scan.jobs (id, user_id, idempotency_key, image_key, user_input, model, status,
                                       language, district)
                SELECT %(id)s, %(user)s, %(idempotency_key)s, %(image_key)s, %(user_input)s, %(model)s, 'queued',
                       coalesce(%(language)s, {LANGUAGE}), {DISTRICT}
                FROM known WHERE known OR EXISTS (SELECT FROM counted)
                ON CONFLICT (user_id, idempotency_key)
                DO UPDATE SET status = {_REVIVED}, created_at = {_AS_IF_NEW}
                RETURNING {COLUMNS})
            SELECT standing.*, added.* FROM standing LEFT JOIN added ON true""",
        id=job_id,
        user=user,
        idempotency_key=idempotency_key,
        image_key=image_key,
        user_input=user_input,
        model=model,
        language=language,
        **vars(limits),
    )
    return job_or_standing(row)


def job_or_standing(row: Row | None) -> Job | Standing:
    """Of a row with the standing first, then the job or as many NULLs."""
    assert row is not None
    return Standing(*row[:2]) if row[2] is None else job_of(row[2:])


async def find_known(db: Database, user: UUID, idempotency_key: str) -> Job | Standing:
    """The user's job of this key, or the user's standing."""
    return job_or_standing(
        await db.row(
            f"""SELECT standing.*, {COLUMNS} FROM ({STANDING}) AS standing
                LEFT JOIN scan.jobs ON {_WITH_KEY}""",
            user=user,
            idempotency_key=idempotency_key,
        )
    )


async def enqueued(db: Database, at: Mapping[UUID, datetime]) -> None:
    """Note when the broker got each job's first message; jobs that have an output have a note already."""
    await db.rows(
        f"""UPDATE scan.jobs SET enqueued_at = notes.at, status = {_REVIVED}
            FROM unnest(%(ids)s::uuid[], %(at)s::timestamptz[]) AS notes (id, at)
            WHERE jobs.id = notes.id AND enqueued_at IS NULL""",
        ids=list(at),
        at=list(at.values()),
    )


async def abort(db: Database, job_id: UUID) -> None:
    """Mark a job that could not be handed over, unless another request has managed to."""
    await db.rows(
        "UPDATE scan.jobs SET status = 'aborted' WHERE id = %(id)s AND enqueued_at IS NULL AND status = 'queued'",
        id=job_id,
    )


async def load(db: Database, job_id: UUID) -> Job | None:
    return job_or_none(await db.row(f"SELECT {COLUMNS} FROM scan.jobs WHERE id = %(id)s", id=job_id))


async def load_own(db: Database, job_id: UUID, user: UUID) -> Job | None:
    """The job if it is the user's."""
    sql: LiteralString = f"SELECT {COLUMNS} FROM scan.jobs WHERE id = %(id)s AND user_id = %(user)s"
    return job_or_none(await db.row(sql, id=job_id, user=user))


async def save_vision(db: Database, job_id: UUID, vision: VisionResult, rule: Rule | None = None) -> bool:
    """False when the job has ended meanwhile, or its output is there: the first one stays, later stages rest on it.

    So do the other saves. `rule`: where it is known as well, it needs no transaction of its own."""
    return (
        await db.row(
            f"""UPDATE scan.jobs SET vision = %(vision)s, rule = %(rule)s, status = 'processing',
               enqueued_at = coalesce(enqueued_at, now()), {_MOVED}
           WHERE id = %(id)s AND status IN ('queued', 'processing', 'aborted') AND vision IS NULL RETURNING id""",
            id=job_id,
            vision=stored_form(vision),
            rule=stored_form(rule) if rule else None,
        )
        is not None
    )


async def save_rule(db: Database, job_id: UUID, rule: Rule) -> bool:
    return (
        await db.row(
            f"""UPDATE scan.jobs SET rule = %(rule)s, {_MOVED}
                WHERE id = %(id)s AND {IS_OPEN} AND rule IS NULL RETURNING id""",
            id=job_id,
            rule=stored_form(rule),
        )
        is not None
    )


async def complete(db: Database, job_id: UUID, answer: Answer, reward: Reward | None) -> float | None:
    """Seconds that the job took; None when it has ended meanwhile. The end is not announced yet."""
    row = await db.row(
        f"""UPDATE scan.jobs SET answer = %(answer)s, reward = %(reward)s, status = 'completed', finished_at = now()
        WHERE id = %(id)s AND {IS_OPEN} RETURNING extract(epoch FROM now() - created_at)::float8""",
        id=job_id,
        answer=stored_form(answer),
        reward=stored_form(reward) if reward else None,
    )
    return None if row is None else float(row[0])


def stored_form(output: object) -> Jsonb:
    return Jsonb(output, outputs.dumps)


async def fail(db: Database, job_id: UUID, code: str, error: str, english: str) -> Job | None:
    """The failed job with the reason in the user's language; None when it had ended before."""
    row = await db.row(
        f"""UPDATE scan.jobs SET error = CASE language WHEN 'en' THEN %(english)s ELSE %(error)s END,
                error_code = %(code)s, status = 'failed', finished_at = now()
            WHERE id = %(id)s AND status IN ('queued', 'processing', 'aborted') RETURNING {COLUMNS}""",
        id=job_id,
        code=code,
        error=error,
        english=english,
    )
    return job_or_none(row)


async def announced(db: Database, at: Mapping[UUID, datetime]) -> None:
    """Note when the end of each job was announced and its reward granted."""
    await db.rows(
        """UPDATE scan.jobs SET announced_at = notes.at
           FROM unnest(%(ids)s::uuid[], %(at)s::timestamptz[]) AS notes (id, at)
           WHERE jobs.id = notes.id AND announced_at IS NULL AND status IN ('completed', 'failed')""",
        ids=list(at),
        at=list(at.values()),
    )
