"""The rate at which calls of one provider may begin."""

import asyncio

from eco2.llm.wire import (
    LlmFailed,
)

LONGEST_PAUSE_SECONDS = 60.0
"""A provider that asks for more is asked again after this long."""


class Pace:
    """A token bucket that holds one second's worth, and that `pause` closes for a while."""

    def __init__(self, per_minute: int) -> None:
        self._interval = 60 / per_minute
        self._slack = max(0.0, 1 - self._interval)
        self._next = self._paused_until = 0.0

    def pause(self, now: float, seconds: float) -> None:
        self._paused_until = max(self._paused_until, now + min(seconds, LONGEST_PAUSE_SECONDS))
        self._next = max(self._next, self._paused_until)

    def take(self, now: float, until: float) -> float:
        """The time of the next free turn, which is then taken. LlmFailed when it comes after `until`."""
        start = max(self._next, now - self._slack)
        if start > until:
            raise LlmFailed("rate_limited", f"the next free turn is in {start - now:.1f} s")
        self._next = start + self._interval
        return start

    async def turn(self, until: float) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(max(0.0, self.take(clock(), until) - clock()))
            if clock() >= self._paused_until:
                return
