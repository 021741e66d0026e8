"""The steward's commands of places: `eco2 places`."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eco2.cli import console

if TYPE_CHECKING:
    from eco2.core.postgres import Database
    from eco2.location.importing.loading import Order, Progress, Report
    from eco2.location.importing.stored import Stored
    from eco2.location.store import Place

places = typer.Typer(help="Drop-off places: import, search, retire.", no_args_is_help=True)

FORMAT_HELP = (
    "compensation, clothing-bins, recycling-centres, medicine-boxes, battery-boxes, lamp-boxes, battery-lamp-boxes, "
    "ewaste-boxes, reverse-vending, kakao-favourites or generic."
)
LICENCE_HELP = "unrestricted (이용허락범위 제한 없음), kogl-0, kogl-1 or own. KOGL types 2 to 4 are refused."
REJECTED = 3


Kind = Annotated[str, typer.Option("--format", help=FORMAT_HELP)]
Licence = Annotated[str, typer.Option(help=f"{LICENCE_HELP} Not needed for --dry-run.")]
FeedName = Annotated[
    str, typer.Option("--feed", help="Name under which a newer file replaces this one; default: file name, no date.")
]
Title = Annotated[str, typer.Option(help="Title of the data set, shown with each place.")]
Publisher = Annotated[
    str, typer.Option(help="Institution that published it, shown with each place; kogl-1 requires it.")
]
Page = Annotated[str, typer.Option("--url", help="Page of the data set.")]
Columns = Annotated[
    Path | None,
    typer.Option("--map", dir_okay=False, help="YAML that tells which column is what, for --format generic."),
]
DataDate = Annotated[
    str, typer.Option("--date", help="Day of the data as 2026-06-30, where neither rows nor file name say it.")
]
Crs = Annotated[
    str,
    typer.Option(help="Coordinate system where no title names it: 4326, 5181, 5179, 5186, 5174, 2097, wcongnamul."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and compare everything, change nothing.")]
AllowShrink = Annotated[bool, typer.Option("--allow-shrink", help="Also when most places of the feed vanish.")]


@places.command("import")
def load(
    file: Annotated[
        str,
        typer.Argument(help="A CSV file of a public body, UTF-8 or CP949; or s3://BUCKET/imports/FILE in our bucket."),
    ],
    kind: Kind,
    licence: Licence = "",
    feed: FeedName = "",
    title: Title = "",
    publisher: Publisher = "",
    url: Page = "",
    columns: Columns = None,
    date: DataDate = "",
    crs: Crs = "",
    report: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="CSV file for what was rejected or has to be looked at; that of a file in the bucket lies beside it.",
        ),
    ] = None,
    dry_run: DryRun = False,
    allow_shrink: AllowShrink = False,
    allow_rejects: Annotated[
        bool, typer.Option("--allow-rejects", help="Exit code 0 also when rows were rejected, as for a Job.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON, for programs.")] = False,
) -> None:
    """Load a file: its places become those of its feed, all or none; unchanged ones are left, vanished ones retired.

    Exit code 0: done. 3: done, but rows were rejected. 1: nothing was changed.
    """
    from eco2.location.importing import loading, stored
    from eco2.location.settings import ImportSettings, StoredImportSettings

    def order(path: Path) -> "Order":
        return loading.order(
            path,
            kind,
            licence=licence,
            feed=feed,
            title=title,
            publisher=publisher,
            url=url,
            map_file=columns,
            crs=crs,
            data_date=date,
            dry_run=dry_run,
            allow_shrink=allow_shrink,
        )

    with console.sentences():
        loading.require_known(kind, licence, publisher, crs, dry_run)
    target: Path | None = None
    if stored.is_address(file):
        if report is not None:
            raise typer.BadParameter("The report of a file in the bucket lies beside it.", param_hint="--report")
        settings = console.settings(StoredImportSettings)
        found = console.do(stored.load(settings, file, order, _progress(as_json), _say_where))
    else:
        with console.sentences():
            asked = order(Path(file))
        target = report or Path(f"{Path(file).stem}.report.csv")
        database_url = console.settings(ImportSettings).database_url
        found = console.do(loading.load(database_url, asked, target, _progress(as_json)))
    if as_json:
        console.print_json(found.public())
    else:
        _show_report(found, target)
    if found.count("rejected") and not allow_rejects:
        raise typer.Exit(REJECTED)


def _say_where(report: "Stored") -> None:
    typer.echo(f"Row by row: {report}", err=True)


@places.command()
def upload(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A CSV file, for an import in the cluster.")
    ],
) -> None:
    """Put a file into the private bucket and print its address for `import` and `job`. One of that name is replaced."""
    from eco2.core.settings import OpsStorageSettings
    from eco2.location.importing.stored import Shelf

    shelf = Shelf(console.settings(OpsStorageSettings))
    typer.echo(str(console.do(shelf.put(file))))


@places.command()
def job(
    file: Annotated[str, typer.Argument(help="s3://BUCKET/imports/FILE, as `upload` prints it.")],
    kind: Kind,
    licence: Licence = "",
    feed: FeedName = "",
    title: Title = "",
    publisher: Publisher = "",
    url: Page = "",
    columns: Columns = None,
    date: DataDate = "",
    crs: Crs = "",
    dry_run: DryRun = False,
    allow_shrink: AllowShrink = False,
    template: Annotated[
        typer.FileText, typer.Option(help="The CronJob places-import of the cluster, as YAML or JSON; default: stdin.")
    ] = "-",  # type: ignore[assignment]
) -> None:
    """Print the Kubernetes Job that imports one file, for `kubectl apply -f -`. Asks no server.

    kubectl -n location get cronjob places-import -o yaml | eco2 places job s3://… --format … | kubectl apply -f -
    """
    from eco2.location.importing import formats, loading, stored
    from eco2.location.importing import job as jobs

    if template.isatty():
        raise typer.BadParameter("pipe the CronJob in: kubectl -n location get cronjob places-import -o yaml | …")
    said = {
        "--licence": licence,
        "--feed": feed,
        "--title": title,
        "--publisher": publisher,
        "--url": url,
        "--date": date,
        "--crs": crs,
    }
    arguments = [str(file), "--format", kind, "--allow-rejects"]
    arguments += [f"{name}={value}" for name, value in said.items() if value]
    arguments += ["--dry-run"] * dry_run + ["--allow-shrink"] * allow_shrink
    with console.sentences():
        stored.address(file)
        loading.require_known(kind, licence, publisher, crs, dry_run)
        if columns is not None:
            formats.mapped(formats.FORMATS[kind], columns)
        wanted = columns.read_text(encoding="utf-8") if columns else None
        made = jobs.objects(template.read(), arguments, wanted, datetime.now(UTC))
    typer.echo(jobs.text(made), nl=False)


def _progress(quiet: bool) -> Any:
    """A line that moves on a terminal; in the log of a Job one every ten seconds."""
    told: dict[str, Any] = {"phase": "", "at": 0.0}

    def tell(now: "Progress") -> None:
        terminal = sys.stderr.isatty()
        if not terminal and now.phase == told["phase"] and now.seconds - told["at"] < 10:
            return
        told.update(phase=now.phase, at=now.seconds)
        left = f", {now.seconds_left:.0f} s left" if now.phase == "reading" and now.share else ""
        line = f"{now.phase}: {now.rows:,} rows, {now.rate:,.0f} rows/s, {now.share:.0%}{left}"
        typer.echo(f"\r\033[K{line}" if terminal else line, err=True, nl=not terminal)
        if terminal and now.phase == "writing":
            typer.echo("", err=True)

    return None if quiet else tell


def _show_report(found: "Report", target: Path | None) -> None:
    changes = found.changes
    rate = found.rows / found.seconds if found.seconds else 0
    console.out.print(
        f"{found.file} ({found.format}, {found.encoding}): {found.rows:,} rows in {found.seconds:.1f} s "
        f"({rate:,.0f}/s), {found.kept:,} kept, {found.count('duplicate'):,} duplicates, "
        f"{found.count('rejected'):,} rejected.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if changes:
        verb = "would be" if found.dry_run else "were"
        console.out.print(
            f"Feed {found.feed}: {changes.added:,} {verb} added, {changes.changed:,} changed, "
            f"{changes.retired:,} retired, {changes.unchanged:,} unchanged.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    rows = [
        {"outcome": kind, "reason": reason, "rows": number, "for example": "; ".join(found.examples[kind, reason])}
        for (kind, reason), number in sorted(found.findings.items())
    ]
    if rows:
        console.table(rows, "outcome", "reason", "rows", "for example", empty="")
        if target is not None:
            console.out.print(f"Row by row: {target}", highlight=False, markup=False)


def _with_database(work: Any) -> Any:
    from eco2.core.postgres import open_database
    from eco2.core.settings import DatabaseSettings

    settings = console.settings(DatabaseSettings)

    async def do() -> Any:
        async with open_database(settings, repeat=True) as db:
            return await work(db)

    return console.do(do())


@places.command()
def show(place: int = typer.Argument(help="The id, from /locations.")) -> None:
    """Show everything that is known about a place, as JSON: source, date, licence, what people say."""
    from dataclasses import asdict

    from eco2.location import feedback_store, service, store

    async def find(db: "Database") -> dict[str, Any]:
        found = await store.find(db, place)
        if found is None:
            raise service.LocationNotFound(f"There is no place {place}.")
        hours = json.loads(found.place.hours) if found.place.hours else None
        shown = {**asdict(found), "place": {**found.place._asdict(), "hours": hours}}
        return {**shown, "feedback": await feedback_store.said(db, place, 100)}

    console.print_json(_with_database(find))


@places.command()
def near(
    lat: float = typer.Argument(help="Latitude, as 37.5553.", min=-90, max=90),
    lon: float = typer.Argument(help="Longitude, as 126.9019.", min=-180, max=180),
    stream: str = typer.Option("", help="Only places that take this disposal stream, as battery_bin."),
    limit: int = typer.Option(10, "-n", min=1, max=100),
    as_json: bool = console.AS_JSON,
) -> None:
    """Show the nearest places, and whether they are open."""
    from eco2.knowledge import holidays
    from eco2.location import service, store
    from eco2.location.opening import Clock

    async def find(db: "Database") -> "list[Place]":
        if stream:
            return await store.nearest_of_rare(db, lat, lon, None, [[f"stream:{stream}"]], limit)
        return (await store.nearest(db, lat, lon, None, [], limit, limit))[0]

    now, clock = datetime.now(UTC), Clock(holidays.load())
    rows = []
    for one in _with_database(find):
        entry = service.entry(one, now, clock)
        rows.append(
            {
                "id": entry.id,
                "name": entry.name,
                "kind": entry.dataset,
                "distance": entry.distance_text,
                "open": {True: "open", False: "closed", None: None}[entry.is_open],
                "address": entry.road_address,
            }
        )
    console.show(rows, as_json, "id", "name", "kind", "distance", "open", "address", empty="No places.")


@places.command()
def stats(as_json: bool = console.AS_JSON) -> None:
    """Show each feed: where it comes from, its licence and date, how many places are on the map, stale, retired."""
    from eco2.location import service, store
    from eco2.location.opening import KOREA

    async def find(db: "Database") -> list[dict[str, Any]]:
        return await store.stats(db, datetime.now(KOREA).date() - service.STALE_AFTER)

    columns = ("feed", "publisher", "licence", "data_date", "imported_at", "places", "off_map", "stale", "retired")
    rows = [{**row, "imported_at": f"{row['imported_at']:%Y-%m-%d %H:%M}"} for row in _with_database(find)]
    console.show(rows, as_json, *columns, empty="No feeds; `eco2 places import` loads one.")


@places.command()
def stale(
    days: int = typer.Option(365, min=1, max=36500, help="Older than so many days."),
    limit: int = typer.Option(50, "-n", min=1, max=10_000),
    as_json: bool = console.AS_JSON,
) -> None:
    """List places with old or undated data, oldest first."""
    from datetime import timedelta

    from eco2.location import store
    from eco2.location.opening import KOREA

    async def find(db: "Database") -> list[dict[str, Any]]:
        return await store.stale(db, datetime.now(KOREA).date() - timedelta(days=days), limit)

    console.show(_with_database(find), as_json, "id", "name", "address", "feed", "data_date", empty="No such places.")


@places.command()
def feedback(
    place: int = typer.Argument(None, help="Only about this place."),
    limit: int = typer.Option(50, "-n", min=1, max=10_000),
    as_json: bool = console.AS_JSON,
) -> None:
    """List users' reports about places that are not retired, newest first."""
    from eco2.location import feedback_store

    async def find(db: "Database") -> list[dict[str, Any]]:
        return await feedback_store.said(db, place, limit)

    columns = ("place_id", "name", "kind", "comment", "created_at")
    console.show(_with_database(find), as_json, *columns, empty="Nobody said anything.")


@places.command()
def retire(place: int = typer.Argument(help="The id."), by: str = typer.Option("steward", help="Who says so.")) -> None:
    """Remove a place from the map, also for later imports. `restore` puts it back."""
    from eco2.location import service, store

    if by.strip() == store.IMPORT:
        raise typer.BadParameter(f"{store.IMPORT!r} is an import itself; the next one would bring the place back.")

    async def do(db: "Database") -> None:
        if not await store.retire(db, place, by.strip() or "steward"):
            raise service.LocationNotFound(f"There is no place {place}, or it is retired already.")

    _with_database(do)
    console.out.print(f"{place} is off the map.", highlight=False)


@places.command()
def restore(place: int = typer.Argument(help="The id.")) -> None:
    """Put a retired place on the map again."""
    from eco2.location import service, store

    async def do(db: "Database") -> None:
        if not await store.restore(db, place):
            raise service.LocationNotFound(f"There is no retired place {place}.")

    _with_database(do)
    console.out.print(f"{place} is on the map again.", highlight=False)
