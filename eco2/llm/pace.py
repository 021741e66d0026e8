"""Start times of calls to one provider: at once, until the provider says that they come too fast."""

from asyncio import Lock, get_running_loop, sleep

from eco2.llm.wire import Limit, LlmFailed

LONGEST_PAUSE_SECONDS = 60.0
"""A provider that asks for more is asked again after this long."""
DEFAULT_PAUSE_SECONDS = 1.0
"""Of a provider that refuses a call and does not say for how long."""
CUT, GROWTH = 0.7, 1.05
"""A refused rate is cut to this part of the accepted one, and grows by this factor each second after."""
LEAST_RATE = 2.0
"""Calls a second after a cut, where the provider told no rate of its own."""
RELIEF_SECONDS = 30.0
"""After so long without a refusal nothing limits any more."""
WINDOW, KNOWN_SECONDS = 10, 3


class _Seconds:
    """A count by second, of the last WINDOW of them."""

    def __init__(self) -> None:
        self._counts = [0] * WINDOW
        self._until = 0

    def add(self, now: float) -> None:
        self._turn(now)
        self._counts[int(now) % WINDOW] += 1

    def _turn(self, now: float) -> None:
        """Empty the seconds that have come since the last time."""
        second = int(now)
        for passed in range(max(self._until + 1, second - WINDOW + 1), second + 1):
            self._counts[passed % WINDOW] = 0
        self._until = second

    def seconds(self, now: float) -> int:
        """From the first second that has any to this one."""
        self._turn(now)
        return max((back + 1 for back in range(WINDOW) if self._counts[(int(now) - back) % WINDOW]), default=0)

    def a_second(self, now: float) -> float:
        seconds = self.seconds(now)
        return sum(self._counts) / seconds if seconds else 0.0


class Pace:
    """A rate of calls and a pause, for all calls of a provider in this process.

    There is no rate at first, unless one is configured. A refusal (429) brings one: that of the provider's headers, or
    a part of what went through lately. `patience`: seconds that a call waits at most; a provider that asks for a longer
    pause is left alone for its length, and no call waits for it.
    """

    def __init__(self, per_minute: int | None, patience: float) -> None:
        self._configured = per_minute / 60 if per_minute else None
        self._patience = patience
        self._learned: float | None = None
        self._learned_at = self._refused_at = self._cut_at = float("-inf")
        self._next = self._paused_until = self._away_until = float("-inf")
        self._begun, self._done = _Seconds(), _Seconds()
        self._line, self._waiting = Lock(), 0

    # --- what happened ------------------------------------------------------------------------------------------------

    def pause(self, now: float, seconds: float) -> None:
        """The provider asked for it: no call begins before."""
        until = now + min(seconds, LONGEST_PAUSE_SECONDS)
        if seconds > self._patience:
            self._away_until = max(self._away_until, until)
        else:
            self._paused_until = max(self._paused_until, until)
            self._next = max(self._next, until)

    def refused(self, now: float, began: float, after: float | None, limit: Limit | None) -> None:
        """A call that began at `began` was answered with 429. Those that were under way with it tell nothing new."""
        self._refused_at = now
        self.pause(now, DEFAULT_PAUSE_SECONDS if after is None else after)
        if limit is not None:
            self._learn(now, limit.rate)
        elif began > self._cut_at:
            self._cut_at = now
            self._learn(now, max(LEAST_RATE, CUT * self._tried(now)))

    def succeeded(self, now: float, limit: Limit | None) -> None:
        """`limit`: what the provider allows, where this call used the last of it."""
        self._done.add(now)
        if limit is not None:
            self._refused_at = now
            self._learn(now, limit.rate)
            self._next = max(self._next, now + 1 / limit.rate)

    def _tried(self, now: float) -> float:
        """Calls a second that were too many; where no rate was kept, as many as went through, if that is known yet."""
        rate = self.rate(now)
        if rate is not None:
            return rate
        through = self._done.a_second(now)
        return through if self._done.seconds(now) >= KNOWN_SECONDS else max(self._begun.a_second(now), through)

    def _learn(self, now: float, rate: float) -> None:
        self._learned, self._learned_at = rate, now

    # --- what follows -------------------------------------------------------------------------------------------------

    def rate(self, now: float) -> float | None:
        """Calls a second; None: as many as come."""
        if self._learned is not None and now - self._refused_at > RELIEF_SECONDS:
            self._learned = None
        if self._learned is None:
            return self._configured
        grown: float = self._learned * GROWTH ** (now - self._learned_at)
        return grown if self._configured is None else min(grown, self._configured)

    def paused(self, now: float) -> float:
        """Seconds of the pause that are left, where they are worth waiting for."""
        return 0.0 if now < self._away_until else max(0.0, self._paused_until - now)

    def take(self, now: float, until: float) -> float:
        """The time of the next free turn, which is then taken. LlmFailed when it comes after `until`."""
        if now < self._away_until:
            raise LlmFailed("rate_limited", f"the provider asked for a pause of {self._away_until - now:.1f} s")
        rate = self.rate(now)
        # Of a configured rate a second's worth may begin at once; where the provider has just refused calls, none may.
        slack = 0.0 if self._configured is None or self._learned is not None else max(0.0, 1 - 1 / self._configured)
        start = max(self._paused_until if rate is None else self._next, now - slack)
        if start > until:
            raise LlmFailed("rate_limited", f"the next free turn is in {start - now:.1f} s")
        if rate is not None:
            self._next = start + 1 / rate
        self._begun.add(now)
        return start

    async def turn(self, until: float) -> None:
        """Wait for a turn, in the order of asking. LlmFailed when it would come after `until`."""
        clock = get_running_loop().time
        rate = self.rate(clock())
        if rate is None and clock() >= self._paused_until:
            self.take(clock(), until)
            return
        if rate is not None and clock() + self._waiting / rate > until:
            raise LlmFailed("rate_limited", f"{self._waiting} calls wait at {rate:.2g} a second")
        self._waiting += 1
        try:
            async with self._line:  # only the first has a turn already: what is learned meanwhile holds for all others
                while (start := self.take(clock(), until)) > clock() or clock() < self._paused_until:
                    await sleep(max(0.0, start - clock()))
                    if clock() >= max(self._paused_until, self._away_until):
                        return
        finally:
            self._waiting -= 1
