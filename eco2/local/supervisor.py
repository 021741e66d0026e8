"""Starts processes in the order of their needs, restarts what crashes, stops everything in reverse order."""

import asyncio
import contextlib
import fcntl
import itertools
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from eco2.local import disk, logs, state
from eco2.local.config import CHECKOUT, LocalError
from eco2.local.fork_server import Forked, Nursery, NurseryGone, die_with
from eco2.local.probes import Probe
from eco2.processes import Kind

FIRST_DELAY, LONGEST_DELAY, STEADY_SECONDS = 0.2, 10.0, 30.0
GIVE_UP_AFTER = 4
"""Starts without ever becoming ready, after which waiting for the stack is pointless."""
OUTPUT_SECONDS = 2.0
"""Time for which the output of an ended process may still be read; a stray child could hold the pipe open."""
STARTING_POLL, READY_POLL = 0.1, 2.0
DISK_POLL = 2.0
_log = logging.getLogger(__name__)

Echo = Callable[[str, str], None]
"""Called with the name of a process and one line of its output."""


@dataclass(frozen=True)
class Unit:
    """One process to keep running. Without a command it is a server of the user's own, which is only watched."""

    name: str
    kind: Kind
    port: int
    command: tuple[str, ...]
    ready: Probe
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None
    """The whole environment of the process; None passes on the supervisor's."""
    user: str | None = None
    folder: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = state.STOP_SECONDS
    prepare: Callable[[], None] | None = None
    """Before the first start, blocking."""
    setup: Callable[[], str | None] | None = None
    """Once, when it is ready for the first time and before what needs it starts; blocking. Returns what a person has to
    know of it."""
    serving: Probe | None = None
    """Checked as well once it was set up: a server can listen without doing its work."""
    side_ports: tuple[int, ...] = ()
    forked: bool = False
    """Forked off the nursery as the service of its name, in the checkout; `command` starts the same on its own."""


class Running(Protocol):
    """A child: of this process, or of the nursery."""

    pid: int
    returncode: int | None
    stdout: asyncio.StreamReader | None

    async def wait(self) -> int: ...
    def send_signal(self, number: int, /) -> None: ...


@dataclass
class _Slot:
    unit: Unit
    state: state.ProcessState
    process: Running | None = None
    usable: asyncio.Event = field(default_factory=asyncio.Event)
    """Ready once, and set up: what needs it may start."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Supervisor:
    def __init__(self, units: Sequence[Unit], home: Path, echo: Echo | None = None) -> None:
        names = {unit.name for unit in units}
        self._slots = {unit.name: _Slot(unit, state.ProcessState(unit.name, unit.kind, unit.port)) for unit in units}
        self._needs = {unit.name: [need for need in unit.needs if need in names] for unit in units}
        self._home = home
        self._echo = echo
        self._stopping = False
        self._error: str | None = None
        self._notes: list[str] = []
        self._lock: int | None = None
        self._disk: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        """There is room on the disk for a server to start."""
        self._saved = True
        self._nursery = Nursery(os.environ, CHECKOUT)

    async def start(self, gateway_port: int = 0) -> None:
        """Returns at once; `wait_ready` waits. LocalError: another supervisor runs, or a port is taken."""
        self._lock = _lock(self._home)
        earlier = state.load(self._home)
        if earlier:
            await asyncio.to_thread(state.end_orphans, earlier)
        state.require_free_ports(self._ports(), gateway_port)
        self._save()
        self._disk = asyncio.create_task(self._watch_disk())
        for slot in self._slots.values():
            slot.task = asyncio.create_task(self._keep(slot), name=slot.unit.name)

    def _ports(self) -> dict[int, str]:
        started = [slot.unit for slot in self._slots.values() if slot.unit.command]
        return {port: unit.name for unit in started for port in (unit.port, *unit.side_ports)}

    async def wait_ready(self, seconds: float = 120) -> None:
        """LocalError names the first process that failed, or those that are not ready in time."""
        tasks = [slot.task for slot in self._slots.values() if slot.task]
        ready = asyncio.gather(*(slot.usable.wait() for slot in self._slots.values()))
        waited: list[asyncio.Future[Any]] = [ready, *tasks]
        await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            return
        ready.cancel()
        await asyncio.gather(ready, return_exceptions=True)
        self._raise_failure(tasks)
        late = [name for name, slot in self._slots.items() if not slot.usable.is_set()]
        raise LocalError(f"Not ready after {seconds:.0f} s: {', '.join(late)}; see `eco2 logs`.")

    async def wait_failure(self) -> None:
        """Returns never, or raises what made it pointless to go on."""
        tasks = [slot.task for slot in self._slots.values() if slot.task]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self._raise_failure(tasks)

    def _raise_failure(self, tasks: Sequence["asyncio.Task[None]"]) -> None:
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                self._error = str(error)
                self._save()
                raise error

    async def stop(self) -> None:
        """Ends processes in reverse order of their needs."""
        if self._lock is None:
            return
        self._stopping = True
        try:
            await asyncio.gather(*(self._stop(slot) for slot in self._slots.values()))
        finally:
            if self._disk:
                self._disk.cancel()
            await self._nursery.close()
            self._save(ended=True)
            os.close(self._lock)
            self._lock = None

    async def _stop(self, slot: _Slot) -> None:
        name = slot.unit.name
        dependants = [self._slots[other] for other, needs in self._needs.items() if name in needs]
        await asyncio.gather(*(other.ended.wait() for other in dependants))
        try:
            if slot.process:
                await _end(slot.process, slot.unit)
            if slot.task:
                slot.task.cancel()
                await asyncio.gather(slot.task, return_exceptions=True)
        finally:
            slot.ended.set()

    async def _keep(self, slot: _Slot) -> None:
        await asyncio.gather(*(self._slots[need].usable.wait() for need in self._needs[slot.unit.name]))
        if slot.unit.prepare:
            await asyncio.to_thread(slot.unit.prepare)
        if not slot.unit.command:
            await self._watch(slot)
        log = logs.LogFile(self._home / "logs" / f"{slot.unit.name}.log")
        delay = FIRST_DELAY
        try:
            while not self._stopping:
                began = time.monotonic()
                await self._run_once(slot, log)
                delay = FIRST_DELAY if time.monotonic() - began > STEADY_SECONDS else delay
                await self._pause(slot, delay)
                delay = min(delay * 2, LONGEST_DELAY)
        finally:
            log.close()

    async def _pause(self, slot: _Slot, delay: float) -> None:
        if self._stopping:
            return
        slot.state.restarts += 1
        if slot.state.restarts >= GIVE_UP_AFTER and not slot.usable.is_set():
            raise LocalError(self._last_words(slot))
        self._save()
        _log.info("%s starts again in %.1f s (restart %d)", slot.unit.name, delay, slot.state.restarts)
        await asyncio.sleep(delay)
        if slot.unit.kind == "server" and self._measure() is disk.Level.HELD:
            _log.warning("%s stays down while the disk is full", slot.unit.name)
            await self._room.wait()

    def _measure(self) -> disk.Level:
        level = disk.room(self._home).level
        if level is disk.Level.HELD:
            self._room.clear()
        else:
            self._room.set()
        return level

    async def _watch_disk(self) -> None:
        """Logs when disk space gets scarce and when there is enough again; repeats failed saves. Never returns."""
        said = disk.Level.ENOUGH
        while True:
            level = self._measure()
            if level > said:
                _log.warning("%s", disk.warning(self._home))
            elif said > level is disk.Level.ENOUGH:
                _log.info("There is enough room on the disk again.")
            said = level if level is disk.Level.ENOUGH else max(said, level)
            if not self._saved:
                self._save()
            await asyncio.sleep(DISK_POLL)

    def _last_words(self, slot: _Slot) -> str:
        path = self._home / "logs" / f"{slot.unit.name}.log"
        code = slot.process.returncode if slot.process else None
        tail = "\n".join(f"  {line}" for line, _ in itertools.groupby(logs.last_lines(path, 8)))
        return f"{slot.unit.name} ended with code {code} {slot.state.restarts} times at its start:\n{tail}"

    async def _run_once(self, slot: _Slot, log: logs.LogFile) -> None:
        unit = slot.unit
        try:
            process = slot.process = await self._begin(unit)
        except NurseryGone as error:
            log.write(f"{error.__doc__}\n".encode())
            return
        slot.state.pid, slot.state.started = process.pid, state.start_ticks(process.pid)
        self._save()
        output = asyncio.create_task(self._pump(unit.name, process, log))
        watch = asyncio.create_task(self._watch(slot))
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait([watch, ended], return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                watch.result()
        finally:
            watch.cancel()
            await _end(process, unit)
            _log.info("%s (pid %d) ended %s", unit.name, process.pid, _manner(process.returncode))
            slot.state.pid, slot.state.started, slot.state.ready = None, None, False
            self._save()
            await asyncio.wait([watch, ended, output], timeout=OUTPUT_SECONDS)
            output.cancel()
            if isinstance(process, Forked):
                process.close()

    async def _begin(self, unit: Unit) -> Running:
        if unit.forked:
            return await self._nursery.fork(unit.name, unit.environment or os.environ, unit.stop_signal)
        started = await asyncio.create_subprocess_exec(
            *unit.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=unit.environment,
            cwd=unit.folder,
            start_new_session=True,
            preexec_fn=die_with(os.getpid(), unit.stop_signal),
            user=unit.user,
            group=unit.user,
            extra_groups=None if unit.user is None else [unit.user],
        )
        return cast(Running, started)

    async def _watch(self, slot: _Slot) -> None:
        """Follows readiness for as long as the process lives; never returns."""
        while True:
            ready = await slot.unit.ready()
            if ready and slot.usable.is_set() and slot.unit.serving:
                ready = await slot.unit.serving()
            if ready and not slot.usable.is_set():
                await self._set_up(slot.unit)
                slot.usable.set()
            if ready != slot.state.ready:
                slot.state.ready = ready
                self._save()
            await asyncio.sleep(READY_POLL if ready else STARTING_POLL)

    async def _set_up(self, unit: Unit) -> None:
        note = await asyncio.to_thread(unit.setup) if unit.setup else None
        if note:
            _log.warning("%s", note)
            self._notes.append(note)

    async def _pump(self, name: str, process: Running, log: logs.LogFile) -> None:
        """Output to the log, whole lines to the terminal."""
        if process.stdout is None:
            return
        rest = b""
        while data := await process.stdout.read(65536):
            log.write(data)
            if self._echo:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._echo(name, line.decode(errors="replace"))

    def _save(self, ended: bool = False) -> None:
        rows = [slot.state for slot in self._slots.values()]
        pid = os.getpid()
        started = None if ended else state.start_ticks(pid)
        self._saved = state.save(self._home, state.StackState(pid, started, rows, self._error, self._notes))


async def _end(process: Running, unit: Unit) -> None:
    """The process gets its stop signal and some time; then its whole group and its children are killed."""
    children = state.descendants(process.pid) if process.returncode is None else []
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(unit.stop_signal)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), unit.stop_seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.to_thread(state.kill, children)  # first: `wait` lasts until no process holds the pipe of its output
    await process.wait()


def _manner(code: int | None) -> str:
    return f"with code {code}" if code is None or code >= 0 else f"by signal {-code} ({signal.strsignal(-code)})"


def _lock(home: Path) -> int:
    """Held until the supervisor ends, however it ends."""
    handle = os.open(home / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise LocalError(f"A stack in {home} is already running; `eco2 down` ends it.") from None
    return handle


@contextlib.contextmanager
def stop_requested() -> Iterator[asyncio.Event]:
    """An event that SIGTERM or Ctrl-C sets."""
    requested = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, requested.set)
    try:
        yield requested
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
