"""The denylist of ext-authz: subscribed first, read to its end, believed only while it can be."""

import asyncio
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from eco2.auth import store
from eco2.auth.store import Ended
from eco2.contracts.revocations import DENIED_STREAM
from eco2.core.redis import connect
from eco2.core.revocations import DeniedList
from eco2.ext_authz import denylist as module
from eco2.ext_authz.denylist import Denylist, Follower
from eco2.ext_authz.settings import Settings
from eco2.sse_gateway.revocations import Revocations
from tests.edge import free_ports
from tests.redis_server import RedisServer, private_redis, until

NO_BROKER = "amqp://a:b@127.0.0.1:1/eco2"


def settings(redis: str, **changes: object) -> Settings:
    return Settings(redis_streams_url=redis, broker_url=NO_BROKER, **changes)  # type: ignore[arg-type]


def revocation(seconds: int = 600) -> Ended:
    return Ended(uuid.uuid4(), seconds)


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    async with private_redis() as url:
        client = connect(url, retries=0)
        yield client
        await client.aclose()


async def complete(redis: Redis) -> None:
    run_id, _ = await store.run_id_and_complete(redis)
    await store.declare_complete(redis, run_id)


@asynccontextmanager
async def following(redis: Redis, **changes: object) -> AsyncIterator[Denylist]:
    denylist = Denylist(settings("redis://127.0.0.1:1/0", **changes))
    task = asyncio.create_task(Follower(denylist, redis, NO_BROKER).run())
    try:
        yield denylist
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_nothing_is_trusted_before_auth_has_written_everything(redis: Redis) -> None:
    row = revocation()
    await store.deny(redis, [row], 600)
    async with following(redis) as denylist:
        await asyncio.sleep(1.2)
        assert denylist.stale
        with pytest.raises(RuntimeError, match="not known"):
            await denylist.check_ready()
        assert str(row.id) in denylist  # what is known is used anyway
        await complete(redis)

        async def trusted() -> bool:
            return not denylist.stale

        await until(trusted, 3)
        await denylist.check_ready()


async def test_an_instance_that_starts_late_knows_all_and_then_follows(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DeniedList", partial(DeniedList, count=7))
    rows = [revocation() for _ in range(50)]
    await store.deny(redis, rows, 600)
    await complete(redis)
    async with following(redis) as denylist:

        async def knows_all() -> bool:
            return all(str(row.id) in denylist for row in rows) and not denylist.stale

        await until(knows_all, 3)
        later = revocation()
        await store.deny(redis, [later], 600)
        began = time.monotonic()

        async def knows_it() -> bool:
            return str(later.id) in denylist

        await until(knows_it, 3)
        assert time.monotonic() - began < 1.5
        assert len(denylist) == 51


async def test_a_server_that_restarted_is_not_believed_and_what_was_known_stays() -> None:
    row = revocation()
    async with RedisServer() as server:
        client = connect(server.url, retries=0)
        await store.deny(client, [row], 600)
        await complete(client)
        async with following(client, stale_after_unheard=timedelta(seconds=1.5)) as denylist:

            async def trusted() -> bool:
                return not denylist.stale

            await until(trusted, 3)
            await server.kill()
            await server.start()  # empty: it keeps nothing
            await asyncio.sleep(3)
            assert denylist.stale
            assert str(row.id) in denylist
            await store.deny(client, [row, other := revocation()][1:], 600)
            await complete(client)
            await until(trusted, 3)
            assert str(row.id) in denylist
            assert str(other.id) in denylist
        await client.aclose()


async def test_another_server_is_read_from_the_beginning_whatever_its_clock_says() -> None:
    """The entries of the one that took over may be older than the last one that was read."""
    async with RedisServer() as server:
        client = connect(server.url, retries=0)
        ahead: dict[Any, Any] = {"id": str(uuid.uuid4()), "until": int(time.time()) + 600}
        await client.xadd(DENIED_STREAM, ahead, id=f"{int((time.time() + 3600) * 1000)}-0")
        await complete(client)
        heard: list[str] = []
        reader = connect(server.url, retries=0)
        revocations = Revocations(reader, heard.append)
        async with following(client) as denylist:
            await until(lambda: _knows(denylist, ahead["id"]), 3)
            while await revocations.read():
                pass
            await server.kill()
            await server.start()
            row = revocation()
            await store.deny(client, [row], 600)
            await until(lambda: _knows(denylist, str(row.id)), 5)
            while await revocations.read():
                pass
            assert heard == [ahead["id"], str(row.id)]
        await client.aclose()
        await reader.aclose()


async def _knows(denylist: Denylist, session: str) -> bool:
    return session in denylist


async def test_a_marker_that_came_over_from_another_server_is_not_believed(redis: Redis) -> None:
    await store.declare_complete(redis, "f" * 40)
    async with following(redis) as denylist:
        await asyncio.sleep(1.5)
        assert denylist.stale


def test_broadcasts_bridge_an_absent_list_only_if_none_was_missed() -> None:
    denylist = Denylist(settings("redis://127.0.0.1:1/0"))
    now = time.monotonic()
    denylist.hears(True)
    denylist.was_read(now + 1)
    assert denylist.good_until == pytest.approx(now + 61, abs=1)
    denylist.hears(False)
    assert denylist.good_until == pytest.approx(now + 6, abs=1)
    denylist.hears(True)  # something may have been said in between
    denylist.was_read(now - 100)
    assert denylist.stale


def test_expired_entries_are_forgotten_and_never_taken() -> None:
    denylist = Denylist(settings("redis://127.0.0.1:1/0"))
    denylist.read("old", -1)
    assert "old" not in denylist
    denylist.read("young", 100)
    denylist.read("past", 100)
    denylist._until["past"] = time.monotonic() - 1
    denylist.forget_expired()
    assert "past" not in denylist
    assert "young" in denylist


@pytest.mark.parametrize("hours", [-4, 4, 40])
async def test_a_clock_that_is_hours_off_drops_no_revocation(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Neither that of auth-api, which writes and trims the list, nor that of ext-authz, which reads it."""
    before = revocation()
    await store.deny(redis, [before], 600)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + 3600 * hours)
    row = revocation()
    await store.deny(redis, [row], 600)
    await complete(redis)
    async with following(redis) as denylist:
        await until(lambda: _knows(denylist, str(row.id)), 3)
        await until(lambda: _knows(denylist, str(before.id)), 3)
        denylist.forget_expired()
        assert len(denylist) == 2
    entries: Any = await redis.xrange(DENIED_STREAM)
    assert [right() < int(fields["until"]) < right() + 700 for _, fields in entries] == [True, True]


def test_what_was_heard_counts_until_the_list_says_for_how_long() -> None:
    denylist = Denylist(settings("redis://127.0.0.1:1/0"))
    denylist.hear("heard")
    denylist.forget_expired()
    assert "heard" in denylist
    denylist.read("heard", 100)
    assert denylist._until["heard"] == pytest.approx(time.monotonic() + 100, abs=5)
    denylist.hear("heard")
    denylist.read("heard", -5000)  # by the clock of another server, which took over
    denylist.forget_expired()
    assert "heard" in denylist


async def test_the_list_does_not_grow_beyond_what_can_matter(redis: Redis) -> None:
    for age in (100, 50):
        stamp = int((time.time() - age) * 1000)
        for number in range(200):
            await redis.xadd(DENIED_STREAM, {"id": str(uuid.uuid4()), "until": 1}, id=f"{stamp}-{number + 1}")
    await store.deny(redis, [revocation()], 60)
    assert await redis.xlen(DENIED_STREAM) < 401
    assert 0 < await redis.ttl(DENIED_STREAM) <= 60


async def test_the_process_is_ready_with_the_list_and_serves_until_sigterm(redis: Redis) -> None:
    http, grpc_port = free_ports(2)
    url = "redis://127.0.0.1:{port}/0".format(**redis.connection_pool.connection_kwargs)
    environment = {
        **os.environ,
        "ECO2_PORT": str(http),
        "ECO2_GRPC_PORT": str(grpc_port),
        "ECO2_REDIS_STREAMS_URL": url,
        "ECO2_BROKER_URL": NO_BROKER,
    }
    command = "from eco2.ext_authz.main import run; run()"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", command, env=environment)
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{http}") as client:

            async def answers(status: int) -> bool:
                assert process.returncode is None
                try:
                    return (await client.get("/ready")).status_code == status
                except httpx2.TransportError:
                    return False

            await until(lambda: answers(503), 20)
            assert "revocations" in (await client.get("/ready")).json()["failed"]
            assert (await client.get("/health")).status_code == 200
            await complete(redis)
            await until(lambda: answers(200), 20)
            text = (await client.get("/metrics")).text
            assert "eco2_authz_decisions_total" in text
            assert "eco2_authz_denied 0.0" in text
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
