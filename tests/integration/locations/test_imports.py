"""Imports of places: what they change, refuse and leave alone."""

import asyncio
import contextlib
import csv
import os
import signal
import sys
from pathlib import Path
from typing import Any

import orjson
import psutil
import psycopg
import pytest

from eco2.core.postgres import Database
from eco2.location import import_store, store
from eco2.location.importing import loading
from eco2.location.importing.files import FileRefused
from eco2.location.importing.loading import ImportBusy, NothingKept, TooManyVanish
from tests.integration.locations.conftest import HEADER, Import, Place, rows


async def test_an_import_again_changes_only_the_difference(load: Import, feed: str, database: Database) -> None:
    some = [Place(str(n), f"상자{n}", 34.0 + n / 100, 125.0) for n in range(4)]
    first = await load(feed, some)
    assert (first.changes and first.changes.added, first.kept) == (4, 4)
    versions = await rows(database, feed, "p.name, p.xmin::text")
    again = await load(feed, some)
    assert again.changes == import_store.Changes(added=0, changed=0, unchanged=4, retired=0, before=4)
    assert await rows(database, feed, "p.name, p.xmin::text") == versions, "unchanged rows are not written"
    moved = [some[0], Place("1", "상자1", 34.5, 125.0), some[2], Place("9", "상자9", 34.6, 125.0)]
    third = await load(feed, moved)
    assert third.changes == import_store.Changes(added=1, changed=1, unchanged=2, retired=1, before=4)
    assert [name for (name,) in await rows(database, feed)] == ["상자0", "상자1", "상자2", "상자9"]
    back = await load(feed, [*moved, some[3]])
    assert back.changes
    assert back.changes.changed == 1, "a row that comes back is no new place"


async def test_a_dry_run_and_a_failure_change_nothing(load: Import, feed: str, database: Database) -> None:
    some = [Place("1", "상자", 34.0, 125.0)]
    report = await load(feed, some, dry_run=True)
    assert report.changes
    assert report.changes.added == 1
    assert await rows(database, feed) == []
    await load(feed, some)
    path = load.file([Place("2", "다른", 34.1, 125.0)])
    path.write_bytes(path.read_bytes() + b'3,"cut')
    with pytest.raises(FileRefused, match="cut"):
        await loading.load(load.url, loading.order(path, "battery-boxes", licence="own", feed=feed))
    assert [name for (name,) in await rows(database, feed)] == ["상자"]


async def test_how_the_last_import_of_a_feed_went_is_kept(load: Import, feed: str, database: Database) -> None:
    async def kept() -> list[Any]:
        return list(
            await database.rows("SELECT kept, findings, refused FROM location.imports WHERE feed = %(feed)s", feed=feed)
        )

    good, broken = Place("1", "상자", 34.0, 125.0), ["2", "나", "", "", "", "", ""]
    await load(feed, [good], dry_run=True)
    assert await kept() == []
    with pytest.raises(loading.NothingKept):
        await load(feed, [broken])
    assert await kept() == [(0, {}, "IMPORT_HAS_NO_ROWS")]
    await load(feed, [good, broken])
    assert await kept() == [(1, {"rejected.no_place": 1}, "")]
    path = load.file([good])
    path.write_bytes(path.read_bytes() + b'3,"cut')
    with pytest.raises(FileRefused):
        await loading.load(load.url, loading.order(path, "battery-boxes", licence="own", feed=feed))
    ((_, _, refused),) = await kept()
    assert refused
    await load(feed, [good])
    path.write_text("other,titles\n1,2\n", encoding="utf-8")
    with pytest.raises(FileRefused) as other:
        await loading.load(load.url, loading.order(path, "battery-boxes", licence="own", feed=feed))
    assert await kept() == [(0, {}, other.value.code)]
    await load(feed, [good])
    assert await kept() == [(1, {}, "")]


async def test_a_file_with_many_kinds_of_broken_rows(load: Import, feed: str, database: Database) -> None:
    good = Place("1", "온전한 상자", 34.01, 125.01, "서울 마포구 독막로 900")
    broken: list[list[str]] = [
        ["2", "가", "서울 마포구 독막로 901", "34.02"],
        ["3", "나", "서울 마포구 독막로 902", "34.0", "125", "", "", "넘침"],
        ["4", "다\ufffd", "서울 마포구 독막로 903", "34.0", "125", "", ""],
        ["5", "", "", "", "", "", ""],
        ["6", "", "", "34.02", "125.02", "", ""],
        ["7", "라" * 300, "서울 마포구 독막로 905", "34.0", "125.0", "", ""],
        ["8", "마", "", "", "", "", ""],
        ["9", "바", "서울 마포구 독막로 907", "0", "0", "", ""],
        ["10", "사", "서울 마포구 독막로 908", "", "", "", ""],
        ["11", "아", "서울 마포구 독막로 909", "5.157", "125.0", "", ""],
        ["12", "자", "서울 마포구 독막로 910", "34.1?", "125.0", "", ""],
        ["13", "차", "서울 마포구 독막로 911", "127.7.23106", "34.1", "", ""],
        ["14", "카", "서울 마포구 독막로 912", "nan", "inf", "", ""],
        ["15", "타", "서울 마포구 독막로 913", "125.07", "34.07", "", ""],
        ["16", "파", "서울 마포구 독막로 914", "953901", "1952032", "", ""],
        ["17", "하", "서울 마포구 독막로 915", "198000", "451000", "", ""],
        ["1", "온전한 상자", "서울 마포구 독막로 900", "34.09", "125.09", "", ""],
        ["18", "온전한상자", "", "34.0102", "125.0101", "", ""],
        ["19", "같은 주소", "서울 마포구 독막로 900", "34.3", "125.3", "", ""],
        ["20", "거", "서울 마포구 독막로 917", "34도 6분 0초", "125도 6분 0초", "", ""],
    ]
    report = await load(feed, [good, *broken])
    reasons = {f"{kind}.{reason}": number for (kind, reason), number in report.findings.items()}
    assert reasons == {
        "rejected.columns": 2,
        "rejected.unreadable": 1,
        "rejected.name_too_long": 1,
        "rejected.no_place": 1,
        "rejected.name_missing": 2,
        "review.coordinates_missing": 2,
        "review.coordinates_outside": 3,
        "review.coordinates_broken": 3,
        "review.coordinates_swapped": 1,
        "duplicate.same_key": 1,
        "duplicate.same_place": 2,
    }
    assert (report.rows, report.kept) == (21, 11)
    kept = dict(await rows(database, feed, "p.name, geog IS NOT NULL"))
    assert len(kept) == report.kept
    assert kept["온전한 상자"] is True
    assert kept["타"] is True, "swapped axes are put right"
    assert kept["아"] is False, "what is broken is not mended"
    with (load.folder / "report.csv").open(encoding="utf-8-sig") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == sum(reasons.values())
    assert {"line", "outcome", "reason", "detail", "name"} == lines[0].keys()


@pytest.mark.parametrize(
    ("crs", "x", "y"),
    [("5181", 198000, 451000), ("5179", 953901, 1952032), ("5186", 198000, 551000), ("2097", 198000, 451000)],
)
async def test_plane_coordinates_become_degrees(
    load: Import, feed: str, database: Database, crs: str, x: float, y: float
) -> None:
    header = "관리번호,설치장소명,도로명주소,X,Y"
    await load(feed, [["1", "가", "서울 마포구 독막로 930", str(x), str(y)]], header=header, crs=crs)
    ((lon, lat),) = await rows(database, feed, "ST_X(geog::geometry), ST_Y(geog::geometry)")
    assert (lat, lon) == pytest.approx((37.56, 126.98), abs=0.01)


async def test_an_origin_without_its_system_is_asked_about(load: Import, feed: str, database: Database) -> None:
    header, row = "관리번호,설치장소명,도로명주소,중부원점TM X,중부원점TM Y", ["1", "가", "서울 마포구 독막로 931"]
    with pytest.raises(loading.ImportRefused, match="--crs"):
        await load(feed, [[*row, "198000", "451000"]], header=header)
    assert await rows(database, feed) == []
    await load(feed, [[*row, "198000", "451000"]], header=header, crs="2097")
    assert len(await rows(database, feed)) == 1


async def test_a_report_that_cannot_be_written_refuses_the_import(load: Import, feed: str, database: Database) -> None:
    path = load.file([Place("1", "상자", 34.0, 125.0), ["2", "나", "", "", "", "", ""]])
    for target in (load.folder / "missing" / "report.csv", Path("/dev/full")):
        with pytest.raises(loading.ImportRefused, match=str(target)):
            await loading.load(load.url, loading.order(path, "battery-boxes", licence="own", feed=feed), target)
    assert await rows(database, feed) == []


async def test_the_two_systems_of_bessel_are_255_m_apart(load: Import, feed: str, database: Database) -> None:
    header = "관리번호,설치장소명,도로명주소,X,Y"
    for crs in ("2097", "5174"):
        name = f"{feed}-{crs}"
        await load(name, [["1", crs, f"서울 마포구 독막로 {crs}", "198000", "451000"]], header=header, crs=crs)
    row = await database.row(
        """SELECT ST_Distance(a.geog, b.geog) FROM location.places a, location.places b
           WHERE a.feed_id = (SELECT id FROM location.feeds WHERE name = %(a)s)
             AND b.feed_id = (SELECT id FROM location.feeds WHERE name = %(b)s)""",
        a=f"{feed}-2097",
        b=f"{feed}-5174",
    )
    assert row is not None
    assert row[0] == pytest.approx(255, abs=2)


async def test_bins_of_one_name_stay_apart_beyond_50_m(load: Import, feed: str, database: Database) -> None:
    """Each is 40 m from the next: the second is the first's twin, the third is 80 m away and stays."""
    step = 40 / 111_000
    some = [Place(str(n), "의류수거함", 34.2 + n * step, 125.2) for n in range(4)]
    report = await load(feed, some, "clothing-bins")
    assert report.findings == {("duplicate", "same_place"): 2}
    assert len(await rows(database, feed)) == 2


async def test_two_kinds_at_one_address_are_two_places(load: Import, feed: str, database: Database) -> None:
    place = Place("1", "주민센터", 34.3, 125.3, "서울 마포구 독막로 940")
    await load(f"{feed}-a", [place], "battery-boxes")
    await load(f"{feed}-b", [place], "lamp-boxes")
    assert len(await rows(database, f"{feed}-a")) + len(await rows(database, f"{feed}-b")) == 2


async def test_a_file_that_lacks_most_places_is_refused(load: Import, feed: str, database: Database) -> None:
    some = [Place(str(n), f"상자{n}", 34.0 + n / 100, 125.4) for n in range(30)]
    await load(feed, some)
    with pytest.raises(TooManyVanish):
        await load(feed, some[:10])
    assert len(await rows(database, feed)) == 30
    report = await load(feed, some[:10], allow_shrink=True)
    assert report.changes
    assert report.changes.retired == 20
    assert len(await rows(database, feed)) == 10


async def test_numbers_that_each_city_counts_from_1_are_no_keys(load: Import, feed: str, database: Database) -> None:
    def bin_of(number: str, city: str, lat: float) -> Place:
        return Place(number, f"{city} 의류수거함", lat + int(number) / 1000, 125.45, f"{city} 중앙로 {number}")

    some = [bin_of(n, city, lat) for city, lat in (("목포시", 34.1), ("여수시", 34.5)) for n in "12"]
    some.append(bin_of("77", "목포시", 34.2))
    report = await load(feed, some)
    assert (report.kept, report.count("duplicate")) == (5, 0)
    before = await rows(database, feed, "p.id")
    again = await load(feed, [*some[2:], *some[:2]])
    assert again.changes
    assert (again.changes.unchanged, again.changes.added, again.changes.retired) == (5, 0, 0)
    assert await rows(database, feed, "p.id") == before


async def test_a_file_without_rows_retires_nothing(load: Import, feed: str, database: Database) -> None:
    await load(feed, [Place("1", "상자", 34.0, 125.46)])
    with pytest.raises(NothingKept):
        await load(feed, [])
    assert len(await rows(database, feed)) == 1
    await load(feed, [], allow_shrink=True)
    assert not await rows(database, feed)


async def test_only_an_address_with_a_number_tells_that_two_are_one(load: Import, feed: str) -> None:
    def at(address: str) -> list[Place]:
        return [Place(str(n), f"상자{n}", 34.0 + n / 100, 125.47, address) for n in range(2)]

    for address, kept in (("전남 신안군 성산2동", 2), ("전남 신안군 중앙로3길", 2), ("전남 신안군 중앙로3길 5", 1)):
        assert (await load(feed, at(address), allow_shrink=True)).kept == kept, address
    shops = await load(f"{feed}-shops", at("전남 신안군 중앙로3길 5"), "generic")
    assert shops.kept == 2


async def test_of_two_imports_at_once_one_is_refused(load: Import, feed: str) -> None:
    async with import_store.connect(load.url) as other, other.transaction():
        assert await import_store.lock(other, feed)
        with pytest.raises(ImportBusy):
            await load(feed, [Place("1", "상자", 34.0, 125.5)])
        await load(f"{feed}-other", [Place("1", "상자", 34.0, 125.5)])
    await load(feed, [Place("1", "상자", 34.0, 125.5)])


async def test_an_import_that_is_killed_leaves_nothing(
    load: Import, feed: str, environment: dict[str, str], database: Database
) -> None:
    """Killed while it waits in the middle of its transaction for a lock that this test holds."""
    await load(feed, [Place("1", "상자", 34.0, 125.6)])
    path = load.file([Place(str(n), f"새{n}", 34.0 + n / 1000, 125.6) for n in range(50)])
    own = {**os.environ, **environment, "ECO2_ENVIRONMENT": "local"}
    command = ("-m", "eco2", "places", "import", str(path), "--format", "battery-boxes", "--licence", "own")
    waiting = """SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%location.feeds%%'"""
    async with await psycopg.AsyncConnection.connect(load.url) as holder:
        await holder.execute("LOCK TABLE location.feeds IN SHARE MODE")
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, "--feed", feed, "--allow-shrink", cwd=load.folder, env=own
        )
        async with asyncio.timeout(60):
            while not await database.rows(waiting):
                assert process.returncode is None
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await holder.rollback()
    async with asyncio.timeout(30):  # the server ends the session when it finds nobody there
        while True:
            try:
                await load(feed, [Place("1", "상자", 34.0, 125.6)], dry_run=True)
                break
            except ImportBusy:
                await asyncio.sleep(0.1)
    assert [name for (name,) in await rows(database, feed)] == ["상자"]


async def test_a_steward_s_retirement_outlives_imports(load: Import, feed: str, database: Database) -> None:
    some = [Place("1", "상자", 34.0, 125.7), Place("2", "통", 34.1, 125.7)]
    await load(feed, some)
    ((number, _),) = [row for row in await rows(database, feed, "p.id, p.name") if row[1] == "상자"]
    assert await store.retire(database, number, "steward")
    assert not await store.retire(database, number, "steward")
    report = await load(feed, [Place("1", "새 상자", 34.0, 125.7), some[1]])
    assert report.changes
    assert report.changes.changed == 1
    assert [name for (name,) in await rows(database, feed)] == ["통"]
    assert await store.restore(database, number)
    assert [name for (name,) in await rows(database, feed)] == ["새 상자", "통"]


async def test_a_steward_and_an_import_do_not_block_each_other(load: Import, feed: str, database: Database) -> None:
    await load(feed, [Place("1", "상자", 34.0, 125.7)])
    ((number,),) = await rows(database, feed, "p.id")
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory' AND query LIKE '%%retired_by%%'"
    async with await psycopg.AsyncConnection.connect(load.url) as importing:
        await importing.execute("UPDATE location.places SET retired_by = retired_by WHERE false")
        retiring = asyncio.create_task(store.retire(database, number, "steward"))
        async with asyncio.timeout(20):
            while not await database.rows(waiting):
                await asyncio.sleep(0.02)
        await importing.execute("UPDATE location.places SET phone = '02-120' WHERE id = %s", (number,))
        await importing.commit()
    assert await retiring
    found = await store.find(database, number)
    assert found is not None
    assert (found.place.phone, found.retired_by) == ("02-120", "steward")


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_the_memory_of_an_import_does_not_grow_with_the_file(
    load: Import, feed: str, environment: dict[str, str]
) -> None:
    """300 MB, read and compared without being kept."""
    path = load.folder / "large.csv"
    line = "S-{0},상자 {0},서울 마포구 독막로 {0},34.{0:06d},125.5,평일 09:00~18:00,2026-11-01,{1}\n"
    rows = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{HEADER},비고\n")
        while file.tell() < 300_000_000:
            file.writelines(line.format(rows + n, "가" * 150) for n in range(1000))
            rows += 1000
    own = {**os.environ, **environment, "ECO2_ENVIRONMENT": "local"}
    command = ("places", "import", str(path), "--format", "battery-boxes", "--dry-run", "--json", "--feed", feed)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "eco2", *command, cwd=load.folder, env=own, stdout=asyncio.subprocess.PIPE
    )
    watched, most = psutil.Process(process.pid), 0
    reading = asyncio.create_task(process.communicate())
    while not reading.done():
        with contextlib.suppress(psutil.Error):
            most = max(most, watched.memory_info().rss)
        await asyncio.sleep(0.2)
    report = orjson.loads((await reading)[0])
    assert (report["rows"], report["rejected"]) == (rows, 0)
    assert most < 200_000_000
