"""A circuit breaker: a provider that fails again and again is left alone for a while, then tried by one call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge

from eco2.llm.wire import Again, LlmFailed

OPENED = Counter("eco2_llm_breaker_opened_total", "Times that a provider was left alone", ["provider"])
OPEN = Gauge("eco2_llm_breaker_open", "1 while a provider is left alone", ["provider"])


class Breaker:
    """Of one provider in this process: closed, open, or half open while a probe is under way.

    `failures` attempts in a row that time out, break or end in a 5xx open it. Then calls fail at once, for `pause`
    seconds; after that one call goes through. Where it succeeds all do again, where it fails the pause begins anew.
    A refusal (429, another 4xx) shows that the provider is there.
    """

    def __init__(self, provider: str, failures: int, pause: float, clock: Callable[[], float]) -> None:
        self._name, self._most, self._pause, self._clock = provider, failures, pause, clock
        self._failed = 0
        self._opened_at: float | None = None
        self._probing = False
        OPEN.labels(provider).set(0)

    @property
    def open(self) -> bool:
        return self._opened_at is not None

    def check(self) -> None:
        """LlmFailed while the provider is left alone: for a caller that is about to wait for a turn."""
        if self._opened_at is None:
            return
        left = self._opened_at + self._pause - self._clock()
        if left > 0 or self._probing:
            raise LlmFailed("unavailable", f"{self._failed} attempts in a row failed; again in {max(left, 0):.0f} s")

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """An attempt within. LlmFailed where the breaker is open and this is no probe."""
        self.check()
        probe = self._probing = self._opened_at is not None
        try:
            yield
        except Again as error:
            if error.reason == "rate_limited":
                self._close()
            else:
                self._count(probe)
            raise
        except LlmFailed:
            self._close()
            raise
        else:
            self._close()
        finally:
            if probe:  # also where it was cancelled: the next call is the probe then
                self._probing = False

    def _count(self, probe: bool) -> None:
        """One that began before the breaker opened tells nothing new."""
        if self._opened_at is not None and not probe:
            return
        self._failed += 1
        if probe or self._failed >= self._most:
            self._opened_at = self._clock()
            OPENED.labels(self._name).inc()
            OPEN.labels(self._name).set(1)

    def _close(self) -> None:
        self._failed, self._opened_at = 0, None
        OPEN.labels(self._name).set(0)
