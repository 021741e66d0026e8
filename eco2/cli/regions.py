"""`eco2 regions …`: when districts collect what. Works on ECO2_DATABASE_URL, or else on the local stack."""

import csv
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eco2.cli import console

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eco2.core.postgres import Database
    from eco2.recycling.household import Rejected

regions = typer.Typer(help="Collection days of districts.", no_args_is_help=True)

SHOWN = 20
"""Lines left out that are told one by one."""


@asynccontextmanager
async def _database() -> "AsyncIterator[Database]":
    from eco2.core.postgres import open_database
    from eco2.core.settings import DatabaseSettings

    async with open_database(console.settings(DatabaseSettings), repeat=False) as db:
        yield db


@regions.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="CSV of the data set (생활쓰레기배출정보)."),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and report; change nothing.")] = False,
    rejected: Annotated[
        Path | None, typer.Option("--rejected", dir_okay=False, help="Write rejected lines to this CSV.")
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="The days are made up: mark them as samples, and never replace real ones.")
    ] = False,
) -> None:
    """Import days, times and places of collection from the national household-waste data set, UTF-8 or CP949.

    The areas of the file's districts are replaced in one transaction; other districts stay. Exit code
    1 if nothing could be read.
    """
    from eco2.knowledge.districts import Districts
    from eco2.recycling import calendar

    async def work() -> calendar.Imported:
        if dry_run:
            return calendar.Imported(calendar.read_file(Districts.load(None), file), None)
        async with _database() as db:
            return await calendar.import_file(db, Districts.load(None), file, sample=sample)

    done = console.do(work())
    _report(done.read.rejected, rejected)
    read = done.read
    districts = len({one.district for one in read.found})
    told = (
        f"{read.encoding}: {len(read.found)} areas of {districts} districts read, {len(read.rejected)} lines left out."
    )
    console.out.print(told, highlight=False)
    if done.swapped is None:
        console.out.print("Nothing was changed (--dry-run).")
        return
    counts = done.swapped
    console.out.print(
        f"{counts.added} added, {counts.changed} changed, {counts.unchanged} unchanged, {counts.removed} removed.",
        highlight=False,
    )
    if counts.skipped:
        console.out.print(f"Real days were kept of {', '.join(counts.skipped)}.", highlight=False)


def _report(left_out: "tuple[Rejected, ...]", file: Path | None) -> None:
    for one in left_out[:SHOWN]:
        console.say(f"line {one.line}: {one.district or '–'}: {one.reason}")
    if len(left_out) > SHOWN:
        console.say(f"… and {len(left_out) - SHOWN} more; --rejected FILE writes all of them.")
    if file is not None:
        with file.open("w", encoding="utf-8-sig", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerow(("line", "district", "reason"))
            writer.writerows((one.line, console.cell(one.district), console.cell(one.reason)) for one in left_out)


@regions.command("list")
def list_(as_json: bool = console.AS_JSON) -> None:
    """List districts with collection days, the age of the data, and samples."""
    from eco2.recycling import calendar, store

    async def find() -> list[store.DistrictRow]:
        async with _database() as db:
            return await store.districts(db)

    today = calendar.today()
    rows: list[console.Json] = [
        {
            "district": one.district,
            "areas": one.areas,
            "checked": one.checked,
            "note": "sample" if one.sample else "older than a year" if calendar.is_stale(one.checked, today) else "",
        }
        for one in console.do(find())
    ]
    empty = "No collection days yet; `eco2 regions import FILE` loads them."
    console.show(rows, as_json, "district", "areas", "checked", "note", empty=empty)


@regions.command()
def show(
    district: Annotated[str, typer.Argument(help="서울특별시 마포구, or 마포구 if that is unique.")],
) -> None:
    """Show the collection days of a district, with the source."""
    from eco2 import knowledge
    from eco2.knowledge import days
    from eco2.knowledge.districts import Districts
    from eco2.recycling import calendar

    async def find() -> str:
        base = knowledge.load()
        name = calendar.district_of(base, Districts.load(None), district)
        async with _database() as db:
            found = await calendar.known_schedule(db, base, name)
        return days.answer(days.DayQuestion((name,), ()), found, "", "ko", calendar.today())

    console.out.print(console.do(find()), markup=False, highlight=False, soft_wrap=True)
