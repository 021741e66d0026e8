"""PostgreSQL: SQL on one pool per process, the only way to the database (docs/adr/0002).

A statement run on a `Database` is a transaction of its own. Several that belong together run on the `Transaction` of
`Database.transaction()`, which the edge (route, gRPC method, message, task) opens; functions of `store.py` take either
as their first argument.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, LiteralString, Protocol
from weakref import WeakSet

import orjson
from prometheus_client import Gauge, Histogram
from psycopg import AsyncConnection, AsyncCursor, InterfaceError, OperationalError
from psycopg.errors import ReadOnlySqlTransaction
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool

from eco2.core.errors import AWAY
from eco2.core.settings import DatabaseSettings

CONNECT_SECONDS = 5
OPTIONS = "-c timezone=UTC -c statement_timeout=30s"
RECONNECT_SECONDS = 10.0
"""Time for which a pool tries to replace a lost connection before it waits for somebody to ask for one: it pauses
longer after each try, and must not sleep through the moment when the server is back."""

STATEMENT_SECONDS = Histogram(
    "eco2_db_statement_seconds",
    "Time of a statement, with the wait for a connection",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)
CONNECTIONS = Gauge("eco2_db_connections", "Connections of the pools: open, and waited for", ["state"])
_POOLS: "WeakSet[AsyncConnectionPool]" = WeakSet()
CONNECTIONS.labels("open").set_function(lambda: sum(pool.get_stats().get("pool_size", 0) for pool in _POOLS))
CONNECTIONS.labels("waited_for").set_function(
    lambda: sum(pool.get_stats().get("requests_waiting", 0) for pool in _POOLS)
)

AWAY.update((OperationalError, InterfaceError))

Row = tuple[Any, ...]


class ReadOnlyDatabase(OperationalError):
    """PostgreSQL takes no writes now, as while its disk is full or it is a standby: for a write it is away.

    psycopg has a class of its own for that, which is no OperationalError."""


class Session(Protocol):
    """Statements of a store: each by itself on a `Database`, or together on a `Transaction`.

    Values are named: `row("… WHERE id = %(id)s", id=…)`. JSON columns come and go as Python objects, written with
    `psycopg.types.json.Jsonb`.
    """

    async def row(self, sql: LiteralString, **values: object) -> Row | None:
        """The first row, if any."""

    async def rows(self, sql: LiteralString, **values: object) -> Sequence[Row]:
        """All rows; none for a statement that returns none."""

    async def run(self, sql: LiteralString, **values: object) -> int:
        """Run a statement without results; returns how many rows it changed."""


def _has_rows(cursor: AsyncCursor[Row]) -> bool:
    """False for a statement that returns none. `description` would describe each column to tell that."""
    return cursor.rownumber is not None


class OneConnection:
    """Statements on one connection, each a transaction of its own, for uses of a session, such as a lock."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def row(self, sql: LiteralString, **values: object) -> Row | None:
        found = await self.rows(sql, **values)
        return found[0] if found else None

    async def rows(self, sql: LiteralString, **values: object) -> Sequence[Row]:
        with STATEMENT_SECONDS.time():
            cursor = await self._connection.execute(sql, values)
            return await cursor.fetchall() if _has_rows(cursor) else ()

    async def run(self, sql: LiteralString, **values: object) -> int:
        with STATEMENT_SECONDS.time():
            return (await self._connection.execute(sql, values)).rowcount

    @asynccontextmanager
    async def transaction(self) -> "AsyncIterator[Transaction]":
        async with self._connection.transaction():
            yield Transaction(self._connection)

    async def end_session(self) -> None:
        """End it on the server with its locks, in any state."""
        await self._connection.close()


class Transaction(OneConnection):
    """Statements that are committed together at the end of the block that opened it."""


class Database:
    """Pooled connections of psycopg on which each statement is its own transaction: one round trip, a quarter of the
    CPU of the same statement by way of a statement layer (docs/benchmarks/performance.md).

    With `repeat`, what meets a lost connection is run once more, so that nobody notices a restarted server: a
    statement, or the begin of a transaction. Give it only where running a statement twice is the same as once.
    """

    def __init__(self, pool: AsyncConnectionPool, *, repeat: bool) -> None:
        self._pool = pool
        self._repeat = repeat

    async def row(self, sql: LiteralString, **values: object) -> Row | None:
        """The first row, if any."""
        found = await self.rows(sql, **values)
        return found[0] if found else None

    async def rows(self, sql: LiteralString, **values: object) -> Sequence[Row]:
        """All rows; none for a statement that returns none."""
        return (await self._execute(sql, values))[0]

    async def rows_planned(self, sql: LiteralString, **values: object) -> Sequence[Row]:
        """All rows of a statement that PostgreSQL plans anew for the values each time: for one whose best plan depends
        on them. A prepared statement soon has one plan for all."""
        return (await self._execute(sql, values, prepare=False))[0]

    async def run(self, sql: LiteralString, **values: object) -> int:
        """Run a statement without results; returns how many rows it changed."""
        return (await self._execute(sql, values))[1]

    async def _execute(
        self, sql: LiteralString, values: dict[str, object], prepare: bool | None = None
    ) -> tuple[Sequence[Row], int]:
        if not self._repeat:
            return await self._execute_once(sql, values, prepare)
        try:
            return await self._execute_once(sql, values, prepare)
        except ReadOnlyDatabase:
            raise
        except (OperationalError, InterfaceError):
            await self._pool.check()  # after a restart every pooled connection is dead, not just the one we met
            return await self._execute_once(sql, values, prepare)

    async def _execute_once(
        self, sql: LiteralString, values: dict[str, object], prepare: bool | None
    ) -> tuple[Sequence[Row], int]:
        with STATEMENT_SECONDS.time():
            async with self._pool.connection() as connection:
                try:
                    cursor = await connection.execute(sql, values, prepare=prepare)
                except ReadOnlySqlTransaction as error:
                    raise await _read_only(connection, error) from error
                return await cursor.fetchall() if _has_rows(cursor) else (), cursor.rowcount

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One transaction: committed at the end of the block, rolled back by an error in it."""
        async with AsyncExitStack() as stack:
            yield Transaction(await self._begun(stack))

    async def _begun(self, stack: AsyncExitStack) -> AsyncConnection:
        try:
            async with AsyncExitStack() as attempt:
                connection = await self._begin(attempt)
                await stack.enter_async_context(attempt.pop_all())
                return connection
        except (OperationalError, InterfaceError):
            if not self._repeat:
                raise
            await self._pool.check()
            return await self._begin(stack)

    async def _begin(self, stack: AsyncExitStack) -> AsyncConnection:
        connection = await stack.enter_async_context(self.connection())
        await stack.enter_async_context(connection.transaction())
        return connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """The driver's connection for as long as the block, for features that `OneConnection` lacks."""
        async with self._pool.connection() as connection:
            try:
                yield connection
            except ReadOnlySqlTransaction as error:
                raise await _read_only(connection, error) from error

    @asynccontextmanager
    async def session(self) -> AsyncIterator[OneConnection]:
        """One connection for as long as the block."""
        async with self.connection() as connection:
            yield OneConnection(connection)

    async def ping(self) -> None:
        """Raises when PostgreSQL does not answer."""
        await self.row("SELECT 1")


async def _read_only(connection: AsyncConnection, error: ReadOnlySqlTransaction) -> ReadOnlyDatabase:
    """The error to raise. The connection is given up: after a failover it would lead to the former primary for ever."""
    await connection.close()
    return ReadOnlyDatabase(str(error))


async def _configure(connection: AsyncConnection) -> None:
    set_json_dumps(orjson.dumps, connection)
    set_json_loads(orjson.loads, connection)


@asynccontextmanager
async def open_database(settings: DatabaseSettings, *, repeat: bool) -> AsyncIterator[Database]:
    """A `Database` for the block. It connects on first use; PoolTimeout when there is no connection within 5 s."""
    pool = AsyncConnectionPool(
        settings.database_url,
        min_size=0,
        max_size=settings.database_pool_size,
        open=False,
        timeout=5,
        reconnect_timeout=RECONNECT_SECONDS,
        configure=_configure,
        # Prepared when first run: the statements are few and the same for ever, and a pool spreads them over its
        # connections, each of which would parse and plan every one of them another five times.
        kwargs={
            "autocommit": True,
            "prepare_threshold": 0,
            "connect_timeout": CONNECT_SECONDS,
            "options": OPTIONS,
        },
    )
    _POOLS.add(pool)
    async with pool:
        yield Database(pool, repeat=repeat)
