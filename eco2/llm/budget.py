"""The day's spending on paid models, shared by all processes through Redis."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import NamedTuple

from prometheus_client import Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.llm.wire import (
    Call,
    LlmFailed,
    Usage,
)

SPEND_SECONDS = 2.0  # longest wait for the counter of the day's spending
COUNT_SECONDS = 1.0  # how often spending that no cap watches is added to the counter
SPEND_TTL_SECONDS = 3 * 24 * 3600
INPUT_TOKENS_HELD = 10_000
"""Input of one call as assumed before its usage is known: the longest prompt with one photo."""


SPENT_TODAY = Gauge("eco2_llm_spent_today_usd", "The budget's counter as last seen, with what is held for open calls")


log = logging.getLogger(__name__)


_HOLD = """
local spent = tonumber(redis.call('GET', KEYS[1]) or 0)
if spent + ARGV[1] > tonumber(ARGV[2]) then return -1 end
spent = redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return spent
"""
_ADD = "local spent = redis.call('INCRBY', KEYS[1], ARGV[1]) redis.call('EXPIRE', KEYS[1], ARGV[2]) return spent"


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def spent_key(day: str) -> str:
    """Redis key of what a day (UTC, ISO) cost so far, in micro-USD; kept for SPEND_TTL_SECONDS."""
    return f"eco2:llm:spent:{day}"


class Held(NamedTuple):
    """Micro-USD put aside for one attempt on the counter at `key`."""

    key: str
    amount: int


class Budget:
    """The day's spending in micro-USD. With a cap, the most that an attempt may cost is held before it is made.

    So the cap is never passed, also by many processes at once; it fails closed: a cap that cannot be checked is no
    cap. Without a cap spending is only counted, every COUNT_SECONDS, and Redis being away stops nothing. What is held
    stays spent when the outcome is unknown (time-out, crash), since it may have been billed.
    """

    def __init__(self, redis: Redis, cap_usd: float | None, output_tokens: int) -> None:
        self._cap = None if cap_usd is None else round(cap_usd * 1e6)
        self._most = Usage(prompt_tokens=INPUT_TOKENS_HELD, completion_tokens=output_tokens)
        self._hold = redis.register_script(_HOLD)
        self._add = redis.register_script(_ADD)
        self._uncounted = 0
        self._counting: asyncio.Task[None] | None = None

    async def hold(self, call: Call) -> Held:
        key = spent_key(today())
        if self._cap is None:
            return Held(key, 0)
        amount = call.cost(self._most)
        try:
            async with asyncio.timeout(SPEND_SECONDS):
                spent = int(await self._hold(keys=[key], args=[amount, self._cap, SPEND_TTL_SECONDS]))
        except (RedisError, OSError, TimeoutError) as error:
            raise LlmFailed("budget_unknown", repr(error)) from error
        if spent < 0:
            raise LlmFailed("budget_spent", f"the {self._cap / 1e6:g} USD of the day")
        SPENT_TODAY.set(spent / 1e6)
        return Held(key, amount)

    async def settle(self, held: Held, cost: int) -> None:
        """Replace what was held by what it cost. When that fails, what was held stays."""
        if self._cap is None:
            self._count_later(cost)
        elif cost != held.amount:
            await self._count(held.key, cost - held.amount)

    def _count_later(self, cost: int) -> None:
        self._uncounted += cost
        if self._uncounted and (self._counting is None or self._counting.done()):
            self._counting = asyncio.create_task(self._count_soon())

    async def _count_soon(self) -> None:
        await asyncio.sleep(COUNT_SECONDS)
        await self._count_now()

    async def aclose(self) -> None:
        if self._counting is not None:
            self._counting.cancel()
        await self._count_now()

    async def _count_now(self) -> None:
        """Add what was spent since the last time."""
        amount, self._uncounted = self._uncounted, 0
        if amount:
            await self._count(spent_key(today()), amount)

    async def _count(self, key: str, amount: int) -> None:
        try:
            async with asyncio.timeout(SPEND_SECONDS):
                spent = int(await self._add(keys=[key], args=[amount, SPEND_TTL_SECONDS]))
            SPENT_TODAY.set(spent / 1e6)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("LLM spending was not counted", extra={"micro_usd": amount, "error": repr(error)})
