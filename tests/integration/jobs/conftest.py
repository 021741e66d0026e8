"""A database of their own for the tests of jobs, so that the running scheduler plans nothing in it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from eco2.core import migrations
from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings
from eco2.jobs.dead_letters import Urls
from eco2.messaging.broker import Publisher
from tests.databases import new_database


@pytest.fixture(scope="module")
def database_url(environment: dict[str, str]) -> Iterator[str]:
    """A migrated database that is gone afterwards."""
    with new_database(environment["ECO2_DATABASE_URL"], "jobs") as url:
        migrations.upgrade(url)
        yield url


@pytest.fixture
async def own(database_url: str) -> AsyncIterator[Database]:
    """The database, with empty tables of jobs."""
    async with open_database(DatabaseSettings(database_url=database_url), repeat=False) as own:
        await own.run("TRUNCATE jobs.runs, jobs.schedule, jobs.daily_stats, scan.jobs, scan.feedback")
        yield own


@pytest.fixture
async def tasks(environment: dict[str, str]) -> AsyncIterator[Publisher]:
    """Publisher of vhost `tasks`."""
    publisher = Publisher(environment["ECO2_TASKS_BROKER_URL"])
    yield publisher
    await publisher.close()


@pytest.fixture(scope="session")
def urls(environment: dict[str, str]) -> Urls:
    return Urls(environment["ECO2_BROKER_URL"], environment["ECO2_TASKS_BROKER_URL"])
