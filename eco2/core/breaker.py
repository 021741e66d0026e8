"""A circuit breaker for a foreign server: it is left alone for a while after failures in a row."""

import time
from collections.abc import Callable

FAILURES, PAUSE, LONG_PAUSE = 5, 30.0, 600.0
"""So many failures in a row close the way for PAUSE seconds; a refused key for LONG_PAUSE."""


class Breaker:
    """Closed to calls for a while after too many failures in a row; the first call afterwards is a trial."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    def is_open(self) -> bool:
        return self._clock() < self._until

    def success(self) -> None:
        self._failures = 0

    def failure(self, pause: float | None = None) -> None:
        """`pause`: seconds that the other side asked for, or that nothing will help before."""
        self._failures += 1
        if pause is not None or self._failures >= FAILURES:
            self._until = self._clock() + (PAUSE if pause is None else pause)
            self._failures = FAILURES - 1
