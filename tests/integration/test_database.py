"""Statements without a statement layer, on the server of the session's stack."""

from typing import LiteralString

import httpx2
import pytest
from fastapi import APIRouter
from sqlalchemy import text

from eco2.core.app import api_app
from eco2.core.errors import AWAY
from eco2.core.postgres import open_database
from eco2.core.settings import DatabaseSettings
from eco2.core.tables import open_engine
from tests.conftest import FromStack


async def test_a_statement_is_prepared_when_a_connection_first_runs_it(settings: FromStack) -> None:
    own = settings(DatabaseSettings).model_copy(update={"database_pool_size": 1})
    async with open_database(own, repeat=False) as database:
        assert await database.row("SELECT %(number)s + 1", number=1) == (2,)
        prepared = await database.rows("SELECT statement FROM pg_prepared_statements")
    assert ("SELECT $1 + 1",) in prepared


READ_ONLY: LiteralString = "SET default_transaction_read_only = on"
WRITE: LiteralString = "INSERT INTO scan.preferences (user_id, version, language) VALUES (gen_random_uuid(), 1, 'ko')"


@pytest.mark.parametrize("repeat", [False, True])
async def test_a_database_that_takes_no_writes_is_away_for_them(settings: FromStack, repeat: bool) -> None:
    """And its connection is given up: after a failover it would lead to the former primary."""
    own = settings(DatabaseSettings).model_copy(update={"database_pool_size": 1})
    async with open_database(own, repeat=repeat) as database:
        await database.rows(READ_ONLY)
        assert await database.row("SELECT 1") == (1,)
        with pytest.raises(tuple(AWAY)):
            await database.rows(WRITE)
        await database.rows(WRITE)
        await database.rows(READ_ONLY)
        with pytest.raises(tuple(AWAY)):
            async with database.connection() as connection:
                await connection.execute(WRITE)
        await database.rows(WRITE)


async def test_a_database_that_takes_no_writes_is_away_for_the_statement_layer(settings: FromStack) -> None:
    own = settings(DatabaseSettings).model_copy(update={"database_pool_size": 1})
    async with open_engine(own) as engine:
        async with engine.begin() as tx:
            await tx.execute(text(READ_ONLY))
        with pytest.raises(tuple(AWAY)):
            async with engine.begin() as tx:
                await tx.execute(text(WRITE))
        async with engine.begin() as tx:
            await tx.execute(text(WRITE))


async def test_an_api_says_that_a_database_without_writes_is_away(settings: FromStack) -> None:
    own = settings(DatabaseSettings).model_copy(update={"database_pool_size": 1})
    async with open_engine(own) as engine, open_database(own, repeat=True) as database:
        router = APIRouter()

        @router.post("/lean")
        async def lean() -> None:
            await database.rows(READ_ONLY)
            await database.rows(WRITE)

        @router.post("/tables")
        async def tables() -> None:
            async with engine.begin() as tx:
                await tx.execute(text("SET transaction_read_only = on"))
                await tx.execute(text(WRITE))

        transport = httpx2.ASGITransport(api_app("test", router))
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            for path in ("/lean", "/tables"):
                answer = await client.post(path)
                assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
                assert answer.headers["retry-after"]
