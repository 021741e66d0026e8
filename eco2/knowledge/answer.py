"""From an item with its situations to advice, in Korean or English."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel

from eco2.knowledge import forbidding
from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import (
    Classification,
    DropOff,
    Item,
    Override,
    Region,
    RuleException,
    Situation,
)

Lang = Literal["ko", "en"]


@dataclass(frozen=True)
class Outcome:
    """The stream that an item ends in, and what changed it, if anything did."""

    stream: str
    cause: Situation | RuleException | Override | None = None


@dataclass(frozen=True)
class Named:
    """A thing that was named, in the situations that were told of it."""

    item: Item
    situations: tuple[Situation, ...] = ()


@dataclass(frozen=True)
class Say:
    """A sentence or two of the rules. `id` names it within the advice about an item. `safety`: it is about danger and
    is never left out. `place`: it says no more than where the thing goes."""

    id: str
    text: str
    safety: bool = False
    place: bool = False


@dataclass(frozen=True)
class Advice:
    """Everything there is to say about one item in its situations. `exceptions` are those that may yet apply; `said`
    what the situations say, `warnings` what must not be done or may happen, `note` what is good to know."""

    item: Item
    outcome: Outcome
    situations: tuple[Situation, ...]
    overrides: tuple[Override, ...]
    exceptions: tuple[RuleException, ...]
    does: tuple[Say, ...]
    said: tuple[Say, ...]
    warnings: tuple[Say, ...]
    note: str
    faults: tuple[str, ...]
    donts: tuple[str, ...]

    @property
    def steps(self) -> tuple[str, ...]:
        return tuple(step.text for step in self.does)

    @property
    def safety(self) -> tuple[str, ...]:
        """The sentences that are never left out."""
        return tuple(say.text for say in (*self.does, *self.said, *self.warnings) if say.safety)


def localized(model: BaseModel, field: str, lang: Lang) -> str:
    """The text of a field in a language; "" where it has none."""
    return str(getattr(model, f"{field}_{lang}" if field else lang, ""))


def listed(model: BaseModel, field: str, lang: Lang) -> tuple[str, ...]:
    return tuple(getattr(model, f"{field}_{lang}"))


# --- where an item goes ---------------------------------------------------------------------------------------------


def decide(knowledge: Knowledge, item: Item, situations: Sequence[Situation], region: Region | None = None) -> Outcome:
    """Safety first, then what reroutes, then the rule's exceptions, then what the district does its own way.

    Of each the first that applies and leads to another stream decides; no other kind of situation does. What a district
    does with a thing in such a situation holds for it: a lamp that broke is a broken lamp."""
    for situation in knowledge.by_precedence(list(situations)):
        if situation.target_stream and knowledge.applies(situation, item, item.stream):
            target = _in_district(knowledge, situation, region) or situation.target_stream
            if target != item.stream:
                return Outcome(target, situation)
    for case in _exceptions(knowledge, item):
        if case.condition and case.then != item.stream and _holds(case, situations):
            return Outcome(case.then, case)
    for override in overrides(knowledge, item, item.stream, region):
        if override.then:  # a gu may keep to the national way where the city above it does not
            return Outcome(override.then, override if override.then != item.stream else None)
    return Outcome(item.stream)


def _in_district(knowledge: Knowledge, situation: Situation, region: Region | None) -> str | None:
    if situation.like is None:
        return None
    like = knowledge.item(situation.like)
    return next((o.then for o in overrides(knowledge, like, like.stream, region) if o.then), None)


def _exceptions(knowledge: Knowledge, item: Item) -> list[RuleException]:
    """The exceptions of the item's rule that are about it."""
    conditions = [(case, case.condition) for case in knowledge.rule(item.stream).exceptions]
    return [case for case, condition in conditions if condition and (not condition.items or item.id in condition.items)]


def _holds(case: RuleException, situations: Sequence[Situation]) -> bool:
    wanted = case.condition.situations if case.condition else ()
    return any(situation.id in wanted for situation in situations)


def overrides(knowledge: Knowledge, item: Item, stream: str, region: Region | None) -> list[Override]:
    """Sayings of a district, and of the region above it, about the item: the nearest and narrowest first."""
    found: list[Override] = []
    while region:
        about = [o for o in region.overrides if o.item == item.id or (o.item is None and o.stream == stream)]
        found += sorted(about, key=lambda override: override.item is None)
        region = knowledge.regions.get(region.part_of or "")
    return found


def varies(knowledge: Knowledge, item: Item) -> bool:
    """True where districts are known to treat the item differently."""
    about = (o for region in knowledge.regions.values() for o in region.overrides)
    return item.confidence != "high" or any(o.item == item.id or o.stream == item.stream for o in about)


# --- what to say about it -------------------------------------------------------------------------------------------


def advise(
    knowledge: Knowledge,
    item: Item,
    situations: Sequence[Situation],
    lang: Lang = "ko",
    region: Region | None = None,
) -> Advice:
    """Danger comes first and holds wherever the thing goes; then what the situations ask for, the item's
    own steps and the stream's. A rerouted item gets the target stream's steps. Whatever forbids the stream that was
    chosen, or sends a rerouted thing to another, is left out."""
    outcome = decide(knowledge, item, situations, region)
    relevant = [
        situation
        for situation in knowledge.by_precedence(list(situations))
        if situation == outcome.cause or _concerns(knowledge, situation, item, outcome.stream)
    ]
    relevant = _settled(relevant)
    rerouted = outcome.stream != item.stream

    def kept(says: Iterator[Say]) -> tuple[Say, ...]:
        return tuple(_kept(knowledge, outcome.stream, lang, says))

    districts = overrides(knowledge, item, item.stream, region)
    if isinstance(outcome.cause, Situation) and outcome.cause.like:
        like = knowledge.item(outcome.cause.like)
        districts = list(dict.fromkeys([*districts, *overrides(knowledge, like, like.stream, region)]))
    return Advice(
        item=item,
        outcome=outcome,
        situations=tuple(relevant),
        overrides=tuple(o for o in districts if o.then is None or o.then == outcome.stream),
        exceptions=()
        if rerouted
        else tuple(c for c in _exceptions(knowledge, item) if c.condition and c.condition.items),
        does=kept(_does(knowledge, item, outcome, relevant, lang)),
        said=kept(_said(outcome, relevant, lang)),
        warnings=kept(_warnings(knowledge, item, outcome, relevant, lang)),
        note="" if rerouted or item.warns else localized(item, "note", lang),
        faults=tuple(unique(_faults(outcome, relevant, lang))),
        donts=tuple(unique(_donts(knowledge, item, outcome, lang))),
    )


def _concerns(knowledge: Knowledge, situation: Situation, item: Item, stream_id: str) -> bool:
    """True where it says something about the item where it ends, or is about danger where it would have ended."""
    if knowledge.applies(situation, item, stream_id):
        return True
    return bool(situation.safety) and knowledge.applies(situation, item, item.stream)


def _settled(relevant: Sequence[Situation]) -> list[Situation]:
    """The situations without those whose advice would be wrong beside another."""
    wrong = {name for situation in relevant for name in situation.instead_of}
    return [situation for situation in relevant if situation.id not in wrong]


def _kept(knowledge: Knowledge, stream_id: str, lang: Lang, says: Iterable[Say]) -> Iterator[Say]:
    """Each once, without what forbids the stream."""
    seen: set[str] = set()
    for say in says:
        text = forbidding.allowed(knowledge, say.text, stream_id, lang)
        if text and text not in seen:
            seen.add(text)
            yield replace(say, text=text)


def _does(
    knowledge: Knowledge, item: Item, outcome: Outcome, relevant: Sequence[Situation], lang: Lang
) -> Iterator[Say]:
    """Steps: first those about danger, in the same order as the rest."""
    says = list(_every_step(knowledge, item, outcome, relevant, lang))
    yield from (say for say in says if say.safety)
    yield from (say for say in says if not say.safety)


def _every_step(
    knowledge: Knowledge, item: Item, outcome: Outcome, relevant: Sequence[Situation], lang: Lang
) -> Iterator[Say]:
    rerouted = outcome.stream != item.stream
    final = knowledge.rule(outcome.stream)
    codes = {step.code for step in final.steps}
    for situation in relevant:
        safety = "step" in situation.safety
        if situation.id not in item.skip and (safety or codes.isdisjoint(situation.covered_by)):
            yield Say(f"situation.{situation.id}.step", localized(situation, "step", lang), safety)
    for number, text in enumerate(listed(item, "steps", lang)):
        if number < item.care or not rerouted:
            yield Say(f"item.step.{number + 1}", text, number < item.care)
    wrong = {code for situation in relevant for code in situation.instead_of}
    for name in _on_the_way(item, outcome):
        for step in knowledge.rule(name).steps:
            skipped = step.code in item.skip and (name == item.stream or step.safety)
            if not skipped and step.code not in wrong and (step.safety or name == outcome.stream):
                yield Say(f"rule.{name}.step.{step.code}", localized(step, "", lang), step.safety, step.place)


def _on_the_way(item: Item, outcome: Outcome) -> list[str]:
    """The streams whose care holds: where the item belongs, where its situation sends it, where it ends."""
    target = outcome.cause.target_stream if isinstance(outcome.cause, Situation) else None
    return [name for name in dict.fromkeys((item.stream, target, outcome.stream)) if name]


def _said(outcome: Outcome, relevant: Sequence[Situation], lang: Lang) -> Iterator[Say]:
    """Sayings of the situations; that districts may differ is no news where the district has decided."""
    for situation in relevant:
        safety = "say" in situation.safety
        if safety or situation != outcome.cause or outcome.stream == situation.target_stream:
            yield Say(f"situation.{situation.id}.say", localized(situation, "say", lang), safety)


def _warnings(
    knowledge: Knowledge, item: Item, outcome: Outcome, relevant: Sequence[Situation], lang: Lang
) -> Iterator[Say]:
    """Warnings of the item's own texts; where they say nothing of danger, those of its stream."""
    own, rerouted = listed(item, "dont", lang), outcome.stream != item.stream
    yield from (Say(f"item.dont.{number}", text, safety=True) for number, text in enumerate(own, start=1))
    if item.warns and not any("note" in situation.instead_of for situation in relevant):
        note = localized(item, "note", lang)
        note = forbidding.of_no_other(knowledge, note, outcome.stream, lang) if rerouted else note
        yield Say("item.note", note, safety=True)
    if not (own or item.care or item.warns):
        rule = knowledge.rule(item.stream)
        for number, text in enumerate(listed(rule, "dont", lang)[: rule.care], start=1):
            yield Say(f"rule.{rule.stream}.dont.{number}", text, safety=True)


def _donts(knowledge: Knowledge, item: Item, outcome: Outcome, lang: Lang) -> Iterator[str]:
    """Things that must not be done: what is about danger also where the way changed."""
    texts = [*listed(item, "dont", lang)]
    if outcome.stream != item.stream:
        before = knowledge.rule(item.stream)
        texts += listed(before, "dont", lang)[: before.care]
    for text in [*texts, *listed(knowledge.rule(outcome.stream), "dont", lang)]:
        yield forbidding.allowed(knowledge, text, outcome.stream, lang)


def _faults(outcome: Outcome, relevant: Sequence[Situation], lang: Lang) -> Iterator[str]:
    for situation in relevant:
        if situation.kind == "safety" or situation.target_stream is None or situation == outcome.cause:
            yield localized(situation, "fault", lang)


def classified(knowledge: Knowledge, item: Item, stream_id: str) -> Classification:
    """The classes of an item where it goes: those of the stream that a situation or a district sends it to."""
    label = knowledge.stream(stream_id).class_label
    if stream_id == item.stream or label is None:
        return item.classification
    return Classification(major_category=label.major, middle_category=label.middle, minor_category=item.ko)


def unrewarded(
    knowledge: Knowledge, item: Item, situations: Sequence[Situation], outcome: Outcome, lang: Lang = "ko"
) -> str:
    """Reason not to celebrate bringing a recyclable there yet, "" without one: a situation of safety applies, it has
    to be booked or asked about first, or it ends in a bag after all."""
    for danger in (situation for situation in situations if situation.kind == "safety"):
        if any(knowledge.applies(danger, item, stream) for stream in (item.stream, outcome.stream)):
            return localized(danger, "fault", lang)
    stream = knowledge.stream(outcome.stream)
    if stream.fault_ko or stream.kind != "bag":
        return localized(stream, "fault", lang)
    cause, faults = outcome.cause, [localized(situation, "fault", lang) for situation in situations]
    reason = localized(cause, "", lang) if isinstance(cause, Override) else next(filter(None, faults), "")
    return reason or localized(stream, "where", lang)


def exception_text(case: RuleException, lang: Lang) -> str:
    when = case.when if lang == "ko" else case.when_en
    return f"{when}: {localized(case, '', lang)}" if when else ""


def drop_offs(knowledge: Knowledge, item: Item, stream_id: str) -> list[DropOff]:
    """The kinds of places that take the item, those that name it first."""
    about = [place for place in knowledge.drop_offs if item.id in place.items or stream_id in place.streams]
    return sorted(about, key=lambda place: item.id not in place.items)


def unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
