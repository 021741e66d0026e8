"""Questions put together from the catalogue are answered as they are made."""

from collections import Counter

import pytest

from eco2.knowledge import Knowledge, load
from eco2.knowledge.stewards import combinations
from eco2.knowledge.stewards.combinations import Made, fault, questions

FEW, MANY, SEED = 4, 60, 7
WRONG = {"ko_written_as_one": 0.15, "ko_blanks": 0.12, "en_blanks": 0.35, "ko_unknown": 0.2}
"""Shares that may be wrong. Without blanks or signs between them two names may be a third ("shower head light bulb"),
and a made-up word may end as a known one does."""
ELSE = 0.07


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def wrong(knowledge: Knowledge, many: int) -> dict[str, list[str]]:
    made = [one for one in questions(knowledge, many, SEED) if fault(knowledge, one)]
    found: dict[str, list[str]] = {}
    for one in made:
        found.setdefault(f"{one.lang}_{one.kind}", []).append(one.text)
    return found


def test_what_is_put_together_is_answered(knowledge: Knowledge) -> None:
    shares = wrong(knowledge, FEW)
    assert {kind: texts for kind, texts in shares.items() if kind not in WRONG and len(texts) > 1} == {}


@pytest.mark.slow
def test_much_more_of_it_is(knowledge: Knowledge) -> None:
    shares = wrong(knowledge, MANY)
    over = {kind: texts for kind, texts in shares.items() if len(texts) > MANY * WRONG.get(kind, ELSE)}
    assert over == {}


def test_each_kind_is_made_the_same_way_again(knowledge: Knowledge) -> None:
    first, again = (list(questions(knowledge, 2, SEED)) for _ in range(2))
    assert first == again
    kinds = Counter(f"{one.lang}_{one.kind}" for one in first)
    assert set(kinds.values()) == {2}
    assert len(kinds) == sum(map(len, combinations.KINDS.values())) == 19


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (Made("signs", "ko", "소주병, 건전지", ("bottle_return", "battery_bin")), ""),
        (Made("signs", "ko", "소주병, 건전지", ("bottle_return", "battery_bin", "vinyl")), "lost"),
        (Made("signs", "ko", "소주병, 건전지", ("bottle_return",)), "unasked"),
        (Made("unknown", "ko", "소주병, 건전지", ("bottle_return", "battery_bin"), "코그니톨"), "unread"),
    ],
)
def test_faults_are_found(knowledge: Knowledge, made: Made, wanted: str) -> None:
    assert fault(knowledge, made) == wanted
