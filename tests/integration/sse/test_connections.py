"""Connections of event streams: many, slow, leaving, of sessions that end."""

import asyncio
import signal
import socket
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import httpx2
import orjson
from redis.asyncio import Redis

from eco2.auth.store import Ended, deny
from eco2.contracts.events import channel, job_key, log_key
from eco2.messaging.events import EventBus
from tests.integration.sse.conftest import (
    USER,
    WHOLE_JOB,
    Served,
    emit_slowly,
    metric,
    opened,
    read,
    ready,
    seqs,
    serving,
    subscribed,
)
from tests.integration.test_bus import DONE, STEPS, forwarded, routing, start_process, url_of
from tests.redis_server import until


async def test_two_routers_and_two_gateways_give_every_client_the_same_order(redis: Redis) -> None:
    url = url_of(redis)
    async with routing(url, "a"), routing(url, "b"), serving(url) as one, serving(url) as two:
        jobs = [await opened(redis) for _ in range(20)]
        readings = [asyncio.create_task(read(g.url(job))) for job in jobs for g in (one, two)]
        for draft in WHOLE_JOB:
            await asyncio.gather(*(EventBus(redis).emit(job, draft) for job in jobs))
        for reading in readings:
            assert seqs(await reading) == list(range(1, 12))


async def connect_raw(gateway: Served, job_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1 << 24)
    path = f"/api/v1/scan/{job_id}/events"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nx-user-id: {USER}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_a_thousand_connects_leave_nothing_behind(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        running, over = await opened(redis), await opened(redis)
        await EventBus(redis).emit(over, STEPS[0], DONE)
        await forwarded(redis, over, 2)

        async def come_and_go(number: int) -> None:
            job_id = over if number % 2 else running
            _, writer = await connect_raw(gateway, job_id)
            writer.close()
            await writer.wait_closed()

        for start in range(0, 1000, 50):
            await asyncio.gather(*(come_and_go(start + number) for number in range(50)))

        async def empty() -> bool:
            return not gateway.gateway.hub._channels and not gateway.gateway._open

        await until(empty)
        assert metric("eco2_sse_open_streams") == 0
        assert metric("eco2_sse_subscribed_jobs") == 0

        async def unsubscribed() -> bool:
            return not await redis.pubsub_channels("job:*")

        await until(unsubscribed)
        assert len([c for c in await redis.client_list() if int(c["sub"])]) == 0


async def test_a_slow_client_gets_everything_and_holds_little(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(raw, ("127.0.0.1", gateway.port))
            request = f"GET /api/v1/scan/{job}/events HTTP/1.1\r\nHost: x\r\nx-user-id: {USER}\r\n\r\n"
            await loop.sock_sendall(raw, request.encode())
            await subscribed(redis, job)
            texts = [fat_frame(job, seq, "done" if seq == 300 else "rule") for seq in range(1, 301)]
            await redis.hset(job_key(job), "seq", 300)
            for seq, text in enumerate(texts, 1):
                await redis.zadd(log_key(job), {text: seq})
                await redis.publish(channel(job), text)
            (entry,) = gateway.gateway.hub._channels.values()
            (listener,) = entry.listeners
            assert len(listener.frames) <= 16
            received = bytearray()
            async with asyncio.timeout(10):
                while b"\r\n0\r\n\r\n" not in received[-16:]:
                    received += await loop.sock_recv(raw, 1 << 16)
        ids = [int(line[4:]) for line in received.split(b"\n") if line.startswith(b"id: ")]
        assert ids == list(range(1, 301))


def fat_frame(job_id: str, seq: int, stage: str) -> str:
    frame = {"job_id": job_id, "stage": stage, "status": "completed", "seq": seq, "filler": "x" * 20_000}
    return orjson.dumps(frame).decode()


async def test_sigterm_ends_open_streams_at_once_and_the_client_resumes_elsewhere(redis: Redis) -> None:
    url = url_of(redis)
    process, port = await start_process(url, "eco2.sse_gateway.main")
    await until(lambda: ready(f"http://127.0.0.1:{port}"))
    async with routing(url), serving(url) as other:
        job = await opened(redis)
        half = asyncio.create_task(read(f"http://127.0.0.1:{port}/api/v1/scan/{job}/events"))
        await subscribed(redis, job)
        await emit_slowly(redis, job, WHOLE_JOB[:6])
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(3):
            first = await half
            assert await process.wait() == 0
        assert all(event["event"] != "error" for event in first)
        await emit_slowly(redis, job, WHOLE_JOB[6:])
        rest = await read(other.url(job), first[-1]["id"])
        assert seqs(first) + seqs(rest) == list(range(1, 12))


async def test_a_stream_of_a_session_that_has_ended_a_moment_ago_ends_at_once(redis: Redis) -> None:
    """The check at the edge was before the end, the stream after it."""
    async with serving(url_of(redis)) as gateway:
        job = await opened(redis)
        ended = str(uuid4())
        await deny(redis, [Ended(UUID(ended), 600)], 600)

        async def known() -> bool:
            return ended in gateway.gateway.revocations.recent

        await until(known)
        events = await read(gateway.url(job), session=ended)
        assert [(event["event"], event["data"]["error"]) for event in events] == [("error", "session_ended")]
        going_on = asyncio.create_task(read(gateway.url(job), session=str(uuid4())))
        await subscribed(redis, job)
        assert not going_on.done()
        going_on.cancel()
        await asyncio.gather(going_on, return_exceptions=True)


async def test_a_user_has_a_bounded_number_of_streams_and_gets_a_place_back(redis: Redis) -> None:
    bus, job = EventBus(redis), uuid4().hex
    await bus.emit(job, STEPS[0], owner=USER)
    await bus.open(other := uuid4().hex, "somebody else")
    async with serving(url_of(redis), streams=2) as served, AsyncExitStack() as held:
        http = await held.enter_async_context(httpx2.AsyncClient(timeout=20))
        mine = {"x-user-id": USER}
        first = AsyncExitStack()
        await first.enter_async_context(http.stream("GET", served.url(job), headers=mine))
        await held.enter_async_context(http.stream("GET", served.url(job), headers=mine))
        refused = await http.get(served.url(job), headers=mine)
        assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_STREAMS")
        assert int(refused.headers["retry-after"]) > 0
        headers = {"x-user-id": "somebody else"}
        async with http.stream("GET", served.url(other), headers=headers) as neighbour:
            assert neighbour.status_code == 200
        await first.aclose()

        async def free() -> bool:
            async with http.stream("GET", served.url(job), headers=mine) as again:
                return again.status_code == 200

        await until(free)
