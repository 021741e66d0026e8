"""Messages about more than items: emergencies, which come first, and questions about collection.

Both are found by the words in data/emergencies.yaml and data/topics.yaml.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import AT_START, Emergency, Intent, IntentBook, Topic
from eco2.knowledge.words import tokens
from eco2.knowledge.words.text import bounded, is_hangul, squash

RID = "rid"
"""The words of topics.yaml by which a thing is told about beside a topic that is asked."""
I = TypeVar("I", bound=Intent)  # noqa: E741 - one of the two intents


def emergency(knowledge: Knowledge, text: str | None) -> Emergency | None:
    """The first emergency that a sentence tells of."""
    book = knowledge.emergencies
    return next(iter(_found(book, book.emergencies, text, within=True)), None) if text else None


def told(knowledge: Knowledge, word: str) -> bool:
    """True for a word by which emergencies are told."""
    return any(word.lower() in words for words in knowledge.emergencies.words.values())


def topics(knowledge: Knowledge, text: str) -> list[Topic]:
    """Questions of a sentence about how collection works, in the order of the file."""
    return _found(knowledge.topics, knowledge.topics.topics, text, within=False)


def wanted(knowledge: Knowledge, text: str) -> bool:
    """True when a sentence says that somebody wants to be rid of something."""
    spaced = bounded(text).lower()
    squashed = squash(spaced).text
    return any(word in squashed or (word.isascii() and word in spaced) for word in knowledge.topics.words.get(RID, ()))


def _found(book: IntentBook, entries: Sequence[I], text: str, *, within: bool) -> list[I]:
    """`within`: Korean words count also where no written word begins, as people in a hurry leave spaces out."""
    spaced = bounded(text).lower()
    squashed = squash(spaced)
    hangul = not within and any(map(is_hangul, squashed.text))
    starts = {token.start for token in tokens.korean(squashed)} if hangul else squashed.starts

    def holds(word: str) -> bool:
        if word.startswith(AT_START):
            return any(squashed.text.startswith(word[1:], at) for at in squashed.starts)
        if word not in squashed.text and word not in spaced:
            return False
        if not any(map(is_hangul, word)):
            return word in spaced and _english(word).search(spaced) is not None
        if within or word not in squashed.text:
            return word in squashed.text
        return any(squashed.text.startswith(word, at) for at in starts)

    letters = f"{squashed.text}\n{spaced}"
    openings = {*letters, *map("".join, pairwise(letters))}
    near = (book.groups_by_word[opening] for opening in openings & book.groups_by_word.keys())
    said = {group for words in near for word, groups in words.items() if holds(word) for group in groups}
    return [
        entry
        for entry in entries
        if any(said.issuperset(groups) for groups in entry.when) and not any(map(holds, entry.never))
    ]


@lru_cache(maxsize=4096)
def _english(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z]){re.escape(word)}(?:s|es)?(?![a-z])")
