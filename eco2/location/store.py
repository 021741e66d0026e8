"""SQL statements of location-api about places, and the keys of Redis; those of reports are in `feedback_store`.

PostGIS is found by the role's search path. Statements whose plan depends on how rare a filter is are planned for their
values (`rows_planned`); the others have no choice to get wrong.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from eco2.core.imports import Imported
from eco2.core.postgres import Database, Row

Tags = Sequence[Sequence[str]]
"""Groups of tags: a place has to have one of each group."""

_PLACE: LiteralString = """
    p.id, p.name, p.name_key, p.source, p.dataset, p.road_address, p.lot_address, p.detail,
    ST_Y(p.geog::geometry), ST_X(p.geog::geometry), p.store_category, p.pickup_categories, p.streams, p.phone,
    p.place_url, p.kakao_place_id, p.hours::text, p.residents_only,
    coalesce(p.data_date, (SELECT f.data_date FROM location.feeds f WHERE f.id = p.feed_id))
"""


class Place(NamedTuple):
    """`hours`: the stored form of `eco2.location.opening`."""

    id: int
    name: str
    name_key: str
    source: str
    dataset: str
    road_address: str | None
    lot_address: str | None
    detail: str | None
    latitude: float | None
    longitude: float | None
    store_category: str
    pickup_categories: list[str]
    streams: list[str]
    phone: str | None
    place_url: str | None
    kakao_place_id: str | None
    hours: str | None
    residents_only: bool
    data_date: date | None
    meters: float | None = None


# --- nearest ----------------------------------------------------------------------------------------------------------

_FITS: tuple[LiteralString, ...] = (
    "true",
    "tags && %(tags0)s::text[]",
    "tags && %(tags0)s::text[] AND tags && %(tags1)s::text[]",
    "tags && %(tags0)s::text[] AND tags && %(tags1)s::text[] AND tags && %(tags2)s::text[]",
)
_MAY_FIT: tuple[LiteralString, ...] = (
    "true",
    "bits & (SELECT location.bits(%(tags0)s::text[])) <> 0",
    "bits & (SELECT location.bits(%(tags0)s::text[])) <> 0 AND bits & (SELECT location.bits(%(tags1)s::text[])) <> 0",
    "bits & (SELECT location.bits(%(tags0)s::text[])) <> 0 AND bits & (SELECT location.bits(%(tags1)s::text[])) <> 0 "
    "AND bits & (SELECT location.bits(%(tags2)s::text[])) <> 0",
)
_HERE: LiteralString = "ST_SetSRID(ST_MakePoint(%(lon)s, %(lat)s), 4326)::geography"
_POINT: LiteralString = "point(%(x)s, %(y)s)"
_AROUND: LiteralString = (
    "plane <@ box(point(%(x)s - %(reach)s, %(y)s - %(reach)s), point(%(x)s + %(reach)s, %(y)s + %(reach)s))"
)
_EVERYWHERE = 100.0
_ECCENTRICITY = 0.0818191908426215
_EQUATOR_METERS = 6_378_137.0


def on_plane(lat: float, lon: float) -> tuple[float, float]:
    """The point of the column `plane` (migration 0035)."""
    phi = math.radians(max(-89.9, min(89.9, lat)))
    bent = _ECCENTRICITY * math.atanh(_ECCENTRICITY * math.sin(phi))
    return math.radians(lon), math.asinh(math.tan(phi)) - bent


def reach_on_plane(lat: float, radius: float | None) -> float:
    """A distance on the plane within which all places are that are `radius` metres away from a point."""
    if radius is None:
        return _EVERYWHERE
    furthest = math.radians(min(89.9, abs(lat) + radius / 110_000))
    return 1.001 * radius / (_EQUATOR_METERS * math.cos(furthest))


def _values(lat: float, lon: float, radius: float | None, groups: Tags, limit: int) -> dict[str, Any]:
    tags = {f"tags{number}": list(group) for number, group in enumerate(groups)}
    x, y = on_plane(lat, lon)
    where = {"lat": lat, "lon": lon, "x": x, "y": y, "reach": reach_on_plane(lat, radius)}
    return {**where, "radius": radius, "limit": limit, **tags}


def _places(rows: Sequence[Row]) -> list[Place]:
    return [Place(*row) for row in rows]


def _walk(groups: int) -> LiteralString:
    # The index alone says which of the walked places may pass; only those are read. The last one is kept whatever it
    # is: that it was met tells that the walk did not come to an end.
    return f"""
        SELECT {_PLACE}, ST_Distance(p.geog, {_HERE}), near.walked, near.walked < %(among)s OR ({_FITS[groups]})
        FROM (
            SELECT id, walked, away FROM (
                SELECT id, bits, plane <-> {_POINT} AS away, row_number() OVER (ORDER BY plane <-> {_POINT}) AS walked
                FROM location.places WHERE retired_at IS NULL AND plane IS NOT NULL AND {_AROUND}
                ORDER BY plane <-> {_POINT} LIMIT %(among)s
            ) all_near WHERE walked = %(among)s OR ({_MAY_FIT[groups]})
        ) near
        JOIN location.places p USING (id)
        WHERE near.walked = %(among)s OR ({_FITS[groups]})
        ORDER BY near.away, p.id LIMIT %(limit)s"""


_WALKS = [_walk(groups) for groups in range(len(_FITS))]


async def nearest(
    db: Database, lat: float, lon: float, radius: float | None, groups: Tags, limit: int, among: int
) -> tuple[list[Place], bool]:
    """Those of the `among` nearest that pass the filter, and whether there can be no others within radius and limit."""
    rows = await db.rows(_WALKS[len(groups)], **_values(lat, lon, radius, groups, limit), among=among)
    found = [place for *row, _, fits in rows if fits and _within(place := Place._make(row), radius)]
    found.sort(key=lambda place: (place.meters, place.id))
    ended = not rows or rows[-1][-2] < among
    return found, ended or len(found) >= limit


def _within(place: Place, radius: float | None) -> bool:
    return radius is None or place.meters is None or place.meters <= radius


async def nearest_of_rare(
    db: Database, lat: float, lon: float, radius: float | None, groups: Tags, limit: int
) -> list[Place]:
    """Collects all places of the filter, then sorts them by distance; good where they are few, or few are near."""
    within: LiteralString = f" AND {_AROUND} AND ST_DWithin(geog, {_HERE}, %(radius)s)" if radius is not None else ""
    statement: LiteralString = f"""
        WITH found AS MATERIALIZED (
            SELECT id, geog FROM location.places
            WHERE retired_at IS NULL AND plane IS NOT NULL AND {_FITS[len(groups)]}{within}
        ), near AS (
            SELECT id, ST_Distance(geog, {_HERE}) AS meters FROM found ORDER BY 2, id LIMIT %(limit)s
        )
        SELECT {_PLACE}, near.meters FROM near JOIN location.places p USING (id)
        ORDER BY near.meters, p.id"""
    return _places(await db.rows_planned(statement, **_values(lat, lon, radius, groups, limit)))


async def counts_around(db: Database, level: int, x: int, y: int, reach: int, tags: Sequence[str]) -> dict[str, int]:
    """Places by tag ("" for all) in the cells that are `reach` away at most; without `reach` everywhere."""
    rows = await db.rows(
        """SELECT tag, sum(places)::integer FROM location.clusters
           WHERE level = %(level)s AND tag = ANY(%(tags)s)
             AND x BETWEEN %(x)s - %(reach)s AND %(x)s + %(reach)s
             AND y BETWEEN %(y)s - %(reach)s AND %(y)s + %(reach)s
           GROUP BY tag""",
        level=level,
        x=x,
        y=y,
        reach=reach,
        tags=list(tags),
    )
    return dict(rows)


async def totals(db: Database, level: int) -> list[tuple[str, int]]:
    """Places by tag in all of Korea."""
    rows = await db.rows(
        "SELECT tag, sum(places)::integer FROM location.clusters WHERE level = %(level)s GROUP BY tag", level=level
    )
    return [(tag, number) for tag, number in rows]


# --- clusters ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cluster:
    latitude: float
    longitude: float
    count: int


async def clusters(db: Database, level: int, tag: str, cells: tuple[int, int, int, int], limit: int) -> list[Cluster]:
    """Of the cells from (x, y) to (x, y), those with most places first; the point is the middle of its places."""
    x0, y0, x1, y1 = cells
    rows = await db.rows(
        """SELECT sum_lat / places, sum_lon / places, places FROM location.clusters
           WHERE level = %(level)s AND tag = %(tag)s AND x BETWEEN %(x0)s AND %(x1)s AND y BETWEEN %(y0)s AND %(y1)s
             AND places > 0
           ORDER BY places DESC, x, y LIMIT %(limit)s""",
        level=level,
        tag=tag,
        x0=x0,
        y0=y0,
        x1=x1,
        y1=y1,
        limit=limit,
    )
    return [Cluster(*row) for row in rows]


# --- search by name ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """`key`: the words without spaces; `letters` the same as jamo. `regions`: tags of regions that were named."""

    key: str
    letters: str
    is_initials: bool
    regions: Sequence[str]
    lat: float | None = None
    lon: float | None = None
    radius: float | None = None


_NARROWED: LiteralString = """
    retired_at IS NULL AND geog IS NOT NULL
    AND (%(regions)s::text[] = '{}' OR tags @> %(regions)s::text[])
    AND (%(radius)s::float8 IS NULL OR ST_DWithin(geog, ST_SetSRID(ST_MakePoint(%(lon)s, %(lat)s), 4326)::geography,
                                                  %(radius)s))
"""
_DISTANCE: LiteralString = """
    CASE WHEN %(lat)s::float8 IS NULL THEN NULL
         ELSE ST_Distance(p.geog, ST_SetSRID(ST_MakePoint(%(lon)s, %(lat)s), 4326)::geography) END
"""
_LOOKED_AT = 400
"""Places that a common word has are ranked among the first so many."""


def _search(condition: LiteralString, order: LiteralString, inner: LiteralString = "") -> LiteralString:
    return f"""
        SELECT {_PLACE}, {_DISTANCE} FROM (
            SELECT * FROM location.places WHERE {_NARROWED} AND {condition} {inner} LIMIT {_LOOKED_AT}
        ) p ORDER BY {order} LIMIT %(limit)s"""


_BY_LENGTH: LiteralString = "length(p.name_key), p.name_key, p.id"
_PREFIX: LiteralString = _search(
    "name_key >= %(key)s AND name_key < %(end)s", f"p.name_key <> %(key)s, {_BY_LENGTH}", "ORDER BY name_key"
)
_INITIALS: LiteralString = _search(
    "initials >= %(key)s AND initials < %(end)s", f"p.initials <> %(key)s, {_BY_LENGTH}", "ORDER BY initials"
)
_PART: LiteralString = _search("letters LIKE %(pattern)s", _BY_LENGTH)
_ALIKE: LiteralString = _search("letters %% %(letters)s", f"similarity(p.letters, %(letters)s) DESC, {_BY_LENGTH}")
_OF_REGION: LiteralString = _search("true", "p.name_key, p.id")


def _after(key: str) -> str:
    """The end of all texts that begin so, in the order of code points."""
    return key[:-1] + chr(ord(key[-1]) + 1) if key else "\U0010ffff"


async def search(db: Database, wanted: Wanted, limit: int) -> list[Place]:
    """By the beginning of the name, then any part of it, then with typing errors: a step is only taken for want of
    places."""
    values: dict[str, Any] = {**vars(wanted), "regions": list(wanted.regions), "limit": limit}
    values |= {"end": _after(wanted.key), "pattern": f"%{wanted.letters}%"}
    if not wanted.key:
        return _places(await db.rows_planned(_OF_REGION, **values)) if wanted.regions else []
    if wanted.is_initials:
        return _places(await db.rows_planned(_INITIALS, **values))
    found = {place.id: place for place in _places(await db.rows_planned(_PREFIX, **values))}
    if len(found) < limit and len(wanted.letters) > 2:
        found |= {place.id: place for place in _places(await db.rows_planned(_PART, **values)) if place.id not in found}
    if not found and len(wanted.letters) > 5:
        found = {place.id: place for place in _places(await db.rows_planned(_ALIKE, **values))}
    return list(found.values())[:limit]


# --- one place --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Details:
    """`attributes`: columns of the source that are no field of ours."""

    place: Place
    collection_items: str | None
    introduction: str | None
    manager: str | None
    region: str
    attributes: dict[str, str]
    feed: str
    title: str
    publisher: str
    licence: str
    url: str
    retired_at: datetime | None
    retired_by: str | None
    updated_at: datetime


async def find(db: Database, place: int) -> Details | None:
    """The place, retired or not."""
    row = await db.row(
        f"""SELECT {_PLACE}, p.collection_items, p.introduction, p.manager, p.region, coalesce(p.extra, '{{}}'), f.name,
                   f.title, f.publisher, f.licence, f.url, p.retired_at, p.retired_by, p.updated_at
            FROM location.places p JOIN location.feeds f ON f.id = p.feed_id WHERE p.id = %(id)s""",
        id=place,
    )
    return Details(Place(*row[:19]), *row[19:]) if row else None


IMPORT = "import"
"""`retired_by` of a place that vanished from its file: the next import may bring it back."""


async def retire(db: Database, place: int, by: str) -> bool:
    """Take it off the map; False where it is not there, or retired already. No import brings it back."""
    row = await db.row(
        """UPDATE location.places SET retired_at = now(), retired_by = %(by)s, updated_at = now()
           WHERE id = %(id)s AND retired_at IS NULL RETURNING id""",
        id=place,
        by=by,
    )
    return row is not None


async def restore(db: Database, place: int) -> bool:
    """Put it back on the map; False where it was not retired."""
    row = await db.row(
        """UPDATE location.places SET retired_at = NULL, retired_by = NULL, updated_at = now()
           WHERE id = %(id)s AND retired_at IS NOT NULL RETURNING id""",
        id=place,
    )
    return row is not None


async def sources(db: Database) -> list[dict[str, Any]]:
    """Feeds that have places on the map."""
    rows = await db.rows(
        """SELECT f.publisher, f.title, f.licence, f.url, coalesce(f.data_date, max(p.data_date)), count(*)
           FROM location.feeds f JOIN location.places p ON p.feed_id = f.id AND p.retired_at IS NULL
           GROUP BY f.id ORDER BY f.publisher, f.title"""
    )
    return [dict(zip(("publisher", "title", "licence", "url", "date", "places"), row, strict=True)) for row in rows]


# --- for stewards -----------------------------------------------------------------------------------------------------


async def stats(db: Database, stale_before: date) -> list[dict[str, Any]]:
    """A line for each feed."""
    rows = await db.rows(
        """SELECT f.name, f.title, f.publisher, f.licence, f.data_date, f.imported_at,
                  count(p.id) FILTER (WHERE p.retired_at IS NULL),
                  count(p.id) FILTER (WHERE p.retired_at IS NULL AND p.geog IS NULL),
                  count(p.id) FILTER (WHERE p.retired_at IS NULL
                                      AND coalesce(p.data_date, f.data_date, '-infinity') < %(stale)s),
                  count(p.id) FILTER (WHERE p.retired_at IS NOT NULL)
           FROM location.feeds f LEFT JOIN location.places p ON p.feed_id = f.id GROUP BY f.id ORDER BY f.name""",
        stale=stale_before,
    )
    names = (
        "feed",
        "title",
        "publisher",
        "licence",
        "data_date",
        "imported_at",
        "places",
        "off_map",
        "stale",
        "retired",
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


async def stale(db: Database, before: date, limit: int) -> list[dict[str, Any]]:
    """Places whose data is from before that day or of no known day, oldest first."""
    rows = await db.rows(
        """SELECT p.id, p.name, p.road_address, f.name, coalesce(p.data_date, f.data_date) d
           FROM location.places p JOIN location.feeds f ON f.id = p.feed_id
           WHERE p.retired_at IS NULL AND coalesce(p.data_date, f.data_date, '-infinity') < %(before)s
           ORDER BY d NULLS FIRST, p.id LIMIT %(limit)s""",
        before=before,
        limit=limit,
    )
    return [dict(zip(("id", "name", "address", "feed", "data_date"), row, strict=True)) for row in rows]


async def ready(db: Database) -> None:
    """Raises where PostGIS or the table is missing."""
    await db.row("SELECT ST_MakePoint(127, 37), (SELECT id FROM location.places LIMIT 1)")


# --- Redis ------------------------------------------------------------------------------------------------------------


def kakao_answer(digest: str) -> str:
    return f"location:kakao:{digest}"


def kakao_place(number: int) -> str:
    return f"location:kakao:place:{number}"


def kakao_calls(day: date, of: UUID | str | None = None) -> str:
    """Number of calls of a day: by all, by one user, or by all who have a role."""
    return f"location:kakao:calls:{day}:{of}" if of else f"location:kakao:calls:{day}"


def map_search(ticket: str) -> str:
    return f"location:map:{ticket}"


# --- imports ----------------------------------------------------------------------------------------------------------


async def imports(db: Database) -> list[Imported]:
    """Last import of every feed, refused ones too."""
    rows = await db.rows("SELECT kept, findings, refused FROM location.imports")
    return [Imported(*row) for row in rows]
