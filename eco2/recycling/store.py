"""Every SQL statement of the recycling domain."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from psycopg.types.json import Jsonb

from eco2.core.imports import Imported
from eco2.core.postgres import Database
from eco2.knowledge.days import Area
from eco2.knowledge.models import Pickup

LOCK = 0x656372656779
"""Imports take turns: two at once would remove each other's areas."""


@dataclass(frozen=True)
class Swapped:
    """Areas by what became of them. `skipped`: districts whose real areas a sample leaves alone."""

    added: int
    changed: int
    unchanged: int
    removed: int
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class DistrictRow:
    district: str
    areas: int
    checked: date
    sample: bool


async def areas_of(db: Database, district: str) -> list[tuple[Area, date, bool]]:
    """(area, date of the data, whether it is a sample) in the order of their names."""
    rows = await db.rows(
        "SELECT area, covers, pickups, no_pickup, office, tel, checked, sample FROM recycling.areas "
        "WHERE district = %(district)s ORDER BY area, covers",
        district=district,
    )
    return [(_area(*row[:6]), row[6], row[7]) for row in rows]


def _area(name: str, covers: str, pickups: Sequence[object], no_pickup: str, office: str, tel: str) -> Area:
    return Area(name, covers, tuple(Pickup.model_validate(one) for one in pickups), no_pickup, office, tel)


async def districts(db: Database) -> list[DistrictRow]:
    rows = await db.rows(
        "SELECT district, count(*), min(checked), bool_or(sample) FROM recycling.areas "
        "GROUP BY district ORDER BY district"
    )
    return [DistrictRow(*row) for row in rows]


async def swap(db: Database, found: Sequence[tuple[str, Area, date]], *, sample: bool) -> Swapped:
    """Make these the areas of their districts, all or nothing; other districts stay, and rows that say the same."""
    async with db.connection() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        skipped: set[str] = set()
        if sample:
            real = await connection.execute("SELECT DISTINCT district FROM recycling.areas WHERE NOT sample")
            skipped = {row[0] for row in await real.fetchall()} & {district for district, _, _ in found}
        rows = [_row(*one, sample) for one in found if one[0] not in skipped]
        columns = {name: [row[name] for row in rows] for name in _COLUMNS}
        written = await connection.execute(_UPSERT, columns)
        fresh = [row[0] for row in await written.fetchall()]
        removed = await connection.execute(
            "DELETE FROM recycling.areas WHERE district = ANY(%(district)s) AND NOT id = ANY(%(id)s)",
            {"district": columns["district"], "id": columns["id"]},
        )
        added, changed = sum(fresh), len(fresh) - sum(fresh)
        return Swapped(added, changed, len(rows) - len(fresh), removed.rowcount, tuple(sorted(skipped)))


async def note(db: Database, kept: int, findings: Mapping[str, int], refused: str = "") -> None:
    """Keep how the last import went: `findings` counts lines by `outcome.reason`, `refused` is a code."""
    await db.row(
        "INSERT INTO recycling.imports (id, kept, findings, refused, at) "
        "VALUES (1, %(kept)s, %(findings)s, %(refused)s, now()) ON CONFLICT (id) DO UPDATE SET kept = excluded.kept, "
        "findings = excluded.findings, refused = excluded.refused, at = excluded.at",
        kept=kept,
        findings=Jsonb(dict(findings)),
        refused=refused,
    )


async def imports(db: Database) -> list[Imported]:
    """The last import; none before the first."""
    rows = await db.rows("SELECT kept, findings, refused FROM recycling.imports")
    return [Imported(*row) for row in rows]


_COLUMNS = ("id", "district", "area", "covers", "pickups", "no_pickup", "office", "tel", "checked", "sample")
_UPSERT = """
INSERT INTO recycling.areas AS old (id, district, area, covers, pickups, no_pickup, office, tel, checked, sample)
SELECT * FROM unnest(%(id)s::text[], %(district)s::text[], %(area)s::text[], %(covers)s::text[], %(pickups)s::jsonb[],
    %(no_pickup)s::text[], %(office)s::text[], %(tel)s::text[], %(checked)s::date[], %(sample)s::boolean[])
ON CONFLICT (id) DO UPDATE SET pickups = excluded.pickups, no_pickup = excluded.no_pickup, office = excluded.office,
    tel = excluded.tel, checked = excluded.checked, sample = excluded.sample, changed_at = now()
WHERE (old.pickups, old.no_pickup, old.office, old.tel, old.checked, old.sample) IS DISTINCT FROM
    (excluded.pickups, excluded.no_pickup, excluded.office, excluded.tel, excluded.checked, excluded.sample)
RETURNING xmax = 0
"""


def _row(district: str, area: Area, checked: date, sample: bool) -> dict[str, object]:
    digest = hashlib.sha256("\0".join((district, area.name, area.covers)).encode()).hexdigest()[:32]
    pickups = [pickup.model_dump(mode="json", exclude_defaults=True) for pickup in area.pickups]
    return {
        "id": digest,
        "district": district,
        "area": area.name,
        "covers": area.covers,
        "pickups": Jsonb(pickups),
        "no_pickup": area.no_pickup,
        "office": area.office,
        "tel": area.tel,
        "checked": checked,
        "sample": sample,
    }
