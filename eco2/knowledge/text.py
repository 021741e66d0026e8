"""Finding known words in free Korean or English text.

A word counts only where a noun can stand:
- it may be written with or without spaces and in any case;
- it ends where the written word ends, or is followed only by particles ("생수병을", "박스인데");
- it begins where a written word begins; Hangul words of three or more syllables may also be the head of a
  compound ("큰피자박스");
- a word of one syllable allows only the particles in `SHORT_PARTICLES`, so "책임" and "회의" hold no item.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

PARTICLES = re.compile(
    r"(?:들|은|는|이|가|을|를|의|에|에서|에게|로|으로|와|과|랑|이랑|하고|도|만|까지|부터|나|이나|처럼|밖에|"
    r"같은|째|등|인데|인데요|인가|인가요|이에요|예요|이예요|에요|입니다|이야|야|이요|요|이라|라|이라서|라서){0,3}"
)
SHORT_PARTICLES = re.compile(r"(?:은|는|이|가|을|를|이랑|랑|하고|만|인데|이에요|예요|입니다|이요|요)?")
PLURAL = re.compile(r"(?:s|es)?")
GAP = r"(?:이|가|을|를|은|는|도|만|에|으로|로)?(?:아직|잔뜩|심하게|살짝|완전히|많이|좀|조금|다|잘|덜|꽤|너무)?"
JOIN = re.compile(r"(?:이랑|랑|하고|와|과|도|이나|나|이고|고)?(?:및|그리고|또는|and|or)?")
NEGATED = r"(?!\w{0,3}지(?:는|도|를)?(?:않|안|마|말))"


@dataclass(frozen=True)
class Span:
    start: int
    end: int
    term: str


@dataclass(frozen=True)
class Squashed:
    """Text without spaces and punctuation; `starts` and `ends` are the edges of its written words."""

    text: str
    starts: frozenset[int]
    ends: frozenset[int]


def squash(text: str) -> Squashed:
    words = re.findall(r"[가-힣ㄱ-ㅎㅏ-ㅣ]+|[^\W가-힣ㄱ-ㅎㅏ-ㅣ_]+", unicodedata.normalize("NFKC", text).lower())
    starts, ends, position = set(), set(), 0
    for word in words:
        starts.add(position)
        position += len(word)
        ends.add(position)
    return Squashed("".join(words), frozenset(starts), frozenset(ends))


def normalize(text: str) -> str:
    return squash(text).text


def is_hangul(char: str) -> bool:
    return "가" <= char <= "힣"


def topic(noun: str) -> str:
    """The noun with 은 or 는, whichever it takes."""
    bare = re.sub(r"\(.*?\)", "", noun).strip()
    last = bare[-1:]
    closed = (ord(last) - ord("가")) % 28 > 0 if is_hangul(last) else last.lower() in set("lmnr")
    return noun + ("은" if closed else "는")


def _stands_alone(squashed: Squashed, start: int, term: str) -> bool:
    hangul = is_hangul(term[0]) and is_hangul(term[-1])
    if start not in squashed.starts and not (hangul and len(term) >= 3):
        return False
    end = start + len(term)
    rest = squashed.text[end : min(edge for edge in squashed.ends if edge >= end)]
    if not is_hangul(term[-1]):
        return PLURAL.fullmatch(rest) is not None
    return (SHORT_PARTICLES if len(term) == 1 else PARTICLES).fullmatch(rest) is not None


def term_spans(squashed: Squashed, terms: Iterable[str]) -> Iterator[Span]:
    """Every place where one of the normalized terms stands as a noun."""
    for term in terms:
        start = squashed.text.find(term)
        while start >= 0:
            if _stands_alone(squashed, start, term):
                yield Span(start, start + len(term), term)
            start = squashed.text.find(term, start + 1)


def phrase(words: str) -> re.Pattern[str]:
    """The pattern of a phrase: word stems in order, particles and adverbs between them allowed, not negated.

    "라벨 떼" fits "라벨을 떼세요" and "라벨은 다 떼", but not "라벨을 떼지 마세요"."""
    stems = GAP.join(re.escape(normalize(word)) for word in words.split())
    return re.compile(stems + NEGATED)


def phrase_spans(squashed: Squashed, phrases: Mapping[str, re.Pattern[str]]) -> Iterator[Span]:
    """Places where a phrase begins a written word that is not preceded by 안 or 못."""
    for key, pattern in phrases.items():
        for match in pattern.finditer(squashed.text):
            before = squashed.text[: match.start()]
            if match.start() in squashed.starts and not before.endswith(("안", "못")):
                yield Span(match.start(), match.end(), key)


def listed(squashed: Squashed, spans: Sequence[Span]) -> set[Span]:
    """The spans that are told one after the other as in a list: "캔이랑 유리병", "캔, 유리병"."""
    joined = [pair for pair in pairwise(spans) if JOIN.fullmatch(squashed.text[pair[0].end : pair[1].start])]
    return {span for pair in joined for span in pair}


def longest(spans: Iterable[Span]) -> list[Span]:
    """The spans left when a longer one pushes out those it overlaps, in text order."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start - span.end, span.start)):
        if all(span.end <= other.start or span.start >= other.end or span == other for other in kept):
            kept.append(span)
    return sorted(set(kept), key=lambda span: span.start)
