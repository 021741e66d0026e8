"""PostgreSQL by way of SQLAlchemy: one metadata, one engine per process, transactions opened by the edge.

Each domain keeps its tables in a schema of its own (`Table(..., metadata, schema="scan")`); `migrations/` is the one
history. The hot path of scans uses `eco2.core.postgres` instead.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from psycopg.errors import ReadOnlySqlTransaction
from sqlalchemy import MetaData, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from eco2.core.errors import AWAY
from eco2.core.postgres import CONNECT_SECONDS, OPTIONS
from eco2.core.settings import DatabaseSettings

AWAY.update((OperationalError, InterfaceError, PoolTimeout))

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def psycopg_url(url: str) -> URL:
    """`postgresql://…` with the driver that we use."""
    return make_url(url).set(drivername="postgresql+psycopg")


@asynccontextmanager
async def open_engine(settings: DatabaseSettings, *, test: bool = True) -> AsyncIterator[AsyncEngine]:
    """A pooled engine. With `test` a connection is tested before each use, so that nobody notices a restarted server.

    A worker that rides out outages does without: the test costs more than most of its statements.
    """
    engine = create_async_engine(
        psycopg_url(settings.database_url),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=test,
        connect_args={"connect_timeout": CONNECT_SECONDS, "options": OPTIONS},
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
    )
    event.listen(engine.sync_engine, "handle_error", _read_only_is_away, retval=True)
    try:
        yield engine
    finally:
        await engine.dispose()


def _read_only_is_away(context: ExceptionContext) -> OperationalError | None:
    """For a write, a database that takes none is away (`postgres.ReadOnlyDatabase`); its connections are given up."""
    error = context.original_exception
    if not isinstance(error, ReadOnlySqlTransaction):
        return None
    context.is_disconnect = True
    return OperationalError(context.statement, context.parameters, error)


async def ping(engine: AsyncEngine) -> None:
    """Raises when PostgreSQL does not answer."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
