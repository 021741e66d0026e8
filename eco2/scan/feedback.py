"""Feedback on a result: right, or wrong and what it was. For the statistics, the stewards, and as an evaluation set.

One per job, changeable. What is kept says what we answered at that time and who looked at the photo, so that it keeps
its meaning when the job's other rows change. It leaves with its job.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from eco2.core.app import BadUser, MissingUser, Text, User, error_responses
from eco2.core.database import Database, Row
from eco2.core.errors import BadRequest, Conflict, NotFound
from eco2.knowledge import Knowledge
from eco2.scan import service
from eco2.scan.store import Job

router = APIRouter(prefix="/api/v1/scan", tags=["scan"])

Verdict = Literal["right", "wrong"]
Json = dict[str, Any]


class NothingToJudge(Conflict):
    """This scan has no result to judge; give feedback when it is completed."""

    code = "NOTHING_TO_JUDGE"


class ChoiceFirst(Conflict):
    """This scan waits for your choice; say what the photo shows at …/choice first."""

    code = "CHOICE_FIRST"


class Contradiction(BadRequest):
    """Name a minor_category only where the result is wrong, and another one than that of the result."""

    code = "FEEDBACK_CONTRADICTS_ITSELF"


class NoFeedback(NotFound):
    """There is no feedback on this scan."""

    code = "FEEDBACK_NOT_FOUND"


# --- routes -----------------------------------------------------------------------------------------------------------


class Feedback(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"verdict": "wrong", "minor_category": "우유팩"}, {"verdict": "right"}]}
    )

    verdict: Annotated[Verdict, Field(description="What the result says of the item")]
    minor_category: Annotated[
        str | None,
        Field(max_length=100, description="What it was: a name of GET /api/v1/scan/items; leave it out if unknown"),
    ] = None
    comment: Annotated[Text | None, Field(max_length=500)] = None


class GivenFeedback(BaseModel):
    job_id: Annotated[UUID, Field(examples=["0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"])]
    verdict: Annotated[Verdict, Field(examples=["wrong"])]
    minor_category: Annotated[str | None, Field(examples=["우유팩"])]
    comment: Annotated[str | None, Field(examples=["안쪽이 은색이에요"])]
    updated_at: Annotated[datetime, Field(examples=["2026-11-22T09:30:00Z"])]


_ERRORS = (MissingUser, BadUser, service.ResultNotFound)


@router.post(
    "/{job_id}/feedback",
    response_model=GivenFeedback,
    summary="Say whether a result is right",
    responses=error_responses(*_ERRORS, NothingToJudge, ChoiceFirst, Contradiction, service.ChoiceUnknown),
)
async def give(job_id: UUID, body: Feedback, user: User, request: Request) -> GivenFeedback:
    """Again replaces what you said before. The result stays as it is."""
    resources = request.app.state.resources
    job = await service.find(resources.db, job_id, user)
    said = judge(resources.knowledge, job, body.verdict, body.minor_category, body.comment)
    return _given(resources.knowledge, await save(resources.db, job, said))


@router.get(
    "/{job_id}/feedback",
    response_model=GivenFeedback,
    summary="What you said about a result",
    responses=error_responses(*_ERRORS, NoFeedback),
)
async def given(job_id: UUID, user: User, request: Request) -> GivenFeedback:
    resources = request.app.state.resources
    await service.find(resources.db, job_id, user)
    row = await load(resources.db, job_id, user)
    if row is None:
        raise NoFeedback
    return _given(resources.knowledge, row)


def _given(knowledge: Knowledge, row: Mapping[str, Any]) -> GivenFeedback:
    item = knowledge.items.get(row["actual_item_id"])
    return GivenFeedback(
        job_id=row["job_id"],
        verdict=row["verdict"],
        minor_category=item.ko if item else None,
        comment=row["comment"],
        updated_at=row["updated_at"],
    )


# --- rules ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """`item_id`: what we answered; `actual_item_id`: what it was, where the user knows."""

    verdict: Verdict
    item_id: str
    actual_item_id: str | None
    comment: str | None
    model: str | None


def judge(knowledge: Knowledge, job: Job, verdict: Verdict, minor_category: str | None, comment: str | None) -> Said:
    """NothingToJudge, ChoiceFirst, Contradiction, ChoiceUnknown."""
    if job.status != "completed" or job.rule is None:
        raise NothingToJudge
    if job.rule["needs_choice"]:
        raise ChoiceFirst
    actual = None
    if minor_category is not None:
        actual = knowledge.resolve(minor_category)
        if actual is None:
            raise service.ChoiceUnknown
        if verdict == "right" or actual.id == job.rule["item_id"]:
            raise Contradiction
    model = job.vision["model"] if job.vision else None
    return Said(verdict, job.rule["item_id"], actual.id if actual else None, comment or None, model)


def example(knowledge: Knowledge, row: Mapping[str, Any], *, words: bool) -> Json | None:
    """A line of the evaluation set: a photo with its true label. None where the label is not known (any more).

    `words`: with what the user said about the photo, which may be personal. Who the user is is never in it.
    """
    item = knowledge.items.get(row["item_id"] if row["verdict"] == "right" else row["actual_item_id"] or "")
    if item is None:
        return None
    seen, rule = row["vision"] or {}, row["rule"]
    line = {
        "id": str(row["job_id"]),
        "image": row["image_key"],
        "digest": seen.get("digest"),
        "item": item.id,
        "middle_category": item.classification.middle_category,
        "stream": item.stream,
        "verdict": row["verdict"],
        "answered": row["item_id"],
        "seen": seen.get("item_id"),
        "confidence": seen.get("confidence"),
        "candidates": [candidate["item_id"] for candidate in seen.get("candidates", [])],
        "chosen": rule.get("chosen") is not None,
        "model": row["model"],
        "source": seen.get("source"),
        "at": row["updated_at"].isoformat(timespec="seconds"),
    }
    return {**line, "user_input": row["user_input"]} if words else line


# --- statements: every SQL statement about feedback -------------------------------------------------------------------

_GIVEN = "job_id, verdict, actual_item_id, comment, updated_at"


async def save(db: Database, job: Job, said: Said) -> Json:
    row = await db.row(
        """INSERT INTO scan.feedback (job_id, user_id, verdict, item_id, actual_item_id, comment, model)
            VALUES (%(job)s, %(user)s, %(verdict)s, %(item_id)s, %(actual_item_id)s, %(comment)s, %(model)s)
            ON CONFLICT (job_id, user_id) DO UPDATE SET verdict = excluded.verdict, item_id = excluded.item_id,
                actual_item_id = excluded.actual_item_id, comment = excluded.comment, model = excluded.model,
                updated_at = now()
            RETURNING job_id, verdict, actual_item_id, comment, updated_at""",
        job=job.id,
        user=job.user_id,
        **asdict(said),
    )
    assert row is not None
    return _named(_GIVEN, row)


async def load(db: Database, job_id: UUID, user: UUID) -> Json | None:
    row = await db.row(
        """SELECT job_id, verdict, actual_item_id, comment, updated_at FROM scan.feedback
           WHERE job_id = %(job)s AND user_id = %(user)s""",
        job=job_id,
        user=user,
    )
    return _named(_GIVEN, row) if row else None


async def of_jobs(db: Database, jobs: Sequence[UUID]) -> dict[UUID, Json]:
    """What their owners said of these jobs: `{verdict, actual_item_id, comment, updated_at}`."""
    found = await db.rows(
        """SELECT job_id, verdict, actual_item_id, comment, updated_at FROM scan.feedback
           WHERE job_id = ANY(%(jobs)s)""",
        jobs=list(jobs),
    )
    return {row[0]: _named("verdict, actual_item_id, comment, updated_at", row[1:]) for row in found}


def _named(columns: str, row: Row) -> Json:
    return dict(zip(columns.split(", "), row, strict=True))


async def rows(db: Database, since: datetime) -> AsyncIterator[Json]:
    """All feedback since then with its job, oldest first, a few rows at a time."""
    async with db.connection() as connection, connection.transaction(), connection.cursor("feedback") as cursor:
        await cursor.execute(
            """SELECT f.job_id, f.verdict, f.item_id, f.actual_item_id, f.model, f.updated_at,
                   j.image_key, j.user_input, j.vision, j.rule
               FROM scan.feedback f JOIN scan.jobs j ON j.id = f.job_id
               WHERE f.updated_at >= %(since)s ORDER BY f.updated_at, f.job_id""",
            {"since": since},
        )
        names = [column.name for column in cursor.description or ()]
        async for row in cursor:
            yield dict(zip(names, row, strict=True))


async def top(db: Database, since: datetime, limit: int) -> list[Json]:
    """`{item_id, judged, wrong, meant: [{item, times}]}` of the items that people dispute most.

    What many call wrong comes before what few do; `meant` is what they say it was, most often first.
    """
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
               jsonb_agg(jsonb_build_object('item', actual_item_id, 'times', times) ORDER BY place)
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
    return [_named("item_id, judged, wrong, meant", row) for row in found]
