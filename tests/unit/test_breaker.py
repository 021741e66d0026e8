from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import REGISTRY

from eco2.llm.breaker import Breaker
from eco2.llm.wire import Again, LlmFailed


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("p", 3, 30, clock)


@contextmanager
def ending(breaker: Breaker, error: Exception | None) -> Iterator[None]:
    """An attempt that ends with this error when the block does."""
    with pytest.raises(type(error)) if error else _nothing(), breaker.attempt():
        yield
        if error:
            raise error


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def fail(breaker: Breaker, reason: str = "timeout", times: int = 1) -> None:
    for _ in range(times):
        with ending(breaker, Again(reason, "")):
            pass


def test_failures_in_a_row_open_it_and_then_nothing_is_tried(breaker: Breaker) -> None:
    fail(breaker, times=2)
    breaker.check()
    fail(breaker, "server_error")
    assert REGISTRY.get_sample_value("eco2_llm_breaker_open", {"provider": "p"}) == 1
    with pytest.raises(LlmFailed, match="unavailable"):
        breaker.check()
    with pytest.raises(LlmFailed, match="unavailable"), breaker.attempt():
        pytest.fail("tried")


@pytest.mark.parametrize("answer", [None, Again("rate_limited", ""), LlmFailed("rejected")])
def test_an_answer_between_them_begins_the_count_anew(breaker: Breaker, answer: Exception | None) -> None:
    fail(breaker, times=2)
    with ending(breaker, answer):
        pass
    fail(breaker, times=2)
    breaker.check()


def test_one_probe_at_a_time_and_its_success_closes(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, times=3)
    clock.now += 30
    with breaker.attempt(), pytest.raises(LlmFailed, match="unavailable"):
        breaker.check()
    breaker.check()
    assert not breaker.open
    fail(breaker, times=2)
    breaker.check()


def test_a_probe_that_fails_begins_the_pause_anew(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, times=3)
    clock.now += 30
    fail(breaker)
    clock.now += 29
    with pytest.raises(LlmFailed, match="unavailable"):
        breaker.check()
    clock.now += 1
    breaker.check()


def test_a_probe_that_is_cancelled_leaves_its_place_to_the_next(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, times=3)
    clock.now += 30
    with pytest.raises(KeyboardInterrupt), breaker.attempt():
        raise KeyboardInterrupt
    with breaker.attempt():
        pass
    assert not breaker.open


def test_calls_that_were_under_way_when_it_opened_neither_prolong_nor_close_the_count(
    breaker: Breaker, clock: Clock
) -> None:
    with ending(breaker, Again("timeout", "")):
        fail(breaker, times=3)
        clock.now += 20
    clock.now += 10
    breaker.check()


def test_a_late_answer_closes_it(breaker: Breaker) -> None:
    with breaker.attempt():
        fail(breaker, times=3)
    assert not breaker.open
