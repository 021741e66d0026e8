"""Refusal of new scans while too many are waiting."""

import time
from uuid import UUID

from redis.exceptions import RedisError

from eco2.contracts.queues import (
    SCAN_ANSWER,
    SCAN_RULE,
    SCAN_VISION,
)
from eco2.core.errors import AppError, TooMany, Unavailable
from eco2.core.events import EventBus
from eco2.core.messaging.broker import BrokerDown, Publisher

DEPTH_SECONDS = 1.0


BUSY_SECONDS = 10
FULL = 0.9
"""Share of the memory for events at which new jobs are refused; the rest is for the events of those in work."""
FULL_SECONDS = 60


class TooBusy(TooMany):
    """지금은 기다리는 사진이 너무 많아요. 잠시 뒤에 다시 보내 주세요."""

    code = "TOO_MANY_JOBS"


class EventsFull(Unavailable):
    """지금은 새 사진을 받을 수 없어요. 잠시 뒤에 다시 보내 주세요."""

    code = "EVENTS_FULL"


class Admission:
    """Refuses new jobs while the backlog is past its limit, or the memory for events nearly full: an answer now instead
    of a wait without end."""

    def __init__(self, publisher: Publisher, limit: int, bus: EventBus) -> None:
        self._publisher = publisher
        self._limit = limit
        self._bus = bus
        self._depth = 0
        self._fullness = 0.0
        self._asked = -DEPTH_SECONDS

    async def refusal(self, _user: UUID) -> AppError | None:
        """Past a limit. A server that does not answer is no backlog; submitting will say so."""
        now = time.monotonic()
        if now - self._asked >= DEPTH_SECONDS:
            self._asked = now
            await self._ask()
        if self._fullness >= FULL:
            return EventsFull(retry_after=FULL_SECONDS)
        return TooBusy(retry_after=BUSY_SECONDS) if self._depth >= self._limit else None

    async def _ask(self) -> None:
        try:
            self._depth = await self._publisher.depth(SCAN_VISION, SCAN_RULE, SCAN_ANSWER)
        except BrokerDown:
            self._depth = 0
        try:
            self._fullness = await self._bus.fullness()
        except (RedisError, OSError):
            self._fullness = 0.0
