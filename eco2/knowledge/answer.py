"""From an item and what is known about it to the advice a person gets, in Korean or English."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from pydantic import BaseModel

from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import (
    GENERAL_BAG,
    Ambiguity,
    DropOff,
    Item,
    Override,
    Region,
    RuleException,
    Situation,
    UnknownAnswer,
)
from eco2.knowledge.reading import subjects
from eco2.knowledge.words.text import supposing, topic

MAX_STEPS = 10
MAX_NAMED = 3  # candidates or further items named in one answer

Lang = Literal["ko", "en"]


@dataclass(frozen=True)
class Outcome:
    """The stream that an item ends in, and what changed it, if anything did."""

    stream: str
    cause: Situation | RuleException | Override | None = None


@dataclass(frozen=True)
class Advice:
    """Everything there is to say about one item in its situations. `exceptions` are those that may yet apply."""

    item: Item
    outcome: Outcome
    situations: tuple[Situation, ...]
    overrides: tuple[Override, ...]
    exceptions: tuple[RuleException, ...]
    steps: tuple[str, ...]
    faults: tuple[str, ...]
    donts: tuple[str, ...]


def localized(model: BaseModel, field: str, lang: Lang) -> str:
    """The text of a field in a language; "" where it has none."""
    return str(getattr(model, f"{field}_{lang}" if field else lang, ""))


def listed(model: BaseModel, field: str, lang: Lang) -> tuple[str, ...]:
    return tuple(getattr(model, f"{field}_{lang}"))


# --- where an item goes ---------------------------------------------------------------------------------------------


def decide(knowledge: Knowledge, item: Item, situations: Sequence[Situation], region: Region | None = None) -> Outcome:
    """Safety first, then what reroutes, then the rule's exceptions, then what the district does its own way.

    Of each the first that applies and leads to another stream decides; no other kind of situation does."""
    for situation in knowledge.by_precedence(list(situations)):
        target = situation.target_stream
        if target and target != item.stream and knowledge.applies(situation, item, item.stream):
            return Outcome(target, situation)
    for case in _exceptions(knowledge, item):
        if case.condition and case.then != item.stream and _holds(case, situations):
            return Outcome(case.then, case)
    for override in overrides(knowledge, item, item.stream, region):
        if override.then:  # a gu may keep to the national way where the city above it does not
            return Outcome(override.then, override if override.then != item.stream else None)
    return Outcome(item.stream)


def _exceptions(knowledge: Knowledge, item: Item) -> list[RuleException]:
    """The exceptions of the item's rule that are about it."""
    conditions = [(case, case.condition) for case in knowledge.rule(item.stream).exceptions]
    return [case for case, condition in conditions if condition and (not condition.items or item.id in condition.items)]


def _holds(case: RuleException, situations: Sequence[Situation]) -> bool:
    wanted = case.condition.situations if case.condition else ()
    return any(situation.id in wanted for situation in situations)


def overrides(knowledge: Knowledge, item: Item, stream: str, region: Region | None) -> list[Override]:
    """What a district, and the region above it, says of its own about the item: the nearest and narrowest first."""
    found: list[Override] = []
    while region:
        about = [o for o in region.overrides if o.item == item.id or (o.item is None and o.stream == stream)]
        found += sorted(about, key=lambda override: override.item is None)
        region = knowledge.regions.get(region.part_of or "")
    return found


def varies(knowledge: Knowledge, item: Item) -> bool:
    """Whether it is known that districts treat the item differently."""
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
    """Safety steps come first, then what the situations ask for, the item's own steps, the stream's. A rerouted item
    gets the target stream's steps and only the care and preparation that still matter there."""
    outcome = decide(knowledge, item, situations, region)
    relevant = [
        situation
        for situation in knowledge.by_precedence(list(situations))
        if situation == outcome.cause or knowledge.applies(situation, item, outcome.stream)
    ]
    rerouted = outcome.stream != item.stream
    rule = knowledge.rule(outcome.stream)
    own = () if rerouted else listed(item, "dont", lang)
    return Advice(
        item=item,
        outcome=outcome,
        situations=tuple(relevant),
        overrides=tuple(overrides(knowledge, item, item.stream, region)),
        exceptions=()
        if rerouted
        else tuple(c for c in _exceptions(knowledge, item) if c.condition and c.condition.items),
        steps=tuple(_unique(_steps(knowledge, item, outcome.stream, relevant, lang))[:MAX_STEPS]),
        faults=tuple(_unique(_faults(outcome, relevant, lang))),
        donts=tuple(_unique([*own, *listed(rule, "dont", lang)])),
    )


def _steps(
    knowledge: Knowledge, item: Item, stream_id: str, relevant: Sequence[Situation], lang: Lang
) -> Iterator[str]:
    rerouted = stream_id != item.stream
    rule = knowledge.rule(stream_id)
    codes = {step.code for step in rule.steps}
    for situation in relevant:
        if situation.id not in item.skip and codes.isdisjoint(situation.covered_by):
            yield localized(situation, "step", lang)
    own = listed(item, "steps", lang)
    yield from own[: item.care] if rerouted else own
    for step in rule.steps:
        if rerouted or step.code not in item.skip:
            yield localized(step, "", lang)


def _faults(outcome: Outcome, relevant: Sequence[Situation], lang: Lang) -> Iterator[str]:
    for situation in relevant:
        if situation.kind == "safety" or situation.target_stream is None or situation == outcome.cause:
            yield localized(situation, "fault", lang)


def unrewarded(
    knowledge: Knowledge, item: Item, situations: Sequence[Situation], outcome: Outcome, lang: Lang = "ko"
) -> str:
    """Why bringing a recyclable there is nothing to celebrate yet, "" where it is: a situation of safety applies, it
    has to be booked or asked about first, or it ends in a bag after all."""
    for danger in (situation for situation in situations if situation.kind == "safety"):
        if any(knowledge.applies(danger, item, stream) for stream in (item.stream, outcome.stream)):
            return localized(danger, "fault", lang)
    stream = knowledge.stream(outcome.stream)
    if stream.fault_ko or stream.kind != "bag":
        return localized(stream, "fault", lang)
    cause, faults = outcome.cause, [localized(situation, "fault", lang) for situation in situations]
    reason = localized(cause, "", lang) if isinstance(cause, Override) else next(filter(None, faults), "")
    return reason or localized(stream, "where", lang)


def compose_answer(
    knowledge: Knowledge,
    item: Item,
    situations: Sequence[Situation],
    user_input: str | None,
    *,
    lang: Lang = "ko",
    region: Region | None = None,
) -> dict[str, object]:
    """`{"disposal_steps": {"단계1": …}, "insufficiencies": […], "user_answer": …}`."""
    advice = advise(knowledge, item, situations, lang, region)
    said = [text for text in remarks(knowledge, advice, lang) if text]
    sentences = [*lead(knowledge, advice, lang), *said]
    named = [subject for subject in subjects(knowledge, user_input or "") if isinstance(subject, Item)]
    others = [other for other in named if other.id != item.id][:MAX_NAMED]
    also = "함께 말씀하신 " if lang == "ko" else "You also asked: "
    sentences += [f"{also}{_where(knowledge, other, other.stream, lang)}" for other in others]
    cause = advice.outcome.cause
    why = [localized(cause, "", lang)] if isinstance(cause, RuleException) else []
    first = placement(knowledge, item, advice.outcome.stream, lang)
    # Clients may show the steps alone, so whatever restricts them or warns stands there too.
    steps = [first, *advice.steps, *listed(item, "dont", lang), *why, *said]
    return _answer(steps, advice.faults, sentences)


def placement(knowledge: Knowledge, item: Item, stream_id: str, lang: Lang) -> str:
    """The first step: where it goes, and that this is not the general bag, which clients take for the place of
    everything but recyclables. "" for recycling at the kerb and for the bag itself."""
    stream, recyclable = knowledge.stream(stream_id), knowledge.taxonomy.recyclable_major
    if stream.id == GENERAL_BAG:
        return ""
    if stream.kind == "recycle" and item.classification.major_category == recyclable:
        return ""
    own = stream_id == item.stream
    if own and (first := localized(item, "first", lang)):
        return first
    where = localized(item, "where", lang) if own else ""
    first = localized(stream, "first", lang)
    if first and not where:
        return first
    return f"{localized(knowledge.taxonomy, 'no_bag', lang)} {where or localized(stream, 'where', lang)}"


def lead(knowledge: Knowledge, advice: Advice, lang: Lang) -> Iterator[str]:
    """Where it goes, why there if that is not the usual way, and what is not done yet."""
    item, outcome = advice.item, advice.outcome
    if outcome.cause is None:
        yield _where(knowledge, item, outcome.stream, lang)
        yield from (f"다만 {fault}" if lang == "ko" else f"But: {fault}" for fault in advice.faults[:1])
    elif isinstance(outcome.cause, Situation):
        why = localized(outcome.cause, "why", lang)
        where = _where(knowledge, item, outcome.stream, lang, rerouted=True)
        yield f"{why} 이 {where}" if lang == "ko" else f"{why} {where}"
    else:
        yield _where(knowledge, item, outcome.stream, lang, rerouted=True)
        yield localized(outcome.cause, "", lang)


def remarks(knowledge: Knowledge, advice: Advice, lang: Lang) -> Iterator[str]:
    """What else matters: what the situations say, what the district does, the item's note or the first "do not"."""
    yield from (localized(situation, "say", lang) for situation in advice.situations)
    yield from (localized(override, "", lang) for override in advice.overrides)
    if advice.outcome.cause is None:
        note = localized(advice.item, "note", lang)
        yield note or "".join(listed(knowledge.rule(advice.outcome.stream), "dont", lang)[:1])


def _where(knowledge: Knowledge, item: Item, stream_id: str, lang: Lang, *, rerouted: bool = False) -> str:
    stream = knowledge.stream(stream_id)
    own = "" if rerouted else localized(item, "where", lang)
    if lang == "ko":
        return f"{topic(item.ko)} {own or stream.where_ko}"
    return f"{item.en[:1].upper()}{item.en[1:]}: {own or stream.where_en or f'it goes to {stream.en}.'}"


def exception_text(case: RuleException, lang: Lang) -> str:
    when = case.when if lang == "ko" else case.when_en
    return f"{when}: {localized(case, '', lang)}" if when else ""


def drop_offs(knowledge: Knowledge, item: Item, stream_id: str) -> list[DropOff]:
    """The kinds of places that take the item, those that name it first."""
    about = [place for place in knowledge.drop_offs if item.id in place.items or stream_id in place.streams]
    return sorted(about, key=lambda place: item.id not in place.items)


def compose_unknown(
    knowledge: Knowledge,
    candidates: Sequence[Item],
    user_input: str | None = None,
    *,
    situations: Sequence[Situation] = (),
    waste: bool = True,
    lang: Lang = "ko",
    region: Region | None = None,
) -> dict[str, object]:
    """The same shape where there is no item: where each candidate goes, how to photograph it (again), and a question.

    The question is about the words if they name something, else about the candidates. Without `waste` the photo
    shows nothing to throw away. What is dangerous comes before everything else that is to be done."""
    unknown = knowledge.situation_book.unknown
    case = unknown.unclear if waste else unknown.no_waste
    question = _question(unknown, subjects(knowledge, user_input or ""), candidates, lang)
    dangers = _dangers(knowledge, candidates, situations, lang)
    sentences = [*dangers, localized(case, "lead", lang), question or localized(case, "ask", lang)]
    each = [_candidate(knowledge, item, situations, lang, region) for item in candidates]
    hold = [localized(unknown, "hold", lang)] if candidates else []
    steps = [*hold, *dangers, *each, *listed(case, "steps", lang)]
    return _answer(steps, [localized(case, "fault", lang)], sentences)


def _dangers(
    knowledge: Knowledge, candidates: Sequence[Item], situations: Sequence[Situation], lang: Lang
) -> list[str]:
    """Two sentences at most about what is dangerous in what was said or seen, whichever candidate it is."""

    def concerns(situation: Situation) -> bool:
        if not candidates:  # what only prepares a thing, such as letting gas out, needs to know the thing
            return situation.target_stream is not None
        return any(knowledge.applies(situation, item, item.stream) for item in candidates)

    about = [situation for situation in situations if situation.kind == "safety" and concerns(situation)]
    steps = _unique(localized(situation, "step", lang) for situation in about)
    return _unique([*steps[:1], " ".join(steps[1:])])


def _candidate(
    knowledge: Knowledge, item: Item, situations: Sequence[Situation], lang: Lang, region: Region | None
) -> str:
    stream = knowledge.stream(decide(knowledge, item, situations, region).stream)
    own = localized(item, "where", lang) if stream.id == item.stream else ""
    where = placement(knowledge, item, stream.id, lang) or own or localized(stream, "where", lang)
    name = supposing(item.ko) if lang == "ko" else item.en
    template = localized(knowledge.situation_book.unknown, "candidate", lang)
    return template.format(name=name, stream=localized(stream, "", lang), where=where)


def _question(unknown: UnknownAnswer, about: Sequence[Item | Ambiguity], candidates: Sequence[Item], lang: Lang) -> str:
    if len(about) > 1:
        named = [localized(subject, "", lang) if isinstance(subject, Item) else subject.term for subject in about]
        return localized(unknown, "several", lang).format(names=", ".join(named))
    for subject in about:
        if isinstance(subject, Ambiguity):
            return ask_which(names_of(candidates, lang, subject), unknown, subject, lang)
    names = names_of(candidates[:MAX_NAMED], lang)
    return localized(unknown, "guesses", lang).format(names=names) if names else ""


def names_of(items: Sequence[Item], lang: Lang, of: Ambiguity | None = None) -> str:
    return ", ".join(localized(item, "", lang) for item in items if of is None or item.id in of.candidates)


def ask_which(names: str, unknown: UnknownAnswer, ambiguity: Ambiguity, lang: Lang) -> str:
    return localized(unknown, "ambiguous", lang).format(question=localized(ambiguity, "ask", lang), names=names)


def _answer(steps: Iterable[str], faults: Sequence[str], sentences: Iterable[str]) -> dict[str, object]:
    numbered = {f"단계{n}": step for n, step in enumerate(_unique(steps)[:MAX_STEPS], start=1)}
    return {
        "disposal_steps": numbered,
        "insufficiencies": list(faults),
        "user_answer": " ".join(_unique(sentences)),
    }


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))


def disposal_rules(knowledge: Knowledge, item: Item) -> dict[str, object]:
    """The rule of the item's stream in the shape clients know; to be read, since it is made once."""
    return _disposal_rules(knowledge, item.id)


@lru_cache(maxsize=1024)
def _disposal_rules(knowledge: Knowledge, item_id: str) -> dict[str, object]:
    item = knowledge.item(item_id)
    stream, rule = knowledge.stream(item.stream), knowledge.rule(item.stream)
    neighbours = [other for other in knowledge.items.values() if other.stream == stream.id]
    kinds = dict.fromkeys(other.group for other in neighbours)
    titles = {group.id: group.ko for group in knowledge.taxonomy.groups}
    basis = [law.ko for law in knowledge.rulebook.legal_basis if law.id in rule.basis]
    return {
        "key": stream.id,
        "category": item.classification.major_category,
        "이름": stream.ko,
        "대상_품목": [other.ko for other in neighbours],
        "대상_설명": [*rule.do_ko, *rule.regional_ko, *(f"근거: {title}" for title in basis)],
        "세부_품목": {titles[kind]: [n.ko for n in neighbours if n.group == kind] for kind in kinds},
        "배출방법_공통": [step.ko for step in rule.steps],
        "배출방법_세부": {item.ko: _unique([*item.steps_ko, item.note_ko])},
        "배출불가_품목_안내": {
            **{case.when: case.ko for case in rule.exceptions},
            **({"하지 말 것": " ".join(rule.dont_ko)} if rule.dont_ko else {}),
        },
        "아이콘_절차": [knowledge.rulebook.step_labels[step.code] for step in rule.steps],
        "source_url": knowledge.rulebook.guide_url,
    }


def categories(knowledge: Knowledge) -> list[dict[str, object]]:
    """One entry for each major class: `{id, name, display_name, instructions}`."""
    return [
        {
            "id": major.id,
            "name": major.name,
            "display_name": major.display_ko,
            "instructions": list(major.instructions_ko),
        }
        for major in knowledge.taxonomy.majors
    ]
