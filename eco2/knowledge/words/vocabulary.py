"""The words that name each entry of the taxonomy: names, aliases, variants of spelling, plurals."""

import re
from collections import defaultdict
from collections.abc import Iterator

from eco2.knowledge.models import (
    Ambiguity,
    ItemRecord,
    Taxonomy,
)
from eco2.knowledge.words.lexicon import Heads, Lexicon, Names
from eco2.knowledge.words.text import normalize


def records(taxonomy: Taxonomy) -> list[ItemRecord]:
    return [record for group in taxonomy.groups for record in group.items]


def claimed_words(taxonomy: Taxonomy) -> dict[str, list[str]]:
    """Normalized word -> the items that claim it as name, English name or alias."""
    claims: dict[str, list[str]] = defaultdict(list)
    for record in records(taxonomy):
        for word in (record.ko, record.en, *record.aliases, *record.aliases_en):
            claims[normalize(word)].append(record.id)
    return claims


def class_words(taxonomy: Taxonomy, lexicon: Lexicon) -> Iterator[str]:
    """Names that people give a stream in "is it …?"."""
    yield from lexicon.korean.classes | lexicon.english.classes
    for stream in taxonomy.streams:
        yield from (normalize(stream.ko), normalize(stream.en))


def words_of(entry: Ambiguity) -> list[str]:
    return [normalize(word) for word in (entry.term, *entry.terms_en)]


def terms_of(taxonomy: Taxonomy, more: Names) -> dict[str, tuple[str, ...]]:
    """Word -> items. A declared ambiguity names all its candidates, unless the word is an item's own name. `more`:
    brands and the like, where no item claims the word."""
    proper = {normalize(record.ko) for record in records(taxonomy)}
    terms = {word: tuple(ids) for word, ids in claimed_words(taxonomy).items()}
    for entry in taxonomy.ambiguous:
        terms |= {word: entry.candidates for word in words_of(entry) if word not in proper}
    for record in records(taxonomy):
        for part in map(normalize, _parts(record.en)):
            terms.setdefault(part, (record.id,))
    for name in more.names:
        for word in (*name.ko, *name.en):
            terms.setdefault(normalize(word), (name.item,))
    variants = {variant: terms[word] for word in terms for variant in _variants(word)}
    return {**variants, **terms}


def _parts(name: str) -> Iterator[str]:
    """The names in "laptop or tablet" and in "wine or spirits bottle"."""
    parts = re.split(r",\s*(?:or\s+)?|\s+or\s+", name)
    head = parts[-1].split()[-1]
    for part in parts if len(parts) > 1 else ():
        yield part if part.endswith(head) or " " not in parts[-1] else f"{part} {head}"


SYNONYMS = (
    ("껍질", "껍데기"),
    ("상자", "박스"),
    ("봉지", "봉투"),
    ("통", "용기"),
    ("계란", "달걀"),
    ("휴대폰", "핸드폰"),
    ("드라이기", "드라이어"),
    ("바디", "보디"),
    ("can", "tin"),
)


def _variants(word: str) -> Iterator[str]:
    """Other ways to say a name: parts of it by their synonyms, English plurals."""
    yield from _numbers(word)
    for one, other in SYNONYMS:
        for said, variant in ((one, other), (other, one)):
            if len(word) > len(said) and (
                word.endswith(said) or (len(said) > 1 and not said.isascii() and word.startswith(said))
            ):
                yield word.replace(said, variant)


def _numbers(word: str) -> Iterator[str]:
    """English plurals that are not only an added s, and the singular of a plural."""
    if not word.isascii() or not word.isalpha() or len(word) < 4:
        return
    for ending, plural in (("fe", "ves"), ("lf", "lves"), ("af", "aves"), ("y", "ies")):
        if word.endswith(ending) and (ending != "y" or word[-2] not in "aeiou"):
            yield word.removesuffix(ending) + plural
    if word.endswith("ies"):
        yield word.removesuffix("ies") + "y"
    elif word.endswith("s") and not word.endswith(("ss", "ves")):  # to leave is no leaf
        yield word.removesuffix("s")


COMPOUND = "뷁"
"""Before the terms of compounds of no name of their own: a syllable that no word begins with."""


def compound(item_id: str, head: str) -> str:
    return f"{COMPOUND}{item_id}{head}"


def compounds_of(heads: Heads) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Term -> item of every compound that a head can make."""
    for head in heads.heads:
        by_material = {**heads.goods, **head.of}
        items = {head.usual, head.powered, *by_material.values()} - {""}
        yield from ((compound(item, said), (item,)) for said in (*head.said, *head.en) for item in sorted(items))
