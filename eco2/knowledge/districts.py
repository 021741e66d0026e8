"""The districts of Korea by name, with and without rules of their own."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict

from eco2.knowledge.loading import default_directory

_PLACE = re.compile(
    r"([가-힣]+?[시군구])(?:에서는|에서|에는|에|은|는|이|가|의|인데|도|만|민|주민|구민|시민)?[^가-힣]*(?![가-힣])"
)
"""A district at the beginning of a word, and the particles that may follow."""


class UnknownDistrict(LookupError):
    """There is no such district; give one as 서울특별시 금천구, or 금천구 where the name alone is clear."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.__doc__)


class _Province(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    short: str
    districts: tuple[str, ...]


class _Provinces(BaseModel):
    provinces: tuple[_Province, ...]


@dataclass(frozen=True)
class Districts:
    """`names`: "서울특별시 금천구". People may leave the province and 시, 군 or 구 out where that is clear."""

    names: tuple[str, ...]
    _spoken: dict[str, tuple[str, ...]]

    @classmethod
    def load(cls, data_dir: Path | None) -> Self:
        content = ((data_dir or default_directory()) / "districts.yaml").read_bytes()
        provinces = _Provinces.model_validate(yaml.load(content, Loader=yaml.CSafeLoader)).provinces
        shorts = {province.short for province in provinces}
        spoken: dict[str, tuple[str, ...]] = {}
        for province in provinces:
            for district in province.districts:
                full = f"{province.name} {district}"
                bare = district[:-1]
                said = [full, f"{province.short} {district}", district]
                # 광주 alone is the metropolitan city, not 광주시; 중 or 동 alone is no name.
                if len(bare) > 1 and bare not in shorts:
                    said += [f"{province.name} {bare}", f"{province.short} {bare}", bare]
                for words in said:
                    spoken[words] = (*spoken.get(words, ()), full)
        return cls(tuple(f"{p.name} {district}" for p in provinces for district in p.districts), spoken)

    def named(self, text: str) -> str:
        """The full name. UnknownDistrict, also where several have that name."""
        found = self._spoken.get(" ".join(unicodedata.normalize("NFC", text).split()), ())
        if len(found) > 1:
            raise UnknownDistrict(f"{text} could be {', '.join(found)}; name the province, too.")
        if not found:
            raise UnknownDistrict
        return found[0]

    def named_in(self, text: str) -> tuple[str, ...]:
        """The full names of the first district that a sentence names: several where its name is not unique."""
        words = unicodedata.normalize("NFC", text).split()
        for start in range(len(words)):
            for length in (3, 2, 1):
                *before, last = words[start : start + length] or [""]
                place = _PLACE.match(last)
                if len(before) == length - 1 and place and (found := self._spoken.get(" ".join((*before, place[1])))):
                    return found
        return ()
