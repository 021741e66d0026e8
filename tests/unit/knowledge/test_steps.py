"""Steps of every item in every situation, for clients that show nothing but them.

Such a client prints "into the general bag" for every major class but recyclables, and celebrates a reward."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest

from eco2 import knowledge as kb
from eco2.knowledge import Item, Region, Situation, unrewarded
from eco2.knowledge.answer import Advice, Lang, advise, decide, overrides
from eco2.knowledge.composing import compose_answer, remarks
from eco2.knowledge.models import GENERAL_BAG, Override

NOT_THE_BAG = {
    "ko": re.compile(r"^[^.]*종량제봉투[^.]*(?:말고|마세요)"),
    "en": re.compile(r"^Do not (?:put|pour) it [^.]*general bag"),
}


class Case(NamedTuple):
    advice: Advice
    steps: list[str]
    faults: list[str]
    lang: Lang
    name: str


@pytest.fixture(scope="module")
def knowledge() -> kb.Knowledge:
    return kb.load()


def case(
    knowledge: kb.Knowledge, item: Item, situations: Sequence[Situation], lang: Lang, region: Region | None = None
) -> Case:
    composed = compose_answer(knowledge, item, situations, lang=lang, region=region)
    steps, faults = composed["disposal_steps"], composed["insufficiencies"]
    assert isinstance(steps, dict)
    assert isinstance(faults, list)
    name = f"{item.id} {[s.id for s in situations]} {region.id if region else ''} {lang}"
    return Case(advise(knowledge, item, situations, lang, region), list(steps.values()), faults, lang, name)


@pytest.fixture(scope="module")
def cases(knowledge: kb.Knowledge) -> list[Case]:
    """Every item alone, in each situation that applies, and in each district that has its own way for it."""

    def made() -> Iterator[Case]:
        situations = list(knowledge.situations.values())
        dangers = [situation for situation in situations if situation.kind == "safety"]
        for item in knowledge.items.values():
            for lang in ("ko", "en"):
                yield case(knowledge, item, [], lang)
            for situation in situations:
                if knowledge.applies(situation, item, item.stream):
                    yield case(knowledge, item, [situation], "ko")
            for region in knowledge.regions.values():
                if overrides(knowledge, item, item.stream, region):
                    for both in ([], *([danger] for danger in dangers if knowledge.applies(danger, item, item.stream))):
                        yield case(knowledge, item, both, "ko", region)

    return list(made())


def test_where_the_client_would_say_general_bag_the_first_step_says_where_instead(
    knowledge: kb.Knowledge, cases: list[Case]
) -> None:
    wrong = []
    for advice, steps, _, lang, name in cases:
        stream = knowledge.stream(advice.outcome.stream)
        recyclable = kb.classified(knowledge, advice.item, stream.id).major_category == "재활용폐기물"
        if stream.id == GENERAL_BAG or (stream.kind == "recycle" and recyclable):
            continue
        first = steps[0]
        said = first.removeprefix("일반 ")
        where = NOT_THE_BAG[lang].sub("", said).strip(" ,;.")
        if not NOT_THE_BAG[lang].search(said) or len(where) < 5:
            wrong.append((name, first))
    assert not wrong


def test_what_goes_into_the_bag_though_its_class_is_recyclable_is_told_so(
    knowledge: kb.Knowledge, cases: list[Case]
) -> None:
    for advice, steps, faults, lang, name in cases:
        recyclable = advice.item.classification.major_category == "재활용폐기물"
        if lang == "ko" and recyclable and advice.outcome.stream == GENERAL_BAG:
            assert any("봉투" in step for step in steps), name
            assert faults or unrewarded(knowledge, advice.item, advice.situations, advice.outcome), name


def test_whatever_warns_or_restricts_stands_in_the_steps(knowledge: kb.Knowledge, cases: list[Case]) -> None:
    """The remarks of the answer, what is dangerous in a situation, what must not be done with the item."""
    for advice, steps, _, lang, name in cases:
        said = [text for text in remarks(advice, lang) if text]
        dont = advice.item.dont_ko if lang == "ko" else advice.item.dont_en
        assert {*said, *dont} <= set(steps), name
        codes = {step.code for step in knowledge.rule(advice.outcome.stream).steps}
        for situation in advice.situations:
            told = situation.id in advice.item.skip or codes & set(situation.covered_by)  # in other words
            if lang == "ko" and situation.kind == "safety" and not told:
                assert situation.step_ko in steps, name


@pytest.mark.parametrize(
    ("item", "do", "but"),
    [
        ("drink_can", "납작하게", "회수기에 넣을 캔은"),
        ("glass_medicine_bottle", "헹구세요", "약이 남았으면 붓지 말고"),
        ("washer_fluid_jug", "헹구세요", "하수구에 붓지 마세요"),
    ],
)
def test_a_step_that_is_wrong_in_a_case_names_the_case_itself(
    knowledge: kb.Knowledge, item: str, do: str, but: str
) -> None:
    """No step takes back an earlier one."""
    steps = case(knowledge, knowledge.item(item), [], "ko").steps
    assert [step for step in steps if do in step] == [step for step in steps if do in step and but in step]
    assert any(do in step for step in steps)


def test_care_stays_where_the_way_changes(cases: list[Case]) -> None:
    """A district or a situation that moves a thing elsewhere makes it no less dangerous."""
    moved = 0
    for advice, steps, _, lang, name in cases:
        care = (advice.item.steps_ko if lang == "ko" else advice.item.steps_en)[: advice.item.care]
        assert set(care) <= set(steps), name
        moved += bool(care) and isinstance(advice.outcome.cause, Override)
    assert moved >= 5


def test_nothing_is_cut_off(cases: list[Case]) -> None:
    for advice, steps, _, _, name in cases:
        assert len(steps) <= 9, name
        assert set(advice.steps) <= set(steps), name


def test_danger_and_what_must_be_arranged_first_is_no_perfect_scan_and_says_why(
    knowledge: kb.Knowledge, cases: list[Case]
) -> None:
    arranged = {"professional", "bulky", "construction", "ewaste_pickup"}
    seen = set()
    for advice, _, _, lang, name in cases:
        dangerous = any(s.kind == "safety" for s in advice.situations)
        if dangerous or advice.outcome.stream in arranged:
            assert unrewarded(knowledge, advice.item, advice.situations, advice.outcome, lang), name
            seen.add(advice.outcome.stream)
    assert arranged <= seen


def test_an_ordinary_recyclable_may_be_celebrated(knowledge: kb.Knowledge) -> None:
    for name in ("water_pet", "milk_carton", "drink_can", "alkaline", "clothes", "phone", "soju_bottle"):
        assert compose_answer(knowledge, knowledge.item(name), [])["insufficiencies"] == [], name
        assert not unrewarded(knowledge, knowledge.item(name), [], decide(knowledge, knowledge.item(name), [])), name
