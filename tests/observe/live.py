"""A whole stack with `eco2 up --observe`, an emulated paid model, a user who scans, and a webhook that receives alerts.

Alerts go PACE times faster than in a cluster (`ECO2_ALERT_PACE`): windows, conditions and waits are shorter, what they
compare is not.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from eco2.auth import keys
from eco2.auth.settings import TokenSettings
from eco2.local import config, state
from eco2.local.emulators import llm as llm_emulator
from tests import photos
from tests.conftest import PAID_MODEL, Person
from tests.e2e import journey
from tests.redis_server import until

Json = dict[str, Any]

PORT_BASE, GATEWAY_PORT = 12200, 12290
PACE = 20
UP_SECONDS, COMMAND_SECONDS = 240, 120


class Webhook:
    """Hears what Alertmanager says."""

    def __init__(self) -> None:
        self.said: list[Json] = []
        self._news = asyncio.Condition()
        self._heard = 0
        """Alerts that nobody waits for any more."""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(row[15:]) for row in head.splitlines() if row.lower().startswith(b"content-length:"))
                body = json.loads(await reader.readexactly(length))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                async with self._news:
                    self.said += body["alerts"]
                    self._news.notify_all()
        writer.close()

    def begin(self) -> None:
        """Leave out what was said so far: a slow start is a fault, too."""
        self._heard = len(self.said)

    async def heard(self, status: str, seconds: float = 180, **labels: str) -> Json:
        """The next alert with that status and these labels, after the one that was heard last."""

        def fits(alert: Json) -> bool:
            return bool(alert["status"] == status) and labels.items() <= alert["labels"].items()

        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: any(map(fits, self.said[self._heard :])))
        while not fits(self.said[self._heard]):
            self._heard += 1
        self._heard += 1
        return self.said[self._heard - 1]


@dataclass
class Live:
    """The stack. `environment` is that of its commands."""

    layout: config.Layout
    environment: dict[str, str]
    webhook: Webhook
    people: list[httpx2.AsyncClient] = field(default_factory=list)

    async def eco2(self, *arguments: str, more: dict[str, str] | None = None) -> str:
        """Output of a command that succeeds."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "eco2", *arguments),
            env={**self.environment, **(more or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), COMMAND_SECONDS)
        assert process.returncode == 0, out.decode() + err.decode()
        return out.decode()

    async def pid(self, name: str) -> int:
        rows = json.loads(await self.eco2("status", "--json"))
        return next(int(row["pid"]) for row in rows if row["name"] == name)

    def person(self) -> Person:
        found = config.environment(self.layout)
        settings = TokenSettings(signing_keys_dir=Path(found["ECO2_SIGNING_KEYS_DIR"]), issuer=found["ECO2_ISSUER"])
        user = uuid.uuid4()
        token = keys.mint(settings, user, "local")
        url = f"http://127.0.0.1:{self.layout.gateway_port}"
        self.people.append(httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30))
        return Person(user, token, self.people[-1])

    async def scan(self, who: Person, **body: str) -> str:
        """A scan of a photo that nobody has seen, followed to its end; the job id."""
        picture = photos.encoded(photos.picture(320, 240, seed=uuid.uuid4().int % 2**32), "JPEG")
        job = await journey.submit(who, await journey.upload(who, picture), **body)
        await journey.frames(who, job["stream_url"])
        return str(job["job_id"])

    async def query(self, expression: str) -> list[Json]:
        """Answer of Prometheus at this moment."""
        url = f"http://127.0.0.1:{self.layout.port(config.PROMETHEUS)}/api/v1/query"
        async with httpx2.AsyncClient() as client:
            answer = await client.get(url, params={"query": expression}, timeout=20)
        body = answer.json()
        assert answer.status_code == 200, (expression, body)
        found: list[Json] = body["data"]["result"]
        return found

    async def quiet(self, alert: str) -> None:
        """Wait until nothing says so, and listen from then on."""

        async def silent() -> bool:
            return not await self.query(f'ALERTS{{alertname="{alert}"}}')

        await until(silent, 120)
        self.webhook.begin()

    async def behave(self, **behaviour: Any) -> None:
        """Of the paid model."""
        url = llm_emulator.base_url(self.layout).removesuffix("/v1")
        async with httpx2.AsyncClient(base_url=url) as client:
            (await client.post("/_control", json=behaviour)).raise_for_status()

    @contextlib.asynccontextmanager
    async def load(self, pause: float = 0.3, **body: str) -> AsyncIterator[None]:
        """A user scans within the block, one scan after the other; errors do not stop them."""

        async def scans() -> None:
            who = self.person()
            while True:
                with contextlib.suppress(httpx2.HTTPError, AssertionError):
                    await self.scan(who, **body)
                await asyncio.sleep(pause)

        task = asyncio.create_task(scans())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process is there and does nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _fresh_home() -> Path:
    home = config.prepare_home(config.CHECKOUT / ".eco2" / "test-observe")
    left = state.load(home)
    if left is not None:
        if left.alive:
            os.kill(left.pid, signal.SIGTERM)
        state.end_orphans(left)
    for path in home.iterdir():
        if path.name != "models":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return home


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Live]:
    """`eco2 up --observe` … `eco2 down`."""
    home = _fresh_home()
    layout = config.layout(home, port_base=PORT_BASE, gateway_port=GATEWAY_PORT)
    webhook = Webhook()
    server = await asyncio.start_server(webhook.take, "127.0.0.1", 0)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ECO2_")}
    environment = {
        **clean,
        "ECO2_HOME": str(home),
        "ECO2_PORT_BASE": str(PORT_BASE),
        "ECO2_GATEWAY_PORT": str(GATEWAY_PORT),
        "ECO2_ALERT_WEBHOOK": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/",
        "ECO2_ALERT_PACE": str(PACE),
        "ECO2_LLM_API_KEY": "emulated",
        "ECO2_LLM_BASE_URL": llm_emulator.base_url(layout),
        "ECO2_LLM_MODELS": json.dumps([PAID_MODEL]),
        "ECO2_LLM_TIMEOUT": "2",
        "ECO2_LLM_BREAKER_FAILURES": "1000",
    }
    live = Live(layout, environment, webhook)
    command = (sys.executable, "-m", llm_emulator.__name__, "--port", str(layout.port(llm_emulator.PORT_OFFSET)))
    model = await asyncio.create_subprocess_exec(*command, env=clean, cwd=config.CHECKOUT)
    try:
        await asyncio.wait_for(live.eco2("up", "--observe"), UP_SECONDS)
        yield live
    finally:
        for client in live.people:
            await client.aclose()
        await live.eco2("down")
        model.terminate()
        await model.wait()
        server.close()
