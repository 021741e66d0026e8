"""Categories of places: those the client knows, the data sets it does not, and the words of public data for both."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

Source = Literal["keco", "zerowaste", "kakao"]
"""`keco`: public data; `zerowaste`: shops that sell without packaging; `kakao`: found at Kakao, not ours."""

STORE_CATEGORIES = (
    *("refill_zero", "cafe_bakery", "vegan_dining", "upcycle_recycle", "book_workshop", "market_mart"),
    *("lodging", "public_dropbox", "general"),
)
PICKUP_CATEGORIES = (
    *("clear_pet", "colored_pet", "can", "paper", "plastic", "glass", "textile", "electronics", "general"),
)

DATASET_STREAMS: dict[str, tuple[str, ...]] = {
    "compensation_centre": ("reward_return",),
    "reverse_vending": ("bottle_return", "cup_return"),
    "clothing_bin": ("clothing_bin",),
    "battery_box": ("battery_bin",),
    "lamp_box": ("lamp_bin",),
    "battery_lamp_box": ("battery_bin", "lamp_bin"),
    "medicine_box": ("medicine_box",),
    "small_ewaste_box": ("small_ewaste_bin",),
    "cooking_oil_box": ("cooking_oil_box",),
    "icepack_box": ("icepack_box",),
    "carton_box": ("paper_carton",),
    "recycling_centre": ("reuse",),
    "zerowaste_shop": (),
    "other": (),
}
"""Kind of place → disposal streams of the knowledge base that it takes."""
DATASET_NAMES = {
    "compensation_centre": "유가보상 거점",
    "reverse_vending": "무인회수기",
    "clothing_bin": "의류수거함",
    "battery_box": "폐건전지 수거함",
    "lamp_box": "폐형광등 수거함",
    "battery_lamp_box": "폐건전지·폐형광등 수거함",
    "medicine_box": "폐의약품 수거함",
    "small_ewaste_box": "소형폐가전 수거함",
    "cooking_oil_box": "폐식용유 수거함",
    "icepack_box": "아이스팩 수거함",
    "carton_box": "종이팩 수거함",
    "recycling_centre": "재활용센터",
    "zerowaste_shop": "제로웨이스트 가게",
    "other": "수거 장소",
}
DATASET_PICKUPS: dict[str, tuple[str, ...]] = {
    "clothing_bin": ("textile",),
    "small_ewaste_box": ("electronics",),
    "carton_box": ("paper",),
}
"""Pickup categories that follow from the kind alone; the client has none for batteries, lamps, medicine, ice packs."""
DATASET_STORES = {"recycling_centre": "upcycle_recycle", "zerowaste_shop": "refill_zero", "other": "general"}
DROP_OFF_DATASETS = {
    "battery_box": ("battery_box", "battery_lamp_box"),
    "rechargeable_box": ("battery_box", "battery_lamp_box"),
    "lamp_box": ("lamp_box", "battery_lamp_box"),
    "small_ewaste_box": ("small_ewaste_box",),
    "medicine_box": ("medicine_box",),
    "cooking_oil_box": ("cooking_oil_box",),
    "icepack_box": ("icepack_box",),
    "clothing_bin": ("clothing_bin",),
    "carton_box": ("carton_box", "compensation_centre"),
    "bottle_return_point": ("reverse_vending",),
    "cup_return_point": ("reverse_vending",),
    "reverse_vending": ("reverse_vending", "compensation_centre"),
    "reuse_centre": ("recycling_centre",),
}
"""Kind of drop-off in the knowledge base → data sets whose places are of that kind."""

_TYPOS = (
    (re.compile(r"패트|폐트|패드(?=병)"), "페트"),
    (re.compile(r"페트명|페트벙|패트명"), "페트병"),
    (re.compile(r"플리스틱|프라스틱|플라스택|플라스특|플라스틱류류"), "플라스틱"),
    (re.compile(r"비늘류"), "비닐류"),
    (re.compile(r"스치로폼|스치로폴|스티로품"), "스티로폼"),
    (re.compile(r"알미늄|알류미늄"), "알루미늄"),
    (re.compile(r"(?<![a-z])p\.?e\.?t(?![a-z])", re.IGNORECASE), "페트"),
)
_CLEAR = re.compile(
    r"(?:투명|무색|클리어|clear)(?:[\s,·/및와과]*(?:유색|색깔|칼라|컬러))?\s*(?:\(?[가-힣]{0,4}\)?\s*)?(?:페트|생수)|페트(?:병)?\s*\(?\s*(?:투명|무색)",
    re.IGNORECASE,
)
_COLOURED = re.compile(
    r"(?:유색|색깔|칼라|컬러|colou?red)(?:[\s,·/및와과]*(?:투명|무색))?\s*페트|페트(?:병)?\s*\(?\s*(?:(?:투명|무색)[\s,·/및와과]*)?유색",
    re.IGNORECASE,
)
_PET = re.compile(r"페트")
_WORDS: tuple[tuple[str, "re.Pattern[str]"], ...] = (
    ("can", re.compile(r"캔|깡통|알루미늄|고철|철류|금속")),
    ("paper", re.compile(r"종이|신문|책자|골판지|박스|상자|우유팩|멸균팩|폐지|파지|(?<!아이스)(?<!아이스\s)팩류")),
    (
        "plastic",
        re.compile(r"플라스틱|비닐|병뚜껑|스티로폼|(?<![a-z])(?:pe|pp|ps|hdpe|ldpe|abs)(?![a-z])", re.IGNORECASE),
    ),
    ("glass", re.compile(r"유리|공병|소주병|맥주병|빈병|병류")),
    ("textile", re.compile(r"의류|헌옷|옷|섬유|원단|신발|가방|이불")),
    ("electronics", re.compile(r"가전|전자제품|휴대폰|핸드폰|컴퓨터|노트북|전기제품|소형가전")),
)
_STREAM_WORDS: tuple[tuple[str, "re.Pattern[str]"], ...] = (
    ("battery_bin", re.compile(r"건전지|배터리|2차전지|이차전지|폐전지|전지류")),
    ("lamp_bin", re.compile(r"형광등|램프|전구|조명")),
    ("medicine_box", re.compile(r"의약품|폐의약|알약|약품")),
    ("icepack_box", re.compile(r"아이스\s*팩|보냉팩|냉매")),
    ("cooking_oil_box", re.compile(r"식용유|폐유")),
    ("clothing_bin", re.compile(r"의류|헌옷")),
    ("paper_carton", re.compile(r"우유팩|종이팩|멸균팩")),
    ("small_ewaste_bin", re.compile(r"소형\s*(?:폐)?가전|소형\s*전자")),
    ("clear_pet", re.compile(r"(?!)")),
)


def corrected(text: str) -> str:
    """Collected items with typing errors of public data corrected, for reading; shown texts stay as published."""
    for pattern, right in _TYPOS:
        text = pattern.sub(right, text)
    return text


@lru_cache(maxsize=8192)
def pickups(text: str) -> tuple[str, ...]:
    """Pickup categories that the words name; none without words: nothing is guessed."""
    plain = corrected(text)
    found = {name for name, pattern in _WORDS if pattern.search(plain)}
    clear, coloured = _CLEAR.search(plain) is not None, _COLOURED.search(plain) is not None
    if clear:
        found.add("clear_pet")
    if coloured:
        found.add("colored_pet")
    if _PET.search(plain) and not clear and not coloured:
        found |= {"clear_pet", "colored_pet"}
    return tuple(name for name in PICKUP_CATEGORIES if name in found)


@lru_cache(maxsize=8192)
def streams(text: str) -> tuple[str, ...]:
    """Disposal streams that the words name."""
    plain = corrected(text)
    found = [name for name, pattern in _STREAM_WORDS if pattern.search(plain)]
    return (*found, "clear_pet") if "clear_pet" in pickups(text) else tuple(found)


_STORES: tuple[tuple[str, "re.Pattern[str]"], ...] = (
    ("lodging", re.compile(r"호텔|게스트\s*하우스|스테이|펜션|민박|숙소|리조트|모텔")),
    ("refill_zero", re.compile(r"제로\s*웨이스트|리필|무포장|알맹|zero\s*waste|refill", re.IGNORECASE)),
    (
        "upcycle_recycle",
        re.compile(r"업사이클|새활용|재활용|되살림|아름다운\s*가게|자원순환|upcycl|recycl", re.IGNORECASE),
    ),
    ("vegan_dining", re.compile(r"비건|채식|vegan|식당|음식점|레스토랑|한식|양식|분식", re.IGNORECASE)),
    ("cafe_bakery", re.compile(r"카페|커피|베이커리|빵|제과|디저트|cafe|coffee|bakery", re.IGNORECASE)),
    ("book_workshop", re.compile(r"책방|서점|공방|북스|도서|book|workshop", re.IGNORECASE)),
    ("market_mart", re.compile(r"마켓|마트|시장|생협|한살림|슈퍼|편의점|상회|market|mart|coop", re.IGNORECASE)),
    ("public_dropbox", re.compile(r"수거함|주민센터|행정복지센터|구청|시청|보건소|동사무소")),
)


@lru_cache(maxsize=8192)
def store_of(words: str) -> str:
    """Kind of shop by its name and description."""
    return next((name for name, pattern in _STORES if pattern.search(words)), "general")


def tags(
    *, source: str, dataset: str, store: str, pickup: Iterable[str], stream: Iterable[str], regions: Iterable[str]
) -> list[str]:
    """Values that a place is found by, in one indexed array: kind of filter, colon, value."""
    return [
        f"src:{source}",
        f"set:{dataset}",
        f"store:{store}",
        *(f"pick:{name}" for name in pickup),
        *(f"stream:{name}" for name in stream),
        *(f"in:{name}" for name in regions),
    ]
