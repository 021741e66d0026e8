"""Routes of stewards: disputed results, without their users and photos."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from eco2.core import cursors
from eco2.core.app import STEWARD_ERRORS, a_steward, error_responses
from eco2.core.cursors import BadCursor
from eco2.scan import feedback_store
from eco2.scan.api import At

router = APIRouter(prefix="/api/v1/scan", tags=["stewards"], dependencies=[a_steward])


class Meant(BaseModel):
    item: Annotated[str, Field(description="Its id", examples=["milk_carton"])]
    name: Annotated[str, Field(examples=["우유팩"])]
    times: Annotated[int, Field(examples=[4])]


class DisputedItem(BaseModel):
    item: Annotated[str, Field(description="Id of the answered item", examples=["paper_cup"])]
    name: Annotated[str, Field(examples=["종이컵"])]
    judged: Annotated[int, Field(examples=[31])]
    wrong: Annotated[int, Field(examples=[9])]
    meant: Annotated[list[Meant], Field(description="True items, at most three, most frequent first")]


class Dispute(BaseModel):
    job_id: Annotated[UUID, Field(examples=["0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"])]
    item: Annotated[str, Field(examples=["paper_cup"])]
    name: Annotated[str, Field(examples=["종이컵"])]
    meant: Annotated[str | None, Field(description="Name of the true item, if the user gave it", examples=["우유팩"])]
    comment: Annotated[str | None, Field(examples=["안쪽이 은색이에요"])]
    model: Annotated[str | None, Field(description="Looked at the photo", examples=["embedded"])]
    updated_at: Annotated[datetime, Field(examples=["2026-11-22T09:30:00Z"])]


class Disputes(BaseModel):
    disputes: list[Dispute]
    next_cursor: Annotated[str | None, Field(description="Of the next page; null on the last one", examples=[None])]


@router.get(
    "/disputed",
    operation_id="listDisputedItems",
    response_model=list[DisputedItem],
    summary="The most disputed items",
    responses=error_responses(*STEWARD_ERRORS),
)
async def disputed(
    at: At,
    days: Annotated[int, Query(ge=1, le=365, description="Of the last so many days")] = 30,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> list[DisputedItem]:
    """For stewards. What many call wrong comes before what few do."""
    since = datetime.now(UTC) - timedelta(days=days)
    rows = await feedback_store.top(at.db, since, limit)
    return [
        DisputedItem(
            item=row.item_id,
            name=_name(at, row.item_id),
            judged=row.judged,
            wrong=row.wrong,
            meant=[Meant(item=item, name=_name(at, item), times=times) for item, times in row.meant],
        )
        for row in rows
    ]


@router.get(
    "/disputes",
    operation_id="listDisputes",
    response_model=Disputes,
    summary="Feedback on disputed results",
    responses=error_responses(*STEWARD_ERRORS, BadCursor),
)
async def disputes(
    at: At,
    item: Annotated[str | None, Query(max_length=100, description="Only results with this item")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before")] = None,
) -> Disputes:
    """For stewards. Newest first."""
    after = cursors.decode_uuid(cursor) if cursor else None
    rows = await feedback_store.wrong(at.db, item, after, limit + 1)
    shown = rows[:limit]
    return Disputes(
        disputes=[
            Dispute(
                job_id=row.job_id,
                item=row.item_id,
                name=_name(at, row.item_id),
                meant=_name(at, row.actual_item_id) if row.actual_item_id else None,
                comment=row.comment,
                model=row.model,
                updated_at=row.updated_at,
            )
            for row in shown
        ],
        next_cursor=cursors.encode(shown[-1].updated_at, str(shown[-1].job_id)) if len(rows) > limit else None,
    )


def _name(at: At, item_id: str) -> str:
    """An item that the rules no longer know keeps its id."""
    item = at.knowledge.items.get(item_id)
    return item.ko if item else item_id
