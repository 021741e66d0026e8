"""Reading the national household-waste data set (행정안전부 생활쓰레기배출정보): when and where districts collect.

A CSV with one line for each collection area of a si, gun or gu. An unreadable line is skipped and reported, never
guessed.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from eco2.core.errors import BadRequest
from eco2.knowledge.days import Area
from eco2.knowledge.districts import Districts, UnknownDistrict
from eco2.knowledge.models import Collection, Day, Pickup

LARGEST = 64 * 1024 * 1024
"""The whole country takes about two megabytes."""
ENCODINGS = {"utf-8-sig": "UTF-8", "cp949": "CP949"}
GROUPS: dict[Collection, str] = {"general": "생활쓰레기", "food": "음식물쓰레기", "recycle": "재활용품"}
PROVINCE, DISTRICT, AREA, COVERS = "시도명", "시군구명", "관리구역명", "관리구역대상지역명"
PLACE, NO_PICKUP, OFFICE, TEL, DATE = "배출장소", "미수거일", "관리부서명", "관리부서전화번호", "데이터기준일자"
RENAMED = {"강원도": "강원특별자치도", "전라북도": "전북특별자치도", "제주도": "제주특별자치도"}
MOVED = {"경상북도 군위군": "대구광역시 군위군"}
WEEK: dict[str, Day] = {"월": "mon", "화": "tue", "수": "wed", "목": "thu", "금": "fri", "토": "sat", "일": "sun"}
TIME = re.compile(r"(\d{1,2}):?(\d{2})")
_DAY, _FILM, _BOTTLES = "[월화수목금토일]", r"비닐류?", r"(?:투명|무색)\s*페트병?"
_DAYS = rf"(?P<days>(?:{_DAY}(?:요일)?\s*[,·+/]\s*)*{_DAY}요일)"


def _patterns(what: str, other: str) -> tuple[str, str]:
    """ "비닐류는 목요일", "비닐, 투명페트병: 목요일"; "목요일은 투명페트병과 비닐"."""
    both = rf"{what}(?:\s*[,·과와및]\s*{other})?"
    return rf"{both}\s*[:은는]\s*(?:매주\s*)?{_DAYS}", rf"{_DAYS}\s*[:은는에]?\s*(?:{other}\s*[,·과와및]\s*)?{what}"


SEPARATELY: dict[Collection, tuple[str, str]] = {
    "vinyl": _patterns(_FILM, _BOTTLES),
    "clear_pet": _patterns(_BOTTLES, _FILM),
}
LONGEST = 2000
"""Characters of a text that are kept."""

Row = Mapping[str, str]


class NotTheDataSet(BadRequest):
    """The file is not a CSV of the household-waste data set (생활쓰레기배출정보)."""

    code = "NOT_THE_DATA_SET"


@dataclass(frozen=True)
class Found:
    """An area of a line of the file. `district` is a full name as in data/districts.yaml."""

    district: str
    area: Area
    checked: date


@dataclass(frozen=True)
class Rejected:
    """`code` is stable, `reason` words for people."""

    line: int
    district: str
    code: str
    reason: str


@dataclass(frozen=True)
class Read:
    found: tuple[Found, ...]
    rejected: tuple[Rejected, ...]
    encoding: str


class _Left(Exception):
    """Reason to leave a line out: its code, and words for it."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


def read(path: Path, districts: Districts, today: date) -> Read:
    """Raises OSError and NotTheDataSet."""
    if path.stat().st_size > LARGEST:
        raise NotTheDataSet(f"{path.name} is larger than {LARGEST >> 20} MB: it is not the household-waste data set.")
    text, encoding = _decoded(path.read_bytes())
    found: dict[tuple[str, str, str], Found] = {}
    rejected: list[Rejected] = []
    for number, row in _rows(text):
        place = f"{row.get(PROVINCE, '')} {row.get(DISTRICT, '')}".strip()
        try:
            one = _found(row, districts, today)
        except _Left as reason:
            rejected.append(Rejected(number, place, reason.code, str(reason)))
            continue
        key = (one.district, one.area.name, one.area.covers)
        if key in found and found[key] != one:
            told = f"area {one.area.name!r} was told before, with other days"
            rejected.append(Rejected(number, place, "told_before", told))
        else:
            found[key] = one
    return Read(tuple(found.values()), tuple(rejected), encoding)


def _decoded(content: bytes) -> tuple[str, str]:
    for encoding, name in ENCODINGS.items():
        try:
            return content.decode(encoding), name
        except UnicodeDecodeError:
            continue
    raise NotTheDataSet("The file is neither UTF-8 nor CP949.")


def _rows(text: str) -> Iterator[tuple[int, Row]]:
    """(Number of its first line, values by plain column name) of every row."""
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        columns = [_plain(name) for name in next(rows, [])]
        missing = [name for name in (PROVINCE, DISTRICT, f"{GROUPS['general']}배출요일") if name not in columns]
        if missing:
            raise NotTheDataSet(f"The file has no column {', '.join(missing)}.")
        line = rows.line_num + 1
        values: list[str] = []
        for values in rows:
            if any(map(str.strip, values)):
                yield line, {name: _plain(value) for name, value in zip(columns, values, strict=False)}
            line = rows.line_num + 1
        if 0 < len(values) < len(columns) and not text.endswith("\n"):
            raise NotTheDataSet(f"The file is cut: its last line has {len(values)} of {len(columns)} columns.")
    except csv.Error as error:
        raise NotTheDataSet(f"Line {rows.line_num} of the file is no CSV: {error}.") from None


def _plain(text: str) -> str:
    return " ".join(text.replace("（", "(").replace("）", ")").replace("\0", "").split())[:LONGEST]


def _found(row: Row, districts: Districts, today: date) -> Found:
    district, part = _district(row.get(PROVINCE, ""), row.get(DISTRICT, ""), districts)
    pickups = [pickup for group in GROUPS if (pickup := _pickup(group, row))]
    pickups += [pickup for collection in SEPARATELY if (pickup := _separate(collection, row))]
    if not any(pickup.days for pickup in pickups):
        raise _Left("no_day", "no day could be read")
    area = Area(
        name=" ".join(filter(None, (part, row.get(AREA, "")))) or "전역",
        covers=row.get(COVERS, ""),
        pickups=tuple(pickups),
        no_pickup=row.get(NO_PICKUP, ""),
        office=row.get(OFFICE, ""),
        tel=row.get(TEL, ""),
    )
    return Found(district, area, _checked(row.get(DATE, ""), today))


def _district(province: str, name: str, districts: Districts) -> tuple[str, str]:
    """(Full name, the 구 of a si that has some)."""
    province = RENAMED.get(province, province)
    if not province:
        raise _Left("no_district", "names no district")
    if province.startswith("세종"):
        name = "세종시"
    if not name:
        raise _Left("no_district", "names no district")
    full = MOVED.get(f"{province} {name}", f"{province} {name}")
    first, _, part = name.partition(" ")
    for said, rest in ((full, ""), (f"{province} {first}", part)):
        try:
            return districts.named(said), rest
        except UnknownDistrict:
            continue
    raise _Left("unknown_district", "there is no such district")


def _checked(text: str, today: date) -> date:
    found = re.fullmatch(r"(\d{4})[-./]?(\d{1,2})[-./]?(\d{1,2})", text)
    try:
        day = date(*map(int, found.groups())) if found else None
    except ValueError:
        day = None
    if day is None:
        raise _Left("no_date", f"has no date of the data ({text or 'empty'})")
    if day > today:
        raise _Left("future_date", f"has a date of the data in the future ({text})")
    return day


def _pickup(group: Collection, row: Row) -> Pickup | None:
    prefix = GROUPS[group]
    said = row.get(f"{prefix}배출요일", "")
    days = days_of(said)
    if not said:
        return None
    return Pickup(
        collection=group,
        days=tuple(days),
        from_time=time_of(row.get(f"{prefix}배출시작시각", "")),
        until_time=time_of(row.get(f"{prefix}배출종료시각", "")),
        place_ko=row.get(PLACE, ""),
        method_ko=row.get(f"{prefix}배출방법", "") if days else said,
    )


def _separate(collection: Collection, row: Row) -> Pickup | None:
    """Film and clear bottles have no columns; a day of theirs stands in words with the recyclables, if anywhere."""
    text = row.get(f"{GROUPS['recycle']}배출방법", "")
    for pattern in SEPARATELY[collection]:
        found = re.search(pattern, text)
        if found and (days := days_of(found["days"])):
            recycle = _pickup("recycle", row)
            times = {"from_time": recycle.from_time, "until_time": recycle.until_time} if recycle else {}
            return Pickup(collection=collection, days=tuple(days), place_ko=row.get(PLACE, ""), method_ko=text, **times)
    return None


def days_of(text: str) -> list[Day]:
    """The days of "월+수+금", "일~금", "매일"; none where it says something else."""
    if text.replace(" ", "") in ("매일", "연중무휴", "월~일"):
        return list(WEEK.values())
    names = list(WEEK)
    span = re.fullmatch(r"(?:매주\s*)?([월화수목금토일])(?:요일)?\s*[~\-]\s*([월화수목금토일])(?:요일)?", text)
    if span:
        first, last = names.index(span[1]), names.index(span[2])
        return [WEEK[names[n % 7]] for n in range(first, last + 1 if last >= first else last + 8)]
    said = re.sub(r"요일|매주", "", text)
    if re.sub(r"[월화수목금토일\s+,·/및]", "", said):
        return []
    return [day for name, day in WEEK.items() if name in said]


def time_of(text: str) -> str:
    """HH:MM; "" where there is none. Midnight at an end is 24:00."""
    found = TIME.fullmatch(text)
    if not found or (int(found[1]), int(found[2])) > (24, 0) or int(found[2]) > 59:
        return ""
    return f"{int(found[1]):02}:{found[2]}"
