"""A language model chooses among the rules' own sentences, and can neither add one nor leave a warning out."""

import pytest

from eco2.knowledge import Knowledge, load
from eco2.knowledge.answer import Advice, advise
from eco2.knowledge.grounding import MOST, Fact, Selection, facts, told, unknown


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def about(knowledge: Knowledge, item: str, *situations: str) -> Advice:
    return advise(knowledge, knowledge.item(item), [knowledge.situations[name] for name in situations])


def known(knowledge: Knowledge, item: str, *situations: str) -> dict[str, Fact]:
    return facts(knowledge, about(knowledge, item, *situations), "ko")


def test_what_was_chosen_is_told_in_that_order_after_where_it_goes(knowledge: Knowledge) -> None:
    box = known(knowledge, "pizza_box")
    extra = [name for name, fact in box.items() if not fact.always and not fact.step][:2]
    (text,) = told(Selection(facts=extra[::-1]), [box], "ko")
    first = next(iter(box.values())).text
    assert text == " ".join([first, *(box[name].text for name in extra[::-1])])


def test_steps_keep_their_order(knowledge: Knowledge) -> None:
    bottle = known(knowledge, "water_pet")
    steps = [name for name, fact in bottle.items() if fact.step]
    assert len(steps) > 2
    assert told(Selection(facts=steps[::-1]), [bottle], "ko") == told(Selection(facts=steps), [bottle], "ko")


@pytest.mark.parametrize("chosen", [[], ["no.such.fact"], ["종량제봉투에 버리세요."], ["alkaline"]])
def test_what_there_is_not_says_nothing(knowledge: Knowledge, chosen: list[str]) -> None:
    cell = known(knowledge, "alkaline")
    selection = Selection(facts=chosen)
    assert told(selection, [cell], "ko") == []
    assert unknown(selection, [cell]) == len(chosen)


def test_danger_is_told_whatever_is_chosen(knowledge: Knowledge) -> None:
    for item in knowledge.items.values():
        advice = about(knowledge, item.id)
        chosen = facts(knowledge, advice, "ko")
        (text,) = told(Selection(facts=[list(chosen)[-1]]), [chosen], "ko")
        assert all(sentence in text for sentence in advice.safety), item.id
        assert text.startswith(next(iter(chosen.values())).text), item.id


def test_every_thing_is_told_the_first_chosen_first(knowledge: Knowledge) -> None:
    box, bottle = known(knowledge, "pizza_box"), known(knowledge, "water_pet")
    parts = told(Selection(facts=["water_pet.note"]), [box, bottle], "ko")
    assert [part.removeprefix("또 하나: ")[:3] for part in parts] == ["생수병", "피자 "]


def test_a_flood_is_bounded(knowledge: Knowledge) -> None:
    lamp = known(knowledge, "fluorescent_tube", "lamp_broken")
    (text,) = told(Selection(facts=list(lamp) * 20), [lamp], "ko")
    always = sum(fact.always for fact in lamp.values())
    assert sum(fact.text in text for fact in lamp.values()) <= always + MOST + 2
    assert len(text) < 1500
