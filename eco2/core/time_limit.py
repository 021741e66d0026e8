"""A time limit that does not count the time in which the process was paused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LATE_SECONDS = 0.1
"""Past this a timer shows that the process was paused, or its machine: in good health they are late by milliseconds."""
CATCH_UP_SECONDS = 2.0


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Like `asyncio.timeout`, for an answer that is dear: where the process was paused when its time was up, the answer
    may have come long ago and lie in the socket. The limit is then put off, once, for as long as it takes to read it.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    async with asyncio.timeout(None) as timeout:

        def expire() -> None:
            now = loop.time()
            timeout.reschedule(now + CATCH_UP_SECONDS if now - until > LATE_SECONDS else now)

        timer = loop.call_at(until, expire)
        try:
            yield
        finally:
            timer.cancel()
