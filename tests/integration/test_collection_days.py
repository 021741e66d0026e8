"""Collection days in PostgreSQL: imports replace whole districts, once, and never real days by made-up ones."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from psycopg.errors import NotNullViolation

from eco2.core.imports import Imported
from eco2.core.postgres import Database
from eco2.knowledge.days import Area
from eco2.knowledge.districts import Districts
from eco2.knowledge.models import Pickup
from eco2.recycling import calendar, household, store
from eco2.recycling.store import Swapped

CHECKED = date(2026, 6, 30)
SAMPLE = Path(__file__).parents[1] / "unit/recycling/household_waste_sample.csv"
FILM = Pickup(collection="vinyl", days=("thu",), from_time="18:00", until_time="24:00")
AREAS = [Area(f"{n}구역", f"동네{n}동", (FILM,), no_pickup="토요일", tel="120") for n in range(3)]


async def swap(db: Database, district: str, areas: Sequence[Area], *, sample: bool = False) -> Swapped:
    return await store.swap(db, [(district, area, CHECKED) for area in areas], sample=sample)


async def test_an_import_is_repeatable_and_touches_what_changed_only(database: Database) -> None:
    mine = "경상북도 울릉군"
    other = "경상북도 영양군"
    await swap(database, other, AREAS[:1])
    assert await swap(database, mine, AREAS) == Swapped(3, 0, 0, 0)
    before = await database.rows("SELECT id, xmin::text FROM recycling.areas WHERE district = %(d)s", d=mine)
    assert await swap(database, mine, AREAS) == Swapped(0, 0, 3, 0)
    after = await database.rows("SELECT id, xmin::text FROM recycling.areas WHERE district = %(d)s", d=mine)
    assert sorted(before) == sorted(after)
    moved = [replace(AREAS[0], no_pickup="일요일"), AREAS[1]]
    assert await swap(database, mine, moved) == Swapped(0, 1, 1, 1)
    found = await store.areas_of(database, mine)
    assert [area for area, _, _ in found] == moved
    assert [area for area, _, _ in await store.areas_of(database, other)] == AREAS[:1]


async def test_a_sample_never_takes_the_place_of_real_days(database: Database) -> None:
    mine = "경상북도 봉화군"
    assert (await swap(database, mine, AREAS, sample=True)).added == 3
    assert all(sample for _, _, sample in await store.areas_of(database, mine))
    assert await swap(database, mine, AREAS[:2]) == Swapped(0, 2, 0, 1)
    assert await swap(database, mine, AREAS, sample=True) == Swapped(0, 0, 0, 0, (mine,))
    assert [sample for _, _, sample in await store.areas_of(database, mine)] == [False, False]


async def test_two_imports_at_once_leave_one_of_both(database: Database) -> None:
    mine = "경상북도 청송군"
    files = [[replace(area, name=f"{area.name} {n}") for area in AREAS] for n in range(4)]
    await asyncio.gather(*(swap(database, mine, one) for one in files))
    assert [area for area, _, _ in await store.areas_of(database, mine)] in files


async def test_a_failed_import_leaves_everything_as_it_was(database: Database) -> None:
    mine = "경상북도 영덕군"
    await swap(database, mine, AREAS)
    broken = [*AREAS[:1], replace(AREAS[1], tel=None)]  # type: ignore[arg-type]
    with pytest.raises(NotNullViolation):
        await swap(database, mine, broken)
    assert [area for area, _, _ in await store.areas_of(database, mine)] == AREAS


async def test_how_the_last_import_went_is_kept(database: Database, tmp_path: Path) -> None:
    districts = Districts.load(None)
    text = SAMPLE.read_text(encoding="utf-8-sig")
    read = await calendar.import_file(database, districts, SAMPLE, sample=True)
    (last,) = await store.imports(database)
    assert (last.kept, last.refused) == (len(read.read.found), "")
    assert last.findings == Counter(f"rejected.{one.code}" for one in read.read.rejected)
    assert sum(last.findings.values()) > 2
    broken = tmp_path / "broken.csv"
    broken.write_text(text.partition("\n")[0])
    with pytest.raises(calendar.NothingFound):
        await calendar.import_file(database, districts, broken)
    assert await store.imports(database) == [Imported(0, {}, "NO_LINE_READ")]
    broken.write_text("nothing")
    with pytest.raises(household.NotTheDataSet):
        await calendar.import_file(database, districts, broken)
    assert await store.imports(database) == [Imported(0, {}, "NOT_THE_DATA_SET")]
