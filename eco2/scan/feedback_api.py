"""Routes of feedback on a result."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from eco2.core.app import AnyUser, BadUser, MissingUser, Text, error_responses
from eco2.knowledge import Knowledge
from eco2.scan import errors, feedback_store, service
from eco2.scan.api import At
from eco2.scan.feedback import ChoiceFirst, Contradiction, Given, NoFeedback, NothingToJudge, Verdict, judge

router = APIRouter(prefix="/api/v1/scan", tags=["scan"])


class Feedback(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"verdict": "wrong", "minor_category": "우유팩"}, {"verdict": "right"}]}
    )

    verdict: Annotated[Verdict, Field(description="Verdict on the item of the result")]
    minor_category: Annotated[
        str | None,
        Field(max_length=100, description="The true item: a name of GET /api/v1/scan/items; leave it out if unknown"),
    ] = None
    comment: Annotated[Text | None, Field(max_length=500)] = None


class GivenFeedback(BaseModel):
    job_id: Annotated[UUID, Field(examples=["0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"])]
    verdict: Annotated[Verdict, Field(examples=["wrong"])]
    minor_category: Annotated[str | None, Field(examples=["우유팩"])]
    comment: Annotated[str | None, Field(examples=["안쪽이 은색이에요"])]
    updated_at: Annotated[datetime, Field(examples=["2026-11-22T09:30:00Z"])]


_ERRORS = (MissingUser, BadUser, errors.ResultNotFound)


@router.post(
    "/{job_id}/feedback",
    operation_id="giveFeedback",
    response_model=GivenFeedback,
    summary="Say whether a result is right",
    responses=error_responses(*_ERRORS, NothingToJudge, ChoiceFirst, Contradiction, errors.ChoiceUnknown),
)
async def give(job_id: UUID, body: Feedback, user: AnyUser, at: At) -> GivenFeedback:
    """A repeated call replaces your feedback. The result stays as it is."""
    job = await service.find(at.db, job_id, user)
    said = judge(at.knowledge, job, body.verdict, body.minor_category, body.comment)
    return _given(at.knowledge, await feedback_store.save(at.db, job, said))


@router.get(
    "/{job_id}/feedback",
    operation_id="getFeedback",
    response_model=GivenFeedback,
    summary="Your feedback on a result",
    responses=error_responses(*_ERRORS, NoFeedback),
)
async def given(job_id: UUID, user: AnyUser, at: At) -> GivenFeedback:
    await service.find(at.db, job_id, user)
    row = await feedback_store.load(at.db, job_id, user)
    if row is None:
        raise NoFeedback
    return _given(at.knowledge, row)


def _given(knowledge: Knowledge, said: Given) -> GivenFeedback:
    item = knowledge.items.get(said.actual_item_id or "")
    return GivenFeedback(
        job_id=said.job_id,
        verdict=said.verdict,
        minor_category=item.ko if item else None,
        comment=said.comment,
        updated_at=said.updated_at,
    )
