"""Finding the item that words mean which no name or alias has: compounds, typing errors, shared bigrams."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from rapidfuzz import process
from rapidfuzz.distance import OSA

from eco2.knowledge.models import Item
from eco2.knowledge.text import (
    LONG_TAIL,
    PARTICLES,
    TAIL,
    Span,
    Squashed,
    initials,
    is_hangul,
    is_initials,
    jamo,
    normalize,
)

if TYPE_CHECKING:
    from eco2.knowledge.knowledge import Knowledge

HEADS = frozenset("캔병컵통팩옷책칼약등")
"""Words of one syllable that the last one of a compound may be: 참치캔 is a 캔, but 사기 is no 기."""
SIMILAR_ALONE, SIMILAR = 0.8, 0.85
SURE, ASKABLE = 0.85, 0.55
"""Share of a question's bigrams (by weight) that an item must have to be the answer, and to be a candidate."""
MAX_CANDIDATES = 3
K1, B = 1.2, 0.6

_FUNCTION = re.compile(
    rf"(?:{TAIL}|{LONG_TAIL}|이거|그거|저거|이것|그것|이런|그런|저런|이건|그건|제가|저는|저희|우리|혹시|그럼|"
    rf"근데|그리고|집에|요즘|오늘|내일|지금|"
    r"아까|정말|진짜|너무|아주|많이|조금|그냥|다시|아직|이미|어느|어떤|누가|여기|저기|거기|하는|하고|해서|했는|"
    r"했어|해요|합니|할까|됩니|돼요|"
    r"되요|되나|안녕|감사|생신|생일|선물|숙제|궁금|질문|알려|가르|도와|싶|있|없|같|모르|모름|좋|괜찮|맞|아니|사용|쓰는|쓰던|쓴|"
    r"다쓴|오래|새로|먹|마시|씻|닦|"
    r"하나|두개|세개|여러|몇개|종류|경우|상태|때문|정도|동네|아파트|구청|주민|분들|선생|하나요|할게|하려|하면|"
    r"좀|꼭|또|더|다|막|잘|못|안|네|예|"
    r"ㅋ|ㅎ|ㅠ|ㅜ|ㅇ|ㄱ|ㄷ|ㅂ).*"
)
_ENGLISH_FUNCTION = frozenset(
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
    """What is searched where the exact index has nothing: the letters of all terms, and the bigrams of all items."""

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
        known = (word for word in {*self.postings, *_ENGLISH_FUNCTION} if word.isascii() and len(word) > 2)
        return tuple(sorted({form for word in known for form in (word, f"{word}s")}))

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
        elif word not in _ENGLISH_FUNCTION:
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
    for start, end in pairwise(sorted(squashed.starts | squashed.ends)):
        if not any(span.start < end and span.end > start for span in found):
            bare = _without_particles(squashed.text[start:end])
            words.append(Span(start, start + len(bare), bare))
    return words


def content_words(squashed: Squashed, found: Sequence[Span]) -> list[Span]:
    """The written words that may name a thing: none that hold a known noun or phrase, no verbs, no bare materials.

    Two that follow each other are also tried as one, first."""
    words = [word for word in written_words(squashed, found) if is_noun(word.term)]
    cut = [_cut(word) for word in words]
    pairs = [
        Span(one.start, other.end, one.term + other.term)
        for one, other in pairwise(cut)
        if one.end == other.start and is_hangul(one.term[0])
    ]
    return sorted([*pairs, *cut], key=lambda span: (span.start, -span.end))


def _cut(word: Span) -> Span:
    bare = re.split(rf"(?<=..){TAIL}", word.term)[0]
    bare = _without_particles(bare)
    return Span(word.start, word.start + len(bare), bare)


def is_noun(word: str) -> bool:
    """Whether an unknown word may be the name of a thing."""
    if is_hangul(word[0]):
        return len(word) > 1 and not _FUNCTION.fullmatch(word)
    return len(word) > 2 and word not in _ENGLISH_FUNCTION and not word.isdigit()


def _without_particles(word: str) -> str:
    for cut in range(2, len(word)):
        if is_hangul(word[0]) and PARTICLES.fullmatch(word, cut):
            return word[:cut]
    return word


def closest(knowledge: "Knowledge", word: str, *, alone: bool) -> str | None:
    """The term that a word is a compound or a misspelling of. `alone`: nothing else is named, so dare more."""
    forms = dict.fromkeys((word, *(word + letter for letter in "등이" if alone)))
    found = (misspelt(knowledge, form, alone=alone) for form in forms)
    return next(filter(None, found), None) or _head(knowledge, word, alone)


def _head(knowledge: "Knowledge", word: str, alone: bool) -> str | None:
    for start in range(1, len(word)):
        head = word[start:]
        if head in knowledge.terms and is_hangul(head[0]) and (len(head) > 1 or head in HEADS):
            return head if alone or len(knowledge.terms[head]) == 1 or knowledge.questions[head].default else None
    return None


def corrected(knowledge: "Knowledge", text: str) -> str:
    """English with the words that no name has put right by the nearest one that some name has; "" if none is."""
    words = re.findall(r"[a-z]+", text.lower())
    if len(words) > 1 and not any(
        word in _ENGLISH_FUNCTION or singular(word) in knowledge.index.postings for word in words
    ):
        return ""
    changed = False

    def fix(match: re.Match[str]) -> str:
        nonlocal changed
        word = match[0].lower()
        if len(word) < 4 or word in _ENGLISH_FUNCTION or singular(word) in knowledge.index.postings:
            return word
        least = 0.75 if len(word) > 4 else 0.8
        known = knowledge.index.words
        found = process.extract(word, known, scorer=OSA.normalized_similarity, score_cutoff=least, limit=5)
        nearest = [str(other) for other, score, _ in found if score == found[0][1]]
        changed = changed or bool(nearest)
        return max(nearest, key=lambda other: _told_with(knowledge, other, words), default=word)

    fixed = re.sub(r"[a-z]+", fix, text, flags=re.IGNORECASE)
    return fixed if changed else ""


def _told_with(knowledge: "Knowledge", word: str, others: Sequence[str]) -> int:
    """How many items have the word and another one of the sentence."""
    postings = knowledge.index.postings
    here = {number for number, _ in postings.get(singular(word), ())}
    return sum(len(here & {n for n, _ in postings.get(singular(other), ())}) for other in others)


def misspelt(knowledge: "Knowledge", word: str, *, alone: bool) -> str | None:
    letters = jamo(word)
    if len(letters) < 5 or (not alone and len(letters) < 7) or not is_hangul(word[0]):
        return None
    index = knowledge.index
    best = process.extract(
        letters,
        index.letters,
        scorer=OSA.normalized_similarity,
        score_cutoff=SIMILAR_ALONE if alone else SIMILAR,
        limit=4,
    )
    terms = [index.terms[place] for _, score, place in best if score == best[0][1]]
    meant = {knowledge.terms[term] for term in terms}
    if len(meant) != 1 or not _likely(word, terms[0]):
        return None
    return terms[0]


_PLAIN = {letter: plain for plain in "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅎ" for letter in plain} | dict(
    zip("ㄲㄸㅃㅆㅉㅋㅌㅍㅊ", "ㄱㄷㅂㅅㅈㄱㄷㅂㅈ", strict=True)
)
"""Consonants as people mix them up: tense and aspirated ones with the plain."""


def _likely(word: str, term: str) -> bool:
    """Short words must begin alike and be of one length: "화분" is no misspelt "화장"."""
    return len(word) > 3 or (_PLAIN.get(jamo(word[0])[0]) == _PLAIN.get(jamo(term[0])[0]) and len(word) == len(term))


def candidates(knowledge: "Knowledge", words: Sequence[str]) -> tuple[tuple[Item, ...], bool]:
    """The items that share most of the words' bigrams, best first (BM25), and whether the first one is sure.

    It is when it has nearly all of what was said and no other item does. None where they share little."""
    index = knowledge.index
    query = {gram for word in words for gram in grams(word)}
    total = sum(index.weight(gram) * _share(index, gram) for gram in query) or 1.0
    scores: dict[int, float] = defaultdict(float)
    shares: dict[int, float] = defaultdict(float)
    for gram in query:
        for number, part in index.postings.get(gram, ()):
            scores[number] += index.weight(gram) * part
            shares[number] += index.weight(gram) / total
    ranked = [n for n in sorted(scores, key=lambda number: (-scores[number], number)) if shares[n] >= ASKABLE]
    sure = len(query) > 1 and len([n for n in ranked if shares[n] >= SURE]) == 1 and shares[ranked[0]] >= SURE
    return tuple(index.items[number] for number in ranked[:MAX_CANDIDATES]), sure


def _share(index: Index, gram: str) -> float:
    """An English word that no item has says little against the others; a bigram of Hangul does."""
    return 1.0 if gram in index.postings or is_hangul(gram[0]) else 0.4


def suggest(knowledge: "Knowledge", typed: str) -> list[Item]:
    """The items that somebody may be typing the name of, best first.

    A syllable that is not complete ("페트벼"), and first consonants alone ("ㅍㅌㅂ"), are enough."""
    word = normalize(typed)
    if not word:
        return []
    index = knowledge.index
    wanted, among = (word, index.initials) if is_initials(word) else (jamo(word), index.letters)
    places = [n for n, letters in enumerate(among) if wanted in letters]
    places.sort(
        key=lambda n: (among[n] != wanted, not among[n].startswith(wanted), len(index.terms[n]), index.terms[n])
    )
    ids = dict.fromkeys(name for place in places for name in knowledge.terms[index.terms[place]])
    return [knowledge.items[name] for name in ids]
