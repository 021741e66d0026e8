"""Opening hours of public data, as people write them, and whether a place is open at a moment."""

import json
import time
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from eco2.knowledge import holidays
from eco2.location import hours, opening
from eco2.location.opening import DAYS, KOREA, Hours

EVERY = dict.fromkeys(DAYS, "")
CALENDAR = holidays.load()


def daily(*spans: tuple[str, str]) -> dict[str, Any]:
    return {"weekly": {day: [list(span) for span in spans] for day in DAYS}}


def stored(form: dict[str, Any]) -> Hours:
    """Hours of a stored form, which is written as it was."""
    found = opening.read(json.dumps(form))
    assert json.loads(opening.write(found)) == form
    return found


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("휴무", daily()),
        ("전체휴무", daily()),
        ("계약종료", {"closed": True}),
        ("상시", {"always": True}),
        ("00:00~24:00", {"always": True}),
        ("00:00~00:00", {"always": True}),
        ("24시간", {"always": True}),
        ("09:00~18:00", daily(("09:00", "18:00"))),
        ("09:00 ~ 21:00", daily(("09:00", "21:00"))),
        ("9:00 ~ 11:00", daily(("09:00", "11:00"))),
        ("08시~22시", daily(("08:00", "22:00"))),
        ("오전 9시 ~ 오후 6시 30분", daily(("09:00", "18:30"))),
        ("오후 12:00~오전 12:00", daily(("12:00", "24:00"))),
        ("18:00~24:00", daily(("18:00", "24:00"))),
        ("09:00 ~ 12:00,\n14:00 ~ 17:00", daily(("09:00", "12:00"), ("14:00", "17:00"))),
        ("22:00~02:00", daily(("00:00", "02:00"), ("22:00", "24:00"))),
        ("9시~6시", daily(("09:00", "18:00"))),
        ("오전 9시 30분 ~ 6시", daily(("09:30", "18:00"))),
        ("9:00~12:00", daily(("09:00", "12:00"))),
        ("10:00~02:00", daily(("00:00", "02:00"), ("10:00", "24:00"))),
        ("오후 6시~2시", daily(("00:00", "02:00"), ("18:00", "24:00"))),
        (
            "10:00~12:00\n14:00~16:00\n(1,3,5주)",
            {**daily(("10:00", "12:00"), ("14:00", "16:00")), "weeks_of_month": [1, 3, 5]},
        ),
        (
            "10시~22시 (하절기(7~9월) 10시~23시)",
            {
                **daily(("10:00", "22:00")),
                "season": [{"from": "07-01", "to": "09-30", **daily(("10:00", "23:00"))}],
            },
        ),
        ("문의 바람", {}),
        ("09:00~09:00", {}),
        ("25:00~26:00", {}),
        ("(2, 4주)", {}),
    ],
)
def test_the_same_cell_on_every_day(cell: str, expected: dict[str, Any]) -> None:
    found = hours.of_days(dict.fromkeys(DAYS, cell))
    assert found is not None
    assert found == stored({"raw": cell, **expected})


def test_a_night_belongs_to_two_days() -> None:
    found = hours.of_days({**EVERY, "fri": "20:00~02:00"})
    assert found is not None
    assert found.weekly == {"fri": [["20:00", "24:00"]], "sat": [["00:00", "02:00"]]}


def test_every_week_on_one_day_closes_the_others() -> None:
    found = hours.of_days(dict.fromkeys(DAYS, "13:00~15:00 (매주 목요일)"))
    assert found is not None
    assert found.weekly == daily()["weekly"] | {"thu": [["13:00", "15:00"]]}


def test_empty_cells_say_nothing() -> None:
    assert hours.of_days(EVERY) is None
    assert hours.of_text("", "") is None


WEEK = {day: [["09:00", "18:00"]] for day in DAYS[:5]}
WEEK_WITH_LUNCH = {day: [["09:00", "12:00"], ["13:00", "18:00"]] for day in DAYS[:5]}
SIX_DAYS = {**WEEK, "sat": [["09:00", "18:00"]]}


@pytest.mark.parametrize(
    ("text", "closed_days", "expected"),
    [
        (
            "평일 09:00~18:00, 토요일 09:00~13:00, 일·공휴일 휴무",
            "",
            {"weekly": {**WEEK, "sat": [["09:00", "13:00"]], "sun": []}, "holiday": "closed"},
        ),
        ("월~금 09:00~18:00", "", {"weekly": WEEK}),
        ("월요일~금요일 09:00~18:00 / 주말 휴무", "", {"weekly": {**WEEK, "sat": [], "sun": []}}),
        ("월,수,금 13:00~17:00", "", {"weekly": {day: [["13:00", "17:00"]] for day in ("mon", "wed", "fri")}}),
        ("연중무휴 10:00-20:00", "", {**daily(("10:00", "20:00")), "holiday": "open"}),
        ("09:00~18:00 (설날 휴무)", "", {**daily(("09:00", "18:00")), "closed_on": ["설날"]}),
        ("09:00~18:00, 설·추석 당일 휴무", "", {**daily(("09:00", "18:00")), "closed_on": ["설날", "추석"]}),
        (
            "09:00~18:00",
            "일요일, 공휴일",
            {"weekly": {**daily(("09:00", "18:00"))["weekly"], "sun": []}, "holiday": "closed"},
        ),
        ("09:00~18:00", "토+일", {"weekly": {**WEEK, "sat": [], "sun": []}}),
        ("평일 09:00~18:00(토,일,공휴일 휴무)", "", {"weekly": {**WEEK, "sat": [], "sun": []}, "holiday": "closed"}),
        ("평일 09:00~18:00 (공휴일 제외)", "", {"weekly": WEEK, "holiday": "closed"}),
        ("09:00~18:00 (일요일 및 공휴일 휴무)", "", {"weekly": {**SIX_DAYS, "sun": []}, "holiday": "closed"}),
        ("일요일 휴무, 09:00~18:00", "", {"weekly": {**SIX_DAYS, "sun": []}}),
        ("평일 09:00~18:00(점심시간 12:00~13:00)", "", {"weekly": WEEK_WITH_LUNCH}),
        ("평일 09:00~18:00, 점심시간 12~13시 제외", "", {"weekly": WEEK_WITH_LUNCH}),
        ("평일 09:00~18:00 (점심시간 12:00~13:00 정상운영)", "", {"weekly": WEEK}),
        ("평일 09:00~18:00 토요일 09:00~13:00", "", {"weekly": {**WEEK, "sat": [["09:00", "13:00"]]}}),
        ("(평일)09:00~18:00 (토)09:00~13:00", "", {"weekly": {**WEEK, "sat": [["09:00", "13:00"]]}}),
        ("09:00~18:00(평일), 09:00~13:00(토)", "", {"weekly": {**WEEK, "sat": [["09:00", "13:00"]]}}),
        ("평일 09:00:00~18:00:00", "", {"weekly": WEEK}),
        ("연중무휴", "", {"holiday": "open"}),
        ("09:00~18:00", "일요일, 설날", {"weekly": {**SIX_DAYS, "sun": []}, "closed_on": ["설날"]}),
        # Nothing is known about a Sunday that is a day of rest in some weeks.
        ("09:00~18:00", "매월 둘째 주 일요일", {"weekly": SIX_DAYS}),
        ("09:00~18:00 (매월 둘째, 넷째 일요일 휴무)", "", {"weekly": SIX_DAYS}),
    ],
)
def test_one_cell_about_all_days(text: str, closed_days: str, expected: dict[str, Any]) -> None:
    found = hours.of_text(text, closed_days)
    assert found is not None
    assert found == stored({"raw": found.raw, **expected})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=KOREA)


OFFICE = hours.of_text("평일 09:00~12:00, 평일 13:00~18:00, 주말·공휴일 휴무")
NIGHT = hours.of_days({**EVERY, "fri": "20:00~02:00", "sat": "휴무"})
SEOLLAL = hours.of_text("매일 10:00~20:00 (설 연휴 휴무)")
CENTRE = hours.of_days(dict.fromkeys(DAYS, "09:00~18:00"), "10:00~15:00")
ODD_WEEKS = hours.of_days({**EVERY, "mon": "10:00~12:00 (1,3,5주)"})
SUMMER = hours.of_days(dict.fromkeys(DAYS, "10시~22시 (하절기(7~9월) 10시~23시)"))
EVERY_NIGHT = hours.of_text("매일 22:00~02:00")
BAR = hours.of_text("매일 22:00~02:00, 공휴일 휴무")
WINTER = stored({**daily(), "season": [{"from": "11-01", "to": "02-29", **daily(("10:00", "12:00"))}]})


@pytest.mark.parametrize(
    ("known", "moment", "is_open", "is_holiday"),
    [
        (OFFICE, "2026-11-30T08:59:59", False, False),
        (OFFICE, "2026-11-30T09:00", True, False),
        (OFFICE, "2026-11-30T12:30", False, False),  # lunch
        (OFFICE, "2026-11-30T18:00", False, False),
        (OFFICE, "2026-11-29T10:00", False, True),  # Sunday
        (OFFICE, "2026-12-25T10:00", False, True),  # a Friday that is a holiday
        (OFFICE, "2026-12-24T23:59:59", False, False),  # the minute before, and the first of the holiday
        (OFFICE, "2026-12-25T00:00", False, True),
        (NIGHT, "2026-11-27T23:59", True, False),
        (NIGHT, "2026-11-28T01:59", True, False),
        (NIGHT, "2026-11-28T02:00", False, False),
        (NIGHT, "2026-11-30T12:00", None, None),  # a day that nothing is said about
        (BAR, "2026-12-25T01:00", True, False),  # Thursday's night goes on into the holiday
        (BAR, "2026-12-25T02:00", False, False),
        (BAR, "2026-12-25T23:00", False, False),
        (BAR, "2026-12-26T01:00", False, False),  # and the holiday's night does not come
        (BAR, "2026-12-26T23:00", True, False),
        (EVERY_NIGHT, "2026-12-25T01:00", True, False),
        (EVERY_NIGHT, "2026-12-25T23:00", None, None),
        (EVERY_NIGHT, "2026-12-26T01:00", None, False),  # who knows whether it opened on the holiday
        (EVERY_NIGHT, "2026-12-26T03:00", False, False),
        (SEOLLAL, "2027-02-06T12:00", False, True),
        (SEOLLAL, "2027-02-07T12:00", False, True),
        (SEOLLAL, "2027-02-10T12:00", True, False),
        (SEOLLAL, "2026-12-25T12:00", None, None),  # not said for other holidays
        (CENTRE, "2026-12-25T16:00", False, False),
        (CENTRE, "2026-12-25T14:00", True, False),
        (ODD_WEEKS, "2026-11-30T11:00", True, False),  # the fifth Monday
        (ODD_WEEKS, "2026-11-09T11:00", False, True),
        (SUMMER, "2026-09-30T22:30", True, False),
        (SUMMER, "2026-10-01T22:30", False, False),
        (WINTER, "2028-02-29T11:00", True, False),  # a leap day
        (WINTER, "2028-03-02T11:00", False, True),
        (stored({"always": True}), "2026-12-25T03:00", True, False),
        (stored({"closed": True}), "2026-11-30T12:00", False, True),
        (stored({"raw": "모름"}), "2026-11-30T12:00", None, None),
        (None, "2026-11-30T12:00", None, None),
    ],
)
def test_state_at_a_moment(known: Hours | None, moment: str, is_open: bool | None, is_holiday: bool | None) -> None:
    found = opening.today(known, at(moment), CALENDAR)
    assert (found.is_open, found.is_holiday) == (is_open, is_holiday)


def test_the_day_is_that_of_korea() -> None:
    utc = datetime.fromisoformat("2026-11-29T23:30:00+00:00")  # Monday half past eight in Korea
    assert opening.today(OFFICE, utc, CALENDAR).is_open is False
    assert opening.today(OFFICE, utc + timedelta(minutes=30), CALENDAR).is_open is True


def test_times_of_the_day_span_the_break() -> None:
    found = opening.today(OFFICE, at("2026-11-30T12:30"), CALENDAR)
    assert (found.start_time, found.end_time) == ("09:00", "18:00")


def test_times_of_a_night_are_those_at_which_it_opens_and_closes() -> None:
    every_night = hours.of_days(dict.fromkeys(DAYS, "22:00~02:00"))
    for moment in ("2026-11-30T01:00", "2026-11-30T12:00", "2026-11-30T23:00"):
        found = opening.today(every_night, at(moment), CALENDAR)
        assert (found.start_time, found.end_time) == ("22:00", "02:00")
    friday = opening.today(NIGHT, at("2026-11-27T23:00"), CALENDAR)
    assert (friday.start_time, friday.end_time) == ("20:00", "02:00")


@pytest.mark.parametrize("text", ["월 " * 5000, "1 " * 5000, "월,일" * 5000, "점심 1" * 5000, "09:00~" * 5000])
def test_a_long_text_takes_no_time_to_speak_of(text: str) -> None:
    before = time.process_time()
    hours.of_text(text[:2000])
    assert time.process_time() - before < 1.0


def test_holidays_are_known_for_years_and_can_be_decreed(tmp_path: Any) -> None:
    assert CALENDAR[date(2026, 9, 25)] == ("추석",)
    assert CALENDAR[date(2025, 5, 5)] == ("부처님오신날", "어린이날")
    assert date(2026, 9, 28) not in CALENDAR
    assert max(CALENDAR) > datetime.now(KOREA).date() + timedelta(days=3 * 365), (
        "run `python -m tools.holidays` with later years"
    )
    (tmp_path / "holidays.yaml").write_text("computed: {2026-05-05: 어린이날}\ndecreed: {2026-05-04: 임시공휴일}\n")
    assert set(holidays.load(tmp_path)) == {date(2026, 5, 4), date(2026, 5, 5)}
