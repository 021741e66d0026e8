"""In-process services on the servers of the session's stack; the emulated LLM and a Redis of one's own."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from eco2 import knowledge
from eco2.core import redis
from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings
from eco2.core.storage import Storage
from eco2.llm import budget
from eco2.messaging.broker import Publisher
from eco2.messaging.events import EventBus
from eco2.photos.pool import Decoders
from eco2.photos.settings import PhotoSettings
from eco2.scan.services import Services
from eco2.scan.settings import ApiSettings
from tests.conftest import FromStack
from tests.llm_emulator import Emulator, emulated
from tests.redis_server import private_redis


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


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    async with emulated() as emulator:
        yield emulator


@pytest.fixture
async def emulator(shared_emulator: Emulator) -> Emulator:
    """The emulated LLM, which answers at once and without faults, and has been asked nothing."""
    await shared_emulator.forget()
    return shared_emulator


@pytest.fixture(scope="module")
async def redis_url() -> AsyncIterator[str]:
    async with private_redis() as url:
        yield url


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[Redis]:
    """Empty, and no other module's."""
    async with redis.connect(redis_url) as client:
        await client.flushall()
        yield client


@pytest.fixture
def one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day of the budget does not end in the middle of a test."""
    day = budget.today()
    monkeypatch.setattr(budget, "today", lambda: day)
