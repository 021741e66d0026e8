"""Refusal of new scans while too many are waiting."""

import time
from uuid import UUID

from eco2.contracts.queues import (
    SCAN_ANSWER,
    SCAN_RULE,
    SCAN_VISION,
)
from eco2.core.errors import TooMany
from eco2.core.messaging.broker import BrokerDown, Publisher

DEPTH_SECONDS = 1.0


BUSY_SECONDS = 10


class TooBusy(TooMany):
    """지금은 기다리는 사진이 너무 많아요. 잠시 뒤에 다시 보내 주세요."""

    code = "TOO_MANY_JOBS"


class Admission:
    """Refuses new jobs while the backlog is past its limit: an answer now instead of a wait without end."""

    def __init__(self, publisher: Publisher, limit: int) -> None:
        self._publisher = publisher
        self._limit = limit
        self._depth = 0
        self._asked = -DEPTH_SECONDS

    async def refusal(self, _user: UUID) -> TooBusy | None:
        """Past the limit. A broker that does not answer is no backlog; submitting will say so."""
        now = time.monotonic()
        if now - self._asked >= DEPTH_SECONDS:
            self._asked = now
            try:
                self._depth = await self._publisher.depth(SCAN_VISION, SCAN_RULE, SCAN_ANSWER)
            except BrokerDown:
                self._depth = 0
        return TooBusy(retry_after=BUSY_SECONDS) if self._depth >= self._limit else None
