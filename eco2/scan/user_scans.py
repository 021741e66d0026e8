"""Data of a user in this domain: history of scans, export, removal, preferences."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Literal
from uuid import UUID

from eco2.core import cursors
from eco2.core.errors import BadRequest
from eco2.core.postgres import Database
from eco2.knowledge import Knowledge
from eco2.scan import feedback_store, photo_store, user_scans_store
from eco2.scan.feedback import Given
from eco2.scan.job import OPEN
from eco2.scan.outputs import Json, plain
from eco2.scan.result import Result, result_of
from eco2.scan.services import Services
from eco2.scan.user_scans_store import Dated, Filter

KST = timezone(timedelta(hours=9))
"""Days of the history are those of Korea, which has no other time in summer."""
EXPORT_PAGE = 50
PURGE_PAGE = 100
LANGUAGES = ("ko", "en")

State = Literal["processing", "completed", "failed"]
_STATUSES: dict[State, Sequence[str]] = {
    "processing": OPEN,
    "completed": ("completed",),
    "failed": ("failed",),
}


class UnknownStream(BadRequest):
    """There is no such stream; the `stream.id` of a scan is one."""

    code = "INVALID_STREAM"


class UnknownCategory(BadRequest):
    """There is no such middle category; GET /api/v1/scan/items lists them."""

    code = "INVALID_CATEGORY"


class BadDates(BadRequest):
    """`from` is later than `to`."""

    code = "INVALID_DATE_RANGE"


class UnknownLanguage(BadRequest):
    """The language is none of ko, en."""

    code = "INVALID_LANGUAGE"


@dataclass(frozen=True)
class Asked:
    """A filter in the words of the API; days include both ends."""

    stream: str | None = None
    category: str | None = None
    status: State | None = None
    first: date | None = None
    last: date | None = None


def filter_of(knowledge: Knowledge, asked: Asked) -> Filter:
    """UnknownStream, UnknownCategory, BadDates."""
    if asked.stream is not None and asked.stream not in knowledge.streams:
        raise UnknownStream
    items = None
    if asked.category is not None:
        items = [item.id for item in knowledge.items.values() if item.classification.middle_category == asked.category]
        if not items:
            raise UnknownCategory
    if asked.first and asked.last and asked.first > asked.last:
        raise BadDates
    return Filter(
        statuses=_STATUSES[asked.status] if asked.status else user_scans_store.SHOWN,
        stream=asked.stream,
        items=items,
        since=_midnight(asked.first) if asked.first else None,
        until=_midnight(asked.last) + timedelta(days=1) if asked.last else None,
    )


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=KST)


async def history(
    db: Database, user: UUID, wanted: Filter, cursor: str | None, limit: int, *, newest: bool = True
) -> tuple[list[Dated], str | None]:
    """(jobs, cursor of the next page). BadCursor."""
    rows = await user_scans_store.history(
        db, user, wanted, cursors.decode_uuid(cursor) if cursor else None, limit + 1, newest=newest
    )
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, cursors.encode(rows[-1].created_at, str(rows[-1].job.id)) if more else None


def entry(services: Services, row: Dated) -> Json:
    """One scan in a list, without the whole answer."""
    return _entry(services, row, result_of(services.knowledge, row.job))


def _entry(services: Services, row: Dated, result: Result) -> Json:
    job, found = row.job, result.pipeline_result
    return {
        "job_id": str(job.id),
        "status": job.status if job.status in ("completed", "failed") else "processing",
        "outcome": result.outcome,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
        "image_url": services.storage.public_url(job.image_key),
        "classification": plain(found.classification_result.classification) if found else None,
        "stream": plain(found.stream) if found else None,
        "needs_choice": result.needs_choice,
        "reward": plain(result.reward),
        "error": result.error if result.outcome else None,
        "result_url": f"/api/v1/scan/{job.id}/result",
    }


async def export(services: Services, user: UUID, cursor: str) -> tuple[list[tuple[str, Json]], str]:
    """A page of all that is kept about the user, oldest first, jobs that were never handed over included."""
    everything = Filter(statuses=(*user_scans_store.SHOWN, "waiting", "aborted"))
    rows, following = await history(services.db, user, everything, cursor or None, EXPORT_PAGE, newest=False)
    said = await feedback_store.of_jobs(services.db, [row.job.id for row in rows])
    copies = [{**_copy(services, row), "feedback": _said(said.get(row.job.id))} for row in rows]
    return [("scans", copy) for copy in copies], following or ""


def _said(given: Given | None) -> Json | None:
    if given is None:
        return None
    return {name: value for name, value in vars(given).items() if name != "job_id"}


def _copy(services: Services, row: Dated) -> Json:
    job, result = row.job, result_of(services.knowledge, row.job)
    said = {"user_input": job.user_input, "language": job.language, "district": job.district}
    return {**_entry(services, row, result), "status": job.status, **said, "result": plain(result.pipeline_result)}


async def purge(services: Services, user: UUID) -> int:
    """Remove jobs, photos, preferences and quotas; returns how many rows.

    A photo goes before the row that names it, and again after it, in case it was published in between.
    """
    removed = await user_scans_store.forget_user(services.db, user)
    while True:
        found = await photo_store.photos_of(services.db, user, PURGE_PAGE)
        keys = [key for _, key in found]
        await services.storage.delete(keys)
        await user_scans_store.forget_jobs(services.db, [job_id for job_id, _ in found])
        await services.storage.delete(keys)
        removed += len(found)
        if len(found) < PURGE_PAGE:
            return removed


async def prefer(db: Database, user: UUID, version: int, language: str, district: str | None) -> None:
    if language not in LANGUAGES:
        raise UnknownLanguage
    await user_scans_store.prefer(db, user, version, language, district)
