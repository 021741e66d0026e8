"""A supervisor is killed while database and cache are away: scans go on, and a look is paid for twice at most."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from eco2.auth import keys
from eco2.auth.settings import TokenSettings
from eco2.local import config, state
from eco2.local.config import Layout
from eco2.local.emulators import llm as llm_emulator
from tests.conftest import PAID_MODEL, Person
from tests.e2e import journey
from tests.e2e.test_full_disk import all_ready, photo
from tests.e2e.test_scan import EVENTS
from tests.redis_server import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PORTS = 11500
JOBS = 3
SERVE = """
import asyncio, sys
from pathlib import Path
from eco2.local import config
from eco2.local.emulators import llm
from eco2.local.stack import Stack
async def main(home, ports):
    layout = config.layout(home, port_base=ports, gateway_port=ports + 80)
    async with Stack(home, port_base=ports, gateway_port=ports + 80, extra=[llm.unit(layout)]):
        await asyncio.to_thread(sys.stdin.buffer.read)
asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


@pytest.fixture
def layout() -> Iterator[Layout]:
    """Root starts the servers as users who cannot enter pytest's own folder."""
    with tempfile.TemporaryDirectory(prefix="eco2-killed-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)
        yield config.layout(Path(folder) / "home", port_base=PORTS, gateway_port=PORTS + 80)


@contextlib.asynccontextmanager
async def citizen(at: Layout, user: uuid.UUID) -> AsyncIterator[Person]:
    tokens = TokenSettings(signing_keys_dir=at.folder("keys"), issuer=config.issuer(at))
    token = keys.mint(tokens, user, "local")
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(base_url=at.public_url, headers=headers, timeout=30) as http:
        yield Person(user, token, http)


@contextlib.asynccontextmanager
async def supervised(at: Layout) -> AsyncIterator[int]:
    """A stack in a process of its own, whose id this is; ready, and ended in good order unless it was killed."""
    model = {
        "ECO2_LLM_API_KEY": "emulated",
        "ECO2_LLM_BASE_URL": llm_emulator.base_url(at),
        "ECO2_LLM_MODELS": f'["{PAID_MODEL}"]',
    }
    command = (sys.executable, "-c", SERVE, str(at.home), str(PORTS))
    child = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, start_new_session=True, env={**os.environ, **model}
    )
    try:

        async def ready() -> bool:
            now = state.load(at.home)
            assert child.returncode is None, "the stack could not be started"
            return now is not None and now.pid == child.pid and all_ready(at)

        await until(ready, 120)
        yield child.pid
    finally:
        assert child.stdin is not None
        child.stdin.close()
        await child.wait()


async def calls(at: Layout, jobs: Iterable[dict[str, Any]], count: str) -> list[dict[str, int]]:
    """Of each job: purpose → calls, or answers, since the emulated LLM was started."""
    async with httpx2.AsyncClient() as client:
        url = llm_emulator.base_url(at).removesuffix("/v1")
        report = (await client.get(f"{url}/_calls")).json()["jobs"]
    return [{purpose: row[count] for purpose, row in report.get(job["job_id"], {}).items()} for job in jobs]


def stopped(at: Layout, *names: str) -> list[psutil.Process]:
    """Let servers hang, with all their processes: a connection to them neither answers nor ends."""
    now = state.load(at.home)
    assert now is not None
    roots = [psutil.Process(row.pid) for row in now.processes if row.name in names and row.pid]
    found = [process for root in roots for process in (root, *root.children(recursive=True))]
    for process in found:
        process.suspend()
    return found


async def test_scans_outlive_a_supervisor_that_is_killed_with_database_and_cache_away(layout: Layout) -> None:
    user = uuid.uuid4()
    async with supervised(layout) as pid, citizen(layout, user) as who:
        async with httpx2.AsyncClient() as client:
            slow = {"vision": {"item": "milk_carton", "median": 2}}
            url = llm_emulator.base_url(layout).removesuffix("/v1")
            (await client.post(f"{url}/_control", json=slow)).raise_for_status()
        urls = [await journey.upload(who, photo(number)) for number in range(JOBS)]
        jobs = [await journey.submit(who, url, model=PAID_MODEL, user_input=f"질문 {url}") for url in urls]

        async def asked() -> bool:
            return await calls(layout, jobs, "calls") == [{"vision": 1}] * JOBS

        await until(asked, 30)
        away = stopped(layout, "postgres", "redis-cache")

        async def answered() -> bool:
            return await calls(layout, jobs, "answers") == [{"vision": 1}] * JOBS

        await until(answered, 30)
        os.kill(pid, signal.SIGKILL)
        for process in away:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    async with supervised(layout), citizen(layout, user) as who:
        for job in jobs:
            body = await journey.result_when_done(who, job["result_url"], 120)
            assert (body["status"], body["outcome"]) == ("completed", "answered")
            found = await journey.frames(who, job["stream_url"])
            assert [(frame["stage"], frame["status"]) for frame in found] == EVENTS
        for counts in await calls(layout, jobs, "calls"):
            assert counts["answer"] == 1
            assert counts.get("vision", 0) <= 1, "what was in memory alone is paid for once more, and no oftener"
