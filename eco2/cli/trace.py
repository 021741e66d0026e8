"""`eco2 trace`: one scan from the edge to its last event."""

import json
import time
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from eco2.local.config import Layout
    from eco2.local.observing.tree import Line

WAIT_SECONDS = 6.0
"""Processes send their spans a moment after they end."""
BAR = 24
out = Console()

Json = dict[str, Any]


def trace(
    job: str = typer.Argument("", help="The job id, from the answer of POST /scan. Without it, the newest traces."),
    as_json: bool = typer.Option(False, "--json", help="Spans as JSON, for programs."),
) -> None:
    """Show the trace of one job as a tree: work of each process, durations, waits.

    Needs a stack that was started with `eco2 up --observe`; the newest traces are kept, in memory.
    """
    from eco2.cli.stack import plain_errors
    from eco2.local.config import LocalError

    with plain_errors():
        at = observed()
        if not job:
            _print_newest(ask(at, ""), as_json)
            return
        traces = _of_job(at, job)
        if not traces:
            raise LocalError(
                f"No trace of {job} is kept: it is older than the kept ones, or no job of this stack. "
                "`eco2 trace` lists them."
            )
    if as_json:
        from eco2.local.observing import tree

        typer.echo(json.dumps({**tree.summary(traces[0]["spans"]), **traces[0]}, ensure_ascii=False, indent=2))
        return
    for found in traces:
        _print_tree(found)


def observed() -> "Layout":
    """The stack that runs. LocalError: none runs, or it was started without --observe."""
    from eco2.local import config, state

    at = config.layout(make=False)
    last = state.load(at.home)
    if last is None or not last.alive:
        raise config.LocalError("Nothing is running: start it with `eco2 up --observe`.")
    at = state.as_running(at)
    if not at.observe:
        raise config.LocalError("This stack collects no traces: `eco2 down`, then `eco2 up --observe`.")
    return at


def ask(at: "Layout", job: str) -> list[Json]:
    """Kept traces of the job, or a list of the newest."""
    import httpx2

    from eco2.local import config

    url = f"http://127.0.0.1:{at.port(config.TRACES)}/traces"
    try:
        answer = httpx2.get(url, params={"job": job} if job else {}, timeout=5)
        found: list[Json] = answer.raise_for_status().json()["traces"]
    except httpx2.HTTPError as error:
        raise config.LocalError(f"The collector of traces does not answer ({error}): `eco2 status`.") from None
    return found


def _of_job(at: "Layout", job: str) -> list[Json]:
    """Its traces, as soon as the first of them is whole, or as they are after WAIT_SECONDS."""
    from eco2.local.observing import tree

    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = ask(at, job)
        if (found and tree.complete(found[0]["spans"])) or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def _print_newest(found: list[Json], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    table = Table("job", "begins with", "process", "spans", "ms", box=None, header_style="bold")
    for row in (row for row in found if row["jobs"]):
        name = Text(row["name"])
        table.add_row(row["jobs"][0], name, row["process"], str(row["spans"]), f"{row['seconds'] * 1000:.0f}")
    out.print(table if table.rows else "No trace of a job is kept yet: `eco2 scan PHOTO` makes one.", highlight=False)


def _print_tree(found: Json) -> None:
    from eco2.local.observing import tree

    spans = found["spans"]
    total = tree.summary(spans)
    length = float(str(total["milliseconds"])) or 1.0
    table = Table("at ms", "ms", "", "process", "", box=None, header_style="bold", padding=(0, 1))
    for line in tree.lines(spans):
        table.add_row(
            f"{line.start:.0f}",
            f"{line.milliseconds:.1f}",
            _bar(line, length),
            _process(line),
            _text(line),
            style=_style(line),
        )
    out.print(table, highlight=False)
    processes = total["processes"]
    assert isinstance(processes, list)
    out.print(
        f"\nTrace {found['trace_id']}: {length:.0f} ms, of which {total['queue_milliseconds']} ms in queues; "
        f"{total['spans']} spans of {len(processes)} processes.",
        highlight=False,
        soft_wrap=True,
    )
    for span in tree.orphans(spans):
        out.print(f"The parent of {span['name']} ({span['process']}) did not arrive.", style="yellow", highlight=False)
    if not total["complete"]:
        out.print("It is not whole yet, or its job has not ended.", style="yellow", highlight=False)


def _bar(line: "Line", length: float) -> str:
    if out.width < 100:
        return ""
    before = min(BAR - 1, int(line.start / length * BAR))
    filled = max(1, min(BAR - before, round(line.milliseconds / length * BAR)))
    return " " * before + ("·" if line.span is None else "█") * filled


def _process(line: "Line") -> str:
    return "" if line.span is None else str(line.span["process"])


def _text(line: "Line") -> Text:
    text = Text("  " * line.depth)
    if line.span is None:
        return text.append(f"… {line.text}")
    text.append(line.text)
    shown = {key: value for key, value in line.span["attributes"].items() if key in SHOWN}
    if shown:
        text.append("  " + " ".join(str(value) for value in shown.values()), style="dim")
    if line.span["error"]:
        text.append(f"  {line.span['error']}", style="red")
    return text


SHOWN = ("eco2.stage", "eco2.status", "messaging.routing_key", "gen_ai.request.model", "http.response.status_code")
"""Attributes that the tree shows."""


def _style(line: "Line") -> str:
    return "dim" if line.span is None else ""
