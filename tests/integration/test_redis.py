import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError

from eco2.core.redis import connect
from tests.redis_server import RedisServer, private_redis, until

SENTINEL = """
sentinel monitor eco2 127.0.0.1 {port} 2
sentinel down-after-milliseconds eco2 1000
sentinel failover-timeout eco2 5000
sentinel auth-pass eco2 s3cret
"""


async def test_answers_are_text_unless_asked_otherwise() -> None:
    async with private_redis() as url:
        async with connect(url) as redis:
            await redis.set("k", "값")
            assert await redis.get("k") == "값"
        async with connect(url, decode_responses=False) as redis:
            assert await redis.get("k") == "값".encode()


async def test_password_and_database_of_the_url_are_used() -> None:
    async with RedisServer("--requirepass", "s3cret") as server:
        async with connect(f"redis://:s3cret@127.0.0.1:{server.port}/3") as redis:
            await redis.set("k", "v")
            assert (await redis.client_info())["db"] == 3
        async with connect(f"redis://:wrong@127.0.0.1:{server.port}/3", retries=0) as redis:
            with pytest.raises(AuthenticationError):
                await redis.get("k")


async def test_a_restart_between_two_commands_is_not_seen() -> None:
    async with RedisServer(aof=True) as server, connect(server.url) as redis:
        await redis.set("k", "v")
        await server.stop()
        await server.start()
        assert await redis.get("k") == "v"


async def test_the_pool_is_bounded_and_waits() -> None:
    async with private_redis() as url, connect(url, max_connections=2) as redis:
        waits = [redis.blpop(["none"], timeout=0.2) for _ in range(6)]
        await asyncio.gather(*waits)
        assert len(await redis.client_list()) <= 2


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:6379/0",
        "redis+sentinel://127.0.0.1:26379",
        "redis+sentinel://127.0.0.1:26379/eco2",
        "redis+sentinel://127.0.0.1/eco2/0",
    ],
)
def test_another_form_of_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"Redis URL|Sentinel URL|sentinel"):
        connect(url)


async def test_writes_reach_the_new_master_within_seconds_of_a_failover() -> None:
    async with AsyncExitStack() as servers:
        secret = ("--requirepass", "s3cret", "--masterauth", "s3cret")
        master = await servers.enter_async_context(RedisServer(*secret))
        replica = await servers.enter_async_context(RedisServer(*secret, "--replicaof", "127.0.0.1", str(master.port)))
        text = SENTINEL.format(port=master.port)
        sentinels = [await servers.enter_async_context(RedisServer(sentinel=text)) for _ in range(3)]
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        redis = await servers.enter_async_context(connect(f"redis+sentinel://:s3cret@{hosts}/eco2/1"))
        for sentinel in sentinels:
            await _settled(sentinel)
        await redis.set("written", "before")
        assert await redis.wait(1, 2000) == 1
        # The first sentinel of the list dies too: the others have to do.
        await sentinels[0].kill()
        await master.kill()
        started = time.monotonic()
        await until(lambda: _writes(redis), 15)
        assert time.monotonic() - started < 10
        async with connect(f"redis://:s3cret@127.0.0.1:{replica.port}/1") as direct:
            assert await direct.mget("written", "again") == ["before", "yes"]


async def _settled(sentinel: RedisServer) -> None:
    async with connect(sentinel.url) as client:

        async def knows_all() -> bool:
            state = await _state(client)
            return bool(state["num-slaves"] == 1 and state["num-other-sentinels"] == 2)

        await until(knows_all, 15)


async def _state(sentinel: Redis) -> dict[str, Any]:
    masters = cast(dict[str, dict[str, Any]], await sentinel.sentinel_masters())
    return masters["eco2"]


async def _writes(redis: Redis) -> bool:
    try:
        return bool(await redis.set("again", "yes"))
    except RedisError:
        return False


async def test_a_write_that_meets_a_replica_is_tried_again() -> None:
    async with private_redis() as url, connect(url) as redis, connect(url) as control:
        await redis.set("k", "1")
        await control.replicaof("127.0.0.1", 1)
        writing = asyncio.ensure_future(redis.set("k", "2"))

        async def refused() -> bool:
            return "errorstat_READONLY" in await control.info("errorstats")

        await until(refused)
        await control.replicaof("NO", "ONE")
        assert await writing
        assert await redis.get("k") == "2"
