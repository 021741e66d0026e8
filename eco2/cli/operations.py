"""The operator's commands: `eco2 task`, `eco2 dlq`, `eco2 backup`, `eco2 report`."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from eco2.cli import console

if TYPE_CHECKING:
    from eco2.jobs.dead_letters import Urls

task = typer.Typer(help="Scheduled and background work.", no_args_is_help=True)
dlq = typer.Typer(help="Dead letters of every queue.", no_args_is_help=True)
backup = typer.Typer(help="Encrypted backups of the database.", no_args_is_help=True)
report = typer.Typer(help="The daily reports.", no_args_is_help=True)


# --- runs -------------------------------------------------------------------------------------------------------------


@task.command("list")
def task_list(
    name: str = typer.Argument("", help="Only runs of this task."),
    limit: int = typer.Option(20, "-n", min=1, max=1000),
    as_json: bool = console.AS_JSON,
) -> None:
    """Show the newest runs of scheduled and background work."""
    from eco2.core.postgres import open_database
    from eco2.core.settings import DatabaseSettings
    from eco2.jobs import store

    async def find() -> list[console.Json]:
        async with open_database(console.settings(DatabaseSettings), repeat=True) as db:
            return await store.newest(db, name or None, limit)

    rows = [{key: _short(value) for key, value in row.items()} for row in console.do(find())]
    columns = ("id", "status", "attempts", "started_at", "finished_at", "error")
    console.show(rows, as_json, *columns, empty="No runs yet.")


def _short(value: object) -> object:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value


@task.command("run")
def task_run(
    name: str = typer.Argument(help="The task, such as analytics.daily."),
    argument: str = typer.Argument("", help="Its argument; for analytics.daily and report.generate a day."),
) -> None:
    """Start a run; the scheduler sends it, `eco2 task list` shows its outcome."""
    from eco2.core.postgres import open_database
    from eco2.core.settings import DatabaseSettings
    from eco2.jobs import service

    async def order() -> str:
        async with open_database(console.settings(DatabaseSettings), repeat=True) as db:
            return await service.order(db, name, argument)

    typer.echo(console.do(order()))


# --- dead letters -----------------------------------------------------------------------------------------------------


def _urls() -> "Urls":
    from eco2.jobs.dead_letters import Urls
    from eco2.jobs.settings import DeadLetterSettings

    settings = console.settings(DeadLetterSettings)
    return Urls(settings.broker_url, settings.tasks_broker_url, settings.chat_broker_url)


@dlq.command("list")
def dlq_list(as_json: bool = console.AS_JSON) -> None:
    """List dead letters: queue, cause, attempts, next automatic replay."""
    from eco2.jobs import dead_letters

    rows = [letter.public() for letter in console.do(dead_letters.listed(_urls()))]
    for row in rows if not as_json else ():
        row["id"] = row["id"][:18]
        row["work"] = f"{row['task'] or row['held_in']} {row['argument'][:40]}"
        row["reason"] = f"{row['reason']}: {row['error'][:60]}" if row["error"] else row["reason"]
    columns = ("id", "queue", "work", "reason", "deaths", "died_at", "again_at")
    console.show(rows, as_json, *columns, empty="No dead letters.")


@dlq.command("show")
def dlq_show(letter: str = typer.Argument(help="The id, or how it begins.")) -> None:
    """Show one dead letter as JSON, with its trace and body."""
    from eco2.jobs import dead_letters

    async def find() -> list[dead_letters.DeadLetter]:
        found = [one for one in await dead_letters.listed(_urls()) if one.id.startswith(letter)]
        if not found:
            raise dead_letters.DeadLetterNotFound(f"There is no dead letter {letter!r}; `eco2 dlq list` shows them.")
        return found

    shown = [{**one.public(), **_body(one.body)} for one in console.do(find())]
    console.print_json(shown if len(shown) > 1 else shown[0])


BODY_SHOWN = 20_000


def _body(body: bytes) -> dict[str, object]:
    """As text where it is some; of a long one the beginning, with its size."""
    text = body[:BODY_SHOWN].decode(errors="replace")
    return {"body": text} if len(body) <= BODY_SHOWN else {"body": f"{text}…", "body_bytes": len(body)}


def _settle(ids: Sequence[str], everything: bool, again: bool) -> None:
    from eco2.jobs import dead_letters

    if bool(ids) == everything:
        raise typer.Exit(console.say("Give ids, or --all."))
    done = console.do(dead_letters.settle(_urls(), ids, everything=everything, again=again))
    for one in done:
        if one.problem is None:
            where = f"sent again to {one.letter.routing_key}" if again else "dropped"
            console.out.print(f"{one.letter.id}: {where}", highlight=False, markup=False, soft_wrap=True)
        else:
            console.say(f"{one.letter.id}: stays: {one.problem}")
    if not done:
        console.out.print("No dead letters.")
    if any(one.problem for one in done):
        raise typer.Exit(1)


@dlq.command("replay")
def dlq_replay(
    ids: list[str] = typer.Argument(None, help="Ids, or how they begin."),
    everything: bool = typer.Option(False, "--all", help="All of them."),
) -> None:
    """Send dead letters back to their queues; exit code 1 when some could not be sent.

    Finished work is not repeated.
    """
    _settle(ids or [], everything, again=True)


@dlq.command("drop")
def dlq_drop(
    ids: list[str] = typer.Argument(None, help="Ids, or how they begin."),
    everything: bool = typer.Option(False, "--all", help="All of them."),
) -> None:
    """Delete dead letters for good."""
    _settle(ids or [], everything, again=False)


# --- backups ----------------------------------------------------------------------------------------------------------


@backup.command("run")
def backup_run() -> None:
    """Make a backup now and verify it by a restore into a scratch database."""
    from eco2.jobs import backup as work
    from eco2.jobs.settings import BackupSettings

    with console.out.status("Dumping, encrypting, storing, restoring …"):
        note = console.do(work.make(console.settings(BackupSettings), datetime.now(UTC)))
    rows, tables = sum(note["rows"].values()), len(note["rows"])
    console.out.print(
        f"{note['name']}: {note['bytes']:,} bytes, proven with {rows:,} rows in {tables} tables.", highlight=False
    )


@backup.command("list")
def backup_list(as_json: bool = console.AS_JSON) -> None:
    """List backups, newest first; one without proof is unfinished or was abandoned."""
    from eco2.jobs import backup as work
    from eco2.jobs.settings import BackupSettings

    found = console.do(work.shelf(console.settings(BackupSettings)))
    rows = [{"name": b.name, "bytes": b.size, "proven": "yes" if b.proven else "no"} for b in found]
    console.show(rows, as_json, "name", "bytes", "proven", empty="No backups yet.")


@backup.command("restore")
def backup_restore(
    name: str = typer.Argument(help="The name, from `eco2 backup list`."),
    into: str = typer.Option(..., "--into", help="postgresql:// URL of a new, empty database."),
    identity: Path | None = typer.Option(
        None, "--identity", exists=True, dir_okay=False, help="File with the age identity; default: the local stack's."
    ),
) -> None:
    """Restore a backup into an empty database: all of it, or nothing."""
    from eco2.jobs import backup as work
    from eco2.jobs.settings import BackupSettings

    with console.sentences():
        key = work.an_identity(_identity(identity))
    rows = console.do(work.restore(console.settings(BackupSettings), name, into, key))
    console.out.print(f"Restored {sum(rows.values()):,} rows in {len(rows)} tables.", highlight=False)


def _identity(file: Path | None) -> str:
    from eco2.local import config

    if file is None:
        return config.layout(make=False).credentials.backup_identity
    lines = [line for line in file.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-")]
    return lines[0] if lines else ""


# --- reports ----------------------------------------------------------------------------------------------------------


@report.command("save")
def report_save(
    day: str = typer.Argument(help="As 2026-11-24."),
    folder: Path = typer.Option(Path(), "--to", exists=True, file_okay=False, help="Folder to write to."),
) -> None:
    """Fetch the report of a day as HTML and PDF. `eco2 task run analytics.daily DAY` makes one that is missing."""
    from eco2.jobs import report as work
    from eco2.jobs.objects import OpsStore
    from eco2.jobs.settings import ReportSettings

    try:
        wanted = date.fromisoformat(day)
    except ValueError:
        raise typer.Exit(console.say(f"{day!r} is no day; give one as 2026-11-24.")) from None
    objects = OpsStore(console.settings(ReportSettings))
    for kind in ("html", "pdf"):
        data = console.do(objects.get(work.key(wanted, kind)))
        if data is None:
            hint = f"`eco2 task run analytics.daily {wanted}` makes it."
            raise typer.Exit(console.say(f"There is no report of {wanted}; {hint}"))
        target = folder / f"eco2-{wanted}.{kind}"
        target.write_bytes(data)
        console.out.print(str(target), highlight=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    for name, group in (("task", task), ("dlq", dlq), ("backup", backup), ("report", report)):
        app.add_typer(group, name=name)
