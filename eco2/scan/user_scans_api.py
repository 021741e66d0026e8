"""The user's scans as a list: GET /users/me/scans, which the edge routes to scan-api."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from eco2.core.app import AnyUser, BadUser, MissingUser, error_responses
from eco2.core.cursors import BadCursor
from eco2.scan import user_scans
from eco2.scan.api import At
from eco2.scan.bodies import Reward, ScanClassification, Stream
from eco2.scan.result import Outcome

router = APIRouter(prefix="/api/v1/users/me", tags=["users"])

_JOB = "0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"
_FIRST, _LAST = date(2020, 1, 1), date(2100, 12, 31)


class ScanEntry(BaseModel):
    job_id: Annotated[UUID, Field(examples=[_JOB])]
    status: Annotated[user_scans.State, Field(examples=["completed"])]
    outcome: Annotated[
        Outcome | None, Field(description="That of the result; null while there is none", examples=["answered"])
    ]
    created_at: Annotated[datetime, Field(examples=["2026-11-22T09:30:00Z"])]
    finished_at: Annotated[datetime | None, Field(examples=["2026-11-22T09:30:04Z"])]
    image_url: Annotated[str, Field(examples=["https://images.example.org/scan/5f0c1d2e3a4b5c6d7e8f901234567890.jpg"])]
    classification: Annotated[
        ScanClassification | None,
        Field(
            examples=[{"major_category": "재활용폐기물", "middle_category": "무색페트병", "minor_category": "생수병"}]
        ),
    ]
    stream: Annotated[
        Stream | None,
        Field(
            examples=[
                {"id": "clear_pet", "name": "투명(무색) 페트병", "name_en": "Clear PET bottles", "kind": "recycle"}
            ]
        ),
    ]
    needs_choice: Annotated[bool, Field(examples=[False])]
    reward: Annotated[
        Reward | None,
        Field(
            examples=[
                {
                    "name": "페티",
                    "dialog": "라벨을 떼고 꾹 누른 다음 뚜껑을 닫아 주세요!",
                    "match_reason": "무색페트병>생수병",
                    "type": "무색페트병",
                }
            ]
        ),
    ]
    error: Annotated[str | None, Field(description="Why there is no answer", examples=[None])]
    result_url: Annotated[str, Field(examples=[f"/api/v1/scan/{_JOB}/result"])]


class ScanPage(BaseModel):
    scans: list[ScanEntry]
    next_cursor: Annotated[str | None, Field(description="Give it as `cursor`; null on the last page", examples=[None])]


@router.get(
    "/scans",
    operation_id="listScans",
    response_model=ScanPage,
    summary="Your scans",
    responses=error_responses(
        MissingUser, BadUser, user_scans.UnknownStream, user_scans.UnknownCategory, user_scans.BadDates, BadCursor
    ),
)
async def scans(
    user: AnyUser,
    at: At,
    stream: Annotated[str | None, Query(max_length=100, description="Id of a stream, such as `clear_pet`")] = None,
    category: Annotated[str | None, Query(max_length=100, description="Middle category, such as `무색페트병`")] = None,
    status: Annotated[user_scans.State | None, Query()] = None,
    first: Annotated[date | None, Query(alias="from", ge=_FIRST, le=_LAST, description="Day in Korea")] = None,
    last: Annotated[date | None, Query(alias="to", ge=_FIRST, le=_LAST, description="Day in Korea, included")] = None,
    cursor: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, Any]:
    """Newest first. What is submitted meanwhile does not move the pages that follow."""
    wanted = user_scans.filter_of(at.knowledge, user_scans.Asked(stream, category, status, first, last))
    rows, following = await user_scans.history(at.db, user, wanted, cursor, limit)
    return {"scans": [user_scans.entry(at, row) for row in rows], "next_cursor": following}
