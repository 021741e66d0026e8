"""The vocabulary of data/words: roles of words in a sentence, apart from the names of items and situations."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated

from pydantic import BeforeValidator, Field

from eco2.knowledge.models import Model
from eco2.knowledge.words.text import normalize


def _normalized(words: object) -> object:
    return frozenset(normalize(str(word)) for word in words) if isinstance(words, list) else words


def _each_normalized(words: object) -> object:
    return tuple(normalize(str(word)) for word in words) if isinstance(words, list) else words


Said = Annotated[tuple[str, ...], BeforeValidator(_each_normalized), Field(min_length=1)]
Some = Annotated[tuple[str, ...], BeforeValidator(_each_normalized)]
Words = Annotated[frozenset[str], BeforeValidator(_normalized)]
"""A list of words in its file; a set of normalized words here."""


class Verbs(Model):
    contain: Words = frozenset()
    consume: Words = frozenset()
    buy: Words = frozenset()
    practise: Words = frozenset()
    emerge: Words = frozenset()
    put: Words = frozenset()
    sort: Words = frozenset()
    dispose: Words = frozenset()
    give: Words = frozenset()


class Nouns(Model):
    """Lists of words that both languages have."""

    places: Words = frozenset()
    parts: Words = frozenset()
    containers: Words = frozenset()
    soils: Words = frozenset()
    no_things: Words = frozenset()
    classes: Words = frozenset()
    excluded: Words = frozenset()
    spoiled: Words = frozenset()
    filled: Words = frozenset()
    dangers: Words = frozenset()


class Korean(Nouns):
    verbs: Verbs = Verbs()
    events: Words = frozenset()
    states: Words = frozenset()
    boxes: Words = frozenset()
    qualities: Words = frozenset()
    times: Words = frozenset()


class English(Nouns):
    into: Words = frozenset()
    has: Words = frozenset()
    buy: Words = frozenset()
    arrives: Words = frozenset()
    modifiers: Words = frozenset()
    heaps: Words = frozenset()


class Variant(Model):
    said: re.Pattern[str]
    meant: str


class Spelling(Model):
    """`real`: English words that stand near a name and are meant as they stand."""

    variants: tuple[Variant, ...] = ()
    real: Words = frozenset()


class Material(Model):
    """`streams`: where things of the material go, for those whose name does not tell."""

    id: str
    said: Said
    streams: tuple[str, ...] = ()


class Sibling(Model):
    """A quality that makes one of the items `of` the item `then`."""

    said: Said
    of: tuple[str, ...] = Field(min_length=1)
    then: str


class Materials(Model):
    materials: tuple[Material, ...] = ()
    siblings: tuple[Sibling, ...] = ()


class Name(Model):
    """Further words for an item: brands, and what people call it."""

    item: str
    ko: tuple[str, ...] = ()
    en: tuple[str, ...] = ()


class Names(Model):
    names: tuple[Name, ...] = ()


class Head(Model):
    """The last word of compounds whose first part no name knows. `usual`: the item of such a compound, "" where only
    a material tells it; `of`: items by material. `alone`: in a list it is a thing of its own; `bound`: of one
    syllable; `holds`: a container, whose content may be dangerous; `generic`: it takes no known thing before it that
    does not run on electricity."""

    said: Some = ()
    en: Some = ()
    usual: str = ""
    of: dict[str, str] = Field(default_factory=dict)
    powered: str = "small_appliance"
    alone: bool = False
    bound: bool = False
    holds: bool = False
    generic: bool = False


class Heads(Model):
    """`goods`: items by material for heads that name none of their own; `hazards`: words beside which no compound is
    made; `left`: words that tell that something is still in a container; `careful`: told of one whose content is not
    known."""

    heads: tuple[Head, ...] = ()
    goods: dict[str, str] = Field(default_factory=dict)
    made_of: dict[str, Words] = Field(default_factory=dict)
    powered: Words = frozenset()
    hazards: Words = frozenset()
    plain: Words = frozenset()
    left: Words = frozenset()
    careful_ko: str = ""
    careful_en: str = ""

    @cached_property
    def by_word(self) -> Mapping[str, Head]:
        return {word: head for head in self.heads for word in (*head.said, *head.en)}

    @cached_property
    def longest(self) -> int:
        return max(map(len, self.by_word), default=0)

    def items(self) -> Iterator[str]:
        for head in self.heads:
            yield from filter(None, (head.usual, head.powered, *head.of.values()))
        yield from self.goods.values()


class Lexicon(Model):
    korean: Korean = Korean()
    english: English = English()
    spelling: Spelling = Spelling()
    materials: Materials = Materials()
    names: Names = Names()
    heads: Heads = Heads()

    @cached_property
    def dangers_by_letter(self) -> Mapping[str, tuple[str, ...]]:
        """The words of danger in Korean by their first letter, the longest first."""
        found: dict[str, list[str]] = {}
        for word in sorted(self.korean.dangers, key=lambda word: (-len(word), word)):
            found.setdefault(word[0], []).append(word)
        return {letter: tuple(words) for letter, words in found.items()}

    @cached_property
    def kinds(self) -> str:
        """A pattern of all words of materials, the longest first."""
        said = {word for material in self.materials.materials for word in material.said}
        return "|".join(sorted(said, key=lambda word: (-len(word), word))) or "(?!)"


def problems(lexicon: Lexicon, items: frozenset[str], streams: frozenset[str]) -> Iterator[str]:
    """References of the vocabulary to items and streams that are not there, and ids that are there twice."""
    for sibling in lexicon.materials.siblings:
        unknown = {*sibling.of, sibling.then} - items
        yield from (f"words/materials.yaml: siblings.{sibling.then}: no item {item!r}" for item in sorted(unknown))
    for name in lexicon.names.names:
        if name.item not in items:
            yield f"words/names.yaml: names.{name.item}: no such item"
    unknown = set(lexicon.heads.items()) - items
    yield from (f"words/heads.yaml: heads: no item {item!r}" for item in sorted(unknown))
    for material in lexicon.materials.materials:
        missing = set(material.streams) - streams
        yield from (f"words/materials.yaml: materials.{material.id}: no stream {one!r}" for one in sorted(missing))
