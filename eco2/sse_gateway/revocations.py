"""Ends streams whose session has ended: ext-authz refuses its new requests, but an open stream is not checked again.

While the Redis with the denylist is away no revocation arrives, and no event either.
"""

import asyncio
import logging
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.core.revocations import READ_SECONDS, DeniedList

RECENT_SECONDS = 60
"""Time for which a session is remembered that ended before its stream was open: a check is not so long before its
stream."""

log = logging.getLogger(__name__)


class Revocations:
    """`recent` has the sessions that ended just now; `on_denied` is called with each session that ends."""

    def __init__(self, redis: Redis, on_denied: Callable[[str], None]) -> None:
        self._list, self._on_denied = DeniedList(redis), on_denied
        self.recent: dict[str, int] = {}
        """Session → second of Redis' clock when it ended."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                while await self.read():
                    pass
            except RedisError as error:
                log.warning("the denylist is away: %s", error)
            await asyncio.sleep(READ_SECONDS)

    async def read(self) -> bool:
        """Read new entries of the list; True when there are more. RedisError."""
        page = await self._list.read()
        for entry in page.entries:
            self.recent[entry.session] = entry.since
            self._on_denied(entry.session)
        for session in [one for one, since in self.recent.items() if since < page.now - RECENT_SECONDS]:
            del self.recent[session]
        return page.more
