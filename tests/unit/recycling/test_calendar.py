"""The iCalendar file and the choice of stream and area."""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from icalendar import Calendar

from eco2 import knowledge
from eco2.knowledge import holidays
from eco2.knowledge.days import Area, Schedule
from eco2.knowledge.models import Pickup
from eco2.knowledge.regions import DAYS
from eco2.recycling import calendar

BOOK = holidays.load()
CHECKED = date(2026, 6, 30)  # a Tuesday
SEOUL = ZoneInfo("Asia/Seoul")


def schedule(*areas: Area, sample: bool = False) -> Schedule:
    return Schedule("서울특별시 마포구", areas, CHECKED, sample, "배출정보", "행정안전부", "")


def area(name: str, *pickups: Pickup) -> Area:
    return Area(name, "합정동+망원1동", pickups, no_pickup="토요일, 설날; 추석", office="자원순환과", tel="02-120")


NIGHT = Pickup(collection="general", days=("mon", "wed"), from_time="20:00", until_time="05:00", place_ko="집 앞, 골목")
MIDNIGHT = Pickup(collection="vinyl", days=("thu",), from_time="18:00", until_time="24:00", method_ko="비" * 200)
ANY_TIME = Pickup(collection="recycle", days=("tue",))
WORDS = Pickup(collection="food", method_ko="구청에 문의")


def events(body: bytes) -> dict[str, dict[str, object]]:
    parsed = Calendar.from_ical(body)
    found = (event for event in parsed.walk("VEVENT"))
    return {str(event["summary"]): {key: event.decoded(key) for key in ("dtstart", "dtend")} for event in found}


def test_events_begin_on_the_first_day_of_the_data_and_end_past_midnight() -> None:
    found = schedule(area("1구역", NIGHT, MIDNIGHT, ANY_TIME, WORDS))
    shown = events(calendar.icalendar(found, found.areas, None, BOOK))
    start = datetime(2026, 7, 1, 20, tzinfo=SEOUL)
    assert shown["일반쓰레기 내놓는 날"] == {"dtstart": start, "dtend": start + timedelta(hours=9)}
    assert shown["비닐류 내놓는 날"]["dtend"] == datetime(2026, 7, 3, tzinfo=SEOUL)
    assert shown["재활용품 내놓는 날"] == {"dtstart": date(2026, 6, 30), "dtend": date(2026, 7, 1)}
    assert "음식물 내놓는 날" not in shown


def test_the_file_says_the_same_whenever_it_is_asked_for_and_keeps_its_lines_short() -> None:
    found = schedule(area("1구역", MIDNIGHT), sample=True)
    body = calendar.icalendar(found, found.areas, "vinyl", BOOK)
    assert body == calendar.icalendar(found, found.areas, "vinyl", BOOK)
    assert all(len(line) <= 75 for line in body.split(b"\r\n"))
    assert b"RRULE:FREQ=WEEKLY;BYDAY=TH" in body
    assert b"TZID:Asia/Seoul" in body
    (event,) = Calendar.from_ical(body).walk("VEVENT")
    description = str(event["description"])
    assert "견본" in description
    assert "수거하지 않는 날: 토요일, 설날; 추석" in description


def test_ids_of_events_stay_when_days_change_and_differ_by_area() -> None:
    before = schedule(area("1구역", MIDNIGHT), area("2구역", MIDNIGHT))
    moved = MIDNIGHT.model_copy(update={"days": ("fri",)})
    after = schedule(area("1구역", moved), area("2구역", moved))
    ids = [
        [
            str(event["uid"])
            for event in Calendar.from_ical(calendar.icalendar(one, one.areas, None, BOOK)).walk("VEVENT")
        ]
        for one in (before, after)
    ]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2


def test_a_file_without_a_day_is_refused() -> None:
    found = schedule(area("1구역", WORDS))
    with pytest.raises(calendar.NotCollected):
        calendar.icalendar(found, found.areas, None, BOOK)


@pytest.mark.parametrize(
    ("stream", "collection"),
    [(None, None), ("vinyl", "vinyl"), ("paper_mixed", "recycle"), ("general", "general"), ("general_bag", "general")],
)
def test_a_stream_is_put_out_with_a_collection(stream: str | None, collection: str | None) -> None:
    assert calendar.collection(knowledge.load(), stream) == collection


@pytest.mark.parametrize("stream", ["battery_bin", "medicine_box", "nothing", ""])
def test_what_is_taken_somewhere_has_no_day(stream: str) -> None:
    with pytest.raises(calendar.NotCollected):
        calendar.collection(knowledge.load(), stream)


def test_an_area_is_named_by_itself_or_by_a_neighbourhood() -> None:
    first, second = area("1구역", ANY_TIME), Area("2구역", "공덕동", (ANY_TIME,))
    found = schedule(first, second)
    assert calendar.areas(found, None) == (first, second)
    assert calendar.areas(found, "2구역") == calendar.areas(found, "공덕동") == (second,)
    with pytest.raises(calendar.AreaNotFound, match="1구역, 2구역"):
        calendar.areas(found, "하늘동")


def test_days_ahead_are_sorted_and_bounded() -> None:
    found = calendar.upcoming(area("1구역", NIGHT, ANY_TIME), None, date(2026, 11, 30), 8, BOOK)
    assert found == [
        (date(2026, 11, 30), "general"),
        (date(2026, 12, 1), "recycle"),
        (date(2026, 12, 2), "general"),
        (date(2026, 12, 7), "general"),
    ]
    for first in (date.min, date.max):
        with pytest.raises(calendar.DayOutOfRange):
            calendar.start(first, date(2026, 11, 30))


def test_holidays_without_collection_are_left_out() -> None:
    every_day = Pickup(collection="recycle", days=tuple(DAYS))
    at = date(2027, 2, 5)  # the new year is the 7th

    def left_out(no_pickup: str) -> list[int]:
        asked = Area("1구역", "", (every_day,), no_pickup=no_pickup)
        shown = {day for day, _ in calendar.upcoming(asked, None, at, 6, BOOK)}
        return [day for day in range(5, 11) if date(2027, 2, day) not in shown]

    assert left_out("토요일, 설날; 추석") == [7]
    assert left_out("명절 연휴") == [6, 7, 8]
    assert left_out("공휴일") == [6, 7, 8, 9]
    assert left_out("공휴일 정상수거") == left_out("") == []


def test_the_file_leaves_out_the_same_holidays() -> None:
    found = schedule(area("1구역", ANY_TIME, NIGHT))
    body = calendar.icalendar(found, found.areas, None, BOOK)
    left_out = {
        str(event["summary"]): {one.dt for row in _rows(event.get("exdate")) for one in row.dts}
        for event in Calendar.from_ical(body).walk("VEVENT")
    }
    assert date(2029, 2, 13) in left_out["재활용품 내놓는 날"], "a Tuesday, the new year"
    assert date(2028, 8, 15) not in left_out["재활용품 내놓는 날"], "a holiday on which it is taken"
    assert all(one.tzinfo and one.hour == 20 for one in left_out["일반쓰레기 내놓는 날"])


def _rows(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]
