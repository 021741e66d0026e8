"""When a scheduled task is due: missed times, clock jumps, midnight in Seoul."""

from datetime import UTC, datetime, timedelta

import pytest

from eco2.jobs.schedule import LOCAL, judge, previous

DAILY, HOURLY = "0 2 * * *", "0 * * * *"


def seoul(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=LOCAL)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-25 02:00:00", "2026-11-25 02:00"),
        ("2026-11-25 02:00:00.5", "2026-11-25 02:00"),
        ("2026-11-25 01:59:59.999", "2026-11-24 02:00"),
        ("2026-11-25 23:59:59", "2026-11-25 02:00"),
    ],
)
def test_the_newest_planned_time_is_told_to_the_second(now: str, expected: str) -> None:
    assert previous(DAILY, seoul(now)) == seoul(expected)


def test_two_oclock_is_two_oclock_in_seoul() -> None:
    assert previous(DAILY, datetime(2026, 11, 24, 17, 30, tzinfo=UTC)) == seoul("2026-11-25 02:00")


def test_a_first_start_runs_nothing_of_the_past() -> None:
    verdict = judge(DAILY, None, seoul("2026-11-25 09:00"))
    assert verdict is not None
    assert (verdict.run, verdict.last) == (False, seoul("2026-11-25 02:00"))


def test_every_time_is_dealt_with_once() -> None:
    last, now, ran = seoul("2026-11-25 00:00"), seoul("2026-11-25 00:00:30"), []
    while now < seoul("2026-11-26 00:00"):
        verdict = judge(HOURLY, last, now)
        if verdict is not None:
            assert verdict.run
            last = verdict.last
            ran.append(last)
        now += timedelta(seconds=61)
    assert ran == [seoul("2026-11-25 00:00") + timedelta(hours=n) for n in range(1, 24)]


def test_a_missed_time_is_made_up_for_and_several_make_one_run() -> None:
    verdict = judge(DAILY, seoul("2026-11-20 02:00"), seoul("2026-11-25 09:00"))
    assert verdict is not None
    assert (verdict.run, verdict.last) == (True, seoul("2026-11-25 02:00"))


def test_a_clock_that_is_set_back_a_little_repeats_nothing() -> None:
    last = seoul("2026-11-25 02:00")
    for now in ("2026-11-25 01:55", "2026-11-25 02:00", "2026-11-25 03:00", "2026-11-26 01:59"):
        assert judge(DAILY, last, seoul(now)) is None
    assert judge(DAILY, last, seoul("2026-11-26 02:00")) is not None


def test_a_clock_that_was_wrong_by_years_does_not_stop_the_schedule() -> None:
    verdict = judge(DAILY, seoul("2031-01-01 02:00"), seoul("2026-11-25 09:00"))
    assert verdict is not None
    assert (verdict.run, verdict.last) == (False, seoul("2026-11-25 02:00"))
    following = judge(DAILY, verdict.last, seoul("2026-11-26 02:00"))
    assert following is not None
    assert following.run
