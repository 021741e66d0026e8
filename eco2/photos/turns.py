"""Fair turns at a scarce resource."""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator


class Turns:
    """`count` turns at once. Users that wait take turns; one user has all but one at most, where there are several."""

    def __init__(self, count: int) -> None:
        self._free, self._share = count, max(1, count - 1)
        self._held: Counter[object] = Counter()
        self._waiting: dict[object, deque[asyncio.Future[None]]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, user: object) -> AsyncIterator[None]:
        if self._free and self._held[user] < self._share:
            self._grant(user)
        else:
            await self._wait(user)
        try:
            yield
        finally:
            self._give_back(user)

    async def _wait(self, user: object) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it came at the same moment
                self._give_back(user)
            raise

    def _grant(self, user: object) -> None:
        self._free -= 1
        self._held[user] += 1

    def _give_back(self, user: object) -> None:
        self._free += 1
        self._held[user] -= 1
        if not self._held[user]:
            del self._held[user]
        for waiting in list(self._waiting):
            if self._free and self._held[waiting] < self._share:
                self._next(waiting)

    def _next(self, user: object) -> None:
        """Give the turn to the first of this user that still waits; the user's next one comes after all others."""
        line = self._waiting.pop(user)
        while line:
            turn = line.popleft()
            if not turn.done():
                self._grant(user)
                turn.set_result(None)
                break
        if line:
            self._waiting[user] = line
