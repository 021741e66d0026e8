"""Scenarios of places: a million that it makes up, imported, then asked for through the edge."""

import asyncio
import csv
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import psutil
import psycopg

from tests.load.bench import Bench, breakdown, load_of_driver
from tests.load.client import percentile
from tests.load.lean import connected
from tests.load.machine import Usage, pss
from tests.load.report import Measure
from tests.load.target import User

PLACES, PLACES_QUICK = 1_000_000, 100_000
ASKED, ASKED_QUICK = 400, 100
AT_ONCE = 50
API = "/api/v1/locations"
RARE = 500
"""One place of so many takes lamps."""
FEED = "bench-places"
HEADER = "관리번호,설치장소명,소재지도로명주소,위도,경도,상세위치,관리기관전화번호,운영시간,수거품목,데이터기준일자"
CITIES = (
    ("서울특별시 마포구", 37.56, 126.92, 0.08, 30),
    ("서울특별시 강남구", 37.50, 127.04, 0.08, 30),
    ("부산광역시 해운대구", 35.16, 129.16, 0.10, 12),
    ("대구광역시 북구", 35.88, 128.58, 0.10, 8),
    ("인천광역시 남동구", 37.45, 126.73, 0.10, 10),
    ("광주광역시 북구", 35.17, 126.91, 0.10, 5),
    ("대전광역시 유성구", 36.36, 127.35, 0.10, 5),
    ("경기도 수원시", 37.26, 127.02, 0.20, 20),
    ("강원특별자치도 춘천시", 37.88, 127.73, 0.40, 3),
    ("전라남도 순천시", 34.95, 127.48, 0.40, 4),
    ("경상북도 안동시", 36.56, 128.72, 0.50, 4),
    ("제주특별자치도 제주시", 33.49, 126.50, 0.15, 3),
)
SYLLABLES = "가나다라마바사아자차카타파하거너더러머버서어저처고노도로모보소오조초구누두루무부수우주추기니디리미비시이지"
KINDS = ("아파트", "마트", "주민센터", "약국", "공원", "상점", "카페", "빌라", "학교", "도서관")
ITEMS = ("투명페트병, 캔", "종이, 유리병", "투명패트병", "의류", "플리스틱류, 비닐", "", "폐건전지", "폐의약품")
HOURS = ("09:00~18:00", "평일 09:00~18:00, 토요일 09:00~13:00, 일·공휴일 휴무", "상시", "", "22:00~02:00")
FILTERS = "pickup_category=clear_pet,can&store_category=public_dropbox"
NEAR = f"{FILTERS}&radius=1000"
SERVERS = ("gateway", "ext-authz", "location-api", "postgres")


def _rows(count: int) -> Iterator[list[str]]:
    made = random.Random(19)
    weights = [city[-1] for city in CITIES]
    for number in range(count):
        district, lat, lon, spread, _ = made.choices(CITIES, weights)[0]
        name = "".join(made.choices(SYLLABLES, k=made.randint(2, 4))) + made.choice(KINDS)
        road = f"{''.join(made.choices(SYLLABLES, k=2))}로{made.randint(1, 300)}길 {made.randint(1, 400)}"
        items = "형광등" if number % RARE == 0 else made.choice(ITEMS)
        yield [
            f"B-{number}",
            f"{name} {made.randint(1, 999)}",
            f"{district} {road}",
            f"{min(38.9, max(33.1, made.gauss(lat, spread))):.6f}",
            f"{min(131.9, max(124.1, made.gauss(lon, spread))):.6f}",
            "입구 옆",
            f"031-{made.randint(200, 999)}-{made.randint(1000, 9999)}",
            made.choice(HOURS),
            items,
            "2026-06-30",
        ]


def _file(folder: Path, count: int) -> Path:
    path = folder / "places.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER.split(","))
        writer.writerows(_rows(count))
    return path


async def places(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """Import, then every question in turn, warm; what was imported is removed at the end, unless it is to be kept."""
    count = bench.sized(PLACES, PLACES_QUICK)
    if bench.keep and await _imported(bench):
        return await _questions(bench, count)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = await asyncio.to_thread(_file, Path(folder), count)
            imported = await _import(bench, path)
        return [*imported, *await _questions(bench, count)]
    finally:
        if not bench.keep:
            await _remove(bench)


async def _imported(bench: Bench) -> bool:
    """True where the places of an earlier run are there."""
    url = bench.target.environment["ECO2_DATABASE_URL"]
    async with await psycopg.AsyncConnection.connect(url) as db:
        cursor = await db.execute("SELECT FROM location.feeds WHERE name = %s", (FEED,))
        return cursor.rowcount > 0


async def _import(bench: Bench, path: Path) -> list[Measure]:
    command = ("-m", "eco2", "places", "import", str(path), "--format", "clothing-bins", "--licence", "own")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        *("--feed", FEED, "--json", "--report", str(path.with_name("report.csv"))),
        stdout=asyncio.subprocess.PIPE,
        env={**bench.target.environment, "PATH": "/usr/bin"},
    )
    most, watched = 0, psutil.Process(process.pid)
    reading = asyncio.create_task(process.communicate())
    while not reading.done():
        try:
            most = max(most, watched.memory_info().rss)
        except psutil.Error:
            break
        await asyncio.sleep(0.2)
    output, _ = await reading
    report = orjson.loads(output)
    details = {name: report[name] for name in ("rows", "kept", "seconds")}
    return [
        Measure("places_import", report["rows"] / report["seconds"], details),
        Measure("places_import_memory", most / 1e6, details),
    ]


async def _questions(bench: Bench, count: int) -> list[Measure]:
    asked = bench.sized(ASKED, ASKED_QUICK)
    made, users = random.Random(7), itertools.cycle(bench.target.users(20))

    somewhere = partial(_somewhere, made)

    def word() -> str:
        name = "".join(made.choices(SYLLABLES, k=2)) + made.choice(KINDS)
        return made.choice((name, name[:2], name[1:], f"{made.choice(CITIES)[0].split()[1]} {name[:2]}"))

    ask = _asker(bench)
    details = {"places": count, "questions": asked}
    near = await _in_turn(ask, users, (f"centers?{somewhere()}&{NEAR}" for _ in range(asked)))
    await _at_once(bench, users, [f"centers?{somewhere()}&{NEAR}" for _ in range(2 * AT_ONCE)])  # warms up
    before = bench.target.usage()
    crowd = await _at_once(bench, users, [f"centers?{somewhere()}&{NEAR}" for _ in range(asked)])
    usage = bench.target.usage().since(before)
    rare = await _in_turn(ask, users, (f"centers?{somewhere()}&stream=lamp_bin" for _ in range(asked)))
    korea = await _in_turn(ask, users, ("clusters?bbox=124,33,132,39&zoom=2" for _ in range(asked)))
    found = await _in_turn(ask, users, (f"search?q={word()}" for _ in range(asked)))
    memory = pss(bench.target.pids()["location-api"]) / 1e6
    return [
        Measure("places_nearest_p99", 1000 * percentile(near, 99), details | _spread(near)),
        Measure("places_nearest_50_p99", 1000 * percentile(crowd, 99), details | _spread(crowd) | _cost(usage, asked)),
        Measure("places_rare_p99", 1000 * percentile(rare, 99), details | _spread(rare)),
        Measure("places_clusters_p99", 1000 * percentile(korea, 99), details | _spread(korea)),
        Measure("places_search_p95", 1000 * percentile(found, 95), details | _spread(found)),
        Measure("places_memory", memory, details),
    ]


def _somewhere(made: random.Random) -> str:
    """A point, where people are."""
    _, lat, lon, spread, _ = made.choices(CITIES, [city[-1] for city in CITIES])[0]
    return f"lat={made.gauss(lat, spread):.5f}&lon={made.gauss(lon, spread):.5f}"


async def nearest_cpu(bench: Bench) -> float:
    """CPU microseconds of the servers for the nearest 50 places, 50 requests in flight. Fills the database first."""
    if not await _imported(bench):
        with tempfile.TemporaryDirectory() as folder:
            await _import(bench, await asyncio.to_thread(_file, Path(folder), PLACES_QUICK))
    made, users = random.Random(7), itertools.cycle(bench.target.users(20))
    paths = [f"centers?{_somewhere(made)}&{FILTERS}" for _ in range(bench.sized(2 * ASKED, ASKED))]
    before = bench.target.usage()
    await _at_once(bench, users, paths)
    used = bench.target.usage().since(before).by_process
    return 1e6 * sum(used[name] for name in SERVERS) / len(paths)


Ask = Callable[[User, str], Awaitable[float]]


def _asker(bench: Bench) -> Ask:
    async def ask(user: User, path: str) -> float:
        start = time.perf_counter()
        url = f"{bench.target.url}{API}/{path}"
        async with bench.client.session.get(url, headers=user.headers) as response:
            response.raise_for_status()
            await response.read()
        return time.perf_counter() - start

    return ask


async def _in_turn(ask: Ask, users: Iterator[User], paths: Iterator[str]) -> list[float]:
    """The first tenth only warms up."""
    times = [await ask(next(users), path) for path in paths]
    return times[len(times) // 10 :]


async def _at_once(bench: Bench, users: Iterator[User], paths: Sequence[str]) -> list[float]:
    """Each client has a connection of its own, and asks for the next path when it has an answer."""
    waiting, times = iter(paths), []

    async def client() -> None:
        async with connected(bench.target.url) as connection:
            for path in waiting:
                start = time.perf_counter()
                await connection.get(f"{API}/{path}", next(users).headers)
                times.append(time.perf_counter() - start)

    async with asyncio.TaskGroup() as clients:
        for _ in range(AT_ONCE):
            clients.create_task(client())
    return times


def _spread(times: list[float]) -> dict[str, Any]:
    return {f"p{percent}_ms": round(1000 * percentile(times, percent), 2) for percent in (50, 95, 99)}


def _cost(usage: Usage, asked: int) -> dict[str, Any]:
    """CPU of one request by process, and how many were answered in a second."""
    costs = {name: ms for name, ms in breakdown(usage, asked).items() if ms >= 0.01}
    return {"cpu_ms": costs, "per_second": round(asked / usage.wall), **load_of_driver(usage, asked)}


async def _remove(bench: Bench) -> None:
    url = bench.target.environment["ECO2_DATABASE_URL"]
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        feed = "(SELECT id FROM location.feeds WHERE name = %s)"
        await db.execute(f"DELETE FROM location.places WHERE feed_id = {feed}".encode(), (FEED,))
        await db.execute("DELETE FROM location.feeds WHERE name = %s", (FEED,))
        await db.execute("VACUUM ANALYZE location.places")
