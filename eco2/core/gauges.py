"""Gauges of database contents, set again at intervals, also without requests."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from eco2.core.errors import AWAY

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0


@asynccontextmanager
async def telling(look: Callable[[], Awaitable[object]], seconds: float = LOOK_SECONDS) -> AsyncIterator[None]:
    """Look now and every so often, beside the requests. While the database is away the gauges stay as they were."""
    task = asyncio.create_task(_look_again_and_again(look, seconds))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _look_again_and_again(look: Callable[[], Awaitable[object]], seconds: float) -> None:
    while True:
        try:
            await look()
        except tuple(AWAY) as error:
            log.warning("gauges stay as they were: %s", str(error).partition("\n")[0])
        except Exception:
            log.exception("gauges cannot be set")
        await asyncio.sleep(seconds)
