"""api-worker: the tasks of `q.api`, short calls of third-party APIs (docs/adr/0017)."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from pydantic import Field
from redis.asyncio import Redis

from eco2.auth import verification
from eco2.auth.oauth import Providers
from eco2.auth.settings import ProviderSettings
from eco2.contracts.queues import Q_API
from eco2.contracts.tasks import MAP_SEARCH, OAUTH_VERIFY
from eco2.core import redis
from eco2.core.ops import Check
from eco2.core.settings import CacheSettings, TasksWorkerSettings, load
from eco2.location import worker as map_search
from eco2.location.kakao import Kakao
from eco2.location.settings import KakaoSettings
from eco2.messaging.broker import Publisher
from eco2.messaging.celery_worker import run_worker
from eco2.messaging.dead_letters import guarded

NAME = "api-worker"


class Settings(TasksWorkerSettings, CacheSettings, ProviderSettings, KakaoSettings):
    worker_concurrency: int = Field(default=4, ge=1)


@dataclass(frozen=True)
class Resources:
    cache: Redis
    providers: Providers
    kakao: Kakao
    publisher: Publisher

    def checks(self) -> Mapping[str, Check]:
        return {"redis-cache": self.cache.ping}


async def verify(resources: Resources, number: str) -> None:
    await verification.perform(resources.cache, resources.providers, number)


async def search(resources: Resources, ticket: str) -> None:
    await map_search.perform(resources.cache, resources.kakao, ticket)


def _publisher(resources: Resources) -> Publisher:
    return resources.publisher


TASKS = {
    OAUTH_VERIFY.name: guarded(OAUTH_VERIFY, verify, _publisher),
    MAP_SEARCH.name: guarded(MAP_SEARCH, search, _publisher),
}


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    async with AsyncExitStack() as stack:
        cache = redis.connect(settings.redis_cache_url, decode_responses=False)
        providers, publisher = Providers(settings), Publisher(settings.tasks_broker_url)
        kakao = Kakao(settings, cache)
        for close in (cache.aclose, providers.close, kakao.aclose, publisher.close):
            stack.push_async_callback(close)
        yield Resources(cache, providers, kakao, publisher)


def run() -> None:
    settings = load(Settings)
    run_worker(
        NAME,
        settings,
        lambda: open_resources(settings),
        TASKS,
        [Q_API],
        Resources.checks,
        _publisher,
    )
