"""A danger is answered, or named as not understood, whatever part it plays in a sentence."""

import random
from itertools import product

import pytest

from eco2.knowledge import Knowledge, ask, load
from eco2.knowledge.reading import read
from eco2.knowledge.words.text import topic

KO_HAZARDS = (
    *(
        "건전지",
        "보조배터리",
        "형광등",
        "주사기",
        "주사바늘",
        "알약",
        "감기약",
        "농약",
        "쥐약",
        "시너",
        "휘발유",
        "등유",
        "염산",
        "라이터",
    ),
    *("폭죽", "수은 온도계", "총알", "호신용 스프레이", "리튬 배터리", "헬륨가스통", "인슐린", "수면제"),
)
EN_HAZARDS = (
    *(
        "batteries",
        "power banks",
        "fluorescent tubes",
        "syringes",
        "needles",
        "pills",
        "medicine",
        "pesticide",
        "rat poison",
    ),
    *("paint thinner", "gasoline", "kerosene", "hydrochloric acid", "lighters", "fireworks", "bullets", "pepper spray"),
    *("insulin", "sleeping pills", "chemicals", "helium cylinders"),
)
KO_HOLDERS = (
    "서랍장",
    "책상",
    "옷장",
    "가방",
    "상자",
    "유리병",
    "플라스틱 통",
    "캐리어",
    "신발 상자",
    "밥솥",
    "쿠션",
    "화분",
)
EN_HOLDERS = (
    "desk",
    "drawer",
    "cabinet",
    "suitcase",
    "box",
    "glass jar",
    "plastic bucket",
    "backpack",
    "sofa",
    "rice cooker",
)
KO_TEMPLATES = (
    "{h}{i} 든 {c} 버려요",
    "{h}{i} 들어있는 {c} 어떻게 버려요?",
    "{h} 담긴 {c}",
    "{c}에 {h}{i} 들어 있어요",
    "{c} 안에 {h}{i} 가득해요",
    "{h}{i} 가득한 {c}랑 의자",
    "{h}{r} {c} 같이 버려도 되나요",
    "{c}하고 {h}",
    "{c} 버리려는데 {h}도 나왔어요",
    "{c}에서 나온 {h}",
    "의자, {h}{i} 든 {c}, 신문지",
    "{c} 속 {h} 어떻게 해요",
)
EN_TEMPLATES = (
    "a {c} with {h} in it",
    "{c} full of {h}",
    "a {c} filled with {h} and a chair",
    "there are {h} in the {c}",
    "{c} containing {h}, how do I throw it away?",
    "{h} in a {c}",
    "{h} and a {c}",
    "a {c} and {h}",
    "an old chair, a {c} of {h}, newspapers",
    "I found {h} inside my {c}",
    "{c} that has {h} in it",
    "how do I dispose of a {c} which still holds {h}?",
)
MOST = 700
"""Phrases of each language that are tried of all."""


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def made(templates: tuple[str, ...], hazards: tuple[str, ...], holders: tuple[str, ...]) -> list[tuple[str, str, str]]:
    every = list(product(templates, hazards, holders))
    return random.Random(17).sample(every, min(MOST, len(every)))


def with_particles(template: str, hazard: str, holder: str) -> str:
    closed = topic(hazard).endswith("은")
    return template.format(h=hazard, c=holder, i="이" if closed else "가", r="이랑" if closed else "랑")


def told(knowledge: Knowledge, hazard: str, text: str) -> bool:
    """True when an answer has a section about the hazard or one of its kind, or names its words as not understood."""
    body = ask(knowledge, text)
    alone = {(item["item"], item["stream"]) for item in ask(knowledge, hazard)["items"]}
    streams = {stream for _, stream in alone} - {"general_bag", "metal_can"}
    got = {(item["item"], item["stream"]) for item in body["items"]}
    if not {name for name, _ in alone}.isdisjoint(name for name, _ in got):
        return True
    if not streams.isdisjoint(stream for _, stream in got):
        return True
    if streams == {"battery_bin"} and ("전지 수거함" in body["answer"] or "battery box" in body["answer"]):
        return True  # a device, whose section tells of its battery
    unread = "".join(read(knowledge, text).unread)
    return any(word in unread and word in body["answer"] for word in hazard.split())


@pytest.mark.parametrize(
    ("templates", "hazards", "holders"),
    [(KO_TEMPLATES, KO_HAZARDS, KO_HOLDERS), (EN_TEMPLATES, EN_HAZARDS, EN_HOLDERS)],
    ids=["ko", "en"],
)
def test_no_danger_in_a_thing_gets_lost(
    knowledge: Knowledge, templates: tuple[str, ...], hazards: tuple[str, ...], holders: tuple[str, ...]
) -> None:
    phrases = [(with_particles(template, h, c), h) for template, h, c in made(templates, hazards, holders)]
    assert [(text, hazard) for text, hazard in phrases if not told(knowledge, hazard, text)] == []


@pytest.mark.parametrize(
    ("question", "items"),
    [
        ("배터리가 없는 서랍장", ["wardrobe_desk"]),
        ("건전지 뺀 서랍장", ["wardrobe_desk"]),
        ("등유가 들었던 서랍장", ["wardrobe_desk"]),
        ("건전지 담는 서랍장", ["wardrobe_desk"]),
        ("페인트 묻은 장갑 낀 채로", None),
        ("a desk without batteries", ["wardrobe_desk"]),
        ("a desk, the batteries are already removed", ["wardrobe_desk"]),
        ("T-shirt with paint on it", ["clothes"]),
        ("my phone has a bulging battery", ["phone"]),
        ("배터리가 분리 안되는 무선청소기", ["vacuum"]),
        ("라이터로 태운 종이컵", ["paper_cup"]),
        ("cardboard box cut with scissors", None),
    ],
)
def test_a_danger_that_is_not_there_has_no_section(
    knowledge: Knowledge, question: str, items: list[str] | None
) -> None:
    got = [item["item"] for item in ask(knowledge, question)["items"]]
    if items is None:
        assert not {"paint_left", "knife_scissors"} & set(got)
    else:
        assert got == items


@pytest.mark.parametrize(
    "question", ["lithium object", "propane object", "a helium thing", "우라늄 뭐시기", "방사성 물체", "some uranium"]
)
def test_a_word_of_danger_is_not_refused(knowledge: Knowledge, question: str) -> None:
    body = ask(knowledge, question)
    assert [item["stream"] for item in body["items"]] == ["professional"]
    assert "danger" in body["answer"] or "위험" in body["answer"]


@pytest.mark.parametrize(
    ("question", "word"), [("a lithium gizmo and a chair", "lithium"), ("의자랑 우라늄 덩어리", "우라늄")]
)
def test_a_word_of_danger_beside_a_thing_is_named(knowledge: Knowledge, question: str, word: str) -> None:
    body = ask(knowledge, question)
    assert "sofa_chair" in [item["item"] for item in body["items"]]
    assert word in body["answer"]


def test_a_container_of_what_is_dangerous_is_not_rinsed(knowledge: Knowledge) -> None:
    body = ask(knowledge, "glass vial of insulin")
    assert [item["stream"] for item in body["items"]] == ["medicine_box"]
    assert "rinse" not in body["answer"].lower()


def test_a_question_about_a_deposit_hides_no_danger(knowledge: Knowledge) -> None:
    streams = {item["stream"] for item in ask(knowledge, "소주병 보증금 얼마예요? 건전지도 있어요")["items"]}
    assert "battery_bin" in streams


def test_two_things_of_one_item_are_both_named(knowledge: Knowledge) -> None:
    body = ask(knowledge, "벨트 모자")
    assert [item["name"] for item in body["items"]] == ["벨트, 모자"]
    assert body["answer"].startswith("벨트, 모자")


@pytest.mark.parametrize(
    ("question", "item"),
    [
        ("건전지 새는 리모컨", "alkaline"),
        ("배터리 찢어진 드론", "alkaline"),
        ("toy with a leaking battery", "leaking_battery"),
        ("휘발유 묻은 걸레", "fuel"),
        ("rags soaked with gasoline", "fuel"),
    ],
)
def test_what_is_wrong_with_a_part_is_not_left_to_its_whole(knowledge: Knowledge, question: str, item: str) -> None:
    assert item in [one["item"] for one in ask(knowledge, question)["items"]]
