"""Collection days of a district: the schedule, answers to questions about it, and the next dates.

Pure functions of a `Schedule`, loaded by the caller (stored by `eco2.recycling.store`).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from eco2.knowledge.answer import Lang
from eco2.knowledge.districts import Districts, UnknownDistrict
from eco2.knowledge.models import Collection, Pickup
from eco2.knowledge.regions import COLLECTIONS, DAYS

STALE_AFTER = timedelta(days=365)
MOST_GROUPS = 4
"""Areas with days of their own that an answer tells apart."""

DAY = re.compile(
    r"요일|며칠|언제|몇\s*시|날짜|배출일|수거일|(?:내놓|내놔|내는|내다|버리|배출|수거|가져가)\S{0,3}\s*날|"
    r"what day|which day|\bwhen\b|what time|collection day|schedule",
    re.IGNORECASE,
)
"""A question about days. Without a district that is known it may be about anything else."""
_WORDS: dict[Collection, re.Pattern[str]] = {
    "vinyl": re.compile(r"비닐(?!\s*(?:하우스|장판))|필름|\b(?:film|vinyl|plastic bags?)\b", re.IGNORECASE),
    "clear_pet": re.compile(r"투명\s*페트|무색\s*페트|페트\s*병|\bclear pet\b|\bpet bottles?\b", re.IGNORECASE),
    "food": re.compile(r"음식물|음쓰|\bfood\b", re.IGNORECASE),
    "general": re.compile(
        r"일반\s*쓰레기|종량제|생활\s*쓰레기|일반\s*봉투|\bgeneral waste|\btrash\b|\bgarbage\b", re.IGNORECASE
    ),
    "recycle": re.compile(
        r"재활용|분리\s*수거|분리\s*배출|종이|박스|상자|캔|고철|유리병|플라스틱|스티로폼|\brecycl", re.IGNORECASE
    ),
}
STREAMS: dict[str, Collection] = {
    **dict.fromkeys(
        (
            "paper_cardboard",
            "paper_mixed",
            "paper_carton",
            "plastic",
            "foam",
            "glass_bottle",
            "metal_can",
            "scrap_metal",
        ),
        "recycle",
    ),
    "vinyl": "vinyl",
    "clear_pet": "clear_pet",
    "food_waste": "food",
    "general_bag": "general",
}
"""Disposal stream → what is put out at the kerb with it. Streams that are taken somewhere have no day."""


@dataclass(frozen=True)
class Area:
    """Part of a district with days of its own. `covers` names the neighbourhoods as the source writes them."""

    name: str
    covers: str
    pickups: tuple[Pickup, ...]
    no_pickup: str = ""
    office: str = ""
    tel: str = ""

    def pickup(self, collection: Collection) -> Pickup | None:
        """Its days. Film and clear bottles without a day of their own go with the other recyclables."""
        found = {pickup.collection: pickup for pickup in self.pickups}
        return found.get(collection) or (found.get("recycle") if collection in ("vinyl", "clear_pet") else None)


@dataclass(frozen=True)
class Schedule:
    """The areas of one district. `checked` is the date of the data; `sample` marks days made up for trying."""

    district: str
    areas: tuple[Area, ...]
    checked: date
    sample: bool
    title: str
    publisher: str
    url: str

    def stale(self, today: date) -> bool:
        return today - self.checked > STALE_AFTER


@dataclass(frozen=True)
class DayQuestion:
    """`districts`: full names of those that the question may mean; `collections`: what it asks about, empty for all."""

    districts: tuple[str, ...]
    collections: tuple[Collection, ...]


def question(districts: Districts, text: str, district: str | None = None) -> DayQuestion | None:
    """None where the text asks for no day, or names no district. A given district counts where the text names none."""
    if not DAY.search(text):
        return None
    named = districts.named_in(text)
    if not named and district:
        try:
            named = (districts.named(district),)
        except UnknownDistrict:
            return None
    if not named:
        return None
    asked: list[Collection] = [name for name, words in _WORDS.items() if words.search(text)]
    if "vinyl" in asked or "clear_pet" in asked:  # "비닐 분리수거 언제"
        asked = [name for name in asked if name != "recycle"]
    return DayQuestion(named, tuple(asked))


def answer(asked: DayQuestion, schedule: Schedule | None, text: str, lang: Lang, today: date) -> str:
    """Days, times and their source; or why there are none."""
    ko = lang == "ko"
    if len(asked.districts) > 1:
        names = ", ".join(asked.districts)
        return f"{names} 가운데 어디인가요?" if ko else f"Which one do you mean: {names}?"
    if schedule is None:
        return _unknown(asked.districts[0], ko)
    areas = _meant(schedule.areas, text)
    collections = asked.collections or tuple(dict.fromkeys(p.collection for area in areas for p in area.pickups))
    lines = [line for collection in collections for line in _lines(areas, collection, ko)]
    head = f"{schedule.district} 배출 요일" if ko else f"{schedule.district}: days to put it out"
    return "\n".join([head, *lines, *_remarks(areas, ko), *_basis(schedule, today, ko)])


def _unknown(district: str, ko: bool) -> str:
    if ko:
        return f"{district}의 배출 요일 자료는 아직 없어요. 구청·시청·군청이나 지역번호+120에 물어보세요."
    return f"I have no collection days of {district} yet. Ask your district office, or 120."


def _meant(areas: Sequence[Area], text: str) -> Sequence[Area]:
    """Those that cover a neighbourhood which the text names, else all."""
    named = [area for area in areas if any(place in text for place in neighbourhoods(area.covers))]
    return named or areas


def neighbourhoods(covers: str) -> list[str]:
    """The names of a list such as "합정동+망원1동"."""
    return [word for word in re.findall(r"[가-힣0-9]+", covers) if len(word) > 1 and word[-1] in "동읍면리가"]


def _lines(areas: Sequence[Area], collection: Collection, ko: bool) -> Iterator[str]:
    name = COLLECTIONS[collection][not ko]
    groups: dict[str, list[Area]] = {}
    for area in areas:
        groups.setdefault(_when(area.pickup(collection), collection, ko), []).append(area)
    if len(groups) == 1:
        yield f"{name}: {next(iter(groups))}"
        return
    for when, members in list(groups.items())[:MOST_GROUPS]:
        yield f"{name} ({', '.join(_called(area) for area in members)}): {when}"
    if len(groups) > MOST_GROUPS:
        yield f"{name}: 다른 구역은 요일이 또 달라요." if ko else f"{name}: other areas have other days."


def _called(area: Area) -> str:
    return f"{area.name} {area.covers}".strip() if area.covers not in ("", area.name) else area.name


def _when(pickup: Pickup | None, collection: Collection, ko: bool) -> str:
    if pickup is None:
        return "자료가 없어요" if ko else "not known"
    days = "매일" if ko and len(pickup.days) == 7 else ""
    days = days or (("·" if ko else ", ").join(DAYS[day][not ko] for day in pickup.days))
    days += "요일" if ko and pickup.days and len(pickup.days) < 7 else ""
    times = f"{pickup.from_time}–{pickup.until_time}" if pickup.from_time or pickup.until_time else ""
    with_others = ""
    if pickup.collection != collection:
        with_others = "(재활용품과 같은 날)" if ko else "(with the other recyclables)"
    said = "" if pickup.days else pickup.method_ko
    return " ".join(filter(None, (days, times, said, with_others))) or ("자료가 없어요" if ko else "not known")


def _remarks(areas: Sequence[Area], ko: bool) -> Iterator[str]:
    places = {place for area in areas for pickup in area.pickups if (place := pickup.place_ko)}
    if len(places) == 1:
        yield f"내놓는 곳: {places.pop()}" if ko else f"Where: {places.pop()}"
    pauses = {area.no_pickup for area in areas if area.no_pickup}
    if len(pauses) == 1:
        yield f"수거하지 않는 날: {pauses.pop()}" if ko else f"No collection: {pauses.pop()}"


def _basis(schedule: Schedule, today: date, ko: bool) -> Iterator[str]:
    if ko:
        yield f"출처: {schedule.publisher} {schedule.title}({schedule.checked} 기준)"
        if schedule.sample:
            yield "시험해 보려고 지어낸 견본이에요. 실제 요일은 구청에 확인하세요."
        elif schedule.stale(today):
            yield "1년이 넘은 자료예요. 구청에 확인하세요."
        return
    yield f"Source: {schedule.publisher} {schedule.title} (as of {schedule.checked})"
    if schedule.sample:
        yield "This is a made-up sample; ask your district office for the real days."
    elif schedule.stale(today):
        yield "These data are more than a year old; check with your district office."


def dates(area: Area, collection: Collection, first: date, days: int) -> Iterator[date]:
    """The dates within so many days from `first` on which it is put out, by the day of the week."""
    pickup = area.pickup(collection)
    for ahead in range(days if pickup else 0):
        day = first + timedelta(days=ahead)
        if pickup and tuple(DAYS)[day.weekday()] in pickup.days:
            yield day
