"""Refusal of new scans while too many are waiting."""

import time

from eco2.contracts.queues import (
    SCAN_ANSWER,
    SCAN_RULE,
    SCAN_VISION,
)
from eco2.core.errors import AppError
from eco2.core.messaging.broker import BrokerDown, Publisher

DEPTH_SECONDS = 1.0


BUSY_SECONDS = 10


class TooBusy(AppError):
    """Too many scans are waiting; try again in a moment."""

    status = 429
    code = "TOO_MANY_JOBS"

    def __init__(self, message: str = "") -> None:
        super().__init__(message, headers={"Retry-After": str(BUSY_SECONDS)})


class Admission:
    """Refuses new jobs while the backlog is past its limit: an answer now instead of a wait without end."""

    def __init__(self, publisher: Publisher, limit: int) -> None:
        self._publisher = publisher
        self._limit = limit
        self._depth = 0
        self._asked = -DEPTH_SECONDS

    async def check(self) -> None:
        """TooBusy past the limit. A broker that does not answer is no backlog; submitting will say so."""
        now = time.monotonic()
        if now - self._asked >= DEPTH_SECONDS:
            self._asked = now
            try:
                self._depth = await self._publisher.depth(SCAN_VISION, SCAN_RULE, SCAN_ANSWER)
            except BrokerDown:
                self._depth = 0
        if self._depth >= self._limit:
            raise TooBusy
