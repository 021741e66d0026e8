"""Data files of the knowledge base: complete in both languages, found by its own words, and never dangerous."""

import pytest

from eco2.knowledge import Knowledge, ask, load, read
from eco2.knowledge.models import Item


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def test_size(knowledge: Knowledge) -> None:
    assert len(knowledge.items) >= 550
    assert len(knowledge.regions) >= 12
    assert [deposit.krw for deposit in knowledge.rulebook.deposits] == [70, 100, 130, 350]


def test_items_are_complete_in_english(knowledge: Knowledge) -> None:
    for item in knowledge.items.values():
        assert item.aliases_en, item.id
        assert item.note_ko, item.id
        assert item.note_en, item.id
        assert len(item.steps_en) == len(item.steps_ko), item.id
        assert len(item.dont_en) == len(item.dont_ko), item.id
        assert bool(item.where_en) == bool(item.where_ko), item.id


def test_rules_are_complete_in_english(knowledge: Knowledge) -> None:
    for rule in knowledge.rules.values():
        assert all(step.en for step in rule.steps), rule.stream
        for field in ("do", "dont", "regional"):
            assert len(getattr(rule, f"{field}_en")) == len(getattr(rule, f"{field}_ko")), (rule.stream, field)
        assert all(case.en and case.when_en and case.condition for case in rule.exceptions), rule.stream
        assert rule.sources, rule.stream


def test_situations_are_complete_in_english(knowledge: Knowledge) -> None:
    for situation in knowledge.situations.values():
        for field in ("step", "fault", "why", "say"):
            both = getattr(situation, f"{field}_ko"), getattr(situation, f"{field}_en")
            assert bool(both[0]) == bool(both[1]), (situation.id, field)
        assert bool(situation.keywords) == bool(situation.keywords_en), situation.id


def test_references_of_sources_and_places_are_known(knowledge: Knowledge) -> None:
    used = {name for place in knowledge.drop_offs for name in place.sources}
    for region in knowledge.regions.values():
        used.update(region.sources, *(override.sources for override in region.overrides))
        assert all(o.item is None or o.item in knowledge.items for o in region.overrides), region.id
        assert all(o.then is None or o.then in knowledge.streams for o in region.overrides), region.id
    used.update(name for item in knowledge.items.values() for name in item.sources)
    used.update(name for rule in knowledge.rules.values() for name in rule.sources)
    used.update(name for situation in knowledge.situations.values() for name in situation.sources)
    assert used <= knowledge.sources.keys()
    assert all(name in knowledge.items for place in knowledge.drop_offs for name in place.items)


@pytest.mark.parametrize("question", ["{} 어떻게 버려요?", "how do I get rid of {}?"], ids=["ko", "en"])
def test_an_item_is_found_by_its_name_and_is_in_no_situation(knowledge: Knowledge, question: str) -> None:
    names = {item.id: item.ko if "버려" in question else item.en for item in knowledge.items.values()}
    wrong = []
    for name, words in names.items():
        mentions = read(knowledge, question.format(words)).mentions
        found = [m.subject.id if isinstance(m.subject, Item) else m.subject.term for m in mentions]
        if found != [name] and knowledge.resolve(words) is not None:
            wrong.append((name, found))
    assert wrong == []


SAFE = [
    ("보조배터리가 부풀었어요", "professional"),
    ("건전지에서 액이 새요", "professional"),
    ("전동킥보드 배터리가 뜨거워요", "professional"),
    ("보조배터리 종량제봉투에 버려도 되나요?", "battery_bin"),
    ("자동차 배터리", "retailer_takeback"),
    ("일회용 전자담배 일반쓰레기인가요?", "small_ewaste_bin"),
    ("건전지 들어가는 로봇 장난감", "small_ewaste_bin"),
    ("말하는 인형", "small_ewaste_bin"),
    ("부탄가스에 구멍 뚫어야 하나요?", "metal_can"),
    ("부탄가스 가스가 안 빠져요", "professional"),
    ("너무 더러운 부탄가스통", "metal_can"),
    ("살충제가 남은 스프레이캔", "hazard_box"),
    ("LPG 가스통", "retailer_takeback"),
    ("헬륨가스통", "professional"),
    ("소화기 고철로 내도 돼요?", "bulky"),
    ("물약 변기에 버려도 돼요?", "medicine_box"),
    ("약이 남은 시럽병", "medicine_box"),
    ("알약 남은 약통", "medicine_box"),
    ("유리컵이 깨졌어요", "noncombustible_sack"),
    ("깨진 맥주병", "noncombustible_sack"),
    ("형광등이 깨졌어요", "noncombustible_sack"),
    ("수은체온계가 깨졌어요", "professional"),
    ("염산", "hazard_box"),
    ("휘발유 남은 거", "professional"),
    ("농약이 남은 병", "hazard_box"),
    ("총알을 주웠어요", "professional"),
    ("슬레이트 지붕", "professional"),
    ("my power bank is swollen", "professional"),
    ("leaking AA battery", "professional"),
    ("broken mercury thermometer", "professional"),
    ("can I flush expired pills?", "medicine_box"),
    ("butane can with gas left", "metal_can"),
    ("broken fluorescent tube", "noncombustible_sack"),
    ("gasoline", "professional"),
]


@pytest.mark.parametrize(("question", "stream"), SAFE)
def test_hazards_go_where_they_are_safe(knowledge: Knowledge, question: str, stream: str) -> None:
    assert [found["stream"] for found in ask(knowledge, question)["items"]] == [stream]


@pytest.mark.parametrize(
    ("question", "district", "stream"),
    [
        ("종이컵", None, "paper_mixed"),
        ("종이컵", "서울", "general_bag"),
        ("종이컵", "서울 송파구", "general_bag"),
        ("양념 묻은 비닐", "서울", "vinyl"),
        ("양념 묻은 비닐", "서울 관악구", "general_bag"),
        ("남은 페인트", "서울 강서구", "professional"),
        ("무선 이어폰", "부천시", "battery_bin"),
        ("오래된 쌀", "연수구", "general_bag"),
        ("빵", "연수구", "food_waste"),
        ("paper cup", "Seoul", "general_bag"),
    ],
)
def test_the_nearest_region_that_says_something_decides(
    knowledge: Knowledge, question: str, district: str | None, stream: str
) -> None:
    assert [found["stream"] for found in ask(knowledge, question, district)["items"]] == [stream]
