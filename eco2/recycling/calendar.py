"""Collection days of a district: importing them, the schedule, the dates that follow, an iCalendar file."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

from eco2.core.errors import BadRequest, NotFound
from eco2.core.postgres import Database
from eco2.knowledge import Knowledge, days, holidays
from eco2.knowledge.days import Area, Schedule
from eco2.knowledge.districts import Districts, UnknownDistrict
from eco2.knowledge.models import Collection, Pickup, Source
from eco2.knowledge.regions import COLLECTIONS, DAYS
from eco2.recycling import household, store

if TYPE_CHECKING:
    from icalendar import Event

SEOUL = ZoneInfo("Asia/Seoul")
SOURCE = "household_waste_info"
SAMPLE_TITLE, SAMPLE_PUBLISHER = "견본 배출 요일(지어낸 자료)", "Eco²"
LONGEST_DAYS = 92
Holidays = Mapping[date, tuple[str, ...]]
FARTHEST = timedelta(days=3660)


class DistrictUnknown(NotFound):
    """There is no such district; name it as 서울특별시 마포구, or 마포구 where that is clear."""

    code = "REGION_NOT_FOUND"


class NoDays(NotFound):
    """There are no collection days of this district yet."""

    code = "NO_COLLECTION_DAYS"


class AreaNotFound(NotFound):
    """The district has no area of this name."""

    code = "AREA_NOT_FOUND"


class NotCollected(NotFound):
    """This stream has no collection day: take the item to a drop-off place, or book its collection."""

    code = "STREAM_NOT_COLLECTED"


class DayOutOfRange(BadRequest):
    """`from` is a day within ten years."""

    code = "DAY_OUT_OF_RANGE"


class NothingFound(BadRequest):
    """No line of the file could be read; nothing was changed."""

    code = "NO_LINE_READ"


# --- importing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Imported:
    read: household.Read
    swapped: store.Swapped | None
    """None after a dry run."""


def read_file(districts: Districts, path: Path) -> household.Read:
    """NotTheDataSet, NothingFound, OSError."""
    read = household.read(path, districts, today())
    if not read.found:
        reasons = sorted({one.reason for one in read.rejected})
        raise NothingFound(f"No line of {path.name} could be read ({'; '.join(reasons[:3]) or 'it has none'}).")
    return read


async def import_file(db: Database, districts: Districts, path: Path, *, sample: bool = False) -> Imported:
    """Replace the areas of the districts that the file holds. NotTheDataSet, NothingFound, OSError."""
    try:
        read = read_file(districts, path)
    except (household.NotTheDataSet, NothingFound) as refused:
        await store.note(db, 0, {}, refused.code)
        raise
    rows = [(one.district, one.area, one.checked) for one in read.found]
    swapped = await store.swap(db, rows, sample=sample)
    await store.note(db, len(rows), Counter(f"rejected.{one.code}" for one in read.rejected))
    return Imported(read, swapped)


# --- schedules --------------------------------------------------------------------------------------------------------


def today() -> date:
    return datetime.now(SEOUL).date()


def is_stale(checked: date, now: date) -> bool:
    return now - checked > days.STALE_AFTER


def district_of(knowledge: Knowledge, districts: Districts, region: str) -> str:
    """Full name of the district of a region id, or of a name. DistrictUnknown."""
    known = knowledge.regions.get(region)
    try:
        return districts.named(known.ko if known else region)
    except UnknownDistrict as error:
        raise DistrictUnknown(str(error)) from None


async def schedule(db: Database, knowledge: Knowledge, district: str) -> Schedule | None:
    """Look up a district's calendar by its full name."""
    rows = await store.areas_of(db, district)
    if not rows:
        return None
    source = knowledge.sources.get(SOURCE)
    sample = any(is_sample for _, _, is_sample in rows)
    return Schedule(
        district,
        tuple(area for area, _, _ in rows),
        min(checked for _, checked, _ in rows),
        sample,
        *_named(source, sample),
    )


def _named(source: Source | None, sample: bool) -> tuple[str, str, str]:
    if sample:
        return SAMPLE_TITLE, SAMPLE_PUBLISHER, ""
    return (source.title, source.publisher, source.url) if source else ("생활쓰레기 배출정보", "행정안전부", "")


async def known_schedule(db: Database, knowledge: Knowledge, district: str) -> Schedule:
    found = await schedule(db, knowledge, district)
    if found is None:
        raise NoDays(f"There are no collection days of {district} yet; ask its office, or 120.")
    return found


def areas(found: Schedule, name: str | None) -> tuple[Area, ...]:
    """All areas, or that of the name, or those that cover the neighbourhood of that name. AreaNotFound."""
    if name is None:
        return found.areas
    meant = [area for area in found.areas if area.name == name]
    meant = meant or [area for area in found.areas if name in days.neighbourhoods(area.covers)]
    if not meant:
        raise AreaNotFound(f"{found.district} has the areas {', '.join(area.name for area in found.areas[:20])}.")
    return tuple(meant)


def collection(knowledge: Knowledge, stream: str | None) -> Collection | None:
    """Look up the collections of a disposal stream, or a collection by its name in the calendar. NotCollected."""
    if stream is None:
        return None
    named: dict[str, Collection] = {name: name for name in COLLECTIONS} | days.STREAMS
    if stream in named:
        return named[stream]
    if stream in knowledge.streams:
        raise NotCollected
    raise NotCollected(f"There is no disposal stream {stream!r}.")


def start(first: date | None, now: date) -> date:
    """The first day of a calendar. DayOutOfRange."""
    if first is None:
        return now
    if abs(first - now) > FARTHEST:
        raise DayOutOfRange
    return first


def wanted(area: Area, asked: Collection | None) -> list[Collection]:
    """Collection that is asked for and made there."""
    if asked is None:
        return list(dict.fromkeys(pickup.collection for pickup in area.pickups))
    return [asked] if area.pickup(asked) else []


def upcoming(
    area: Area, asked: Collection | None, first: date, count: int, book: Holidays
) -> list[tuple[date, Collection]]:
    """(day, collection) of the so many days from the first, without the public holidays on which nothing is taken."""
    found = [
        (day, name)
        for name in wanted(area, asked)
        for day in days.dates(area, name, first, count)
        if not holidays.rests(area.no_pickup, day, book)
    ]
    return sorted(found, key=lambda one: one[0])


# --- iCalendar --------------------------------------------------------------------------------------------------------


def icalendar(found: Schedule, meant: Sequence[Area], asked: Collection | None, book: Holidays) -> bytes:
    """Weekly events but for holidays without collection, the same whenever it is asked for. NotCollected: no day."""
    from icalendar import Calendar

    calendar = Calendar()
    calendar.add("prodid", "-//Eco2//collection days//KO")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", f"{found.district} 배출 요일" + (" (견본)" if found.sample else ""))
    calendar.add("x-wr-timezone", SEOUL.key)
    several = len(meant) > 1
    for area in meant:
        for name in wanted(area, asked):
            pickup = area.pickup(name)
            if pickup and pickup.days:
                calendar.add_component(_event(found, area, name, pickup, several, book))
    if not calendar.subcomponents:
        raise NotCollected(f"{found.district} has no day for that.")
    calendar.add_missing_timezones()
    return bytes(calendar.to_ical())


def _event(found: Schedule, area: Area, name: Collection, pickup: Pickup, several: bool, book: Holidays) -> "Event":
    from icalendar import Event

    event = Event()
    what = f"{COLLECTIONS[name][0]} 내놓는 날"
    event.add("uid", f"{uuid5(NAMESPACE_URL, '/'.join((found.district, area.name, area.covers, name)))}@eco2")
    event.add("summary", f"{what} ({area.name})" if several else what)
    event.add("dtstamp", datetime.combine(found.checked, time(), UTC))
    for key, value in zip(("dtstart", "dtend"), _span(found.checked, pickup), strict=True):
        event.add(key, value)
    event.add("rrule", {"freq": "weekly", "byday": [day[:2].upper() for day in pickup.days]})
    rests = [day for day in sorted(book) if day >= found.checked and holidays.rests(area.no_pickup, day, book)]
    for day in rests:
        if tuple(DAYS)[day.weekday()] in pickup.days:
            event.add("exdate", _at(day, pickup.from_time) if pickup.from_time and pickup.until_time else day)
    event.add("description", "\n".join(_said(found, area, pickup)))
    if pickup.place_ko:
        event.add("location", pickup.place_ko)
    event.add("transp", "TRANSPARENT")
    return event


def _span(checked: date, pickup: Pickup) -> tuple[date, date]:
    """Begin and end on the first day since the date of the data; whole days where no times are known."""
    first = next(d for n in range(7) if tuple(DAYS)[(d := checked + timedelta(days=n)).weekday()] in pickup.days)
    if not (pickup.from_time and pickup.until_time):
        return first, first + timedelta(days=1)
    start, end = _at(first, pickup.from_time), _at(first, pickup.until_time)
    return start, end if end > start else end + timedelta(days=1)


def _at(day: date, clock: str) -> datetime:
    """24:00 is midnight at the end of the day."""
    hours, minutes = map(int, clock.split(":"))
    return datetime.combine(day, time(), SEOUL) + timedelta(hours=hours, minutes=minutes)


def _said(found: Schedule, area: Area, pickup: Pickup) -> Iterator[str]:
    if found.sample:
        yield "시험해 보려고 지어낸 견본이에요."
    if pickup.method_ko:
        yield pickup.method_ko
    if area.no_pickup:
        yield f"수거하지 않는 날: {area.no_pickup}"
    if area.tel:
        yield f"문의: {area.office} {area.tel}".replace("  ", " ")
    yield f"출처: {found.publisher} {found.title}({found.checked} 기준)"
