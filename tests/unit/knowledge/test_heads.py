"""Compounds whose first part no name knows go where their head goes, and keep what may hurt somebody."""

import random

import pytest

from eco2 import knowledge as kb
from eco2.knowledge.reading import read
from eco2.knowledge.words.text import is_hangul

KO_UNKNOWN = ("마카다비아", "비건용", "후리카케", "코그니톨", "넬로피드", "쿠오레틴", "라플레시아")
EN_UNKNOWN = ("zorba", "furikake", "spirulina", "quillon", "ombre", "taluka", "brinjal")
KO_HAZARDS = (
    "농약",
    "부탄가스",
    "수은",
    "건전지",
    "리튬배터리",
    "면도날",
    "주사바늘",
    "페인트",
    "시너",
    "락스",
    "염산",
    "전자담배",
    "폭죽",
    "휘발유",
    "살충제",
)
EN_HAZARDS = ("butane", "battery", "razor", "needle", "bleach", "acid", "paint", "pesticide", "mercury", "kerosene")
MATERIALS = {
    "플라스틱": "plastic",
    "나무": "wood",
    "스테인리스": "metal",
    "도자기": "ceramic",
    "고무": "rubber",
    "plastic": "plastic",
    "wooden": "wood",
    "metal": "metal",
}
SEED = 7
MANY = 400


@pytest.fixture(scope="module")
def knowledge() -> kb.Knowledge:
    return kb.load()


def _compounds(knowledge: kb.Knowledge, first: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """(head, first part, the compound) for heads of the language of the first parts."""
    korean = is_hangul(first[0][0])
    said = {word: head for head in knowledge.lexicon.heads.heads for word in (head.said if korean else head.en)}
    pairs = [(word, one) for word, head in said.items() for one in first if not head.bound]
    return [(word, one, f"{one} {word}") for word, one in pairs]


def _items(knowledge: kb.Knowledge, text: str) -> list[str]:
    return [item["item"] for item in kb.ask(knowledge, text)["items"]]


@pytest.mark.parametrize("first", [KO_UNKNOWN, EN_UNKNOWN])
def test_a_compound_of_no_known_name_is_told_by_its_head(knowledge: kb.Knowledge, first: tuple[str, ...]) -> None:
    heads = knowledge.lexicon.heads.by_word
    wrong = []
    for word, one, compound in random.Random(SEED).sample(_compounds(knowledge, first), 200):
        usual = heads[word].usual
        found = _items(knowledge, f"{compound} 버려요" if is_hangul(one[0]) else f"how do I throw away a {compound}")
        if usual and found != [usual]:
            wrong.append((compound, found, usual))
    assert wrong == []


def test_a_material_before_the_head_chooses(knowledge: kb.Knowledge) -> None:
    heads = knowledge.lexicon.heads
    wrong = []
    for said, material in MATERIALS.items():
        unknown = KO_UNKNOWN[0] if is_hangul(said[0]) else EN_UNKNOWN[0]
        for word, _, _ in _compounds(knowledge, (unknown,)):
            wanted = heads.by_word[word].of.get(material) or heads.goods[material]
            text = f"{said} {unknown} {word}"
            found = [m.subject.id for m in read(knowledge, text).mentions if isinstance(m.subject, kb.Item)]
            if found != [wanted]:
                wrong.append((text, found, wanted))
    assert wrong == []


@pytest.mark.parametrize("first", [KO_HAZARDS, EN_HAZARDS])
def test_what_may_hurt_somebody_makes_no_compound(knowledge: kb.Knowledge, first: tuple[str, ...]) -> None:
    """Whatever was said of it before there were compounds is said still: the words make no plain tub of it."""
    made = [
        compound
        for _, _, compound in _compounds(knowledge, first)
        if any(mention.guessed == compound for mention in read(knowledge, compound).mentions)
    ]
    assert made == []


def test_a_list_of_compounds_is_answered_entry_by_entry(knowledge: kb.Knowledge) -> None:
    dice = random.Random(SEED)
    heads = {word: head for word, head in knowledge.lexicon.heads.by_word.items() if head.usual and is_hangul(word[0])}
    wrong = []
    for _ in range(MANY // 10):
        chosen = [
            (dice.choice(KO_UNKNOWN), dice.choice(sorted(h for h in heads if not heads[h].bound))) for _ in range(4)
        ]
        text = ", ".join(f"{one} {word}" for one, word in chosen)
        found = [m.subject.id for m in read(knowledge, text).mentions if isinstance(m.subject, kb.Item)]
        if set(found) != {heads[word].usual for _, word in chosen}:
            wrong.append((text, found))
    assert wrong == []


@pytest.mark.parametrize(
    ("said", "item"),
    [
        ("운동 패드", "mixed_goods"),
        ("무릎패드", "mixed_goods"),
        ("세탁기 커버", "mixed_goods"),
        ("콩나물 재배기", "small_appliance"),
        ("electric shoe polisher", "small_appliance"),
        ("plastic thing", "plastic_goods"),
        ("도자기 조각", "ceramic"),
        ("쇠 조각", "metal_goods"),
    ],
)
def test_examples(knowledge: kb.Knowledge, said: str, item: str) -> None:
    assert _items(knowledge, said) == [item]


@pytest.mark.parametrize(
    "said", ["플라스틱", "레고 한박스", "소주 공병 한 박스", "다이소 박스", "책상 의자", "이불 베개 선반 냄비"]
)
def test_no_compound(knowledge: kb.Knowledge, said: str) -> None:
    """Materials, counts, shops and lists make none."""
    assert not any(m.guessed and m.span.term.startswith("뷁") for m in read(knowledge, said).mentions)


KO_DANGERS = ("수은", "석면", "배터리", "인슐린", "부탄가스", "염산")
EN_DANGERS = ("mercury", "asbestos", "bleach", "insulin", "butane")
KO_UNLISTED = ("테레빈유", "염소", "암모니아", "크레졸", "작두", "백린", *KO_UNKNOWN)
EN_UNLISTED = ("muriatic", "nicotine", "nitrite", "quicklime", *EN_UNKNOWN)
HOLDERS = (("통", "병", "캔"), ("bottle", "jar", "tub", "can"))


def _made(knowledge: kb.Knowledge, text: str) -> bool:
    reading = read(knowledge, text)
    return any(m.span.term.startswith("뷁") for m in (*reading.mentions, *reading.around))


def test_nothing_is_made_of_a_clause_that_names_a_danger_further_left(knowledge: kb.Knowledge) -> None:
    ko = [f"{one}{told} {unknown} 측정기" for one in KO_DANGERS for told in ("", "이 든") for unknown in KO_UNKNOWN]
    en = [f"{one} {unknown} wall {head}" for one in EN_DANGERS for unknown in EN_UNKNOWN for head in ("device", "mat")]
    assert [text for text in (*ko, *en) if _made(knowledge, text)] == []


def test_a_container_that_is_not_empty_is_one_of_its_own_only_with_food(knowledge: kb.Knowledge) -> None:
    ko = [f"{one} {head}{told}" for one in KO_UNLISTED for head in HOLDERS[0] for told in ("이 반 남았어요", " 미개봉")]
    en = [f"{told} {one} {head}" for one in EN_UNLISTED for head in HOLDERS[1] for told in ("half full", "unopened")]
    assert [text for text in (*ko, *en) if _made(knowledge, text)] == []


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_an_empty_container_of_unknown_content_comes_with_a_warning(knowledge: kb.Knowledge, lang: kb.Lang) -> None:
    careful = {"ko": knowledge.lexicon.heads.careful_ko, "en": knowledge.lexicon.heads.careful_en}[lang]
    first, holders = (KO_UNKNOWN, HOLDERS[0]) if lang == "ko" else (EN_UNKNOWN, HOLDERS[1])
    texts = [f"{one} {head}" for one in first for head in holders]
    assert [text for text in texts if careful not in kb.ask(knowledge, text)["answer"]] == []
    assert careful not in kb.ask(knowledge, "후리카케 걸이" if lang == "ko" else "zorba stand")["answer"]


@pytest.mark.parametrize(
    "said", ["rechargeable cells", "cordless cells", "rechargeable pack", "cordless nail cartridges"]
)
def test_what_runs_nothing_is_no_appliance(knowledge: kb.Knowledge, said: str) -> None:
    assert "small_appliance" not in _items(knowledge, said)


@pytest.mark.parametrize(
    ("said", "item"),
    [
        ("수은이 든 온도 측정기", "mercury_device"),
        ("mercury glass thermometer tube holder", "mercury_device"),
        ("드라이아이스꽂이", "dry_ice"),
        ("작두 받침대", "saw_axe"),
        ("임플란트 장치", "denture"),
        ("half full can of cockroach spray", "hazard_spray"),
        ("half a bottle of cough syrup", "liquid_medicine"),
    ],
)
def test_what_may_hurt_somebody_is_answered_first(knowledge: kb.Knowledge, said: str, item: str) -> None:
    assert _items(knowledge, said)[:1] == [item]


@pytest.mark.parametrize(
    "said", ["드라이아이스 상자", "toner jar", "배터리 충전 장치", "인슐린 펌프 기기", "석면 검사 장치"]
)
def test_a_thing_with_a_warning_stays_beside_its_container(knowledge: kb.Knowledge, said: str) -> None:
    assert not _made(knowledge, said)


def test_a_hazard_is_no_misspelt_word(knowledge: kb.Knowledge) -> None:
    """A "nitrite" was read as nitrile, and so made a compound."""
    assert not any(mention.guessed for mention in read(knowledge, "unopened nitrite strap").mentions)
