"""SQL for the photos of jobs."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from eco2.core.postgres import Database
from eco2.scan.job import Job


async def photos_of(db: Database, user: UUID, limit: int) -> list[tuple[UUID, str]]:
    """(job id, object key) of some of the user's jobs."""
    sql: LiteralString = "SELECT id, image_key FROM scan.jobs WHERE user_id = %(user)s LIMIT %(limit)s"
    return [(job_id, key) for job_id, key in await db.rows(sql, user=user, limit=limit)]


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
