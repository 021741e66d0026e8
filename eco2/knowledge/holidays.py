"""Public holidays of Korea (data/holidays.yaml), by day."""

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from eco2.knowledge.loading import default_directory

_ALL = re.compile(r"공휴일|법정\s*휴일|국경일")
_ALL_THE_SAME = re.compile(r"정상")
"""As in "공휴일 정상 수거"."""
_NAMED = {"설": "설날", "설날": "설날", "구정": "설날", "추석": "추석", "신정": "신정연휴"}
_NAME = re.compile(r"설날|구정|설(?=[\s,·/;및당연휴]|$)|추석|신정")


class _Days(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    computed: dict[date, str]
    decreed: dict[date, str]


def load(data_dir: Path | None = None) -> Mapping[date, tuple[str, ...]]:
    """Names of the holidays of a day; a day may be two. Those that are decreed add to those of every year."""
    content = ((data_dir or default_directory()) / "holidays.yaml").read_bytes()
    book = _Days.model_validate(yaml.load(content, Loader=yaml.CSafeLoader))
    found: dict[date, tuple[str, ...]] = {}
    for day, names in (*book.computed.items(), *book.decreed.items()):
        found[day] = (*found.get(day, ()), *names.split("; "))
    return found


def named(text: str) -> list[str]:
    """Names of holidays that a text means: "설·추석 당일" two days, "명절 연휴" also those around them."""
    names = [_NAMED[word] for word in _NAME.findall(text)]
    if "명절" in text:
        names += ["설날", "추석"]
    sides = ("전날", "다음날") if "연휴" in text else ()
    around = [f"{name} {side}" for name in names if name != "신정연휴" for side in sides]
    return list(dict.fromkeys((*names, *around)))


def rests(text: str, day: date, calendar: Mapping[date, tuple[str, ...]]) -> bool:
    """True when a text of days of rest, as "일요일, 설날, 추석", names that day as a public holiday."""
    names = calendar.get(day, ())
    return bool(names and not _ALL_THE_SAME.search(text)) and (
        _ALL.search(text) is not None or any(name in names for name in named(text))
    )
