"""Finding an item for words without a name or alias: compounds, typing errors, shared bigrams."""

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

from rapidfuzz import process
from rapidfuzz.distance import OSA

from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import Item
from eco2.knowledge.words import tokens
from eco2.knowledge.words.index import ENGLISH_FUNCTION_WORDS, SHORT_WORD, Index, grams, singular
from eco2.knowledge.words.text import (
    is_hangul,
    is_initials,
    jamo,
    normalize,
)

HEADS = frozenset("캔병컵통팩옷책칼약등")
"""Words of one syllable that the last one of a compound may be: 참치캔 is a 캔, but 사기 is no 기."""
SIMILAR_ALONE, SIMILAR = 0.8, 0.85
SURE, ASKABLE = 0.85, 0.55
"""Share of a question's bigrams (by weight) that an item must have to be the answer, and to be a candidate."""
MAX_CANDIDATES = 3
WARNED = 3
"""Syllables that a name with a warning has more of, where more is written to it."""
VERB_ENDINGS = ("ed", "ing", "ly")
"""Of English words that are no nouns, and so no misspelt names."""
SHORTEST, LONG = 5, 8
"""Letters of an English word in which people make one mistake, and two."""
READ_FOR_ERRORS = 200
"""Letters of an English text whose words are put right: each is compared with all that names are made of."""


def closest(knowledge: Knowledge, word: str, *, alone: bool) -> str | None:
    """The term that a word is a compound or a misspelling of. `alone`: nothing else is named, so dare more."""
    if alone and (named := _warned(knowledge, word)):
        return named
    forms = dict.fromkeys((word, *(word + letter for letter in "등이" if alone)))
    real = is_hangul(word[0]) and tokens.is_word(word)
    found = () if real and (not alone or len(word) < 3) else (misspelt(knowledge, form, alone=alone) for form in forms)
    return next(filter(None, found), None) or _head(knowledge, word, alone, real)


def _warned(knowledge: Knowledge, word: str) -> str | None:
    """The name that a long word begins with, where its thing has a warning: the 드라이아이스 of a 드라이아이스꽂이."""
    names = (word[:cut] for cut in range(len(word) - 1, WARNED, -1) if word[:cut] in knowledge.terms)
    name = next(names, None) if is_hangul(word[0]) else None
    return name if name and knowledge.warned(name) else None


def _head(knowledge: Knowledge, word: str, alone: bool, real: bool) -> str | None:
    """The term that a compound ends with. A word of the dictionary is none by its last syllables: 튀김옷
    is no 옷, 받침대 no 침대."""
    inside = tokens.inside_nouns(word)
    for start in range(1, len(word)):
        head = word[start:]
        if start in inside:
            continue
        if head in knowledge.terms and is_hangul(head[0]) and (len(head) > 1 or (head in HEADS and not real)):
            return head if alone or len(knowledge.terms[head]) == 1 or knowledge.questions[head].default else None
    return None


def corrected(knowledge: Knowledge, text: str) -> str:
    """English with the words that no name has put right by the nearest one that some name has; "" if none is."""
    words = re.findall(r"[a-z]+", text.lower())
    if len(words) > 1 and not any(
        word in ENGLISH_FUNCTION_WORDS or singular(word) in knowledge.index.postings for word in words
    ):
        return ""
    changed = False

    def fix(match: re.Match[str]) -> str:
        nonlocal changed
        word = match[0].lower()
        if match.start() > READ_FOR_ERRORS or len(word) < SHORTEST:
            return word
        known = (
            word in ENGLISH_FUNCTION_WORDS | knowledge.lexicon.spelling.real
            or {word, singular(word)} & knowledge.no_things
            or word.endswith(VERB_ENDINGS)
            or word in knowledge.lexicon.heads.by_word
            or {word, singular(word)} & knowledge.lexicon.heads.hazards
        )
        if known or singular(word) in knowledge.index.postings:
            return word
        found = process.extract(
            word, knowledge.index.words, scorer=OSA.distance, score_cutoff=1 + (len(word) >= LONG), limit=8
        )
        alike = [(str(other), apart) for other, apart, _ in found if _begins_alike(word, str(other))]
        nearest = [other for other, apart in alike if apart == alike[0][1]]
        changed = changed or bool(nearest)
        return max(nearest, key=lambda other: _told_with(knowledge, other, words), default=word)

    fixed = re.sub(r"[a-z]+", fix, text, flags=re.IGNORECASE)
    return fixed if changed else ""


def _begins_alike(word: str, other: str) -> bool:
    """Few people miss the first letter: "manager" is no "massager", "stryofoam" is a styrofoam."""
    return word[0] == other[0] or word[:2] == other[1::-1]


def _told_with(knowledge: Knowledge, word: str, others: Sequence[str]) -> int:
    """Number of items that have the word and another one of the sentence."""
    postings = knowledge.index.postings
    here = {number for number, _ in postings.get(singular(word), ())}
    return sum(len(here & {n for n, _ in postings.get(singular(other), ())}) for other in others)


@lru_cache(maxsize=4096)
def misspelt(knowledge: Knowledge, word: str, *, alone: bool) -> str | None:
    """The term that a word of no name is a misspelling of. It is compared with all of them, and words come again."""
    letters = jamo(word)
    if len(letters) < 5 or (not alone and len(letters) < 7) or not is_hangul(word[0]):
        return None
    index, least = knowledge.index, SIMILAR_ALONE if alone else SIMILAR
    short = len(word) <= SHORT_WORD
    places, among = index.as_short_as(word) if short else index.as_long_as(len(letters), least)
    best = process.extract(letters, among, scorer=OSA.normalized_similarity, score_cutoff=least, limit=4)
    terms = [index.terms[places[n]] for _, score, n in best if score == best[0][1]]
    return terms[0] if len({knowledge.terms[term] for term in terms}) == 1 else None


def candidates(knowledge: Knowledge, words: Sequence[str]) -> tuple[tuple[Item, ...], bool]:
    """The items that share most of the words' bigrams, best first (BM25), and whether the first one is sure.

    It is when it has nearly all of what was said and no other item does. None where they share little."""
    index = knowledge.index
    query = sorted({gram for word in words for gram in grams(word)})  # in one order: sums of floats depend on it
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


def search(knowledge: Knowledge, text: str) -> list[Item]:
    """Items whose name the user may be typing, best first; all items for a blank text."""
    return suggest(knowledge, text) if text.strip() else list(knowledge.items.values())


def suggest(knowledge: Knowledge, typed: str) -> list[Item]:
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
