"""Every process out of its image, against private servers: all have to be ready, and to end at SIGTERM."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil

from eco2.auth import keys
from eco2.local import config
from eco2.local.stack import Stack
from eco2.processes import SERVERS, SERVICES, Process
from tools.image.build import CHECKOUT, PLACES, WORK
from tools.image.look import SEAL

PORT_BASE = 13000
PATIENCE = 240.0
GRACE = 100.0
"""Seconds to end in; the longest terminationGracePeriodSeconds of workloads/domains is 90."""
USER = 10001
LOGS = CHECKOUT / "build" / "logs"
OWN = ("ECO2_HOME", "ECO2_MODEL_DIR", "ECO2_SIGNING_KEYS_DIR", "ECO2_BULK_FEES", "ECO2_RECYCLABLE_PRICES")
"""Settings that the image or a volume gives, and those that name files of this checkout."""


async def faults(containers: dict[str, str]) -> list[str]:
    """`containers` by target. One sentence for each process that is not ready in time, or does not end well."""
    home = config.prepare_home(CHECKOUT / ".eco2" / "image")
    stack = Stack(home, port_base=PORT_BASE, gateway_port=PORT_BASE + 80, only={row.name for row in SERVERS})
    async with stack:
        with _keys() as folder:
            return await _processes(stack.layout, containers, folder)


async def _processes(layout: config.Layout, containers: dict[str, str], folder: Path) -> list[str]:
    shared = {name: value for name, value in config.environment(layout).items() if name not in OWN}
    LOGS.mkdir(parents=True, exist_ok=True)
    running: dict[Process, asyncio.subprocess.Process] = {}
    migrates: dict[str, tuple[str, ...]] = {"batch": ("migrate",), "api": ("migrate", "--wait", "5")}
    for target, arguments in migrates.items():
        one = await _run(containers[target], shared, folder, LOGS / f"migrate-{target}.log", arguments)
        if await one.wait():
            return [f"eco2 {' '.join(arguments)} failed in {target}: build/logs/migrate-{target}.log"]
    try:
        for row in SERVICES:
            given = {**shared, **config.process_environment(layout, row), "ECO2_SIGNING_KEYS_DIR": "/run/keys"}
            log = LOGS / f"{row.name}.log"
            running[row] = await _run(containers[row.image], given, folder, log, ("run", row.name))
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(_ready(row, layout.port(row.port), one)) for row, one in running.items()]
        found = [wait.result() for wait in waits]
    finally:
        async with asyncio.TaskGroup() as group:
            ends = [group.create_task(_end(row, one)) for row, one in running.items()]
    return [sentence for sentence in (*found, *(end.result() for end in ends)) if sentence]


async def _end(row: Process, process: asyncio.subprocess.Process) -> str:
    """Empty, or what is wrong. buildah hands no signal on: the process in the image gets it, as from Kubernetes."""
    inner = _inner(process.pid)
    if process.returncode is not None or inner is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = await process.wait()
        return f"{row.name} had ended with {code} before it was told to: build/logs/{row.name}.log"
    with contextlib.suppress(psutil.NoSuchProcess):
        inner.send_signal(signal.SIGTERM)
    try:
        code = await asyncio.wait_for(process.wait(), GRACE)
    except TimeoutError:
        with contextlib.suppress(psutil.NoSuchProcess):
            inner.kill()
        await process.wait()
        return f"{row.name} goes on {GRACE:.0f} s after SIGTERM"
    orderly = code == 0 or _gave_back(LOGS / f"{row.name}.log")
    return "" if orderly else f"{row.name} ended with {code} at SIGTERM: build/logs/{row.name}.log"


def _gave_back(log: Path) -> bool:
    """True for a server that had shut down and then ended itself by the signal, as uvicorn does; buildah says 1."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    ours = [line for line in lines if not line.startswith(("subprocess exited", "Error: exit status"))]
    return bool(ours) and "Finished server process" in ours[-1]


def _inner(pid: int) -> psutil.Process | None:
    """The first process below `pid` that runs as the user of the image, and is not a part of buildah."""
    try:
        below = [one for one in psutil.Process(pid).children(recursive=True) if one.uids().real == USER]
        return next((one for one in below if not "".join(one.cmdline()[:1]).startswith("buildah")), None)
    except psutil.NoSuchProcess:
        return None


async def _run(
    container: str, given: dict[str, str], folder: Path, log: Path, arguments: tuple[str, ...]
) -> asyncio.subprocess.Process:
    # Settings of a stack that is gone a minute later: a list of processes may show them.
    values = [part for name, value in given.items() for part in ("--env", f"{name}={value}")]
    seal = (*SEAL, "--network", "host", "--volume", f"{folder}:/run/keys:ro")
    command = ("buildah", *PLACES, "run", *seal, *values, container, "--", "eco2", *arguments)
    with log.open("wb") as file:
        return await asyncio.create_subprocess_exec(
            *map(str, command), stdout=file, stderr=file, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
        )


async def _ready(row: Process, port: int, process: asyncio.subprocess.Process) -> str:
    """Empty, or what is wrong."""
    told = "nothing listens"
    async with httpx2.AsyncClient(timeout=5) as client:
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while loop.time() < end:
            if process.returncode is not None:
                return f"{row.name} ended with {process.returncode}: build/logs/{row.name}.log"
            try:
                answer = await client.get(f"http://127.0.0.1:{port}/ready")
            except httpx2.TransportError:
                await asyncio.sleep(0.5)
                continue
            if answer.status_code == 200:
                print(f"  {row.name} is ready", flush=True)
                return ""
            told = answer.text
            await asyncio.sleep(0.5)
    return f"{row.name} is not ready after {PATIENCE:.0f} s: {told}"


@contextmanager
def _keys() -> Iterator[Path]:
    """A signing key that the user of the image can read, as a Secret would give it."""
    folder = WORK / "keys"
    folder.mkdir()
    keys.create_key(folder)
    for path in (folder, *folder.iterdir()):
        os.chown(path, USER, USER)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
