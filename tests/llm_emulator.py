"""The emulated provider of paid models as a process of a test: `async with emulated() as emulator`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from eco2.local import config
from tests.redis_server import free_port, until

MODEL = "gpt-5.2"


@dataclass(frozen=True)
class Emulator:
    http: httpx2.AsyncClient
    port: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def behave(self, **behaviours: dict[str, Any]) -> dict[str, Any]:
        """Behaviour of each purpose after that, those of before included."""
        response = await self.http.post("/_control", json=behaviours)
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def forget(self) -> None:
        """Behave as a new one."""
        await self.behave(**{purpose: {} for purpose in await self.behave()})
        await self.http.delete("/_calls")

    async def calls(self) -> dict[str, Any]:
        report: dict[str, Any] = (await self.http.get("/_calls")).json()
        return report

    async def of(self, job: str) -> dict[str, dict[str, int]]:
        jobs: dict[str, dict[str, dict[str, int]]] = (await self.calls())["jobs"]
        return jobs.get(job, {})


@asynccontextmanager
async def emulated(*arguments: str) -> AsyncIterator[Emulator]:
    port = free_port()
    command = (sys.executable, "-m", "eco2.local.emulators.llm", "--port", str(port), *arguments)
    process = await asyncio.create_subprocess_exec(*command, cwd=config.CHECKOUT)
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
            await until(lambda: _ready(http), 30)
            yield Emulator(http, port)
    finally:
        process.kill()
        await process.wait()


async def _ready(http: httpx2.AsyncClient) -> bool:
    try:
        return (await http.get("/ready")).status_code == 200
    except httpx2.TransportError:
        return False
