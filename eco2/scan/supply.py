"""Current capacity of the workers, published once a second for scan-api and operators.

One hash in the durable Redis, one field per worker. No scan depends on it.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self, cast

from pydantic import BaseModel, ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.llm.settings import LlmSettings

if TYPE_CHECKING:
    from eco2.llm.calls import Llm

log = logging.getLogger(__name__)

KEY = "scan:supply"
TELL_SECONDS = 1.0
FRESH_SECONDS = 10.0
"""A worker that has told nothing for so long is gone."""
WINDOW_SECONDS = 10
CALLS_A_SCAN = 2
"""Of the paid model, for a photo and words that were not sent before."""


class Supply(BaseModel):
    """Of one worker, or of all together. USD are of the day (UTC)."""

    at: float = 0.0
    model: str | None = None
    """The paid model that is asked by default; None: the embedded one answers."""
    scans_per_second: float = 0.0
    """As many as ended lately."""
    limit: float | None = None
    """Scans a second that the model's provider lets through; None: it sets no limit at the moment."""
    budget_usd: float | None = None
    spent_usd: float = 0.0
    budget_spent: bool = False
    stopped: str = ""
    """Reason for which an operator has stopped the paid model."""
    resting: bool = False
    """The model's provider is left alone for a moment, because its calls failed."""

    @classmethod
    def of_all(cls, told: Sequence[Self]) -> Self | None:
        """None when no worker has told anything. A limit of all is one that each of them has."""
        if not told:
            return None
        limits = [one.limit for one in told if one.limit is not None]
        newest = max(told, key=lambda one: one.at)
        return newest.model_copy(
            update={
                "scans_per_second": sum(one.scans_per_second for one in told),
                "limit": sum(limits) if len(limits) == len(told) else None,
                "spent_usd": max(one.spent_usd for one in told),
                "budget_spent": any(one.budget_spent for one in told),
                "resting": any(one.resting for one in told),
            }
        )


async def told(redis: Redis) -> Supply | None:
    """Reports that the workers that are alive made last. RedisError, OSError."""
    rows = cast(Mapping[str, str], await redis.hgetall(KEY))
    oldest, fresh = time.time() - FRESH_SECONDS, []
    for row in rows.values():
        try:
            supply = Supply.model_validate_json(row)
        except ValidationError:  # of another version
            continue
        if supply.at >= oldest:
            fresh.append(supply)
    return Supply.of_all(fresh)


class Teller:
    """Counts this worker's scans, and tells."""

    def __init__(self, redis: Redis, worker: str, settings: LlmSettings, llm: "Llm | None") -> None:
        self._redis, self._worker, self._llm = redis, worker, llm
        serves = llm is not None and llm.serves(settings.llm_default_model)
        self._model = settings.llm_default_model if serves else None
        self._ended: deque[float] = deque()
        self._stopped = ""

    def ended(self) -> None:
        """A scan has ended."""
        self._ended.append(time.monotonic())

    def _lately(self) -> float:
        while self._ended and self._ended[0] < time.monotonic() - WINDOW_SECONDS:
            self._ended.popleft()
        return len(self._ended) / WINDOW_SECONDS

    def now(self) -> Supply:
        lately = self._lately()
        supply = Supply(at=time.time(), model=self._model, scans_per_second=lately)
        if self._llm is None or self._model is None:
            return supply
        calls, spending = self._llm.calls_per_second(), self._llm.budget.standing()
        return supply.model_copy(
            update={
                # What was remembered takes no call: then more scans end than the calls would do.
                "limit": None if calls is None else max(lately, calls / CALLS_A_SCAN),
                "budget_usd": None if spending.cap is None else spending.cap / 1e6,
                "spent_usd": spending.spent / 1e6,
                "budget_spent": spending.out,
                "stopped": self._stopped,
                "resting": self._llm.resting(),
            }
        )

    async def run(self) -> None:
        """Tell until cancelled."""
        await self._forget_the_gone()
        try:
            while True:
                await self._tell()
                await asyncio.sleep(TELL_SECONDS)
        finally:
            await self._withdraw()

    async def _tell(self) -> None:
        if self._llm is not None:
            self._stopped = await self._llm.stopped()
        try:
            await self._redis.hset(KEY, self._worker, self.now().model_dump_json())
        except (RedisError, OSError) as error:
            log.warning("the supply could not be told: %r", error)

    async def _withdraw(self) -> None:
        try:
            async with asyncio.timeout(1):
                await self._redis.hdel(KEY, self._worker)
        except (RedisError, OSError) as error:
            log.warning("the supply could not be withdrawn: %r", error)

    async def _forget_the_gone(self) -> None:
        """Workers that were killed could not withdraw."""
        try:
            rows = cast(Mapping[str, str], await self._redis.hgetall(KEY))
            gone = [name for name, row in rows.items() if not _is_fresh(row)]
            if gone:
                await self._redis.hdel(KEY, *gone)
        except (RedisError, OSError) as error:
            log.warning("workers that are gone could not be forgotten: %r", error)


def _is_fresh(row: str) -> bool:
    try:
        return Supply.model_validate_json(row).at >= time.time() - FRESH_SECONDS
    except ValidationError:
        return False


def spending_text(supply: Supply) -> str:
    """Of the day, in a few words."""
    if supply.budget_usd is None:
        return f"{supply.spent_usd:.2f} USD spent today, no budget"
    return f"{supply.spent_usd:.2f} of {supply.budget_usd:g} USD spent today (UTC)"


def in_words(supply: Supply | None) -> str:
    """The models that look at the photos, for an operator."""
    if supply is None:
        return "nobody: no worker has said anything for a while"
    if supply.model is None:
        return "the embedded model (no paid one is configured)"
    if supply.stopped:
        return f"the embedded model: {supply.model} is stopped ({supply.stopped}; `eco2 llm start`)"
    resting = ", which fails and is left alone for a moment" if supply.resting else ""
    limit = "" if supply.limit is None else f"; its provider lets {supply.limit:.2g} scans a second through"
    then = ": the embedded model answers until midnight (UTC)" if supply.budget_spent else ""
    return f"{supply.model}{resting}, {spending_text(supply)}{then}{limit}"
