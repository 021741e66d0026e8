"""Routes of collection days. Public, like the rest of the catalogue; an answer for a single day is never cached."""

from datetime import date
from hashlib import sha256
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from eco2.core.app import error_responses
from eco2.core.errors import Unavailable
from eco2.knowledge.days import Area, Schedule
from eco2.knowledge.models import Collection, Day
from eco2.knowledge.regions import COLLECTIONS
from eco2.recycling import calendar
from eco2.recycling.api import At

router = APIRouter(prefix="/api/v1/recycling/regions", tags=["recycling"])

HOUR = 3600
_EXAMPLE = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Eco2//collection days//KO\r\nBEGIN:VEVENT\r\n"
    "SUMMARY:비닐류 내놓는 날\r\nDTSTART;TZID=Asia/Seoul:20261105T180000\r\n"
    "DTEND;TZID=Asia/Seoul:20261106T000000\r\nRRULE:FREQ=WEEKLY;BYDAY=TH\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


class PutOut(BaseModel):
    """Days and times of putting something out. `days` is empty where the source says it in words (`method`)."""

    collection: Annotated[Collection, Field(examples=["vinyl"])]
    name: Annotated[str, Field(examples=["비닐류"])]
    days: Annotated[list[Day], Field(examples=[["thu"]])]
    from_time: Annotated[str | None, Field(description="HH:MM", examples=["18:00"])]
    until_time: Annotated[
        str | None,
        Field(description="HH:MM, 24:00 is midnight; before `from_time`: of the next day", examples=["24:00"]),
    ]
    place: Annotated[str | None, Field(examples=["내 집 앞"])]
    method: Annotated[str | None, Field(examples=["투명한 봉투에 담아요"])]
    with_recyclables: Annotated[bool, Field(description="It has no day of its own", examples=[False])]


class NextDay(BaseModel):
    date: Annotated[date, Field(examples=["2026-12-03"])]
    collection: Annotated[Collection, Field(examples=["vinyl"])]


class AreaDays(BaseModel):
    area: Annotated[str, Field(examples=["1구역"])]
    covers: Annotated[str, Field(description="Neighbourhoods, as the source writes them", examples=["합정동+망원1동"])]
    pickups: list[PutOut]
    next: list[NextDay]
    no_pickup: Annotated[
        str | None,
        Field(
            description="Days without collection; `next` leaves out the public holidays among them",
            examples=["설·추석 당일"],
        ),
    ]
    office: Annotated[str | None, Field(examples=["자원순환과"])]
    tel: Annotated[str | None, Field(examples=["02-120"])]

    @classmethod
    def of(cls, area: Area, asked: Collection | None, first: date, count: int, book: calendar.Holidays) -> "AreaDays":
        return cls(
            area=area.name,
            covers=area.covers,
            pickups=[_put_out(area, name) for name in calendar.wanted(area, asked)],
            next=[
                NextDay(date=day, collection=name) for day, name in calendar.upcoming(area, asked, first, count, book)
            ],
            no_pickup=area.no_pickup or None,
            office=area.office or None,
            tel=area.tel or None,
        )


def _put_out(area: Area, name: Collection) -> PutOut:
    pickup = area.pickup(name)
    assert pickup is not None
    return PutOut(
        collection=name,
        name=COLLECTIONS[name][0],
        days=list(pickup.days),
        from_time=pickup.from_time or None,
        until_time=pickup.until_time or None,
        place=pickup.place_ko or None,
        method=pickup.method_ko or None,
        with_recyclables=pickup.collection != name,
    )


class CalendarSource(BaseModel):
    title: Annotated[str, Field(examples=["전국 생활쓰레기 배출정보 표준데이터"])]
    publisher: Annotated[str, Field(examples=["행정안전부(공공데이터포털)"])]
    url: Annotated[str | None, Field(examples=["https://www.data.go.kr"])]
    checked: Annotated[date, Field(description="Date of the data", examples=["2026-06-30"])]
    stale: Annotated[bool, Field(description="Older than a year: ask to check it", examples=[False])]
    sample: Annotated[bool, Field(description="Made up for trying, not the real days", examples=[False])]

    @classmethod
    def of(cls, found: Schedule, today: date) -> "CalendarSource":
        return cls(
            title=found.title,
            publisher=found.publisher,
            url=found.url or None,
            checked=found.checked,
            stale=found.stale(today),
            sample=found.sample,
        )


class CollectionCalendar(BaseModel):
    district: Annotated[str, Field(examples=["서울특별시 마포구"])]
    collection: Annotated[Collection | None, Field(examples=["vinyl"])]
    first: Annotated[date, Field(description="`next` begins here", examples=["2026-11-30"])]
    days: Annotated[int, Field(examples=[14])]
    areas: list[AreaDays]
    source: CalendarSource


Stream = Annotated[
    str | None,
    Query(
        max_length=50,
        description="A disposal stream (`vinyl`, `paper_mixed`, …), or `general`, `food`, `recycle`; default: all",
    ),
]
AreaName = Annotated[
    str | None, Query(alias="area", max_length=200, description="Name of an area, or of a neighbourhood (합정동)")
]


async def _schedule(at: At, region_id: str) -> Schedule:
    district = calendar.district_of(at.knowledge, at.districts, region_id)
    return await calendar.known_schedule(at.db, at.knowledge, district)


_FAULTS = (calendar.DistrictUnknown, calendar.NoDays, calendar.AreaNotFound, calendar.NotCollected, Unavailable)


@router.get(
    "/{region_id}/calendar",
    operation_id="getCollectionCalendar",
    response_model=CollectionCalendar,
    summary="Collection days of a district",
    responses=error_responses(calendar.DayOutOfRange, *_FAULTS),
)
async def days(
    at: At,
    response: Response,
    region_id: str,
    stream: Stream = None,
    area: AreaName = None,
    first: Annotated[date | None, Query(alias="from", description="Default: today in Seoul")] = None,
    count: Annotated[int, Query(alias="days", ge=1, le=calendar.LONGEST_DAYS)] = 14,
) -> CollectionCalendar:
    """`region_id`: the id of a region, or the name of a district (서울특별시 마포구; 마포구 where that is clear).

    Ask when you show it: `next` holds for today."""
    asked = calendar.collection(at.knowledge, stream)
    found = await _schedule(at, region_id)
    today = calendar.today()
    start = calendar.start(first, today)
    response.headers["Cache-Control"] = "no-store"
    return CollectionCalendar(
        district=found.district,
        collection=asked,
        first=start,
        days=count,
        areas=[AreaDays.of(one, asked, start, count, at.holidays) for one in calendar.areas(found, area)],
        source=CalendarSource.of(found, today),
    )


@router.get(
    "/{region_id}/calendar.ics",
    operation_id="subscribeToCollectionCalendar",
    response_class=Response,
    summary="The same as a calendar to subscribe to",
    responses={
        200: {
            "description": "iCalendar",
            "content": {"text/calendar": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        **error_responses(*_FAULTS),
    },
)
async def days_ics(request: Request, at: At, region_id: str, stream: Stream = None, area: AreaName = None) -> Response:
    """Weekly events without a date of today in them; their ids stay the same when the days change."""
    asked = calendar.collection(at.knowledge, stream)
    found = await _schedule(at, region_id)
    body = calendar.icalendar(found, calendar.areas(found, area), asked, at.holidays)
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": f"public, max-age={HOUR}"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="text/calendar; charset=utf-8", headers=headers)
