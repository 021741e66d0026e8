"""The evaluation questions that two states of the rules answer differently."""

from collections.abc import Sequence
from dataclasses import dataclass

from eco2.knowledge import Knowledge
from eco2.knowledge.stewards.evaluation import Answer, Question, composed, score


@dataclass(frozen=True)
class Changed:
    """`streams_…`: where the things of the question go. `worse`: faults that only the new answer has."""

    id: str
    question: str
    lang: str
    was: str
    now: str
    streams_were: list[str]
    streams_are: list[str]
    worse: list[str]


def changed(before: Knowledge, after: Knowledge, asked: Sequence[Question]) -> list[Changed]:
    """The worse ones first, then those that send a thing elsewhere, then other words."""
    old, new = composed(before), composed(after)
    found = []
    for question in asked:
        was, now = old(question), new(question)
        if was["answer"] != now["answer"]:
            found.append(_changed(question, was, now))
    return sorted(found, key=lambda one: (not one.worse, one.streams_were == one.streams_are, one.id))


def _changed(question: Question, was: Answer, now: Answer) -> Changed:
    return Changed(
        id=question.id,
        question=question.question,
        lang=question.lang,
        was=was["answer"],
        now=now["answer"],
        streams_were=[item["stream"] for item in was["items"]],
        streams_are=[item["stream"] for item in now["items"]],
        worse=sorted(score(question, now).faults - score(question, was).faults),
    )
