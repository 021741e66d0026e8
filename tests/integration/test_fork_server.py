"""Services forked off one process that has their libraries: to the supervisor and to the operator like any other."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from eco2.local import probes, state
from eco2.local.config import LocalError
from eco2.local.supervisor import Unit
from tests.integration.test_supervisor import row, running, until
from tests.redis_server import free_port

NOBODY = "redis://127.0.0.1:1/0"
"""No Redis there: the services run, are healthy, and not ready."""


def service(name: str, **environment: str) -> Unit:
    port = free_port()
    given = {"ECO2_PORT": str(port), "ECO2_REDIS_STREAMS_URL": NOBODY, **environment}
    healthy = probes.http(f"http://127.0.0.1:{port}/health")
    own = {**os.environ, **given}
    return Unit(name, "stream", port, ("python", "-m", "eco2.run", name), healthy, environment=own, forked=True)


def pid(home: Path, name: str) -> int:
    found = row(home, name).pid
    assert found
    return found


def parent(home: Path, name: str) -> psutil.Process:
    found = psutil.Process(pid(home, name)).parent()
    assert found is not None
    return found


async def name_at(unit: Unit) -> str:
    async with httpx2.AsyncClient() as client:
        return str((await client.get(f"http://127.0.0.1:{unit.port}/health")).json()["service"])


async def test_services_share_one_parent_and_nothing_else(tmp_path: Path) -> None:
    router, gateway = service("event-router"), service("sse-gateway")
    async with running(tmp_path, router, gateway):
        parents = {parent(tmp_path, name).pid for name in ("event-router", "sse-gateway")}
        assert len(parents) == 1
        assert parents.isdisjoint({os.getpid()})
        assert (await name_at(router), await name_at(gateway)) == ("event-router", "sse-gateway")
        for name in ("event-router", "sse-gateway"):
            process = psutil.Process(pid(tmp_path, name))
            assert process.name() == name
            assert os.getsid(process.pid) == process.pid
            assert not [one for one in process.open_files() if not one.path.startswith("/proc")]
            assert os.readlink(f"/proc/{process.pid}/fd/0") == os.devnull
        pids = [*parents, pid(tmp_path, "event-router"), pid(tmp_path, "sse-gateway")]
    assert not [one for one in pids if state.start_ticks(one)]
    assert "Application startup complete" in (tmp_path / "logs" / "event-router.log").read_text()
    assert "sse-gateway" not in (tmp_path / "logs" / "event-router.log").read_text()


async def test_a_service_by_itself_is_the_one_that_is_forked(tmp_path: Path) -> None:
    """The slow twin: a process of its own, which answers the same and ends as it does."""

    async def seen(forked: bool) -> list[Any]:
        unit = replace(
            service("event-router"), command=(sys.executable, "-m", "eco2.run", "event-router"), forked=forked
        )
        home = tmp_path / str(forked)
        home.mkdir()
        async with running(home, unit), httpx2.AsyncClient(base_url=f"http://127.0.0.1:{unit.port}") as client:
            process = psutil.Process(pid(home, "event-router"))
            answers = [await client.get(path) for path in ("/health", "/ready", "/none")]
            assert (parent(home, "event-router").pid == os.getpid()) is not forked
        return [not process.is_running(), *((one.status_code, re.sub(r"\d+ s\b", "", one.text)) for one in answers)]

    assert await seen(True) == await seen(False)


async def test_a_service_that_is_killed_is_forked_again(tmp_path: Path) -> None:
    async with running(tmp_path, service("sse-gateway"), service("event-router")):
        first, other, nursery = (
            pid(tmp_path, "sse-gateway"),
            pid(tmp_path, "event-router"),
            parent(tmp_path, "event-router"),
        )
        os.kill(first, signal.SIGKILL)
        await until(lambda: row(tmp_path, "sse-gateway").restarts == 1 and row(tmp_path, "sse-gateway").ready)
        assert pid(tmp_path, "sse-gateway") != first
        assert (pid(tmp_path, "event-router"), parent(tmp_path, "sse-gateway")) == (other, nursery)


async def test_a_nursery_that_is_killed_takes_its_services_with_it_and_they_come_back(tmp_path: Path) -> None:
    names = ("sse-gateway", "event-router")
    async with running(tmp_path, *map(service, names)):
        before, nursery = {pid(tmp_path, name) for name in names}, parent(tmp_path, "sse-gateway")
        nursery.kill()
        await until(lambda: all(row(tmp_path, name).restarts and row(tmp_path, name).ready for name in names))
        assert before.isdisjoint({pid(tmp_path, name) for name in names})
        assert not [one for one in before if state.start_ticks(one)]
        assert {parent(tmp_path, name).pid for name in names}.isdisjoint({nursery.pid, os.getpid()})


async def test_a_service_that_cannot_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    broken = service("sse-gateway", ECO2_PORT="no port")
    with pytest.raises(LocalError, match=r"sse-gateway ended with code 1 4 times at its start:\n.*ECO2_PORT") as error:
        async with running(tmp_path, broken):
            pass
    assert "Traceback" not in str(error.value)


SUPERVISED = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from eco2.local.supervisor import Supervisor
    from tests.integration.test_fork_server import service
    async def main():
        supervisor = Supervisor([service("sse-gateway")], Path(sys.argv[1]))
        await supervisor.start()
        await supervisor.wait_ready(20)
        print("ready", flush=True)
        await asyncio.sleep(60)
    asyncio.run(main())
    """
)


async def test_all_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    command = (sys.executable, "-c", SUPERVISED, str(tmp_path))
    checkout = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=checkout)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        family = [pid(tmp_path, "sse-gateway"), parent(tmp_path, "sse-gateway").pid]
    finally:
        process.kill()
        await process.communicate()
    await until(lambda: not [one for one in family if state.start_ticks(one)])


PRELOADED = """
import os
from eco2.local import fork_server
fork_server.preload()
from prometheus_client import generate_latest
lines = generate_latest().decode().splitlines()
figures = [line for line in lines if line.startswith("eco2_") and not line.startswith("eco2_db_")]  # of the plumbing
print(len(os.listdir("/proc/self/task")), figures)
"""


def test_what_is_imported_beforehand_starts_no_thread_and_tells_no_figure_of_a_domain() -> None:
    done = subprocess.run([sys.executable, "-c", PRELOADED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1 []"
