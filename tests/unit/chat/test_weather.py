"""Weather: squares of the map, days and places of a question, the sentence about a day."""

from datetime import UTC, date, datetime

import pytest

from eco2.chat.agent.state import Intent, Location, Memory, Question
from eco2.chat.agent.weather import PLACES, days_of, place_of, told
from eco2.chat.kma import Hour, newest, square_of

TODAY = date(2026, 11, 30)  # a Monday


@pytest.mark.parametrize(
    ("place", "square"),
    [((37.5665, 126.9780), (60, 127)), ((35.1796, 129.0756), (98, 76)), ((33.4996, 126.5312), (53, 38))],
    ids=["Seoul", "Busan", "Jeju"],
)
def test_squares_are_those_of_the_forecast(place: tuple[float, float], square: tuple[int, int]) -> None:
    assert square_of(*place) == square
    assert square_of(*place).forecast


def test_every_city_is_on_the_map_and_what_is_elsewhere_is_not() -> None:
    assert all(square_of(latitude, longitude).forecast for _, latitude, longitude in PLACES.values())
    for latitude, longitude in ((40.7, -74.0), (-33.9, 151.2), (90, 0), (-90, 180), (0, 0)):
        assert not square_of(latitude, longitude).forecast


@pytest.mark.parametrize(
    ("now", "issued"),
    [
        ("2026-11-30T05:14", "2026-11-30T02:00"),
        ("2026-11-30T05:15", "2026-11-30T05:00"),
        ("2026-11-30T02:10", "2026-11-29T23:00"),
        ("2026-11-30T23:59", "2026-11-30T20:00"),
        ("2026-12-01T00:00", "2026-11-30T23:00"),
    ],
)
def test_the_newest_forecast_is_the_one_that_is_there(now: str, issued: str) -> None:
    at = datetime.fromisoformat(f"{now}+09:00").astimezone(UTC)
    assert newest(at) == datetime.fromisoformat(f"{issued}+09:00")


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("날씨 어때?", [30]),
        ("내일 비 와?", [1]),
        ("모레는?", [2]),
        ("What about the day after tomorrow?", [2]),
        ("글피 날씨", [3]),
        ("수요일 날씨", [2]),
        ("월요일 날씨", [30]),
        ("주말 날씨 알려줘", [5, 6]),
        ("다음 주 금요일 날씨", [11]),
        ("다음 주말 날씨", [12, 13]),
        ("다음 주 날씨 어때?", [7, 8, 9, 10, 11, 12, 13]),
        ("지난주 금요일 날씨", [27]),
        ("이번 주 날씨", [30]),
        ("어제 비 왔어?", [29]),
    ],
)
def test_days_of_a_question(text: str, days: list[int]) -> None:
    assert [day.day for day in days_of(text, TODAY)] == days


def test_the_place_is_what_is_named_then_where_it_goes_on_from_then_where_the_user_is() -> None:
    here = Location(35.0, 128.0)
    busan = Memory(subject=Intent.WEATHER, city="부산")
    assert (place_of(Question("서울 날씨", busan, here)) or ("",))[0] == "서울"
    assert (place_of(Question("weather in Jeju", Memory())) or ("",))[0] == "제주"
    assert (place_of(Question("내일은?", busan, here)) or ("",))[0] == "부산"
    assert (place_of(Question("여기 날씨는?", busan, here)) or ("", "", None))[2] == here
    assert (place_of(Question("날씨", Memory(district="대전 유성구"))) or ("",))[0] == "대전"
    assert place_of(Question("날씨", Memory())) is None


@pytest.mark.parametrize(
    ("text", "city"),
    [
        ("해운대구 날씨", ""),
        ("경기도 광주 날씨", ""),
        ("weather in Gwangju, Gyeonggi", ""),
        ("여수동 날씨", ""),
        ("세종로 날씨", ""),
        ("세종대로 비 와?", ""),
        ("부산 해운대구 날씨", "부산"),
        ("광주광역시 날씨", "광주"),
        ("서울날씨", "서울"),
        ("대구에서는요?", "대구"),
        ("제주도는 비 와?", "제주"),
        ("세종으로 가는데 비 와?", "세종"),
        ("부산역 날씨", "부산"),
        ("서울이에요", "서울"),
    ],
)
def test_a_city_is_a_word_of_its_own(text: str, city: str) -> None:
    assert (place_of(Question(text, Memory())) or ("",))[0] == city


def _hours(falls: int = 0, chance: int = 20) -> list[Hour]:
    return [Hour(f"2026-12-01T{hour:02}:00:00+09:00", hour % 7, 4, falls, chance) for hour in range(6, 22)]


def test_a_day_in_a_sentence() -> None:
    dry = told(date(2026, 12, 1), TODAY, "서울", _hours(), "ko")
    assert dry == "내일(12월 1일) 서울 날씨: 기온 0~6도, 흐림, 비 소식 없음(강수 확률 최고 20%)."
    wet = told(date(2026, 12, 1), TODAY, "Seoul", _hours(falls=1, chance=80), "en")
    assert wet == "Weather tomorrow (December 1), Seoul: 0 to 6 °C, overcast, rain from 6:00 (up to 80 %)."
    assert "비나 눈이 올 수 있음" in told(date(2026, 12, 1), TODAY, "서울", _hours(chance=60), "ko")
    bare = [Hour("2026-12-03T06:00:00+09:00")]
    assert told(date(2026, 12, 3), TODAY, "서울", bare, "ko") == "12월 3일 서울 날씨: 비 소식 없음(강수 확률 최고 0%)."
