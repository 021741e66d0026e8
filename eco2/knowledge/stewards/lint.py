"""The linter of data stewards: faults that `load` refuses, and gaps that it accepts but a reader would miss."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from eco2.knowledge.answer import decide
from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.loading import KnowledgeError, load, names
from eco2.knowledge.models import Model
from eco2.knowledge.words.text import advises, normalize, says, stems

RULES, SITUATIONS, TAXONOMY = "rules.yaml", "situations.yaml", "taxonomy.yaml"


AT_THE_SHOP = {"retailer_takeback"}
"""Streams that end where a thing was bought, so that no place can be named."""


def check(directory: Path | None = None) -> list[str]:
    """Every problem of the knowledge base as "file: key: what"; none when it is clean."""
    try:
        knowledge = load(directory)
    except KnowledgeError as error:
        return list(error.problems)
    return list(lint(knowledge))


def documents(directory: Path) -> dict[str, Any]:
    """The parsed files of a folder by name, as they are."""
    return {name: yaml.load((directory / name).read_bytes(), Loader=yaml.CSafeLoader) for name in names(directory)}


def lint(knowledge: Knowledge) -> Iterator[str]:
    yield from _english(knowledge)
    yield from _sources(knowledge)
    yield from _references(knowledge)
    yield from _deposits(knowledge)
    yield from _places(knowledge)
    yield from _advice(knowledge)
    yield from _english_advice(knowledge)


def _english(knowledge: Knowledge) -> Iterator[str]:
    """Texts that only one language has."""
    book = knowledge.situation_book
    rules = {rule.stream: rule for rule in knowledge.rules.values()}
    records: list[tuple[str, str, Model]] = [
        *((TAXONOMY, item.id, item) for item in knowledge.items.values()),
        *((TAXONOMY, stream.id, stream) for stream in knowledge.streams.values()),
        *((TAXONOMY, entry.term, entry) for entry in knowledge.taxonomy.ambiguous),
        *((TAXONOMY, major.name, major) for major in knowledge.taxonomy.majors),
        *((RULES, name, rule) for name, rule in rules.items()),
        *((RULES, name, step) for name, rule in rules.items() for step in rule.steps),
        *((RULES, f"{name}.{case.when}", case) for name, rule in rules.items() for case in rule.exceptions),
        *((RULES, law.id, law) for law in knowledge.rulebook.legal_basis),
        *((SITUATIONS, situation.id, situation) for situation in knowledge.situations.values()),
        *((SITUATIONS, "unknown", part) for part in (book.unknown, book.unknown.unclear, book.unknown.no_waste)),
        *((f"regions/{region.id}.yaml", region.id, region) for region in knowledge.regions.values()),
    ]
    for file, key, record in records:
        yield from (f"{file}: {key}: {field} is missing" for field in _untranslated(record))


def _untranslated(record: Model) -> Iterator[str]:
    """The names of fields that are empty in one language and not in the other."""
    values: Mapping[str, Any] = dict(record)
    pairs = [(name, name.removesuffix("_ko") + "_en") for name in values if name.endswith("_ko")]
    pairs += [("ko", "en"), ("when", "when_en"), ("keywords", "keywords_en")]
    for korean, english in pairs:
        if korean not in values or english not in values:
            continue
        left, right = values[korean], values[english]
        if bool(left) != bool(right):
            yield english if left else korean
        elif korean not in ("keywords", "bins_ko") and len(_listed(left)) != len(_listed(right)):
            yield f"an entry of {english if len(_listed(left)) > len(_listed(right)) else korean}"


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, tuple) else ()


def _sources(knowledge: Knowledge) -> Iterator[str]:
    for rule in knowledge.rules.values():
        if not rule.sources:
            yield f"{RULES}: {rule.stream}: has no source"
    for item in knowledge.items.values():
        if not item.sources and not knowledge.rule(item.stream).sources:
            yield f"{TAXONOMY}: {item.id}: has no source"
    for region in knowledge.regions.values():
        if not region.sources:
            yield f"regions/{region.id}.yaml: {region.id}: has no source"


def _references(knowledge: Knowledge) -> Iterator[str]:
    """Names in districts, drop-offs and exceptions that nothing has."""
    for region in knowledge.regions.values():
        place = f"regions/{region.id}.yaml: {region.id}"
        if region.part_of not in (None, *knowledge.regions):
            yield f"{place}: is part of unknown region {region.part_of}"
        for override in region.overrides:
            if override.item not in (None, *knowledge.items):
                yield f"{place}: unknown item {override.item}"
            for stream in (override.stream, override.then):
                if stream not in (None, *knowledge.streams):
                    yield f"{place}: unknown stream {stream}"
    named = [(f"{TAXONOMY}: {item.id}", item.sources) for item in knowledge.items.values()]
    named += [(f"{RULES}: {rule.stream}", rule.sources) for rule in knowledge.rules.values()]
    named += [(f"drop_offs.yaml: {place.id}", place.sources) for place in knowledge.drop_offs]
    named += [(f"regions/{region.id}.yaml: {region.id}", region.sources) for region in knowledge.regions.values()]
    for key, names_ in named:
        yield from (f"{key}: unknown source {name}" for name in names_ if name not in knowledge.sources)


def _deposits(knowledge: Knowledge) -> Iterator[str]:
    tiers = {tier.krw for tier in knowledge.rulebook.deposits}
    for item in knowledge.items.values():
        returned = item.stream == "bottle_return"
        if returned and item.deposit_krw not in tiers:
            yield f"{TAXONOMY}: {item.id}: deposit {item.deposit_krw} is in no tier of the deposit table"


def _places(knowledge: Knowledge) -> Iterator[str]:
    served = {stream for place in knowledge.drop_offs for stream in place.streams}
    for stream in knowledge.streams.values():
        if stream.kind in ("dropoff", "return") and stream.id not in served | AT_THE_SHOP:
            yield f"drop_offs.yaml: {stream.id}: no place takes it"


def _advice(knowledge: Knowledge) -> Iterator[str]:
    """The step of a situation against the rule of each stream in which it is told."""
    told = {
        (situation.id, decide(knowledge, item, [situation]).stream)
        for situation in knowledge.situations.values()
        if situation.step_ko
        for item in knowledge.items.values()
        if knowledge.applies(situation, item, item.stream)
    }
    for name, stream in sorted(told):
        step = knowledge.situations[name].step_ko
        plain = normalize(step)
        for words in knowledge.rule(stream).forbid:
            if says(plain, stems(words)):
                yield f'{SITUATIONS}: {name}: "{step}" is what {stream} forbids ({words})'


def _english_advice(knowledge: Knowledge) -> Iterator[str]:
    for item in knowledge.items.values():
        rule = knowledge.rule(item.stream)
        texts = [*item.steps_en, item.where_en, item.note_en, *(step.en for step in rule.steps), *rule.do_en]
        for words in (*rule.forbid_en, *item.forbid_en):
            for text in texts:
                if advises(text, words):
                    yield f'{TAXONOMY}: {item.id}: "{text}" tells people to do what {rule.stream} forbids ({words})'
