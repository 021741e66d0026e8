"""The kill switch and the prices, which operators change without a restart: rows of schema `llm`."""

import asyncio
import logging
from collections.abc import Mapping
from typing import NamedTuple

from prometheus_client import Gauge
from psycopg import Error
from psycopg_pool import PoolTimeout

from eco2.core.postgres import Database
from eco2.llm.settings import Price

FRESH_SECONDS = 2.0
"""Age up to which a reading is trusted."""
READ_SECONDS = 1.0
STOPPED = "stopped by an operator"

HALTED = Gauge("eco2_llm_stopped", "1 while an operator has stopped all calls of paid models")

log = logging.getLogger(__name__)


class Control(NamedTuple):
    """`stopped`: why no paid model may be called now; "" when they may. `prices` go before those of the settings."""

    stopped: str
    prices: Mapping[str, Price]


async def read(db: Database) -> Control:
    rows = await db.rows(
        "SELECT 'stop', why, 0, 0 FROM llm.stops UNION ALL SELECT 'price', model, input, output FROM llm.prices"
    )
    prices = {name: Price(cost, out) for kind, name, cost, out in rows if kind == "price"}
    return Control(next((why or STOPPED for kind, why, *_ in rows if kind == "stop"), ""), prices)


async def stop(db: Database, why: str) -> None:
    """Stop all calls of paid models, in every process within FRESH_SECONDS. The first reason stays."""
    await db.rows("INSERT INTO llm.stops (why) VALUES (%(why)s) ON CONFLICT DO NOTHING", why=why or STOPPED)


async def start(db: Database) -> bool:
    """Allow them again; False where they were not stopped."""
    return bool(await db.rows("DELETE FROM llm.stops RETURNING scope"))


async def set_price(db: Database, model: str, price: Price) -> None:
    await db.rows(
        "INSERT INTO llm.prices (model, input, output) VALUES (%(model)s, %(input)s, %(output)s)"
        " ON CONFLICT (model) DO UPDATE SET input = excluded.input, output = excluded.output, changed_at = now()",
        model=model,
        input=price.input,
        output=price.output,
    )


async def drop_price(db: Database, model: str) -> bool:
    """Go back to the price of the settings; False where there was no other."""
    return bool(await db.rows("DELETE FROM llm.prices WHERE model = %(model)s RETURNING model", model=model))


class Controls:
    """Switch and prices as read last. While the database is away they hold: neither a stop nor a start is lost.

    Without a database there is nothing but the settings.
    """

    def __init__(self, db: Database | None) -> None:
        self._db = db
        self.newest = Control("", {})
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def stopped(self) -> str:
        """Reason for which no call may be made now; "" when one may."""
        if self._db is not None and asyncio.get_running_loop().time() - self._read_at > FRESH_SECONDS:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read(self._db))
            await asyncio.shield(self._reading)
        return self.newest.stopped

    async def _read(self, db: Database) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                self.newest = await read(db)
            HALTED.set(1 if self.newest.stopped else 0)
        except (Error, PoolTimeout, TimeoutError, OSError) as error:
            log.warning("what operators changed could not be read: %r", error)
        self._read_at = asyncio.get_running_loop().time()
