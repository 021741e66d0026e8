"""Statements without a statement layer, on the server of the session's stack."""

from eco2.core.postgres import open_database
from eco2.core.settings import DatabaseSettings
from tests.conftest import FromStack


async def test_a_statement_is_prepared_when_a_connection_first_runs_it(settings: FromStack) -> None:
    own = settings(DatabaseSettings).model_copy(update={"database_pool_size": 1})
    async with open_database(own, repeat=False) as database:
        assert await database.row("SELECT %(number)s + 1", number=1) == (2,)
        prepared = await database.rows("SELECT statement FROM pg_prepared_statements")
    assert ("SELECT $1 + 1",) in prepared
