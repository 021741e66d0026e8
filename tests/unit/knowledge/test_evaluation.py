"""The committed questions are answered as well as the committed report says; how answers are scored."""

from typing import Any

import pytest

from eco2.knowledge import Knowledge, default_directory, load
from eco2.knowledge.stewards import evaluation
from eco2.knowledge.stewards.evaluation import (
    Expected,
    Question,
    Score,
    composed,
    drops,
    figures,
    main,
    questions,
    report,
    run,
    score,
    updated,
)


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


@pytest.fixture(scope="module")
def scores(knowledge: Knowledge) -> list[Score]:
    return run(questions(default_directory()), composed(knowledge))


def test_answers_are_as_good_as_the_report(scores: list[Score]) -> None:
    assert drops(figures(scores), report(default_directory())["now"]) == [], evaluation.worst(scores, 20)


def test_the_report_is_of_these_questions(scores: list[Score]) -> None:
    found = report(default_directory())
    assert found["now"]["all"]["questions"] == len(scores) >= 400
    rounds = {name for name in figures(scores) if name.startswith("round:") and not name.startswith("round:00")}
    assert found["first_sight"].keys() == rounds


def test_ids_of_questions_are_unique() -> None:
    ids = [asked.id for asked in questions(default_directory())]
    assert len(ids) == len(set(ids))


def question(**fields: Any) -> Question:
    return Question(**{"id": "q1", "lang": "ko", "tags": ("plain",), "question": "?", "round": "01", **fields})


def answer(*streams: str, text: str = "답", clarify: str = "", lang: str = "ko") -> dict[str, Any]:
    items = [{"item": stream, "stream": stream, "streams": ["reuse"], "steps": ["못 본 단계"]} for stream in streams]
    return {"lang": lang, "items": items, "answer": text, "clarify": clarify}


TWO = (Expected(item="a", streams=("vinyl", "plastic")), Expected(item="b", streams=("vinyl",)))
LAMP = (Expected(item="lamp", streams=("lamp_bin",)),)


@pytest.mark.parametrize(
    ("asked", "given", "faults"),
    [
        (question(expect=TWO), answer("vinyl", "plastic"), set()),
        (question(expect=TWO), answer("plastic", "vinyl"), set()),
        (question(expect=TWO), answer("vinyl"), {"stream"}),
        (question(expect=TWO), answer("plastic", "plastic"), {"stream"}),
        (question(expect=TWO), answer("reuse", "vinyl"), {"stream"}),
        (question(expect=TWO), answer("vinyl", "vinyl", "foam"), {"unasked"}),
        (question(expect=TWO), answer(clarify="?"), {"stream"}),
        (question(expect=TWO, also="clarify"), answer(clarify="?"), set()),
        (question(expect=TWO, also="refuse"), answer(), set()),
        (question(expect=LAMP), answer("vinyl"), {"stream", "lost"}),
        (question(kind="clarify"), answer("vinyl", clarify="?"), set()),
        (question(kind="clarify"), answer("vinyl"), {"asks", "unasked"}),
        (question(kind="refuse"), answer(), set()),
        (question(kind="refuse"), answer("vinyl"), {"asks", "unasked"}),
        (question(kind="refuse"), answer(clarify="?"), {"asks"}),
        (question(kind="emergency"), answer("lamp_bin"), set()),
        (question(kind="system"), answer("lamp_bin"), {"unasked"}),
        (question(kind="system"), answer(text=" "), {"empty"}),
        (question(kind="system"), answer(lang="en"), {"language"}),
    ],
)
def test_sections_are_scored(asked: Question, given: dict[str, Any], faults: set[str]) -> None:
    assert score(asked, given).faults == faults


BELT = (Expected(item="가죽 벨트", streams=("clothing_bin",)), Expected(item="모자", streams=("clothing_bin",)))


@pytest.mark.parametrize(
    ("said", "name", "text", "faults"),
    [
        ("벨트 모자", "벨트, 모자", "벨트, 모자: 모두 같은 방법이에요.", set()),
        ("벨트 모자", "벨트, 모자", "벨트: 같은 방법이에요.", {"stream"}),
        ("벨트 모자", "벨트", "벨트, 모자: 모두 같은 방법이에요.", {"stream"}),
        ("벨트", "벨트, 모자", "벨트, 모자: 모두 같은 방법이에요.", {"stream"}),
        ("벨트 장갑", "벨트, 장갑", "벨트, 장갑: 모두 같은 방법이에요.", {"stream"}),
    ],
)
def test_a_section_counts_for_each_thing_that_it_names(said: str, name: str, text: str, faults: set[str]) -> None:
    given = answer("clothing_bin", text=text)
    given["items"][0]["name"] = name
    assert score(question(question=said, expect=BELT), given).faults == faults


def test_a_section_that_names_two_things_counts_for_no_third() -> None:
    given = answer("clothing_bin", text="벨트, 모자: 모두 같은 방법이에요.")
    given["items"][0]["name"] = "벨트, 모자"
    third = Expected(item="장갑", streams=("clothing_bin",))
    assert score(question(question="벨트 모자 장갑", expect=(*BELT, third)), given).faults == {"stream"}


@pytest.mark.parametrize(
    ("fields", "text", "faults"),
    [
        ({"facts": (("헹", "씻"), ("라벨",))}, "헹구세요.", {"facts"}),
        ({"facts": (("단계",),)}, "헹구세요.", {"facts"}),
        ({"safety": (("119",), ("환기",))}, "환기하세요.", {"safety"}),
        ({"never": ("Flush it",)}, "You can flush it.", {"dangerous"}),
    ],
)
def test_the_text_is_scored(fields: dict[str, Any], text: str, faults: set[str]) -> None:
    found = score(question(expect=TWO[1:], **fields), answer("vinyl", text=text))
    assert found.faults == faults
    assert found.right is (faults == {"facts"})


def test_facts_decide_where_nothing_is_thrown_away() -> None:
    asked = question(kind="system", facts=(("과태료",),))
    assert score(asked, answer(text="과태료")).right is True
    assert score(asked, answer()).right is False


BEFORE = {"round:01:ko": {"right": 95.0, "facts": 90.0, "empty": 0, "dangerous": 0, "safety": 0, "lost": 0}}


@pytest.mark.parametrize(
    ("change", "fallen"),
    [
        ({"right": 94.0}, False),
        ({"right": 93.9}, True),
        ({"facts": 88.9}, True),
        ({"empty": 1}, True),
        ({"dangerous": 1}, True),
        ({"safety": 1}, True),
        ({"lost": 1}, True),
    ],
)
def test_a_drop_is_found(change: dict[str, float], fallen: bool) -> None:
    assert bool(drops({"round:01:ko": {**BEFORE["round:01:ko"], **change}}, BEFORE)) is fallen


def test_a_round_that_went_missing_is_a_drop() -> None:
    assert drops({}, BEFORE) == ["round:01:ko: no questions any more"]


def test_figures_at_first_sight_stay() -> None:
    first = updated({"first_sight": {}}, [score(question(kind="refuse"), answer("vinyl"))])
    later = updated(first, [score(question(kind="refuse"), answer())])
    assert later["first_sight"]["round:01:ko"]["right"] == 0
    assert later["now"]["round:01:ko"]["right"] == 100


def test_a_round_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--round", "99"]) == 1
    assert "no round '99'" in capsys.readouterr().err
