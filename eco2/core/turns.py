"""Fairness between users within a process: turns, and a count per minute."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

from eco2.core.errors import TooMany

MINUTE = 60.0


class Turns:
    """One request of a user at a time, in the order in which they came; those of others go on beside it.

    So a storm holds one connection of each pool, and a limit that is counted before it is used up holds exactly within
    a process; between processes it may be passed by one for each process more."""

    def __init__(self, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self._users: dict[UUID, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(self, user: UUID) -> AsyncIterator[None]:
        """TooMany when `most_waiting` of the user's requests are waiting already."""
        lock, asking = self._users.get(user) or (asyncio.Lock(), 0)
        if asking > self._most_waiting:
            raise TooMany
        self._users[user] = lock, asking + 1
        try:
            async with lock:
                yield
        finally:
            lock, asking = self._users.pop(user)
            if asking > 1:
                self._users[user] = lock, asking - 1


class AtOnce:
    """At most `limit` of a user's requests at once, counted in this process."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._users: dict[UUID, int] = {}

    @contextmanager
    def place(self, user: UUID) -> Iterator[bool]:
        """True when there is one."""
        taken = self._users.get(user, 0)
        if taken >= self._limit:
            yield False
            return
        self._users[user] = taken + 1
        try:
            yield True
        finally:
            left = self._users.pop(user) - 1
            if left:
                self._users[user] = left


class PerMinute:
    """At most `limit` requests of a user within any 60 seconds, counted in this process."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._users: dict[UUID, deque[float]] = {}
        self._swept = clock()

    def take(self, user: UUID) -> float:
        """Count a request: 0, or the seconds until the next one is free; then nothing was counted."""
        now = self._clock()
        self._sweep(now)
        times = self._users.setdefault(user, deque())
        while times and times[0] <= now - MINUTE:
            times.popleft()
        if len(times) >= self._limit:
            return times[0] + MINUTE - now
        times.append(now)
        return 0.0

    def _sweep(self, now: float) -> None:
        """Forget, once a minute, users who have not asked for a minute."""
        if now - self._swept >= MINUTE:
            self._swept = now
            self._users = {user: times for user, times in self._users.items() if times and times[-1] > now - MINUTE}


class Closed:
    """Users for whom there is nothing more until a moment that is known, so that nothing need be asked before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[UUID, float] = {}

    def close(self, user: UUID, seconds: float) -> None:
        now = self._clock()
        self._until = {one: until for one, until in self._until.items() if until > now}
        self._until[user] = now + seconds

    def seconds(self, user: UUID) -> float:
        """Seconds that are left; 0 when the user may ask."""
        return max(0.0, self._until.get(user, 0.0) - self._clock())


class Recent:
    """Users of whom something was noted within the last `seconds`."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._users: dict[UUID, float] = {}
        """In the order of their times."""

    def add(self, user: UUID) -> None:
        now = self._clock()
        self._users.pop(user, None)
        self._users[user] = now
        while now - next(iter(self._users.values())) > self._seconds:
            del self._users[next(iter(self._users))]

    def __contains__(self, user: UUID) -> bool:
        at = self._users.get(user)
        return at is not None and self._clock() - at <= self._seconds
