"""The stages of a scan as functions."""

from typing import Any

import pytest

from eco2 import knowledge as kb
from eco2.scan import pipeline
from eco2.scan.vision import Candidate, VisionResult


@pytest.fixture(scope="module")
def knowledge() -> kb.Knowledge:
    return kb.load()


def seen(item_id: str | None, *candidates: str, waste: bool = True) -> dict[str, Any]:
    found = tuple(Candidate(candidate, 0.3) for candidate in candidates)
    return VisionResult(item_id, 0.9, found, needs_choice=item_id is None, waste=waste, model="test").to_json()


def test_what_was_seen_finds_its_rule(knowledge: kb.Knowledge) -> None:
    rule = pipeline.match(knowledge, seen("ceramic", "ceramic"), None)
    assert (rule["item_id"], rule["needs_choice"], rule["stream_id"]) == ("ceramic", False, "noncombustible_sack")
    assert rule["disposal_rules"]


def test_words_decide_only_when_the_photo_does_not(knowledge: kb.Knowledge) -> None:
    assert pipeline.match(knowledge, seen(None, "ceramic"), "우유팩이에요")["item_id"] == "milk_carton"
    assert pipeline.match(knowledge, seen("ceramic"), "우유팩이에요")["item_id"] == "ceramic"


@pytest.mark.parametrize("words", ["우유팩이랑 신문지요", "이거 어떻게 버려요?", None])
def test_without_one_clear_name_the_user_is_asked(knowledge: kb.Knowledge, words: str | None) -> None:
    rule = pipeline.match(knowledge, seen(None, "milk_carton", "newspaper"), words)
    assert (rule["item_id"], rule["needs_choice"]) == (None, True)
    assert [row["minor_category"] for row in rule["candidates"]] == [
        knowledge.item("milk_carton").ko,
        knowledge.item("newspaper").ko,
    ]
    answer = pipeline.answer(knowledge, rule, words)
    assert any(text.strip() for text in answer["insufficiencies"])
    assert pipeline.reward(knowledge, rule, answer) is None
    classes = pipeline.classification(knowledge, rule, words)["classification"]
    assert set(classes.values()) == {pipeline.UNKNOWN}
    majors = {item.classification.major_category for item in knowledge.items.values()}
    assert pipeline.UNKNOWN not in majors


def test_a_recyclable_that_was_prepared_is_rewarded(knowledge: kb.Knowledge) -> None:
    rule = pipeline.match(knowledge, seen("milk_carton"), None)
    reward = pipeline.reward(knowledge, rule, pipeline.answer(knowledge, rule, None))
    assert reward is not None
    assert (reward["name"], reward["match_reason"].partition(">")[0]) == ("팩토리", "종이팩")


@pytest.mark.parametrize(("item", "words"), [("ceramic", None), ("milk_carton", "내용물이 남았어요")])
def test_other_classes_and_undone_work_are_not(knowledge: kb.Knowledge, item: str, words: str | None) -> None:
    rule = pipeline.match(knowledge, seen(item), words)
    assert pipeline.reward(knowledge, rule, pipeline.answer(knowledge, rule, words)) is None


def test_every_recyclable_class_has_its_character(knowledge: kb.Knowledge) -> None:
    recyclables = [i for i in knowledge.items.values() if i.classification.major_category == pipeline.RECYCLABLE]
    without = [
        item.id
        for item in recyclables
        if pipeline.reward(knowledge, pipeline.rule_of(knowledge, item, None), {"insufficiencies": []}) is None
    ]
    assert not without


def test_a_situation_changes_the_stream_and_is_told(knowledge: kb.Knowledge) -> None:
    item = knowledge.item("pizza_box")
    plain = pipeline.rule_of(knowledge, item, None)
    greasy = pipeline.rule_of(knowledge, item, "기름이 잔뜩 배었어요")
    assert pipeline.stream(knowledge, plain) != pipeline.stream(knowledge, greasy)
    assert pipeline.classification(knowledge, greasy, "기름이 잔뜩 배었어요")["situation_tags"]
