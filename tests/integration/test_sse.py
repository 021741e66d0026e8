"""Gateways in this process (uvicorn on a free port), events from a real bus, router and redis-server."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import orjson
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from eco2.auth.store import Ended, deny
from eco2.contracts.events import Draft, channel, job_key, log_key
from eco2.core.ops import OpsApp, serve_async
from eco2.core.redis import connect
from eco2.messaging.events import EventBus
from eco2.sse_gateway import hub
from eco2.sse_gateway.app import Gateway
from eco2.sse_gateway.jobs import JobStates
from eco2.sse_gateway.settings import Settings
from tests.integration.test_bus import DONE, FAILED, STEPS, forwarded, routing, start_process, streamed, url_of
from tests.redis_server import RedisServer, free_port, private_redis, until

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


# --- what a client sees ------------------------------------------------------------------------------------


async def test_before_during_and_after_the_job_give_the_same_frames(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        before = asyncio.create_task(read(gateway.url(job)))
        await subscribed(redis, job)
        await emit_slowly(redis, job, WHOLE_JOB[:5])
        during = asyncio.create_task(read(gateway.url(job)))
        await emit_slowly(redis, job, WHOLE_JOB[5:])
        live, mixed, replayed = await before, await during, await read(gateway.url(job))
        assert live == mixed == replayed
        assert [event["event"] for event in live] == [draft.stage for draft in WHOLE_JOB]
        assert seqs(live) == list(range(1, 12))
        assert [event["data"]["seq"] for event in live] == list(range(1, 12))
        assert {type(event["data"]["progress"]) for event in live} == {int}
        assert live[-1]["data"]["result"] == {"ok": True}


async def test_resume_works_from_every_event(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        await EventBus(redis).emit(job, *WHOLE_JOB)
        await forwarded(redis, job, 11)
        for last in range(11):
            assert seqs(await read(gateway.url(job), str(last))) == list(range(last + 1, 12))
        assert seqs(await read(gateway.url(job) + "?last_event_id=9")) == [10, 11]
        assert seqs(await read(gateway.url(job), "recovery:5")) == list(range(6, 12))
        assert seqs(await read(gateway.url(job), "4711")) == list(range(1, 12))
        async with httpx2.AsyncClient() as http:
            answer = await http.get(gateway.url(job), headers={"x-user-id": USER, "last-event-id": "11"})
        assert (answer.status_code, answer.content) == (204, b"")


async def test_a_failed_job_ends_with_one_done_frame(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        reading = asyncio.create_task(read(gateway.url(job)))
        await EventBus(redis).emit(job, STEPS[0], FAILED, FAILED, DONE)
        events = await reading
        assert [event["event"] for event in events] == ["queued", "done"]
        assert (events[-1]["data"]["status"], events[-1]["data"]["message"]) == ("failed", FAILED.message)


async def test_headers_tell_proxies_not_to_buffer(redis: Redis) -> None:
    async with serving(url_of(redis)) as gateway:
        job = await opened(redis)
        async with (
            httpx2.AsyncClient() as http,
            http.stream("GET", gateway.url(job), headers={"x-user-id": USER}) as response,
        ):
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["cache-control"] == "no-cache"
            assert response.headers["x-accel-buffering"] == "no"


async def test_silence_is_filled_and_a_long_stream_ends_with_the_timeout_frame(redis: Redis) -> None:
    async with serving(url_of(redis), keepalive=0.1, max_duration=0.55) as gateway:
        events = await read(gateway.url(await opened(redis)))
        assert [event["event"] for event in events] == ["keepalive"] * 5 + ["error"]
        assert all("id" not in event for event in events)
        assert "timestamp" in events[0]["data"]
        assert (events[-1]["data"]["type"], events[-1]["data"]["error"]) == ("error", "timeout")
        assert isinstance(events[-1]["data"]["message"], str)


@pytest.mark.parametrize(
    ("path", "user", "status", "code"),
    [
        ("/api/v1/scan/{job}/events", "", 401, "UNAUTHORIZED"),
        ("/api/v1/scan/{job}/events", "user-2", 404, "JOB_NOT_FOUND"),
        ("/api/v1/scan/00000000-unknown/events", USER, 404, "JOB_NOT_FOUND"),
        ("/api/v1/scan/short/events", USER, 400, "INVALID_JOB_ID"),
        ("/api/v1/stream", USER, 400, "INVALID_JOB_ID"),
        ("/api/v1/stream?job_id={job}", "user-2", 404, "JOB_NOT_FOUND"),
        ("/api/v1/news/{job}/events", USER, 400, "UNSUPPORTED_SERVICE"),
        ("/api/v1/scan/{job}", USER, 404, "NOT_FOUND"),
    ],
)
async def test_refusals(redis: Redis, path: str, user: str, status: int, code: str) -> None:
    async with serving(url_of(redis)) as gateway, httpx2.AsyncClient() as http:
        job = await opened(redis)
        headers = {"x-user-id": user} if user else {}
        answer = await http.get(gateway.base + path.format(job=job), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert set(answer.json()) == {"detail", "code"}
        answer = await http.post(gateway.base + f"/api/v1/scan/{job}/events", headers=headers)
        assert answer.status_code == 405


async def test_the_legacy_route_gives_the_same_stream(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        await EventBus(redis).emit(job, STEPS[0], DONE)
        assert seqs(await read(f"{gateway.base}/api/v1/stream?job_id={job}")) == [1, 2]


# --- live copies that go wrong -----------------------------------------------------------------------------


async def logged(redis: Redis, job: str, drafts: list[Draft]) -> list[str]:
    """Frames in the job's log without any live copy."""
    await EventBus(redis).emit(job, *drafts)
    texts = [orjson.dumps(frame).decode() for frame in await streamed(redis, job)]
    for seq, text in enumerate(texts, 1):
        await redis.zadd(log_key(job), {text: seq})
    return texts


async def test_duplicated_and_reordered_live_copies_are_set_right(redis: Redis) -> None:
    async with serving(url_of(redis)) as gateway:
        job = await opened(redis)
        reading = asyncio.create_task(read(gateway.url(job)))
        await subscribed(redis, job)
        texts = await logged(redis, job, WHOLE_JOB)
        for position in (2, 2, 0, 1, 1, 5, 4, 3, 0, 10, 9, 6, 8, 7, 10):
            await redis.publish(channel(job), texts[position])
        assert seqs(await reading) == list(range(1, 12))


async def test_garbage_on_a_channel_harms_nobody(redis: Redis) -> None:
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        reading = asyncio.create_task(read(gateway.url(job)))
        await subscribed(redis, job)
        for text in ("", "{", "[]", '{"seq": 1}', "\x00"):
            await redis.publish(channel(job), text)
        await EventBus(redis).emit(job, *WHOLE_JOB)
        assert seqs(await reading) == list(range(1, 12))


async def test_lost_live_copies_are_found_in_the_log(redis: Redis) -> None:
    async with serving(url_of(redis), check=0.2) as gateway:
        job = await opened(redis)
        reading = asyncio.create_task(read(gateway.url(job)))
        await subscribed(redis, job)
        await logged(redis, job, WHOLE_JOB)
        assert seqs(await reading) == list(range(1, 12))


async def test_an_event_that_is_late_in_the_log_is_waited_for(redis: Redis) -> None:
    async with serving(url_of(redis)) as gateway:
        job = await opened(redis)
        seen: list[int] = []

        def watch(event: Event) -> bool:
            seen.append(int(event["id"]))
            return False

        reading = asyncio.create_task(read(gateway.url(job), until_event=watch))
        await subscribed(redis, job)
        texts = await logged(redis, job, WHOLE_JOB)
        await redis.zrem(log_key(job), texts[1])
        for text in (texts[0], texts[10]):
            await redis.publish(channel(job), text)

        async def first_seen() -> bool:
            return seen == [1]

        await until(first_seen)
        await redis.publish(channel(job), texts[2])
        await asyncio.sleep(0.3)
        assert seen == [1], "nothing may be sent past the missing event"
        await redis.zadd(log_key(job), {texts[1]: 2})
        assert seqs(await reading) == list(range(1, 12))


async def test_what_was_published_while_pubsub_was_cut_is_caught_up(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "BACKOFF_SECONDS", (1.0, 1.0))
    async with routing(url_of(redis)), serving(url_of(redis)) as gateway:
        job = await opened(redis)
        reading = asyncio.create_task(read(gateway.url(job)))
        await subscribed(redis, job)
        await EventBus(redis).emit(job, *WHOLE_JOB[:4])
        await redis.client_kill_filter(_type="pubsub")
        await EventBus(redis).emit(job, *WHOLE_JOB[4:])
        await forwarded(redis, job, 11)
        assert not await redis.pubsub_channels("job:*"), "published before the gateway was back"
        async with asyncio.timeout(10):
            assert seqs(await reading) == list(range(1, 12))


async def test_redis_away_in_mid_stream_keeps_the_stream_and_catches_up() -> None:
    async with RedisServer("--appendfsync", "always", aof=True) as server, AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connect(server.url))
        await stack.enter_async_context(routing(server.url))
        gateway = await stack.enter_async_context(serving(server.url, keepalive=0.2))
        job = await opened(redis)
        alive = asyncio.Event()
        down = asyncio.Event()

        def watch(event: Event) -> bool:
            if down.is_set() and event["event"] == "keepalive":
                alive.set()
            return False

        reading = asyncio.create_task(read(gateway.url(job), until_event=watch))
        await subscribed(redis, job)
        await EventBus(redis).emit(job, *WHOLE_JOB[:4])
        await forwarded(redis, job, 4)
        await server.kill()
        down.set()
        async with asyncio.timeout(5):
            await alive.wait()
        async with httpx2.AsyncClient(timeout=10) as http:
            refused = await http.get(gateway.url(job), headers={"x-user-id": USER})
            assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
            assert int(refused.headers["retry-after"]) > 0
            assert (await http.get(f"{gateway.base}/ready")).status_code == 503
            assert (await http.get(f"{gateway.base}/health")).status_code == 200
        await server.start()
        await EventBus(redis).emit(job, *WHOLE_JOB[4:])
        assert seqs(await reading) == list(range(1, 12))


# --- many, slow, leaving -----------------------------------------------------------------------------------


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


# --- sessions that end --------------------------------------------------------------------------------------


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
