"""Redis by URL, directly or through Sentinel.

`redis://[:password@]host:port/db`, `rediss://…` (TLS), or
`redis+sentinel://[:password@]host:port,host:port/master_name/db[?sentinel_password=…]`, where `password` is that of
the Redis servers. A command that meets a lost connection, a master that is away or one that became a replica is
tried again: about 2 s when the server refuses connections, up to 10 s when it vanishes in mid-command (a failover
fits). So a command may run twice; what must not is a Lua script that knows what it has done.
"""

import asyncio
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, Sentinel
from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import EqualJitterBackoff
from redis.exceptions import ReadOnlyError, RedisError

from eco2.core.errors import AWAY

AWAY.add(RedisError)

CONNECT_SECONDS = 2.0
COMMAND_SECONDS = 5.0
"""Longest wait for one answer; a blocking command has to block for less."""
POOL_WAIT_SECONDS = 5.0


class _Cancelled:
    """Passes on a cancellation that `asyncio.wait_for` of Python 3.11, which redis-py sends with, loses when it comes
    as the command has just been sent: a loop that only cancellation ends would never end."""

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        await super().send_packed_command(command, check_health)  # type: ignore[misc]
        if task and task.cancelling() > before:
            await self.disconnect(nowait=True)  # type: ignore[attr-defined] # nobody will read the answer
            raise asyncio.CancelledError


class _Connection(_Cancelled, Connection):
    pass


class _TlsConnection(_Cancelled, SSLConnection):
    pass


class _MasterConnection(_Cancelled, Connection):
    """A connection that asks the sentinels for the master each time it connects, retries included."""

    def __init__(self, *, sentinel: Sentinel, master_name: str, **kwargs: Any) -> None:
        self.sentinel = sentinel
        self.master_name = master_name
        super().__init__(**kwargs)

    async def _connect(self) -> None:
        self.host, self.port = await self.sentinel.discover_master(self.master_name)
        await super()._connect()  # type: ignore[no-untyped-call]


class _MasterPool(BlockingConnectionPool):
    """Closes the connections to the sentinels too."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.connection_kwargs["sentinel"].aclose()


def backoff() -> EqualJitterBackoff:
    return EqualJitterBackoff(base=0.25, cap=1.5)


def connect(url: str, *, retries: int = 3, max_connections: int = 20, **options: Any) -> Redis:
    """Client of the server behind `url`; it connects on first use. ValueError when the URL has another form.

    `options` go to the connections (`decode_responses=False`, `socket_timeout=…`).
    """
    return Redis.from_pool(pool(url, retries, max_connections, options))


def pool(url: str, retries: int, max_connections: int, options: dict[str, Any]) -> BlockingConnectionPool:
    settings: dict[str, Any] = {
        "decode_responses": True,
        "protocol": 2,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": COMMAND_SECONDS,
        "health_check_interval": 15,
        "retry": Retry(backoff(), retries),
        # A demoted master answers READONLY: reconnecting finds the new one.
        "retry_on_error": [ReadOnlyError],
        "max_connections": max_connections,
        "timeout": POOL_WAIT_SECONDS,
        **options,
    }
    scheme = urlsplit(url).scheme
    if scheme == "redis+sentinel":
        return _MasterPool(**settings, **_sentinel_options(url))
    if scheme in ("redis", "rediss"):
        kind = _TlsConnection if scheme == "rediss" else _Connection
        return BlockingConnectionPool(**{**settings, **parse_url(url), "connection_class": kind})
    raise ValueError("a Redis URL starts with redis://, rediss:// or redis+sentinel://")


def _sentinel_options(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    master_name, _, database = parts.path.strip("/").partition("/")
    if not master_name or not database.isdigit():
        raise ValueError("a Sentinel URL ends in /master_name/database_number")
    sentinel_password = parse_qs(parts.query).get("sentinel_password", [None])[0]
    timeouts = {"socket_timeout": CONNECT_SECONDS, "socket_connect_timeout": CONNECT_SECONDS}
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [_address(host) for host in hosts.split(",")],
        sentinel_kwargs={"password": sentinel_password, "protocol": 2, "retry": Retry(EqualJitterBackoff(), 0)}
        | timeouts,
    )
    password = unquote(credentials.partition(":")[2]) or None
    return {
        "connection_class": _MasterConnection,
        "sentinel": sentinel,
        "master_name": master_name,
        "db": int(database),
        "password": password,
    }


def _address(host: str) -> tuple[str, int]:
    name, _, port = host.rpartition(":")
    if not name or not port.isdigit():
        raise ValueError(f"a sentinel is given as host:port, not {host!r}")
    return name.strip("[]"), int(port)
