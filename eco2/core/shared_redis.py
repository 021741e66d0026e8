"""A Redis client whose commands share one connection (docs/adr/0022)."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis
from redis._parsers import BaseParser
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from eco2.core.redis import backoff, connect, pool
from eco2.core.short_cuts import ShortCut, taken


class _Line(asyncio.Protocol):
    """One connection for every caller of a loop: commands leave as they come, answers come in the same order."""

    def __init__(self, made: Any, options: dict[str, Any]) -> None:
        # redis-py made the connection (TLS, sentinels, AUTH, SELECT, each answered): from here on it is ours.
        self._writer: asyncio.StreamWriter = made._writer
        made._reader = made._writer = None
        self._transport = self._writer.transport
        self._answers = hiredis.Reader(
            encoding="utf-8" if options["decode_responses"] else None,
            errors=options.get("encoding_errors", "strict"),
            replyError=BaseParser.parse_error,
            notEnoughData=_NO_ANSWER,
        )
        self._patience: float = options["socket_timeout"]
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._loop = asyncio.get_running_loop()
        self._moved = self._loop.time()
        self.lost = False
        self._transport.set_protocol(self)
        self._watch()

    def send(self, command: bytes) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        if not self._waiting:
            self._moved = self._loop.time()
        self._waiting.append(future)
        self._transport.write(command)
        return future

    def data_received(self, data: bytes) -> None:
        self._answers.feed(data)
        self._moved = self._loop.time()
        try:
            while (answer := self._answers.gets()) is not _NO_ANSWER:
                future = self._waiting.popleft()
                if future.done():  # its caller was cancelled
                    continue
                if isinstance(answer, RedisError):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
        except (hiredis.HiredisError, UnicodeDecodeError, IndexError) as error:
            self.abort(RedisConnectionError(f"not an answer of Redis: {error!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.abort(RedisConnectionError(f"connection lost: {exc or 'closed by the server'}"))

    def _watch(self) -> None:
        """One timer for all commands in place of one for each."""
        if self.lost:
            return
        if self._waiting and self._loop.time() - self._moved > self._patience:
            self.abort(RedisTimeoutError(f"no answer for {self._patience:g} s"))
            return
        self._loop.call_later(self._patience / 5, self._watch)

    def abort(self, error: RedisError) -> None:
        """Waiting callers get the error; their commands may have been executed."""
        self.lost = True
        self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(error)


_NO_ANSWER = object()


class SharedRedis(Redis):
    """A client whose commands share one connection, for a fifth to a half of the CPU (docs/adr/0022).

    No command may block (`BLPOP`, `XREADGROUP … BLOCK`), unless its caller has the client alone. Pipelines and Pub/Sub
    take connections of the pool, as in any other client.
    """

    def __init__(self, pool: BlockingConnectionPool, retries: int) -> None:
        super().__init__(connection_pool=pool)
        self._retries = retries
        self._line: _Line | None = None
        self._connecting: asyncio.Task[_Line] | None = None

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        if "NEVER_DECODE" in options or "EMPTY_RESPONSE" in options:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        options.pop("keys", None)  # for a cache on the client's side
        answer = await self.raw(*args)
        parse = cast(Callable[..., Any] | None, self.response_callbacks.get(args[0]))
        return parse(answer, **options) if parse else answer

    async def raw(self, *args: Any) -> Any:
        """The answer as the server gives it."""
        command = hiredis.pack_command((*args[0].split(), *args[1:]) if " " in args[0] else args)
        line = self._line
        try:
            if line is None or line.lost:
                line = await self._connected()
            return await line.send(command)
        except (RedisConnectionError, RedisTimeoutError, ReadOnlyError) as error:
            return await self._again(command, error)

    async def _again(self, command: bytes, error: RedisError) -> Any:
        first: list[RedisError] = [error]

        async def once() -> Any:
            if first:
                raise first.pop()
            return await (await self._connected()).send(command)

        async def leave(error: Exception) -> None:
            if isinstance(error, ReadOnlyError) and self._line:  # a demoted master
                self._line.abort(error)

        return await Retry(backoff(), self._retries, _PASSING).call_with_retry(once, leave)

    async def _connected(self) -> _Line:
        """The line, made once for all who ask meanwhile: a server that does not answer is waited for once."""
        if self._line is None or self._line.lost:
            if self._connecting is None or self._connecting.done():
                self._connecting = asyncio.ensure_future(self._connect())
                self._connecting.add_done_callback(lambda made: made.cancelled() or made.exception())
            await asyncio.shield(self._connecting)
        assert self._line is not None
        return self._line

    async def _connect(self) -> _Line:
        connection = self.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect_check_health(check_health=False, retry_socket_connect=False)
        self._line = _Line(connection, self.connection_pool.connection_kwargs)
        return self._line

    async def aclose(self, close_connection_pool: bool | None = True) -> None:
        if self._connecting:
            self._connecting.cancel()
        if self._line:
            self._line.abort(RedisConnectionError("the client was closed"))
        await super().aclose(close_connection_pool)


_PASSING = (RedisConnectionError, RedisTimeoutError, ReadOnlyError)


def connect_shared(url: str, *, retries: int = 3, **options: Any) -> Redis:
    """Client of the server behind `url` on one connection; made within the loop that uses it."""
    if not taken(ShortCut.REDIS_LINE):
        return connect(url, retries=retries, **options)
    return SharedRedis(pool(url, retries, 20, options), retries)
