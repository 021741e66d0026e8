"""Things that a sentence names, and small questions about where two of its names stand."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import Ambiguity, Item, Situation
from eco2.knowledge.words.korean import Part
from eco2.knowledge.words.text import Span, Squashed, in_list, is_hangul
from eco2.knowledge.words.tokens import Token

AND_THEN = re.compile(r"(?:랑|하고|그리고|and|plus)")
Role = Literal["main", "beside", "option"]
"""Of a mention: asked about, told as one more thing ("…도 있어요"), or offered by an A-or-B question about the thing
before it ("비닐인가요 은박인가요")."""


@dataclass(frozen=True)
class Mention:
    """A thing that is named. `guessed`: the words it was found by, where these are no name of it. `also`: other things
    of the same kind that are named beside it and have no section of their own."""

    subject: Item | Ambiguity
    span: Span
    situations: tuple[Situation, ...] = ()
    guessed: str = ""
    role: Role = "main"
    also: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Reading:
    """Understanding of a sentence.

    `mentions` are what is to be answered, each with its own situations; `around` are things that the sentence only
    needs to tell of them: contents, containers, places, tools, what is bought or excluded. `candidates`: what may be
    meant where nothing is named. `material`: a material that is all that was told. `unread`: words of a list that may
    name a thing and are not known, and `dangers`, words of danger that no thing accounts for."""

    mentions: tuple[Mention, ...] = ()
    situations: tuple[Situation, ...] = ()
    candidates: tuple[Item, ...] = ()
    material: str = ""
    around: tuple[Mention, ...] = ()
    unread: tuple[str, ...] = ()
    dangers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """Nouns and words of a sentence, before their meaning there is told. `parts` are those of the nouns. `names`: the
    nouns as they stand, before some are read as one."""

    squashed: Squashed
    tokens: Sequence[Token]
    nouns: Sequence[Span]
    phrases: Sequence[Span]
    parts: Mapping[Span, Part]
    names: Sequence[Span] = ()


def name_of(subject: Item | Ambiguity) -> str:
    return subject.id if isinstance(subject, Item) else subject.term


def within(span: Span, phrase: Span) -> bool:
    return phrase.start <= span.start and span.end <= phrase.end


def overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


def signed(found: Found, one: Span, other: Span) -> bool:
    """True when a sign of a list stands between two nouns."""
    return any(one.end <= place <= other.start for place in found.squashed.breaks)


def together(knowledge: Knowledge, found: Found, one: Span, other: Span) -> bool:
    """True when two nouns are told one after the other as in a list: the 벨트 of "브래지어 가죽벨트" as well."""
    begins = max((place for place in found.squashed.starts if one.end <= place <= other.start), default=other.start)
    between = found.squashed.text[one.end : begins if is_hangul(other.term[0]) else other.start]
    return (
        between == ""
        or between in knowledge.lexicon.korean.states
        or in_list(found.squashed, one, other)
        or between.endswith(("랑", "하고", "그리고", "and", "와", "과"))
    )
