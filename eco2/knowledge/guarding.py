"""Dangers that a sentence names and that nothing else would answer.

Whatever part a dangerous thing plays in its sentence, it gets a section of its own: unless it is said not to be there
(any more), only tells what something was used for, or is answered with the thing that holds it. Words of danger that
are no name of a thing are told as not understood, so that none of them gets lost."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from eco2.knowledge.knowledge import DANGEROUS, Knowledge
from eco2.knowledge.mentions import Found, Mention, overlap
from eco2.knowledge.models import Item
from eco2.knowledge.words.clauses import AND
from eco2.knowledge.words.korean import Part
from eco2.knowledge.words.text import Span, is_hangul
from eco2.knowledge.words.tokens import plain

NEAR = 12
"""Letters of Hangul, after a thing, that may tell it is not there."""
BEHIND = 2
"""Letters between a battery and what is told of it: "건전지가 새는"."""
BACK, AHEAD = 4, 3
"""Words of English before and after a thing that may tell the same."""
ALIKE = frozenset(("battery_bin", "lamp_bin", "medicine_box"))
"""Streams whose things may be told together: of two chemicals each has its own dangers."""
STEP = "BATTERY"
"""The step of a rule that tells of the battery of a thing; an item that skips it has none, or tells of it itself."""
DAMAGED = re.compile(
    r"새[는어나요]|샌(?!드|들|달)|샜|누액|(?:액|용액)이?(?:흐|나|샌|새)|찢|터진|터졌|깨진|"
    r"leak|torn|burst|punctur|damaged|crack|corrod"
)
"""Around a battery that has a danger of its own, of which the section of its device says nothing."""
FUEL = "fuel"
"""Item of which a trace on a cloth is a danger of its own."""
SOAKED = frozenset(("soaked", "drenched", "saturated", "dripping", "wet"))
BATTERIES = "battery"
"""Group of batteries."""
POURED = frozenset(("pour", "dump", "mix", "flush", "use"))
DEVICES = frozenset(("small_ewaste_bin", "ewaste_pickup"))
HARMLESS: tuple[Part, ...] = ("not", "option", "tool", "bought", "into")
_PARTICLE = r"(?:들|류)?(?:이|가|은|는|을|를|도|까지)?"
_HOW = r"(?:이미|다|먼저|전부|모두|미리|따로|벌써|좀|조금|살짝|잔뜩|많이|완전히)*"
GONE = re.compile(
    _PARTICLE + _HOW + r"(?:없|안[들담남있]|빼[고낸놓둔뒀서]|뺐|뺀|제거|분리[된해했하]|꺼냈|꺼낸|버렸|버린|비웠|비운|"
    r"쓴|썼|쓰고|떼[낸어고]|뗀|뗐|말고|아니)"
)
"""After a thing that is not there (any more)."""
TRACE = re.compile(
    r"(?:이|가|을|를|로|으로|에)?"
    + _HOW
    + r"(?:묻|굳|튀[어었긴]|물든|물들|배[었인어]|밴|뱄|닦|칠[한했하해]|바른|바르|발라|발린|쏟|흘린|흘렸|"
    r"얼룩|자국|냄새|범벅|스며|스민)"
)
"""After a thing of which only a trace is left on another one."""
PURPOSE = re.compile(
    r"용|(?:이|가|을|를|에)?(?:담|넣|꽂|보관하|보관용|정리하|쓰|먹|뿌리|치|자르|켜|끼우|들어가|파|꽂아두|넣어두|붙이|마시)는|"
    r"(?:을|를)?(?:먹|마시|마신|사용한|사용했|맞은|맞고|맞을|뿌린|친)"
)
"""After a thing that another one is made or was used for: "건전지 넣는 시계"."""
HOLDS = re.compile(r"(?:이|가)?(?:든(?!지)|들어|담긴|담겨|가득)")
"""After a thing that is in a container now, whose name may be read together with it."""
WITHOUT = frozenset(("without", "no", "not", "isnt", "arent", "minus", "except", "excluding", "never"))
TRACES = frozenset(
    ("stained", "covered", "splattered", "smeared", "painted", "dyed", "dirty", "stain", "smells", "like")
)
HELD = frozenset(("held", "contained", "had", "stored"))
WITH = frozenset(("left", "full", "of"))
REMOVED = frozenset(("removed", "gone", "missing", "excluded"))
TRACE_WORDS = frozenset(("stain", "stains", "residue", "marks", "mark", "smell", "smudge", "smudges"))
KINDS = frozenset(
    (
        *("powered", "operated", "free", "proof", "shaped", "style", "themed", "patterned", "coloured", "colored"),
        *("resistant", "print", "printed", "scented"),
    )
)
FILLED = frozenset(("filled", "stuffed", "packed", "loaded", "stocked", "crammed", "mixed", "left", "sealed", "full"))


def unanswered(knowledge: Knowledge, found: Found, mentions: Sequence[Mention]) -> list[Span]:
    """The dangerous things of a sentence that none of its mentions answers."""
    left: list[Span] = []
    for span in found.names:
        if not grave(knowledge, span.term) or any(_named(knowledge, found, span, mention) for mention in mentions):
            continue
        if any(_answers(knowledge, span, one) for one in mentions) or _powers(knowledge, found, span, mentions):
            continue
        if _excused(knowledge, found, span, mentions):
            continue
        if not any(set(knowledge.terms[span.term]) & set(knowledge.terms[other.term]) for other in left):
            left.append(span)
    return left


def dangers_of(knowledge: Knowledge, found: Found, mentions: Sequence[Mention]) -> tuple[str, ...]:
    """The words of danger that belong to no thing or state of the sentence."""
    taken = [*found.names, *found.nouns, *found.phrases, *(mention.span for mention in mentions)]
    spans = [one for one in _said(knowledge, found) if not any(overlap(one, other) for other in taken)]
    return tuple(dict.fromkeys(span.term for span in spans if not _gone(knowledge, found, span)))


@lru_cache(maxsize=8192)
def grave(knowledge: Knowledge, term: str) -> bool:
    """True when a word names nothing but what may hurt somebody, or nearly always that."""
    items = knowledge.named(term)
    usual = knowledge.question(term).default if len(items) > 1 else None
    return all(map(_hurts, [knowledge.item(usual)] if usual else items))


def _hurts(item: Item) -> bool:
    return item.stream in DANGEROUS or bool(item.care)


def _named(knowledge: Knowledge, found: Found, span: Span, mention: Mention) -> bool:
    """True when a mention is about the words of a danger: also by a longer name, which tells of something else."""
    if not overlap(span, mention.span):
        return False
    text = found.squashed.text[span.end : mention.span.end]
    if is_hangul(span.term[0]) and HOLDS.match(text) and "던" not in text:
        return any(situation.target_stream in DANGEROUS for situation in mention.situations)
    return mention.span.term != span.term or not {item.id for item in knowledge.named(span.term)}.isdisjoint(
        item.id for item in _items(knowledge, mention)
    )


def _answers(knowledge: Knowledge, span: Span, mention: Mention) -> bool:
    """True when a section about a mention tells of a danger: it is the same thing, or one that is told alike."""
    subject = mention.subject
    names = (subject.id,) if isinstance(subject, Item) else subject.candidates
    items = knowledge.named(span.term)
    if span.term in mention.span.term or not {item.id for item in items}.isdisjoint(names):
        return True
    alike = {item.stream for item in items} & {knowledge.item(name).stream for name in names} & ALIKE
    return bool(alike)


def _powers(knowledge: Knowledge, found: Found, span: Span, mentions: Sequence[Mention]) -> bool:
    """True when a battery is that of the nearest thing, whose section tells of it."""
    if not mentions or any(item.group != BATTERIES for item in knowledge.named(span.term)):
        return False
    nearest = min(mentions, key=lambda mention: max(span.start - mention.span.end, mention.span.start - span.end))
    items = [item for item in _items(knowledge, nearest) if _tells_of_battery(item)]
    near = Span(span.start, span.end + BEHIND, span.term)
    if DAMAGED.search(found.squashed.text[max(0, span.start - NEAR) : span.end + NEAR]):
        return False
    told = knowledge.situations_of({phrase.term for phrase in found.phrases if overlap(phrase, near)})
    if any(s.kind == "safety" and not any(knowledge.applies(s, i, i.stream) for i in items) for s in told):
        return False  # its own danger
    moved = (s.target_stream for s in nearest.situations for i in items if knowledge.applies(s, i, i.stream))
    return not DEVICES.isdisjoint({*(item.stream for item in items), *moved})


def _tells_of_battery(item: Item) -> bool:
    own = " ".join((*item.steps_en, item.note_en, item.where_en, *item.dont_en)).lower()
    return STEP not in item.skip or "batter" in own


def _items(knowledge: Knowledge, mention: Mention) -> list[Item]:
    return knowledge.choices([mention.subject])


def _excused(knowledge: Knowledge, found: Found, span: Span, mentions: Sequence[Mention]) -> bool:
    noun = next((noun for noun in found.nouns if overlap(noun, span)), None)
    part = found.parts.get(noun) if noun else None
    if part in HARMLESS and not _beside(found, span):
        return True
    if part == "part":
        told = [phrase for phrase in found.phrases if overlap(phrase, span)]
        words = {situation.id for phrase in told for situation in knowledge.situations_of({phrase.term})}
        if any(
            situation.id in words and _applies(knowledge, mention, situation.id)
            for mention in mentions
            for situation in mention.situations
        ):
            return True
    return _gone(knowledge, found, span)


def _applies(knowledge: Knowledge, mention: Mention, name: str) -> bool:
    situation = knowledge.situations[name]
    return any(knowledge.applies(situation, item, item.stream) for item in _items(knowledge, mention))


def _beside(found: Found, span: Span) -> bool:
    """True when something is thrown away together with a thing: "건전지랑 같이"; in English, kept in something."""
    if is_hangul(span.term[0]):
        return found.squashed.text.startswith(tuple(word for word in AND if len(word) > 1 or word == "랑"), span.end)
    following = _after(found, span)[:1]
    return following in (["in"], ["inside"])


def _gone(knowledge: Knowledge, found: Found, span: Span) -> bool:
    """True when a thing is not there (any more), has only left a trace, or is what another one is for."""
    burns = span.term in knowledge.terms and any(item.id == FUEL for item in knowledge.named(span.term))
    if is_hangul(span.term[0]):
        text = found.squashed.text
        if any(pattern.match(text, span.end) for pattern in (GONE, PURPOSE)):
            return True
        if TRACE.match(text, span.end) and not burns:
            return True
        follows = min((noun.start for noun in found.nouns if noun.start >= span.end), default=len(text))
        return "던" in text[span.end : min(follows, span.end + NEAR)]
    before, after = _before(knowledge, found, span), _after(found, span)
    if burns and not SOAKED.isdisjoint(before[-2:]):
        return False
    if after[:1] and after[0] in KINDS | TRACE_WORDS:
        return True
    if after[:1] == ["on"] and after[1:2] in (["it"], ["them"], ["its"]):
        return True
    if before[-2:] == ["together", "with"] and any(token.surface in POURED for token in found.tokens):
        return True
    if not REMOVED.isdisjoint(after) or after[:2] in (["taken", "out"], ["is", "out"], ["are", "out"]):
        return True
    if not WITHOUT.isdisjoint(before[-2:]) or not TRACES.isdisjoint(before[-3:]):
        return True
    if not HELD.isdisjoint(before[-2:]) or before[-3:-1] == ["used", "to"]:
        return True
    if len(before) > 1 and before[-1] in ("with", "by"):
        return before[-2] not in FILLED and (
            before[-2].endswith(("ed", "ing")) or before[-2] in ("cut", "lit", "burnt")
        )
    return False


def _before(knowledge: Knowledge, found: Found, span: Span) -> list[str]:
    """The words before a thing, back to a sign, without articles and adjectives."""
    words: list[str] = []
    signs = found.squashed.breaks | found.squashed.stops
    for token in reversed([token for token in found.tokens if token.end <= span.start]):
        if len(words) == BACK or token.end in signs:
            break
        if token.surface not in knowledge.lexicon.english.modifiers - WITH:
            words.insert(0, token.surface)
    return words


def _after(found: Found, span: Span) -> list[str]:
    words: list[str] = []
    signs = found.squashed.breaks | found.squashed.stops
    for token in found.tokens:
        if token.start < span.end:
            continue
        if len(words) == AHEAD or token.start in signs:
            break
        words.append(token.surface)
    return words[1:] if words[:1] == ["s"] else words


def _said(knowledge: Knowledge, found: Found) -> Iterator[Span]:
    text, lexicon = found.squashed.text, knowledge.lexicon
    for start in sorted({*found.squashed.starts, *(token.start for token in found.tokens)}):
        for word in lexicon.dangers_by_letter.get(text[start : start + 1], ()):
            if text.startswith(word, start):
                yield Span(start, start + len(word), word)
                break
    for token in found.tokens:
        if token.surface[0].isascii() and not lexicon.english.dangers.isdisjoint((token.surface, plain(token.surface))):
            yield Span(token.start, token.end, token.surface)
