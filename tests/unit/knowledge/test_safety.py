"""Steps and warnings about danger hold for every item, in every situation, in every district."""

import re
from collections.abc import Iterator
from itertools import product

import pytest

from eco2 import knowledge as kb
from eco2.knowledge import Item, Region, Situation, attribution, forbidding
from eco2.knowledge.answer import Advice, Lang, advise, overrides
from eco2.knowledge.composing import compose_answer

LANGS: tuple[Lang, ...] = ("ko", "en")
Case = tuple[Item, tuple[Situation, ...], Region | None]


@pytest.fixture(scope="module")
def knowledge() -> kb.Knowledge:
    return kb.load()


def every_case(knowledge: kb.Knowledge, sample: int = 1) -> Iterator[Case]:
    """Items × situations × districts: of items that nothing is dangerous about one in `sample`."""
    for number, item in enumerate(knowledge.items.values()):
        if number % sample and not (item.care or item.warns or item.dont_ko):
            continue
        situations = [s for s in knowledge.situations.values() if knowledge.applies(s, item, item.stream)]
        regions: list[Region | None] = [None]
        for place in knowledge.regions.values():
            likes = [knowledge.item(s.like) for s in situations if s.like]
            if any(overrides(knowledge, one, one.stream, place) for one in (item, *likes)):
                regions.append(place)
        for one, region in product([(), *((situation,) for situation in situations)], regions):
            yield item, one, region


def lost(knowledge: kb.Knowledge, item: Item, situations: tuple[Situation, ...], region: Region | None) -> list[str]:
    """The sentences about danger that are told of the item at home, or by its situations, and not here."""
    missing = []
    for lang in LANGS:
        here = advise(knowledge, item, situations, lang, region)
        told = " ".join(here.safety)
        wrong = {name for situation in here.situations for name in situation.instead_of}
        for say in (*(alone := advise(knowledge, item, (), lang)).does, *alone.warnings):
            if not say.safety or {*say.id.split("."), say.id} & wrong:
                continue
            still = forbidding.allowed(knowledge, say.text, here.outcome.stream, lang)
            if here.outcome.stream != item.stream and say.id == "item.note":
                still = forbidding.of_no_other(knowledge, still, here.outcome.stream, lang)
            missing += [f"{item.id}: {say.text}"] if still not in told else []
        for situation in here.situations:
            for field in situation.safety:
                text = str(getattr(situation, f"{field}_{lang}"))
                skipped = field == "step" and situation.id in item.skip
                missing += [f"{item.id} {situation.id}: {text}"] if text not in told and not skipped else []
    return missing


def contradictions(knowledge: kb.Knowledge, advice: Advice, lang: Lang) -> list[str]:
    """The sentences that forbid the stream that is advised."""
    told = [*advice.steps, *(say.text for say in (*advice.said, *advice.warnings)), *advice.donts]
    sentences = (sentence for text in told for sentence in forbidding.SENTENCE.split(text))
    return [text for text in sentences if forbidding.forbids(knowledge, text, advice.outcome.stream, lang)]


def check(knowledge: kb.Knowledge, sample: int) -> int:
    rerouted = 0
    for item, situations, region in every_case(knowledge, sample):
        name = (item.id, [s.id for s in situations], region and region.id)
        assert lost(knowledge, item, situations, region) == [], name
        for lang in LANGS:
            advice = advise(knowledge, item, situations, lang, region)
            assert contradictions(knowledge, advice, lang) == [], name
            rerouted += advice.outcome.stream != item.stream
    return rerouted


def test_a_reroute_keeps_what_is_about_danger_and_never_forbids_where_it_sends(knowledge: kb.Knowledge) -> None:
    assert check(knowledge, sample=12) > 300


@pytest.mark.slow
def test_so_it_is_for_every_item_in_every_situation_and_district(knowledge: kb.Knowledge) -> None:
    assert check(knowledge, sample=1) > 1500


def test_what_is_about_danger_is_marked(knowledge: kb.Knowledge) -> None:
    """A situation of safety with a step marks it, and whatever it is told instead of exists."""
    codes = {step.code for rule in knowledge.rules.values() for step in rule.steps}
    for situation in knowledge.situations.values():
        if situation.kind == "safety" and situation.step_ko:
            assert "step" in situation.safety, situation.id
        assert set(situation.instead_of) <= {*codes, *knowledge.situations, "note"}, situation.id
        assert situation.like is None or situation.like in knowledge.items, situation.id


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize(("item", "situations"), [("broken_lamp", ()), ("fluorescent_tube", ("lamp_broken",))])
def test_a_broken_lamp_is_one_however_it_is_called(
    knowledge: kb.Knowledge, item: str, situations: tuple[str, ...], lang: Lang
) -> None:
    told = [knowledge.situations[name] for name in situations]
    for region, stream in ((None, "noncombustible_sack"), ("seoul", "general_bag")):
        advice = advise(knowledge, knowledge.item(item), told, lang, knowledge.regions[region] if region else None)
        assert advice.outcome.stream == stream
        words = ("환기", "장갑", "청소기", "싸") if lang == "ko" else ("Open a window", "gloves", "vacuum", "Wrap")
        assert all(any(word in text for text in advice.safety) for word in words), advice.safety


@pytest.mark.parametrize(
    ("item", "region", "kept"),
    [
        ("earbuds", "gyeonggi_bucheon", ("뜯지 말고", "불이 날 수")),
        ("paint_left", "seoul_gangseo", ("불을 멀리", "뚜껑을 꼭", "하수구에 붓지")),
        ("glue_polish", "seoul_gangseo", ("밀봉", "하수구에 붓지")),
    ],
)
def test_a_district_keeps_the_care(knowledge: kb.Knowledge, item: str, region: str, kept: tuple[str, ...]) -> None:
    advice = advise(knowledge, knowledge.item(item), (), "ko", knowledge.regions[region])
    assert advice.outcome.stream != advice.item.stream
    assert all(any(word in text for text in advice.safety) for word in kept), advice.safety


# What is named besides


@pytest.mark.parametrize(
    ("main", "words", "other", "stream"),
    [
        ("water_pet", "형광등 깨진 것도 있어요", "fluorescent_tube", "noncombustible_sack"),
        ("drinking_glass", "깨진 형광등도 있어요", None, "noncombustible_sack"),
        ("pizza_box", "보조배터리 부푼 것도 같이 있어요", "power_bank", "professional"),
        ("water_pet", "there is also a broken fluorescent tube", None, "noncombustible_sack"),
    ],
)
def test_what_is_named_in_passing_is_in_its_own_situation(
    knowledge: kb.Knowledge, main: str, words: str, other: str | None, stream: str
) -> None:
    item = knowledge.item(main)
    found = attribution.told(knowledge, words, item)
    assert len(found.others) == 1
    named = found.others[0]
    assert other is None or named.item.id == other
    lang: Lang = "ko" if re.search("[가-힣]", words) else "en"
    composed = compose_answer(knowledge, item, found.situations, found.others, lang=lang)
    answer, steps = str(composed["user_answer"]), str(composed["disposal_steps"])
    advice = advise(knowledge, named.item, named.situations, lang)
    assert advice.outcome.stream == stream
    assert all(text in answer and text in steps for text in advice.safety)
    plain = compose_answer(knowledge, item, (), lang=lang)
    assert str(composed["insufficiencies"]) == str(plain["insufficiencies"]), "the thing itself is in no such situation"


def test_it_has_its_own_district(knowledge: kb.Knowledge) -> None:
    item, seoul = knowledge.item("water_pet"), knowledge.regions["seoul"]
    found = attribution.told(knowledge, "형광등 깨진 것도 있어요", item, seoul)
    composed = compose_answer(knowledge, item, found.situations, found.others, region=seoul)
    (beside,) = [text for text in str(composed["disposal_steps"]).split("', '") if "함께 말씀하신" in text]
    assert "종량제봉투에 버려" in beside
    assert "환기" in beside


@pytest.mark.parametrize("words", ["배터리가 부풀었어요", "건전지가 부풀었어요", "the battery is swollen"])
def test_a_swollen_battery_is_that_of_the_phone(knowledge: kb.Knowledge, words: str) -> None:
    found = attribution.told(knowledge, words, knowledge.item("phone"))
    assert "battery_swollen" in {situation.id for situation in found.situations}
