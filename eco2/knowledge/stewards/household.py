"""Importing the national household-waste data set (행정안전부 생활쓰레기배출정보): when and where districts collect.

A CSV with one line for each collection area of a si, gun or gu. Where the areas of a district differ, the district's
entry says so instead of taking one of them. Lines that cannot be read are reported, never guessed.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml

from eco2.knowledge.models import Day, Region
from eco2.knowledge.words.text import normalize

ENCODINGS = ("utf-8-sig", "cp949")
GROUPS = {"general": "생활쓰레기", "food": "음식물쓰레기", "recycle": "재활용품"}
PROVINCE, DISTRICT, DATE = "시도명", "시군구명", "데이터기준일자"
PLACE, NO_PICKUP, TEL = "배출장소", "미수거일", "관리부서전화번호"
WEEK: dict[str, Day] = {"월": "mon", "화": "tue", "수": "wed", "목": "thu", "금": "fri", "토": "sat", "일": "sun"}
TIME = re.compile(r"(\d{1,2}):?(\d{2})")

Json = dict[str, Any]


class NotTheDataSet(Exception):
    """The file is not a CSV of that data set."""


@dataclass(frozen=True)
class Found:
    """Region records as for a file of data/regions, by full name, and what was left out."""

    regions: dict[str, Json]
    problems: tuple[str, ...]


def read(path: Path) -> Found:
    """Raises OSError and NotTheDataSet."""
    rows = csv.DictReader(io.StringIO(_decoded(path.read_bytes()), newline=""))
    columns = {_plain(name): name for name in rows.fieldnames or ()}
    missing = [name for name in (PROVINCE, DISTRICT, f"{GROUPS['general']}배출요일") if name not in columns]
    if missing:
        raise NotTheDataSet(f"has no column {', '.join(missing)}")
    areas: dict[str, list[Json]] = defaultdict(list)
    problems = []
    for number, row in enumerate(rows, start=2):
        plain = {key: _plain(row.get(name) or "") for key, name in columns.items()}
        if not plain[PROVINCE] or not plain[DISTRICT]:
            problems.append(f"line {number}: names no district")
            continue
        areas[f"{plain[PROVINCE]} {plain[DISTRICT]}"].append(plain)
    regions = {name: _region(name, rows) for name, rows in areas.items()}
    problems += [f"{name}: no day could be read" for name, region in regions.items() if not region["pickups"]]
    return Found({name: region for name, region in regions.items() if region["pickups"]}, tuple(problems))


def _decoded(content: bytes) -> str:
    for encoding in ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise NotTheDataSet("is neither UTF-8 nor CP949")


def _plain(text: str) -> str:
    return " ".join(text.replace("（", "(").replace("）", ")").split())


def _region(name: str, areas: Sequence[Json]) -> Json:
    region: Json = {"ko": name, "pickups": [pickup for group in GROUPS if (pickup := _pickup(group, areas))]}
    checked = max((area.get(DATE, "") for area in areas), default="")
    dated = re.fullmatch(r"\d{4}-\d{2}-\d{2}", checked)
    region["checked"] = date.fromisoformat(checked) if dated else datetime.now(UTC).date()
    for field, column in (("no_pickup_ko", NO_PICKUP), ("tel", TEL)):
        if value := _same(area.get(column, "") for area in areas):
            region[field] = value
    return region


def _same(values: Iterable[str]) -> str:
    """The value that all of them have; "" where they differ."""
    found = {value for value in values if value}
    return found.pop() if len(found) == 1 else ""


def _pickup(group: str, areas: Sequence[Json]) -> Json:
    prefix = GROUPS[group]
    days = {tuple(days_of(area.get(f"{prefix}배출요일", ""))) for area in areas} - {()}
    if not days:
        return {}
    pickup: Json = {"collection": group}
    if len(days) == 1:
        pickup["days"] = list(days.pop())
    else:
        pickup |= {"method_ko": "구역마다 요일이 달라요.", "method_en": "The days differ by area."}
    for field, column in (("from_time", f"{prefix}배출시작시각"), ("until_time", f"{prefix}배출종료시각")):
        if time := _same(time_of(area.get(column, "")) for area in areas):
            pickup[field] = time
    if place := _same(area.get(PLACE, "") for area in areas):
        pickup["place_ko"] = place
    return pickup


def days_of(text: str) -> list[Day]:
    """The days of "월+수+금", "일~금", "매일"; none where it says something else."""
    if "매일" in text:
        return list(WEEK.values())
    names = list(WEEK)
    span = re.fullmatch(r"([월화수목금토일])(?:요일)?\s*[~\-]\s*([월화수목금토일])(?:요일)?", text)
    if span:
        first, last = names.index(span[1]), names.index(span[2])
        return [WEEK[names[n % 7]] for n in range(first, last + 1 if last >= first else last + 8)]
    said = re.sub(r"요일", "", text)
    if re.sub(r"[월화수목금토일\s+,·/및]", "", said):
        return []
    return [day for name, day in WEEK.items() if name in said]


def time_of(text: str) -> str:
    """HH:MM; "" where there is none. Midnight at an end is 24:00."""
    found = TIME.fullmatch(text)
    if not found or int(found[1]) > 24 or int(found[2]) > 59:
        return ""
    return f"{int(found[1]):02}:{found[2]}"


def write(found: Found, folder: Path, known: Sequence[Region]) -> list[Path]:
    """One file per district; of a district that is there already only what the data set tells is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = {normalize(name): region.id for region in known for name in (region.ko, *region.aliases)}
    named = {ids.get(normalize(name), name.replace(" ", "_")): region for name, region in found.regions.items()}
    return [_write(folder, name, region) for name, region in named.items()]


def _write(folder: Path, name: str, region: Json) -> Path:
    path = folder / f"{name}.yaml"
    old: Json = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    new = {"id": name, "ko": region["ko"], "en": region["ko"], "sources": ["household_waste_info"], **old}
    new |= {key: value for key, value in region.items() if key != "ko"}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(yaml.safe_dump(new, allow_unicode=True, sort_keys=False), encoding="utf-8")
    temporary.replace(path)
    return path
