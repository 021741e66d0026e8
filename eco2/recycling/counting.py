"""Metrics of reminders, which are rows: counted once a minute, as whoever sends them ends with its run."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from prometheus_client import Gauge

from eco2.core.errors import AWAY
from eco2.core.postgres import Database
from eco2.recycling import reminder_store

log = logging.getLogger(__name__)

EVERY = 60.0
REMINDERS = Gauge(
    "eco2_reminders", "Browsers with a reminder; told of the newest day; refused by their push service last", ["state"]
)


@asynccontextmanager
async def counting(db: Database) -> AsyncIterator[None]:
    task = asyncio.create_task(_count(db))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _count(db: Database) -> None:
    while True:
        try:
            for state, number in (await reminder_store.counts(db)).items():
                REMINDERS.labels(state).set(number)
        except tuple(AWAY) as error:
            log.warning("reminders are not counted: %s", str(error).partition("\n")[0])
        except Exception:
            log.exception("reminders are not counted")
        await asyncio.sleep(EVERY)
