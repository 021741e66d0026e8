"""Every SQL statement of an import. All of them run in one transaction on a connection of its own."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import LiteralString

from psycopg import AsyncConnection, AsyncCopy
from psycopg.types.json import Jsonb

_LOCK = 0x6C6F6361

# The place is made by the server from x, y and their system while the row is copied. What lies outside Korea has none.
_STAGING = """
CREATE TEMP TABLE staging (
    line integer NOT NULL,
    source_key text NOT NULL,
    place_key text NOT NULL,
    content bytea NOT NULL,
    source text NOT NULL,
    dataset text NOT NULL,
    name text NOT NULL,
    name_key text NOT NULL,
    letters text NOT NULL,
    initials text NOT NULL,
    store_category text NOT NULL,
    pickup_categories text[] NOT NULL,
    streams text[] NOT NULL,
    tags text[] NOT NULL,
    region text NOT NULL,
    road_address text,
    lot_address text,
    address_key text,
    detail text,
    phone text,
    place_url text,
    kakao_place_id text,
    collection_items text,
    introduction text,
    manager text,
    hours jsonb,
    residents_only boolean NOT NULL,
    data_date date,
    extra jsonb,
    x double precision,
    y double precision,
    srid integer,
    geog geography(Point, 4326) GENERATED ALWAYS AS (
        CASE WHEN srid = 4326 THEN ST_SetSRID(ST_MakePoint(x, y), 4326)::geography
             WHEN srid IS NOT NULL THEN ST_Transform(ST_SetSRID(ST_MakePoint(x, y), srid), 4326)::geography END
    ) STORED
) ON COMMIT DROP
"""

COLUMNS: LiteralString = (
    "line, source_key, place_key, content, source, dataset, name, name_key, letters, initials, store_category, "
    "pickup_categories, streams, tags, region, road_address, lot_address, address_key, detail, phone, place_url, "
    "kakao_place_id, collection_items, introduction, manager, hours, residents_only, data_date, extra, x, y, srid"
)
_COPIED: LiteralString = (
    "source, dataset, name, name_key, letters, initials, store_category, pickup_categories, streams, tags, region, "
    "road_address, lot_address, detail, phone, place_url, kakao_place_id, collection_items, introduction, manager, "
    "hours, residents_only, data_date, extra, geog"
)

_ON_MAP = "ST_Y(geog::geometry) BETWEEN 33 AND 39 AND ST_X(geog::geometry) BETWEEN 124 AND 132"


@asynccontextmanager
async def connect(database_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection without a limit on the time of a statement. What it holds ends with it, however that happens."""
    connection = await AsyncConnection.connect(
        database_url, connect_timeout=5, options="-c timezone=UTC -c statement_timeout=0 -c work_mem=32MB"
    )
    async with connection:
        yield connection


async def lock(tx: AsyncConnection, feed: str) -> bool:
    """Keep others from importing this feed until the end of the transaction; False when another import does already."""
    cursor = await tx.execute("SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, feed))
    row = await cursor.fetchone()
    return bool(row and row[0])


async def make_staging(tx: AsyncConnection) -> None:
    await tx.execute(_STAGING)


@asynccontextmanager
async def copying(tx: AsyncConnection) -> AsyncIterator[AsyncCopy]:
    async with tx.cursor() as cursor, cursor.copy(f"COPY staging ({COLUMNS}) FROM STDIN") as copy:
        yield copy


async def prepare(tx: AsyncConnection) -> None:
    await tx.execute("ANALYZE staging")


@dataclass(frozen=True)
class Named:
    line: int
    name: str
    other: int = 0


async def outside(tx: AsyncConnection) -> list[Named]:
    """Rows that a transformation put outside Korea; they lose their place."""
    cursor = await tx.execute(
        f"SELECT line, name FROM staging WHERE geog IS NOT NULL AND srid <> 4326 AND NOT ({_ON_MAP}) ORDER BY line"
    )
    found = [Named(*row) for row in await cursor.fetchall()]
    if found:
        await tx.execute("UPDATE staging SET srid = NULL WHERE line = ANY(%s)", ([one.line for one in found],))
    return found


async def part_numbers(tx: AsyncConnection) -> None:
    """Numbers that a file gives to several places, as those that each city counts from 1, are no keys."""
    await tx.execute(
        """UPDATE staging s SET source_key = s.place_key
           FROM (SELECT source_key FROM staging WHERE source_key <> place_key
                 GROUP BY source_key HAVING min(place_key) <> max(place_key)) several
           WHERE s.source_key = several.source_key"""
    )


async def repeated_keys(tx: AsyncConnection) -> list[Named]:
    """Rows with the key of an earlier one."""
    cursor = await tx.execute(
        """SELECT line, name, first FROM (
               SELECT line, name, min(line) OVER (PARTITION BY source_key) first
               FROM staging WHERE source_key IN (SELECT source_key FROM staging GROUP BY 1 HAVING count(*) > 1)
           ) rows WHERE line > first ORDER BY line"""
    )
    return [Named(*row) for row in await cursor.fetchall()]


async def twins(tx: AsyncConnection) -> AsyncIterator[tuple[int, int, str]]:
    """(earlier line, later line, name of the later) of rows of one kind that may be one place: the same name within
    50 m, or the same address with a number, which two shops may share. Ordered by the later line."""
    # Names that occur once are left out first; the others meet only those of their cell of some 60 m and the next ones.
    await tx.execute(
        """CREATE TEMP TABLE near ON COMMIT DROP AS
           SELECT line, hashtextextended(dataset || name_key, 0) name, geog,
                  floor(ST_X(geog::geometry) / 0.0007)::integer x, floor(ST_Y(geog::geometry) / 0.0006)::integer y
           FROM staging
           WHERE geog IS NOT NULL AND hashtextextended(dataset || name_key, 0) IN (
               SELECT hashtextextended(dataset || name_key, 0) FROM staging WHERE geog IS NOT NULL
               GROUP BY 1 HAVING count(*) > 1)"""
    )
    await tx.execute("ANALYZE near")
    async with tx.cursor(name="twins") as cursor:
        await cursor.execute(
            """SELECT first, line, name FROM (
                   SELECT least(a.line, b.line) first, greatest(a.line, b.line) line
                   FROM near a
                   CROSS JOIN (VALUES (0, 0), (1, 0), (-1, 1), (0, 1), (1, 1)) AS next (x, y)
                   JOIN near b ON b.name = a.name AND b.x = a.x + next.x AND b.y = a.y + next.y
                   WHERE (next <> ROW(0, 0) OR a.line < b.line) AND ST_DWithin(a.geog, b.geog, 50)
                   UNION
                   SELECT first, line FROM (
                       SELECT line, min(line) OVER (PARTITION BY dataset, address_key) first
                       FROM staging
                       WHERE road_address ~ '(로|길) *(지하 *)?[0-9]+(-[0-9]+)?(?![0-9-]*번?길)'
                         AND dataset NOT IN ('zerowaste_shop', 'other')
                         AND hashtextextended(dataset || address_key, 0) IN (
                             SELECT hashtextextended(dataset || address_key, 0) FROM staging
                             GROUP BY 1 HAVING count(*) > 1)
                   ) addressed WHERE line > first
               ) pairs JOIN staging USING (line) ORDER BY line, first"""
        )
        async for row in cursor:
            yield row[0], row[1], row[2]


async def drop(tx: AsyncConnection, lines: Collection[int]) -> None:
    if lines:
        await tx.execute("DELETE FROM staging WHERE line = ANY(%s)", (list(lines),))


@dataclass(frozen=True)
class Feed:
    """Source of rows, with its licence."""

    name: str
    format: str
    title: str
    publisher: str
    licence: str
    url: str
    file: str
    data_date: date | None


async def save_feed(tx: AsyncConnection, feed: Feed) -> int:
    cursor = await tx.execute(
        """INSERT INTO location.feeds (name, format, title, publisher, licence, url, file, data_date, imported_at)
           VALUES (%(name)s, %(format)s, %(title)s, %(publisher)s, %(licence)s, %(url)s, %(file)s, %(data_date)s, now())
           ON CONFLICT (name) DO UPDATE SET format = excluded.format, title = excluded.title,
               publisher = excluded.publisher, licence = excluded.licence, url = excluded.url, file = excluded.file,
               data_date = excluded.data_date, imported_at = excluded.imported_at
           RETURNING id""",
        vars(feed),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def has_feeds(connection: AsyncConnection) -> bool:
    """True when anything was ever imported."""
    cursor = await connection.execute("SELECT 1 FROM location.feeds LIMIT 1")
    return await cursor.fetchone() is not None


async def feed_id(tx: AsyncConnection, name: str) -> int | None:
    cursor = await tx.execute("SELECT id FROM location.feeds WHERE name = %s", (name,))
    row = await cursor.fetchone()
    return int(row[0]) if row else None


@dataclass(frozen=True)
class Changes:
    added: int
    changed: int
    unchanged: int
    retired: int
    before: int
    """Places of the feed that were there."""


_CHANGES: LiteralString = """
SELECT count(*) FILTER (WHERE p.id IS NULL),
       count(*) FILTER (WHERE p.id IS NOT NULL AND s.line IS NOT NULL AND
                              (p.content <> s.content OR (p.retired_at IS NOT NULL AND p.retired_by = 'import'))),
       count(*) FILTER (WHERE p.id IS NOT NULL AND s.line IS NOT NULL AND p.content = s.content
                              AND (p.retired_at IS NULL OR p.retired_by <> 'import')),
       count(*) FILTER (WHERE s.line IS NULL AND p.retired_at IS NULL),
       count(*) FILTER (WHERE p.id IS NOT NULL AND p.retired_at IS NULL)
FROM staging s FULL JOIN (SELECT * FROM location.places WHERE feed_id = %(feed)s) p USING (source_key)
"""


async def changes(tx: AsyncConnection, feed: int | None) -> Changes:
    """Difference between the file and the stored rows; without a feed there are none."""
    if feed is None:
        cursor = await tx.execute("SELECT count(*), 0, 0, 0, 0 FROM staging")
    else:
        cursor = await tx.execute(_CHANGES, {"feed": feed})
    row = await cursor.fetchone()
    assert row is not None
    return Changes(*row)


async def apply(tx: AsyncConnection, feed: int) -> None:
    """Make the places of the feed those of the file. Unchanged rows are not written. What a steward retired stays."""
    assigned: LiteralString = ", ".join(f"{name} = s.{name}" for name in _COPIED.split(", "))
    # Retired first: a trigger counts the rows of each statement. New ones along a curve through the country, so that
    # those of one view lie on few pages: the nearest fifty cost PostgreSQL a third less.
    await tx.execute(
        """UPDATE location.places p SET retired_at = now(), retired_by = 'import', updated_at = now()
           WHERE feed_id = %(feed)s AND retired_at IS NULL
             AND NOT EXISTS (SELECT FROM staging s WHERE s.source_key = p.source_key)""",
        {"feed": feed},
    )
    await tx.execute(
        f"""UPDATE location.places p SET {assigned}, content = s.content, updated_at = now(),
                retired_at = CASE WHEN p.retired_by = 'import' THEN NULL ELSE p.retired_at END,
                retired_by = CASE WHEN p.retired_by = 'import' THEN NULL ELSE p.retired_by END
            FROM staging s
            WHERE p.feed_id = %(feed)s AND p.source_key = s.source_key
              AND (p.content <> s.content OR p.retired_by = 'import')""",
        {"feed": feed},
    )
    await tx.execute(
        f"""INSERT INTO location.places (feed_id, source_key, content, {_COPIED})
            SELECT %(feed)s, source_key, content, {_COPIED} FROM staging s
            WHERE NOT EXISTS (SELECT FROM location.places p
                              WHERE p.feed_id = %(feed)s AND p.source_key = s.source_key)
            ORDER BY geog::geometry, line""",
        {"feed": feed},
    )


async def note(tx: AsyncConnection, feed: str, kept: int, findings: Mapping[str, int], refused: str = "") -> None:
    """Keep how the last import of the feed went: `findings` counts rows by `outcome.reason`, `refused` is a code."""
    await tx.execute(
        """INSERT INTO location.imports (feed, kept, findings, refused, at)
           VALUES (%(feed)s, %(kept)s, %(findings)s, %(refused)s, now())
           ON CONFLICT (feed) DO UPDATE SET kept = excluded.kept, findings = excluded.findings,
               refused = excluded.refused, at = excluded.at""",
        {"feed": feed, "kept": kept, "findings": Jsonb(dict(findings)), "refused": refused},
    )


async def refresh_statistics(connection: AsyncConnection) -> None:
    """The planner decides by them whether a filter is rare."""
    await connection.execute("ANALYZE location.places")
