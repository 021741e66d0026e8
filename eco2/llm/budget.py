"""The day's spending on paid models, shared by all processes through Redis."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NamedTuple

from prometheus_client import Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.contracts.identity import GUEST, GUEST_VERSION
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
BUSY, POCKET, POCKET_SHARE = 8, 16, 0.05
"""See `Budget`."""


spender: ContextVar[str] = ContextVar("spender", default="")
"""Id of the user whose work a call is made for; "" where it is nobody's."""

BUDGET = Gauge("eco2_llm_budget_usd", "Most that a day may cost; 0 where nothing limits it")
SPENT_TODAY = Gauge("eco2_llm_spent_today_usd", "The budget's counter as last seen, with what is held for open calls")


log = logging.getLogger(__name__)


# Takes what is asked for and, where that is free as well, some more.
_HOLD = """
local spent, asked, cap = tonumber(redis.call('GET', KEYS[1]) or 0), tonumber(ARGV[1]), tonumber(ARGV[3])
if spent + asked > cap then return {spent, 0} end
local taken = math.min(asked + ARGV[2], cap - spent)
spent = redis.call('INCRBY', KEYS[1], taken)
redis.call('EXPIRE', KEYS[1], ARGV[4])
return {spent, taken}
"""
_ADD = "local spent = redis.call('INCRBY', KEYS[1], ARGV[1]) redis.call('EXPIRE', KEYS[1], ARGV[2]) return spent"


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def spent_key(day: str) -> str:
    """Redis key of what a day (UTC, ISO) cost so far, in micro-USD; kept for SPEND_TTL_SECONDS."""
    return f"eco2:llm:spent:{day}"


def user_key(day: str, user: str) -> str:
    """The same of one user, where a cap is set: with what is held for the calls that are open."""
    return f"{spent_key(day)}:{user}"


class Held(NamedTuple):
    """Micro-USD put aside for one attempt on the counter at `key`, and as many on each of the user's at `shares`."""

    key: str
    amount: int
    shares: tuple[str, ...] = ()


class Standing(NamedTuple):
    """Standing of the day, in micro-USD: `spent` without what this process only holds. `out`: no call fits."""

    cap: int | None
    spent: int
    out: bool


class Budget:
    """The day's spending in micro-USD. With a cap, the most that an attempt may cost is held before it is made.

    So the cap is never passed, also by many processes at once; it fails closed: a cap that cannot be checked is no
    cap. Without a cap spending is only counted, every COUNT_SECONDS, and Redis being away stops nothing. What is held
    stays spent when the outcome is unknown (time-out, crash), since it may have been billed.

    Of a cap one user, as `spender` names it, has the part `user_share`, held in the same way.

    With BUSY attempts open, what one gives back serves the next ones: up to POCKET attempts' worth, and no more than
    POCKET_SHARE of the cap, stay with the process, which saves most trips to the counter.
    """

    def __init__(
        self, redis: Redis, cap_usd: float | None, output_tokens: int, user_share: float = 1.0, guest_share: float = 1.0
    ) -> None:
        self._redis = redis
        self._cap = None if cap_usd is None else round(cap_usd * 1e6)
        self._user_cap = round((cap_usd or 0) * 1e6 * user_share)
        self._guest_cap = round((cap_usd or 0) * 1e6 * guest_share)
        self._shared_out = cap_usd is not None and min(user_share, guest_share) < 1
        BUDGET.set(cap_usd or 0)
        SPENT_TODAY.set_function(lambda: self.counted() / 1e6)
        self._most = Usage(prompt_tokens=INPUT_TOKENS_HELD, completion_tokens=output_tokens)
        self._hold = redis.register_script(_HOLD)
        self._add = redis.register_script(_ADD)
        self._pocket = self._counter = Held("", 0)
        # Attempts that are being made, and what is held for them, by the key of their day.
        self._open: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        self._out = False
        self._uncounted = 0
        self._counting: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def hold(self, call: Call) -> Held:
        key = spent_key(today())
        amount = 0 if self._cap is None else call.cost(self._most)
        shares = await self._take_of_user(amount)
        if self._pocket.key != key:  # what is left of yesterday stays there
            self._pocket, self._out = Held(key, 0), False
        if self._pocket.amount < amount:
            try:
                await self._take(key, amount)
            except LlmFailed:
                await self._settle_shares(shares, -amount)
                raise
        self._pocket = Held(key, self._pocket.amount - amount)
        self._open[key] += 1
        self._held[key] += amount
        return Held(key, amount, shares)

    async def _take_of_user(self, amount: int) -> tuple[str, ...]:
        """Hold as much of the user's part of the day; the keys of its counters, none where no part is limited.

        LlmFailed where the user has had it: one user cannot spend the day of everybody."""
        user = spender.get()
        if not self._shared_out or not user or not amount:
            return ()
        shares = [(user, self._user_cap)]
        if user[14:15] == str(GUEST_VERSION):
            shares.append((GUEST, self._guest_cap))  # all guests together are one user more
        held: list[str] = []
        for who, most in shares:
            key, cap = user_key(today(), who), max(most, amount)  # of a small budget it is at least one call
            try:
                async with asyncio.timeout(SPEND_SECONDS):
                    _, taken = await self._hold(keys=[key], args=[amount, 0, cap, SPEND_TTL_SECONDS])
            except (RedisError, OSError, TimeoutError) as error:
                await self._settle_shares(held, -amount)
                raise LlmFailed("budget_unknown", repr(error)) from error
            if not taken:
                await self._settle_shares(held, -amount)
                raise LlmFailed("user_share_spent", f"the {cap / 1e6:g} USD that one user may spend of the day")
            held.append(key)
        return tuple(held)

    async def _settle_shares(self, shares: Iterable[str], difference: int) -> None:
        """Correct the user's counters; when that fails, what was held stays spent."""
        for share in shares if difference else ():
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(SPEND_SECONDS):
                    await self._add(keys=[share], args=[difference, SPEND_TTL_SECONDS])

    async def _take(self, key: str, amount: int) -> None:
        """Put at least `amount` into the pocket. LlmFailed when it is not to be had."""
        assert self._cap is not None
        spare = self._largest_pocket(amount) // 2 if self._open[key] >= BUSY else 0
        try:
            async with asyncio.timeout(SPEND_SECONDS):
                spent, taken = await self._hold(keys=[key], args=[amount, spare, self._cap, SPEND_TTL_SECONDS])
        except (RedisError, OSError, TimeoutError) as error:
            raise LlmFailed("budget_unknown", repr(error)) from error
        self._pocket = Held(key, self._pocket.amount + int(taken))
        self._note(key, int(spent))
        self._out = not taken and self.standing().spent + amount > self._cap
        if not taken:
            raise LlmFailed("budget_spent", f"the {self._cap / 1e6:g} USD of the day")

    async def settle(self, held: Held, cost: int) -> None:
        """Replace what was held by what it cost. When that fails, what was held stays."""
        self.lose(held)
        if self._cap is None:
            self._count_later(cost)
            return
        await self._settle_shares(held.shares, cost - held.amount)
        back = held.amount - cost
        if held.key == self._pocket.key:
            back += self._pocket.amount
            most = self._largest_pocket(held.amount) if self._open[held.key] >= BUSY else 0
            kept = back if 0 <= back <= most else most // 2 if back > 0 else 0
            self._pocket, back = Held(held.key, kept), back - kept
        if back:
            await self._count(held.key, -back)

    def _largest_pocket(self, amount: int) -> int:
        return min(POCKET * amount, int(POCKET_SHARE * (self._cap or 0)))

    def lose(self, held: Held) -> None:
        """The outcome is unknown: what was held stays spent."""
        self._open[held.key] -= 1
        self._held[held.key] -= held.amount

    def standing(self) -> Standing:
        key = spent_key(today())
        if self._counter.key != key:
            return Standing(self._cap, 0, out=False)
        pocket = self._pocket.amount if self._pocket.key == key else 0
        return Standing(self._cap, max(0, self._counter.amount - pocket - self._held[key]), self._out)

    def counted(self) -> int:
        """The counter of today in micro-USD, as this process saw it last; 0 on a new day until it is seen."""
        return self._counter.amount if self._counter.key == spent_key(today()) else 0

    async def look(self) -> Standing:
        """The standing as the counter has it now. RedisError, OSError."""
        key = spent_key(today())
        self._note(key, int(await self._redis.get(key) or 0))
        return self.standing()

    def _note(self, key: str, spent: int) -> None:
        self._counter = Held(key, spent)

    def _count_later(self, cost: int) -> None:
        self._uncounted += cost
        if self._uncounted and (self._counting is None or self._counting.done()):
            self._counting = asyncio.create_task(self._count_soon())

    async def _count_soon(self) -> None:
        """Count until nothing is left: more may come while a count is under way."""
        while self._uncounted:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COUNT_SECONDS):
                    await self._closing.wait()
            await self._count_now()

    async def aclose(self) -> None:
        self._closing.set()
        if self._counting is not None:
            await self._counting  # not cancelled: what a count under way has taken would be lost
        await self._count_now()
        if self._pocket.amount:
            left, self._pocket = self._pocket, Held(self._pocket.key, 0)
            await self._count(left.key, -left.amount)

    async def _count_now(self) -> None:
        """Add what was spent since the last time."""
        amount, self._uncounted = self._uncounted, 0
        if amount:
            await self._count(spent_key(today()), amount)

    async def _count(self, key: str, amount: int) -> None:
        try:
            async with asyncio.timeout(SPEND_SECONDS):
                self._note(key, int(await self._add(keys=[key], args=[amount, SPEND_TTL_SECONDS])))
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("LLM spending was not counted", extra={"micro_usd": amount, "error": repr(error)})
