"""SQL of the waste flow: a job before its photo, and the upload that queues it."""

from uuid import UUID

from eco2.core.postgres import Database
from eco2.scan.job import COLUMNS, Job
from eco2.scan.limits import UNLIMITED, Limits, Standing
from eco2.scan.store import DISTRICT, LANGUAGE, job_or_standing
from eco2.scan.usage_store import COUNT, COUNTED, STANDING


async def add_waiting(
    db: Database,
    job_id: UUID,
    user: UUID,
    image_key: str,
    user_input: str | None,
    model: str | None,
    most_per_minute: int,
) -> float:
    """Insert a job whose photo is still to be uploaded: 0, or the seconds until the user may have another one."""
    row = await db.row(
        f"""WITH recent AS MATERIALIZED (
                SELECT created_at FROM scan.jobs
                WHERE user_id = %(user)s AND created_at > now() - interval '1 minute' AND idempotency_key IS NULL
                ORDER BY created_at DESC LIMIT %(most)s),
            added AS (
                INSERT INTO scan.jobs (id, user_id, image_key, user_input, model, status, language, district)
                SELECT %(id)s, %(user)s, %(image_key)s, %(user_input)s, %(model)s, 'waiting', {LANGUAGE}, {DISTRICT}
                WHERE (SELECT count(*) FROM recent) < %(most)s
                ON CONFLICT (id) DO NOTHING)
            SELECT CASE WHEN count(*) < %(most)s THEN 0
                   ELSE extract(epoch FROM min(created_at) + interval '1 minute' - now()) END FROM recent""",
        id=job_id,
        user=user,
        image_key=image_key,
        user_input=user_input,
        model=model,
        most=most_per_minute,
    )
    return float(row[0]) if row else 0.0


async def uploaded(db: Database, job_id: UUID, user: UUID, limits: Limits = UNLIMITED) -> Job | Standing | None:
    """Queue the user's waiting (or aborted) job, whose photo is there, as if new. None for one in any other state.

    A waiting one past the limits stays as it is: then the user's standing is returned."""
    row = await db.row(
        f"""WITH standing AS MATERIALIZED ({STANDING}),
            waiting AS MATERIALIZED (SELECT FROM scan.jobs WHERE id = %(id)s AND status = 'waiting' FOR UPDATE),
            counted AS ({COUNT} AND EXISTS (SELECT FROM waiting) {COUNTED}),
            taken AS (
                UPDATE scan.jobs SET status = 'queued', created_at = now()
                WHERE id = %(id)s AND (status = 'aborted' OR status = 'waiting' AND EXISTS (SELECT FROM counted))
                RETURNING {COLUMNS})
            SELECT EXISTS (SELECT FROM waiting), standing.*, taken.* FROM standing LEFT JOIN taken ON true""",
        id=job_id,
        user=user,
        **vars(limits),
    )
    assert row is not None
    found = job_or_standing(row[1:])
    return found if row[0] or isinstance(found, Job) else None
