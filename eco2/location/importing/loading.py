"""An import: a file becomes the places of its feed, all of it or nothing.

The rows are copied into a staging table and compared with the stored ones; one transaction changes the difference. A
process that dies leaves everything as it was.
"""

import asyncio
import csv
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection

from eco2.core.errors import AppError, BadRequest, Conflict
from eco2.location import import_store
from eco2.location.import_store import Changes, Feed
from eco2.location.importing import coordinates
from eco2.location.importing.addresses import Regions
from eco2.location.importing.files import FileRefused, Rows
from eco2.location.importing.formats import FORMATS, Format, columns_of, mapped
from eco2.location.importing.normalising import Finding, Normaliser, date_of_file
from eco2.location.opening import KOREA

EXAMPLES = 3
"""Rows of each reason that the summary names."""
BREATH = 500
"""Rows after which other work of the process gets a turn."""
MAY_VANISH = 0.5
FEW = 20
"""A feed of fewer places may lose any share of them."""
LICENCES = {
    "unrestricted": "이용허락범위 제한 없음",
    "kogl-0": "공공누리 0유형 (조건 없음)",
    "kogl-1": "공공누리 1유형 (출처표시)",
    "own": "자체 자료",
}
ATTRIBUTION = frozenset(("kogl-1",))
"""Licences that ask for the name of the publisher wherever the data is shown."""
REFUSED_LICENCES = {
    "kogl-2": "공공누리 2유형은 상업 서비스에 쓸 수 없습니다",
    "kogl-3": "공공누리 3유형은 가공해 실을 수 없습니다",
    "kogl-4": "공공누리 4유형은 상업 서비스에 쓸 수 없고 가공해 실을 수 없습니다",
}


class ImportRefused(BadRequest):
    """The import cannot be done as it was asked for; nothing was changed."""

    code = "IMPORT_REFUSED"


class ImportBusy(Conflict):
    """Another import of this feed is running; try again when it is done."""

    code = "IMPORT_BUSY"


class NothingKept(BadRequest):
    """No row of the file can be stored; nothing was changed."""

    code = "IMPORT_HAS_NO_ROWS"


class TooManyVanish(Conflict):
    """The file lacks most of the places that are there."""

    code = "IMPORT_WOULD_RETIRE_MOST"


@dataclass(frozen=True)
class Order:
    """A file to import. `feed`: the name under which a newer file replaces an older one."""

    path: Path
    format: Format
    feed: Feed
    system: int | None = None
    dry_run: bool = False
    allow_shrink: bool = False


@dataclass(frozen=True)
class Progress:
    phase: str
    rows: int
    share: float
    seconds: float

    @property
    def rate(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float:
        return self.seconds / self.share - self.seconds if self.share else 0.0


@dataclass
class Report:
    """Outcome of an import: how many rows of what kind, with examples, and what changed."""

    file: str
    feed: str
    format: str
    encoding: str = ""
    rows: int = 0
    kept: int = 0
    findings: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    changes: Changes | None = None
    seconds: float = 0.0
    dry_run: bool = False

    def count(self, outcome: str) -> int:
        return sum(number for (kind, _), number in self.findings.items() if kind == outcome)

    def reasons(self) -> dict[str, int]:
        """`outcome.reason` → rows."""
        return {f"{kind}.{reason}": number for (kind, reason), number in sorted(self.findings.items())}

    def public(self) -> dict[str, Any]:
        """For programs."""
        return {
            "file": self.file,
            "feed": self.feed,
            "format": self.format,
            "encoding": self.encoding,
            "dry_run": self.dry_run,
            "rows": self.rows,
            "kept": self.kept,
            "rejected": self.count("rejected"),
            "duplicates": self.count("duplicate"),
            "reviews": self.count("review"),
            "reasons": self.reasons(),
            "changes": asdict(self.changes) if self.changes else None,
            "seconds": round(self.seconds, 2),
        }


class _Writer:
    """Counts findings, and writes each into the CSV file of the report, which is made with the first."""

    def __init__(self, report: Report, target: Path | None, keep: Callable[[Path], Awaitable[None]] | None) -> None:
        self._report, self._target, self._keep = report, target, keep
        self._file: Any = None
        self._csv: Any = None

    def add(self, line: int, found: Finding, name: str) -> None:
        key = (found.outcome, found.reason)
        self._report.findings[key] += 1
        examples = self._report.examples.setdefault(key, [])
        if len(examples) < EXAMPLES:
            examples.append(f"line {line}: {name[:40]}{f' ({found.detail})' if found.detail else ''}")
        if self._target is None:
            return
        with self._told():
            if self._csv is None:
                self._file = self._target.open("w", encoding="utf-8-sig", newline="")
                self._csv = csv.writer(self._file)
                self._csv.writerow(("line", "outcome", "reason", "detail", "name"))
            self._csv.writerow((line, found.outcome, found.reason, *map(_plain_cell, (found.detail, name))))

    async def finish(self) -> None:
        """Before anything is changed, so that a full disk or a lost store leaves no import without its report."""
        if self._file is None or self._target is None:
            return
        with self._told():
            self._file.flush()
        if self._keep is not None:
            keep, self._keep = self._keep, None
            await keep(self._target)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ImportRefused(f"The report {self._target} cannot be written: {error.strerror}.") from None

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # the failed write has been reported already
                self._file.close()


def _plain_cell(text: str) -> str:
    """A spreadsheet takes what begins so for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


@asynccontextmanager
async def _writing(
    report: Report, target: Path | None, keep: Callable[[Path], Awaitable[None]] | None
) -> AsyncIterator[_Writer]:
    writer = _Writer(report, target, keep)
    try:
        yield writer
    except AppError:
        with suppress(AppError):  # the refusal is what counts
            await writer.finish()
        raise
    finally:
        writer.close()


def require_known(format_name: str, licence: str, publisher: str, crs: str, dry_run: bool) -> None:
    """ImportRefused for any file."""
    if format_name not in FORMATS:
        raise ImportRefused(f"There is no format {format_name!r}; one of {', '.join(FORMATS)}.")
    if licence in REFUSED_LICENCES:
        raise ImportRefused(f"{REFUSED_LICENCES[licence]}: this file cannot be used here ({licence}).")
    if licence not in LICENCES and not (dry_run and not licence):
        raise ImportRefused(f"Name the licence of the file: {', '.join(LICENCES)}. The page of the file says it.")
    if licence in ATTRIBUTION and not publisher.strip():
        raise ImportRefused(
            f"{licence} requires attribution: name the institution that published the file by --publisher."
        )
    if crs and crs not in coordinates.SYSTEMS:
        raise ImportRefused(f"The coordinate system {crs!r} is not known; one of {', '.join(coordinates.SYSTEMS)}.")


def order(
    path: Path,
    format_name: str,
    *,
    licence: str,
    feed: str = "",
    title: str = "",
    publisher: str = "",
    url: str = "",
    map_file: Path | None = None,
    crs: str = "",
    data_date: str = "",
    dry_run: bool = False,
    allow_shrink: bool = False,
) -> Order:
    """ImportRefused, FileRefused."""
    require_known(format_name, licence, publisher, crs, dry_run)
    if not path.is_file():
        raise ImportRefused(f"There is no file {path}.")
    found = mapped(FORMATS[format_name], map_file) if map_file else FORMATS[format_name]
    today = datetime.now(KOREA).date()
    day = date_of_file(data_date or path.stem, today)
    if data_date and day is None:
        raise ImportRefused(f"The date {data_date!r} is none of the past; write it as 2026-06-30.")
    described = Feed(
        name=feed or feed_of(path),
        format=format_name,
        title=title or found.title,
        publisher=publisher or found.publisher,
        licence=licence or "unknown",
        url=url,
        file=path.name,
        data_date=day,
    )
    return Order(path, found, described, coordinates.SYSTEMS[crs] if crs else None, dry_run, allow_shrink)


def feed_of(path: Path) -> str:
    """The file's name without its date: a newer file of that name replaces the older one."""
    return re.sub(r"[-_. ]*(?<!\d)20\d{2}[-_.]?\d{2}[-_.]?\d{2}(?!\d)", "", path.stem).strip() or path.stem


async def load(
    database_url: str,
    asked: Order,
    report_file: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    keep: Callable[[Path], Awaitable[None]] | None = None,
) -> Report:
    """Import the file. FileRefused, ImportRefused, ImportBusy, NothingKept, TooManyVanish: nothing was changed.

    `keep` is given the report, if there is one, before anything is changed, and also where nothing will be.
    """
    start = time.monotonic()
    report = Report(asked.path.name, asked.feed.name, asked.format.name, dry_run=asked.dry_run)
    tell = progress or (lambda _: None)
    async with import_store.connect(database_url) as connection:
        async with _refusal_noted(connection, asked):
            rows, reader = _opened(asked)
        async with _writing(report, report_file, keep) as writer:
            async with _refusal_noted(connection, asked), connection.transaction(force_rollback=asked.dry_run):
                if not await import_store.lock(connection, asked.feed.name):
                    raise ImportBusy
                await import_store.make_staging(connection)
                await _copy(connection, rows, reader, report, writer, tell, start)
                if not (report.kept or asked.allow_shrink):
                    raise NothingKept
                tell(Progress("comparing", report.rows, 1.0, time.monotonic() - start))
                await _drop_doubles(connection, report, writer)
                known = await import_store.feed_id(connection, asked.feed.name)
                report.changes = await import_store.changes(connection, known)
                _require_most(report.changes, asked)
                await writer.finish()
                if not asked.dry_run:
                    tell(Progress("writing", report.rows, 1.0, time.monotonic() - start))
                    await import_store.apply(connection, await import_store.save_feed(connection, asked.feed))
                    await import_store.note(connection, asked.feed.name, report.kept, report.reasons())
            if not asked.dry_run:
                await connection.set_autocommit(True)
                await import_store.refresh_statistics(connection)
    report.encoding = str(rows.encoding)
    report.seconds = time.monotonic() - start
    return report


def _opened(asked: Order) -> tuple[Rows, Normaliser]:
    rows = Rows(asked.path)
    columns = columns_of(asked.format, rows.header)
    if columns.ambiguous and asked.system is None:
        raise ImportRefused(
            f"The title {columns.ambiguous!r} names an origin that systems up to 255 m (5186: 100 km) apart share. Ask "
            "the publisher which it is, and say it with --crs: 5181 (GRS80), 5174 or 2097 (Bessel), 5186."
        )
    return rows, Normaliser(
        asked.format, columns, Regions.load(), len(rows.header), datetime.now(KOREA).date(), asked.system
    )


@asynccontextmanager
async def _refusal_noted(connection: AsyncConnection, asked: Order) -> AsyncIterator[None]:
    """Keep that the whole file was refused, once all that it wrote is undone."""
    try:
        yield
    except (FileRefused, ImportRefused, NothingKept, TooManyVanish) as refused:
        if not asked.dry_run:
            async with connection.transaction():
                await import_store.note(connection, asked.feed.name, 0, {}, refused.code)
        raise


async def _copy(
    connection: Any,
    rows: Rows,
    reader: Normaliser,
    report: Report,
    writer: _Writer,
    tell: Callable[[Progress], None],
    start: float,
) -> None:
    told = 0.0
    async with import_store.copying(connection) as copy:
        for record in rows:
            report.rows += 1
            row = reader(record.line, record.cells)
            if reader.findings:
                name = row.name if row else reader.name_of(record.cells)
                for found in reader.findings:
                    writer.add(record.line, found, name)
            if row is not None:
                report.kept += 1
                await copy.write_row(row)
            if report.rows % BREATH == 0:
                await asyncio.sleep(0)
                seconds = time.monotonic() - start
                if seconds - told > 0.5:
                    told = seconds
                    tell(Progress("reading", report.rows, rows.bytes_read / rows.size, seconds))


async def _drop_doubles(connection: Any, report: Report, writer: _Writer) -> None:
    await import_store.prepare(connection)
    for one in await import_store.outside(connection):
        writer.add(one.line, Finding("review", coordinates.OUTSIDE), one.name)
    dropped: set[int] = set()
    await import_store.part_numbers(connection)
    for one in await import_store.repeated_keys(connection):
        writer.add(one.line, Finding("duplicate", "same_key", f"line {one.other}"), one.name)
        dropped.add(one.line)
    await import_store.drop(connection, dropped)
    dropped_twins: set[int] = set()
    async for first, line, name in import_store.twins(connection):
        if first not in dropped_twins and line not in dropped_twins:
            writer.add(line, Finding("duplicate", "same_place", f"line {first}"), name)
            dropped_twins.add(line)
    await import_store.drop(connection, dropped_twins)
    report.kept -= len(dropped) + len(dropped_twins)


def _require_most(changes: Changes, asked: Order) -> None:
    if asked.allow_shrink or changes.before < FEW or changes.retired <= MAY_VANISH * changes.before:
        return
    raise TooManyVanish(
        f"{changes.retired} of {changes.before} places of feed {asked.feed.name!r} are not in this file. If it is "
        "whole and they are gone, repeat with --allow-shrink; if it is another list, give it a --feed of its own."
    )
