"""`map.search`: repeats a search that Kakao was late to answer, in `q.api`, for the next user.

The search is cached for TICKET_SECONDS, as long as a message waits in `q.api`; the message carries its id.
"""

import logging
from dataclasses import asdict

import orjson
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.contracts.queues import TASKS_EXCHANGE
from eco2.contracts.tasks import MAP_SEARCH
from eco2.location import store
from eco2.location.kakao import Kakao, KakaoUnavailable, Query
from eco2.messaging.broker import BrokerDown, Publisher

log = logging.getLogger(__name__)

TICKET_SECONDS = 300

SEARCHES = Counter("eco2_map_searches_total", "Searches in the background, by what became of them", ["status"])


class Background:
    """Orders searches. One that cannot be ordered is dropped, as no user waits for it."""

    def __init__(self, cache: Redis, publisher: Publisher) -> None:
        self._cache, self._publisher = cache, publisher

    async def search(self, query: Query) -> None:
        """The same question is ordered once in TICKET_SECONDS."""
        task, ticket = MAP_SEARCH, query.digest()
        try:
            if not await self._cache.set(
                store.map_search(ticket), orjson.dumps(asdict(query)), ex=TICKET_SECONDS, nx=True
            ):
                return
            await self._publisher.send_task(TASKS_EXCHANGE, task.routing_key, task.name, ticket, priority=task.priority)
        except (BrokerDown, RedisError, OSError) as error:
            log.warning("a search in the background was not ordered: %s", error)


async def perform(cache: Redis, kakao: Kakao, ticket: str) -> None:
    """The task. Kakao's answer is remembered by the client; a message that comes again finds no ticket."""
    asked = await cache.getdel(store.map_search(ticket))
    if asked is None:
        SEARCHES.labels("expired").inc()
        return
    try:
        found = await kakao.search(Query(**orjson.loads(asked)), None)
    except KakaoUnavailable:
        SEARCHES.labels("away").inc()
        return
    SEARCHES.labels("done").inc()
    log.info("searched", extra={"places": len(found)})
