"""A private redis-server per test: `async with private_redis(aof=True) as url`."""

import asyncio
import contextlib
import random
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from redis.exceptions import RedisError

from eco2.core.redis import connect

PORTS = range(11000, 12000)
START_SECONDS = 10.0


def free_port() -> int:
    """A port that nobody listens on now, below those that the kernel hands to clients."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port in {PORTS}")


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = START_SECONDS) -> None:
    """Wait until the condition holds; TimeoutError when it does not in time."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


class RedisServer:
    """One redis-server (or, with `sentinel`, redis-sentinel) process; its data outlives a restart with `aof`."""

    def __init__(self, *options: str, aof: bool = False, sentinel: str = "") -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="eco2-redis-"))
        self.config = self.directory / "redis.conf"
        self.config.write_text(sentinel)
        self.sentinel = bool(sentinel)
        persistence = ["--appendonly", "yes" if aof else "no", "--save", "", "--repl-diskless-sync-delay", "0"]
        self.options = [*options, *([] if sentinel else persistence)]
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory), *self.options]
        self.process = await asyncio.create_subprocess_exec(
            "redis-sentinel" if self.sentinel else "redis-server",
            *[str(self.config), *arguments],
            stdout=asyncio.subprocess.DEVNULL,
        )
        await until(self._answers)

    async def _answers(self) -> bool:
        if self.process is None or self.process.returncode is not None:
            raise RuntimeError(f"redis-server on port {self.port} did not start")
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.write(b"PING\r\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    async def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process and self.process.returncode is None:
            self.process.send_signal(number)
            await self.process.wait()

    async def kill(self) -> None:
        await self.stop(signal.SIGKILL)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self._remove()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._remove()

    async def _remove(self) -> None:
        await self.kill()
        shutil.rmtree(self.directory)


@asynccontextmanager
async def private_redis(aof: bool = False) -> AsyncIterator[str]:
    async with RedisServer(aof=aof) as server:
        yield server.url


SENTINEL = """
sentinel monitor eco2 127.0.0.1 {port} 2
sentinel down-after-milliseconds eco2 1000
sentinel failover-timeout eco2 5000
sentinel auth-pass eco2 s3cret
"""


@dataclass(frozen=True)
class Group:
    """A master, its replica, and three sentinels that know both; `url` follows the master."""

    master: RedisServer
    replica: RedisServer
    sentinels: tuple[RedisServer, ...]

    def url(self, database: int = 0) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://:s3cret@{hosts}/eco2/{database}"

    async def master_now(self) -> RedisServer:
        """By the first sentinel that answers."""
        for sentinel in self.sentinels:
            with contextlib.suppress(RedisError, OSError):
                async with connect(sentinel.url) as client:
                    masters = cast(dict[str, dict[str, Any]], await client.sentinel_masters())
                return self.master if masters["eco2"]["port"] == self.master.port else self.replica
        raise RuntimeError("no sentinel answers")

    async def is_replica(self, server: RedisServer) -> bool:
        """True once it follows the other one, and has what that has."""
        with contextlib.suppress(RedisError, OSError):
            async with connect(f"redis://:s3cret@127.0.0.1:{server.port}/0") as client:
                found = await client.info("replication")
            return bool(found["role"] == "slave" and found["master_link_status"] == "up")
        return False


@asynccontextmanager
async def sentinel_group() -> AsyncIterator[Group]:
    async with AsyncExitStack() as servers:
        secret = ("--requirepass", "s3cret", "--masterauth", "s3cret")
        master = await servers.enter_async_context(RedisServer(*secret))
        replica = await servers.enter_async_context(RedisServer(*secret, "--replicaof", "127.0.0.1", str(master.port)))
        text = SENTINEL.format(port=master.port)
        sentinels = [await servers.enter_async_context(RedisServer(sentinel=text)) for _ in range(3)]
        for sentinel in sentinels:
            await _settled(sentinel)
        yield Group(master, replica, tuple(sentinels))


async def _settled(sentinel: RedisServer) -> None:
    async with connect(sentinel.url) as client:

        async def knows_all() -> bool:
            masters = cast(dict[str, dict[str, Any]], await client.sentinel_masters())
            state = masters["eco2"]
            return bool(state["num-slaves"] == 1 and state["num-other-sentinels"] == 2)

        await until(knows_all, 15)
