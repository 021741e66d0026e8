"""Routes of location-api."""

from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from eco2.core.app import (
    AnyUser,
    Asked,
    BadUser,
    MissingUser,
    Shortcut,
    Text,
    User,
    any_user,
    error_responses,
    opened,
)
from eco2.core.short_cuts import ShortCut
from eco2.location import opening, service
from eco2.location import search as searching
from eco2.location.categories import PICKUP_CATEGORIES, STORE_CATEGORIES, Source
from eco2.location.kakao import KakaoPlace, KakaoUnavailable
from eco2.location.service import Services

router = APIRouter(prefix="/api/v1/locations", tags=["locations"])

_USER_ERRORS = (MissingUser, BadUser)
_ID = 1024
_NAME, _ROAD = "망원1동 주민센터 폐건전지 수거함", "서울특별시 마포구 월드컵로25길 55"

Kind = Literal["gone", "moved", "wrong_hours", "wrong_items", "other"]


class Entry(BaseModel):
    """A place in a list. An id below zero is a place that only Kakao knows."""

    id: Annotated[int, Field(examples=[_ID])]
    name: Annotated[str, Field(examples=[_NAME])]
    source: Annotated[Source, Field(description="`keco`: public data; `zerowaste`: shops; `kakao`", examples=["keco"])]
    road_address: Annotated[str | None, Field(examples=[_ROAD])] = None
    latitude: Annotated[float | None, Field(examples=[37.5553])] = None
    longitude: Annotated[float | None, Field(examples=[126.9019])] = None
    distance_km: Annotated[float, Field(description="0 if the request has no location", examples=[0.412])]
    distance_text: Annotated[str | None, Field(examples=["410m"])] = None
    store_category: Annotated[str, Field(examples=["public_dropbox"])]
    pickup_categories: Annotated[list[str], Field(description="Empty if unknown", examples=[["general"]])]
    is_holiday: Annotated[bool | None, Field(description="Closed all day. Null: unknown", examples=[False])] = None
    is_open: Annotated[bool | None, Field(description="Null: unknown", examples=[True])] = None
    start_time: Annotated[str | None, Field(description="Today's, in Korea", examples=["09:00"])] = None
    end_time: Annotated[str | None, Field(examples=["18:00"])] = None
    phone: Annotated[str | None, Field(examples=["02-3153-6610"])] = None
    place_url: Annotated[str | None, Field(examples=[None])] = None
    kakao_place_id: Annotated[str | None, Field(examples=[None])] = None
    dataset: Annotated[str | None, Field(description="Kind of place", examples=["battery_box"])] = None
    streams: Annotated[
        list[str],
        Field(description="Disposal streams that it takes, as in /recycling/streams", examples=[["battery_bin"]]),
    ] = []
    residents_only: Annotated[bool, Field(description="Inside a housing complex", examples=[False])] = False
    needs_check: Annotated[bool, Field(description="Its data is older than a year", examples=[False])] = False


class PlaceSource(BaseModel):
    title: str
    publisher: str
    licence: str
    url: str
    date: Annotated[date | None, Field(description="Of the data")]


class FeedSource(PlaceSource):
    """Source of a list of places."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "title": "폐건전지 수거함",
                    "publisher": "서울특별시 마포구",
                    "licence": "kogl-1",
                    "url": "https://www.data.go.kr",
                    "date": "2026-06-30",
                    "places": 182,
                }
            ]
        }
    )

    places: Annotated[int, Field(description="On the map today", examples=[182])]


class Detail(BaseModel):
    id: Annotated[int, Field(examples=[_ID])]
    name: Annotated[str, Field(examples=[_NAME])]
    source: Annotated[Source, Field(examples=["keco"])]
    road_address: Annotated[str | None, Field(examples=[_ROAD])] = None
    lot_address: Annotated[str | None, Field(examples=["서울특별시 마포구 망원동 436-14"])] = None
    latitude: Annotated[float | None, Field(examples=[37.5553])] = None
    longitude: Annotated[float | None, Field(examples=[126.9019])] = None
    store_category: Annotated[str, Field(examples=["public_dropbox"])]
    pickup_categories: Annotated[list[str], Field(examples=[["general"]])]
    phone: Annotated[str | None, Field(examples=["02-3153-6610"])] = None
    place_url: Annotated[str | None, Field(examples=[None])] = None
    kakao_place_id: Annotated[str | None, Field(examples=[None])] = None
    collection_items: Annotated[str | None, Field(description="As the source says it", examples=["폐건전지"])] = None
    introduction: Annotated[str | None, Field(examples=[None])] = None
    dataset: Annotated[str | None, Field(examples=["battery_box"])] = None
    streams: Annotated[list[str], Field(examples=[["battery_bin"]])] = []
    detail: Annotated[str | None, Field(description="Location in the building", examples=["1층 민원실 입구"])] = None
    residents_only: Annotated[bool, Field(examples=[False])] = False
    needs_check: Annotated[bool, Field(examples=[False])] = False
    opening_hours: Annotated[str | None, Field(description="As the source says it", examples=["평일 09:00~18:00"])] = (
        None
    )
    is_holiday: Annotated[bool | None, Field(examples=[False])] = None
    is_open: Annotated[bool | None, Field(examples=[True])] = None
    start_time: Annotated[str | None, Field(examples=["09:00"])] = None
    end_time: Annotated[str | None, Field(examples=["18:00"])] = None
    data_source: Annotated[
        PlaceSource | None,
        Field(
            examples=[
                {
                    "title": "폐건전지 수거함",
                    "publisher": "서울특별시 마포구",
                    "licence": "kogl-1",
                    "url": "https://www.data.go.kr",
                    "date": "2026-06-30",
                }
            ]
        ),
    ] = None


class Suggestion(BaseModel):
    place_name: Annotated[str, Field(examples=[_NAME])]
    address: Annotated[str | None, Field(examples=[_ROAD])] = None
    latitude: Annotated[float, Field(examples=[37.5553])]
    longitude: Annotated[float, Field(examples=[126.9019])]
    place_url: Annotated[str | None, Field(examples=[None])] = None


class Cluster(BaseModel):
    """Places that lie together; the point is their middle."""

    latitude: Annotated[float, Field(examples=[37.5571])]
    longitude: Annotated[float, Field(examples=[126.9236])]
    count: Annotated[int, Field(examples=[182])]


class KindOfPlace(BaseModel):
    id: Annotated[str, Field(examples=["battery_box"])]
    name: Annotated[str, Field(examples=["폐건전지 수거함"])]
    where: Annotated[str, Field(examples=["주민센터, 아파트 분리수거장, 학교, 일부 대형마트에 있어요."])]


class Nearest(BaseModel):
    stream: Annotated[str, Field(examples=["battery_bin"])]
    item: Annotated[str | None, Field(examples=["dry_cell"])] = None
    drop_offs: Annotated[list[KindOfPlace], Field(description="Kinds of places that take it, even if none is near")]
    places: Annotated[list[Entry], Field(description="Nearest first")]


class PlaceReportRequest(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "gone", "comment": "수거함이 없어졌어요."}]})

    kind: Kind
    comment: Annotated[Text | None, Field(max_length=500)] = None


class PlaceReport(BaseModel):
    id: Annotated[UUID, Field(examples=["0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"])]
    place_id: Annotated[int, Field(examples=[_ID])]
    kind: Annotated[Kind, Field(examples=["gone"])]
    created_at: Annotated[datetime, Field(examples=["2026-11-30T09:30:00Z"])]


Latitude = Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False, examples=[37.5553])]
Longitude = Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False, examples=[126.9019])]
OptionalLatitude = Annotated[float | None, Query(ge=-90, le=90, allow_inf_nan=False)]
OptionalLongitude = Annotated[float | None, Query(ge=-180, le=180, allow_inf_nan=False)]
Radius = Annotated[
    int | None, Query(ge=service.RADIUS_MIN, le=service.RADIUS_MAX, description="Metres; default: that of `zoom`")
]
Zoom = Annotated[
    int | None, Query(ge=1, le=20, description="A larger zoom is closer, as in web maps; `radius` counts for more")
]
StoreCategory = Annotated[str, Query(max_length=200, description=f"`all`, or some of {', '.join(STORE_CATEGORIES)}")]
PickupCategory = Annotated[str, Query(max_length=200, description=f"`all`, or some of {', '.join(PICKUP_CATEGORIES)}")]
Streams = Annotated[
    str, Query(max_length=400, description="`all`, or disposal streams with commas between, as battery_bin")
]
Words = Annotated[
    str,
    Query(
        min_length=1,
        max_length=100,
        description="Part of a name, also with a region (마포구 약국), a typing error, or first consonants (ㅇㄹㅅㅈ)",
        examples=["망원 주민센터"],
    ),
]
PlaceId = Annotated[int, Path(ge=-(2**53), le=2**53)]
_FILTER_ERRORS = (service.BadStoreCategory, service.BadPickupCategory, service.BadStream)


At = Annotated[Services, opened(Services)]


class View(BaseModel):
    """Query of the nearest places."""

    lat: Latitude
    lon: Longitude
    radius: Radius = None
    zoom: Zoom = None
    store_category: StoreCategory = "all"
    pickup_category: PickupCategory = "all"
    stream: Streams = "all"


@router.get(
    "/centers",
    operation_id="listNearestPlaces",
    response_model=list[Entry],
    dependencies=[any_user],
    summary="Places around a point, nearest first",
    responses=error_responses(*_USER_ERRORS, *_FILTER_ERRORS),
)
async def centers(at: At, view: Annotated[View, Query()]) -> Any:
    """With neither `radius` nor `zoom` the nearest 50, however far. A wider view gets more places, 300 at most;
    `/locations/clusters` shows all of a wide view."""
    return await _centers(at, view)


async def _centers(at: Services, view: View) -> list[service.Entry]:
    chosen = service.filters(at.knowledge, view.store_category, view.pickup_category, view.stream)
    radius = view.radius
    if radius is None and view.zoom is not None:
        radius = service.radius_of_zoom(view.zoom)
    limit = service.limit_of_radius(radius)
    return await service.centers(at, view.lat, view.lon, radius, chosen, limit, datetime.now(UTC))


async def _centers_shortly(at: Services, asked: Asked) -> bytes:
    return orjson.dumps(await _centers(at, View.model_validate(asked.values())))


CENTERS = Shortcut(ShortCut.NEAREST_PLACES, f"{router.prefix}/centers", _centers_shortly)


@router.get(
    "/sources",
    operation_id="listPlaceSources",
    response_model=list[FeedSource],
    dependencies=[any_user],
    summary="Sources and licences of the places",
    responses=error_responses(*_USER_ERRORS),
)
async def sources(at: At) -> Any:
    """The attribution that a page has to show: institution, title, date of the data, licence, address."""
    return await service.sources(at)


@router.get(
    "/centers/{place_id}",
    operation_id="getPlace",
    response_model=Detail,
    dependencies=[any_user],
    summary="One place",
    responses=error_responses(*_USER_ERRORS, service.LocationNotFound),
)
async def center(at: At, place_id: PlaceId) -> Any:
    found = await service.find(at, place_id)
    now = datetime.now(UTC)
    if isinstance(found, KakaoPlace):
        return asdict(service.of_kakao(found, None, None)) | {"lot_address": found.lot_address}
    place = found.place
    return asdict(service.entry(place, now, at.clock)) | {
        "road_address": place.road_address,
        "lot_address": place.lot_address,
        "detail": place.detail,
        "collection_items": found.collection_items,
        "introduction": found.introduction,
        "opening_hours": opening.read(place.hours).raw if place.hours else None,
        "data_source": {
            "title": found.title,
            "publisher": found.publisher,
            "licence": found.licence,
            "url": found.url,
            "date": place.data_date,
        },
    }


@router.get(
    "/search",
    operation_id="searchPlaces",
    response_model=list[Entry],
    summary="Places by name",
    responses=error_responses(*_USER_ERRORS, searching.TooManySearches, KakaoUnavailable),
)
async def search(
    at: At,
    user: AnyUser,
    q: Words,
    lat: OptionalLatitude = None,
    lon: OptionalLongitude = None,
    radius: Annotated[int, Query(ge=100, le=searching.RADIUS_MAX, description="Metres around lat and lon")] = 5000,
) -> Any:
    """Without `lat` and `lon` in all of Korea. Our own places come first, then those of Kakao, with ids below zero."""
    return await searching.search(at, user, q, lat, lon, radius, datetime.now(UTC))


@router.get(
    "/suggest",
    operation_id="suggestPlaces",
    response_model=list[Suggestion],
    summary="Suggestions while a user types",
    responses=error_responses(*_USER_ERRORS, searching.TooManySearches),
)
async def suggest(at: At, user: AnyUser, q: Words) -> Any:
    return [asdict(one) for one in await searching.suggest(at, user, q)]


@router.get(
    "/clusters",
    operation_id="listPlaceClusters",
    response_model=list[Cluster],
    dependencies=[any_user],
    summary="Numbers of places by area, for a wide view",
    responses=error_responses(*_USER_ERRORS, *_FILTER_ERRORS, service.BadBox, service.OneFilter),
)
async def clusters(
    at: At,
    bbox: Annotated[str, Query(max_length=200, description="west,south,east,north", examples=["124,33,132,39"])],
    zoom: Annotated[int, Query(ge=1, le=20, description="As for /locations/centers")] = 2,
    store_category: StoreCategory = "all",
    pickup_category: PickupCategory = "all",
    stream: Streams = "all",
) -> Any:
    """Largest first, 1,000 at most. Counts are kept for one value of one filter."""
    chosen = service.filters(at.knowledge, store_category, pickup_category, stream)
    return [asdict(one) for one in await service.clusters(at, bbox, zoom, chosen)]


@router.get(
    "/nearest",
    operation_id="findPlacesForWaste",
    response_model=Nearest,
    dependencies=[any_user],
    summary="Drop-off places for an item",
    responses=error_responses(*_USER_ERRORS, service.StreamOrItem, service.BadStream, service.ItemNotFound),
)
async def nearest(
    at: At,
    lat: Latitude,
    lon: Longitude,
    stream: Annotated[str | None, Query(max_length=100, examples=["battery_bin"])] = None,
    item: Annotated[str | None, Query(max_length=100, description="An id of /recycling/items")] = None,
    radius: Radius = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
    open_now: Annotated[bool, Query(description="Only places that are known to be open")] = False,
) -> Any:
    """Either `stream` or `item`. The kinds of places come from the knowledge base."""
    found = await service.nearest_for(at, stream, item, lat, lon, radius, limit, open_now, datetime.now(UTC))
    kinds = [{"id": kind.id, "name": kind.ko, "where": kind.where_ko} for kind in found.drop_offs]
    return {"stream": found.stream, "item": found.item, "drop_offs": kinds, "places": found.places}


@router.post(
    "/{place_id}/feedback",
    operation_id="reportPlace",
    response_model=PlaceReport,
    status_code=201,
    summary="Report a mistake about a place",
    responses=error_responses(*_USER_ERRORS, service.LocationNotFound, service.TooManyReports),
)
async def feedback(at: At, user: User, place_id: PlaceId, body: PlaceReportRequest) -> Any:
    """Stewards read it. A report of the same kind replaces your earlier one."""
    return asdict(await service.say(at, user, place_id, body.kind, body.comment))
