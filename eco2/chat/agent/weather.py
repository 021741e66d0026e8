"""The weather of a day at a place, from a forecast."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from eco2.chat.agent.state import Context, Intent, Json, Location, Part, Question, State
from eco2.chat.agent.texts import say
from eco2.chat.kma import KOREA, Hour, square_of
from eco2.knowledge.answer import Lang

PLACES: dict[str, tuple[str, float, float]] = {
    "서울": ("Seoul", 37.5665, 126.9780),
    "부산": ("Busan", 35.1796, 129.0756),
    "대구": ("Daegu", 35.8714, 128.6014),
    "인천": ("Incheon", 37.4563, 126.7052),
    "광주": ("Gwangju", 35.1595, 126.8526),
    "대전": ("Daejeon", 36.3504, 127.3845),
    "울산": ("Ulsan", 35.5384, 129.3114),
    "세종": ("Sejong", 36.4801, 127.2890),
    "수원": ("Suwon", 37.2636, 127.0286),
    "춘천": ("Chuncheon", 37.8813, 127.7298),
    "강릉": ("Gangneung", 37.7519, 128.8761),
    "청주": ("Cheongju", 36.6424, 127.4890),
    "천안": ("Cheonan", 36.8151, 127.1139),
    "전주": ("Jeonju", 35.8242, 127.1480),
    "목포": ("Mokpo", 34.8118, 126.3922),
    "여수": ("Yeosu", 34.7604, 127.6622),
    "포항": ("Pohang", 36.0190, 129.3435),
    "안동": ("Andong", 36.5684, 128.7294),
    "창원": ("Changwon", 35.2280, 128.6811),
    "제주": ("Jeju", 33.4996, 126.5312),
}
"""Cities by their Korean name: English name, latitude, longitude of the city hall."""
_AFTER = (
    r"(?:특별자치시|특별자치도|특별시|광역시|시내|시|도)?(?:역|공항)?"
    r"(?:은|는|이|가|을|를|의|에|서|도|만|랑|과|와|쪽|요|야|고|으로|(?<!세종)로|하고|부터|까지|지역|인데|예요|입니다)*"
    r"(?=$|[^가-힣]|날씨|기온|미세|오늘|내일|모레|글피|주말)"
)
_CITIES = {ko: re.compile(rf"(?<![가-힣]){ko}{_AFTER}|\b{en}\b", re.IGNORECASE) for ko, (en, _, _) in PLACES.items()}
"""A city's name as a word of its own: 해운대구 is not in 대구, 세종로 is not in 세종."""
_ANOTHER = re.compile(r"경기도?\s*광주|gyeonggi(?:-do)?[\s,]*gwangju|gwangju(?:-si)?[\s,]*gyeonggi", re.IGNORECASE)
"""A city that has the name of a larger one."""
_DAYS = (
    (re.compile(r"글피|in three days", re.IGNORECASE), 3),
    (re.compile(r"모레|day after tomorrow", re.IGNORECASE), 2),
    (re.compile(r"내일|tomorrow", re.IGNORECASE), 1),
)
_WEEKS = (
    (re.compile(r"다음\s*주|담\s*주|next week", re.IGNORECASE), 1),
    (re.compile(r"이번\s*주|금주|this week", re.IGNORECASE), 0),
    (re.compile(r"지난\s*주|저번\s*주|last week", re.IGNORECASE), -1),
)
_YESTERDAY = re.compile(r"어제|yesterday", re.IGNORECASE)
_WEEKEND = re.compile(r"주말|weekend", re.IGNORECASE)
_WEEKDAYS = (
    r"월요일|monday", r"화요일|tuesday", r"수요일|wednesday", r"목요일|thursday", r"금요일|friday",
    r"토요일|saturday", r"일요일|sunday",
)  # fmt: skip
_TOLD: dict[str, str] = {
    "today": "today",
    "tomorrow": "tomorrow",
    "day_after_tomorrow": "day after tomorrow",
    "in_three_days": "in three days",
    "weekend": "weekend",
}
"""Day as a paid model tells it → words for it."""
AHEAD = 3
"""Days from today that are forecast."""
_HERE = re.compile(r"여기|이\s*동네|우리\s*동네|\bhere\b", re.IGNORECASE)
DUST = re.compile(r"미세\s*먼지|\bdust\b|air quality", re.IGNORECASE)
LIKELY = 50
"""Per cent from which rain is worth a word."""


def place_of(question: Question) -> tuple[str, str, Location] | None:
    """(Korean name, English name, where) of the city that is named, or was before a few words that go on from it; else
    of where the user is, or the district that is known. None where nothing of it is."""
    memory = question.memory
    named = city_in(question.text) or city_in(question.told.city)
    if named is None and memory.subject == Intent.WEATHER and not _HERE.search(question.text):
        named = city_in(memory.city)
    if named is None and question.location is not None:
        return "지금 계신 곳", "where you are", question.location
    return named or city_in(memory.district)


def needs_place(question: Question) -> bool:
    return place_of(question) is None and not DUST.search(question.text)


def city_in(text: str) -> tuple[str, str, Location] | None:
    text = _ANOTHER.sub("", text)
    for ko, (en, latitude, longitude) in PLACES.items():
        if _CITIES[ko].search(text):
            return ko, en, Location(latitude, longitude)
    return None


def days_of(text: str, today: date, told: str = "") -> list[date]:
    """Days that the words ask about, also such as no forecast tells; where they name none, that of `told` or today."""
    week = next((ahead for words, ahead in _WEEKS if words.search(text)), None)
    monday = today + timedelta(days=7 * (week or 0) - today.weekday())
    if _YESTERDAY.search(text):
        return [today - timedelta(days=1)]
    for words, ahead in _DAYS:
        if words.search(text):
            return [today + timedelta(days=ahead)]
    for weekday, name in enumerate(_WEEKDAYS):
        if re.search(name, text, re.IGNORECASE):
            if week is not None:
                return [monday + timedelta(days=weekday)]
            return [today + timedelta(days=(weekday - today.weekday()) % 7)]
    if _WEEKEND.search(text):
        weekend = [monday + timedelta(days=5), monday + timedelta(days=6)]
        return [day for day in weekend if day >= today] or weekend
    if week:
        return [monday + timedelta(days=ahead) for ahead in range(7)]
    return days_of(_TOLD[told], today) if told else [today]


async def weather(state: State, context: Context) -> Part:
    question, lang = state["question"], state["understood"].lang
    if context.forecast is None:
        return Part(Intent.WEATHER, say("weather", lang))
    if DUST.search(question.text):
        return Part(Intent.WEATHER, say("weather_dust", lang))
    place = place_of(question)
    if place is None:
        return Part(Intent.WEATHER, say("weather_where", lang), {}, {"needs": "location"})
    square = square_of(place[2].latitude, place[2].longitude)
    if not square.forecast:
        return Part(Intent.WEATHER, say("weather_abroad", lang))
    now = datetime.now(UTC).astimezone(KOREA)
    days = days_of(question.text, now.date(), question.told.day)
    hours = await context.forecast(square)
    name = place[0] if lang == "ko" else place[1]
    found = [(day, hours_of) for day in days if (hours_of := _of_day(hours, day, now))]
    memory: Json = {"city": place[0] if place[0] in PLACES else ""}
    if not found:
        return Part(Intent.WEATHER, say("weather_unknown", lang, days=AHEAD), memory)
    lines = [told(day, now.date(), name, hours_of, lang) for day, hours_of in found]
    lines.append(say("weather_source", lang, source=context.forecast_source))
    shown: Json = {"weather": [{"date": day.isoformat(), "place": place[0]} for day, _ in found]}
    return Part(Intent.WEATHER, "\n".join(lines), memory, shown)


def _of_day(hours: Sequence[Hour], day: date, now: datetime) -> list[Hour]:
    """The hours of the day that are still to come."""
    begin = now.replace(minute=0, second=0, microsecond=0)
    return [hour for hour in hours if (at := datetime.fromisoformat(hour.at)).date() == day and at >= begin]


def told(day: date, today: date, place: str, hours: Sequence[Hour], lang: Lang) -> str:
    """A sentence: temperatures, the sky at its worst by day, and whether something falls."""
    degrees = [hour.degrees for hour in hours if hour.degrees is not None]
    skies = [hour.sky for hour in hours if hour.sky is not None]
    wet = [hour for hour in hours if hour.falls]
    chance = max((hour.chance or 0 for hour in hours), default=0)
    when = _day(day, today, lang)
    parts = []
    if degrees:
        parts.append(say("weather_degrees", lang, low=f"{min(degrees):.0f}", high=f"{max(degrees):.0f}"))
    if skies:
        parts.append(say(f"weather_sky_{_usual(skies)}", lang))
    if wet:
        first = datetime.fromisoformat(wet[0].at).hour
        parts.append(say(f"weather_falls_{wet[0].falls}", lang, hour=first, chance=chance))
    elif chance >= LIKELY:
        parts.append(say("weather_maybe", lang, chance=chance))
    else:
        parts.append(say("weather_dry", lang, chance=chance))
    return say("weather_of", lang, day=when, place=place, told=", ".join(parts))


def _usual(skies: Sequence[int]) -> int:
    """The sky of most hours: 1, 3 or 4."""
    counts = {sky: skies.count(sky) for sky in (1, 3, 4)}
    return max(counts, key=lambda sky: (counts[sky], sky))


def _day(day: date, today: date, lang: Lang) -> str:
    names = {"ko": ("오늘", "내일", "모레"), "en": ("today", "tomorrow", "the day after tomorrow")}[lang]
    written = f"{day.month}월 {day.day}일" if lang == "ko" else f"{day:%B} {day.day}"
    ahead = (day - today).days
    if not 0 <= ahead < len(names):
        return written
    return f"{names[ahead]}({written})" if lang == "ko" else f"{names[ahead]} ({written})"
