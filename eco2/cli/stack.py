"""The commands of the local stack: `eco2 up | down | status | logs | doctor` and `eco2 local env | url`."""

import asyncio
import contextlib
import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eco2.processes import DEFAULT_GATEWAY_PORT, DEFAULT_PORT_BASE, PROCESSES, process

if TYPE_CHECKING:
    from eco2.local.config import Layout
    from eco2.local.repair import Outcome
    from eco2.local.state import StackState

COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
READY_SECONDS = 180
STOP_SECONDS = 90
LOG_SECONDS = 60
NAMES = ", ".join(row.name for row in PROCESSES)
NARROW = 72
"""Columns of a terminal below which the table of processes keeps only what matters, so that names stay whole."""
out = Console()
err = Console(stderr=True)


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Turn an error that a person can do something about into a sentence and exit code 1, not a traceback."""
    from eco2.local.config import LocalError

    try:
        yield
    except LocalError as error:
        err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        where = f" ({error.filename})" if error.filename else ""
        err.print(f"The disk is full{where}: free at least 2 GB, then run this again.", style="red", soft_wrap=True)
        raise typer.Exit(1) from None


def _names(only: str) -> set[str]:
    return {name.strip() for name in only.split(",") if name.strip()}


UP_HELP = f"""Start the platform on this machine.

Variables:

* ECO2_HOME: the folder of data, logs and credentials (default: .eco2 in the checkout)

* ECO2_GATEWAY_PORT: the port of the gateway (default: {DEFAULT_GATEWAY_PORT})

* ECO2_PORT_BASE: the first of the ports behind it (default: {DEFAULT_PORT_BASE})"""


def up(
    foreground: bool = typer.Option(
        False, "--foreground", "-f", help="Run in the foreground and show the output of every process."
    ),
    only: str = typer.Option(
        "", help=f"Comma-separated names; processes that they need are started too. Names: {NAMES}."
    ),
    origin: list[str] = typer.Option([], help="Another web app that may call the API, such as http://localhost:3001."),
    observe: bool = typer.Option(
        False, "--observe", help="With Prometheus, Alertmanager, exporters and traces, on ports of their own."
    ),
    quiet: bool = typer.Option(False, hidden=True),
) -> None:
    from eco2.cli import doctor
    from eco2.local import config, stack

    with plain_errors():
        stack.selection(_names(only))
        doctor.python()
        doctor.data()
        at = replace(config.with_origins(config.layout(), origin), observe=observe)
        doctor.free_disk(at.home)
        if foreground:
            asyncio.run(_serve(at, _names(only), None if quiet else _echo()))
        else:
            _start_in_background(at, only, origin)


async def _serve(at: "Layout", only: set[str], echo: Callable[[str, str], None] | None) -> None:
    from eco2.local.stack import units
    from eco2.local.supervisor import Supervisor, stop_requested

    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("eco2.local").setLevel(logging.INFO)
    supervisor = Supervisor(units(at, only), at.home, echo)
    bounding = None if echo else asyncio.create_task(_bound_log())
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
            with contextlib.suppress(OSError):  # its output is a file on a disk that may be full
                err.print("Stopping …", highlight=False)
            await supervisor.stop()
            if bounding:
                bounding.cancel()


async def _bound_log() -> None:
    """Of the supervisor in the background: whatever it writes goes to one file. Never returns."""
    from eco2.local.logs import bound

    while True:
        bound(sys.stderr.fileno())
        await asyncio.sleep(LOG_SECONDS)


def _echo() -> Callable[[str, str], None]:
    colours: dict[str, int] = {}

    def show(name: str, line: str) -> None:
        colour = colours.setdefault(name, COLOURS[len(colours) % len(COLOURS)])
        prefix = f"{name:<16} | "
        typer.echo(f"\033[{colour}m{prefix}\033[0m{line}")  # without colour when this is not a terminal

    return show


def _start_in_background(at: "Layout", only: str, origins: Sequence[str]) -> None:
    from eco2.local import config, stack, state

    last = state.load(at.home)
    if last and last.alive:
        if origins:
            raise config.LocalError(f"Already running (pid {last.pid}): `eco2 down`, then start it with --origin.")
        _join(at, only, last)
        return
    if last:
        state.end_orphans(last)
    units = stack.units(at, _names(only))
    ports = {port: unit.name for unit in units if unit.command for port in (unit.port, *unit.side_ports)}
    state.require_free_ports(ports, at.gateway_port)
    state.forget(at.home)
    began = time.monotonic()
    with _ended_on_failure(_spawn(at, only, origins)) as supervisor:
        _wait_until_ready(at.home, lambda: supervisor.poll() is not None)
    _say_notes(at)
    _say_what_next(at, only, time.monotonic() - began)


def _join(at: "Layout", only: str, last: "StackState") -> None:
    """Another `eco2 up` started it: wait for it, but leave it alone."""
    from eco2.local import config, stack

    wanted = {row.name for row in stack.selection(_names(only))} | ({"prometheus"} if at.observe else set())
    absent = wanted - {row.name for row in last.processes}
    if absent:
        running = f"A stack without {', '.join(sorted(absent))} is already running (pid {last.pid})"
        raise config.LocalError(f"{running}: `eco2 down` ends it, then start again.")
    _wait_until_ready(at.home, lambda: not last.alive)
    out.print(f"Already running (pid {last.pid}); `eco2 status` shows the processes.", highlight=False)


@contextlib.contextmanager
def _ended_on_failure(supervisor: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    """Whatever ends this command before the stack is ready ends what it started, too."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield supervisor
    except BaseException:
        supervisor.terminate()
        if supervisor.poll() is None:
            err.print("Stopping what was started …", highlight=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            supervisor.wait(STOP_SECONDS)
        supervisor.kill()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _spawn(at: "Layout", only: str, origins: Sequence[str]) -> "subprocess.Popen[bytes]":
    log = at.home / "logs" / "supervisor.log"
    log.parent.mkdir(exist_ok=True, mode=0o700)
    command = [sys.executable, "-m", "eco2", "up", "--foreground", "--quiet", "--only", only]
    command += [f"--origin={url}" for url in origins]
    command += ["--observe"] if at.observe else []
    log.write_bytes(b"")
    with log.open("ab") as file:  # it goes on at the end when it was emptied for its length
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd="/"
        )


def _wait_until_ready(home: Path, ended: Callable[[], bool]) -> None:
    """LocalError: the supervisor ended, or something is not ready in time."""
    from rich.live import Live

    from eco2.local import state
    from eco2.local.config import LocalError

    deadline = time.monotonic() + READY_SECONDS
    with Live(console=out, refresh_per_second=8, transient=True) as live:
        while time.monotonic() < deadline:
            over = ended()
            now = state.load(home)
            if over:
                raise LocalError(_why_it_ended(home, now))
            if now:
                live.update(_table(now))
                if now.processes and all(row.ready for row in now.processes):
                    return
            time.sleep(0.1)
    late = [row.name for row in now.processes if not row.ready] if now else ["the supervisor"]
    raise LocalError(f"Not ready after {READY_SECONDS} s: {', '.join(late)}; `eco2 logs NAME` shows the reason.")


def _why_it_ended(home: Path, last: "StackState | None") -> str:
    from eco2.local import logs

    if last and last.error:
        return last.error
    return "\n".join(logs.last_lines(home / "logs" / "supervisor.log", 20)).strip() or "The supervisor ended."


def _table(now: "StackState") -> Table:
    columns = ("process", "kind", "port", "pid", "state", "restarts")
    chosen = [0, 4] if out.width < NARROW else range(len(columns))
    table = Table(*(columns[place] for place in chosen), box=None, header_style="bold")
    alive = now.alive
    for row in now.processes:
        ready = row.ready and alive
        mark = "[green]ready" if ready else "[yellow]starting" if alive else "[red]stopped"
        pid = str(row.pid) if row.pid and alive else "–"
        cells = (row.name, row.kind, str(row.port), pid, mark, str(row.restarts))
        table.add_row(*(cells[place] for place in chosen))
    return table


def _say_notes(at: "Layout") -> None:
    """Warnings about what is ready, but not as one would think."""
    from eco2.local import disk, state

    now = state.load(at.home)
    for note in (*(now.notes if now and now.alive else ()), disk.warning(at.home)):
        if note:
            err.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _say_what_next(at: "Layout", only: str, seconds: float) -> None:
    out.print(f"Ready in {seconds:.1f} s.", highlight=False)
    if only:
        return
    out.print(f"Gateway: [bold]{at.public_url}[/bold]   Data and logs: {at.home}", highlight=False)
    if at.observe:
        out.print(_watching(at), highlight=False)
    out.print("Try:  eco2 scan PHOTO    eco2 status    eco2 logs scan-worker -f    eco2 down", highlight=False)


def _watching(at: "Layout") -> str:
    from eco2.local import config

    prometheus, alerts = (f"http://127.0.0.1:{at.port(port)}" for port in (config.PROMETHEUS, config.ALERTMANAGER))
    return f"Prometheus: {prometheus}   Alertmanager: {alerts}   Live: eco2 top   One scan: eco2 trace JOB"


def down() -> None:
    """Stop the platform; its data is kept."""
    from eco2.local import config, state

    with plain_errors():
        home = config.home()
        last = state.load(home)
        if last is None or not (_stop_supervisor(last) | bool(state.end_orphans(state.load(home) or last))):
            out.print("Nothing is running.")
            return
        out.print("Stopped; data is kept. `make clean` deletes it.")


def _stop_supervisor(last: "StackState") -> bool:
    """True if there was one to stop."""
    if not last.alive:
        return False
    os.kill(last.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    with out.status("Stopping …"):
        while last.alive and time.monotonic() < deadline:
            time.sleep(0.1)
    if last.alive:
        os.kill(last.pid, signal.SIGKILL)
    return True


def status(as_json: bool = typer.Option(False, "--json", help="A JSON list, for programs.")) -> None:
    """Show every process; exit code 1 when something is not ready."""
    from eco2.local import config, state

    with plain_errors():
        at = state.as_running(config.layout(make=False))
        now = _last_known(at)
    rows = [row.public() | ({} if now.alive else {"pid": None, "ready": False}) for row in now.processes]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        out.print(_table(now))
        gateway = at.public_url if any(row["name"] == "gateway" for row in rows) else "not in this stack"
        out.print(f"\nGateway: {gateway}\nData and logs: {at.home}", highlight=False, soft_wrap=True)
        if now.alive and at.observe:
            out.print(_watching(at), highlight=False, soft_wrap=True)
        if now.alive and any(row["name"] == "scan-worker" for row in rows):
            out.print(f"Photos are looked at by {asyncio.run(_looks(at))}", highlight=False, soft_wrap=True)
    _say_notes(at)
    if not rows or not all(row["ready"] for row in rows):
        raise typer.Exit(1)


async def _looks(at: "Layout") -> str:
    """The model that looks at the photos, and what that has cost today."""
    from redis.exceptions import RedisError

    from eco2.core import redis
    from eco2.local import config
    from eco2.scan import supply

    try:
        async with redis.connect(config.environment(at)["ECO2_REDIS_STREAMS_URL"], retries=0) as streams:
            found = await supply.told(streams)
    except (RedisError, OSError):
        found = None
    return supply.in_words(found)


def _last_known(at: "Layout") -> "StackState":
    from eco2.local import state

    stopped = [state.ProcessState(row.name, row.kind, at.port_of(row.name)) for row in PROCESSES]
    return state.load(at.home) or state.StackState(0, None, stopped)


def logs(
    name: str = typer.Argument("", help=f"One of: {NAMES}, supervisor. Without it, all.", show_default=False),
    follow: bool = typer.Option(False, "-f", "--follow", help="Keep showing new lines."),
    lines: int = typer.Option(50, "-n", min=0, help="Number of lines."),
) -> None:
    """Show the logs of the processes."""
    from eco2.local import config
    from eco2.local import logs as files

    with plain_errors():
        folder = config.home() / "logs"
        known = {path.stem: path for path in sorted(folder.glob("*.log"))}
        if not known:
            raise config.LocalError(f"There are no logs in {folder} yet: start the platform with `eco2 up`.")
        if name and name not in known:
            raise config.LocalError(f"No log of {name!r}; there are: {', '.join(known)}.")
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
    from eco2.cli import doctor as checks

    with plain_errors():
        found = checks.findings()
    for finding in found:
        show_check(finding.name, finding.ok, finding.text)
    if not all(finding.ok for finding in found):
        raise typer.Exit(1)


def repair() -> None:
    """Test each server of the stopped platform, and repair damaged ones; database and photos stay."""
    from eco2.local import config
    from eco2.local import repair as mending

    with plain_errors():
        at = config.layout(make=False)
        if not at.home.exists():
            raise config.LocalError(f"There is no platform in {at.home} yet: start it with `eco2 up`.")
        sound = True
        outcomes = mending.repair(at)
        while outcome := _next(outcomes):
            show_check(outcome.name, outcome.ok, outcome.text)
            sound = sound and outcome.ok
    if not sound:
        raise typer.Exit(1)
    out.print("Start it with `eco2 up`.", highlight=False)


def _next(outcomes: Iterator["Outcome"]) -> "Outcome | None":
    with out.status("Starting each server by itself …"):
        return next(outcomes, None)


def show_check(name: str, ok: bool, text: str) -> None:
    mark = "[green]ok  [/green]" if ok else "[red]fail[/red]"
    out.print(f"{mark} {name}: {escape(text)}", highlight=False, soft_wrap=True)


def env(
    of: str = typer.Option("", "--process", help="A process, whose ports are added."),
) -> None:
    """Print the environment of the local processes as shell `export` lines."""
    import shlex

    from eco2.local import config, state

    with plain_errors():
        if of and of not in NAMES.split(", "):
            raise config.LocalError(f"No process {of!r}. Known: {NAMES}.")
        at = state.as_running(config.layout())
        own = config.process_environment(at, process(of)) if of else {}
        for key, value in (config.environment(at) | own).items():
            typer.echo(f"export {key}={shlex.quote(value)}")


def url() -> None:
    """Print the address of the gateway."""
    from eco2.local import config, state

    with plain_errors():
        typer.echo(state.as_running(config.layout(make=False)).public_url)


def register(app: typer.Typer, local: typer.Typer) -> None:
    app.command(help=UP_HELP)(up)
    for command in (down, status, logs, doctor):
        app.command()(command)
    for command in (env, url, repair):
        local.command()(command)
