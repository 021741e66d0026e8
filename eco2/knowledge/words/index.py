"""The letters of all terms, the bigrams of all items, and the written words that may name an item."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from eco2.knowledge.models import Item
from eco2.knowledge.words import tokens
from eco2.knowledge.words.text import (
    PARTICLES,
    Span,
    Squashed,
    initials,
    is_hangul,
    jamo,
    normalize,
)

K1, B = 1.2, 0.6
MOST_WORDS = 60
"""Written words of a text that may be unknown names."""
LONGEST_WORD = 200
"""Letters of a written word that may be a misspelt name."""

SHORT_WORD = 3
"""Syllables of a word that must begin as what it is a misspelling of."""
_PLAIN = {letter: plain for plain in "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅎ" for letter in plain} | dict(
    zip("ㄲㄸㅃㅆㅉㅋㅌㅍㅊ", "ㄱㄷㅂㅅㅈㄱㄷㅂㅈ", strict=True)
)
"""Consonants as people mix them up: tense and aspirated ones with the plain."""


def opening(word: str) -> str:
    """The first consonant of a word of Hangul, as people mix it up."""
    return _PLAIN.get(jamo(word[0])[0], "")


ENGLISH_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\S+",
        """
        a an the i you we they it my your our is are was be been do does did can could should would may
        might will how what where when which who why in on into to of for with from and or not no if that
        this these those there here put throw away out get rid dispose disposal disposing recycle recycled
        recycling recyclable trash garbage rubbish bin bins waste go goes going please tell me help about
        old used empty new some any all so just have has had got need want still at by as up off it's im
        dont cant ok okay hi hello thanks korea korean seoul properly correctly right way best thing things
        whose removed remove remover cannot dropped kids child son daughter looks look like inside outside under over
        also too very really much many lot bit little big small large full half left broken clean dirty found find
        gave give made make comes come take taken took buy bought ask asked say says wrong else again each both
        stuff item items them its he she one ones two s t m re ve ll d sort sorting separate
        """,
    )
)


@dataclass(frozen=True)
class Index:
    """Terms and items to search where the exact index has nothing: letters of all terms, bigrams of all items."""

    terms: tuple[str, ...]
    letters: tuple[str, ...]
    items: tuple[Item, ...]
    postings: Mapping[str, Sequence[tuple[int, float]]]

    @classmethod
    def of(cls, terms: Iterable[str], items: Iterable[Item]) -> "Index":
        known, listed = tuple(terms), tuple(items)
        return cls(known, tuple(map(jamo, known)), listed, _postings([_grams(names(item)) for item in listed]))

    @cached_property
    def initials(self) -> tuple[str, ...]:
        return tuple(map(initials, self.terms))

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The English words of names, and those that questions are made of."""
        known = (word for word in {*self.postings, *ENGLISH_FUNCTION_WORDS} if word.isascii() and len(word) > 2)
        return tuple(sorted({form for word in known for form in (word, f"{word}s")}))

    @cached_property
    def _by_length(self) -> Mapping[int, Sequence[int]]:
        found: dict[int, list[int]] = defaultdict(list)
        for place, letters in enumerate(self.letters):
            found[len(letters)].append(place)
        return found

    @cached_property
    def _near(self) -> dict[tuple[int, float], tuple[list[int], list[str]]]:
        return {}

    def as_long_as(self, length: int, similar: float) -> tuple[list[int], list[str]]:
        """(places, letters) of the terms whose letters are about as many: no others can be so similar."""
        if length > LONGEST_WORD:
            return [], []
        if (length, similar) not in self._near:
            lengths = (many for many in self._by_length if min(many, length) >= similar * max(many, length))
            places = sorted(place for many in lengths for place in self._by_length[many])
            self._near[length, similar] = places, [self.letters[place] for place in places]
        return self._near[length, similar]

    @cached_property
    def _short(self) -> Mapping[tuple[int, str], tuple[list[int], list[str]]]:
        found: dict[tuple[int, str], tuple[list[int], list[str]]] = defaultdict(lambda: ([], []))
        for place, term in enumerate(self.terms):
            if len(term) <= SHORT_WORD and is_hangul(term[0]):
                places, letters = found[len(term), opening(term)]
                places.append(place)
                letters.append(self.letters[place])
        return dict(found)

    def as_short_as(self, word: str) -> tuple[list[int], list[str]]:
        """(places, letters) of the terms that a short word may be a misspelling of: these begin alike and are of one
        length. "화분" is no misspelt "화장"."""
        return self._short.get((len(word), opening(word)), ([], []))

    @cached_property
    def _names(self) -> Mapping[str, tuple[str, ...]]:
        return {item.id: tuple(map(normalize, names(item))) for item in self.items}

    def normalized(self, item: Item) -> tuple[str, ...]:
        """The names of an item as they are looked for: Korean, English, then aliases."""
        return self._names[item.id]

    def weight(self, gram: str) -> float:
        return math.log(1 + len(self.items) / (1 + len(self.postings.get(gram, ()))))


def names(item: Item) -> list[str]:
    return [item.ko, item.en, *item.aliases, *item.aliases_en]


def _grams(texts: Iterable[str]) -> Counter[str]:
    """Bigrams of Hangul, words of anything else, without plural s."""
    return Counter(gram for text in texts for gram in grams(text))


def grams(text: str) -> Iterator[str]:
    for word in re.findall(r"[가-힣]+|[a-z0-9]+", text.lower()):
        if is_hangul(word[0]):
            yield from (one + other for one, other in pairwise(word)) if len(word) > 1 else (word,)
        elif word not in ENGLISH_FUNCTION_WORDS:
            yield singular(word)


def singular(word: str) -> str:
    return word if word.endswith("ss") else word.removesuffix("s")


def _postings(documents: Sequence[Counter[str]]) -> dict[str, list[tuple[int, float]]]:
    average = sum(document.total() for document in documents) / max(1, len(documents))
    postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for number, document in enumerate(documents):
        norm = K1 * (1 - B + B * document.total() / average)
        for gram, count in document.items():
            postings[gram].append((number, count * (K1 + 1) / (count + norm)))
    return dict(postings)


def written_words(squashed: Squashed, found: Sequence[Span]) -> list[Span]:
    """The written words, without particles, that hold none of the spans."""
    words = []
    taken = {place for span in found for place in range(span.start, span.end)}
    for start, end in pairwise(sorted(squashed.starts | squashed.ends)):
        if taken.isdisjoint(range(start, end)):
            bare = without_particles(squashed.text[start:end])
            words.append(Span(start, start + len(bare), bare))
    return words


def content_words(squashed: Squashed, found: Sequence[Span], no_things: frozenset[str]) -> list[Span]:
    """The written words that may name a thing: none that hold a known noun or phrase, no verbs, no bare materials.

    Two that follow each other are also tried as one, first."""
    words = [word for word in written_words(squashed, found)[:MOST_WORDS] if is_noun(word.term)]
    both = [(word, _cut(word)) for word in words]
    both = [(word, cut) for word, cut in both if word.term not in no_things and cut.term not in no_things]
    cut, whole = [cut for _, cut in both], [word for word, cut in both if word != cut]
    pairs = [
        Span(one.start, other.end, one.term + other.term)
        for one, other in pairwise(cut)
        if one.end == other.start and is_hangul(one.term[0])
    ]
    return sorted([*pairs, *whole, *cut], key=lambda span: (span.start, -span.end))


def _cut(word: Span) -> Span:
    """The nouns that a written word begins with."""
    if not is_hangul(word.term[0]):
        return word
    end = tokens.nouns_end(word.term)
    return Span(word.start, word.start + end, word.term[:end])


def is_noun(word: str) -> bool:
    """True when an unknown word may be the name of a thing."""
    if is_hangul(word[0]):
        return len(word) > 1 and tokens.nouns_end(word) > 1
    return len(word) > 2 and word not in ENGLISH_FUNCTION_WORDS and not word.isdigit()


def without_particles(word: str) -> str:
    for cut in range(2, len(word)):
        if is_hangul(word[0]) and PARTICLES.fullmatch(word, cut):
            return word[:cut]
    return word
