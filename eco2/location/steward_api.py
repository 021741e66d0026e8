"""Routes of stewards: users' reports about places, and removal of a place from the map."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from eco2.core import cursors
from eco2.core.app import STEWARD_ERRORS, Steward, a_steward, error_responses
from eco2.core.cursors import BadCursor
from eco2.location import feedback_store, service, store
from eco2.location.api import At, Kind, PlaceId

router = APIRouter(prefix="/api/v1/locations", tags=["stewards"], dependencies=[a_steward])


class ReportedPlace(BaseModel):
    id: Annotated[UUID, Field(description="Of the report", examples=["0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"])]
    place_id: Annotated[int, Field(examples=[1024])]
    name: Annotated[str, Field(examples=["망원1동 주민센터 폐건전지 수거함"])]
    road_address: Annotated[str | None, Field(examples=["서울특별시 마포구 월드컵로25길 55"])]
    kind: Annotated[Kind, Field(examples=["gone"])]
    comment: Annotated[str | None, Field(examples=["수거함이 없어졌어요."])]
    created_at: Annotated[datetime, Field(examples=["2026-11-30T09:30:00Z"])]
    reports: Annotated[int, Field(description="How many people say this of the place", examples=[3])]


class ReportedPlaces(BaseModel):
    reports: list[ReportedPlace]
    next_cursor: Annotated[str | None, Field(description="Of the next page; null on the last one", examples=[None])]


@router.get(
    "/reports",
    operation_id="listPlaceReports",
    response_model=ReportedPlaces,
    summary="Users' reports about places",
    responses=error_responses(*STEWARD_ERRORS, BadCursor),
)
async def reports(
    at: At,
    kind: Kind | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before")] = None,
) -> ReportedPlaces:
    """For stewards. Newest first, of places that are on the map, without users."""
    rows = await feedback_store.reported(at.db, kind, cursors.decode_uuid(cursor) if cursor else None, limit + 1)
    shown = rows[:limit]
    return ReportedPlaces(
        reports=[ReportedPlace.model_validate(vars(row)) for row in shown],
        next_cursor=cursors.encode(shown[-1].created_at, str(shown[-1].id)) if len(rows) > limit else None,
    )


@router.delete(
    "/reports/{report_id}",
    operation_id="settlePlaceReport",
    status_code=204,
    summary="Put a report aside",
    responses=error_responses(*STEWARD_ERRORS, service.ReportNotFound),
)
async def settle(at: At, report_id: UUID) -> None:
    """For stewards. The place stays as it is."""
    if not await feedback_store.settle(at.db, report_id):
        raise service.ReportNotFound


@router.post(
    "/{place_id}/retire",
    operation_id="retirePlace",
    status_code=204,
    summary="Take a place off the map",
    responses=error_responses(*STEWARD_ERRORS, service.LocationNotFound),
)
async def retire(at: At, user: Steward, place_id: PlaceId) -> None:
    """For stewards. No import brings it back; `…/restore` does."""
    if not await store.retire(at.db, place_id, str(user)):
        raise service.LocationNotFound


@router.post(
    "/{place_id}/restore",
    operation_id="restorePlace",
    status_code=204,
    summary="Put a retired place on the map again",
    responses=error_responses(*STEWARD_ERRORS, service.LocationNotFound),
)
async def restore(at: At, place_id: PlaceId) -> None:
    """For stewards."""
    if not await store.restore(at.db, place_id):
        raise service.LocationNotFound
