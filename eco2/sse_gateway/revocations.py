"""Ends streams whose session has ended: ext-authz lets nobody in any more, but a stream that is open asks no more.

Followed is the list of the denied that auth-api keeps in Redis (eco2/contracts/revocations.py), once a second. While
that Redis is away nothing is learnt, and no stream gets an event either.
"""

import asyncio
import logging
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.contracts.revocations import DENIED_STREAM

READ_SECONDS = 1.0
READ_COUNT = 2000
RECENT_SECONDS = 60
"""How long a session is remembered that ended before its stream was open: a check is not so long before its stream."""

log = logging.getLogger(__name__)


class Revocations:
    """`recent` has the sessions that ended just now; `on_denied` is called with each session that ends."""

    def __init__(self, redis: Redis, on_denied: Callable[[str], None]) -> None:
        self._redis, self._on_denied = redis, on_denied
        self._server, self._last = "", "0-0"
        self.recent: dict[str, int] = {}
        """Session → second of Redis' clock when it ended."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                while await self.read():
                    pass
            except RedisError as error:
                log.warning("the list of the denied is away: %s", error)
            await asyncio.sleep(READ_SECONDS)

    async def read(self) -> bool:
        """What is new in the list; True when there is more. RedisError."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.info("server")
            pipe.time()
            pipe.xread({DENIED_STREAM: self._last}, count=READ_COUNT)
            server, (now, _), found = await pipe.execute()
        if server["run_id"] != self._server:  # another server, whose list may be another one: from its beginning
            self._server, self._last = server["run_id"], "0-0"
            return True
        entries = found[0][1] if found else []
        for entry, fields in entries:
            self._last = entry
            self._end(fields["id"], int(entry.partition("-")[0]) // 1000)
        for session in [one for one, since in self.recent.items() if since < now - RECENT_SECONDS]:
            del self.recent[session]
        return len(entries) == READ_COUNT

    def _end(self, session: str, since: int) -> None:
        self.recent[session] = since
        self._on_denied(session)
