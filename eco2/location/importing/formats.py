"""Names of columns in the files of public bodies, and the formats that are known."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from eco2.location.categories import DATASET_STREAMS, STORE_CATEGORIES, Source
from eco2.location.importing import coordinates
from eco2.location.importing.files import FileRefused

ALIASES: Mapping[str, tuple[str, ...]] = {
    "number": ("positnsn", "관리번호", "관리일련번호"),
    "name": (
        *(
            "positnnm",
            "재활용센터명",
            "설치장소명",
            "설치장소",
            "장소명",
            "상호명",
            "상호",
            "시설명",
            "약국명",
            "기관명",
        ),
        *("수거함명", "업소명", "거점명", "설치기관", "설치기관명", "명칭", "이름", "name", "title"),
    ),
    "road": (
        *("positnrdnmaddr", "소재지도로명주소", "도로명주소", "설치장소도로명주소", "주소도로명", "도로명", "신주소"),
        *("설치위치도로명주소", "소재지도로명", "roadaddress"),
    ),
    "lot": (
        "positnlotnoaddr",
        "소재지지번주소",
        "지번주소",
        "설치장소지번주소",
        "주소지번",
        "지번",
        "구주소",
        "lotaddress",
    ),
    "address": ("위치주소", "주소", "소재지주소", "소재지", "설치주소", "위치", "설치위치", "address"),
    "region": ("positnrgnnm", "시도명", "지역명", "지역"),
    "district": ("시군구명", "시군구", "자치구", "구명"),
    "detail": ("positnpstnaddexpln", "상세위치", "세부위치", "설치상세위치", "비치장소", "설치세부위치", "detail"),
    "y": (
        *(
            "positnpstnlat",
            "위도",
            "lat",
            "latitude",
            "y",
            "y좌표",
            "좌표y",
            "posy",
            "wgs84위도",
            "위도wgs84",
            "좌표위도",
        ),
        *("위도좌표", "위도y", "y위도"),
    ),
    "x": (
        *("positnpstnlot", "경도", "lon", "lng", "longitude", "x", "x좌표", "좌표x", "posx", "wgs84경도", "경도wgs84"),
        *("좌표경도", "경도좌표", "경도x", "x경도"),
    ),
    "phone": (
        *(
            "rprstelnocn",
            "bsctelnocn",
            "전화번호",
            "전화",
            "연락처",
            "대표전화",
            "관리기관전화번호",
            "관리부서전화번호",
        ),
        *("문의전화", "phone", "tel"),
    ),
    "manager": ("관리기관명", "관리기관", "관리부서", "관리부서명", "운영기관명", "운영기관", "담당부서"),
    "date": ("데이터기준일자", "데이터기준일", "기준일자", "기준일", "데이터기준", "date"),
    "items": (
        *(
            "clctitemcn",
            "수거품목",
            "수거대상품목",
            "주요취급품목정보",
            "취급품목",
            "수거종류",
            "품목",
            "투입품목",
            "items",
        ),
    ),
    "introduction": ("positnintdccn", "소개", "설명", "비고", "introduction"),
    "hours": ("운영시간", "이용시간", "영업시간", "이용가능시간", "개방시간", "hours"),
    "rest": ("휴무일정보", "휴무일", "휴무", "정기휴무"),
    "week_from": ("평일운영시작시각", "평일시작시간", "평일운영시작시간"),
    "week_until": ("평일운영종료시각", "평일종료시간", "평일운영종료시간"),
    "sat_from": ("토요일운영시작시각", "토요일운영시작시간"),
    "sat_until": ("토요일운영종료시각", "토요일운영종료시간"),
    "holiday_from": ("공휴일운영시작시각", "공휴일운영시작시간"),
    "holiday_until": ("공휴일운영종료시각", "공휴일운영종료시간"),
    "mon": ("monsalshrexplncn",),
    "tue": ("tuessalshrexplncn",),
    "wed": ("wedsalshrexplncn",),
    "thu": ("thursalshrexplncn",),
    "fri": ("frisalshrexplncn",),
    "sat": ("satsalshrexplncn",),
    "sun": ("sunsalshrexplncn",),
    "holiday": ("lhldysalshrexplncn",),
    "holiday_rest": ("lhldydyoffcn",),
    "url": ("lnkghmpgurladdr", "홈페이지", "홈페이지주소", "url"),
    "kind": ("장소구분", "종류", "구분", "수거함종류", "수거함구분"),
    "count": ("설치대수", "수량", "설치수량", "개수"),
    # Kakao's favourites.
    "favourite": ("favoritetype",),
    "memo": ("memo",),
    "display1": ("display1",),
    "display2": ("display2",),
    "congnamul_x": (),
    "congnamul_y": (),
}
"""Field → titles, as `plain` makes them; the first that a file has counts."""

PRIVATE = re.compile(r"대표자|담당자|관리자명|관리인|점주|성명|휴대|핸드폰|개인|주민|생년|indivtelno|이메일|email")
"""Columns about persons: they are dropped when they are read."""


def plain(title: str) -> str:
    """A title to compare: "위치 (주소)" and "위치주소" are one."""
    return re.sub(r"[^0-9a-z가-힣]", "", title.lower())


_FIELD_OF = {alias: (name, rank) for name, aliases in ALIASES.items() for rank, alias in enumerate(aliases)}


@dataclass(frozen=True)
class Format:
    """A kind of file: its kind of places, columns it must have (one of each group), values by the kind."""

    name: str
    title: str
    dataset: str
    needs: tuple[tuple[str, ...], ...]
    source: Source = "keco"
    store: str = "public_dropbox"
    """"": by the name."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Field → title, where a file calls a column as no other does."""
    system: int | None = None
    publisher: str = ""
    place_name: str = ""
    """For places without a name of their own."""


_PLACE = (("name", "address", "road", "lot"), ("address", "road", "lot", "y"))

FORMATS = {
    one.name: one
    for one in (
        Format(
            "compensation",
            "고품질 재활용품 유가보상 거점 (한국환경공단)",
            "compensation_centre",
            (("name",), ("road",), ("x",), ("y",), ("mon",), ("items",)),
            publisher="한국환경공단",
        ),
        Format(
            "clothing-bins",
            "전국의류수거함표준데이터, 지자체 의류수거함",
            "clothing_bin",
            _PLACE,
            place_name="의류수거함",
        ),
        Format(
            "recycling-centres",
            "전국재활용센터표준데이터",
            "recycling_centre",
            (("name",), ("road", "lot", "address"), ("week_from", "hours", "items")),
            store="upcycle_recycle",
        ),
        Format("medicine-boxes", "폐의약품 수거함", "medicine_box", _PLACE, place_name="폐의약품 수거함"),
        Format("battery-boxes", "폐건전지 수거함", "battery_box", _PLACE, place_name="폐건전지 수거함"),
        Format("lamp-boxes", "폐형광등 수거함", "lamp_box", _PLACE, place_name="폐형광등 수거함"),
        Format(
            "battery-lamp-boxes",
            "폐건전지·폐형광등 수거함",
            "battery_lamp_box",
            _PLACE,
            place_name="폐건전지·폐형광등 수거함",
        ),
        Format("ewaste-boxes", "소형폐가전 수거함", "small_ewaste_box", _PLACE, place_name="소형폐가전 수거함"),
        Format("reverse-vending", "무인회수기·순환자원 회수로봇", "reverse_vending", _PLACE, place_name="무인회수기"),
        Format(
            "kakao-favourites",
            "카카오맵 즐겨찾기 폴더 (이용 허락을 먼저 확인)",
            "zerowaste_shop",
            (("favourite",), ("display1",), ("display2",)),
            source="zerowaste",
            store="refill_zero",
        ),
        Format("generic", "이름·주소·좌표가 있는 표; --map으로 열을 알려 줄 수 있음", "other", _PLACE, store="general"),
    )
}


class MapFile(BaseModel):
    """`--map FILE.yaml`: how to read a table that no format knows."""

    model_config = ConfigDict(extra="forbid")

    dataset: str = "other"
    source: Source = "keco"
    store_category: str = ""
    place_name: str = ""
    crs: str = ""
    columns: dict[str, str] = {}
    """Field (name, road, lot, address, x, y, phone, items, hours, date, number, …) → title in the file."""


def mapped(base: Format, path: Path) -> Format:
    """`base` with the values of the file. FileRefused names its fault."""
    try:
        content = MapFile.model_validate(yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FileRefused(f"{path} cannot be read: {str(error).splitlines()[0]}.") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise FileRefused(f"{path}: {wrong}.") from None
    _known("dataset", content.dataset, DATASET_STREAMS)
    _known("crs", content.crs or "4326", coordinates.SYSTEMS)
    _known("store_category", content.store_category or "general", STORE_CATEGORIES)
    for name in content.columns:
        _known("columns", name, ALIASES)
    needs = tuple((name,) for name in content.columns) or base.needs
    return Format(
        base.name,
        base.title,
        content.dataset,
        needs,
        source=content.source,
        store=content.store_category or ("" if content.dataset == "zerowaste_shop" else base.store),
        columns=content.columns,
        system=coordinates.SYSTEMS[content.crs] if content.crs else base.system,
        publisher=base.publisher,
        place_name=content.place_name or base.place_name,
    )


def _known(where: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise FileRefused(f"{where}: {value!r} is not known; one of {', '.join(known)}.")


@dataclass(frozen=True)
class Columns:
    """Columns of a file. `others`: columns that no field takes, kept as they are; private ones are in neither."""

    places: Mapping[str, int]
    all_phones: tuple[int, ...]
    others: tuple[tuple[str, int], ...]
    system: int | None
    """Of the coordinates, where a title or the format says it."""
    ambiguous: str = ""
    """The title of coordinates that names an origin only."""


def columns_of(found: Format, header: Sequence[str]) -> Columns:
    """FileRefused when a column that the format needs is missing, or the file looks like another one."""
    places = _places(found, header)
    missing = [group for group in found.needs if not any(name in places for name in group)]
    if missing:
        raise FileRefused(_not_of_this_format(found, header, missing))
    taken = set(places.values())
    titles = list(enumerate(header))
    phones = tuple(at for at, title in titles if _FIELD_OF.get(plain(title), ("",))[0] == "phone")
    others = tuple(
        (title, at)
        for at, title in titles
        if title and at not in taken and at not in phones and not PRIVATE.search(plain(title))
    )
    system = found.system
    if "x" in places and system is None:
        system = coordinates.system_of(header[places["x"]]) or coordinates.system_of(header[places["y"]])
        if plain(header[places["x"]]) == "positnpstnlot":
            system = coordinates.WGS84
    named = header[places["x"]] if "x" in places and system is None else ""
    ambiguous = named if coordinates.is_ambiguous(named) else ""
    return Columns(places, phones, others, system, ambiguous)


def _places(found: Format, header: Sequence[str]) -> dict[str, int]:
    best: dict[str, tuple[int, int]] = {}
    for at, title in enumerate(header):
        name, rank = _field(title)
        if name and not PRIVATE.search(plain(title)) and (name not in best or rank < best[name][0]):
            best[name] = (rank, at)
    places = {name: at for name, (_, at) in best.items()}
    known = {plain(title): number for number, title in enumerate(header)}
    if found.name == "kakao-favourites":
        places |= {"congnamul_x": places.pop("x", -1), "congnamul_y": places.pop("y", -1)}
        for name, title in (("congnamul_x", "x"), ("congnamul_y", "y"), ("x", "lon"), ("y", "lat"), ("number", "key")):
            if title in known:
                places[name] = known[title]
        places = {name: place for name, place in places.items() if place >= 0}
    for name, title in found.columns.items():
        if plain(title) in known:
            places[name] = known[plain(title)]
        else:
            places.pop(name, None)
    return places


def _field(title: str) -> tuple[str, int]:
    text = plain(title)
    if text in _FIELD_OF:
        return _FIELD_OF[text]
    if re.search(r"5181|5179|5186|5174|2097|utmk|grs80|wgs84|tm", text):
        if re.search(r"y|위도|북", text):
            return "y", 90
        if re.search(r"x|경도|동", text):
            return "x", 90
    return "", 0


def _not_of_this_format(found: Format, header: Sequence[str], missing: Sequence[Sequence[str]]) -> str:
    wanted = "; ".join(" or ".join(_example(found, name) for name in group) for group in missing)
    said = f"This is no file of format {found.name}: there is no column {wanted}."
    if len(header) < 2:
        return f"{said} It has no table at all."
    other = guess(header)
    hint = f" It looks like --format {other}." if other and other != found.name else ""
    return f"{said}{hint} Its columns: {', '.join(header[:12])}{' …' if len(header) > 12 else ''}."


def _example(found: Format, name: str) -> str:
    return found.columns.get(name) or next(iter(ALIASES[name]), name)


def guess(header: Sequence[str]) -> str:
    """The special format that a header belongs to; "" for a plain table."""
    for name in ("compensation", "kakao-favourites", "recycling-centres"):
        places = _places(FORMATS[name], header)
        if all(any(one in places for one in group) for group in FORMATS[name].needs):
            return name
    return ""


def described() -> list[dict[str, Any]]:
    """For help texts."""
    return [{"format": one.name, "file": one.title, "places": one.dataset} for one in FORMATS.values()]
