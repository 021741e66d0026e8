"""The text of an answer: short, once each, in one language, and never without what is about danger."""

import re
import statistics
from collections.abc import Iterator

import pytest

from eco2.knowledge import Item, Knowledge, Situation, ask, load, telling
from eco2.knowledge.answer import Advice, Lang, advise
from eco2.knowledge.composing import compose_answer, compose_unknown

HANGUL = re.compile("[가-힣]")


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def told(knowledge: Knowledge, advice: Advice, lang: Lang = "ko") -> list[str]:
    return telling.lines(knowledge, advice, lang, known=False)


def cases(knowledge: Knowledge) -> Iterator[tuple[Item, tuple[Situation, ...]]]:
    for item in knowledge.items.values():
        yield item, ()
        for situation in knowledge.situations.values():
            if knowledge.applies(situation, item, item.stream):
                yield item, (situation,)


def test_an_answer_about_one_thing_is_short(knowledge: Knowledge) -> None:
    lengths = []
    for item in knowledge.items.values():
        advice = advise(knowledge, item, ())
        text = "\n".join(told(knowledge, advice))
        for safety in advice.safety:
            text = text.replace(safety, "")
        lengths.append(len(text))
    assert statistics.median(lengths) <= 180
    assert max(lengths) <= 400


def test_few_steps_and_all_that_is_about_danger(knowledge: Knowledge) -> None:
    for item, situations in cases(knowledge):
        advice = advise(knowledge, item, situations)
        steps, text = telling.steps(advice), "\n".join(told(knowledge, advice))
        dangerous = sum(step.safety for step in advice.does)
        assert len(steps) <= max(telling.MOST_STEPS, dangerous), item.id
        assert all(sentence in text for sentence in advice.safety), item.id


def test_nothing_is_told_twice(knowledge: Knowledge) -> None:
    for item, situations in cases(knowledge):
        text = " ".join(re.sub(r"^\d+\. ", "", line) for line in told(knowledge, advise(knowledge, item, situations)))
        sentences = [sentence for sentence in re.split(r"(?<=요\.) ", text) if len(sentence) > 12]
        assert len(sentences) == len(set(sentences)), (item.id, [s.id for s in situations])


def test_no_korean_word_stands_in_an_english_answer(knowledge: Knowledge) -> None:
    korean: set[str] = set()
    for item, situations in cases(knowledge):
        advice = advise(knowledge, item, situations, "en")
        scan = compose_answer(knowledge, item, situations, lang="en")
        texts = [*told(knowledge, advice, "en"), *advice.donts, *map(str, scan.values())]
        korean |= {text for text in texts if HANGUL.search(text.replace("단계", ""))}
    for region in knowledge.regions.values():
        korean |= {override.en for override in region.overrides if HANGUL.search(override.en)}
    for one in (*knowledge.emergencies.emergencies, *knowledge.topics.topics):
        korean |= {str(value) for name, value in one if name.endswith("en") and HANGUL.search(str(value))}
    for word in ("cup and bottle", "battery", "lid"):
        korean |= {
            text
            for text in [str(compose_unknown(knowledge, [], word, lang="en")["user_answer"])]
            if HANGUL.search(text)
        }
    assert korean == set()


@pytest.mark.parametrize(
    "question",
    ["삼다수", "건강기능식품이랑 영양제", "본드랑 접착제", "컵 어떻게 버려요?", "종이컵", "서울 마포구 종이컵", "배개"],
)
def test_particles_are_chosen_and_questions_asked_once(knowledge: Knowledge, question: str) -> None:
    answer = ask(knowledge, question)
    assert not re.search(r"\((?:를|을|은|는|이|가|와|과|으)\)", answer["answer"])
    asked = re.findall(r"[^.?!\n]+\?", answer["answer"])
    assert len(asked) == len(set(asked))


def test_sources_are_told_apart_from_the_answer(knowledge: Knowledge) -> None:
    answer = ask(knowledge, "피자박스")
    assert answer["items"][0]["sources"]
    assert not any(source["title"] in answer["answer"] for source in answer["items"][0]["sources"])
