"""Understanding of a sentence: the things it names, the situation that each is in, and guesses where none is named.

Words are found by the index of names and aliases first, in step with the tokens of the sentence. The particle and the
verb after a noun (`words.korean`), or the words before it (`words.english`), tell the part it plays. Words that no
name has are tried as compounds ("딸기잼통"), as typing errors (letters of Hangul, one or two apart), and last by the
bigrams that they share with names. A word that is close to nothing gives candidates to choose from, never an answer.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

from eco2.knowledge import matching
from eco2.knowledge.guarding import dangers_of, unanswered
from eco2.knowledge.heads import with_compounds
from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.mentions import AND_THEN, Found, Mention, Reading, Role, name_of, signed, together, within
from eco2.knowledge.models import Ambiguity, Item
from eco2.knowledge.naming import MOST, containers_of, joined, neighbours, subject
from eco2.knowledge.owning import with_situations
from eco2.knowledge.words import english, index, korean, tokens
from eco2.knowledge.words.headings import heading
from eco2.knowledge.words.korean import Part
from eco2.knowledge.words.text import Span, Squashed, bounded, is_hangul, is_korean, squash
from eco2.knowledge.words.tokens import is_word
from eco2.knowledge.words.vocabulary import COMPOUND

MOST_UNKNOWN = 12
"""Words that are tried as compounds or misspelt."""
NEAREST = 12
"""Letters of the materials between two entries of a list, and between food and what is told of how much there is."""
FALLBACKS: tuple[tuple[Part, ...], ...] = (
    ("main", "beside"),
    ("container", "option"),
    ("content",),
    ("part",),
    ("from",),
    ("bought", "tool"),
    ("into",),
)
"""Subjects of a question where nothing is plainly so: the first of these that is there."""
POINTING = re.compile(r"그거|이거|저거|요거|고거|그것|이것|저것")
COPULAS = ("is", "was", "are")
"""After a word that is told again: "jar of kimchi, jar is glass"."""


@lru_cache(maxsize=64)
def read(knowledge: Knowledge, text: str) -> Reading:
    """The same words come again at each stage of a scan; a long text, too, is worth keeping that long and no longer."""
    text = bounded(text)
    found = _read(knowledge, text)
    if is_korean(text):
        return found
    corrected = matching.corrected(knowledge, text)
    again = _read(knowledge, corrected) if corrected else found
    return again if _named_letters(again) > _named_letters(found) else found


def _named_letters(reading: Reading) -> int:
    mentions = (*reading.mentions, *reading.around)
    return sum(len(m.guessed.split()[-1] if m.span.term.startswith(COMPOUND) else m.span.term) for m in mentions)


def subjects(knowledge: Knowledge, text: str) -> list[Item | Ambiguity]:
    """The things that a sentence asks about, in order, each once: an item or the question that tells which one."""
    named = [mention.subject for mention in read(knowledge, text).mentions if mention.role != "option"]
    return list({name_of(subject): subject for subject in named}.values())


def _read(knowledge: Knowledge, text: str) -> Reading:
    for variant in knowledge.lexicon.spelling.variants:
        text = variant.said.sub(variant.meant, text)
    found = _found(knowledge, text if is_korean(text) else english.prepared(text))
    situations = tuple(knowledge.situations_of({span.term for span in found.phrases}))
    mentions, around = _mentions(knowledge, found)
    candidates: tuple[Item, ...] = ()
    mentions, unread = _with_unknown_words(knowledge, found, mentions)
    if not mentions:
        mentions, candidates = _guesses(knowledge, found)
    mentions, around = _guarded(knowledge, found, with_situations(knowledge, found, mentions), around)
    mentions = _unique(knowledge, found, mentions)
    dangers = dangers_of(knowledge, found, mentions)
    unread = (*unread, *(word for word in dangers if not any(word in other for other in unread)))
    return Reading(
        mentions=tuple(mentions),
        situations=situations,
        candidates=candidates,
        material="" if mentions else _material(knowledge, found.squashed),
        around=tuple(around),
        unread=unread,
        dangers=dangers,
    )


def _guarded(
    knowledge: Knowledge, found: Found, mentions: Sequence[Mention], around: Sequence[Mention]
) -> tuple[list[Mention], list[Mention]]:
    """The mentions with every danger that none of them answers."""
    left = unanswered(knowledge, found, mentions)
    if not left:
        return list(mentions), list(around)
    added = [replace(_mention(knowledge, found, span), role="beside") for span in left]
    ordered = sorted([*mentions, *added], key=lambda mention: mention.span.start)
    told = {mention.span for mention in added}
    return with_situations(knowledge, found, ordered), [one for one in around if one.span not in told]


def _found(knowledge: Knowledge, text: str) -> Found:
    squashed = squash(text)
    in_korean = any(is_hangul(letter) for letter in squashed.text)
    split = tokens.korean(squashed) if in_korean else tokens.english(squashed)
    names = nouns = knowledge.nouns(squashed, split)[:MOST]
    phrases = knowledge.phrases_in(squashed, nouns, split)[:MOST]
    nouns = containers_of(knowledge, squashed, joined(knowledge, squashed, split, nouns, phrases))
    nouns = with_compounds(knowledge, squashed, split, nouns, phrases)
    dangerous = frozenset(span for span in nouns if knowledge.dangerous(span.term))
    sentence: korean.Sentence | english.Sentence
    if is_korean(text):
        edible = frozenset(span for span in nouns if knowledge.edible(span.term))
        words, classes, materials = knowledge.lexicon.korean, knowledge.classes, knowledge.materials
        sentence = korean.Sentence(squashed, split, nouns, words, dangerous, classes, edible, materials)
    else:
        sentence = english.Sentence(
            squashed, split, nouns, knowledge.lexicon.english, dangerous, knowledge.classes, knowledge.materials
        )
    parts = dict(zip(nouns, sentence.parts(), strict=True))
    headed = heading(squashed, split, nouns, knowledge.lexicon, knowledge.classes)
    for span in nouns:
        if span.term in knowledge.no_things:
            parts[span] = "not" if parts[span] == "not" else "into"
        elif span == headed and span not in dangerous:
            parts[span] = "from"
        elif not squashed.aside(span) and any(_told_in(knowledge, span, phrase) for phrase in phrases):
            parts[span] = "part"
    return Found(squashed, split, nouns, phrases, parts, names)


def _told_in(knowledge: Knowledge, span: Span, phrase: Span) -> bool:
    """True when a noun only helps to tell a state, unlike the container of "빈 병"."""
    asked = span.end == phrase.end and span.start > phrase.start and span.term in knowledge.lexicon.korean.containers
    more = phrase.end - phrase.start > span.end - span.start or not knowledge.dangerous(span.term)
    return within(span, phrase) and more and not asked


# --- what is asked about ---------------------------------------------------------------------------------------------


def _mentions(knowledge: Knowledge, found: Found) -> tuple[list[Mention], list[Mention]]:
    """The things to answer, and those around them."""
    asked = next(filter(None, (_of_parts(found, wanted) for wanted in FALLBACKS)), [])
    if asked and found.parts[asked[0]] == "into" and POINTING.search(found.squashed.text):
        asked = []  # "그거 캔에 넣어요 병에 넣어요"
    options = [span for span in found.nouns if found.parts[span] == "option" and span not in asked]
    asked = _clear(knowledge, found, [span for span in asked if not _narrows(knowledge, found, span)])
    mentions = [_mention(knowledge, found, span) for span in asked]
    around = [
        _mention(knowledge, found, span) for span in found.nouns if span not in asked and found.parts[span] != "not"
    ]
    offered = {name_of(mention.subject) for mention in around if mention.span in options}
    around = [replace(m, role="option") if m.span in options else m for m in around]
    if offered and len(mentions) > 1:
        mentions = [mention for mention in mentions if name_of(mention.subject) not in offered] or mentions
    inside = [m for m in around if found.parts[m.span] == "content"]
    leaving = [mention for mention in inside if _spoiled(knowledge, found, mention.span)]
    return [*mentions, *(replace(m, role="beside") for m in leaving)], [m for m in around if m not in leaving]


def _spoiled(knowledge: Knowledge, found: Found, span: Span) -> bool:
    """True for food that has to leave what it is in: told to be spoiled ("상한 김치가 든 병"), or to fill it."""
    ko, en, text = knowledge.lexicon.korean, knowledge.lexicon.english, found.squashed.text
    if any(word in text for word in ko.spoiled) or any(token.surface in en.spoiled for token in found.tokens):
        return knowledge.edible(span.term)
    before = any(token.surface in en.filled and 0 <= span.start - token.end <= NEAREST for token in found.tokens)
    filled = before or any(text.find(word, span.end, span.end + NEAREST) >= 0 for word in ko.filled)
    return filled and knowledge.solid(span.term)


def _narrows(knowledge: Knowledge, found: Found, span: Span) -> bool:
    """True when a noun only tells which kind of the next one is meant: the 로봇 of "로봇 장난감"."""
    following = next((noun for noun in found.nouns if noun.start == span.end), None)
    if following is None or span.end in found.squashed.breaks | found.squashed.stops:
        return False
    return set(knowledge.terms[span.term]) < set(knowledge.terms[following.term])


def _of_parts(found: Found, wanted: Iterable[Part]) -> list[Span]:
    return [span for span in found.nouns if found.parts[span] in wanted]


def _clear(knowledge: Knowledge, found: Found, meant: Sequence[Span]) -> list[Span]:
    """A word that could mean several items counts where no word is clear, or as part of a list: the lid of
    "생수병인데 뚜껑은요?" is no second thing, the bottle of "캔이랑 유리병" is one."""
    listed = {
        span
        for one, other in pairwise(meant)
        for span in (one, other)
        if together(knowledge, found, one, other) or signed(found, one, other)
    }
    clear = [
        span
        for span in meant
        if len(knowledge.terms[span.term]) == 1
        or span in listed
        or found.parts[span] == "beside"
        or len({item.stream for item in knowledge.named(span.term)}) == 1
        or knowledge.question(span.term).default
    ]
    return clear or list(meant[:1])


def _mention(knowledge: Knowledge, found: Found, span: Span) -> Mention:
    role: Role = "beside" if found.parts.get(span) == "beside" else "main"
    others = [noun for noun in found.nouns if noun == span or found.parts.get(noun) in ("main", "beside", "option")]
    if span.term.startswith(COMPOUND):
        item, said = knowledge.named(span.term)[0], found.squashed.said(span)
        return Mention(item, span, guessed=said, role=role)
    return Mention(subject(knowledge, found.squashed, span, others), span, role=role)


def _unique(knowledge: Knowledge, found: Found, mentions: Iterable[Mention]) -> list[Mention]:
    """Each thing once; two words of a list may be the same item, and two of an item in different states."""
    ordered = sorted(mentions, key=lambda mention: mention.span.start)
    kept: list[Mention] = []
    for mention in ordered:
        same = [other for other in kept if _same(other.subject, mention.subject)]
        listed = _listed(knowledge, found, [*kept, mention]) and not _renamed(
            found, kept[0].span.start, kept[-1], mention
        )
        if listed or all(_told_as_another(knowledge, found, one, mention, len(ordered)) for one in same):
            kept.append(mention)
        elif _named_besides(knowledge, found, same[0], mention):
            kept[kept.index(same[0])] = replace(same[0], also=(*same[0].also, mention.span))
    return kept


def _named_besides(knowledge: Knowledge, found: Found, one: Mention, other: Mention) -> bool:
    """True when a word for the same item stands in one list with another: the 모자 of "벨트 모자"."""
    terms = [span.term for span in (one.span, *one.also)]
    again = any(other.span.term in term or term in other.span.term for term in terms)
    if again or other.guessed or one.guessed or isinstance(other.subject, Ambiguity):
        return False
    last = one.also[-1] if one.also else one.span
    return together(knowledge, found, last, other.span) or signed(found, last, other.span)


def _listed(knowledge: Knowledge, found: Found, mentions: Sequence[Mention]) -> bool:
    """True when three things or more stand in one list, each by a name of its own."""
    run = [mentions[-1]]
    for one, other in reversed(list(pairwise(mentions))):
        if not (together(knowledge, found, one.span, other.span) or signed(found, one.span, other.span)):
            break
        run.append(one)
    same = [mention for mention in mentions[:-1] if _same(mention.subject, mentions[-1].subject)]
    return len(run) > 2 and len({m.span.term for m in run}) == len(run) and all(mention in run for mention in same)


def _renamed(found: Found, start: int, one: Mention, other: Mention) -> bool:
    """True when a word only says what the one before it is, in a list that has signs: "안약, 마데카솔 연고"."""
    signs = found.squashed.breaks or AND_THEN.search(found.squashed.text, start, other.span.end)
    return (
        bool(signs)
        and not is_word(one.span.term)
        and _same(one.subject, other.subject)
        and one.span.end == other.span.start
        and not signed(found, one.span, other.span)
    )


def _same(one: Item | Ambiguity, other: Item | Ambiguity) -> bool:
    """True when a word names again what another one did, as "장난감" after "소리 나는 장난감"."""
    if isinstance(one, Item) and isinstance(other, Ambiguity):
        return one.id in other.candidates
    return name_of(one) == name_of(other)


def _told_as_another(knowledge: Knowledge, found: Found, one: Mention, other: Mention, things: int) -> bool:
    """True when two words for one item name two things: a 공유기 and a 셋톱박스 of one list."""
    signs = signed(found, one.span, other.span)
    between = found.squashed.text[one.span.end : other.span.start]
    linked = signs or together(knowledge, found, one.span, other.span) or AND_THEN.search(between) is not None
    if one.span.term == other.span.term and found.squashed.text.startswith(COPULAS, other.span.end):
        return False
    if one.span.term == other.span.term or isinstance(other.subject, Ambiguity):
        return linked and bool(between) and one.situations != other.situations
    bare = not found.squashed.breaks and AND_THEN.search(found.squashed.text) is None
    return linked and (signs or bool(between) or (things > 2 and bare))


# --- words that the index does not know ------------------------------------------------------------------------------


def _with_unknown_words(
    knowledge: Knowledge, found: Found, known: Sequence[Mention]
) -> tuple[list[Mention], tuple[str, ...]]:
    """Compounds and typing errors: where nothing else is named, or told in one list with what is. Words of such a list
    that are close to no name are told as not understood."""
    words = index.content_words(found.squashed, [*found.nouns, *found.phrases], knowledge.no_things | knowledge.classes)
    if known:
        words = _beside(knowledge, found, words, [mention.span for mention in known])
    mentions: list[Mention] = []
    unread: list[Span] = []
    for word in words[:MOST_UNKNOWN]:
        if any(within(word, mention.span) for mention in mentions) or _left_out(knowledge, found, word):
            continue
        if known and _modifier(knowledge, found, word):
            continue
        term = matching.closest(knowledge, word.term, alone=not known or _broken(found, word))
        if term:
            span = Span(word.start, word.end, term)
            mention = Mention(subject(knowledge, found.squashed, span), span, guessed=word.term)
            mentions.append(mention)
        else:
            unread.append(word)
    unread = [word for word in unread if not any(within(word, m.span) or within(m.span, word) for m in mentions)]
    singles = [word for word in unread if not any(other != word and within(other, word) for other in unread)]
    told = tuple(word.term for word in singles) if known else ()
    known = [one for one in known if not any(_held_by(knowledge, found, one, other) for other in mentions)]
    ordered = sorted([*known, *(mentions if known else mentions[:3])], key=lambda mention: mention.span.start)
    return ordered, told


def _held_by(knowledge: Knowledge, found: Found, one: Mention, other: Mention) -> bool:
    """True when a thing only tells what a container is of whose name is not known: the 영양제 of "영양제 앰플통"."""
    container = other.span.term in knowledge.lexicon.korean.containers and one.span.end == other.span.start
    return container and not knowledge.dangerous(one.span.term) and not signed(found, one.span, other.span)


def _beside(knowledge: Knowledge, found: Found, words: Sequence[Span], known: Sequence[Span]) -> list[Span]:
    """The words that stand in one list with a known thing, or with another of these words."""
    listed, kept = list(known), list[Span]()
    kinds = re.compile(f"(?:{knowledge.lexicon.kinds}){{1,3}}")
    for word in words[: 2 * MOST_UNKNOWN]:
        near = any(
            neighbours(found.squashed, word, other)
            or (0 < word.start - other.end < NEAREST and kinds.fullmatch(found.squashed.text, other.end, word.start))
            for other in listed
        )
        if near:
            listed.append(word)
            kept.append(word)
    return kept


def _broken(found: Found, word: Span) -> bool:
    """True when the dictionary has no such word, so that it is misspelt or a new name."""
    return any(word.start <= token.start < word.end and token.tags[0] == "UNKNOWN" for token in found.tokens)


def _modifier(knowledge: Knowledge, found: Found, word: Span) -> bool:
    """True for the 오래된 of "오래된 달력", which names no thing."""
    last = next((token for token in found.tokens if token.start < word.end <= token.end), None)
    return word.term in knowledge.lexicon.korean.states or (last is not None and last.tags[-1] == "ETM")


def _left_out(knowledge: Knowledge, found: Found, word: Span) -> bool:
    """True when a word is only said not to be meant, to be where things go, or what is done with them."""
    rest = found.squashed.text[word.end :]
    if word.term.startswith(tuple(stem for stem in knowledge.lexicon.korean.verbs.dispose if len(stem) > 1)):
        return True
    return rest.startswith((*knowledge.lexicon.korean.excluded, "에", "으로", "로"))


def _guesses(knowledge: Knowledge, found: Found) -> tuple[list[Mention], tuple[Item, ...]]:
    loose = [noun for noun in knowledge.nouns(found.squashed, found.tokens, loose=True) if noun not in found.nouns]
    if loose:
        return [Mention(subject(knowledge, found.squashed, loose[0]), loose[0])], ()
    words = index.content_words(found.squashed, [*found.phrases, *found.nouns], knowledge.no_things)[:MOST]
    items, sure = matching.candidates(knowledge, [word.term for word in words])
    if sure:
        said = " ".join(word.term for word in words)
        return [Mention(items[0], Span(words[0].start, words[-1].end, said), guessed=said)], ()
    return [], items


def _material(knowledge: Knowledge, squashed: Squashed) -> str:
    """A material that is named, where nothing else is."""
    for material in knowledge.lexicon.materials.materials:
        if material.streams and any(word in squashed.text for word in material.said):
            return material.id
    return ""
