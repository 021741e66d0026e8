"""Words of a sentence with their parts of speech.

Korean is split by mecab-ko with its dictionary, which is mapped into memory and shared by all processes; where a token
ends inside one of our names, `terms` mends it. English is split at blanks."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from eco2.knowledge.words.text import Span, Squashed

if TYPE_CHECKING:
    from mecab import MeCab

VERB_ENDS = frozenset("요다고면서데만은는을던니까게려야죠네어아해돼됨음기시로도나라자")
"""Last syllables of verbs as people write them; a misspelt noun may look like a verb that ends in another."""
NO_NOUNS = ("MAG", "MAJ", "IC", "NP", "VV", "VA", "VX", "NR", "MM")
PREDICATES = ("VV", "VA", "VX", "XSV", "XSA", "VCP", "VCN")


@dataclass(frozen=True, slots=True)
class Token:
    """`start` and `end` are places in the squashed text. `tags`: parts of speech in the order they are spoken;
    `stem`: of a verb, as a dictionary has it, with the noun that it is made of (주문하); of another word the word."""

    start: int
    end: int
    surface: str
    tags: tuple[str, ...]
    stem: str

    @property
    def noun(self) -> bool:
        return self.tags[0] in ("NNG", "NNP", "SL", "XR", "NNBC") or self.tags[0].startswith("NNG")

    @property
    def predicate(self) -> bool:
        return any(tag in PREDICATES for tag in self.tags)

    @property
    def particle(self) -> bool:
        return self.tags[0].startswith("J")

    @property
    def ending(self) -> bool:
        return self.tags[0].startswith("E") or self.tags[0] == "VX"

    def has(self, *tags: str) -> bool:
        return any(tag in tags for tag in self.tags)


@cache
def _mecab() -> "MeCab":
    try:
        from mecab import MeCab
    except ImportError as error:
        raise RuntimeError(
            "The Korean tokenizer python-mecab-ko is not installed; it has packages for Python 3.11 and 3.12 only."
        ) from error
    return MeCab()


def edges_of(tokens: Sequence[Token], things: Sequence[Span]) -> list[tuple[int, int]]:
    """Per thing: its first token, and the one after its last."""
    starts, ends = [token.start for token in tokens], [token.end for token in tokens]
    return [(bisect_right(ends, thing.start), bisect_left(starts, thing.end)) for thing in things]


def korean(squashed: Squashed) -> list[Token]:
    """The tokens of a text that has Hangul, in order, without signs."""
    edges = sorted(squashed.starts | {len(squashed.text)})
    words = [squashed.text[start:end] for start, end in pairwise(edges)]
    tokens: list[Token] = []
    for morpheme in _mecab().parse(" ".join(words)):
        start = tokens[-1].end if tokens else 0
        surface, feature = morpheme.surface, morpheme.feature
        tags = tuple(feature.pos.split("+"))
        stem = surface
        if feature.type == "Inflect" and feature.expression:
            parts = [part.split("/")[0] for part in feature.expression.split("+")]
            stem = parts[0]
        if tags[0] in ("XSV", "XSA") and tokens and tokens[-1].end == start and tokens[-1].tags[0] in ("NNG", "XR"):
            stem = tokens[-1].surface + stem
        tokens.append(Token(start, start + len(surface), surface, tags, stem))
    return tokens


def english(squashed: Squashed) -> list[Token]:
    edges = sorted(squashed.starts | {len(squashed.text)})
    words = [squashed.text[start:end] for start, end in pairwise(edges)]
    ends = list(accumulate(map(len, words)))
    return [Token(end - len(word), end, word, ("SL",), plain(word)) for word, end in zip(words, ends, strict=True)]


def plain(word: str) -> str:
    """An English word without plural s."""
    return word if len(word) < 4 or word.endswith(("ss", "us", "is")) else word.removesuffix("s")


@lru_cache(maxsize=4096)
def nouns_end(word: str) -> int:
    """Number of letters of a written word that are nouns, from its first one: 0 for a verb or an adverb.

    A word that is not known falls into odd pieces, so what is cut off must be an ending or a particle for sure."""
    parts = [(m.surface, m.feature.pos.split("+")) for m in _mecab().parse(word)]
    if parts and len(parts[0][0]) > 1 and parts[0][1][0] in NO_NOUNS and word[-1] in VERB_ENDS:
        return 0
    if len(parts) == 1 and parts[0][1][0] in NO_NOUNS:
        return 0
    if parts and parts[0][1][0] in ("VV", "VA", "VX") and all(tags[0][0] in "EVJX" for _, tags in parts[1:]):
        return 0 if word[-1] in VERB_ENDS else len(word)
    end = sum(len(surface) for surface, _ in parts)
    for surface, tags in reversed(parts):
        if tags[0] in ("VV", "VA") and end < len(word):
            return 0
        if tags[0][0] not in "JE" and tags[0] not in ("VCP", "VCN", "XSV", "XSA"):
            break
        end -= len(surface)
    return end


@lru_cache(maxsize=4096)
def inside_nouns(word: str) -> frozenset[int]:
    """The places of a written word that are inside a noun of three syllables or more of the dictionary."""
    places, start = set[int](), 0
    for morpheme in _mecab().parse(word):
        end = start + len(morpheme.surface)
        if end - start > 2 and morpheme.feature.pos in ("NNG", "NNP"):
            places.update(range(start + 1, end))
        start = end
    return frozenset(places)


def is_word(word: str) -> bool:
    """True when the dictionary has a word as one noun: then it is no misspelt one."""
    parts = _mecab().parse(word)
    return len(parts) == 1 and parts[0].feature.pos in ("NNG", "NNP")
