"""Gateways in this process (uvicorn on a free port), events from a real bus, router and redis-server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import orjson
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from eco2.contracts.events import Draft, channel
from eco2.core.ops import OpsApp, serve_async
from eco2.core.redis import connect
from eco2.messaging.events import EventBus
from eco2.sse_gateway.app import Gateway
from eco2.sse_gateway.jobs import JobStates
from eco2.sse_gateway.settings import Settings
from tests.integration.test_bus import DONE, STEPS, forwarded
from tests.redis_server import free_port, private_redis, until

USER = "user-1"
WHOLE_JOB = [*STEPS, DONE]
Event = dict[str, Any]


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    async with private_redis() as url, connect(url) as client:
        yield client


class Served:
    """A running gateway and its base URL."""

    def __init__(self, gateway: Gateway, port: int) -> None:
        self.gateway = gateway
        self.port = port
        self.base = f"http://127.0.0.1:{port}"

    def url(self, job_id: str, service: str = "scan") -> str:
        return f"{self.base}/api/v1/{service}/{job_id}/events"


@asynccontextmanager
async def serving(url: str, streams: int = 100, **seconds: float) -> AsyncIterator[Served]:
    # Looking at the log without a reason is off unless a test is about it: it would hide a lost wake-up.
    seconds = {"check": 30.0} | seconds
    changes: dict[str, Any] = {f"sse_{name}": timedelta(seconds=value) for name, value in seconds.items()}
    port = free_port()
    changes |= {"shutdown_grace": timedelta(seconds=3), "sse_streams_per_user": streams}
    settings = Settings(redis_streams_url=url, port=port, **changes)
    client = connect(url, retries=0, socket_timeout=2.0)
    gateway = Gateway(client, settings, JobStates({}))
    app = OpsApp("sse-gateway", {"redis": client.ping, "pubsub": gateway.hub.check}, gateway)
    beside = [gateway.hub.run(), gateway.revocations.run()]
    tasks = [asyncio.create_task(work) for work in (*beside, serve_async(app, settings))]
    served = Served(gateway, port)
    try:
        await until(lambda: ready(served.base))
        yield served
    finally:
        gateway.close()
        for task in reversed(tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await client.aclose()


async def ready(base: str) -> bool:
    async with httpx2.AsyncClient() as http:
        with suppress(httpx2.TransportError):
            return (await http.get(f"{base}/ready")).status_code == 200
    return False


async def read(
    url: str,
    last: str = "",
    user: str = USER,
    until_event: Callable[[Event], bool] | None = None,
    session: str = "",
) -> list[Event]:
    """The frames as `{event, id, data}` until the stream closes (or `until_event` holds)."""
    headers = {"x-user-id": user, "x-session-id": session} | ({"last-event-id": last} if last else {})
    events: list[Event] = []
    async with httpx2.AsyncClient(timeout=20) as http, http.stream("GET", url, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        frame: Event = {}
        async for line in response.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                frame[name] = orjson.loads(value) if name == "data" else value
                continue
            events.append(frame)
            if until_event and until_event(frame):
                return events
            frame = {}
    return events


def seqs(events: list[Event]) -> list[int]:
    return [int(event["id"]) for event in events if "id" in event]


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def opened(redis: Redis, job_id: str = "") -> str:
    job_id = job_id or str(uuid4())
    await EventBus(redis).open(job_id, USER)
    return job_id


async def emit_slowly(redis: Redis, job_id: str, drafts: list[Draft]) -> None:
    for draft in drafts:
        await EventBus(redis).emit(job_id, draft)
        head = await EventBus(redis).head(job_id)
        assert head is not None
        await forwarded(redis, job_id, head.seq)


async def subscribed(redis: Redis, job_id: str, clients: int = 1) -> None:
    async def there() -> bool:
        return dict(await redis.pubsub_numsub(channel(job_id)))[channel(job_id)] >= clients

    await until(there)
