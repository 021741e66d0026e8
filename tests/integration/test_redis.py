import asyncio
import random
import time
from collections.abc import Callable

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from eco2.core.redis import connect
from eco2.core.shared_redis import connect_shared
from tests.redis_server import RedisServer, free_port, private_redis, sentinel_group, until

CLIENTS = pytest.mark.parametrize("connect", [connect, connect_shared], ids=["pooled", "shared"])
Connect = Callable[..., Redis]


@CLIENTS
async def test_answers_are_text_unless_asked_otherwise(connect: Connect) -> None:
    async with private_redis() as url:
        async with connect(url) as redis:
            await redis.set("k", "값")
            assert await redis.get("k") == "값"
        async with connect(url, decode_responses=False) as redis:
            assert await redis.get("k") == "값".encode()


@CLIENTS
async def test_password_and_database_of_the_url_are_used(connect: Connect) -> None:
    async with RedisServer("--requirepass", "s3cret") as server:
        async with connect(f"redis://:s3cret@127.0.0.1:{server.port}/3") as redis:
            await redis.set("k", "v")
            assert (await redis.client_info())["db"] == 3
        async with connect(f"redis://:wrong@127.0.0.1:{server.port}/3", retries=0) as redis:
            with pytest.raises(AuthenticationError):
                await redis.get("k")


@CLIENTS
async def test_a_restart_between_two_commands_is_not_seen(connect: Connect) -> None:
    async with RedisServer(aof=True) as server, connect(server.url) as redis:
        await redis.set("k", "v")
        await server.stop()
        await server.start()
        assert await redis.get("k") == "v"


@pytest.mark.parametrize("pipelined", [False, True], ids=["command", "pipeline"])
@CLIENTS
async def test_a_loop_of_commands_ends_when_cancelled(connect: Connect, pipelined: bool) -> None:
    """`asyncio.wait_for` of Python 3.11 loses a cancellation that comes when what it waits for is just done."""

    async def ping(redis: Redis) -> None:
        while True:
            if pipelined:
                async with redis.pipeline(transaction=False) as pipe:
                    pipe.ping()
                    await pipe.execute()
            else:
                await redis.ping()

    async with private_redis() as url:
        clients = [connect(url) for _ in range(50)]
        tasks = [asyncio.create_task(ping(client)) for client in clients]
        for task in tasks:
            await asyncio.sleep(random.random() * 0.02)
            task.cancel()
        _, running = await asyncio.wait(tasks, timeout=5)
        went_on = len(running)
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=0.1)
        for client in clients:
            assert await client.ping()  # no answer of a cancelled command is left on a connection
            await client.aclose()
    assert not went_on


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


@CLIENTS
async def test_writes_reach_the_new_master_within_seconds_of_a_failover(connect: Connect) -> None:
    async with sentinel_group() as group, connect(group.url(1)) as redis:
        await redis.set("written", "before")
        assert await redis.wait(1, 2000) == 1
        # The first sentinel of the list dies too: the others have to do.
        await group.sentinels[0].kill()
        await group.master.kill()
        started = time.monotonic()
        await until(lambda: _writes(redis), 15)
        assert time.monotonic() - started < 10
        async with connect(f"redis://:s3cret@127.0.0.1:{group.replica.port}/1") as direct:
            assert await direct.mget("written", "again") == ["before", "yes"]


async def _writes(redis: Redis) -> bool:
    try:
        return bool(await redis.set("again", "yes"))
    except RedisError:
        return False


@CLIENTS
async def test_a_write_that_meets_a_replica_is_tried_again(connect: Connect) -> None:
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


async def test_callers_of_a_shared_connection_get_their_own_answers() -> None:
    async with private_redis() as url, connect_shared(url) as redis:
        await asyncio.gather(*(redis.set(f"k{n}", n) for n in range(500)))
        left = [asyncio.ensure_future(redis.get(f"k{n}")) for n in range(500)]
        await asyncio.sleep(0)
        for one in left[::3]:
            one.cancel()
        found = await asyncio.gather(*left, return_exceptions=True)
        for n, answer in enumerate(found):
            assert isinstance(answer, asyncio.CancelledError) if n % 3 == 0 else answer == str(n)
        assert len(await redis.client_list()) == 1


async def test_an_error_is_that_of_its_own_command() -> None:
    async with private_redis() as url, connect_shared(url) as redis:
        await redis.set("text", "words")
        added, counted, read = await asyncio.gather(
            redis.sadd("text", "x"), redis.incr("n"), redis.get("text"), return_exceptions=True
        )
        assert isinstance(added, ResponseError)
        assert (counted, read) == (1, "words")


async def test_a_server_that_does_not_answer_is_given_up_for_everybody() -> None:
    async with private_redis() as url, connect_shared(url, retries=0, socket_timeout=0.5) as redis:
        await redis.set("k", "v")
        async with connect(url) as control:
            await control.client_pause(2000)
            answers = await asyncio.gather(redis.get("k"), redis.get("k"), return_exceptions=True)
            assert [type(answer) for answer in answers] == [RedisTimeoutError] * 2
            await control.client_unpause()
        assert await redis.get("k") == "v"


async def test_a_lost_answer_is_an_error_without_retries() -> None:
    async with RedisServer() as server, connect_shared(server.url, retries=0) as redis:
        await redis.ping()
        waiting = asyncio.ensure_future(redis.blpop(["none"], timeout=4))
        await asyncio.sleep(0.1)
        await server.kill()
        with pytest.raises(RedisConnectionError):
            await waiting


async def test_a_server_that_never_answers_is_waited_for_once_by_all() -> None:
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", free_port()) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect_shared(f"redis://127.0.0.1:{port}/2", retries=0, socket_timeout=0.5) as redis:
            started = time.monotonic()
            answers = await asyncio.gather(*(redis.get("k") for _ in range(20)), return_exceptions=True)
            assert all(isinstance(answer, RedisError) for answer in answers)
            assert time.monotonic() - started < 3
