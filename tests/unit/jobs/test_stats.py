"""From counted groups to the figures of a day."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, cast

import pytest

from eco2.jobs import stats


@dataclass
class Group:
    count: int
    status: str = "completed"
    seen_by: str | None = "gpt-5-mini"
    vision_source: str | None = "model"
    answer_source: str | None = "model"
    stream_id: str | None = "clear_pet"
    needs_choice: bool = False
    chosen: bool = False
    rewarded: bool = False


def figures(*groups: Group) -> stats.Figures:
    return stats.figures(cast("Any", groups))


def test_a_day_without_a_scan_has_its_zero() -> None:
    assert figures() == {("scans", "submitted"): 0}


def test_groups_add_up() -> None:
    found = figures(
        Group(10, rewarded=True),
        Group(5, vision_source="exact", stream_id="can"),
        Group(2, needs_choice=True, stream_id=None),
        Group(3, chosen=True),
        Group(4, "failed", None, None, None, None),
        Group(1, "queued", None, None, None, None),
    )
    assert found == {
        ("scans", "submitted"): 25,
        ("scans", "completed"): 20,
        ("scans", "failed"): 4,
        ("scans", "open"): 1,
        ("models", "gpt-5-mini"): 20,
        ("looks", "model"): 15,
        ("looks", "exact"): 5,
        ("answers", "model"): 20,
        ("streams", "clear_pet"): 13,
        ("streams", "can"): 5,
        ("choices", "asked"): 5,
        ("choices", "made"): 3,
        ("rewards", "granted"): 10,
    }


def test_a_day_lasts_from_midnight_to_midnight_in_seoul() -> None:
    start, end = stats.bounds(date(2026, 11, 25))
    assert (start, end) == (datetime(2026, 11, 24, 15, tzinfo=UTC), datetime(2026, 11, 25, 15, tzinfo=UTC))


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-26", "2026-02-30", "x; DROP TABLE"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(stats.BadDay):
        stats.a_day(text, date(2026, 11, 25))


@pytest.mark.parametrize(
    ("newest", "days"),
    [
        (None, ["2026-11-24"]),
        (date(2026, 11, 24), ["2026-11-24"]),
        (date(2026, 11, 25), ["2026-11-24"]),  # somebody looked at the running day
        (date(2026, 11, 22), ["2026-11-22", "2026-11-23", "2026-11-24"]),
    ],
)
def test_missed_days_are_made_up_for(newest: date | None, days: list[str]) -> None:
    assert [str(day) for day in stats.missing(newest, date(2026, 11, 25))] == days


def test_no_more_than_a_month_is_made_up_for() -> None:
    days = stats.missing(date(2025, 1, 1), date(2026, 11, 25))
    assert (len(days), days[-1]) == (stats.CATCH_UP_DAYS, date(2026, 11, 24))
