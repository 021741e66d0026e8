"""Normalised text, and the phrases of situations found in it.

`bounded` is the door: every text from outside is cut and made uniform there, once. All else works on `squash`ed text,
without blanks and signs, as people leave them out or put them in at will."""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, wraps
from itertools import pairwise
from typing import ParamSpec, TypeVar, cast

LONGEST = 1000
"""Letters of a text that are read."""
SHORT = 200
"""Letters of a text that a process may remember after it was read."""
P = ParamSpec("P")
R = TypeVar("R")
_BLANKS = re.compile(r"\s{2,}")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
"""Letters that show nothing: joiners, directions, variations, tags, the blank first letters of old Hangul."""
_PICTURES = re.compile("[\u2190-\u2bff\u3164\uffa0\U0001f000-\U0001faff]+")
"""Emoji, arrows and blanks that pass for letters of Hangul."""


def remembered(most: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep the results of the last calls whose texts are all short: the same words come again at each stage."""

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        kept = cast(Callable[P, R], lru_cache(maxsize=most)(function))

        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            long = any(isinstance(one, str) and len(one) > SHORT for one in args)
            return (function if long else kept)(*args, **kwargs)

        return called

    return decorated


def bounded(text: str) -> str:
    """The text as it is read: uniform, cut, and without runs of blanks, which patterns with several gaps would try in
    every way."""
    uniform = _uniform(text[: 3 * LONGEST])  # a decomposed syllable has up to three letters
    return _BLANKS.sub(lambda blanks: "\n" if "\n" in blanks[0] else " ", uniform[:LONGEST])


_PARTICLE = (
    r"(?:들|은|는|이|가|을|를|의|에|에서|에게|로|으로|와|과|랑|이랑|하고|도|만|까지|부터|나|이나|처럼|밖에|"
    r"같은|(?<!통)째|등|"
    r"인데|인데요|인디|인뎅|인가|인가요|이에요|예요|이예요|에요|에여|이에여|예여|여|입니다|임|이야|야|이요|요|"
    r"유|이라|라|이라서|라서|"
    r"이고|고|말인데요|거|것|껀|건|거는|것은|같은거|같은것|종류|들도|뭉치|조각|여러개|한개|하나|두개|세개|몇개)"
)
PARTICLES = re.compile(_PARTICLE + "{0,3}")
PLURAL = re.compile(r"(?:s|es)?")
JOIN = re.compile(
    r"(?:(?:한|두|세|네|몇|여러|\d+)(?:개|병|장|통|캔|벌|켤레|짝|봉지|상자))?"
    r"(?:이랑|랑|하고|와|과|도|이나|나|이고|고|s|es)?(?:및|그리고|또는|and|or|plus)?(?:a|an|the|some|my|old|"
    r"two|three|ten)?(?:먹다남은|다쓴|쓰던|안쓰는|고장난|빈|헌|깨진|남은)?"
)


def _by_letter(*words: str) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for word in words:
        found.setdefault(word[0], []).append(word)
    return found


GAPS = (
    _by_letter(*("이", "가", "을", "를", "은", "는", "도", "만", "에", "으로", "로", "의")),
    _by_letter(
        *(
            "아직",
            "잔뜩",
            "심하게",
            "살짝",
            "완전히",
            "많이",
            "좀",
            "조금",
            "다",
            "잘",
            "덜",
            "꽤",
            "너무",
            "계속",
            "전혀",
            "약간",
        )
    ),
)
"""Words that may stand between the stems of a phrase: one of each set, by the first letter."""
_FILLER = _by_letter(
    *re.findall(
        r"\S+",
        "is are was were has have had the a an its it still some of all very really completely got been quite too im "
        "my s es in on",
    )
)
ENGLISH_GAPS = (_FILLER, _FILLER, _FILLER)
ENGLISH_NOT = re.compile(r"(?:not|isnt|arent|wasnt|no|without|never|nothing)(?:a|the|any|very|really|yet)?$")
ENDINGS = ("s", "es", "d", "ed", "ing", "n", "ly", "y", "r")
NEGATED = re.compile(r"\w{0,3}(?:거나\w{0,6})?지(?:는|도|를)?(?:않|안|마|말)")


_NEAR = 48
"""No pattern that looks back from a place is longer."""


@dataclass(frozen=True)
class Span:
    start: int
    end: int
    term: str


@dataclass(frozen=True)
class Squashed:
    """Text without spaces and punctuation; `starts` and `ends` are the edges of its written words, `breaks` the places
    of commas and other signs that part the entries of a list, `stops` those of the ends of sentences, `dots` those of
    the middle dots among the breaks, which stand inside of names, too, `asides` what is in brackets, `head` the place
    of the only colon outside of brackets, 0 without one: what is before it may tell what a list is of."""

    text: str
    starts: frozenset[int]
    ends: frozenset[int]
    breaks: frozenset[int] = frozenset()
    stops: frozenset[int] = frozenset()
    dots: frozenset[int] = frozenset()
    asides: tuple[tuple[int, int], ...] = ()
    head: int = 0

    @cached_property
    def _edges(self) -> list[int]:
        return sorted(self.ends)

    @property
    def heading(self) -> tuple[int, int]:
        """Edges of the words before the only colon, from the last sign on."""
        return max((place for place in self.breaks | self.stops if place < self.head), default=0), self.head

    def aside(self, span: "Span") -> bool:
        """True when a word stands in brackets after others."""
        return any(0 < start <= span.start and span.end <= end for start, end in self.asides)

    def bracketed(self, one: int, other: int) -> bool:
        """True when a bracket opens or ends between two places."""
        return any(one <= place <= other for aside in self.asides for place in aside)

    def said(self, span: "Span") -> str:
        """The words of a span, with blanks between them."""
        edges = sorted({span.start, span.end, *(place for place in self.starts if span.start < place < span.end)})
        return " ".join(self.text[one:other] for one, other in pairwise(edges))

    def word_end(self, position: int) -> int:
        return self._edges[bisect_left(self._edges, position)]


_WORD = re.compile(
    r"(?P<hangul>[가-힣ㄱ-ㅎㅏ-ㅣ]+)|(?P<other>[^\W가-힣ㄱ-ㅎㅏ-ㅣ_]+)|(?P<address>:(?=//))|"
    r"(?P<smile>[:;][-'^]?\)+|:[-'^]?[(\[\]<>|/\\*dpo3]+(?![^\W_]))|"
    r"(?P<sign>[,/;·、+&\n])|(?P<stop>[.!?](?!\d)|(?P<colon>(?<!\d):|:(?!\s?\d)))|(?P<open>\()|(?P<close>\))"
)
"""Words, and the signs that part them. The colon of a time or an address parts nothing."""


def _uniform(text: str) -> str:
    """Wide letters made narrow, syllables composed, nothing invisible; single letters of Hangul stay as typed."""
    text = _PICTURES.sub(" ", _INVISIBLE.sub("", text))
    if unicodedata.is_normalized("NFKC", text):  # most text; none that has single letters of Hangul
        return text
    plain = (char if "ㄱ" <= char <= "ㅣ" else unicodedata.normalize("NFKC", char) for char in text)
    return unicodedata.normalize("NFC", "".join(plain))


@remembered(512)
def squash(text: str) -> Squashed:
    words, position = [], 0
    starts, ends, breaks, stops, dots = (set[int]() for _ in range(5))
    asides: list[tuple[int, int]] = []
    opened = -1
    colons: list[int] = []
    for match in _WORD.finditer(_uniform(text[:LONGEST])[:LONGEST].lower()):
        if match["open"]:
            opened = position
        elif match["close"]:
            if opened >= 0:
                asides.append((opened, position))
            opened = -1
        if match["open"] or match["close"] or match["address"]:
            continue
        if match["sign"] or match["stop"] or match["smile"]:
            (breaks if match["sign"] else stops).add(position)
            if match["sign"] == "·":
                dots.add(position)
            if match["colon"] and opened < 0:
                colons.append(position)
            continue
        words.append(match[0])
        starts.add(position)
        position += len(match[0])
        ends.add(position)
    return Squashed(
        "".join(words),
        frozenset(starts),
        frozenset(ends),
        frozenset(breaks),
        frozenset(stops),
        frozenset(dots),
        tuple(asides),
        colons[0] if len(colons) == 1 else 0,
    )


def normalize(text: str) -> str:
    return squash(text).text


def is_hangul(char: str) -> bool:
    return "가" <= char <= "힣"


def topic(noun: str) -> str:
    """The noun with 은 or 는, whichever it takes."""
    return noun + ("은" if _closed(noun) else "는")


def supposing(noun: str) -> str:
    """The noun with 이라면 or 라면, whichever it takes."""
    return noun + ("이라면" if _closed(noun) else "라면")


def _closed(noun: str) -> bool:
    """True when it ends in a consonant, as it is spoken; what stands in brackets is not."""
    last = re.sub(r"\(.*?\)", "", noun).strip()[-1:]
    return (ord(last) - ord("가")) % 28 > 0 if is_hangul(last) else last.lower() in set("lmnr")


def stems(words: str) -> tuple[str, ...]:
    return tuple(normalize(word) for word in words.split())


def phrase_ends(text: str, words: Sequence[str], start: int) -> set[int]:
    """Ends of the stems that begin at a place of a normalized text, particles and adverbs between them allowed.

    "라벨 떼" fits "라벨을 떼세요" and "라벨은 다 떼", but not "라벨을 떼지 마세요"."""
    places = {start} if text.startswith(words[0], start) else set()
    gaps = GAPS if is_hangul(words[0][0]) else ENGLISH_GAPS
    for number, stem in enumerate(words):
        if number:
            places = {place for before in places for place in _after_gap(text, before, gaps)}
        places = {place + len(stem) for place in places if text.startswith(stem, place)}
    return {place for place in places if not NEGATED.match(text, place)}


def _after_gap(text: str, place: int, gaps: Sequence[Mapping[str, Sequence[str]]]) -> set[int]:
    places = {place}
    for words in gaps:
        places |= {
            there + len(word)
            for there in places
            for word in words.get(text[there : there + 1], ())
            if text.startswith(word, there)
        }
    return places


def says(text: str, words: Sequence[str]) -> bool:
    """True when the stems stand somewhere in a normalized text, not negated."""
    start = text.find(words[0])
    while start >= 0:
        if phrase_ends(text, words, start):
            return True
        start = text.find(words[0], start + 1)
    return False


SENTENCE = re.compile(r"(?<=[.!?\n])\s*")
NO = re.compile(
    r"마세요|말고|말아|않|안\s*(?:돼|되|된)|안되|못|금지|아니|없|위험|\bnot\b|n't\b|never|no longer|without|"
    r"avoid|instead of|cannot|rather than",
    re.IGNORECASE,
)


def advises(text: str, words: str) -> bool:
    """True when a sentence of the text holds the words, as written, and does not say no."""
    wanted = words.lower()
    return any(wanted in sentence.lower() and not NO.search(sentence) for sentence in SENTENCE.split(text))


Openings = Mapping[str, Sequence[tuple[str, tuple[str, ...]]]]
"""Phrases with their stems, by the first letter of the first stem."""


def by_opening(phrases: Mapping[str, tuple[str, ...]]) -> Openings:
    found: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for phrase, words in phrases.items():
        found.setdefault(words[0][0], []).append((phrase, words))
    return found


def phrase_spans(squashed: Squashed, phrases: Openings, after: Iterable[int] = ()) -> Iterator[Span]:
    """Places where a phrase begins a written word that is not preceded by 안 or 못 ("not" in English).

    `after`: further places where a phrase may begin, behind a noun written without a space."""
    text = squashed.text
    for start in sorted({*squashed.starts, *after}):
        for key, words in phrases.get(text[start : start + 1], ()):
            if text.startswith(words[0], start) and not _negated(squashed, start):
                yield from (Span(start, end, key) for end in phrase_ends(text, words, start) if _whole(squashed, end))


def _whole(squashed: Squashed, end: int) -> bool:
    """True when a phrase in English ends as its last word does, but for an ending: no "hot" in "hotline"."""
    last = squashed.text[end - 1 : end]
    rest = squashed.text[end : squashed.word_end(end)] if last.isascii() and end < len(squashed.text) else ""
    return not rest or end in squashed.ends or rest in ENDINGS


def _negated(squashed: Squashed, start: int) -> bool:
    found = ENGLISH_NOT.search(squashed.text, max(0, start - _NEAR), start)
    return squashed.text[max(0, start - 1) : start] in ("안", "못") or (
        found is not None and found.start() in squashed.starts
    )


def in_list(squashed: Squashed, one: Span, other: Span) -> bool:
    between = squashed.text[one.end : other.start]
    parted = any(one.end <= place <= other.start for place in squashed.breaks)
    return JOIN.fullmatch(between) is not None or (parted and PARTICLES.fullmatch(between) is not None)


def longest(spans: Iterable[Span]) -> list[Span]:
    """The spans left when a longer one pushes out those it overlaps, in text order."""
    owner: dict[int, Span] = {}
    kept: set[Span] = set()
    for span in sorted(spans, key=lambda span: (span.start - span.end, span.start)):
        places = range(span.start, span.end)
        if all(owner.get(place, span) == span for place in places):
            kept.add(span)
            owner |= dict.fromkeys(places, span)
    return sorted(kept, key=lambda span: (span.start, span.end, span.term))


_LEADING, _VOWELS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ", "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_TRAILING = (
    "",
    *re.findall(
        r"\S+", "ㄱ ㄲ ㄱㅅ ㄴ ㄴㅈ ㄴㅎ ㄷ ㄹ ㄹㄱ ㄹㅁ ㄹㅂ ㄹㅅ ㄹㅌ ㄹㅍ ㄹㅎ ㅁ ㅂ ㅂㅅ ㅅ ㅆ ㅇ ㅈ ㅊ ㅋ ㅌ ㅍ ㅎ"
    ),
)


def jamo(text: str) -> str:
    """The letters that Hangul syllables are typed with; all else as it is."""
    return "".join(map(_letters, text))


def _letters(char: str) -> str:
    if not is_hangul(char):
        return char
    number = ord(char) - ord("가")
    return f"{_LEADING[number // 588]}{_VOWELS[number % 588 // 28]}{_TRAILING[number % 28]}"


def initials(text: str) -> str:
    """The first consonant of each syllable: 페트병 → ㅍㅌㅂ."""
    return "".join(_LEADING[(ord(char) - ord("가")) // 588] if is_hangul(char) else char for char in text)


def is_initials(text: str) -> bool:
    return bool(text) and all(char in _LEADING for char in text)


def is_korean(text: str) -> bool:
    """True when a reader of the text reads Korean: at least a third of its letters are Hangul, or it has none."""
    letters = [char for char in text if char.isalpha()]
    hangul = sum(is_hangul(char) or "ㄱ" <= char <= "ㅣ" for char in letters)
    return 3 * hangul >= len(letters)
