"""The day's spending on paid models, shared by all processes through Redis."""

import asyncio
import contextlib
import logging
from collections import Counter
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NamedTuple

from prometheus_client import Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError

from eco2.contracts.identity import GUEST, GUEST_VERSION
from eco2.llm.account import TTL_SECONDS, Account, Ledger
from eco2.llm.wire import Call, LlmFailed, Usage

SPEND_TTL_SECONDS = TTL_SECONDS
COUNT_SECONDS = 1.0  # how often spending that no cap watches is added to the counter
INPUT_TOKENS_HELD = 10_000
"""Input of one call as assumed before its usage is known: the longest prompt with one photo."""
BUSY, POCKET, POCKET_SHARE = 8, 16, 0.05
"""See `Budget`."""


spender: ContextVar[str] = ContextVar("spender", default="")
"""Id of the user that a call is made for; "" without a user."""

chat_node: ContextVar[str] = ContextVar("chat_node", default="")
"""Node of a chat's turn that a call is made for; "" where it is for no chat."""

BUDGET = Gauge("eco2_llm_budget_usd", "Most that a day may cost; 0 where nothing limits it")
SPENT_TODAY = Gauge("eco2_llm_spent_today_usd", "The budget's counter as last seen, with what is held for open calls")


log = logging.getLogger(__name__)


def today() -> str:
    return datetime.now(UTC).date().isoformat()


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
    cap. Without a cap spending is only counted, every COUNT_SECONDS, and Redis being away stops nothing. Where the
    outcome is unknown (time-out, crash) it may have been billed: what was held stays so for LEASE_SECONDS, and then
    as much of it as such calls usually cost.

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
        self._output_tokens = output_tokens
        self._ledger = Ledger(redis)
        self._pocket = self._counter = Held("", 0)
        # Attempts that are being made, and what is held for them, by the key of their day.
        self._open: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        self._out = False
        self._counting: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    async def hold(self, call: Call) -> Held:
        """LlmFailed where it is not to be had: then, and where the wait for it is cancelled, nothing is held."""
        key = spent_key(today())
        amount = 0 if self._cap is None else call.cost(self._most(call))
        shares: list[Account] = []
        try:
            await self._take_of_user(amount, shares)
            self._begin_day(key)
            if self._pocket.amount < amount:
                await self._take(key, amount)
        except BaseException:
            for share in shares:
                share.held -= amount
                self._tell_soon(share)
            raise
        if self._pocket.key == key:
            self._pocket = Held(key, self._pocket.amount - amount)
        self._open[key] += 1
        self._held[key] += amount
        return Held(key, amount, tuple(share.key for share in shares))

    def _most(self, call: Call) -> Usage:
        if call.most is not None:
            return call.most
        most = self._output_tokens if call.most_tokens is None else min(call.most_tokens, self._output_tokens)
        return Usage(prompt_tokens=INPUT_TOKENS_HELD, completion_tokens=most)

    def _begin_day(self, key: str) -> None:
        """Give the pocket back where it is yesterday's, or so old that its lease may have run out."""
        if self._pocket.key == key and not (self._pocket.amount and self._ledger.account(key).stale):
            return
        self._drop_pocket()
        if self._pocket.key != key:
            self._pocket, self._out = Held(key, 0), False

    def _drop_pocket(self) -> None:
        if self._pocket.amount:
            account = self._ledger.account(self._pocket.key)
            account.held -= self._pocket.amount
            self._pocket = Held(self._pocket.key, 0)
            self._tell_soon(account)

    async def _take_of_user(self, amount: int, held: list[Account]) -> None:
        """Hold as much of the user's part of the day, on the counters that are then in `held`; on none where no part is
        limited.

        LlmFailed once the user has spent it: one user cannot spend the whole day's budget."""
        user = spender.get()
        if not self._shared_out or not user or not amount:
            return
        shares = [(user, self._user_cap)]
        if user[14:15] == str(GUEST_VERSION):
            shares.append((GUEST, self._guest_cap))  # all guests together are one user more
        for who, most in shares:
            cap = max(most, amount)  # of a small budget it is at least one call
            account = self._ledger.account(user_key(today(), who))
            _, taken = await self._trip(account, amount, 0, cap)
            if not taken:
                raise LlmFailed("user_share_spent", f"the {cap / 1e6:g} USD that one user may spend of the day")
            held.append(account)

    async def _take(self, key: str, amount: int) -> None:
        """Put at least `amount` into the pocket, or hold just that where the pocket is of the next day by then.

        LlmFailed when it is not to be had."""
        assert self._cap is not None
        spare = self._largest_pocket(amount) // 2 if self._open[key] >= BUSY else 0
        account = self._ledger.account(key)
        spent, taken = await self._trip(account, amount, spare, self._cap)
        if self._pocket.key == key:
            self._pocket = Held(key, self._pocket.amount + taken)
            self._note(key, spent)
            self._out = not taken and self.standing().spent + amount > self._cap
        elif taken > amount:
            account.held -= taken - amount
            self._tell_soon(account)
        if not taken:
            raise LlmFailed("budget_spent", f"the {self._cap / 1e6:g} USD of the day")

    async def _trip(self, account: Account, amount: int, spare: int, cap: int) -> tuple[int, int]:
        try:
            return await account.settle(amount, spare, cap)
        except (RedisError, OSError, TimeoutError) as error:
            raise LlmFailed("budget_unknown", repr(error)) from error
        except asyncio.CancelledError:
            self._tell_soon(account)  # it may have been taken
            raise

    async def settle(self, held: Held, cost: int) -> None:
        """Replace the held amount by the cost."""
        self._end(held)
        account = self._ledger.account(held.key)
        if self._cap is None:
            account.pay(0, cost)
            self._count_later(account)
            return
        self._ledger.learn(held.amount, cost)
        shares = [self._ledger.account(key) for key in held.shares]
        for share in shares:
            share.pay(held.amount, cost)
        whole = True
        if held.key == self._pocket.key:
            back = held.amount - cost + self._pocket.amount
            most = self._largest_pocket(held.amount) if self._open[held.key] >= BUSY else 0
            kept = back if 0 <= back <= most else most // 2 if back > 0 else 0
            account.pay(held.amount + self._pocket.amount - kept, cost)
            self._pocket, whole = Held(held.key, kept), kept != back
        else:
            account.pay(held.amount, cost)
        if told := [self._tell_soon(one) for one in ([*shares, account] if whole else shares)]:
            await asyncio.wait(told)  # a cancellation of the wait leaves them to end

    def _largest_pocket(self, amount: int) -> int:
        return min(POCKET * amount, int(POCKET_SHARE * (self._cap or 0)))

    def lose(self, held: Held) -> None:
        """The outcome is unknown: the amount stays held for a while."""
        self._end(held)
        for key in (held.key, *held.shares) if held.amount else ():
            account = self._ledger.account(key)
            account.lose(held.amount)
            self._tell_soon(account)

    def _end(self, held: Held) -> None:
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

    async def _tell(self, account: Account) -> None:
        """Bring the counter up to date; where that fails the next trip does it, or the lease runs out."""
        try:
            spent, _ = await account.settle()
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("LLM spending was not counted", extra={"key": account.key, "error": repr(error)})
        else:
            if account.key == spent_key(today()):
                self._note(account.key, spent)

    def _tell_soon(self, account: Account) -> asyncio.Task[None]:
        """The same for who cannot wait: the caller may be cancelled."""
        task = asyncio.create_task(self._tell(account))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
        return task

    def _count_later(self, account: Account) -> None:
        if not account.clean and (self._counting is None or self._counting.done()):
            self._counting = asyncio.create_task(self._count_soon(account))

    async def _count_soon(self, account: Account) -> None:
        """Count until nothing is left: more may come while a count is under way."""
        while not account.clean and not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COUNT_SECONDS):
                    await self._closing.wait()
            await self._tell(account)

    async def aclose(self) -> None:
        self._closing.set()
        self._drop_pocket()
        if self._counting is not None:
            await self._counting  # not cancelled: what a count under way has taken would be lost
        while self._telling:
            await asyncio.wait(self._telling)
        for account in self._ledger.dirty():
            await self._tell(account)
