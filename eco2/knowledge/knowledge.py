"""The loaded knowledge base: looking up items, streams and situations."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from eco2.knowledge.models import (
    Ambiguity,
    Character,
    DropOff,
    EmergencyBook,
    Item,
    Region,
    Rule,
    Rulebook,
    Scope,
    Situation,
    SituationBook,
    Source,
    Stream,
    Taxonomy,
    TopicBook,
)
from eco2.knowledge.words.index import Index
from eco2.knowledge.words.lexicon import Lexicon
from eco2.knowledge.words.terms import spans
from eco2.knowledge.words.text import (
    Openings,
    Span,
    Squashed,
    bounded,
    by_opening,
    is_hangul,
    longest,
    normalize,
    phrase_spans,
    squash,
)
from eco2.knowledge.words.tokens import Token

DANGEROUS = frozenset(("battery_bin", "lamp_bin", "medicine_box", "hazard_box", "professional"))
"""Streams of things that hurt people in a bag or a press."""
POURED = frozenset(("milk_liquid", "paste_sauce", "noodles_soup"))
"""Food that is rinsed out of its container."""
FOOD = frozenset(("food", "not_food"))
"""Groups of what was eaten or drunk."""


@dataclass(frozen=True, eq=False)
class Knowledge:
    """One of a kind in its process, so what is worked out for it is remembered by its identity."""

    version: str
    taxonomy: Taxonomy
    rulebook: Rulebook
    situation_book: SituationBook
    items: Mapping[str, Item]
    streams: Mapping[str, Stream]
    rules: Mapping[str, Rule]
    situations: Mapping[str, Situation]
    characters: tuple[Character, ...]
    sources: Mapping[str, Source]
    drop_offs: tuple[DropOff, ...]
    regions: Mapping[str, Region]
    emergencies: EmergencyBook
    topics: TopicBook
    terms: Mapping[str, tuple[str, ...]] = field(repr=False)  # normalized word -> ids of the items it names
    phrases: Mapping[str, tuple[str, ...]] = field(repr=False)  # situation keyword -> its stems
    classes: frozenset[str]  # normalized names of streams that also name an item, like 음식물
    questions: Mapping[str, Ambiguity]  # normalized ambiguous word -> its question
    index: Index = field(repr=False)
    lexicon: Lexicon = field(repr=False)

    def item(self, item_id: str) -> Item:
        return self.items[item_id]

    def stream(self, stream_id: str) -> Stream:
        return self.streams[stream_id]

    def rule(self, stream_id: str) -> Rule:
        return self.rules[stream_id]

    def ambiguity(self, text: str) -> Ambiguity | None:
        """The question to ask when the text is a word for several items."""
        return self.questions.get(normalize(text))

    def resolve(self, text: str) -> Item | None:
        """The one item with this id, name or alias, whatever its case and spacing; None when ambiguous."""
        if text.strip() in self.items:
            return self.items[text.strip()]
        ids = self.terms.get(normalize(text), ())
        return self.items[ids[0]] if len(ids) == 1 else None

    def named(self, term: str) -> list[Item]:
        """The items that a normalized word names."""
        return [self.items[name] for name in self.terms[term]]

    def question(self, term: str) -> Ambiguity:
        """The question that tells the items apart that a normalized word of several items names."""
        if term in self.questions:
            return self.questions[term]
        return next(
            entry for entry in self.taxonomy.ambiguous if entry.candidates == self.terms[term]
        )  # a variant of it

    def choices(self, subjects: Iterable[Item | Ambiguity]) -> list[Item]:
        """The items that the subjects of a sentence can be."""
        ids = [i for subject in subjects for i in ([subject.id] if isinstance(subject, Item) else subject.candidates)]
        return [self.items[item_id] for item_id in dict.fromkeys(ids)]

    def nouns(self, squashed: Squashed, tokens: Sequence[Token], *, loose: bool = False) -> list[Span]:
        """The words that name items, in order. `loose`: also long ones that more is written to without a space."""
        found = longest(spans(squashed, tokens, self._words, self._word_lengths, signed=self._signed, loose=loose))
        return [part for span in found if span.term in self.terms for part in self._apart(squashed, span)]

    def _apart(self, squashed: Squashed, span: Span) -> Iterator[Span]:
        """Both things of a name that joins two ("키보드·마우스"), where they are written as two words."""
        for place in sorted(place for place in squashed.ends if span.start < place < span.end):
            if not is_hangul(span.term[0]):
                break
            one, other = span.term[: place - span.start], span.term[place - span.start :]
            if place in squashed.dots or not (one and other):
                continue
            alike = self.terms.get(one) == self.terms.get(other) == self.terms[span.term] and len(one) > 1 < len(other)
            generic = other in self.lexicon.korean.containers | self.lexicon.korean.parts
            if (alike and not generic) or (span.term in self.pairs and one in self.terms and other in self.terms):
                yield from (Span(span.start, place, one), Span(place, span.end, other))
                return
        yield span

    def phrases_in(self, squashed: Squashed, nouns: Sequence[Span], tokens: Sequence[Token]) -> list[Span]:
        """The phrases that name situations, in order, without those that are only part of a longer noun.

        "기름 묻은 피자박스" holds a pizza box, not cooking oil. `nouns`: what `nouns` finds in the text."""
        phrases = list(phrase_spans(squashed, self._openings, {token.start for token in tokens}))
        return [span for span in longest([*nouns, *phrases]) if span.term in self.phrases and span in phrases]

    def situations_in(self, text: str) -> list[Situation]:
        """The situations whose keywords occur in a sentence, in order of precedence."""
        said = {span.term for span in longest(phrase_spans(squash(bounded(text)), self._openings))}
        return self.situations_of(said)

    def situations_of(self, keywords: set[str]) -> list[Situation]:
        """The situations that have one of the keywords, in order of precedence."""
        named = {name for keyword in keywords for name in self._situations_by_keyword.get(keyword, ())}
        return self.by_precedence([situation for name, situation in self.situations.items() if name in named])

    @cached_property
    def goods_of(self) -> Mapping[str, frozenset[str]]:
        """Words of each material that tells of what a compound is made."""
        heads, said = self.lexicon.heads, {one.id: one.said for one in self.lexicon.materials.materials}
        return {one: frozenset(said.get(one, ())) | heads.made_of.get(one, frozenset()) for one in heads.goods}

    def dangerous(self, term: str) -> bool:
        """True when a word may name something that hurts people in a bag or a press."""
        return any(item.stream in DANGEROUS or item.care for item in self.named(term))

    def edible(self, term: str) -> bool:
        """True when a word only names food or drink, or what is left of it."""
        return all(item.group in FOOD for item in self.named(term))

    def solid(self, term: str) -> bool:
        """True when a word only names food that is emptied out of what it is in, not poured."""
        return self.edible(term) and not any(item.id in POURED for item in self.named(term))

    def warned(self, term: str) -> bool:
        """True when a word may name something dangerous, or something that has a warning of its own."""
        return self.dangerous(term) or any(item.warns or item.dont_ko for item in self.named(term))

    def medicine(self, term: str) -> bool:
        """True when a word only names medicines."""
        return all(item.stream == "medicine_box" for item in self.named(term))

    @cached_property
    def no_things(self) -> frozenset[str]:
        """Words that name nothing to throw away, and are no misspelt names either."""
        return self.lexicon.korean.no_things | self.lexicon.english.no_things

    @cached_property
    def materials(self) -> frozenset[str]:
        return frozenset(normalize(word) for material in self.lexicon.materials.materials for word in material.said)

    @cached_property
    def unsaid_kinds(self) -> re.Pattern[str]:
        """Materials that a thing is said not to be: "유리 말고"."""
        excluded = sorted(self.lexicon.korean.excluded, key=lambda word: (-len(word), word))
        return re.compile(rf"(?:{self.lexicon.kinds})(?:이|가|은|는)?(?:{'|'.join(excluded) or '(?!)'})")

    @cached_property
    def _words(self) -> frozenset[str]:
        """Names, and words that are none: "음식물봉투" is not about a bag."""
        return frozenset(self.terms) | {word for word in self.no_things if len(word) > 2}

    @cached_property
    def _signed(self) -> frozenset[str]:
        """Names that are written with commas or brackets."""
        names = (name for item in self.items.values() for name in (item.ko, item.en, *item.aliases, *item.aliases_en))
        return frozenset(normalize(name) for name in names if re.search(r"[,/&+(]", name))

    @cached_property
    def pairs(self) -> frozenset[str]:
        """Names of two things, as 기저귀·생리대."""
        return frozenset(normalize(item.ko) for item in self.items.values() if "·" in item.ko)

    @cached_property
    def _word_lengths(self) -> Mapping[str, Sequence[int]]:
        found: dict[str, set[int]] = {}
        for term in self._words:
            found.setdefault(term[0], set()).add(len(term))
        return {opening: sorted(lengths) for opening, lengths in found.items()}

    @cached_property
    def _openings(self) -> Openings:
        return by_opening(self.phrases)

    @cached_property
    def dangers(self) -> Openings:
        """The phrases of safety."""
        words = {word for s in self.situations.values() if s.kind == "safety" for word in (*s.keywords, *s.keywords_en)}
        return by_opening({word: self.phrases[word] for word in sorted(words)})

    @cached_property
    def _situations_by_keyword(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {}
        for name, situation in self.situations.items():
            for keyword in (*situation.keywords, *situation.keywords_en):
                found.setdefault(keyword, []).append(name)
        return found

    def by_precedence(self, situations: list[Situation]) -> list[Situation]:
        return sorted(situations, key=lambda s: self.situation_book.precedence.index(s.kind))

    def applies(self, situation: Situation, item: Item, stream_id: str) -> bool:
        """True when the situation says something about the item on its way into the stream."""
        scopes = (self.situation_book.scopes[name] for name in situation.applies_to)
        return any(_in_scope(scope, item.id, stream_id) for scope in scopes)


def _in_scope(scope: Scope, item_id: str, stream_id: str) -> bool:
    everything = not scope.streams and not scope.items
    listed = stream_id in scope.streams or item_id in scope.items
    return (everything or listed) and item_id not in scope.except_items
