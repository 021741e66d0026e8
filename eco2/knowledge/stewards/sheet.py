"""The knowledge base for a data steward: one item in full, and the changes between two states of the files."""

from collections.abc import Iterator, Mapping
from typing import Any

from eco2.knowledge.answer import decide, exception_text
from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.loading import entry_name
from eco2.knowledge.models import Item

Json = dict[str, Any]


def of(knowledge: Knowledge, item: Item) -> dict[str, str | list[str]]:
    """Everything known about an item, by heading."""
    stream, rule = knowledge.stream(item.stream), knowledge.rule(item.stream)
    found = item.classification
    rows: dict[str, str | list[str]] = {
        "item": f"{item.id}: {item.ko} / {item.en} ({item.confidence})",
        "class": f"{found.major_category} > {found.middle_category} > {found.minor_category}",
        "stream": f"{stream.id}: {stream.ko} / {stream.en}",
        "may also go to": list(item.alt_streams),
        "called": [", ".join((*item.aliases, *item.aliases_en))],
        "where": [item.where_ko or stream.where_ko, item.where_en or stream.where_en],
        "steps": [*item.steps_ko, *(step.ko for step in rule.steps if step.code not in item.skip)],
        "steps in English": [*item.steps_en, *(step.en for step in rule.steps if step.code not in item.skip)],
        "do not": [*item.dont_ko, *rule.dont_ko],
        "note": [item.note_ko, item.note_en],
        "exceptions": [
            f"{exception_text(case, 'ko')} → {case.then}"
            for case in rule.exceptions
            if case.condition and (not case.condition.items or item.id in case.condition.items)
        ],
        "situations": list(_situations(knowledge, item)),
        "districts": [
            f"{region.id}: {override.ko}" + (f" → {override.then}" if override.then else "")
            for region in knowledge.regions.values()
            for override in region.overrides
            if override.item == item.id or override.stream == item.stream
        ],
        "sources": [
            f"{name}: {knowledge.sources[name].title}"
            for name in dict.fromkeys((*item.sources, *rule.sources))
            if name in knowledge.sources
        ],
    }
    return {name: value for name, value in rows.items() if any(value)}


def _situations(knowledge: Knowledge, item: Item) -> Iterator[str]:
    for situation in knowledge.by_precedence(list(knowledge.situations.values())):
        if knowledge.applies(situation, item, item.stream):
            outcome = decide(knowledge, item, [situation])
            moved = f" → {outcome.stream}" if outcome.stream != item.stream else ""
            yield f"{situation.id} ({situation.kind}): {situation.ko}{moved}"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Changes between two states of the files, a line for each record that came, went or differs."""
    return [line for name in sorted({*before, *after}) for line in _changed(name, before.get(name), after.get(name))]


def _changed(place: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            within = f"{place}.{key}" if ": " in place else f"{place}: {key}"
            yield from _changed(within, old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _changed_list(place, old, new)
    elif old is None:
        yield f"+ {place}: {_short(new)}"
    elif new is None:
        yield f"- {place}: {_short(old)}"
    else:
        yield f"~ {place}: {_short(old)} → {_short(new)}"


def _changed_list(place: str, old: list[Any], new: list[Any]) -> Iterator[str]:
    named_old, named_new = _by_name(old), _by_name(new)
    if named_old is None or named_new is None:
        gone = [entry for entry in old if entry not in new]
        come = [entry for entry in new if entry not in old]
        yield from (f"- {place}: {_short(entry)}" for entry in gone)
        yield from (f"+ {place}: {_short(entry)}" for entry in come)
        if not gone and not come:
            yield f"~ {place}: in another order"
        return
    for name in dict.fromkeys((*named_old, *named_new)):
        yield from _changed(f"{place}.{name}", named_old.get(name), named_new.get(name))


def _by_name(entries: list[Any]) -> Json | None:
    """The records of a list by their names; None where they have none."""
    named = {entry_name(entry): entry for entry in entries if isinstance(entry, dict)}
    return named if len(named) == len(entries) and "" not in named else None


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("ko") or value.get("term") or value.get("title") or ", ".join(map(str, value)))
    return str(value)
