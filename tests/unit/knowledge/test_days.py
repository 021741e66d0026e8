"""Questions about collection days: when one is asked, for which district, and what is told."""

from datetime import date

import pytest

from eco2.knowledge import Lang, days
from eco2.knowledge.days import Area, DayQuestion, Schedule
from eco2.knowledge.districts import Districts, UnknownDistrict
from eco2.knowledge.models import Pickup

TODAY = date(2026, 11, 30)  # a Monday
MAPO = "서울특별시 마포구"


@pytest.fixture(scope="module")
def districts() -> Districts:
    return Districts.load(None)


def pickup(collection: str, *on: str, **more: str) -> Pickup:
    return Pickup.model_validate({"collection": collection, "days": on, **more})


FIRST = Area(
    "1구역",
    "합정동+망원1동",
    (
        pickup("general", "tue", "sun", from_time="18:00", until_time="24:00"),
        pickup("recycle", "wed", "sun"),
        pickup("vinyl", "thu", from_time="18:00", until_time="24:00"),
    ),
    no_pickup="토요일",
)
SECOND = Area("2구역", "공덕동", (pickup("general", "mon"), pickup("recycle", "mon", "fri")))
SCHEDULE = Schedule(MAPO, (FIRST, SECOND), date(2026, 6, 30), False, "배출정보", "행정안전부", "")


def told(text: str, schedule: Schedule | None = SCHEDULE, lang: Lang = "ko") -> str:
    asked = days.question(Districts.load(None), text)
    assert asked is not None
    return days.answer(asked, schedule, text, lang, TODAY)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("마포구 비닐 내놓는 날", [MAPO]),
        ("서울 마포구에서는 음식물 언제 버려요?", [MAPO]),
        ("마포구, 재활용 무슨 요일?", [MAPO]),
        ("수원시 영통구 쓰레기 배출일", ["경기도 수원시"]),
        ("인천 서구 비닐 수거일", ["인천광역시 서구"]),
    ],
)
def test_a_day_question_names_its_district(districts: Districts, text: str, named: list[str]) -> None:
    asked = days.question(districts, text)
    assert asked is not None
    assert list(asked.districts) == named


@pytest.mark.parametrize("text", ["마포구 비닐 어떻게 버려요?", "비닐 내놓는 날", "다시 언제 알려줘", "축구공 언제"])
def test_others_are_none(districts: Districts, text: str) -> None:
    assert days.question(districts, text) is None


def test_a_given_district_counts_where_the_text_names_none(districts: Districts) -> None:
    for district in ("마포구", MAPO):
        assert days.question(districts, "비닐 내놓는 날", district) == DayQuestion((MAPO,), ("vinyl",))
    assert days.question(districts, "비닐 내놓는 날", "없는구") is None
    elsewhere = DayQuestion(("부산광역시 해운대구",), ("vinyl",))
    assert days.question(districts, "부산 해운대구 비닐 내놓는 날", MAPO) == elsewhere


def test_the_day_and_its_source_are_told_by_area() -> None:
    text = told("마포구 비닐 내놓는 날")
    assert "비닐류 (1구역 합정동+망원1동): 목요일 18:00–24:00" in text
    assert "비닐류 (2구역 공덕동): 월·금요일 (재활용품과 같은 날)" in text
    assert "출처: 행정안전부 배출정보(2026-06-30 기준)" in text
    assert "음식물" not in text


def test_a_neighbourhood_decides_between_the_areas() -> None:
    text = told("마포구 합정동 비닐 내놓는 날")
    assert "비닐류: 목요일 18:00–24:00" in text
    assert "수거하지 않는 날: 토요일" in text


def test_without_data_it_says_so_and_whom_to_ask() -> None:
    assert "자료는 아직 없어요" in told("마포구 비닐 내놓는 날", None)
    assert "120" in told("마포구 비닐 내놓는 날", None, "en")


def test_an_ambiguous_district_is_asked_back() -> None:
    text = told("중구 비닐 내놓는 날")
    assert "서울특별시 중구, 부산광역시 중구" in text
    assert text.endswith("어디인가요?")


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (Schedule(MAPO, (FIRST,), date(2026, 6, 30), True, "견본", "Eco²", ""), "견본이에요"),
        (Schedule(MAPO, (FIRST,), date(2025, 6, 30), False, "배출정보", "행정안전부", ""), "1년이 넘은"),
    ],
)
def test_what_is_made_up_or_old_says_so(schedule: Schedule, said: str) -> None:
    assert said in told("마포구 비닐 내놓는 날", schedule)
    assert told("마포구 비닐 내놓는 날", schedule, "en").count("\n") >= 3


def test_dates_are_those_of_the_weekdays_also_over_a_leap_day() -> None:
    assert list(days.dates(FIRST, "vinyl", TODAY, 14)) == [date(2026, 12, 3), date(2026, 12, 10)]
    assert list(days.dates(FIRST, "recycle", date(2028, 2, 27), 5)) == [date(2028, 2, 27), date(2028, 3, 1)]
    assert list(days.dates(SECOND, "vinyl", TODAY, 5)) == [TODAY, date(2026, 12, 4)]
    assert list(days.dates(SECOND, "food", TODAY, 92)) == []


@pytest.mark.parametrize(
    ("said", "name"),
    [("마포", "서울특별시 마포구"), ("부산 해운대", "부산광역시 해운대구"), ("서울특별시 마포", "서울특별시 마포구")],
)
def test_a_district_is_named_without_its_ending(said: str, name: str) -> None:
    assert Districts.load(None).named(said) == name


@pytest.mark.parametrize("said", ["광주", "제주", "서울 중", "강서", "고성"])
def test_a_short_name_that_may_be_another_place_is_refused(said: str) -> None:
    with pytest.raises(UnknownDistrict):
        Districts.load(None).named(said)
