"""Addresses and phone numbers of public data: province and district by their names of today, keys to compare by."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from eco2.knowledge.districts import Districts

NOTHING = frozenset(("", "없음", "-", "해당없음", "미상", "null", "none", "n/a", "x"))
_SPACE = re.compile(r"\s+")
_ROAD = re.compile(r"[가-힣0-9·.]+(?:로|길)\s*(?:\d+번?길\s*)?\d+(?:-\d+)?")
_LOT = re.compile(r"[가-힣0-9]+(?:동|리|가|읍|면)\s*(?:산\s*)?\d+(?:-\d+)?(?:번지)?")
_PARENTHESES = re.compile(r"\([^)]*\)?")

FORMER_PROVINCES = {
    "강원도": "강원특별자치도",
    "전라북도": "전북특별자치도",
    "제주도": "제주특별자치도",
    "서울시": "서울특별시",
    "부산시": "부산광역시",
    "대구시": "대구광역시",
    "인천시": "인천광역시",
    "광주시": "광주광역시",
    "대전시": "대전광역시",
    "울산시": "울산광역시",
    "세종시": "세종특별자치시",
    "충북": "충청북도",
    "충남": "충청남도",
    "전남": "전라남도",
    "경북": "경상북도",
    "경남": "경상남도",
    "전북": "전북특별자치도",
    "강원": "강원특별자치도",
}
FORMER_DISTRICTS = {
    ("경상북도", "군위군"): ("대구광역시", "군위군"),
    ("인천광역시", "남구"): ("인천광역시", "미추홀구"),
}
_YEONGJONG = re.compile(r"중산동|운남동|운서동|운북동|을왕동|남북동|덕교동|무의동|영종|공항로\s?\d*번?길?|용유")
_GEOMDAN = re.compile(r"마전동|금곡동|오류동|왕길동|당하동|원당동|대곡동|불로동|검단|아라동")
AREA_CODES = {
    "02": "서울특별시",
    "031": "경기도",
    "032": "인천광역시",
    "033": "강원특별자치도",
    "041": "충청남도",
    "042": "대전광역시",
    "043": "충청북도",
    "044": "세종특별자치시",
    "051": "부산광역시",
    "052": "울산광역시",
    "053": "대구광역시",
    "054": "경상북도",
    "055": "경상남도",
    "061": "전라남도",
    "062": "광주광역시",
    "063": "전북특별자치도",
    "064": "제주특별자치도",
}
_CODE_OF = {province: code for code, province in AREA_CODES.items()}


def cleaned(text: str) -> str:
    """One line; "" where the cell says that there is nothing."""
    plain = " ".join(text.split())
    return "" if plain.lower() in NOTHING else plain


def key(text: str) -> str:
    """To compare addresses and names: without spaces, brackets and signs."""
    return re.sub(r"[^0-9a-z가-힣]", "", _PARENTHESES.sub("", text).lower())


def is_road(address: str) -> bool:
    return _ROAD.search(address) is not None


def is_lot(address: str) -> bool:
    return _LOT.search(address) is not None


@dataclass(frozen=True)
class Region:
    """`province` and `district` are today's names; `former` others by which people may look for it."""

    province: str = ""
    district: str = ""
    former: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.province, self.district)))

    @property
    def tags(self) -> list[str]:
        """Names of the place's regions, as a search gives them."""
        full = self.name if self.district else ""
        return list(dict.fromkeys(filter(None, (self.province, self.district, full, *self.former))))


class Regions:
    """Finds province and district in the words of an address."""

    def __init__(self, districts: Districts) -> None:
        self._by_district: dict[str, list[str]] = {}
        self._districts: dict[str, set[str]] = {}
        for name in districts.names:
            province, _, district = name.partition(" ")
            self._by_district.setdefault(district, []).append(province)
            self._districts.setdefault(province, set()).add(district)
        self._provinces = {name: name for name in self._districts} | FORMER_PROVINCES
        short = {name[:2]: name for name in self._districts if name[:2] not in ("충청", "경상", "전라")}
        self._provinces |= {name: full for name, full in short.items() if name not in self._provinces}
        self._of_heads = lru_cache(maxsize=16384)(self._of)

    @classmethod
    def load(cls) -> Self:
        return cls(Districts.load(None))

    def of(self, addresses: tuple[str, ...], named: str = "", phone: str = "") -> Region:
        """From the first address that says it; what is left open, from a region's name, then from a phone number."""
        heads = tuple(" ".join(address.split(None, 3)[:3]) for address in addresses)
        found = self._of_heads(heads, named, "")
        if not found.province and phone:
            found = self._of_heads(heads, named, phone[:4])
        return self._of(addresses, named, phone) if found.province == "인천광역시" else found

    def _of(self, addresses: tuple[str, ...], named: str = "", phone: str = "") -> Region:
        province = district = ""
        said: list[str] = []
        for text in (*addresses, named):
            words = text.replace(",", " ").split()[:4]
            if not words:
                continue
            found = self._provinces.get(words[0], "")
            if found == "광주광역시" and words[0] == "광주시" and words[1:2] and words[1] not in self._districts[found]:
                found = ""  # 광주시 of 경기도
            if found:
                said.append(words[0])
                words = words[1:]
            province = province or found
            district = district or self._district(words)
        if not province:
            code = next((code for code in AREA_CODES if phone.startswith(f"{code}-")), "")
            province = AREA_CODES.get(code, "")
        homes = self._by_district.get(district, [])
        if not province and len(homes) == 1:
            province = homes[0]
        return self._today(province, district, " ".join(addresses), said)

    def tag_of(self, word: str) -> str:
        """Tag of the places in the region of that name, old or new; "" for a word that names none."""
        if word in self._by_district or word in ("남구", "군위군"):
            return word
        return self._provinces.get(word, "")

    def _district(self, words: Iterable[str]) -> str:
        for word in words:
            if word in self._by_district:
                return word
        return ""

    def _today(self, province: str, district: str, text: str, said: list[str]) -> Region:
        former: list[str] = [word for word in said if word != province]
        today = FORMER_DISTRICTS.get((province, district))
        if today:
            former += [f"{province} {district}", province]
            province, district = today
        if province == "인천광역시" and district in ("중구", "동구", "서구"):
            now = _incheon(district, text)
            if now != district:
                former += [district, f"{province} {district}"]
                district = now
        old = next((name for name, new in FORMER_PROVINCES.items() if new == province and name.endswith("도")), "")
        if old:
            former.append(old)
        return Region(province, district, tuple(dict.fromkeys(former)))


def _incheon(district: str, text: str) -> str:
    """Districts of July 2026. 서구 was split; its south keeps the name until another one is decreed."""
    if district == "서구":
        return "검단구" if _GEOMDAN.search(text) else district
    if district == "중구" and _YEONGJONG.search(text):
        return "영종구"
    return "제물포구"


# --- phone numbers ----------------------------------------------------------------------------------------------------

MOBILE = re.compile(r"(?<!\d)01[016789][-. )]*\d{3,4}[-. ]*\d{4}")
_FULL = re.compile(r"(?<!\d)(02|0[3-6]\d|070|080|050\d?)[-. )]*(\d{3,4})[-. ]+(\d{4})(?!\d)")
_JOINED = re.compile(r"(?<!\d)(02|0[3-6]\d|070|080)(\d{3,4})(\d{4})(?!\d)")
_SERVICE = re.compile(r"(?<!\d)(1[3568]\d\d)[-. ]?(\d{4})(?!\d)")
_LOCAL = re.compile(r"(?<!\d)(\d{3,4})[-. ](\d{4})(?!\d)")


@lru_cache(maxsize=16384)
def phone(text: str, province: str = "") -> str:
    """The first number of an office; "" for none. One without an area code gets that of the province.

    Mobile numbers are of persons, and are left out."""
    plain = MOBILE.sub(" ", _SPACE.sub(" ", text))
    for pattern in (_FULL, _JOINED):
        match = pattern.search(plain)
        if match:
            return "-".join(match.groups())
    match = _SERVICE.search(plain)
    if match:
        return f"{match[1]}-{match[2]}"
    match = _LOCAL.search(plain)
    code = _CODE_OF.get(province, "")
    return f"{code}-{match[1]}-{match[2]}" if match and code else ""
