"""Records of the supervisor, and how the processes of an earlier one are found again: by pid and start time."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import psutil

from eco2.local.config import Layout, LocalError, write_private
from eco2.processes import SERVICES, Kind

STOP_SECONDS = 25.0


@dataclass
class ProcessState:
    name: str
    kind: Kind
    port: int
    pid: int | None = None
    started: int | None = None
    """Start time in clock ticks since boot: with the pid it names one process for good."""
    ready: bool = False
    restarts: int = 0

    def public(self) -> dict[str, object]:
        return {key: value for key, value in asdict(self).items() if key != "started"}


@dataclass
class StackState:
    pid: int
    started: int | None
    processes: list[ProcessState] = field(default_factory=list)
    error: str | None = None
    notes: list[str] = field(default_factory=list)
    """Sentences for the person who started it."""

    @property
    def alive(self) -> bool:
        return is_process(self.pid, self.started)


def _path(home: Path) -> Path:
    return home / "state.json"


def _spare(home: Path) -> Path:
    """In memory, for the time in which the disk takes nothing."""
    digest = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]
    return Path("/dev/shm") / f"eco2-{digest}.json"  # noqa: S108 (owner is checked below)  # nosec B108


def save(home: Path, state: StackState) -> bool:
    """False if it could not be written anywhere; the earlier state then remains."""
    text = json.dumps(asdict(state))
    try:
        write_private(_path(home), text)
    except OSError:
        return _save_spare(home, text)
    with contextlib.suppress(OSError):
        _spare(home).unlink()
    return True


def _save_spare(home: Path, text: str) -> bool:
    try:
        write_private(_spare(home), text)
    except OSError:
        return False
    return True


def load(home: Path) -> StackState | None:
    """The newest that was saved; None: none was, or it cannot be read."""
    spare = _spare(home)
    return (_read(spare) if _is_ours(spare, home) else None) or _read(_path(home))


def _is_ours(spare: Path, home: Path) -> bool:
    try:
        return spare.lstat().st_uid in (os.geteuid(), home.stat().st_uid)
    except FileNotFoundError:
        return False


def _read(path: Path) -> StackState | None:
    try:
        raw = json.loads(path.read_text())
        return StackState(**{**raw, "processes": [ProcessState(**row) for row in raw["processes"]]})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def as_running(at: Layout) -> Layout:
    """`at` on the ports of the stack that runs there, regardless of the environment."""
    last = load(at.home)
    if last is None or not last.alive:
        return at
    ports = {row.name: row.port for row in last.processes}
    bases = [ports[row.name] - row.port for row in SERVICES if row.name in ports]
    return replace(
        at,
        port_base=bases[0] if bases else at.port_base,
        gateway_port=ports.get("gateway", at.gateway_port),
        observe="prometheus" in ports,
    )


def forget(home: Path) -> None:
    for path in (_path(home), _spare(home)):
        path.unlink(missing_ok=True)


def start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None for a process that is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    after_name = text.rpartition(")")[2].split()
    return None if after_name[0] in "ZX" else int(after_name[19])


def is_process(pid: int | None, started: int | None) -> bool:
    return pid is not None and started is not None and start_ticks(pid) == started


def end_orphans(state: StackState, seconds: float = STOP_SECONDS) -> int:
    """End the processes that a dead supervisor left, each with its group and its children. Return their number."""
    left = [row for row in state.processes if is_process(row.pid, row.started)]
    children = descendants(*(row.pid for row in left if row.pid is not None))
    for row in left:
        _signal_group(row, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(is_process(row.pid, row.started) for row in left) and time.monotonic() < deadline:
        time.sleep(0.05)
    for row in left:
        if is_process(row.pid, row.started):
            _signal_group(row, signal.SIGKILL)
    kill(children)
    return len(left)


def descendants(*pids: int) -> list[psutil.Process]:
    """All processes below `pids`. PostgreSQL's have process groups of their own and share its listening socket, so one
    that is frozen outlives its parent and keeps the port."""
    found: list[psutil.Process] = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += psutil.Process(pid).children(recursive=True)
    return found


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended with its parent
            process.kill()
    psutil.wait_procs(processes, timeout=STOP_SECONDS)


def _signal_group(row: ProcessState, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
        if row.pid is not None and os.getpgid(row.pid) == row.pid:
            os.killpg(row.pid, number)


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def require_free_ports(ports: Mapping[int, str], gateway_port: int) -> None:
    """`ports`: number → what needs it."""
    for port, name in ports.items():
        if not port_is_free(port):
            variable = "ECO2_GATEWAY_PORT" if port == gateway_port else "ECO2_PORT_BASE"
            raise LocalError(
                f"Port {port} ({name}) is in use by {holder(port)}; end that, or set {variable} to another port."
            )


def holder(port: int) -> str:
    """Name the process that listens there, as far as this user may know."""
    for pid in _listeners(port):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile
            process = psutil.Process(pid)
            return f"{process.name()} (pid {pid}, user {process.username()})"
    return "another process"


def _listeners(port: int) -> Iterable[int]:
    for connection in psutil.net_connections(kind="tcp"):
        listens = connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:] == (port,)
        if listens and connection.pid is not None:
            yield connection.pid
