"""Refusal of new scans while too many are waiting for the workers' rate."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from redis.exceptions import RedisError

from eco2.contracts.identity import is_guest
from eco2.contracts.queues import (
    SCAN_ANSWER,
    SCAN_RULE,
    SCAN_VISION,
)
from eco2.core.errors import AppError, TooMany, Unavailable
from eco2.messaging.broker import BrokerDown, Publisher
from eco2.messaging.events import EventBus
from eco2.scan import supply
from eco2.scan.limits import Rules
from eco2.scan.supply import Supply, spending_text

DEPTH_SECONDS = 1.0
BUSY_SECONDS = 10.0
"""Seconds for `Retry-After` while the workers' rate is unknown."""
LEAST_RATE = 0.1
LONGEST_SECONDS = 600.0
KEPT_SECONDS = 30.0
"""Time after its due that a promise is kept."""
LEAST_BACKLOG = 8
"""Scans that may wait however slow the provider is."""
FULL = 0.9
"""Share of the memory for events at which new jobs are refused; the rest is for the events of those in work."""
FULL_SECONDS = 60


class TooBusy(TooMany):
    """지금은 기다리는 사진이 너무 많아요. 잠시 뒤에 다시 보내 주세요."""

    code = "TOO_MANY_JOBS"


class TooManyGuests(TooMany):
    """지금은 손님의 사진이 너무 많아요. 로그인하면 바로 보낼 수 있어요."""

    code = "TOO_MANY_GUEST_JOBS"


class EventsFull(Unavailable):
    """지금은 새 사진을 받을 수 없어요. 잠시 뒤에 다시 보내 주세요."""

    code = "EVENTS_FULL"


class BudgetSpent(TooMany):
    """오늘 쓸 수 있는 분석 예산을 다 썼어요. 내일 다시 보내 주세요."""

    code = "TOO_MANY_PAID_SCANS"


class Admission:
    """Refuses new jobs while too many wait, or the memory for events is nearly full: an answer now, no endless wait.

    Who is refused gets a time at which there will be room, each user another one, at the rate at which scans end; who
    comes back then is admitted. Asking again before changes nothing, so no user gains by asking more.
    """

    def __init__(
        self,
        publisher: Publisher,
        rules: Rules,
        bus: EventBus,
        told: Callable[[], Awaitable[Supply | None]] | None = None,
        guest_jobs: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        """`told`: what the workers told last; by default it is read where they tell it. `guest_jobs`: counts the open
        jobs of guests."""
        self._publisher, self._rules, self._bus = publisher, rules, bus
        self._told = told or partial(supply.told, bus.redis)
        self._guest_jobs = guest_jobs
        self._depth = self._of_guests = 0
        self._fullness = 0.0
        self._supply: Supply | None = None
        self._asked = float("-inf")
        self._promises: dict[UUID, float] = {}
        self._last_promise = float("-inf")

    async def refusal(self, user: UUID) -> AppError | None:
        """Reason for which the user's new job is not taken now; None: it is."""
        now = time.monotonic()
        if now - self._asked >= DEPTH_SECONDS:
            self._asked = now
            await self._look(now)
        if self._fullness >= FULL:
            return EventsFull(retry_after=FULL_SECONDS)
        if self._supply is not None and self._supply.budget_spent and not self._rules.without_budget:
            return _spent(self._supply)
        if is_guest(user) and self._of_guests >= max(1, int(self._limit() * self._rules.guest_share)):
            return TooManyGuests(retry_after=BUSY_SECONDS)
        if self._depth >= self._limit() and not self._kept(user, now):
            return self._busy(user, now)
        return None

    def admitted(self, user: UUID) -> None:
        """A new job of the user goes into the queue."""
        self._promises.pop(user, None)
        self._depth += 1  # until the queues are looked at again
        self._of_guests += is_guest(user)

    async def _look(self, now: float) -> None:
        """A server that does not answer is no backlog; submitting will say so."""
        try:
            self._depth = await self._publisher.depth(SCAN_VISION, SCAN_RULE, SCAN_ANSWER)
        except BrokerDown:
            self._depth = 0
        try:
            self._fullness = await self._bus.fullness()
        except (RedisError, OSError):
            self._fullness = 0.0
        try:
            self._supply = await self._told()
        except (RedisError, OSError):
            self._supply = None
        if self._guest_jobs is not None:
            self._of_guests = await self._guest_jobs()
        self._promises = {user: at for user, at in self._promises.items() if at > now - KEPT_SECONDS}
        if self._depth < self._limit() / 2:
            self._last_promise = float("-inf")  # users who did not come back delay no others

    def _limit(self) -> int:
        limit = self._supply.limit if self._supply else None
        if limit is None:
            return self._rules.backlog
        return min(self._rules.backlog, max(LEAST_BACKLOG, int(limit * self._rules.longest_wait)))

    def _kept(self, user: UUID, now: float) -> bool:
        """True when the user was told to come now. The backlog of all is past no promise."""
        promised = self._promises.get(user)
        return promised is not None and promised <= now and self._depth < self._rules.backlog

    def _busy(self, user: UUID, now: float) -> TooBusy:
        told = self._supply
        if told is None or not (told.limit or told.scans_per_second):
            return TooBusy(retry_after=BUSY_SECONDS)
        rate = max(LEAST_RATE, told.scans_per_second if told.limit is None else told.limit)
        promised = self._promises.get(user, now)
        if promised <= now:
            over = (self._depth - self._limit()) / rate
            promised = self._promises[user] = max(self._last_promise, now + over) + 1 / rate
            self._last_promise = promised
        seconds = min(promised - now, LONGEST_SECONDS)
        why = "" if told.limit is None else f" 모델 제공자의 한도 때문에 초당 {rate:.2g}장을 분석하고 있어요"
        money = f" ({spending_text(told)})." if why else ""
        return TooBusy(
            f"지금은 기다리는 사진이 많아요.{why}{money} {max(1, round(seconds))}초 뒤에 다시 보내 주세요.",
            retry_after=seconds,
        )


def _spent(told: Supply) -> BudgetSpent:
    now = datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    budget = "" if told.budget_usd is None else f" {told.budget_usd:g} USD를"
    return BudgetSpent(
        f"오늘 쓸 수 있는 분석 예산{budget} 다 썼어요. 내일 오전 9시 뒤에 다시 보내 주세요.",
        retry_after=(midnight - now).total_seconds(),
    )
