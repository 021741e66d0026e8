"""No hazard of a list gets lost, whatever stands beside it and with or without signs between."""

import random

import pytest

from eco2.knowledge import Knowledge, load
from eco2.knowledge.knowledge import DANGEROUS
from eco2.knowledge.models import Item
from eco2.knowledge.reading import read

LISTS = 300
KOREAN = (" ", ", ", "이랑 ", "하고 ", " 그리고 ", "\n", " / ")
ENGLISH = (" ", ", ", " and ", "\n", " + ")


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def names(item: Item, lang: str) -> list[str]:
    """The names of one thing: some of the catalogue name two with a dot or comma."""
    given = (item.ko, *item.aliases) if lang == "ko" else (item.en, *item.aliases_en)
    return [name for name in given if not set(name) & set("·,()/&") and " or " not in name]


def lost(knowledge: Knowledge, said: dict[str, str], text: str) -> list[str]:
    """The dangerous things of a list that are neither answered nor named as not understood."""
    reading = read(knowledge, text)
    meant = {item.id for item in knowledge.choices([mention.subject for mention in reading.mentions])}
    streams = {knowledge.item(name).stream for name in meant}
    told = "".join(reading.unread)
    longer = [mention.span.term for mention in reading.mentions]  # "shower head light bulb" holds a headlight bulb
    return [
        name
        for name, word in said.items()
        if (item := knowledge.item(name)).stream in DANGEROUS
        and name not in meant
        and item.stream not in streams
        and word.replace(" ", "") not in told
        and not any(word.replace(" ", "").lower() in term for term in longer)
    ]


@pytest.mark.parametrize(("lang", "joins"), [("ko", KOREAN), ("en", ENGLISH)])
def test_a_list_loses_no_hazard(knowledge: Knowledge, lang: str, joins: tuple[str, ...]) -> None:
    dice = random.Random(17)
    named = {item.id: names(item, lang) for item in knowledge.items.values() if names(item, lang)}
    hazards = [name for name in named if knowledge.item(name).stream in DANGEROUS]
    wrong = []
    for _ in range(LISTS):
        some = dice.sample(hazards, dice.randint(1, 2)) + dice.sample(sorted(named), dice.randint(1, 6))
        dice.shuffle(some)
        said = {name: dice.choice(named[name]) for name in some}
        text = dice.choice(joins).join(said.values())
        if missing := lost(knowledge, said, text):
            wrong.append((text, [said[name] for name in missing]))
    assert wrong == []
