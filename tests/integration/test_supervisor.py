"""The supervisor with small processes of its own, and the private Redis with real ones."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis

from eco2.local import disk, logs, probes, state, supervisor
from eco2.local.config import LocalError
from eco2.local.stack import Stack
from eco2.local.supervisor import Supervisor, Unit
from eco2.processes import SERVICES
from tests import small_disk

PORTS = 11650

SERVER = """
import http.server, signal, sys
port, journal, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
def end(*_):
    open(journal, "a").write(name + "\\n")
    sys.exit(0)
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        print(name, "was asked", flush=True)
signal.signal(signal.SIGTERM, end)
http.server.HTTPServer(("127.0.0.1", port), Ready).serve_forever()
"""

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
# In a group of its own and frozen, as those of a PostgreSQL that hangs: no signal to the group ends it.
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
child.send_signal(signal.SIGSTOP)
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(60)
"""

SUPERVISED = """
import asyncio, sys
from pathlib import Path
from eco2.local.supervisor import Supervisor, Unit
async def ready(): return True
async def main():
    supervisor = Supervisor([Unit("stubborn", "api", 0, (sys.executable, "-c", sys.argv[2], sys.argv[3]), ready)],
                            Path(sys.argv[1]))
    await supervisor.start()
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "ended"


@pytest.fixture
def unit(journal: Path) -> Callable[..., Unit]:
    def make(name: str, offset: int, **changes: object) -> Unit:
        port = PORTS + offset
        command = (sys.executable, "-c", SERVER, str(port), str(journal), name)
        made = Unit(name, "api", port, command, probes.http(f"http://127.0.0.1:{port}/ready"))
        return replace(made, **changes)  # type: ignore[arg-type]

    return make


@contextlib.asynccontextmanager
async def running(home: Path, *units: Unit) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(units, home)
    try:
        await supervisor.start()
        await supervisor.wait_ready(20)
        yield supervisor
    finally:
        await supervisor.stop()


@contextlib.contextmanager
def killed_at_the_end(code: str, *arguments: str) -> Iterator[None]:
    process = subprocess.Popen((sys.executable, "-c", code, *arguments))
    try:
        yield
    finally:
        process.kill()
        process.wait()


def row(home: Path, name: str) -> state.ProcessState:
    written = state.load(home)
    assert written is not None
    return next(each for each in written.processes if each.name == name)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_process_starts_after_what_it_needs_is_set_up_and_stops_before_it(
    tmp_path: Path, journal: Path, unit: Callable[..., Unit]
) -> None:
    order: list[str] = []

    def set_up() -> str:
        order.append("below is set up")
        return "its cellar is empty"

    below = unit("below", 0, setup=set_up)
    above = unit("above", 1, needs=("below",), prepare=lambda: order.append("above starts"))
    async with running(tmp_path, above, below):
        assert order == ["below is set up", "above starts"]
        assert row(tmp_path, "above").ready
        written = state.load(tmp_path)
        assert written is not None
        assert written.notes == ["its cellar is empty"]
    assert logs.last_lines(journal, 9) == ["above", "below"]
    assert row(tmp_path, "above").pid is None


async def test_a_crashed_process_is_restarted(tmp_path: Path, unit: Callable[..., Unit]) -> None:
    async with running(tmp_path, unit("api", 0)):
        first = row(tmp_path, "api").pid
        assert first
        os.kill(first, signal.SIGKILL)
        await until(lambda: row(tmp_path, "api").restarts == 1 and row(tmp_path, "api").ready)
        assert row(tmp_path, "api").pid != first


async def test_each_end_and_restart_is_one_line_of_the_supervisors_log(
    tmp_path: Path, unit: Callable[..., Unit], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "eco2.local"):
        async with running(tmp_path, unit("api", 0)):
            os.kill(row(tmp_path, "api").pid or 0, signal.SIGKILL)
            await until(lambda: row(tmp_path, "api").restarts == 1 and row(tmp_path, "api").ready)
    lines = [record.getMessage() for record in caplog.records if record.name == "eco2.local.supervisor"]
    assert len(lines) == 3
    assert lines[0].endswith("ended by signal 9 (Killed)")
    assert lines[1] == "api starts again in 0.2 s (restart 1)"
    assert lines[2].endswith("ended with code 0")


async def test_last_words_that_repeat_are_shown_once(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    code = "print('\\n'.join(['same'] * 6)); raise SystemExit('end')"
    broken = Unit("broken", "api", PORTS, (sys.executable, "-uc", code), never)
    with pytest.raises(LocalError) as raised:
        async with running(tmp_path, broken):
            pass
    assert str(raised.value).splitlines()[1:] == ["  end", "  same", "  end"]


async def test_a_process_that_cannot_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    broken = Unit("broken", "api", PORTS, (sys.executable, "-c", "raise SystemExit('no such flower')"), never)
    with pytest.raises(LocalError, match=r"broken ended with code 1 4 times(?s:.*)no such flower"):
        async with running(tmp_path, broken):
            pass
    written = state.load(tmp_path)
    assert written is not None
    assert "no such flower" in (written.error or "")


async def test_a_failing_setup_ends_the_start(tmp_path: Path, unit: Callable[..., Unit]) -> None:
    def fail() -> None:
        raise LocalError("the schema is another one")

    with pytest.raises(LocalError, match="another one"):
        async with running(tmp_path, unit("api", 0, setup=fail)):
            pass
    assert row(tmp_path, "api").pid is None


async def test_a_port_in_use_names_holder_and_variable(tmp_path: Path, unit: Callable[..., Unit]) -> None:
    with socket.create_server(("127.0.0.1", PORTS)), pytest.raises(LocalError) as raised:
        async with running(tmp_path, unit("api", 0)):
            pass
    message = str(raised.value)
    assert f"Port {PORTS} (api)" in message
    assert f"pid {os.getpid()}" in message
    assert "ECO2_PORT_BASE" in message


async def test_a_second_supervisor_is_refused(tmp_path: Path, unit: Callable[..., Unit]) -> None:
    async with running(tmp_path, unit("api", 0)):
        second = Supervisor([unit("other", 1)], tmp_path)
        with pytest.raises(LocalError, match="already running"):
            await second.start()
        await second.stop()
        assert row(tmp_path, "api").ready


async def test_a_process_that_ignores_the_signal_is_killed_with_its_children(tmp_path: Path) -> None:
    child_file = tmp_path / "child"

    async def started() -> bool:
        return child_file.exists() and child_file.read_text().isdigit()

    command = (sys.executable, "-c", STUBBORN, str(child_file))
    async with running(tmp_path, Unit("stubborn", "worker", PORTS, command, started, stop_seconds=0.3)):
        child = int(child_file.read_text())
        assert psutil.pid_exists(child)
    await until(lambda: state.start_ticks(child) is None)


async def test_orphans_of_a_killed_supervisor_are_found_by_pid_and_start_time(tmp_path: Path) -> None:
    child_file = tmp_path / "child"
    with killed_at_the_end(SUPERVISED, str(tmp_path), STUBBORN, str(child_file)):
        await until(lambda: child_file.exists() and row(tmp_path, "stubborn").pid)
    written = state.load(tmp_path)
    assert written is not None
    assert not written.alive
    orphan = written.processes[0]
    assert state.is_process(orphan.pid, orphan.started)

    stranger = replace(orphan, started=(orphan.started or 0) - 1)
    assert state.end_orphans(replace(written, processes=[stranger]), seconds=1) == 0
    assert state.is_process(orphan.pid, orphan.started)

    child = int(child_file.read_text())
    assert await asyncio.to_thread(state.end_orphans, written, 0.3) == 1
    await until(lambda: not state.is_process(orphan.pid, orphan.started))
    assert state.start_ticks(child) is None


async def test_a_process_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    polite = "import sys, time; open(sys.argv[1], 'w').write('up'); time.sleep(60)"
    up = tmp_path / "up"
    with killed_at_the_end(SUPERVISED, str(tmp_path), polite, str(up)):
        await until(lambda: up.exists() and row(tmp_path, "stubborn").pid)
    orphan = row(tmp_path, "stubborn")
    await until(lambda: not state.is_process(orphan.pid, orphan.started))


async def test_output_goes_to_a_file_that_turns_over_at_each_start(tmp_path: Path, unit: Callable[..., Unit]) -> None:
    path = tmp_path / "logs" / "api.log"
    async with running(tmp_path, unit("api", 0)):
        await until(lambda: "api was asked" in path.read_text())
    async with running(tmp_path, unit("api", 0)):
        assert "api was asked" in path.with_name("api.log.1").read_text()


def test_a_log_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 100)
    file = logs.LogFile(tmp_path / "api.log")
    for number in range(20):
        file.write(f"line {number:04}\n".encode())
    file.close()
    assert logs.last_lines(tmp_path / "api.log", 2) == ["line 0018", "line 0019"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 200


async def test_a_process_is_ready_while_it_listens_and_serves(
    tmp_path: Path, unit: Callable[..., Unit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "READY_POLL", 0.1)
    serving = asyncio.Event()
    serving.set()

    async def serves() -> bool:
        return serving.is_set()

    async with running(tmp_path, unit("api", 0, serving=serves)):
        await until(lambda: row(tmp_path, "api").ready)
        serving.clear()
        await until(lambda: not row(tmp_path, "api").ready)
        serving.set()
        await until(lambda: row(tmp_path, "api").ready)


async def test_a_full_disk_ends_nothing(
    tmp_path: Path, unit: Callable[..., Unit], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk processes go on, are restarted after a crash, and the state can be read; servers wait for room."""
    monkeypatch.setattr(supervisor, "DISK_POLL", 0.1)
    with small_disk.mounted(tmp_path / "disk", 1 * small_disk.MB) as home:
        async with running(home, unit("api", 0), unit("store", 1, kind="server")):
            filling = small_disk.fill(home)
            for name in ("api", "store"):
                os.kill(row(home, name).pid or 0, signal.SIGKILL)
            await until(lambda: row(home, "api").restarts == 1 and row(home, "api").ready)
            await until(lambda: "store stays down while the disk is full" in caplog.text)
            assert row(home, "store").pid is None

            filling.unlink()
            small_disk.resize(home, disk.LOW_BYTES + 2 * small_disk.MB)
            await until(lambda: row(home, "store").ready and row(home, "api").ready)
            assert "The disk is almost full: 0 MB left" in caplog.text
            await until(lambda: json.loads((home / "state.json").read_text())["processes"][1]["ready"])


async def test_a_server_of_the_users_own_is_only_watched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", PORTS)) as listener:
        own = Unit("postgres", "server", PORTS, (), probes.tcp(f"tcp://127.0.0.1:{PORTS}"))
        async with running(tmp_path, own):
            assert (row(tmp_path, "postgres").ready, row(tmp_path, "postgres").pid) == (True, None)
        assert listener.fileno() > 0


@pytest.fixture
def reachable_home() -> Iterator[Path]:
    """Root starts the servers as users who cannot enter pytest's own folder."""
    with tempfile.TemporaryDirectory(prefix="eco2-supervisor-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "home"


async def test_durable_redis_keeps_what_it_confirmed_when_it_is_killed(reachable_home: Path) -> None:
    stack = Stack(reachable_home, port_base=PORTS, gateway_port=PORTS + 20, only={"redis-streams"})
    async with stack as environment:
        url = environment["ECO2_REDIS_STREAMS_URL"]
        async with Redis.from_url(url) as redis:
            assert (await redis.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
            await redis.xadd("events", {"seq": "1"})
        pid = row(stack.layout.home, "redis-streams").pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: row(stack.layout.home, "redis-streams").restarts == 1)
        await until(lambda: row(stack.layout.home, "redis-streams").ready)
        async with Redis.from_url(url) as redis:
            assert await redis.xlen("events") == 1


def test_a_name_that_is_no_process_is_refused(reachable_home: Path) -> None:
    with pytest.raises(LocalError, match=f"Unknown: nobody.*{SERVICES[0].name}"):
        Stack(reachable_home, only={"nobody"})
