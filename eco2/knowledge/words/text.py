"""Finding known words in free Korean or English text.

A word counts only where a noun can stand:
- it may be written with or without spaces and in any case;
- it ends where the written word ends, or is followed only by particles ("생수병을", "박스인데") or, where people leave
  spaces out, by what questions go on with ("생수병어떻게버려요");
- it begins where a written word begins, or after an adjective or a particle that people write without a space
  ("다쓴건전지", "캔이랑병"); Hangul words of three or more syllables may also be the head of a compound ("큰피자박스");
- a word of one syllable allows only the particles in `SHORT_PARTICLES`, so "책임" and "회의" hold no item.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

LONGEST = 1000
"""Letters of a text that are read."""
_BLANKS = re.compile(r"\s{2,}")


def bounded(text: str) -> str:
    """The text cut to what is read, without runs of blanks, which patterns with several gaps would try in every way."""
    return _BLANKS.sub(lambda blanks: "\n" if "\n" in blanks[0] else " ", text[:LONGEST])


_PARTICLE = (
    r"(?:들|은|는|이|가|을|를|의|에|에서|에게|로|으로|와|과|랑|이랑|하고|도|만|까지|부터|나|이나|처럼|밖에|"
    r"같은|(?<!통)째|등|"
    r"인데|인데요|인디|인뎅|인가|인가요|이에요|예요|이예요|에요|에여|이에여|예여|여|입니다|임|이야|야|이요|요|"
    r"유|이라|라|이라서|라서|"
    r"이고|고|말인데요|거|것|껀|건|거는|것은|같은거|같은것|종류|들도|뭉치|조각|여러개|한개|하나|두개|세개|몇개)"
)
PARTICLES = re.compile(_PARTICLE + "{0,3}")
SHORT_PARTICLES = re.compile(
    r"(?:은|는|이|가|을|를|이랑|랑|하고|도|만|인데|인데요|이에요|예요|입니다|이요|요|에|에서|같은거|같은것|"
    r"같은건|여러개|하나|두개|몇개)?"
)
TAIL = (
    r"(?:어떻|어뜨|어떡|어케|어캐|어째|우째|우예|우짜|워떻|어찌|어디|어따|어데|오데|워디|버리|버려|버릴|버림|"
    r"버렸|버린|분리|재활|처리|수거|배출|"
    r"폐기|처분|이랑|랑|말고|각각|따로|뿌리|뿌려|우에)"
)
LONG_TAIL = (
    r"(?:하고|아니고|내놓|내놔|내다|내면|내야|내는|낼때|넣|일반|종량|음식물|음쓰|뭐|뭔|무슨|무엇|몇|언제|왜|"
    r"가능|되나|되는|될까|돼|해야|하나요|하면|맞나|쓰레기|"
    r"있는|있어|나왔|생겼|남았|남은|묻|깨|다썼|다먹|다쓴|근데|그냥|알려|궁금|질문|문의|방법|이거|고장|안쓰|"
    r"못쓰|오래|유통기한|젖|찢|더러|"
    r"따로|같이|함께|그리고|또는|정리|치우|치워|갖다|기부|나눔|부탁|뚜껑|라벨)"
)
_AFTER = re.compile(f"{PARTICLES.pattern}(?:(?:{TAIL}|{LONG_TAIL}).*)?")
_AFTER_SHORT = re.compile(f"{SHORT_PARTICLES.pattern}(?:{TAIL}.*)?")
_BEFORE = re.compile(
    r"(?:쓰던|먹다남은|마시다남은|남은|안쓰는|못쓰는|오래된|고장난|깨진|부서진|망가진|더러운|젖은|찢어진|낡은|"
    r"지난|상한|썩은|이런|그런|있는|있던|"
    r"안입는|못입는|중고|작은|묻은|담긴|먹은|마신|버릴|나온|입던|신던|다쓴|이랑|랑|하고|말고|아니고|그리고|"
    r"또는|폐|빈|헌|큰)$"
)
PLURAL = re.compile(r"(?:s|es)?")
JOIN = re.compile(
    r"(?:(?:한|두|세|네|몇|여러|\d+)(?:개|병|장|통|캔|벌|켤레|짝|봉지|상자))?"
    r"(?:이랑|랑|하고|와|과|도|이나|나|이고|고|s|es)?(?:및|그리고|또는|and|or|plus)?(?:a|an|the|some|my|old|"
    r"two|three|ten)?(?:먹다남은|다쓴|쓰던|안쓰는|고장난|빈|헌|깨진|남은)?"
)
GAPS = (
    frozenset(("이", "가", "을", "를", "은", "는", "도", "만", "에", "으로", "로", "의")),
    frozenset(
        (
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
"""What may stand between the stems of a phrase: one of each set."""
_FILLER = frozenset(
    re.findall(
        r"\S+",
        "is are was were has have had the a an its it still some of all very really completely got been quite too im "
        "my s es in on",
    )
)
ENGLISH_GAPS = (_FILLER, _FILLER, _FILLER)
ENGLISH_NOT = re.compile(r"(?:not|isnt|arent|wasnt|no|without|never|nothing)(?:a|the|any|very|really|yet)?$")
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
    of commas and other signs that part the entries of a list."""

    text: str
    starts: frozenset[int]
    ends: frozenset[int]
    breaks: frozenset[int] = frozenset()

    @cached_property
    def _edges(self) -> list[int]:
        return sorted(self.ends)

    def word_end(self, position: int) -> int:
        return self._edges[bisect_left(self._edges, position)]


_WORD = re.compile(r"(?P<hangul>[가-힣ㄱ-ㅎㅏ-ㅣ]+)|(?P<other>[^\W가-힣ㄱ-ㅎㅏ-ㅣ_]+)|(?P<sign>[,/;·、+&\n])")


def _uniform(text: str) -> str:
    """Wide letters made narrow, syllables composed; single letters of Hangul, as typed, stay what they are."""
    if unicodedata.is_normalized("NFKC", text):  # most text; none that has single letters of Hangul
        return text
    plain = (char if "ㄱ" <= char <= "ㅣ" else unicodedata.normalize("NFKC", char) for char in text)
    return unicodedata.normalize("NFC", "".join(plain))


def squash(text: str) -> Squashed:
    words, starts, ends, breaks, position = [], set(), set(), set(), 0
    for match in _WORD.finditer(_uniform(text[:LONGEST])[:LONGEST].lower()):
        if match["sign"]:
            breaks.add(position)
            continue
        words.append(match[0])
        starts.add(position)
        position += len(match[0])
        ends.add(position)
    return Squashed("".join(words), frozenset(starts), frozenset(ends), frozenset(breaks))


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
    """Whether it ends in a consonant, as it is spoken; what stands in brackets is not."""
    last = re.sub(r"\(.*?\)", "", noun).strip()[-1:]
    return (ord(last) - ord("가")) % 28 > 0 if is_hangul(last) else last.lower() in set("lmnr")


def _stands_alone(squashed: Squashed, start: int, term: str, loose: bool) -> bool:
    end = start + len(term)
    hangul = is_hangul(term[0]) and is_hangul(term[-1])
    if start not in squashed.starts and not (
        hangul and (len(term) >= 3 or _BEFORE.search(squashed.text, max(0, start - _NEAR), start))
    ):
        return False
    if loose and hangul and len(term) >= 4:
        return True
    pattern = PLURAL if not is_hangul(term[-1]) else _AFTER_SHORT if len(term) == 1 else _AFTER
    return pattern.fullmatch(squashed.text, end, squashed.word_end(end)) is not None


def term_spans(
    squashed: Squashed, terms: Container[str], lengths: Mapping[str, Sequence[int]], *, loose: bool = False
) -> Iterator[Span]:
    """Every place where one of the normalized terms stands as a noun. `lengths`: of the terms that begin with a
    letter."""
    text = squashed.text
    for start, opening in enumerate(text):
        for length in lengths.get(opening, ()):
            term = text[start : start + length]
            if term in terms and _stands_alone(squashed, start, term, loose):
                yield Span(start, start + len(term), term)


def stems(words: str) -> tuple[str, ...]:
    return tuple(normalize(word) for word in words.split())


def phrase_ends(text: str, words: Sequence[str], start: int) -> set[int]:
    """Where the stems end that begin at a place of a normalized text, particles and adverbs between them allowed.

    "라벨 떼" fits "라벨을 떼세요" and "라벨은 다 떼", but not "라벨을 떼지 마세요"."""
    places = {start} if text.startswith(words[0], start) else set()
    gaps = GAPS if is_hangul(words[0][0]) else ENGLISH_GAPS
    for number, stem in enumerate(words):
        if number:
            places = {place for before in places for place in _after_gap(text, before, gaps)}
        places = {place + len(stem) for place in places if text.startswith(stem, place)}
    return {place for place in places if not NEGATED.match(text, place)}


def _after_gap(text: str, place: int, gaps: Sequence[frozenset[str]]) -> set[int]:
    places = {place}
    for words in gaps:
        places |= {there + len(word) for there in places for word in words if text.startswith(word, there)}
    return places


def says(text: str, words: Sequence[str]) -> bool:
    """Whether the stems stand somewhere in a normalized text, not negated."""
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
    """Whether a sentence of the text holds the words, as written, and does not say no."""
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
                yield from (Span(start, end, key) for end in phrase_ends(text, words, start))


def _negated(squashed: Squashed, start: int) -> bool:
    found = ENGLISH_NOT.search(squashed.text, max(0, start - _NEAR), start)
    return squashed.text[max(0, start - 1) : start] in ("안", "못") or (
        found is not None and found.start() in squashed.starts
    )


def preceded(squashed: Squashed, position: int, pattern: re.Pattern[str]) -> bool:
    """Whether the pattern (anchored at its end) fits whole words before the position."""
    found = pattern.search(squashed.text, max(0, position - _NEAR), position)
    return found is not None and found.start() in squashed.starts


def listed(squashed: Squashed, spans: Sequence[Span]) -> set[Span]:
    """The spans that are told one after the other as in a list: "캔이랑 유리병", "캔, 유리병"."""
    return {span for pair in pairwise(spans) if in_list(squashed, *pair) for span in pair}


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
    return sorted(kept, key=lambda span: span.start)


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
    """Whether a reader of the text reads Korean: at least a third of its letters are Hangul, or it has none."""
    letters = [char for char in text if char.isalpha()]
    hangul = sum(is_hangul(char) or "ㄱ" <= char <= "ㅣ" for char in letters)
    return 3 * hangul >= len(letters)
