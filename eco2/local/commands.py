"""The commands of the local stack: `eco2 up | down | status | logs | doctor` and `eco2 local env`."""

import asyncio
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from eco2.local.config import Layout
    from eco2.local.state import StackState

COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
READY_SECONDS = 180
out = Console()
err = Console(stderr=True)


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """What a person can do something about is a sentence and exit code 1, not a traceback."""
    from eco2.local.config import LocalError

    try:
        yield
    except LocalError as error:
        err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        err.print(f"The disk is full ({error.filename}): free at least 2 GB, then run this again.", style="red")
        raise typer.Exit(1) from None


def _names(only: str) -> set[str]:
    return {name.strip() for name in only.split(",") if name.strip()}


def up(
    foreground: bool = typer.Option(False, "--foreground", "-f", help="Stay here and show every process's output."),
    only: str = typer.Option("", help="Comma-separated names, instead of every process."),
    quiet: bool = typer.Option(False, hidden=True),
) -> None:
    """Start the platform on this machine."""
    from eco2.local import config, doctor

    with plain_errors():
        doctor.python()
        at = config.layout()
        doctor.free_disk(at.home)
        if foreground:
            asyncio.run(_serve(at, _names(only), None if quiet else _echo()))
        else:
            _start_in_background(at, only)


async def _serve(at: "Layout", only: set[str], echo: Callable[[str, str], None] | None) -> None:
    from eco2.local.stack import units
    from eco2.local.supervisor import Supervisor, stop_requested

    supervisor = Supervisor(units(at, only), at.home, echo)
    with stop_requested() as requested:
        try:
            await supervisor.start(at.gateway_port)
            failed = asyncio.create_task(supervisor.wait_failure())
            stop = asyncio.create_task(requested.wait())
            await asyncio.wait([failed, stop], return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if failed.done():
                failed.result()
            failed.cancel()
        finally:
            await supervisor.stop()


def _echo() -> Callable[[str, str], None]:
    colours: dict[str, int] = {}

    def show(name: str, line: str) -> None:
        colour = colours.setdefault(name, COLOURS[len(colours) % len(COLOURS)])
        prefix = f"{name:<16} | "
        typer.echo(f"\033[{colour}m{prefix}\033[0m{line}")  # without colour when this is not a terminal

    return show


def _start_in_background(at: "Layout", only: str) -> None:
    from eco2.local import stack, state

    last = state.load(at.home)
    if last and last.alive:
        out.print(f"Already running (pid {last.pid}); `eco2 status` shows the processes.")
        return
    if last:
        state.end_orphans(last)
    units = stack.units(at, _names(only))
    ports = {port: unit.name for unit in units if unit.command for port in (unit.port, *unit.side_ports)}
    state.require_free_ports(ports, at.gateway_port)
    state.forget(at.home)
    began = time.monotonic()
    supervisor = _spawn(at.home, only)
    try:
        _wait_until_ready(at.home, supervisor)
    except KeyboardInterrupt:
        supervisor.terminate()
        raise
    _say_what_next(at, only, time.monotonic() - began)


def _spawn(home: Path, only: str) -> "subprocess.Popen[bytes]":
    log = home / "logs" / "supervisor.log"
    log.parent.mkdir(exist_ok=True, mode=0o700)
    command = [sys.executable, "-m", "eco2.cli", "up", "--foreground", "--quiet", "--only", only]
    with log.open("wb") as file:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd="/"
        )


def _wait_until_ready(home: Path, supervisor: "subprocess.Popen[bytes]") -> None:
    from rich.live import Live

    from eco2.local import state
    from eco2.local.config import LocalError

    deadline = time.monotonic() + READY_SECONDS
    with Live(console=out, refresh_per_second=8, transient=True) as live:
        while time.monotonic() < deadline:
            now = state.load(home)
            if supervisor.poll() is not None:
                raise LocalError(_why_it_ended(home, now))
            if now:
                live.update(_table(now))
                if now.processes and all(row.ready for row in now.processes):
                    return
            time.sleep(0.1)
    late = [row.name for row in now.processes if not row.ready] if now else ["the supervisor"]
    raise LocalError(f"Not ready after {READY_SECONDS} s: {', '.join(late)}; `eco2 logs NAME` shows why.")


def _why_it_ended(home: Path, last: "StackState | None") -> str:
    if last and last.error:
        return last.error
    return (home / "logs" / "supervisor.log").read_text(errors="replace").strip() or "The supervisor ended."


def _table(now: "StackState") -> Table:
    table = Table("process", "kind", "port", "pid", "state", "restarts", box=None, header_style="bold")
    alive = now.alive
    for row in now.processes:
        ready = row.ready and alive
        mark = "[green]ready" if ready else "[yellow]starting" if alive else "[red]stopped"
        pid = str(row.pid) if row.pid and alive else "–"
        table.add_row(row.name, row.kind, str(row.port), pid, mark, str(row.restarts))
    return table


def _say_what_next(at: "Layout", only: str, seconds: float) -> None:
    out.print(f"Ready in {seconds:.1f} s.", highlight=False)
    if only:
        return
    out.print(f"Gateway: [bold]{at.public_url}[/bold]   Data and logs: {at.home}", highlight=False)
    out.print("Try:  eco2 scan PHOTO    eco2 status    eco2 logs scan-worker -f    eco2 down", highlight=False)


def down() -> None:
    """Stop the platform; its data stays."""
    from eco2.local import config, state

    with plain_errors():
        home = config.layout().home
        last = state.load(home)
        if last is None or not (_stop_supervisor(last) | bool(state.end_orphans(state.load(home) or last))):
            out.print("Nothing is running.")
            return
        out.print("Stopped; data is kept. `make clean` forgets it.")


def _stop_supervisor(last: "StackState") -> bool:
    """True if there was one to stop."""
    if not last.alive:
        return False
    os.kill(last.pid, signal.SIGTERM)
    deadline = time.monotonic() + 90
    with out.status("Stopping …"):
        while last.alive and time.monotonic() < deadline:
            time.sleep(0.1)
    if last.alive:
        os.kill(last.pid, signal.SIGKILL)
    return True


def status(as_json: bool = typer.Option(False, "--json", help="A JSON list, for programs.")) -> None:
    """Show every process; exit code 1 when something is not ready."""
    from eco2.local import config

    with plain_errors():
        at = config.layout()
        now = _last_known(at)
    rows = [row.public() | ({} if now.alive else {"pid": None, "ready": False}) for row in now.processes]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        out.print(_table(now))
    if not rows or not all(row["ready"] for row in rows):
        raise typer.Exit(1)


def _last_known(at: "Layout") -> "StackState":
    from eco2.local import state
    from eco2.processes import PROCESSES

    stopped = [state.ProcessState(row.name, row.kind, at.port_of(row.name)) for row in PROCESSES]
    return state.load(at.home) or state.StackState(0, None, stopped)


def logs(
    name: str = typer.Argument("", help="One process; without it, all."),
    follow: bool = typer.Option(False, "-f", "--follow", help="Go on showing what is written."),
    lines: int = typer.Option(50, "-n", min=0, help="How many of the last lines."),
) -> None:
    """Show what the processes wrote."""
    from eco2.local import config
    from eco2.local import logs as files

    with plain_errors():
        folder = config.layout().folder("logs")
        known = {path.stem: path for path in sorted(folder.glob("*.log"))}
        if name and name not in known:
            raise config.LocalError(f"No log of {name!r}; there are: {', '.join(known) or 'none yet'}.")
    chosen = {name: known[name]} if name else known
    show = (lambda _, line: typer.echo(line)) if name else _echo()
    for each, path in chosen.items():
        for line in files.last_lines(path, lines if name else min(lines, 10)):
            show(each, line)
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            for each, line in files.follow(chosen):
                show(each, line)


def doctor() -> None:
    """Check that this machine has what the platform needs."""
    from eco2.local import doctor as checks

    with plain_errors():
        found = checks.findings()
    for finding in found:
        mark = "[green]ok  [/green]" if finding.ok else "[red]fail[/red]"
        out.print(f"{mark} {finding.name}: {finding.text}", highlight=False, soft_wrap=True)
    if not all(finding.ok for finding in found):
        raise typer.Exit(1)


def env() -> None:
    """Print the environment of the local processes as shell `export` lines."""
    import shlex

    from eco2.local import config

    with plain_errors():
        for key, value in config.environment(config.layout()).items():
            typer.echo(f"export {key}={shlex.quote(value)}")


def register(app: typer.Typer, local: typer.Typer) -> None:
    for command in (up, down, status, logs, doctor):
        app.command()(command)
    local.command()(env)
