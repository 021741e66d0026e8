"""Places of made-up files on the real servers, each test in a feed and a corner of the sea of its own."""

import csv
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from eco2.core.postgres import Database
from eco2.location.importing import loading
from eco2.location.importing.loading import Report
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
        await connection.execute("DELETE FROM location.imports WHERE feed LIKE %s", (f"{feed}%",))


async def rows(db: Database, feed: str, columns: str = "p.name") -> list[tuple[Any, ...]]:
    return list(
        await db.rows(
            f"""SELECT {columns} FROM location.places p JOIN location.feeds f ON f.id = feed_id
                WHERE f.name = %(feed)s AND retired_at IS NULL ORDER BY p.name""",
            feed=feed,
        )
    )
