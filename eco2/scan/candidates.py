"""Candidates of an unsure scan, and the check that a photo confirms its user's words."""

from collections.abc import Sequence
from dataclasses import replace

from eco2 import knowledge as kb
from eco2.knowledge import Item, Knowledge, attribution
from eco2.scan.audience import Audience
from eco2.scan.outputs import Option, Rule, VisionResult

SHOWN = 0.2
"""Belief in the class of a thing, or one that looks like it, from which on a photo bears out what its user says. Most
photos have 0.2 to 1.0 of their own class; noise and flat colours have less than 0.1 of any."""

LOOK_ALIKES = (
    frozenset(("종이", "종이팩")),
    frozenset(("무색페트병", "플라스틱류", "비닐류")),
)
MAX_LOOK_ALIKES = 2
MAX_CANDIDATES = 7
"""Each has a step of the answer, of which there are ten."""
WORTH_SHOWING = 0.08
"""A guess of the photo below it looks like noise to the user, who gets the candidates to choose from."""


def of_material(knowledge: Knowledge, rule: Rule, seen: VisionResult, audience: Audience) -> Rule:
    """The rule with news of a sure material although the thing is not sure: where such things go, and the candidates
    that would change that."""
    items = [item for option in rule.candidates if (item := knowledge.resolve(option.minor_category))]
    of_it = [item for item in items if item.classification.middle_category == seen.category]
    if not of_it:
        return rule
    streams = {item.id: kb.decide(knowledge, item, (), audience.region).stream for item in items}
    usual = [item for item in of_it if knowledge.stream(streams[item.id]).kind == "recycle"]
    likely = (usual or of_it)[0]
    stream = streams[likely.id]
    differing = [option for option, item in zip(rule.candidates, items, strict=True) if streams[item.id] != stream]
    return replace(
        rule,
        stream_id=stream,
        material=likely.id,
        disposal_rules=kb.disposal_rules(knowledge, likely),
        candidates=tuple(differing) or rule.candidates,
    )


def shows(knowledge: Knowledge, seen: VisionResult | None, item: Item) -> bool:
    """True when the photo bears out that it shows the item: words alone earn nothing."""
    if seen is None or not seen.waste:
        return False
    if seen.item_id == item.id:
        return True
    middle = item.classification.middle_category
    alike = next((classes for classes in LOOK_ALIKES if middle in classes), {middle})
    beliefs = [guess.confidence for guess in seen.candidates if _middle(knowledge, guess.item_id) in alike]
    return sum(beliefs) >= SHOWN


def _middle(knowledge: Knowledge, item_id: str) -> str:
    item = knowledge.items.get(item_id)
    return item.classification.middle_category if item else ""


def options(knowledge: Knowledge, named: Sequence[Item], seen: VisionResult) -> tuple[Option, ...]:
    """Meanings of the words, with confidence 0 if the photo does not show them, then the items of the photo."""
    guesses = {guess.item_id: guess.confidence for guess in seen.candidates} if seen.waste else {}
    shown = [item_id for item_id, confidence in guesses.items() if confidence >= WORTH_SHOWING]
    ids = list(dict.fromkeys([*(item.id for item in named), *shown, *_look_alikes(knowledge, shown)]))[:MAX_CANDIDATES]
    return tuple(option(knowledge.item(item_id), guesses.get(item_id, 0.0)) for item_id in ids)


def _look_alikes(knowledge: Knowledge, shown: Sequence[str]) -> list[str]:
    """The dangerous things that look like one of the guesses."""
    alike = [name for group in knowledge.taxonomy.look_alikes if not set(group).isdisjoint(shown) for name in group]
    return [name for name in alike if attribution.dangerous(knowledge.item(name))][:MAX_LOOK_ALIKES]


def option(item: Item, confidence: float) -> Option:
    found = item.classification
    return Option(found.middle_category, found.minor_category, confidence)
