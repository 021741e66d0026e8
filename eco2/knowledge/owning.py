"""Attribution of situations to the items of a sentence."""

from collections.abc import Sequence
from dataclasses import replace

from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.mentions import Found, Mention, signed, within
from eco2.knowledge.models import Ambiguity, Item
from eco2.knowledge.words.clauses import AND, CHAINED
from eco2.knowledge.words.text import Span, is_hangul, phrase_spans

LOOSE = frozenset(("out", "up", "off", "down", "old", "empty", "aa", "used", "my", "big", "small", "dead"))
"""Between an English adjective and its noun: "a burnt out tube"."""


def with_situations(knowledge: Knowledge, found: Found, mentions: Sequence[Mention]) -> list[Mention]:
    if not mentions:
        return []
    owned: list[set[str]] = [set() for _ in mentions]
    for span in [*found.phrases, *_dangers_in_parts(knowledge, found, mentions)]:
        owned[_owner(found, mentions, span)].add(span.term)
    for n in range(1, len(mentions)):
        # "곰팡이 핀 이불이랑 옷": what is said of the first entry of a list holds for its like.
        if not owned[n] and _alike(mentions[n - 1].subject, mentions[n].subject):
            owned[n] |= owned[n - 1] if _share(found, mentions[n - 1].span, mentions[n].span) else set()
    told = [tuple(knowledge.situations_of(keywords)) for keywords in owned]
    return [replace(mention, situations=told[n]) for n, mention in enumerate(mentions)]


def _dangers_in_parts(knowledge: Knowledge, found: Found, mentions: Sequence[Mention]) -> list[Span]:
    """Phrases of safety that are part of the name of something else: the "bulging battery" of a phone."""
    parts = [noun for noun in found.nouns if not any(within(noun, m.span) for m in mentions)]
    phrases = phrase_spans(found.squashed, knowledge.dangers) if parts else ()
    return [phrase for phrase in phrases if any(within(phrase, noun) for noun in parts)]


def _share(found: Found, one: Span, other: Span) -> bool:
    """True when what is said before one noun holds for the next: "곰팡이 핀 이불이랑 옷"; not "젖은 상자, 책"."""
    between = found.squashed.text[one.end : other.start]
    return not signed(found, one, other) and (between in AND or between in ("and", "s", "sand", "esand"))


def _alike(one: Item | Ambiguity, other: Item | Ambiguity) -> bool:
    return isinstance(one, Item) and isinstance(other, Item) and one.stream == other.stream


def _owner(found: Found, mentions: Sequence[Mention], phrase: Span) -> int:
    """The thing that a phrase is said of. A verb with an adnominal ending belongs to the noun after it ("깨진 유리컵"),
    another one to the noun before it ("유리컵이 깨졌어요")."""
    later = [n for n, mention in enumerate(mentions) if mention.span.start >= phrase.end]
    earlier = [n for n, mention in enumerate(mentions) if mention.span.start < phrase.end]
    if not later or not earlier:
        return later[0] if later else earlier[-1]
    signs = found.squashed.breaks | found.squashed.stops
    before = any(mentions[earlier[-1]].span.end <= place <= phrase.start for place in signs)
    after = any(phrase.end <= place <= mentions[later[0]].span.start for place in signs)
    if before != after:
        return later[0] if before else earlier[-1]
    return later[0] if _modifies(found, phrase, mentions[later[0]].span) else earlier[-1]


def _modifies(found: Found, phrase: Span, noun: Span) -> bool:
    """True when a phrase ends in an adnominal ending and no other noun or sentence stands between it and a noun."""
    squashed = found.squashed
    if any(phrase.end <= place <= noun.start for place in squashed.stops):
        return False
    if not is_hangul(phrase.term[0]):
        words = [token.surface for token in found.tokens if phrase.end <= token.start < noun.start]
        return len(words) <= 2 and all(word in LOOSE for word in words)
    last = [token for token in found.tokens if token.start < phrase.end and token.end > phrase.start]
    between = [token for token in found.tokens if phrase.end <= token.start < noun.start]
    tags = [token for token in [*last[-1:], *between] if token.tags[0] != "VX"]
    for token in tags:
        if token.tags[-1] == "ETM":
            return all(
                other.tags[-1] in ("ETM", "MM", "MAG", "NNG", "XPN", "NR", "SN", "NNBC")
                for other in tags[tags.index(token) + 1 :]
            )
        if token.tags[-1] in ("EC", "EF") and not token.surface.endswith(CHAINED):
            return False
    return not between and bool(last) and last[-1].noun
