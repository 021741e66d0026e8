"""Processes die in mid-job; nothing is lost, doubled or left hanging."""

import asyncio
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aio_pika
import httpx2
import pytest
from sqlalchemy import URL, text
from sqlalchemy.ext.asyncio import create_async_engine

from eco2.contracts.queues import DEAD_LETTER_EXCHANGE, QUEUES, SCAN_VISION
from eco2.core.tables import psycopg_url
from eco2.local import config, state
from eco2.local.stack import Stack
from eco2.messaging.broker import Publisher
from tests import photos
from tests.conftest import Person
from tests.e2e import journey
from tests.e2e.test_scan import EVENTS
from tests.redis_server import until

JOBS = 6  # as many streams as a user may follow at once


def row(stack: Stack, name: str) -> state.ProcessState:
    found = state.load(stack.layout.home)
    assert found is not None
    return next(row for row in found.processes if row.name == name)


async def back(stack: Stack, name: str, old_pid: int) -> None:
    async def ready() -> bool:
        now = row(stack, name)
        return now.ready and now.pid != old_pid

    await until(ready, 60)


async def send(stack: Stack, name: str, number: signal.Signals) -> int:
    pid = row(stack, name).pid
    assert pid is not None
    os.kill(pid, number)
    return pid


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("scan-worker", signal.SIGKILL),
        ("scan-worker", signal.SIGTERM),
        ("event-router", signal.SIGKILL),
        ("sse-gateway", signal.SIGKILL),
        ("character-worker", signal.SIGKILL),
        ("scan-sweeper", signal.SIGKILL),
    ],
)
async def test_jobs_in_flight_survive_the_end_of(
    stack: Stack, person: Callable[[], Person], name: str, number: signal.Signals
) -> None:
    who = person()
    pictures = [photos.encoded(photos.picture(1600, 1200, seed=n), "JPEG") for n in range(JOBS)]
    urls = [await journey.upload(who, picture) for picture in pictures]
    submitting = [asyncio.create_task(journey.submit(who, url, user_input="우유팩")) for url in urls]
    await asyncio.wait(submitting, return_when=asyncio.FIRST_COMPLETED)
    pid = await send(stack, name, number)
    jobs = await asyncio.gather(*submitting)
    await back(stack, name, pid)
    results = await asyncio.gather(*(journey.result_when_done(who, job["result_url"]) for job in jobs))
    assert {body["status"] for body in results} == {"completed"}
    streams = await asyncio.gather(*(journey.frames(who, job["stream_url"]) for job in jobs))
    for found in streams:
        assert [(frame["stage"], frame["status"]) for frame in found] == EVENTS
        assert [frame["seq"] for frame in found] == list(range(1, len(EVENTS) + 1))

    async def granted() -> bool:
        rows = (await who.http.get("/api/v1/users/me/characters")).json()
        return [found["name"] for found in rows] == ["이코", "팩토리"]

    await until(granted)


STREAMS, EACH = 200, 5


@pytest.mark.slow
async def test_two_hundred_streams_survive_the_end_of_their_gateway(stack: Stack, person: Callable[[], Person]) -> None:
    """Each client comes back with the id of the last event that it has, and misses and repeats none."""
    jobs: list[tuple[Person, dict[str, Any]]] = []
    for who in [person() for _ in range(STREAMS // EACH)]:
        url = await journey.upload(who, photos.encoded(photos.picture(320, 240, seed=7), "JPEG"))
        jobs += [(who, await journey.submit(who, url, user_input=f"우유팩 {n}")) for n in range(EACH)]
    seen: list[list[dict[str, Any]]] = [[] for _ in jobs]

    async def follow(who: Person, stream_url: str, into: list[dict[str, Any]]) -> None:
        while not into or into[-1]["stage"] != "done":
            last = str(into[-1]["id"]) if into else ""
            try:
                headers = {"Last-Event-ID": last} if last else {}
                async with who.http.sse(stream_url, headers=headers) as source:
                    if source.response.status_code != 200:
                        raise httpx2.ReadError("not now")
                    async for event in source:
                        if event.event not in ("keepalive", "error"):
                            frame = {**json.loads(event.data), "id": event.id}
                            into.append(frame)
            except httpx2.HTTPError:
                await asyncio.sleep(0.2)

    worker = await send(stack, "scan-worker", signal.SIGSTOP)
    try:
        following = [
            asyncio.create_task(follow(who, job["stream_url"], into))
            for (who, job), into in zip(jobs, seen, strict=True)
        ]

        async def all_open() -> bool:
            return all(seen)

        await until(all_open, 30)
        pid = await send(stack, "sse-gateway", signal.SIGKILL)
    finally:
        os.kill(worker, signal.SIGCONT)
    await back(stack, "sse-gateway", pid)
    async with asyncio.timeout(90):
        await asyncio.gather(*following)
    for found in seen:
        assert [(frame["stage"], frame["status"]) for frame in found] == EVENTS
        assert [frame["seq"] for frame in found] == list(range(1, len(EVENTS) + 1))


async def submitted(who: Person, url: str, key: str) -> dict[str, object]:
    """As a client does: the same idempotency key again until the answer is no 5xx."""
    body, headers = {"image_url": url, "user_input": "우유팩"}, {"X-Idempotency-Key": key}
    async with asyncio.timeout(60):
        while (answer := await who.http.post("/api/v1/scan", json=body, headers=headers)).status_code >= 500:
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"]
            await asyncio.sleep(0.3)
    return dict(answer.raise_for_status().json())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("rabbitmq", signal.SIGTERM),
        ("postgres", signal.SIGINT),  # fast shutdown
        ("redis-streams", signal.SIGTERM),
        ("redis-cache", signal.SIGKILL),
        ("object-store", signal.SIGTERM),
        ("scan-api", signal.SIGKILL),
    ],
)
async def test_jobs_survive_the_restart_of(
    stack: Stack, person: Callable[[], Person], name: str, number: signal.Signals
) -> None:
    who = person()
    pictures = [photos.encoded(photos.picture(1600, 1200, seed=100 + n), "JPEG") for n in range(JOBS)]
    urls = [await journey.upload(who, picture) for picture in pictures]
    submitting = [asyncio.create_task(submitted(who, url, uuid.uuid4().hex)) for url in urls]
    await asyncio.wait(submitting, return_when=asyncio.FIRST_COMPLETED)
    pid = await send(stack, name, number)
    jobs = await asyncio.gather(*submitting)
    await back(stack, name, pid)
    async with asyncio.timeout(120):
        for job in jobs:
            while (await who.http.get(str(job["result_url"]))).status_code != 200:
                await asyncio.sleep(0.3)
    for job in jobs:
        assert (await journey.result(who, str(job["result_url"])))["status"] == "completed"
        found = await journey.frames(who, str(job["stream_url"]))
        assert [(frame["stage"], frame["status"]) for frame in found] == EVENTS
        assert [frame["seq"] for frame in found] == list(range(1, len(EVENTS) + 1))


@pytest.mark.slow
async def test_jobs_whose_messages_were_purged_are_sent_again(
    stack: Stack, person: Callable[[], Person], environment: dict[str, str], management: httpx2.AsyncClient
) -> None:
    """A worker that stands still holds all of them, until the broker cuts it off and has them back."""
    broker = await aio_pika.connect(environment["ECO2_BROKER_URL"])
    queue = await (await broker.channel()).get_queue(SCAN_VISION)
    people = [person() for _ in range(4)]
    picture = photos.encoded(photos.picture(640, 480, seed=300), "JPEG")
    jobs: list[tuple[Person, dict[str, Any]]] = []
    worker = await send(stack, "scan-worker", signal.SIGSTOP)
    try:
        for who in people:
            url = await journey.upload(who, picture)
            jobs += [(who, await journey.submit(who, url, user_input=f"우유팩 {n}")) for n in range(10)]

        async def purged() -> bool:
            consumers = (await management.get("/consumers")).raise_for_status().json()
            details = [row["channel_details"] for row in consumers if row["queue"]["name"] == SCAN_VISION]
            for name in {one["connection_name"] for one in details if one}:  # empty: the channel is brand new
                await management.delete(f"/connections/{quote(name, safe='')}")
            return bool((await queue.purge()).message_count)

        await until(purged, 30)
    finally:
        os.kill(worker, signal.SIGCONT)
        await broker.close()
    async with asyncio.timeout(100):
        for who, job in jobs:
            assert (await journey.result_when_done(who, job["result_url"], 100))["status"] == "completed"
            found = await journey.frames(who, job["stream_url"])
            assert [(frame["stage"], frame["status"]) for frame in found] == EVENTS


async def test_a_dead_letter_ends_its_job_while_no_worker_lives(
    stack: Stack, person: Callable[[], Person], environment: dict[str, str]
) -> None:
    who, publisher = person(), Publisher(environment["ECO2_BROKER_URL"])
    url = await journey.upload(who, photos.encoded(photos.picture(640, 480, seed=301), "JPEG"))
    worker = await send(stack, "scan-worker", signal.SIGSTOP)
    try:
        job = await journey.submit(who, url)
        key = str(QUEUES[SCAN_VISION].dead_letter_key)
        await publisher.send_task(DEAD_LETTER_EXCHANGE, key, SCAN_VISION, str(job["job_id"]))
        async with asyncio.timeout(10):
            assert (await journey.frames(who, job["stream_url"]))[-1]["result"]["outcome"] == "failed"
    finally:
        os.kill(worker, signal.SIGCONT)
        await publisher.close()


@asynccontextmanager
async def read_only(admin: URL) -> AsyncIterator[None]:
    """A whole server that takes no writes."""
    server = create_async_engine(admin, isolation_level="AUTOCOMMIT")
    async with server.connect() as connection:
        await connection.execute(text("ALTER SYSTEM SET default_transaction_read_only = on"))
        await connection.execute(text("SELECT pg_reload_conf()"))
        try:
            yield
        finally:
            await connection.execute(text("SET default_transaction_read_only = off"))
            await connection.execute(text("ALTER SYSTEM RESET default_transaction_read_only"))
            await connection.execute(text("SELECT pg_reload_conf()"))
    await server.dispose()


@pytest.mark.slow
async def test_jobs_survive_a_database_that_takes_no_writes(stack: Stack, person: Callable[[], Person]) -> None:
    """On a full disk, or a standby that is not promoted yet, requests get 503 and work waits."""
    who = person()
    pictures = [photos.encoded(photos.picture(1600, 1200, seed=200 + n), "JPEG") for n in range(JOBS)]
    urls = [await journey.upload(who, picture) for picture in pictures]
    submitting = [asyncio.create_task(submitted(who, url, uuid.uuid4().hex)) for url in urls]
    await asyncio.wait(submitting, return_when=asyncio.FIRST_COMPLETED)
    admin = psycopg_url(config.environment(stack.layout)["ECO2_DATABASE_URL"]).set(
        username="postgres", password=stack.layout.credentials.postgres_admin_password
    )
    asked = {
        "images/scan": {"filename": "photo.jpg", "content_type": "image/jpeg"},
        "scan": {"image_url": urls[0], "user_input": "캔"},
    }
    async with read_only(admin):
        for _ in range(20):
            answers = [await who.http.post(f"/api/v1/{path}", json=body) for path, body in asked.items()]
            assert {answer.status_code for answer in answers} <= {200, 503}
            await asyncio.sleep(0.2)
        assert {answer.status_code for answer in answers} == {503}
    async with asyncio.timeout(60):
        for job in await asyncio.gather(*submitting):
            assert (await journey.result_when_done(who, str(job["result_url"])))["status"] == "completed"
            found = await journey.frames(who, str(job["stream_url"]))
            assert [(frame["stage"], frame["status"]) for frame in found] == EVENTS
