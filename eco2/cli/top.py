"""`eco2 top`: the running stack, live."""

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from eco2.local.config import Layout

Json = dict[str, Any]

FIRST_SECONDS = 1.0
"""Between the two readings that the first rates are made of."""
PICTURE_WIDTH = 140
WIDE = 110
"""Columns from which the panels stand beside the processes."""
QUIT = frozenset({b"q", b"Q", b"\x03", b"\x1b"})
out = Console()


def top(
    once: bool = typer.Option(False, "--once", help="Print one summary of a second, and exit."),
    as_json: bool = typer.Option(False, "--json", help="The same as JSON, for programs."),
    svg: Path = typer.Option(None, "--svg", metavar="FILE", help="Write one summary of a second as SVG, and exit."),
    every: float = typer.Option(2.0, "--every", min=0.5, max=60, help="Seconds between updates."),
) -> None:
    """Show processes, queues, stages, streams, cost and alerts of the running stack, live. `q` ends it.

    Alerts need `eco2 up --observe`; all else is read from the processes themselves.
    """
    from eco2.cli.stack import plain_errors

    with plain_errors():
        at = _running()
        if as_json or once or svg:
            found = asyncio.run(_one(at))
            if svg:
                _draw_file(found, at.observe, svg)
            elif as_json:
                typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
            else:
                out.print(picture(found, at.observe, out.width, None))
            return
        if not sys.stdin.isatty() or not out.is_terminal:
            from eco2.local.config import LocalError

            raise LocalError("This is no terminal: use `eco2 top --once` or `eco2 top --json`.")
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_live(at, every))


def _draw_file(found: Json, observed: bool, path: Path) -> None:
    """Without the fonts that Rich would have a browser fetch from elsewhere."""
    from eco2.local.config import LocalError

    console = Console(file=io.StringIO(), record=True, width=PICTURE_WIDTH, force_terminal=True)
    console.print(picture(found, observed, PICTURE_WIDTH, None))
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="eco2 top"), flags=re.DOTALL)
    try:
        path.write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise LocalError(f"{path} cannot be written: {error.strerror}.") from None


def _running() -> "Layout":
    from eco2.local import config, state

    at = config.layout(make=False)
    last = state.load(at.home)
    if last is None or not last.alive:
        raise config.LocalError("Nothing is running: start it with `eco2 up`.")
    return state.as_running(at)


async def _one(at: "Layout") -> Json:
    async for found in _pictures(at, FIRST_SECONDS, asyncio.Event()):
        return found
    raise AssertionError("unreachable")


async def _pictures(at: "Layout", every: float, ended: asyncio.Event) -> AsyncIterator[Json]:
    """A summary after FIRST_SECONDS, then one in `every` seconds until `ended`."""
    import httpx2

    from eco2.local.observing import samples
    from eco2.local.observing.summary import summary

    async with httpx2.AsyncClient() as client:
        before, pause = await samples.read(client, at), FIRST_SECONDS
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), pause)
                return
            now, pause = await samples.read(client, at), every
            yield summary(before, now)
            before = now


async def _live(at: "Layout", every: float) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    shown: Json | None = None
    with _keys(ended), Live(console=out, screen=True, auto_refresh=False) as live:

        def draw() -> None:
            size = out.size
            content = picture(shown, at.observe, size.width, size.height) if shown else Text("Reading …")
            live.update(content, refresh=True)

        loop.add_signal_handler(signal.SIGWINCH, draw)
        draw()
        async for found in _pictures(at, every, ended):
            shown = found
            draw()


@contextlib.contextmanager
def _keys(ended: asyncio.Event) -> Iterator[None]:
    """Set `ended` at the first key of QUIT. The terminal is given back as it was."""
    loop, handle = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(handle)

    def read() -> None:
        data = os.read(handle, 64)
        if not data or data[:1] in QUIT:
            ended.set()

    tty.setcbreak(handle)
    loop.add_reader(handle, read)
    try:
        yield
    finally:
        loop.remove_reader(handle)
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


# --- drawing ----------------------------------------------------------------------------------------------------------


def picture(found: Json, observed: bool, width: int, height: int | None) -> RenderableType:
    """The whole screen. With a height the list of processes is cut to it."""
    right = [_flow(found), _stages(found), _queues(found), _alerts(found, observed)]
    if width < WIDE:
        return Group(*right, _processes(found, None if height is None else max(3, height - 30)))
    sides = Table.grid(expand=True, padding=(0, 1))
    sides.add_column(ratio=4)
    sides.add_column(ratio=5)
    sides.add_row(_processes(found, None if height is None else height - 4), Group(*right))
    return sides


def _panel(title: str, content: RenderableType) -> Panel:
    return Panel(content, title=title, title_align="left", border_style="dim", padding=(0, 1))


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 1), expand=True)
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place == 0 else "right", no_wrap=True)
    return table


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _processes(found: Json, rows: int | None) -> Panel:
    table = _table("process", "", "cpu %", "MB", "restarts")
    ordered = sorted(found["processes"], key=lambda row: (row["ready"] and row["answers"], -(row["cpu_percent"] or 0)))
    for row in ordered[:rows]:
        mark = "[green]ready" if row["ready"] and row["answers"] else "[red]silent" if row["ready"] else "[red]down"
        restarts = str(row["restarts"]) if row["restarts"] else ""
        table.add_row(row["name"], mark, _number(row["cpu_percent"]), _number(row["memory_mb"], 0), restarts)
    ready = sum(row["ready"] for row in ordered)
    memory = sum(row["memory_mb"] or 0 for row in ordered)
    cpu = sum(row["cpu_percent"] or 0 for row in ordered)
    return _panel(f"{ready} of {len(ordered)} processes ready, {cpu:.0f} % of a core, {memory:.0f} MB", table)


def _flow(found: Json) -> Panel:
    scans, edge, streams, cost = (found[name] for name in ("scans", "edge", "streams", "cost"))
    rows = Table.grid(padding=(0, 1))
    ended = " ".join(f"{rate:.1f}/s {outcome}" for outcome, rate in scans["ended"].items()) or "none yet"
    hits = "–" if scans["cache_hits"] is None else f"{scans['cache_hits']:.0%}"
    rows.add_row(
        "[bold]requests", f"{edge['requests']:.1f}/s  {_number(edge['milliseconds'])} ms", _failed(edge["failed"])
    )
    rows.add_row("[bold]scans", f"{ended}  {_number(scans['milliseconds'], 0)} ms", f"cache hits {hits}")
    sent = f"{streams['open']} open  {streams['events']:.1f} events/s  {streams['sent']:.1f} sent/s"
    rows.add_row("[bold]streams", sent, f"{streams['waiting']} wait  memory {streams['memory_share']:.1%}")
    budget = f" of {cost['budget_usd']:.2f}" if cost["budget_usd"] else ""
    calls = f"{cost['calls']:.1f} calls/s  {cost['tokens']:.0f} tokens/s"
    spent = f"{cost['spent_today_usd']:.4f}{budget} USD today"
    rows.add_row("[bold]cost", f"{spent}  {calls}", "[red]stopped" if cost["stopped"] else _failed(cost["failed"]))
    return _panel("flow", rows)


def _failed(rate: float) -> str:
    return f"[red]{rate:.1f}/s fail" if rate else "[dim]none fail"


def _stages(found: Json) -> Panel:
    table = _table("stage or task", "/s", "ms", "again/s")
    for row in found["stages"]:
        again = f"[red]{row['again']:.1f}" if row["again"] else ""
        table.add_row(row["task"], _number(row["rate"]), _number(row["milliseconds"]), again)
    return _panel("stages", table if table.rows else Text("Nothing was worked on yet.", style="dim"))


def _queues(found: Json) -> Panel:
    if found["queues"] is None:
        return _panel("queues", Text("Not known: the broker is yours, or does not answer.", style="dim"))
    table = _table("queue", "wait", "in work", "consumers")
    busy = [row for row in found["queues"] if row["ready"] or row["in_work"]]
    for row in busy:
        style = "red" if row["ready"] and (row["dead_letters"] or not row["consumers"]) else ""
        table.add_row(row["queue"], str(row["ready"]), str(row["in_work"]), str(row["consumers"]), style=style)
    letters = sum(row["ready"] for row in found["queues"] if row["dead_letters"])
    title = f"queues: {len(found['queues'])}, {letters} dead letters"
    return _panel(title, table if table.rows else Text("All are empty.", style="dim"))


def _alerts(found: Json, observed: bool) -> Panel:
    if found["alerts"] is None:
        why = "Alertmanager does not answer." if observed else "Start with `eco2 up --observe` to see alerts."
        return _panel("alerts", Text(why, style="dim"))
    lines = []
    for row in sorted(found["alerts"], key=lambda row: (row["severity"] != "critical", row["since"])):
        colour = "red" if row["severity"] == "critical" else "yellow"
        lines.append(Text.assemble((row["name"], f"bold {colour}"), "  ", row["summary"]))
        lines.append(Text(f"  {row['runbook'].partition('/blob/main/')[2]}", style="dim"))
    return _panel(f"alerts: {len(found['alerts'])}", Group(*lines) if lines else Text("None.", style="green"))
