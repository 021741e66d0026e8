"""The loaded knowledge base: looking up items, streams and situations."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from re import Pattern

from eco2.knowledge.models import (
    Ambiguity,
    Character,
    Item,
    Rule,
    Rulebook,
    Scope,
    Situation,
    SituationBook,
    Stream,
    Taxonomy,
)
from eco2.knowledge.text import Span, Squashed, listed, longest, normalize, phrase_spans, squash, term_spans


@dataclass(frozen=True)
class Knowledge:
    version: str
    taxonomy: Taxonomy
    rulebook: Rulebook
    situation_book: SituationBook
    items: Mapping[str, Item]
    streams: Mapping[str, Stream]
    rules: Mapping[str, Rule]
    situations: Mapping[str, Situation]
    characters: tuple[Character, ...]
    terms: Mapping[str, tuple[str, ...]]  # normalized word -> ids of the items it names
    phrases: Mapping[str, Pattern[str]] = field(repr=False)  # situation keyword -> its pattern

    def item(self, item_id: str) -> Item:
        return self.items[item_id]

    def stream(self, stream_id: str) -> Stream:
        return self.streams[stream_id]

    def rule(self, stream_id: str) -> Rule:
        return self.rules[stream_id]

    def ambiguity(self, text: str) -> Ambiguity | None:
        """The question to ask when the text is a word for several items."""
        word = normalize(text)
        return next((entry for entry in self.taxonomy.ambiguous if normalize(entry.term) == word), None)

    def resolve(self, text: str) -> Item | None:
        """The one item with this id, name or alias, whatever its case and spacing; None when ambiguous."""
        if text.strip() in self.items:
            return self.items[text.strip()]
        ids = self.terms.get(normalize(text), ())
        return self.items[ids[0]] if len(ids) == 1 else None

    def find(self, text: str) -> list[Item]:
        """The items named in a sentence, in order; an ambiguous word yields all its candidates.

        Where words overlap the longest wins, also against the words of a situation: "기름 묻은 피자박스"
        holds a pizza box, not cooking oil."""
        ids = [item_id for found in self._named(text) for item_id in found]
        return [self.items[item_id] for item_id in dict.fromkeys(ids)]

    def mentions(self, text: str) -> list[Item]:
        """Like find, without the words that could mean several items."""
        ids = [found[0] for found in self._named(text) if len(found) == 1]
        return [self.items[item_id] for item_id in dict.fromkeys(ids)]

    def subjects(self, text: str) -> list[Item | Ambiguity]:
        """What a sentence asks about: the things it names, each an item or the question that tells which one.

        A word that could mean several items counts where no word is clear, or as part of a list: the lid of
        "생수병인데 뚜껑은요?" is no second thing, the bottle of "캔이랑 유리병" is one."""
        squashed = squash(text)
        spans = self._spans(squashed)
        together = listed(squashed, spans)
        meant = [span for span in spans if len(self.terms[span.term]) == 1 or span in together] or spans[:1]
        return [self._subject(term) for term in {self.terms[span.term]: span.term for span in meant}.values()]

    def _subject(self, term: str) -> Item | Ambiguity:
        ids = self.terms[term]
        if len(ids) == 1:
            return self.items[ids[0]]
        return next(entry for entry in self.taxonomy.ambiguous if normalize(entry.term) == term)

    def choices(self, subjects: Iterable[Item | Ambiguity]) -> list[Item]:
        """The items that the subjects of a sentence can be."""
        ids = [i for subject in subjects for i in ([subject.id] if isinstance(subject, Item) else subject.candidates)]
        return [self.items[item_id] for item_id in dict.fromkeys(ids)]

    def search(self, text: str) -> list[Item]:
        """The items with a name or alias that contains the text, best first; without a text all of them."""
        if not text.strip():
            return list(self.items.values())
        part = normalize(text)
        words = sorted(
            (word for word in self.terms if part and part in word),
            key=lambda word: (word != part, not word.startswith(part), len(word)),
        )
        return [self.items[item_id] for item_id in dict.fromkeys(i for word in words for i in self.terms[word])]

    def _named(self, text: str) -> list[tuple[str, ...]]:
        return [self.terms[span.term] for span in self._spans(squash(text))]

    def _spans(self, squashed: Squashed) -> list[Span]:
        """The words that name items, in order."""
        spans = longest([*term_spans(squashed, self.terms), *phrase_spans(squashed, self.phrases)])
        return [span for span in spans if span.term in self.terms]

    def situations_in(self, text: str) -> list[Situation]:
        """The situations whose keywords occur in a sentence, in order of precedence."""
        said = {span.term for span in phrase_spans(squash(text), self.phrases)}
        return self.by_precedence([s for s in self.situations.values() if not said.isdisjoint(s.keywords)])

    def by_precedence(self, situations: list[Situation]) -> list[Situation]:
        return sorted(situations, key=lambda s: self.situation_book.precedence.index(s.kind))

    def applies(self, situation: Situation, item: Item, stream_id: str) -> bool:
        """Whether the situation says something about the item on its way into the stream."""
        scopes = (self.situation_book.scopes[name] for name in situation.applies_to)
        return any(_in_scope(scope, item.id, stream_id) for scope in scopes)


def _in_scope(scope: Scope, item_id: str, stream_id: str) -> bool:
    everything = not scope.streams and not scope.items
    listed = stream_id in scope.streams or item_id in scope.items
    return (everything or listed) and item_id not in scope.except_items
