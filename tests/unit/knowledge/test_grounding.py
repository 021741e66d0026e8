"""What a language model says is shown only where the rules say the same."""

import pytest

from eco2.knowledge import Knowledge, load
from eco2.knowledge.answer import Advice, advise
from eco2.knowledge.grounding import Claim, Wording, facts, fault


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def about(knowledge: Knowledge, item: str, *situations: str) -> Advice:
    return advise(knowledge, knowledge.item(item), [knowledge.situations[name] for name in situations])


def found(knowledge: Knowledge, text: str, item: str = "water_pet", *situations: str) -> str:
    """The fault of a wording that is one claim about the item."""
    advice = about(knowledge, item, *situations)
    known = facts(knowledge, advice, "ko")
    return fault(Wording(claims=[Claim(rule=next(iter(known)), text=text)]), known, knowledge, [advice], "ko")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("라벨을 떼고 뚜껑을 닫아 투명페트병 전용함에 내 주세요.", ""),
        ("PET 표시가 있으면 투명 페트병이에요.", ""),
        ("뚜껑은 빼지 마세요.", ""),
        ("", "empty"),
        ("…!", "empty"),
        ("넣어 주세요. " * 100, "too_long"),
        ("Put it into the bin for clear PET bottles 네.", "wrong_language"),
        ("뚜껑을 빼고 넣어 주세요.", "forbidden"),
        ("종량제봉투에 버려 주세요.", "other_place"),
        ("수수료 3,000원을 내세요.", "other_number"),
        ("병을 태워서 버리세요.", "forbidden"),
    ],
)
def test_a_wording_is_checked_before_it_is_shown(knowledge: Knowledge, text: str, expected: str) -> None:
    assert found(knowledge, text) == expected


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("butane_can", "송곳으로 구멍을 뚫어 캔류 수거함에 내세요."),
        ("alkaline", "종량제봉투에 넣어 버리세요."),
        ("pills", "변기에 버리세요."),
        ("cooking_oil", "싱크대에 부으세요."),
        ("power_bank", "뜯어서 내세요."),
    ],
)
def test_dangerous_advice_is_never_shown(knowledge: Knowledge, item: str, text: str) -> None:
    assert found(knowledge, text, item) in ("forbidden", "other_place")


def test_a_situation_changes_what_may_be_said(knowledge: Knowledge) -> None:
    told = "기름 밴 상자는 종량제봉투에 버려 주세요."
    assert found(knowledge, told, "pizza_box", "grease_paper") == ""
    assert found(knowledge, "골판지로 묶어 내세요.", "pizza_box", "grease_paper") == "other_place"


def test_every_claim_rests_on_a_fact_of_its_item(knowledge: Knowledge) -> None:
    box, bottle = about(knowledge, "pizza_box"), about(knowledge, "water_pet")
    known = {**facts(knowledge, box, "ko"), **facts(knowledge, bottle, "ko")}
    one = Claim(rule=next(iter(known)), text="상자는 펼쳐서 내세요.")
    assert fault(Wording(claims=[one]), known, knowledge, [box, bottle], "ko") == "silent"
    invented = Claim(rule="water_pet.rule.moon", text="병은 그냥 두세요.")
    assert fault(Wording(claims=[one, invented]), known, knowledge, [box, bottle], "ko") == "no_such_rule"


def test_what_is_composed_would_pass(knowledge: Knowledge) -> None:
    for item in knowledge.items.values():
        advice = about(knowledge, item.id)
        known = facts(knowledge, advice, "ko")
        claims = [Claim(rule=name, text=text) for name, text in known.items()][:5]
        assert fault(Wording(claims=claims), known, knowledge, [advice], "ko") in ("", "too_long"), item.id
