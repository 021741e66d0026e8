"""Places: the nearest, by name, in clusters, for an item; users' reports about them."""

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

from eco2.core.errors import BadRequest, NotFound, TooMany
from eco2.core.postgres import Database
from eco2.core.turns import PerMinute, Turns
from eco2.knowledge import Knowledge
from eco2.knowledge.answer import drop_offs
from eco2.knowledge.models import DropOff
from eco2.location import categories, feedback_store, store
from eco2.location.importing.addresses import Regions
from eco2.location.kakao import Kakao, KakaoPlace
from eco2.location.opening import KOREA, Clock
from eco2.location.store import Cluster, Details, Place
from eco2.location.worker import Background

log = logging.getLogger(__name__)

NEAREST = 50
"""Places without a radius."""
RADIUS_MIN, RADIUS_MAX = 100, 50_000
GRPC_LIMIT_MAX, GRPC_RADIUS = 200, 5_000
STALE_AFTER = timedelta(days=365)
SAME_PLACE_METERS = 50
WALKED_AT_FIRST = 2_000
"""Places that the index walks past in 2 ms, before anything is known of the filter."""
WALKED = 20_000
"""Places that the index may have to walk past; beyond that the filter's own index is quicker."""
BOXES = (5_000.0, 40_000.0, 150_000.0)
"""Radii in which a filter that few places near pass is looked for, before all of Korea."""
OPEN_AMONG = 1_000
"""The nearest places among which one that is open is looked for at night."""
AROUND_LEVEL = 5
COUNTS_SECONDS = 60.0
CLUSTERS_MAX = 1000
LEVELS = (3, 5, 7)
"""Of the counts by cell (migration 0033): 28, 7 and 1.8 km."""


class LocationNotFound(NotFound):
    """There is no place of this id."""

    code = "LOCATION_NOT_FOUND"


class BadStoreCategory(BadRequest):
    """A store_category is unknown; the API document lists the values."""

    code = "INVALID_STORE_CATEGORY"


class BadPickupCategory(BadRequest):
    """A pickup_category is unknown; the API document lists the values."""

    code = "INVALID_PICKUP_CATEGORY"


class BadStream(BadRequest):
    """A stream is unknown; GET /api/v1/recycling/streams lists them."""

    code = "INVALID_STREAM"


class BadBox(BadRequest):
    """bbox is west,south,east,north in degrees, west before east and south before north."""

    code = "INVALID_BBOX"


class ReportNotFound(NotFound):
    """There is no such report; it may be settled already."""

    code = "REPORT_NOT_FOUND"


class OneFilter(BadRequest):
    """Clusters take one value of one filter; send no other."""

    code = "ONE_FILTER_ONLY"


class StreamOrItem(BadRequest):
    """Name either a stream or an item."""

    code = "STREAM_OR_ITEM"


class ItemNotFound(NotFound):
    """There is no item of this id; search for it."""

    code = "ITEM_NOT_FOUND"


class TooManyReports(TooMany):
    """오늘 보낼 수 있는 제보를 모두 보냈어요. 내일 다시 알려 주세요."""

    code = "TOO_MANY_REPORTS"


@dataclass
class Services:
    """Dependencies of location-api's functions."""

    db: Database
    kakao: Kakao
    background: Background
    knowledge: Knowledge
    clock: Clock
    regions: Regions
    searches: PerMinute
    reports: Turns
    """One at a time of a user: those of a day are counted before they are written."""
    feedback_per_day: int
    counted: dict[str, int] = field(default_factory=dict)
    """Places by tag, in all of Korea, as of `counted_at`."""
    counted_at: float = -math.inf
    sources: list[dict[str, Any]] = field(default_factory=list)
    """Feeds with places on the map, as of `sources_at`."""
    sources_at: float = -math.inf


@dataclass
class Entry:
    """A place as a list shows it. `distance_km` is 0 without a position to measure from.

    Without slots: orjson writes fifty in 10 µs that way, and in 40 with them.
    """

    id: int
    name: str
    source: str
    road_address: str | None
    latitude: float | None
    longitude: float | None
    distance_km: float
    distance_text: str | None
    store_category: str
    pickup_categories: list[str]
    is_holiday: bool | None
    is_open: bool | None
    start_time: str | None
    end_time: str | None
    phone: str | None
    place_url: str | None
    kakao_place_id: str | None
    dataset: str | None
    streams: list[str]
    residents_only: bool
    needs_check: bool
    """Its data is older than a year, or of no known day."""


@dataclass(frozen=True)
class Filters:
    """Chosen values of each kind; empty for all."""

    stores: tuple[str, ...] = ()
    pickups: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()

    @property
    def groups(self) -> list[list[str]]:
        kinds = (("store", self.stores), ("pick", self.pickups), ("stream", self.streams))
        return [[f"{kind}:{value}" for value in values] for kind, values in kinds if values]


def filters(knowledge: Knowledge, store_category: str, pickup_category: str, stream: str) -> Filters:
    """From comma lists. BadStoreCategory, BadPickupCategory, BadStream."""
    return Filters(
        _chosen(store_category, categories.STORE_CATEGORIES, BadStoreCategory),
        _chosen(pickup_category, categories.PICKUP_CATEGORIES, BadPickupCategory),
        _chosen(stream, knowledge.streams, BadStream),
    )


def _chosen(text: str, known: Iterable[str], error: type[BadRequest]) -> tuple[str, ...]:
    values = tuple(dict.fromkeys(value.strip() for value in text.split(",")))
    if "all" in values or values == ("",):
        return ()
    unknown = [value for value in values if value not in known]
    if unknown:
        raise error(f"{', '.join(unknown)[:200]} is not known; one of all, {', '.join(known)}.")
    return values


def radius_of_zoom(zoom: int) -> int:
    """Metres from the middle to the edge of a phone's map, where a larger zoom is closer: 15 is a street, 1 Korea."""
    return int(min(RADIUS_MAX, max(RADIUS_MIN, 150 * 2 ** (15 - zoom))))


def limit_of_radius(radius: float | None) -> int:
    """More places for a wider view, as many as a map can show."""
    if radius is None or radius <= 1_000:
        return NEAREST
    return 100 if radius <= 5_000 else 200 if radius <= 20_000 else 300


# --- nearest ----------------------------------------------------------------------------------------------------------


async def centers(
    services: Services, lat: float, lon: float, radius: float | None, chosen: Filters, limit: int, now: datetime
) -> list[Entry]:
    """The nearest places, nearest first."""
    found = await _nearest(services, lat, lon, radius, chosen.groups, limit)
    return [entry(place, now, services.clock) for place in once(found)]


async def _nearest(
    services: Services, lat: float, lon: float, radius: float | None, groups: Sequence[Sequence[str]], limit: int
) -> list[Place]:
    db = services.db
    found, complete = await store.nearest(db, lat, lon, radius, groups, limit, WALKED_AT_FIRST)
    if complete:
        return found
    among = await _walk(services, lat, lon, groups, limit)
    if among <= WALKED:
        found, complete = await store.nearest(db, lat, lon, radius, groups, limit, WALKED)
        if complete:
            return found
    totals = await _totals(services)
    if min(sum(totals.get(tag, 0) for tag in group) for group in groups) > WALKED:
        for box in BOXES:
            if radius is not None and radius <= box:
                break
            found = await store.nearest_of_rare(db, lat, lon, box, groups, limit)
            if len(found) >= limit:
                return found
    return await store.nearest_of_rare(db, lat, lon, radius, groups, limit)


async def _walk(services: Services, lat: float, lon: float, groups: Sequence[Sequence[str]], limit: int) -> int:
    """Number of nearest places among which enough pass the filter, by the counts around; more than WALKED for a rare
    filter. Where there is hardly any place around, the counts of all Korea tell."""
    x, y = cell(lat, lon, AROUND_LEVEL)
    tags = ["", *(tag for group in groups for tag in group)]
    counted: Mapping[str, int] = await store.counts_around(services.db, AROUND_LEVEL, x, y, 1, tags)
    if counted.get("", 0) < limit:
        counted = await _totals(services)
    everything = counted.get("", 0) or 1
    share = math.prod(min(1.0, sum(counted.get(tag, 0) for tag in group) / everything) for group in groups)
    return int(min(WALKED + 1, 1.5 * limit / share)) if share * everything >= limit else WALKED + 1


async def _totals(services: Services) -> Mapping[str, int]:
    """Places by tag in all of Korea, a minute old at most."""
    if time.monotonic() - services.counted_at > COUNTS_SECONDS:
        rows = await store.totals(services.db, LEVELS[0])
        services.counted, services.counted_at = dict(rows), time.monotonic()
    return services.counted


async def sources(services: Services) -> list[dict[str, Any]]:
    """Feeds that have places on the map, a minute old at most: all places are counted for it."""
    if time.monotonic() - services.sources_at > COUNTS_SECONDS:
        services.sources, services.sources_at = await store.sources(services.db), time.monotonic()
    return services.sources


def once(found: Iterable[Place]) -> list[Place]:
    """Without those that another feed has, too: the same kind and name within 50 m, of which the nearest stays."""
    kept: list[Place] = []
    seen: dict[tuple[str, str], list[Place]] = {}
    for place in found:
        twins = seen.setdefault((place.dataset, place.name_key), [])
        if any(near(place, twin) for twin in twins):
            continue
        twins.append(place)
        kept.append(place)
    return kept


def near(one: Place | KakaoPlace, other: Place | KakaoPlace) -> bool:
    if None in (one.latitude, one.longitude, other.latitude, other.longitude):
        return False
    return meters(one.latitude, one.longitude, other.latitude, other.longitude) <= SAME_PLACE_METERS  # type: ignore[arg-type]


def meters(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Distance on a sphere; good to half a percent."""
    dlat, dlon = math.radians(other_lat - lat), math.radians(other_lon - lon)
    a = (
        math.sin(dlat / 2) ** 2
        + math.cos(math.radians(lat)) * math.cos(math.radians(other_lat)) * math.sin(dlon / 2) ** 2
    )
    return 2 * 6_371_008.8 * math.asin(min(1.0, math.sqrt(a)))


def distance_text(distance: float) -> str:
    return f"{round(distance / 10) * 10}m" if distance < 995 else f"{distance / 1000:.1f}km"


def entry(place: Place, now: datetime, clock: Clock) -> Entry:
    state = clock.state(place.hours, now)
    away, away_text = _distance(place.meters)
    return Entry(
        id=place.id,
        name=place.name,
        source=place.source,
        road_address=place.road_address or place.lot_address,
        latitude=place.latitude,
        longitude=place.longitude,
        distance_km=away,
        distance_text=away_text,
        store_category=place.store_category,
        pickup_categories=place.pickup_categories,
        is_holiday=state.is_holiday,
        is_open=state.is_open,
        start_time=state.start_time,
        end_time=state.end_time,
        phone=place.phone,
        place_url=place.place_url,
        kakao_place_id=place.kakao_place_id,
        dataset=place.dataset,
        streams=place.streams,
        residents_only=place.residents_only,
        needs_check=needs_check(place.data_date, now),
    )


def _distance(distance: float | None) -> tuple[float, str | None]:
    return (0.0, None) if distance is None else (round(distance / 1000, 3), distance_text(distance))


@lru_cache(maxsize=256)
def needs_check(data_date: date | None, now: datetime) -> bool:
    return data_date is None or data_date < now.astimezone(KOREA).date() - STALE_AFTER


def of_kakao(place: KakaoPlace, lat: float | None, lon: float | None) -> Entry:
    away, away_text = _distance(
        None if lat is None or lon is None else meters(lat, lon, place.latitude, place.longitude)
    )
    words_of_it = f"{place.name} {place.category}"
    return Entry(
        id=place.id,
        name=place.name,
        source="kakao",
        road_address=place.road_address or place.lot_address,
        latitude=place.latitude,
        longitude=place.longitude,
        distance_km=away,
        distance_text=away_text,
        store_category=categories.store_of(words_of_it),
        pickup_categories=[],
        is_holiday=None,
        is_open=None,
        start_time=None,
        end_time=None,
        phone=place.phone,
        place_url=place.place_url,
        kakao_place_id=str(-place.id),
        dataset=None,
        streams=[],
        residents_only=False,
        needs_check=False,
    )


# --- clusters ---------------------------------------------------------------------------------------------------------


def cell(lat: float, lon: float, level: int) -> tuple[int, int]:
    """The cell of the counts that a point is in; those of a level less are twice as wide and high."""
    shift = LEVELS[-1] - level
    return math.floor((lon - 124) / 0.02) >> shift, math.floor((lat - 33) / 0.016) >> shift


async def clusters(services: Services, bbox: str, zoom: int, chosen: Filters) -> list[Cluster]:
    """Counts of the places in view, for the zoom. BadBox, OneFilter."""
    west, south, east, north = _box(bbox)
    values = [value for group in chosen.groups for value in group]
    if len(values) > 1:
        raise OneFilter
    tag = values[0] if values else ""
    fitting = [
        level for level in LEVELS if level <= zoom + 1 and _cells(west, south, east, north, level) <= 4 * CLUSTERS_MAX
    ]
    level = max(fitting, default=LEVELS[0])
    x0, y0 = cell(south, west, level)
    x1, y1 = cell(north, east, level)
    return await store.clusters(services.db, level, tag, (x0, y0, x1, y1), CLUSTERS_MAX)


def _cells(west: float, south: float, east: float, north: float, level: int) -> int:
    x0, y0 = cell(south, west, level)
    x1, y1 = cell(north, east, level)
    return (x1 - x0 + 1) * (y1 - y0 + 1)


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise BadBox from None
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise BadBox
    return max(west, 123.0), max(south, 32.0), min(max(east, 123.0), 133.0), min(max(north, 32.0), 40.0)


# --- for a thing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ForThing:
    stream: str
    item: str | None
    drop_offs: list[DropOff]
    places: list[Entry]


async def nearest_for(
    services: Services,
    stream: str | None,
    item: str | None,
    lat: float,
    lon: float,
    radius: float | None,
    limit: int,
    open_now: bool,
    now: datetime,
) -> ForThing:
    """Places for a thing: their kinds by the knowledge base, and the nearest of them. StreamOrItem, BadStream,
    ItemNotFound."""
    found_stream, kinds = _thing(services.knowledge, stream, item)
    tags = [f"stream:{found_stream}"]
    for kind in kinds:
        tags += [f"set:{name}" for name in categories.DROP_OFF_DATASETS.get(kind.id, ())]
    entries: list[Entry] = []
    for wanted in (limit * 4, OPEN_AMONG) if open_now else (limit,):
        places = await _nearest(services, lat, lon, radius, [list(dict.fromkeys(tags))], wanted)
        entries = [entry(place, now, services.clock) for place in once(places)]
        if open_now:
            entries = [one for one in entries if one.is_open]
        if len(entries) >= limit or len(places) < wanted:
            break
    return ForThing(found_stream, item, kinds, entries[:limit])


def _thing(knowledge: Knowledge, stream: str | None, item: str | None) -> tuple[str, list[DropOff]]:
    if (stream is None) == (item is None):
        raise StreamOrItem
    if item is not None:
        known = knowledge.items.get(item)
        if known is None:
            raise ItemNotFound
        return known.stream, drop_offs(knowledge, known, known.stream)
    assert stream is not None
    if stream not in knowledge.streams:
        raise BadStream
    return stream, [kind for kind in knowledge.drop_offs if stream in kind.streams]


# --- one place, and what people say about it --------------------------------------------------------------------------


async def find(services: Services, number: int) -> Details | KakaoPlace:
    """LocationNotFound, also for one that is retired."""
    if number < 0:
        kakao = await services.kakao.place(number)
        if kakao is None:
            raise LocationNotFound
        return kakao
    found = await store.find(services.db, number) if 0 < number < 2**63 else None
    if found is None or found.retired_at is not None:
        raise LocationNotFound
    return found


@dataclass(frozen=True)
class Report:
    id: UUID
    place_id: int
    kind: str
    created_at: datetime


async def say(services: Services, user: UUID, number: int, kind: str, comment: str | None) -> Report:
    """LocationNotFound, TooManyReports."""
    await find(services, number)
    if number < 0:
        raise LocationNotFound("이 장소는 카카오맵의 장소예요. 카카오맵에서 알려 주세요.")
    async with services.reports.turn(user):
        saved = await feedback_store.say(services.db, uuid4(), number, user, kind, comment, services.feedback_per_day)
    if saved is None:
        raise TooManyReports(retry_after=3600)
    return Report(saved[0], number, kind, saved[1])
