"""Limits of one user in a process: counted exactly, forgotten in time, apart from all others."""

import uuid

from eco2.core.turns import AtOnce, Closed, PerMinute, Recent

ONE, OTHER = uuid.uuid4(), uuid.uuid4()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_so_many_in_any_minute_and_the_wait_is_told_to_the_second() -> None:
    clock = Clock()
    counted = PerMinute(3, clock)
    for _ in range(3):
        assert counted.take(ONE) == 0
        clock.now += 10
    assert counted.take(ONE) == 30
    assert counted.take(OTHER) == 0
    clock.now += 29
    assert counted.take(ONE) == 1, "asking in vain counts for nothing"
    clock.now += 1
    assert counted.take(ONE) == 0
    assert counted.take(ONE) == 10


def test_users_who_ask_no_more_are_forgotten() -> None:
    clock = Clock()
    counted, noted, closed = PerMinute(3, clock), Recent(5, clock), Closed(clock)
    for _ in range(1000):
        user = uuid.uuid4()
        counted.take(user)
        noted.add(user)
        closed.close(user, 5)
    clock.now += 61
    counted.take(ONE)
    noted.add(ONE)
    closed.close(ONE, 5)
    assert len(counted._users) == len(noted._users) == len(closed._until) == 1


def test_what_was_noted_holds_for_its_time() -> None:
    clock = Clock()
    noted, closed = Recent(5, clock), Closed(clock)
    noted.add(ONE)
    closed.close(ONE, 5)
    assert (ONE in noted, OTHER in noted) == (True, False)
    assert (closed.seconds(ONE), closed.seconds(OTHER)) == (5, 0)
    clock.now += 5.5
    assert (ONE in noted, closed.seconds(ONE)) == (False, 0)


def test_so_many_at_once_and_a_place_is_free_again_afterwards() -> None:
    waits = AtOnce(1)
    with waits.place(ONE) as first, waits.place(ONE) as second, waits.place(OTHER) as other:
        assert (first, second, other) == (True, False, True)
    with waits.place(ONE) as again:
        assert again
    assert not waits._users
