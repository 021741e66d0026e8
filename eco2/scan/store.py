"""Every SQL statement of the scan services. Each is one transaction; what changes a job is conditional on its state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from eco2.core.postgres import Database, Row
from eco2.scan import outputs
from eco2.scan.limits import UNLIMITED, Limits, Standing
from eco2.scan.outputs import Answer, NewerForm, Reward, Rule, VisionResult

OPEN = ("queued", "processing")
UNFINISHED: LiteralString = (
    "(status IN ('waiting', 'queued', 'processing', 'aborted')"
    " OR (status IN ('completed', 'failed') AND announced_at IS NULL))"
)
"""Rows that the sweeper may have to look after; they have an index of their own."""


@dataclass(frozen=True)
class Job:
    """A row of `scan.jobs`; `vision`, `rule`, `answer` are None until their stage is done.

    `unread`: why one of them is None although it is stored."""

    id: UUID
    user_id: UUID
    image_key: str
    user_input: str | None
    model: str | None
    status: str
    vision: VisionResult | None
    rule: Rule | None
    answer: Answer | None
    reward: Reward | None
    error: str | None
    error_code: str | None
    language: str | None
    district: str | None
    enqueued: bool
    unread: Exception | None = None

    @property
    def open(self) -> bool:
        return self.status in OPEN

    def require_outputs(self) -> None:
        """NewerForm for a completed job that only a newer release can read: it has not failed."""
        if self.status == "completed" and isinstance(self.unread, NewerForm):
            raise self.unread


COLUMNS: LiteralString = """
    jobs.id, jobs.user_id, jobs.image_key, jobs.user_input, jobs.model, jobs.status, jobs.vision, jobs.rule,
    jobs.answer, jobs.reward, jobs.error, jobs.error_code, jobs.language, jobs.district, jobs.enqueued_at IS NOT NULL"""
_REVIVED: LiteralString = "CASE jobs.status WHEN 'aborted' THEN 'queued' ELSE jobs.status END"
_AS_IF_NEW: LiteralString = "CASE jobs.status WHEN 'aborted' THEN now() ELSE jobs.created_at END"
_PREFERRED: LiteralString = """
    (SELECT language FROM scan.preferences WHERE user_id = %(user)s),
    (SELECT district FROM scan.preferences WHERE user_id = %(user)s)"""
IS_OPEN: LiteralString = "status IN ('queued', 'processing')"
_MOVED: LiteralString = "moved_at = now(), marked_at = NULL"


OUTPUTS: dict[str, type[Any]] = {"vision": VisionResult, "rule": Rule, "answer": Answer, "reward": Reward}
_FIRST_OUTPUT = list(Job.__dataclass_fields__).index("vision")


def job_of(row: Row) -> Job:
    """The job of a row that is `COLUMNS`."""
    end = _FIRST_OUTPUT + len(OUTPUTS)
    found = zip(OUTPUTS.values(), row[_FIRST_OUTPUT:end], strict=True)
    done, problems = zip(*(outputs.attempt(kind, stored) for kind, stored in found), strict=True)
    return Job(*(*row[:_FIRST_OUTPUT], *done, *row[end:], next(filter(None, problems), None)))


def _job(row: Row | None) -> Job | None:
    return job_of(row) if row else None


_TODAY: LiteralString = "(now() AT TIME ZONE 'Asia/Seoul')::date"
_STANDING: LiteralString = f"""
    SELECT (SELECT count(*) FROM scan.jobs
            WHERE user_id = %(user)s AND created_at > now() - interval '1 day' AND {IS_OPEN}) AS open_jobs,
           coalesce((SELECT scans FROM scan.usage WHERE user_id = %(user)s AND day = {_TODAY}), 0) AS scans_today"""
_HAS_ROOM: LiteralString = "open_jobs < %(open_jobs)s AND scans_today < %(scans_per_day)s"
# A counter, since a user can delete the rows; it counts on its newest version, whatever the snapshot shows.
_COUNT: LiteralString = f"""
    INSERT INTO scan.usage AS usage (user_id, day, scans)
    SELECT %(user)s, {_TODAY}, 1 FROM standing WHERE {_HAS_ROOM}"""
_COUNTED: LiteralString = """
    ON CONFLICT (user_id) DO UPDATE
    SET scans = CASE WHEN usage.day = excluded.day THEN usage.scans + 1 ELSE 1 END, day = excluded.day
    WHERE usage.day <> excluded.day OR usage.scans < %(scans_per_day)s
    RETURNING scans"""
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
) -> Job | Standing:
    """Insert a queued job, or return the user's job of the same key; an aborted one is queued again, as if new.

    A new job past the limits is not inserted: then the user's standing is returned. A known key never counts."""
    row = await db.row(
        f"""WITH standing AS MATERIALIZED ({_STANDING}),
            known AS MATERIALIZED (SELECT EXISTS (SELECT FROM scan.jobs WHERE {_WITH_KEY}) AS known),
            counted AS ({_COUNT} AND NOT (SELECT known FROM known) {_COUNTED}),
            added AS (
                INSERT INTO scan.jobs (id, user_id, idempotency_key, image_key, user_input, model, status,
                                       language, district)
                SELECT %(id)s, %(user)s, %(idempotency_key)s, %(image_key)s, %(user_input)s, %(model)s, 'queued',
                       {_PREFERRED}
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
        **vars(limits),
    )
    return _job_or_standing(row)


def _job_or_standing(row: Row | None) -> Job | Standing:
    """Of a row with the standing first, then the job or as many NULLs."""
    assert row is not None
    return Standing(*row[:2]) if row[2] is None else job_of(row[2:])


async def find_known(db: Database, user: UUID, idempotency_key: str) -> Job | Standing:
    """The user's job of this key, or the user's standing."""
    return _job_or_standing(
        await db.row(
            f"""SELECT standing.*, {COLUMNS} FROM ({_STANDING}) AS standing
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
    return _job(await db.row(f"SELECT {COLUMNS} FROM scan.jobs WHERE id = %(id)s", id=job_id))


TIMES = ("created_at", "enqueued_at", "finished_at", "announced_at", "moved_at", "marked_at", "swept_at")
_TIMES: LiteralString = ", ".join(f"jobs.{name}" for name in TIMES)


async def load_with_times(db: Database, job_id: UUID) -> tuple[Job, dict[str, datetime | None]] | None:
    row = await db.row(f"SELECT {_TIMES}, {COLUMNS} FROM scan.jobs WHERE id = %(id)s", id=job_id)
    return (job_of(row[len(TIMES) :]), dict(zip(TIMES, row, strict=False))) if row else None


async def load_own(db: Database, job_id: UUID, user: UUID) -> Job | None:
    """The job if it is the user's."""
    sql: LiteralString = f"SELECT {COLUMNS} FROM scan.jobs WHERE id = %(id)s AND user_id = %(user)s"
    return _job(await db.row(sql, id=job_id, user=user))


async def states(db: Database, job_ids: Sequence[UUID], quiet: timedelta) -> list[tuple[Job, bool]]:
    """The jobs of these ids; True for one that ended at least `quiet` ago."""
    rows = await db.rows(
        f"""SELECT {COLUMNS}, coalesce(finished_at < now() - %(quiet)s, false) FROM scan.jobs
            WHERE id = ANY(%(ids)s)""",
        ids=list(job_ids),
        quiet=quiet,
    )
    return [(job_of(row[:-1]), row[-1]) for row in rows]


async def save_vision(db: Database, job_id: UUID, vision: VisionResult) -> bool:
    """False when the job has ended meanwhile, or its output is there: the first one stays, later stages rest on it.

    So do the other saves."""
    return (
        await db.row(
            f"""UPDATE scan.jobs SET vision = %(vision)s, status = 'processing',
               enqueued_at = coalesce(enqueued_at, now()), {_MOVED}
           WHERE id = %(id)s AND status IN ('queued', 'processing', 'aborted') AND vision IS NULL RETURNING id""",
            id=job_id,
            vision=_stored(vision),
        )
        is not None
    )


async def save_rule(db: Database, job_id: UUID, rule: Rule) -> bool:
    return (
        await db.row(
            f"""UPDATE scan.jobs SET rule = %(rule)s, {_MOVED}
                WHERE id = %(id)s AND {IS_OPEN} AND rule IS NULL RETURNING id""",
            id=job_id,
            rule=_stored(rule),
        )
        is not None
    )


async def in_work(db: Database, job_ids: Sequence[UUID]) -> None:
    """Mark jobs that a worker works on now."""
    await db.rows(
        f"UPDATE scan.jobs SET marked_at = now() WHERE id = ANY(%(ids)s) AND {IS_OPEN}",
        ids=list(job_ids),
    )


async def complete(db: Database, job_id: UUID, answer: Answer, reward: Reward | None) -> float | None:
    """Seconds that the job took; None when it has ended meanwhile. The end is not announced yet."""
    row = await db.row(
        f"""UPDATE scan.jobs SET answer = %(answer)s, reward = %(reward)s, status = 'completed', finished_at = now()
        WHERE id = %(id)s AND {IS_OPEN} RETURNING extract(epoch FROM now() - created_at)::float8""",
        id=job_id,
        answer=_stored(answer),
        reward=_stored(reward) if reward else None,
    )
    return None if row is None else float(row[0])


def _stored(output: object) -> Jsonb:
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
    return _job(row)


async def announced(db: Database, at: Mapping[UUID, datetime]) -> None:
    """Note when the end of each job was announced and its reward granted."""
    await db.rows(
        """UPDATE scan.jobs SET announced_at = notes.at
           FROM unnest(%(ids)s::uuid[], %(at)s::timestamptz[]) AS notes (id, at)
           WHERE jobs.id = notes.id AND announced_at IS NULL AND status IN ('completed', 'failed')""",
        ids=list(at),
        at=list(at.values()),
    )


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
                SELECT %(id)s, %(user)s, %(image_key)s, %(user_input)s, %(model)s, 'waiting', {_PREFERRED}
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
        f"""WITH standing AS MATERIALIZED ({_STANDING}),
            waiting AS MATERIALIZED (SELECT FROM scan.jobs WHERE id = %(id)s AND status = 'waiting' FOR UPDATE),
            counted AS ({_COUNT} AND EXISTS (SELECT FROM waiting) {_COUNTED}),
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
    found = _job_or_standing(row[1:])
    return found if row[0] or isinstance(found, Job) else None


async def choose(db: Database, job_id: UUID, rule: Rule, answer: Answer, reward: Reward | None) -> Job | None:
    """Replace the outcome of a job that waits for a choice; None when it does not, so a choice counts once.

    Its reward is still to be granted, so the job is no longer announced."""
    row = await db.row(
        f"""UPDATE scan.jobs SET rule = %(rule)s, answer = %(answer)s, reward = %(reward)s, announced_at = NULL
            WHERE id = %(id)s AND status = 'completed' AND jobs.needs_choice
            RETURNING {COLUMNS}""",
        id=job_id,
        rule=_stored(rule),
        answer=_stored(answer),
        reward=_stored(reward) if reward else None,
    )
    return _job(row)


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


async def photos_of(db: Database, user: UUID, limit: int) -> list[tuple[UUID, str]]:
    """(job id, object key) of some of the user's jobs."""
    sql: LiteralString = "SELECT id, image_key FROM scan.jobs WHERE user_id = %(user)s LIMIT %(limit)s"
    return [(job_id, key) for job_id, key in await db.rows(sql, user=user, limit=limit)]


async def forget_jobs(db: Database, job_ids: Sequence[UUID]) -> None:
    await db.rows("DELETE FROM scan.jobs WHERE id = ANY(%(ids)s)", ids=list(job_ids))


async def forget_job(db: Database, job_id: UUID, user: UUID) -> bool:
    """False when the user has no such job."""
    sql: LiteralString = "DELETE FROM scan.jobs WHERE id = %(id)s AND user_id = %(user)s RETURNING id"
    return await db.row(sql, id=job_id, user=user) is not None


async def shown(db: Database, image_key: str) -> bool:
    """True when a job has this photo."""
    return await db.row("SELECT 1 FROM scan.jobs WHERE image_key = %(key)s LIMIT 1", key=image_key) is not None


async def shown_by_another(db: Database, job: Job) -> bool:
    """True when another job has the photo of this one."""
    sql: LiteralString = "SELECT 1 FROM scan.jobs WHERE image_key = %(key)s AND id <> %(id)s LIMIT 1"
    return await db.row(sql, key=job.image_key, id=job.id) is not None


async def photos_shown(db: Database, keys: Sequence[str]) -> set[str]:
    """Those of the photos that a job has."""
    sql: LiteralString = "SELECT image_key FROM scan.jobs WHERE image_key = ANY(%(keys)s)"
    return {key for (key,) in await db.rows(sql, keys=list(keys))}


async def photos_of_open_jobs(db: Database, keys: Sequence[str]) -> set[str]:
    sql: LiteralString = (
        "SELECT image_key FROM scan.jobs WHERE image_key = ANY(%(keys)s) AND status IN ('queued', 'processing')"
    )
    return {key for (key,) in await db.rows(sql, keys=list(keys))}


async def known_since(db: Database, at: Sequence[datetime]) -> set[datetime]:
    """Those of the times before which there were scans."""
    sql: LiteralString = """SELECT times.at FROM unnest(%(at)s::timestamptz[]) AS times (at)
        WHERE EXISTS (SELECT 1 FROM scan.jobs WHERE created_at < times.at)"""
    return {time for (time,) in await db.rows(sql, at=list(at))}


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
