"""Statements without a statement layer, on the server of the session's stack."""

import uuid
from typing import LiteralString

import httpx2
import pytest
from fastapi import APIRouter
from psycopg import OperationalError
from psycopg.errors import UniqueViolation

from eco2.core.app import api_app
from eco2.core.errors import AWAY
from eco2.core.postgres import open_database
from eco2.core.settings import DatabaseSettings
from tests.conftest import FromStack


async def test_a_statement_is_prepared_when_a_connection_first_runs_it(settings: FromStack) -> None:
    own = settings(DatabaseSettings).model_copy(update={"database_pool_size": 1})
    async with open_database(own, repeat=False) as database:
        assert await database.row("SELECT %(number)s + 1", number=1) == (2,)
        prepared = await database.rows("SELECT statement FROM pg_prepared_statements")
    assert ("SELECT $1 + 1",) in prepared


READ_ONLY: LiteralString = "SET default_transaction_read_only = on"
PREFER: LiteralString = "INSERT INTO scan.preferences (user_id, version, language) VALUES (%(user)s, 1, 'ko')"
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


async def test_a_transaction_is_whole_or_not_at_all(settings: FromStack) -> None:
    user = uuid.uuid4()
    async with open_database(settings(DatabaseSettings), repeat=False) as database:

        async def twice() -> None:
            async with database.transaction() as tx:
                assert await tx.run(PREFER, user=user) == 1
                assert await tx.row("SELECT 1 FROM scan.preferences WHERE user_id = %(user)s", user=user)
                assert await database.row("SELECT 1 FROM scan.preferences WHERE user_id = %(user)s", user=user) is None
                await tx.run(PREFER, user=user)

        with pytest.raises(UniqueViolation):
            await twice()
        assert await database.row("SELECT 1 FROM scan.preferences WHERE user_id = %(user)s", user=user) is None
        async with database.transaction() as tx:
            await tx.run(PREFER, user=user)
        assert await database.run("DELETE FROM scan.preferences WHERE user_id = %(user)s", user=user) == 1


async def test_a_transaction_without_writes_gives_its_connection_up(settings: FromStack) -> None:
    own = settings(DatabaseSettings).model_copy(update={"database_pool_size": 1})
    async with open_database(own, repeat=True) as database:
        await database.rows(READ_ONLY)
        with pytest.raises(tuple(AWAY)):
            async with database.transaction() as tx:
                await tx.rows(WRITE)
        async with database.transaction() as tx:
            await tx.rows(WRITE)


@pytest.mark.parametrize("repeat", [True, False])
async def test_a_lost_connection_is_not_noticed_at_the_begin_of_a_transaction(
    settings: FromStack, repeat: bool
) -> None:
    async with open_database(settings(DatabaseSettings), repeat=repeat) as database, database.connection() as other:
        async with database.transaction() as tx:
            row = await tx.row("SELECT pg_backend_pid()")
        assert row is not None
        await other.execute("SELECT pg_terminate_backend(%s, 5000)", row)
        try:
            async with database.transaction() as tx:
                assert await tx.row("SELECT 1") == (1,)
        except OperationalError:
            assert not repeat
        else:
            assert repeat


async def test_an_api_says_that_a_database_without_writes_is_away(settings: FromStack) -> None:
    own = settings(DatabaseSettings).model_copy(update={"database_pool_size": 1})
    async with open_database(own, repeat=True) as database:
        router = APIRouter()

        @router.post("/lean")
        async def lean() -> None:
            await database.rows(READ_ONLY)
            await database.rows(WRITE)

        @router.post("/together")
        async def together() -> None:
            async with database.transaction() as tx:
                await tx.run("SET transaction_read_only = on")
                await tx.run(WRITE)

        transport = httpx2.ASGITransport(api_app("test", router))
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            for path in ("/lean", "/together"):
                answer = await client.post(path)
                assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
                assert answer.headers["retry-after"]
