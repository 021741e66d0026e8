"""The stages of a scan as plain functions: look at the photo, find the rule, write the answer, decide the reward.

Each takes the output of the stage before and returns that of its own; none knows queues, tables or JSON.
"""

from collections.abc import Sequence
from dataclasses import replace

from eco2 import knowledge as kb
from eco2.knowledge import Item, Knowledge, Situation, attribution, recognising
from eco2.knowledge.answer import listed, localized
from eco2.knowledge.composing import MAX_NAMED, MAX_STEPS
from eco2.scan import outputs
from eco2.scan.audience import ANYBODY, Audience
from eco2.scan.candidates import of_material, options, shows
from eco2.scan.classified import classification, situations_of, stream
from eco2.scan.outputs import FinalAnswer, Other, OtherThing, Reward, Rule, VisionResult

RECYCLABLE = "재활용폐기물"
NO_WASTE = "not_waste"  # the situation of a photo that shows nothing to throw away


def match(knowledge: Knowledge, seen: VisionResult, user_input: str | None, audience: Audience = ANYBODY) -> Rule:
    """From photo and words to an item with its rule, or to the candidates that the user chooses from."""
    shown = knowledge.item(seen.item_id) if seen.item_id else None
    called = attribution.called(knowledge, user_input, shown, audience.region)
    item = called.item
    rule = rule_of(knowledge, item, user_input, seen.situations, waste=seen.waste, audience=audience)
    others = [_other(knowledge, other, audience) for other in seen.others if other.item_id in knowledge.items]
    if item is None:
        rule = replace(rule, candidates=options(knowledge, called.choices, seen))
        if not called.choices:
            rule = of_material(knowledge, rule, seen, audience)
    else:
        rule = replace(rule, shown=shows(knowledge, seen, item))
        named = attribution.told(knowledge, user_input, item, audience.region).others[:MAX_NAMED]
        told = [Other(one.item.id, 0.0, tuple(s.id for s in one.situations)) for one in named]
        others += [
            _other(knowledge, one, audience) for one in told if one.item_id not in {o.item_id for o in seen.others}
        ]
    return replace(rule, others=tuple(others))


def _other(knowledge: Knowledge, other: Other, audience: Audience) -> OtherThing:
    """Another item in the photo; the user's words are about the main one."""
    rule = rule_of(knowledge, knowledge.item(other.item_id), None, other.situations, audience=audience)
    return OtherThing(
        classification_result=classification(knowledge, rule, None),
        disposal_rules=rule.disposal_rules,
        final_answer=answer(knowledge, rule, None, audience),
        stream=stream(knowledge, rule),
        confidence=other.confidence,
    )


def rule_of(
    knowledge: Knowledge,
    item: Item | None,
    user_input: str | None,
    visible: Sequence[str] = (),
    *,
    waste: bool = True,
    audience: Audience = ANYBODY,
) -> Rule:
    """The rule of the item; without one, the user has to choose. `visible`: ids of situations seen."""
    visible = visible if waste else (NO_WASTE, *visible)
    said = list(_told(knowledge, item, user_input, audience))
    seen = [knowledge.situations[name] for name in visible if name in knowledge.situations]
    situations = knowledge.by_precedence([*said, *(situation for situation in seen if situation not in said)])
    stream_id = kb.decide(knowledge, item, situations, audience.region).stream if item else None
    return Rule(
        item_id=item.id if item else None,
        stream_id=stream_id,
        needs_choice=item is None,
        situations=tuple(situation.id for situation in situations),
        disposal_rules=kb.disposal_rules(knowledge, item) if item else None,
        candidates=(),
        waste=waste,
    )


def _told(knowledge: Knowledge, item: Item | None, user_input: str | None, audience: Audience) -> Sequence[Situation]:
    """Situations of the thing in the words: a lamp that is named beside it breaks no glass."""
    if item is not None:
        return attribution.told(knowledge, user_input, item, audience.region).situations
    return knowledge.situations_in(user_input) if user_input else ()


def answer(knowledge: Knowledge, rule: Rule, user_input: str | None, audience: Audience = ANYBODY) -> FinalAnswer:
    """The answer as the rules have it."""
    situations = situations_of(knowledge, rule)
    if rule.item_id is None:
        candidates = [item for option in rule.candidates if (item := knowledge.resolve(option.minor_category))]
        unknown = kb.compose_unknown(
            knowledge,
            candidates,
            user_input,
            situations=situations,
            waste=rule.waste,
            lang=audience.lang,
            region=audience.region,
            stream=knowledge.stream(rule.stream_id) if rule.material and rule.stream_id else None,
        )
        return _with_emergency(knowledge, outputs.read(FinalAnswer, unknown), user_input, audience)
    item = knowledge.item(rule.item_id)
    others = attribution.told(knowledge, user_input, item, audience.region).others[:MAX_NAMED]
    found = kb.compose_answer(knowledge, item, situations, others, lang=audience.lang, region=audience.region)
    composed = outputs.read(FinalAnswer, found)
    if not composed.insufficiencies and item.classification.major_category == RECYCLABLE:
        outcome = kb.decide(knowledge, item, situations, audience.region)
        why = kb.unrewarded(knowledge, item, situations, outcome, audience.lang)
        if not why and not rule.shown:
            unclear = knowledge.situation_book.unknown.unclear
            why = unclear.fault_ko if audience.lang == "ko" else unclear.fault_en
        composed = replace(composed, insufficiencies=(why,) if why else ())
    return _with_emergency(knowledge, composed, user_input, audience)


def _with_emergency(
    knowledge: Knowledge, composed: FinalAnswer, user_input: str | None, audience: Audience
) -> FinalAnswer:
    """The answer after the first steps in an emergency; it earns nothing."""
    emergency = recognising.emergency(knowledge, user_input)
    if emergency is None:
        return composed
    first, name = listed(emergency, "first", audience.lang), localized(emergency, "", audience.lang)
    steps = [" ".join(first), *composed.disposal_steps.values()]
    steps, rest = steps[: MAX_STEPS - 1], steps[MAX_STEPS - 1 :]
    steps += [" ".join(rest)] if rest else []  # each candidate keeps its place
    return FinalAnswer(
        disposal_steps={f"단계{n}": step for n, step in enumerate(steps, start=1)},
        insufficiencies=(name, *composed.insufficiencies),
        user_answer=" ".join([*first, composed.user_answer]),
    )


def unsure(rule: Rule) -> bool:
    """True when there is nothing to show: no item, none to choose from (any more), and nothing else in the photo."""
    return rule.item_id is None and (rule.none_of_these or not (rule.candidates or rule.others))


def reward(knowledge: Knowledge, rule: Rule, answered: FinalAnswer, audience: Audience = ANYBODY) -> Reward | None:
    """The character that the scan earns: a recyclable that was seen, with a rule, and nothing left undone."""
    undone = any(text.strip() for text in answered.insufficiencies)
    if rule.item_id is None or rule.stream_id is None or undone or not rule.waste or not rule.shown:
        return None
    item = knowledge.item(rule.item_id)
    found = item.classification
    outcome = kb.Outcome(rule.stream_id)
    if found.major_category != RECYCLABLE or kb.unrewarded(knowledge, item, situations_of(knowledge, rule), outcome):
        return None
    for character in knowledge.characters:
        if character.match == found.middle_category:
            return Reward(
                code=character.code,
                name=character.name,
                dialog=(audience.lang == "en" and character.dialog_en) or character.dialog,
                match_reason=f"{found.middle_category}>{found.minor_category}",
                type=character.type,
            )
    return None
