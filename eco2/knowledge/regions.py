"""Districts: finding the one that is meant, and when it collects what."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from eco2.knowledge.districts import Districts, UnknownDistrict
from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import Collection, Day, Pickup, Region, RegionField
from eco2.knowledge.words.text import normalize

PROVINCES = re.compile(
    r"(?:서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충청?[남북]|전라?[남북]|경상?[남북]|제주|전북|전남|충북|충남|경북|경남)"
    r"(?:특별자치시|특별자치도|특별시|광역시|시|도)?"
)
DAYS: dict[Day, tuple[str, str]] = {
    "mon": ("월", "Mon"),
    "tue": ("화", "Tue"),
    "wed": ("수", "Wed"),
    "thu": ("목", "Thu"),
    "fri": ("금", "Fri"),
    "sat": ("토", "Sat"),
    "sun": ("일", "Sun"),
}
COLLECTIONS: dict[Collection, tuple[str, str]] = {
    "general": ("일반쓰레기", "General waste"),
    "food": ("음식물", "Food waste"),
    "recycle": ("재활용품", "Recyclables"),
    "clear_pet": ("투명페트병", "Clear PET bottles"),
    "vinyl": ("비닐류", "Film plastics"),
    "noncombustible": ("불연성", "Non-combustibles"),
    "bulky": ("대형폐기물", "Bulky waste"),
}


def names(region: Region) -> tuple[str, ...]:
    return tuple(normalize(name) for name in (region.id, region.ko, region.en, *region.aliases))


def find(knowledge: Knowledge, district: str) -> list[Region]:
    """The regions of that name, with or without the province before it; several where the name is not unique."""
    wanted = normalize(district)
    exact = [region for region in knowledge.regions.values() if wanted in names(region)]
    if exact:
        return exact
    shorter = normalize(PROVINCES.sub("", district, count=1))
    within = [r for r in knowledge.regions.values() if shorter and any(_last(name) == shorter for name in names(r))]
    fits = [region for region in within if _same_province(region, district)]
    return fits if shorter != wanted else within


def above(knowledge: Knowledge, district: str) -> list[Region]:
    """The region above a district that is not known itself: what Seoul has laid down holds in all of it."""
    province = PROVINCES.match(district.strip())
    parents = {region.part_of for region in knowledge.regions.values()}
    found = (region for region in knowledge.regions.values() if region.id in parents)
    return [region for region in found if province and any(name.startswith(province[0][:2]) for name in names(region))]


@lru_cache(maxsize=1024)
def of(knowledge: Knowledge, district: str | None) -> Region | None:
    """The region whose rules hold in a district as `knowledge.districts` names it: its own, or that above it."""
    if district is None:
        return None
    found = find(knowledge, district) or above(knowledge, district)
    return found[0] if len(found) == 1 else None


@dataclass(frozen=True)
class Place:
    """The district of a question. `region`: whose rules hold there. `name`: a district without rules of its own.
    `lost`: what was given and is no district that is known. `rest`: the words without the name."""

    rest: str
    region: Region | None = None
    name: str = ""
    lost: str = ""
    several: tuple[Region, ...] = ()

    @property
    def found(self) -> bool:
        return bool(self.region or self.name or self.several)


def placed(knowledge: Knowledge, district: str | None, text: str) -> Place:
    """District of a question: the one that was given, else the one that the words name."""
    if district is None:
        name, rest = _district_in(text)
        if name and (full := _full_name(name)):
            return _in(knowledge, full, name, without(knowledge, rest))
    rest = without(knowledge, text)
    found = find(knowledge, district) if district else named_in(knowledge, text)
    if len(found) == 1:
        return Place(rest, found[0])
    if found:
        return Place(rest, lost=district or "", several=tuple(found))
    if not district:
        return Place(rest)
    if full := _full_name(district):
        return _in(knowledge, full, district, rest)
    over = above(knowledge, district)
    return Place(rest, over[0] if len(over) == 1 else None, lost=district)


def _in(knowledge: Knowledge, full: str, name: str, rest: str) -> Place:
    """A district of Korea: its own rules, or those of the region above it."""
    region = of(knowledge, full)
    own = region is not None and region in find(knowledge, full)
    return Place(rest, region, "" if own else name)


def _full_name(name: str) -> str:
    """The full name of a district; "" where there is no single one."""
    for words in (name, name.split()[-1]):
        with suppress(UnknownDistrict):
            return _districts().named(words)
    return ""


_AFTER = (
    r"(?:에서는|에서도|에서|에는|에도|에|은|는|이라면|라면|이면|면|이라|이요|요|이에요|예요|에요|입니다|이야|야|인데요|인데|이고|의|도|쪽|로|으로|"
    r"사는|살아요|살아|삽니다|시민|구민|주민|이|가)?"
)
"""Syllables that may follow the name of a district."""


@lru_cache(maxsize=1)
def _districts() -> Districts:
    return Districts.load(None)


@lru_cache(maxsize=1)
def _district_pattern() -> re.Pattern[str]:
    names = sorted({name.split()[-1] for name in _districts().names}, key=len, reverse=True)
    return re.compile(rf"(?<![가-힣])(?:{PROVINCES.pattern}\s*)?(?:{'|'.join(names)})(?={_AFTER}(?![가-힣]))")


def _district_in(text: str) -> tuple[str, str]:
    """(the district that a sentence names, the sentence without it)."""
    found = _district_pattern().search(text)
    return (found[0], text[: found.start()] + " " + text[found.end() :]) if found else ("", text)


def about(region: Region | None, place: str, field: RegionField, lang: Literal["ko", "en"]) -> list[str]:
    """Facts about a district, or that there are none, and whom to ask there."""
    if region is None:
        return [_NOT_KNOWN[lang].format(place=place)] if place else []
    told = collections(region, lang) if field == "collections" else [str(getattr(region, f"{field}_{lang}"))]
    name = place or (region.ko if lang == "ko" else region.en)
    known = [line for line in told if line]
    if not known or (place and field == "collections"):  # what the region above tells are no days
        known.insert(0, _NOT_KNOWN[lang].format(place=name))
    return [*known, *_contact(region, lang)]


_NOT_KNOWN = {"ko": "{place}의 자료는 아직 없어요.", "en": "I have no data for {place} yet."}


def _contact(region: Region, lang: str) -> list[str]:
    """Phone and page of a district."""
    told = " · ".join(filter(None, (region.tel, region.web)))
    return [f"{'확인' if lang == 'ko' else 'Check'}: {told}"] if told else []


def _last(name: str) -> str:
    return PROVINCES.sub("", name, count=1) or name


def _same_province(region: Region, district: str) -> bool:
    given = PROVINCES.search(district)
    return given is None or any(name.startswith(given[0][:2]) for name in names(region))


def named_in(knowledge: Knowledge, text: str) -> list[Region]:
    """The regions that a sentence names; the nearest one where it also names the one above."""
    found = [region for region in knowledge.regions.values() if _place(region, text)]
    above = {region.part_of for region in found}
    return [region for region in found if region.id not in above]


def without(knowledge: Knowledge, text: str) -> str:
    """The sentence without the names of regions, which hold words that name things."""
    for region in knowledge.regions.values():
        while place := _place(region, text):
            text = text[: place.start()] + " " + text[place.end() :]
    return text


def _place(region: Region, text: str) -> re.Match[str] | None:
    for name in sorted((region.ko, region.en, *region.aliases), key=len, reverse=True):
        pattern = r"(?<![가-힣\w])" + r"\s*".join(map(re.escape, name.split())) + rf"{_AFTER}(?![가-힣\w])"
        if len(name) > 1 and (found := re.search(pattern, text, re.IGNORECASE)):
            return found
    return None


def collections(region: Region, lang: str) -> list[str]:
    """When and where the district collects what, a line each."""
    lines = [_line(pickup, lang) for pickup in region.pickups]
    more = ("bag", "fee", "food", "clear_pet", "no_pickup")
    texts = [str(getattr(region, f"{field}_{lang}")) for field in more]
    name = region.ko if lang == "ko" else region.en
    return [name + "\n" + "\n".join(line for line in [*lines, *texts] if line)] if lines or any(texts) else []


def _line(pickup: Pickup, lang: str) -> str:
    return ": ".join((COLLECTIONS[pickup.collection][lang == "en"], " ".join(_parts(pickup, lang))))


def _parts(pickup: Pickup, lang: str) -> Iterator[str]:
    english = lang == "en"
    if pickup.days:
        yield (", " if english else "·").join(DAYS[day][english] for day in pickup.days)
    if pickup.from_time or pickup.until_time:
        yield f"{pickup.from_time}–{pickup.until_time}"
    yield pickup.place_en if english else pickup.place_ko
    yield pickup.method_en if english else pickup.method_ko
