"""The committed questions are answered as well as the committed report says; how answers are scored."""

from typing import Any

import pytest

from eco2.knowledge import Knowledge, default_directory, load
from eco2.knowledge.stewards import evaluation
from eco2.knowledge.stewards.evaluation import (
    Expected,
    Question,
    composed,
    drops,
    figures,
    questions,
    report,
    run,
    score,
)


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def test_answers_are_as_good_as_the_report(knowledge: Knowledge) -> None:
    scores = run(questions(default_directory()), composed(knowledge))
    now = figures(scores)
    assert drops(now, report(default_directory())) == [], evaluation.worst(scores, 20)
    assert now["lang:ko"]["dangerous"] == now["lang:en"]["dangerous"] == 0


def test_the_report_is_of_these_questions() -> None:
    asked = questions(default_directory())
    found = report(default_directory())
    assert found["lang:ko"]["questions"] + found["lang:en"]["questions"] == len(asked) >= 200


def question(**fields: Any) -> Question:
    return Question(id="q1", lang="ko", tags=("plain",), question="?", **fields)


def answer(*streams: str, text: str = "", clarify: str = "") -> dict[str, Any]:
    items = [{"item": stream, "stream": stream, "steps": []} for stream in streams]
    return {"lang": "ko", "items": items, "answer": text, "clarify": clarify}


TWO = (Expected(item="a", streams=("vinyl", "plastic")), Expected(item="b", streams=("vinyl",)))


@pytest.mark.parametrize(
    ("asked", "given", "right"),
    [
        (question(expect=TWO), answer("vinyl", "plastic"), True),
        (question(expect=TWO), answer("vinyl"), False),
        (question(expect=TWO), answer("plastic", "plastic"), False),
        (question(expect=TWO, clarify=True), answer(clarify="?"), True),
        (question(clarify=True), answer("vinyl"), False),
        (question(refuse=True), answer(), True),
        (question(refuse=True), answer("vinyl"), False),
        (question(refuse=True), answer(clarify="?"), False),
    ],
)
def test_streams_are_scored(asked: Question, given: dict[str, Any], right: bool) -> None:
    assert score(asked, given).streams is right


def test_facts_and_dangers_are_scored() -> None:
    asked = question(expect=TWO[:1], facts=(("헹", "씻"), ("라벨",)), never=("변기에 버리",))
    fine = score(asked, answer("vinyl", text="헹구세요. 변기에 버리지 마세요."))
    assert (fine.facts, fine.never, fine.right) == ((1, 2), (), True)
    assert score(asked, answer("vinyl", text="변기에 버리세요.")).right is False


def test_a_drop_of_more_than_two_points_is_found() -> None:
    before = {"lang:ko": {"questions": 100.0, "right": 95.0, "facts": 90.0, "dangerous": 0.0}}
    assert drops({"lang:ko": {**before["lang:ko"], "right": 93.0}}, before) == []
    assert drops({"lang:ko": {**before["lang:ko"], "right": 92.9}}, before) != []
    assert drops({"lang:ko": {**before["lang:ko"], "facts": 87.0}}, before) != []
    assert drops({"lang:ko": {**before["lang:ko"], "dangerous": 1.0}}, before) != []
    assert drops({}, before) != []
