"""The route of stewards: effects of changed rules on answers."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from eco2.core.app import STEWARD_ERRORS, a_steward, error_responses
from eco2.core.errors import NotFound, Unavailable
from eco2.recycling import answer_store
from eco2.recycling.api import At

router = APIRouter(prefix="/api/v1/recycling", tags=["stewards"], dependencies=[a_steward])


class NothingPublished(NotFound):
    """No comparison was published yet; `eco2 knowledge diff REVISION --answers --publish` does."""

    code = "NOTHING_PUBLISHED"


class AnswerChange(BaseModel):
    id: Annotated[str, Field(description="Of the question in data/eval", examples=["q0112"])]
    question: Annotated[str, Field(examples=["기름 묻은 피자박스는 어떻게 버려요?"])]
    lang: Annotated[str, Field(examples=["ko"])]
    was: Annotated[str, Field(examples=["기름이 묻은 부분은 종량제봉투에 버려요."])]
    now: Annotated[str, Field(examples=["기름이 묻은 부분은 떼어 종량제봉투에 버려요."])]
    streams_were: Annotated[list[str], Field(examples=[["general_bag"]])]
    streams_are: Annotated[list[str], Field(examples=[["general_bag"]])]
    worse: Annotated[list[str], Field(description="Faults that only the new answer has", examples=[[]])]


class AnswerChanges(BaseModel):
    before: Annotated[str, Field(description="Version of the rules", examples=["3f1c2a9b"])]
    after: Annotated[str, Field(examples=["8d20e7c4"])]
    published_at: Annotated[datetime, Field(examples=["2026-11-30T09:30:00Z"])]
    total: Annotated[int, Field(examples=[14])]
    worse: Annotated[int, Field(description="How many of them are worse", examples=[0])]
    changes: Annotated[list[AnswerChange], Field(description="The worse ones first")]


@router.get(
    "/changes",
    operation_id="listAnswerChanges",
    response_model=AnswerChanges,
    summary="Questions with different answers by changed rules",
    responses=error_responses(*STEWARD_ERRORS, NothingPublished, Unavailable),
)
async def changes(
    at: At,
    first: Annotated[int, Query(ge=0, le=100_000, description="Number of changes to leave out")] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> AnswerChanges:
    """For stewards. The comparison that was published last."""
    found = await answer_store.published(at.db, first, limit)
    if found is None:
        raise NothingPublished
    about, rows = found
    return AnswerChanges(**vars(about), changes=[AnswerChange.model_validate(vars(row)) for row in rows])
