"""`eco2 job show`."""

import asyncio
import json
from typing import Any
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

out = Console()
err = Console(stderr=True)

Json = dict[str, Any]


def show(
    job: str = typer.Argument(help="The job id, as POST /scan answered it."),
    as_json: bool = typer.Option(False, "--json", help="Print it as JSON."),
) -> None:
    """Show what is known about a job: its row, stages, timings, where its result came from, its trace.

    Reads ECO2_DATABASE_URL and ECO2_REDIS_STREAMS_URL, or else the local stack.
    """
    from eco2.scan import inspect

    try:
        job_id = UUID(job)
    except ValueError:
        err.print(f"{job!r} is no job id; it looks like 0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11.", highlight=False)
        raise typer.Exit(1) from None
    found = asyncio.run(inspect.show(_settings(), job_id))
    if found is None:
        err.print(f"There is no job {job_id}.", highlight=False)
        raise typer.Exit(1)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _print(found)


def _settings() -> Any:
    from eco2.local import config, state
    from eco2.scan.inspect import InspectSettings

    local = config.environment(state.as_running(config.layout(make=False)))  # a given server's URL is in it
    return InspectSettings(database_url=local["ECO2_DATABASE_URL"], redis_streams_url=local["ECO2_REDIS_STREAMS_URL"])


def _print(found: Json) -> None:
    row = Table(show_header=False, box=None)
    for name, value in found["job"].items():
        row.add_row(f"[bold]{name}", "–" if value in (None, {}, []) else str(value))
    row.add_row("[bold]trace_id", found["trace_id"] or "–")
    out.print(row, highlight=False)
    events = Table("seq", "stage", "status", "time", "stage ms", box=None, header_style="bold")
    spent = {stage["stage"]: stage["ms"] for stage in found["stages"]}
    for event in found["events"]:
        ms = spent.get(event["stage"]) if event["status"] != "started" else None
        events.add_row(str(event["seq"]), event["stage"], event["status"], event["ts"], "" if ms is None else str(ms))
    out.print(events if found["events"] else "Its events are gone; they are kept for an hour after the last.")
