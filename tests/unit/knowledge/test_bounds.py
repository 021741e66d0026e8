"""No text stops a process: made up to be slow to read, it still takes little CPU."""

import random
import time
import unicodedata
from collections.abc import Callable

import pytest

from eco2 import knowledge as kb
from eco2.knowledge import matching, reading
from eco2.knowledge.words import text as words

LETTERS = 1000
SECONDS = 0.06
"""CPU of the process. The line is 0.03, and the slowest text takes 0.025 (ADR 34); twice the line
here, since machines differ. Before there were bounds, most of these took 0.1 to 1.5 s."""
TURNS = 20
"""The best of so many counts: on a busy machine a turn may take several times what the work does."""


@pytest.fixture(scope="module")
def knowledge() -> kb.Knowledge:
    loaded = kb.load()
    kb.ask(loaded, "피자박스 어떻게 버려요?")  # what is made at first use
    kb.ask(loaded, "a pizzza boxx")
    return loaded


def _syllables(dice: random.Random, many: int) -> str:
    return "".join(chr(dice.randint(0xAC00, 0xD7A3)) for _ in range(many))


def _latin(dice: random.Random, many: int) -> str:
    return "".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=many))


def made_up(knowledge: kb.Knowledge) -> dict[str, str]:
    dice = random.Random(5)
    korean = [term for term in knowledge.terms if len(term) > 3 and "가" <= term[0] <= "힣"]
    english = [term for term in knowledge.terms if len(term) > 4 and term[0].isascii()]
    phrases = list(knowledge.phrases)
    return {
        "syllables": _syllables(dice, LETTERS),
        **{
            f"words of {n} by {mark!r}": mark.join(_syllables(dice, n) for _ in range(LETTERS))
            for n in (2, 3, 5)
            for mark in (" ", ",")
        },
        "wiped with": "가로 밀" * 250,
        "one syllable": "가" * LETTERS,
        "with": "로" * LETTERS,
        **{f"cans by {mark!r}": f"캔{mark}" * LETTERS for mark in ("", " ", ",")},
        **{f"names by {mark!r}": mark.join(dice.choices(korean, k=300)) for mark in ("", " ", ", ", "이랑 ")},
        "typing errors": " ".join(name[:-1] + _syllables(dice, 1) for name in dice.choices(korean, k=300)),
        "english names": " ".join(dice.choices(english, k=300)),
        "english typing errors": " ".join(f"{name[:-1]}qz" for name in dice.choices(english, k=300)),
        "english noise": " ".join(_latin(dice, 6) for _ in range(300)),
        "one english word": _latin(dice, LETTERS),
        **{f"conditions by {mark!r}": mark.join(dice.choices(phrases, k=300)) for mark in ("", " ")},
        "danger": "배터리가 부풀었 " * LETTERS,
        "not": "안 " * LETTERS,
        "in": "on the " * LETTERS,
        "of": "full bottle of " * LETTERS,
        "blanks": "지시" + " " * LETTERS + "x",
        "blanks between": "가로" + " " * LETTERS + "밀",
        "ligatures": "ﷺ" * LETTERS,
        "decomposed": unicodedata.normalize("NFD", "가나다") * 100,
    }


def slowest(work: Callable[[str], object], texts: dict[str, str]) -> tuple[float, str]:
    """The most CPU that one of the texts takes, in its best turn."""

    def seconds(text: str) -> float:
        turns = []
        for _ in range(TURNS):
            reading.read.cache_clear()
            begin = time.process_time()
            work(text)
            turns.append(time.process_time() - begin)
            if turns[-1] < SECONDS:
                break
        return min(turns)

    return max((seconds(text), name) for name, text in texts.items())


@pytest.mark.parametrize("work", ["read", "situations_in", "ask", "suggest", "resolve"])
def test_a_text_made_up_to_be_slow_takes_bounded_work(knowledge: kb.Knowledge, work: str) -> None:
    texts = {name: text[:LETTERS] for name, text in made_up(knowledge).items()}
    works: dict[str, Callable[[str], object]] = {
        "read": lambda text: reading.read(knowledge, text),
        "situations_in": knowledge.situations_in,
        "ask": lambda text: kb.ask(knowledge, text),
        "suggest": lambda text: matching.suggest(knowledge, text[:100]),
        "resolve": knowledge.resolve,
    }
    took, name = slowest(works[work], texts)
    assert took < SECONDS, name


def test_what_is_read_of_a_text_has_a_bound_whatever_its_letters_become() -> None:
    assert len(words.squash("ﷺ" * 5000).text) <= words.LONGEST
    assert len(words.bounded("가 " * 5000)) <= words.LONGEST


def test_runs_of_blanks_are_one_and_an_end_of_a_line_still_parts_a_list() -> None:
    assert words.bounded("캔   유리병 \n  신문지") == "캔 유리병\n신문지"


def test_danger_at_the_end_of_a_long_text_is_heard(knowledge: kb.Knowledge) -> None:
    long = "어제 이사하면서 정리하다가 나온 물건인데 어떻게 해야 할지 잘 모르겠어요. " * 20
    said = f"{long[:900]} 배터리가 부풀었어요"
    assert "battery_swollen" in [situation.id for situation in knowledge.situations_in(said)]


def test_the_terms_of_similar_length_are_all_that_can_be_similar(knowledge: kb.Knowledge) -> None:
    index = knowledge.index
    for length in (5, 9, 20):
        places, letters = index.as_long_as(length, matching.SIMILAR)
        assert letters == [index.letters[place] for place in places]
        left = {len(index.letters[place]) for place in set(range(len(index.letters))) - set(places)}
        assert all(min(many, length) / max(many, length) < matching.SIMILAR for many in left)


def test_a_process_remembers_short_texts_alone() -> None:
    read: list[str] = []

    @words.remembered(8)
    def length(text: str) -> int:
        read.append(text)
        return len(text)

    for text in ("가" * words.SHORT, "가" * (words.SHORT + 1)):
        assert [length(text), length(text)] == [len(text)] * 2
    assert [len(text) for text in read] == [words.SHORT, words.SHORT + 1, words.SHORT + 1]
