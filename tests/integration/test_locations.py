"""Places on the real servers: imports, the nearest, search, clusters, feedback, gRPC, through the gateway."""

import asyncio
import contextlib
import csv
import os
import random
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import psutil
import psycopg
import pytest

from eco2.contracts.pb import location_pb2 as pb
from eco2.contracts.pb.location_pb2_grpc import LocationServiceStub
from eco2.contracts.pb.user_data_pb2 import ExportRequest, PurgeRequest
from eco2.contracts.pb.user_data_pb2_grpc import UserDataServiceStub
from eco2.core import grpc
from eco2.core.errors import BadRequest
from eco2.core.postgres import Database
from eco2.location import import_store, service, store
from eco2.location.importing import loading
from eco2.location.importing.files import FileRefused
from eco2.location.importing.loading import ImportBusy, NothingKept, Report, TooManyVanish
from tests.conftest import Person

People = Callable[[], Person]
API = "/api/v1/locations"
HEADER = "관리번호,설치장소명,도로명주소,위도,경도,운영시간,데이터기준일자"


class Place:
    """A row of a file; each test has names, a feed and a corner of the sea of its own."""

    def __init__(self, number: str, name: str, lat: float, lon: float, address: str = "", hours: str = "상시") -> None:
        self.cells = [number, name, address, f"{lat:.6f}", f"{lon:.6f}", hours, "2026-11-01"]


@pytest.fixture
def feed() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


class Import:
    """Imports tables into feeds that are removed at the end."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    def file(self, rows: Iterable[Place | list[str]], header: str = HEADER) -> Path:
        path = self.folder / f"{uuid.uuid4().hex}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header.split(","))
            writer.writerows(row.cells if isinstance(row, Place) else row for row in rows)
        return path

    async def __call__(
        self,
        feed: str,
        rows: Iterable[Place | list[str]],
        kind: str = "battery-boxes",
        *,
        header: str = HEADER,
        **options: Any,
    ) -> Report:
        asked = loading.order(self.file(rows, header), kind, licence="own", feed=feed, **options)
        return await loading.load(self.url, asked, self.folder / "report.csv")


@pytest.fixture
async def load(environment: dict[str, str], tmp_path: Path, feed: str) -> AsyncIterator[Import]:
    url = environment["ECO2_DATABASE_URL"]
    yield Import(url, tmp_path)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            "DELETE FROM location.places WHERE feed_id IN (SELECT id FROM location.feeds WHERE name LIKE %s)",
            (f"{feed}%",),
        )
        await connection.execute("DELETE FROM location.feeds WHERE name LIKE %s", (f"{feed}%",))


async def rows(db: Database, feed: str, columns: str = "p.name") -> list[tuple[Any, ...]]:
    return list(
        await db.rows(
            f"""SELECT {columns} FROM location.places p JOIN location.feeds f ON f.id = feed_id
                WHERE f.name = %(feed)s AND retired_at IS NULL ORDER BY p.name""",
            feed=feed,
        )
    )


# --- import -----------------------------------------------------------------------------------------------------------


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


# --- reading ----------------------------------------------------------------------------------------------------------


async def get(who: Person, path: str, **query: Any) -> Any:
    response = await who.http.get(f"{API}{path}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def test_centers_nearest_first_with_filters(load: Import, feed: str, person: People) -> None:
    who = person()
    await load(f"{feed}-a", [Place(str(n), f"상자{n}", 34.0 + n / 100, 126.0) for n in range(5)])
    await load(f"{feed}-b", [Place("1", "헌옷", 34.005, 126.0)], "clothing-bins")
    here = {"lat": 34.0, "lon": 126.0, "radius": 50_000}
    found = await get(who, "/centers", **here)
    assert [one["name"] for one in found][:3] == ["상자0", "헌옷", "상자1"]
    assert found[0] | {"id": 0} == {
        "id": 0,
        "name": "상자0",
        "source": "keco",
        "road_address": None,
        "latitude": 34.0,
        "longitude": 126.0,
        "distance_km": 0.0,
        "distance_text": "0m",
        "store_category": "public_dropbox",
        "pickup_categories": [],
        "is_holiday": False,
        "is_open": True,
        "start_time": "00:00",
        "end_time": "24:00",
        "phone": None,
        "place_url": None,
        "kakao_place_id": None,
        "dataset": "battery_box",
        "streams": ["battery_bin"],
        "residents_only": False,
        "needs_check": False,
    }
    assert found[2]["distance_text"] == "1.1km"
    assert [one["name"] for one in await get(who, "/centers", **here, pickup_category="textile,glass")] == ["헌옷"]
    assert [one["name"] for one in await get(who, "/centers", **here, stream="clothing_bin")] == ["헌옷"]
    assert await get(who, "/centers", **here, pickup_category="textile", stream="battery_bin") == []
    assert len(await get(who, "/centers", **(here | {"radius": 600}))) == 2
    far = await get(who, "/centers", lat=34.0, lon=126.0, stream="battery_bin")
    assert [one["name"] for one in far][:5] == [f"상자{n}" for n in range(5)], "without a radius it goes on"
    assert len(far) > 5


async def test_a_walk_finds_the_nearest_and_says_whether_it_came_to_an_end(
    load: Import, feed: str, database: Database
) -> None:
    made = random.Random(19)
    here = (33.9, 124.9)
    spots = [(here[0] + made.uniform(-0.03, 0.03), here[1] + made.uniform(-0.03, 0.03)) for _ in range(120)]
    few = [Place(str(n), f"상자{n}", *spot) for n, spot in enumerate(spots) if n % 4 == 0]
    await load(f"{feed}-a", few, "lamp-boxes")
    await load(f"{feed}-b", [Place(str(n), f"옷{n}", *spot) for n, spot in enumerate(spots) if n % 4], "clothing-bins")
    wanted = await database.rows(
        """SELECT id FROM (
               SELECT p.id, tags, ST_Distance(geog, ST_SetSRID(ST_MakePoint(%(lon)s, %(lat)s), 4326)::geography) away
               FROM location.places p JOIN location.feeds f ON f.id = feed_id WHERE f.name LIKE %(feed)s
           ) there WHERE away <= 2500 AND 'stream:lamp_bin' = ANY(tags) ORDER BY away""",
        lat=here[0],
        lon=here[1],
        feed=f"{feed}-%",
    )
    lamps = [["stream:lamp_bin"], ["store:public_dropbox"]]
    ids = [row[0] for row in wanted]
    assert len(ids) > 5

    async def walk(limit: int, among: int, radius: float = 2500) -> tuple[list[int], bool]:
        found, complete = await store.nearest(database, *here, radius, lamps, limit, among)
        return [place.id for place in found], complete

    assert await walk(50, 1000) == (ids, True), "in the whole radius"
    assert await walk(5, 1000) == (ids[:5], True), "as many as are asked for"
    short, complete = await walk(50, 20)
    assert (short, complete) == (ids[: len(short)], False), "the walk was too short to know"
    assert 0 < len(short) < len(ids)
    assert await walk(len(short), 20) == (short, True)
    assert await walk(50, 1000, radius=100) == ([], True)
    rare = await store.nearest_of_rare(database, *here, 2500, lamps, 50)
    assert [place.id for place in rare] == ids


async def test_zoom_in_the_client_s_way_and_radius_over_it(person: People) -> None:
    """The public client sends 16 less Kakao's level: a larger zoom is closer."""
    assert service.radius_of_zoom(15) < service.radius_of_zoom(10) < service.radius_of_zoom(2) == 50_000
    who = person()
    near = await get(who, "/centers", lat=37.5553, lon=126.9019, zoom=15)
    wide = await get(who, "/centers", lat=37.5553, lon=126.9019, zoom=8)
    assert len(near) < len(wide)
    assert await get(who, "/centers", lat=37.5553, lon=126.9019, zoom=20, radius=20_000) == await get(
        who, "/centers", lat=37.5553, lon=126.9019, radius=20_000
    )


async def test_the_nearest_places_are_the_same_by_their_short_cut(person: People) -> None:
    """A query with an escape is not plain, so it takes the long way to the same bytes."""
    who = person()
    for query in (
        "radius=2000&pickup_category=all,can",
        "zoom=9&stream=battery_bin,lamp_bin",
        "store_category=all",
        "",
    ):
        path = f"{API}/centers?lat=37.5553&lon=126.9019&{query}"
        short = await who.http.get(path)
        long = await who.http.get(path.replace("37", "%337"))
        assert (short.status_code, long.status_code) == (200, 200)
        assert short.content == long.content
        assert short.json()
        assert short.headers["cache-control"] == long.headers["cache-control"]


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/centers", "lat=37.5&lon=127&store_category=shop", 400, "INVALID_STORE_CATEGORY"),
        ("/centers", "lat=37.5&lon=127&pickup_category=can,bottle", 400, "INVALID_PICKUP_CATEGORY"),
        ("/centers", "lat=37.5&lon=127&stream=x", 400, "INVALID_STREAM"),
        ("/centers", "lat=nan&lon=127", 422, "VALIDATION_ERROR"),
        ("/centers", "lat=inf&lon=127", 422, "VALIDATION_ERROR"),
        ("/centers", "lat=91&lon=127", 422, "VALIDATION_ERROR"),
        ("/centers", "lon=127", 422, "VALIDATION_ERROR"),
        ("/centers", "lat=37.5&lon=127&radius=99", 422, "VALIDATION_ERROR"),
        ("/centers", "lat=37.5&lon=127&radius=50001", 422, "VALIDATION_ERROR"),
        ("/centers", "lat=37.5&lon=127&zoom=21", 422, "VALIDATION_ERROR"),
        ("/centers/99999999", "", 404, "LOCATION_NOT_FOUND"),
        ("/centers/-5", "", 404, "LOCATION_NOT_FOUND"),
        ("/centers/99999999999999999999", "", 422, "VALIDATION_ERROR"),
        ("/search", "q=", 422, "VALIDATION_ERROR"),
        ("/search", "q=a&radius=20001", 422, "VALIDATION_ERROR"),
        ("/clusters", "bbox=1,2,3", 400, "INVALID_BBOX"),
        ("/clusters", "bbox=132,33,124,39", 400, "INVALID_BBOX"),
        ("/clusters", "bbox=nan,33,132,39", 400, "INVALID_BBOX"),
        ("/clusters", "bbox=124,33,132,39&pickup_category=can,glass", 400, "ONE_FILTER_ONLY"),
        ("/nearest", "lat=37.5&lon=127", 400, "STREAM_OR_ITEM"),
        ("/nearest", "lat=37.5&lon=127&stream=battery_bin&item=x", 400, "STREAM_OR_ITEM"),
        ("/nearest", "lat=37.5&lon=127&stream=x", 400, "INVALID_STREAM"),
        ("/nearest", "lat=37.5&lon=127&item=x", 404, "ITEM_NOT_FOUND"),
    ],
)
async def test_refusals(person: People, path: str, query: str, status: int, code: str) -> None:
    answer = await person().http.get(f"{API}{path}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_a_place_with_its_source(load: Import, feed: str, person: People) -> None:
    who = person()
    await load(
        feed,
        [Place("1", "상자", 34.0, 126.1, "서울 마포구 독막로 950", "평일 09:00~18:00")],
        title="제목",
        publisher="기관",
        url="https://example.com",
    )
    (listed,) = await get(who, "/centers", lat=34.0, lon=126.1, radius=1000)
    found = await get(who, f"/centers/{listed['id']}")
    assert (found["name"], found["opening_hours"], found["pickup_categories"]) == ("상자", "평일 09:00~18:00", [])
    assert found["data_source"] == {
        "title": "제목",
        "publisher": "기관",
        "licence": "own",
        "url": "https://example.com",
        "date": "2026-11-01",
    }


async def test_each_list_of_places_is_named_with_its_licence(
    load: Import, feed: str, person: People, database: Database
) -> None:
    rows = [Place("1", "출처 상자", 33.41, 124.71), Place("2", "없앨 상자", 33.42, 124.72)]
    await load(feed, rows, title=feed, publisher=feed)
    ((gone,),) = await database.rows("SELECT id FROM location.places WHERE name = '없앨 상자'")
    await store.retire(database, gone, "steward")
    (own,) = (row for row in await store.sources(database) if row["title"] == feed)
    found = {"publisher": feed, "title": feed, "licence": "own", "url": "", "date": date(2026, 11, 1), "places": 1}
    assert own == found
    assert all(set(row) == set(found) for row in await get(person(), "/sources")), "as of a minute ago at most"


async def test_search_by_parts_errors_initials_and_regions(load: Import, feed: str, person: People) -> None:
    who = person()
    await load(
        feed,
        [
            Place("1", "꿈틀나무 약국", 34.0, 126.2, "강원도 춘천시 시청길 900"),
            Place("2", "꿈틀나무약국 둘", 34.1, 126.2, "서울 마포구 독막로 960"),
            Place("3", "새벽별 약국", 34.2, 126.2, "서울 마포구 독막로 961"),
        ],
    )

    async def names(q: str, **query: Any) -> list[str]:
        return [one["name"] for one in await get(who, "/search", q=q, **query) if one["id"] > 0]

    assert await names("꿈틀나무약국") == ["꿈틀나무 약국", "꿈틀나무약국 둘"]
    assert await names("틀나무약") == ["꿈틀나무 약국", "꿈틀나무약국 둘"]
    assert await names("꿈틀나무야") == ["꿈틀나무 약국", "꿈틀나무약국 둘"], "an unfinished syllable"
    assert "꿈틀나무 약국" in await names("꿈틀나모약국"), "a typing error"
    assert await names("ㄲㅌㄴㅁㅇ") == ["꿈틀나무 약국", "꿈틀나무약국 둘"]
    assert await names("춘천시 꿈틀나무") == ["꿈틀나무 약국"]
    assert await names("강원도 꿈틀나무") == ["꿈틀나무 약국"], "by the former name of its province"
    assert await names("꿈틀나무", lat=34.1, lon=126.2, radius=5000) == ["꿈틀나무약국 둘"]
    assert await names("%") == []
    assert await names("'; --") == []
    suggested = await get(who, "/suggest", q="꿈틀나")
    assert [one["place_name"] for one in suggested] == ["꿈틀나무 약국", "꿈틀나무약국 둘"]
    assert set(suggested[0]) == {"place_name", "address", "latitude", "longitude", "place_url"}


async def test_nearest_for_a_thing(load: Import, feed: str, person: People) -> None:
    who = person()
    always, never = Place("1", "늘 여는 상자", 34.01, 126.3), Place("2", "닫은 상자", 34.001, 126.3, hours="휴무")
    await load(feed, [always, never])
    found = await get(who, "/nearest", stream="battery_bin", lat=34.0, lon=126.3)
    assert [one["name"] for one in found["places"]][:2] == ["닫은 상자", "늘 여는 상자"]
    assert "battery_box" in [kind["id"] for kind in found["drop_offs"]]
    opened = await get(who, "/nearest", stream="battery_bin", lat=34.0, lon=126.3, open_now=True)
    assert opened["places"][0]["name"] == "늘 여는 상자"
    item = await get(who, "/nearest", item="power_bank", lat=34.0, lon=126.3, limit=1)
    assert [one["name"] for one in item["places"]] == ["닫은 상자"]
    assert item["drop_offs"][0]["id"] == "rechargeable_box"


async def test_the_open_one_is_found_behind_many_closed_ones(load: Import, feed: str, person: People) -> None:
    closed = [Place(str(n), f"닫힌 상자{n}", 34.3 + n / 1000, 126.25, hours="계약종료") for n in range(50)]
    await load(feed, [*closed, Place("50", "늘 여는 상자", 34.36, 126.25, hours="상시")])
    where = {"lat": 34.3, "lon": 126.25, "radius": 20_000, "limit": 10}
    found = await get(person(), "/nearest", stream="battery_bin", open_now=True, **where)
    assert [one["name"] for one in found["places"]] == ["늘 여는 상자"]


async def test_clusters_follow_every_change(load: Import, feed: str, person: People, database: Database) -> None:
    who = person()
    corner = {"bbox": "124.9,34.9,125.3,35.3", "zoom": 6}

    async def counts(**query: Any) -> list[int]:
        return [one["count"] for one in await get(who, "/clusters", **corner, **query)]

    some = [Place(str(n), f"상자{n}", 35.0 + n * 0.0005, 125.0) for n in range(5)]
    await load(f"{feed}-a", some)
    await load(f"{feed}-b", [Place("1", "헌옷", 35.2, 125.2)], "clothing-bins")
    assert await counts() == [5, 1]
    assert await counts(stream="battery_bin") == [5]
    assert await counts(pickup_category="textile") == [1]
    await load(f"{feed}-a", some[:3])
    assert await counts() == [3, 1]
    ((number,),) = await rows(database, f"{feed}-b", "p.id")
    await store.retire(database, number, "steward")
    assert await counts() == [3]
    assert await counts(stream="clothing_bin") == []
    (one,) = await get(who, "/clusters", bbox="124,33,132,39", zoom=1, stream="cooking_oil_box") or [{"count": 0}]
    assert one["count"] == 0


async def test_feedback_is_said_once_seen_by_stewards_exported_and_forgotten(
    load: Import, feed: str, person: People, database: Database, environment: dict[str, str]
) -> None:
    who, other = person(), person()
    await load(feed, [Place("1", "상자", 34.0, 126.4)])
    ((number,),) = await rows(database, feed, "p.id")
    path = f"{API}/{number}/feedback"
    first = await who.http.post(path, json={"kind": "gone", "comment": "없어요"})
    again = await who.http.post(path, json={"kind": "gone", "comment": "정말 없어요"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert (await other.http.post(path, json={"kind": "moved"})).status_code == 201
    said = [(one["kind"], one["comment"]) for one in await store.said(database, number, 10)]
    assert said == [("moved", None), ("gone", "정말 없어요")]
    assert (await who.http.post(f"{API}/999999999/feedback", json={"kind": "gone"})).status_code == 404
    assert (await who.http.post(f"{API}/-3/feedback", json={"kind": "gone"})).status_code == 404
    assert (await who.http.post(path, json={"kind": "bad"})).status_code == 422
    address, secret = environment["ECO2_GRPC_LOCATION_API"], environment["ECO2_SERVICE_SECRET"]
    async with grpc.channel(address, secret) as channel:
        data = UserDataServiceStub(channel)
        exported = await grpc.call(data.Export, ExportRequest(user_id=str(who.id)))
        assert [record.kind for record in exported.records] == ["place_reports"]
        assert (await grpc.call(data.Purge, PurgeRequest(user_id=str(who.id)))).removed == 1
    assert [one["kind"] for one in await store.said(database, number, 10)] == ["moved"]


async def test_reports_of_a_day_have_an_end(load: Import, feed: str, database: Database) -> None:
    await load(feed, [Place("1", "상자", 34.0, 126.5)])
    ((number,),) = await rows(database, feed, "p.id")
    user = uuid.uuid4()
    assert await store.say(database, uuid.uuid4(), number, user, "gone", None, 1)
    assert await store.say(database, uuid.uuid4(), number, user, "moved", None, 1) is None


async def test_grpc_search_nearby(load: Import, feed: str, environment: dict[str, str]) -> None:
    await load(feed, [Place(str(n), f"상자{n}", 34.0 + n / 1000, 126.6) for n in range(12)])
    async with grpc.channel(environment["ECO2_GRPC_LOCATION_API"], environment["ECO2_SERVICE_SECRET"]) as channel:
        stub = LocationServiceStub(channel)
        found = await grpc.call(stub.SearchNearby, pb.SearchNearbyRequest(latitude=34.0, longitude=126.6))
        assert ([one.name for one in found.entries], found.total_count) == ([f"상자{n}" for n in range(10)], 10)
        assert (found.entries[0].is_open, found.entries[0].dataset) == (True, "battery_box")
        few = pb.SearchNearbyRequest(latitude=34.0, longitude=126.6, radius=250, limit=200)
        assert (await grpc.call(stub.SearchNearby, few)).total_count == 3
        with pytest.raises(BadRequest) as refused:
            await grpc.call(stub.SearchNearby, pb.SearchNearbyRequest(latitude=float("nan"), longitude=126.6))
        assert refused.value.code == "INVALID_COORDINATES"
        wrong = pb.SearchNearbyRequest(latitude=34.0, longitude=126.6, store_category="x")
        with pytest.raises(BadRequest) as refused:
            await grpc.call(stub.SearchNearby, wrong)
        assert refused.value.code == "INVALID_STORE_CATEGORY"


async def test_the_sample_has_both_toggles_of_the_client(person: People) -> None:
    found = await get(person(), "/centers", lat=37.5553, lon=126.9019, radius=5000)
    assert {one["source"] for one in found} == {"keco", "zerowaste"}
    assert all(isinstance(one["pickup_categories"], list) for one in found)
    assert {one["dataset"] for one in found} >= {"battery_box", "medicine_box", "clothing_bin", "compensation_centre"}


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
