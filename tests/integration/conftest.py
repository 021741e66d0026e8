"""In-process services on the servers of the session's stack."""

from collections.abc import AsyncIterator

import pytest

from eco2 import knowledge
from eco2.core import redis
from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings
from eco2.core.storage import Storage
from eco2.messaging.broker import Publisher
from eco2.messaging.events import EventBus
from eco2.photos.pool import Decoders
from eco2.photos.settings import PhotoSettings
from eco2.scan.services import Services
from eco2.scan.settings import ApiSettings
from tests.conftest import FromStack


@pytest.fixture(scope="session")
async def publisher(environment: dict[str, str]) -> AsyncIterator[Publisher]:
    publisher = Publisher(environment["ECO2_BROKER_URL"])
    yield publisher
    await publisher.close()


@pytest.fixture(scope="session")
async def database(settings: FromStack) -> AsyncIterator[Database]:
    async with open_database(settings(DatabaseSettings), repeat=True) as database:
        yield database


@pytest.fixture(scope="session")
async def services(settings: FromStack, database: Database, publisher: Publisher) -> AsyncIterator[Services]:
    """Dependencies of scan-api."""
    own = settings(ApiSettings)
    streams = redis.connect(own.redis_streams_url)
    yield Services(
        db=database,
        storage=Storage(own),
        bus=EventBus(streams),
        publisher=publisher,
        knowledge=knowledge.load(),
        upload_secret=own.upload_secret,
    )
    await streams.aclose()


@pytest.fixture(scope="session")
async def decoders() -> AsyncIterator[Decoders]:
    async with Decoders(PhotoSettings()) as decoders:
        yield decoders
