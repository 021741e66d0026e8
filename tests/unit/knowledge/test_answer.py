"""Golden cases of the advice, and what must hold for every item."""

from itertools import combinations

import pytest

from eco2.knowledge import (
    Knowledge,
    Situation,
    categories,
    compose_answer,
    compose_unknown,
    decide,
    disposal_rules,
    load,
)
from eco2.knowledge.attribution import told
from eco2.knowledge.words.text import normalize

RECYCLE, GENERAL, SACK = "재활용폐기물", "일반종량제폐기물", "불연성종량제폐기물"
FOOD, BULKY, BUILD, HAZARD = "음식물류폐기물", "대형폐기물", "공사장생활폐기물", "생활계유해폐기물"


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def advice(
    knowledge: Knowledge, item: str, *situations: str, said: str | None = None
) -> tuple[list[str], list[str], str]:
    """(steps, insufficiencies, answer)"""
    known = [knowledge.situations[name] for name in situations]
    found = knowledge.item(item)
    composed = compose_answer(knowledge, found, known, told(knowledge, said, found).others)
    steps, faults, answer = (
        composed["disposal_steps"],
        composed["insufficiencies"],
        composed["user_answer"],
    )
    assert isinstance(steps, dict)
    assert isinstance(faults, list)
    assert isinstance(answer, str)
    assert list(steps) == [f"단계{n}" for n in range(1, len(steps) + 1)]
    return list(steps.values()), faults, answer


GOLDEN = [
    ("water_pet", RECYCLE, "무색페트병", "clear_pet", ["라벨을 떼", "뚜껑을 닫"]),
    ("fruit_peel", FOOD, "음식물쓰레기", "food_waste", ["잘게 써", "물기를"]),
    ("animal_bone", GENERAL, "일반쓰레기", "general_bag", ["살은 발라내", "음식물 수거함에 넣지 않"]),
    ("broken_glass", SACK, "불연성쓰레기", "noncombustible_sack", ["장갑", "두껍게", "'깨진 유리'"]),
    ("alkaline", RECYCLE, "전지", "battery_bin", ["단자에 테이프", "전지 수거함"]),
    ("power_bank", RECYCLE, "전지", "battery_bin", ["뚫지 말고", "불이 날 수"]),
    ("swollen_battery", RECYCLE, "전지", "professional", ["멈추고", "119"]),
    ("pills", HAZARD, "폐의약품", "medicine_box", ["폐의약품 수거함", "변기나 하수구에 버리지"]),
    ("bed_mattress", BULKY, "대형생활용품", "bulky", ["신고", "스티커"]),
    ("umbrella", GENERAL, "일반쓰레기", "general_bag", ["천과 살을", "고철"]),
    ("paper_cup", RECYCLE, "종이", "paper_mixed", ["헹구", "우리 동네"]),
    ("milk_carton", RECYCLE, "종이팩", "paper_carton", ["펼쳐 말리", "종이류와 섞이면"]),
    ("pizza_box", RECYCLE, "종이", "paper_cardboard", ["기름 밴 면", "깨끗한 면"]),
    ("styrofoam_box", RECYCLE, "발포합성수지", "foam", ["테이프", "말리"]),
    ("drink_can", RECYCLE, "금속류", "metal_can", ["헹구", "납작하게"]),
    ("butane_can", RECYCLE, "금속류", "metal_can", ["바깥", "노즐", "구멍을 뚫지 마"]),
    ("incandescent", SACK, "불연성쓰레기", "noncombustible_sack", ["형광등 수거함에 넣지"]),
    ("led_bulb", RECYCLE, "조명제품", "lamp_bin", ["형광등·LED 수거함"]),
    ("clothes", RECYCLE, "의류및원단", "clothing_bin", ["주머니", "의류수거함"]),
    ("icepack_gel", GENERAL, "아이스팩", "icepack_box", ["뜯지 말고", "하수구에 버리지 마"]),
    ("diaper", GENERAL, "일반쓰레기", "general_bag", ["종량제봉투"]),
    ("receipt", GENERAL, "일반쓰레기", "general_bag", ["감열지"]),
    ("soju_bottle", RECYCLE, "유리병", "bottle_return", ["보증금", "입구"]),
    ("jar", RECYCLE, "유리병", "glass_bottle", ["뚜껑을 빼서 캔류", "세제로"]),
    ("takeout_cup", RECYCLE, "플라스틱류", "plastic", ["빨대", "투명페트병 전용함에는 넣지"]),
    ("snack_wrapper", RECYCLE, "비닐류", "vinyl", ["은색이어도", "딱지"]),
    ("laptop", RECYCLE, "전기전자제품", "small_ewaste_bin", ["개인정보", "소형폐가전"]),
    ("fridge", RECYCLE, "전기전자제품", "ewaste_pickup", ["1599-0903", "부품을 떼지 말"]),
    ("car_battery", RECYCLE, "전지", "retailer_takeback", ["정비소", "황산"]),
    ("cement_debris", BUILD, "집수리폐기물", "construction", ["구청에 신고"]),
    ("pesticide", HAZARD, "유해화학제품", "hazard_box", ["하수구나 땅에 붓지"]),
    ("knife_scissors", GENERAL, "일반쓰레기", "general_bag", ["날을 두꺼운 종이로", "'칼'"]),
    ("ceramic", SACK, "불연성쓰레기", "noncombustible_sack", ["재활용되지 않"]),
]


@pytest.mark.parametrize(("item", "major", "middle", "stream", "parts"), GOLDEN, ids=[g[0] for g in GOLDEN])
def test_golden(knowledge: Knowledge, item: str, major: str, middle: str, stream: str, parts: list[str]) -> None:
    found = knowledge.item(item)
    assert found.classification.major_category == major
    assert found.classification.middle_category == middle
    assert found.classification.minor_category == found.ko
    assert found.stream == stream
    steps, faults, answer = advice(knowledge, item)
    for part in parts:
        assert part in " ".join([*steps, answer]), part
    assert faults == []


def test_every_item_has_good_advice(knowledge: Knowledge) -> None:
    for item in knowledge.items.values():
        steps, faults, answer = advice(knowledge, item.id)
        assert 1 <= len(steps) <= 10, item.id
        assert len(set(steps)) == len(steps), item.id
        assert faults == [], item.id
        assert answer.startswith(item.ko), item.id
        assert all(text.endswith((".", "요")) for text in [*steps, answer]), item.id


@pytest.mark.parametrize(
    ("item", "situation", "stream", "step", "answer_part"),
    [
        ("pizza_box", "grease_paper", "general_bag", "종량제봉투에 담아", "기름 밴 종이는"),
        ("jar", "broken_glass", "noncombustible_sack", "불연성 마대", "다칠 수 있으니"),
        ("soju_bottle", "cracked_bottle", "noncombustible_sack", "불연성 마대", "환불되지 않으니"),
        ("fluorescent_tube", "lamp_broken", "noncombustible_sack", "환기", "수은"),
        ("power_bank", "battery_swollen", "professional", "주민센터", "119"),
        ("clothes", "torn_cloth", "general_bag", "종량제봉투", "다시 입기 어려운"),
        ("glass_medicine_bottle", "medicine_left", "medicine_box", "폐의약품 수거함", "약이 남아"),
        ("delivery_tray", "soil_heavy", "general_bag", "종량제봉투", "심하게 더러워"),
    ],
)
def test_reroute_says_where_and_why(
    knowledge: Knowledge, item: str, situation: str, stream: str, step: str, answer_part: str
) -> None:
    assert decide(knowledge, knowledge.item(item), [knowledge.situations[situation]]).stream == stream
    steps, faults, answer = advice(knowledge, item, situation)
    assert any(step in text for text in steps)
    assert knowledge.stream(stream).where_ko in answer
    assert answer_part in answer
    assert len(faults) == 1


def test_safety_goes_before_reroute(knowledge: Knowledge) -> None:
    names = ("soil_heavy", "broken_glass")
    outcome = decide(knowledge, knowledge.item("drink_bottle"), [knowledge.situations[n] for n in names])
    assert outcome.stream == "noncombustible_sack"
    assert isinstance(outcome.cause, Situation)
    assert outcome.cause.id == "broken_glass"
    assert "장갑" in advice(knowledge, "drink_bottle", *names)[0][1], "right after where it goes"


def test_preparation_is_a_fault_but_keeps_the_stream(knowledge: Knowledge) -> None:
    steps, faults, answer = advice(knowledge, "water_pet", "label_on", "content_partial", "cap_off")
    assert steps == advice(knowledge, "water_pet")[0], "the rule's own steps already say it"
    assert len(faults) == 3
    assert "라벨이 아직 붙어 있어요." in faults
    assert answer.startswith("생수병은 라벨을 떼고")


def test_preparation_that_no_longer_matters_is_dropped(knowledge: Knowledge) -> None:
    steps, _, _ = advice(knowledge, "delivery_tray", "soil_heavy", "needs_rinse")
    assert not any("헹구" in step for step in steps)


@pytest.mark.parametrize("situation", ["clean", "content_empty", "label_off", "broken_glass", "lamp_broken"])
def test_what_is_no_fault_of_this_item(knowledge: Knowledge, situation: str) -> None:
    assert advice(knowledge, "water_pet", situation) == advice(knowledge, "water_pet")


def test_deposit_bottle_is_rerouted_without_blame(knowledge: Knowledge) -> None:
    _, faults, answer = advice(knowledge, "wine_bottle", "deposit_mark")
    assert faults == []
    assert "보증금" in answer


def test_other_items_in_the_question_are_answered(knowledge: Knowledge) -> None:
    _, _, answer = advice(knowledge, "water_pet", said="생수병이랑 피자박스는 어디에 버려요?")
    assert "함께 말씀하신 피자 상자는" in answer
    assert answer.count("생수병") == 1


def test_unknown_photo(knowledge: Knowledge) -> None:
    candidates = [knowledge.item(name) for name in ("water_pet", "jar")]
    for given in (candidates, []):
        composed = compose_unknown(knowledge, given)
        assert set(composed) == {"disposal_steps", "insufficiencies", "user_answer"}
        assert "확인하지 못했어요" in str(composed["insufficiencies"])
        assert "다시 찍" in str(composed["disposal_steps"])
    composed = compose_unknown(knowledge, candidates)
    assert "생수병" in str(composed["user_answer"])
    assert str(composed["user_answer"]).count("생수병") == 1, "told once"
    assert str(composed).count("확인하지 못했어요") == 1
    assert "아래" not in str(composed), "a client need not show a list"


def test_what_a_rule_forbids_is_said_once(knowledge: Knowledge) -> None:
    def pairs(text: str) -> set[str]:
        plain = normalize(text.removesuffix(" 마세요."))
        return {plain[n : n + 2] for n in range(len(plain) - 1)}

    for rule in knowledge.rulebook.rules:
        for one, other in combinations(map(pairs, rule.dont_ko), 2):
            assert len(one & other) < 0.4 * min(len(one), len(other)), (rule.stream, rule.dont_ko)


def test_disposal_rules(knowledge: Knowledge) -> None:
    rules = disposal_rules(knowledge, knowledge.item("water_pet"))
    assert list(rules) == [
        "key",
        "category",
        "이름",
        "대상_품목",
        "대상_설명",
        "세부_품목",
        "배출방법_공통",
        "배출방법_세부",
        "배출불가_품목_안내",
        "아이콘_절차",
        "source_url",
    ]
    assert rules["key"] == "clear_pet"
    assert rules["category"] == RECYCLE
    assert "생수병" in str(rules["대상_품목"])
    assert "뚜껑을 닫으세요." in str(rules["배출방법_공통"])
    assert str(rules["source_url"]).startswith("https://")


def test_categories(knowledge: Knowledge) -> None:
    listed = categories(knowledge)
    assert [entry["id"] for entry in listed] == list(range(1, 8))
    assert [entry["name"] for entry in listed] == [RECYCLE, GENERAL, SACK, FOOD, BULKY, BUILD, HAZARD]
    assert all(entry["display_name"] and entry["instructions"] for entry in listed)
