"""`eco2 job show`, `eco2 feedback export` and `eco2 feedback top`."""

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eco2.cli import console

out = Console()
err = Console(stderr=True)

Json = dict[str, Any]


def show(
    job: str = typer.Argument(help="The job id, from the answer of POST /scan."),
    as_json: bool = typer.Option(False, "--json", help="Print it as JSON."),
) -> None:
    """Show a job: its row, stages, timings, source of the result, trace.

    Reads ECO2_DATABASE_URL and ECO2_REDIS_STREAMS_URL, or else the local stack.
    """
    from eco2.scan import inspection

    try:
        job_id = UUID(job)
    except ValueError:
        err.print(f"{job!r} is no job id; it looks like 0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11.", highlight=False)
        raise typer.Exit(1) from None
    found = asyncio.run(inspection.show(_settings(), job_id))
    if found is None:
        err.print(f"There is no job {job_id}.", highlight=False)
        raise typer.Exit(1)
    if as_json:
        console.print_json(found)
    else:
        _print(found)


def _settings() -> Any:
    from eco2.local import config, state
    from eco2.scan.inspection import InspectSettings

    local = config.environment(state.as_running(config.layout(make=False)))  # a given server's URL is in it
    return InspectSettings(database_url=local["ECO2_DATABASE_URL"], redis_streams_url=local["ECO2_REDIS_STREAMS_URL"])


def _print(found: Json) -> None:
    row = Table(show_header=False, box=None)
    for name, value in found["job"].items():
        row.add_row(f"[bold]{name}", "–" if value in (None, {}, []) else Text(console.plain(str(value))))
    row.add_row("[bold]trace_id", found["trace_id"] or "–")
    out.print(row, highlight=False)
    events = Table("seq", "stage", "status", "time", "stage ms", box=None, header_style="bold")
    spent = {stage["stage"]: stage["ms"] for stage in found["stages"]}
    for event in found["events"]:
        ms = spent.get(event["stage"]) if event["status"] != "started" else None
        events.add_row(str(event["seq"]), event["stage"], event["status"], event["ts"], "" if ms is None else str(ms))
    out.print(events if found["events"] else "Its events are gone; they are kept for 15 minutes after its end.")


# --- feedback ---------------------------------------------------------------------------------------------------------


def export(
    target: Path = typer.Argument(help="File to write; replaced when everything has been read."),
    days: int = typer.Option(36500, min=1, max=36500, help="Only what was said in the last so many days."),
    words: bool = typer.Option(False, "--words", help="Include users' comments, which may be personal."),
) -> None:
    """Write feedback whose true label is known as an evaluation set: one JSON object a line, without users.

    Reads ECO2_DATABASE_URL, or else the database of the local stack.
    """
    try:
        written, left = asyncio.run(_export(target, _since(days), words=words))
    except OSError as error:
        err.print(f"Cannot write {target}: {error.strerror}.", highlight=False)
        raise typer.Exit(1) from None
    err.print(f"{written} lines in {target}; {left} left out: the true item is unknown.", highlight=False)


async def _export(target: Path, since: datetime, *, words: bool) -> tuple[int, int]:
    """(lines written, rows without a label)."""
    from eco2 import knowledge
    from eco2.core.postgres import open_database
    from eco2.scan import feedback, feedback_store

    base, written, left = knowledge.load(), 0, 0
    unfinished = target.with_name(f"{target.name}.part")
    with unfinished.open("w", encoding="utf-8") as file:
        async with open_database(_settings(), repeat=False) as db:
            async for row in feedback_store.judged(db, since):
                line = feedback.example(base, row, words=words)
                if line is None:
                    left += 1
                    continue
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                written += 1
    unfinished.replace(target)
    return written, left


def top(
    days: int = typer.Option(30, min=1, max=36500, help="Only what was said in the last so many days."),
    limit: int = typer.Option(20, min=1, max=1000, help="How many items."),
    as_json: bool = typer.Option(False, "--json", help="Print it as JSON."),
) -> None:
    """Show the most disputed items with the items that users named.

    Reads ECO2_DATABASE_URL, or else the database of the local stack.
    """
    found = asyncio.run(_top(_since(days), limit))
    if as_json:
        console.print_json(found)
        return
    table = Table("item", "wrong", "of", "share", "it was", box=None, header_style="bold")
    for row in found:
        meant = ", ".join(f"{one['item']} ({one['times']})" for one in row["meant"])
        share = f"{row['wrong'] / row['judged']:.0%}"
        table.add_row(row["item"], str(row["wrong"]), str(row["judged"]), share, meant or "–")
    out.print(table if found else f"Nobody disputed a result in the last {days} days.")


async def _top(since: datetime, limit: int) -> list[Json]:
    from eco2 import knowledge
    from eco2.core.postgres import open_database
    from eco2.scan import feedback_store

    async with open_database(_settings(), repeat=True) as db:
        found = await feedback_store.top(db, since, limit)
    items = knowledge.load().items

    def named(item_id: str) -> Json:
        return {"item_id": item_id, "item": items[item_id].ko if item_id in items else item_id}

    return [
        {
            **asdict(row),
            **named(row.item_id),
            "meant": [{**named(item), "times": times} for item, times in row.meant],
        }
        for row in found
    ]


def _since(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)
