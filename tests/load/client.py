"""Clients of the platform as the app is one: submit a photo, follow its events to the end."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from tests.load.target import Photo, User

JOB_SECONDS = 60


@dataclass(frozen=True)
class Outcome:
    """`seconds` from the request to the terminal event; `status` is the outcome in it, or what went wrong."""

    status: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status in ("answered", "unsure")


class Client:
    """All users over one pool of connections."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url = session, url

    async def upload(self, user: User, image: bytes, words: str | None) -> Photo:
        """A photo put into the store as the app does it: with a ticket, at the address that it names."""
        body = {"filename": "photo.jpg", "content_type": "image/jpeg"}
        async with self.session.post(f"{self.url}/api/v1/images/scan", json=body, headers=user.headers) as response:
            response.raise_for_status()
            ticket = orjson.loads(await response.read())
        headers = {"Content-Type": "image/jpeg"}
        async with self.session.put(ticket["upload_url"], data=image, headers=headers) as response:
            response.raise_for_status()
        return Photo(user, ticket["cdn_url"], words)

    async def submit(self, photo: Photo) -> str:
        """The path of the job's events."""
        body, headers = {"image_url": photo.url, "user_input": photo.words}, photo.user.headers
        async with self.session.post(f"{self.url}/api/v1/scan", json=body, headers=headers) as response:
            response.raise_for_status()
            return str(orjson.loads(await response.read())["stream_url"])

    async def scan(self, photo: Photo) -> Outcome:
        start = time.perf_counter()
        try:
            async with asyncio.timeout(JOB_SECONDS):
                last, ended = await self.follow(photo.user, await self.submit(photo))
        except (aiohttp.ClientError, TimeoutError) as error:
            return Outcome(repr(error), time.perf_counter() - start)
        return Outcome("no terminal event" if last is None else str(last["result"]["outcome"]), ended - start)

    async def follow(self, user: User, path: str) -> tuple[dict[str, Any] | None, float]:
        """Terminal event of a job, None where its stream ended without one, and when it came."""
        last, ended = None, time.perf_counter()
        async with self.session.get(self.url + path, headers=user.headers) as response:
            response.raise_for_status()
            event = b""
            async for line in response.content:
                if line.startswith(b"event: "):
                    event = line[7:-1]
                elif event == b"done" and line.startswith(b"data: "):
                    last, ended = orjson.loads(line[6:]), time.perf_counter()
        return last, ended

    async def scan_all(self, photos: Sequence[Photo], at_once: int) -> list[Outcome]:
        """Each photo once, always `at_once` of them in work."""
        outcomes: list[Outcome] = []
        waiting = iter(photos)

        async def worker() -> None:
            outcomes.extend([await self.scan(photo) for photo in waiting])

        async with asyncio.TaskGroup() as workers:
            for _ in range(at_once):
                workers.create_task(worker())
        return outcomes


@asynccontextmanager
async def open_session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    dumps = lambda value: orjson.dumps(value).decode()  # noqa: E731
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, json_serialize=dumps) as session:
        yield session


def failures(outcomes: Sequence[Outcome]) -> list[str]:
    """The first few different reasons."""
    return sorted({one.status for one in outcomes if not one.ok})[:5]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds; None where an answer says none, or none that can be read."""
    told = headers.get("Retry-After", "")
    return float(told) if told.isdecimal() else None


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all values do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]
