"""The stages of a scan as plain functions: look at the photo, find the rule, write the answer, decide the reward.

Each takes the output of the stage before and returns that of its own; none knows queues, tables or JSON.
"""

from collections.abc import Sequence
from dataclasses import replace

from eco2 import knowledge as kb
from eco2.core.errors import NotFound
from eco2.knowledge import Item, Knowledge, Situation, attribution, recognising
from eco2.knowledge.answer import listed, localized
from eco2.knowledge.composing import MAX_NAMED, MAX_STEPS
from eco2.scan import outputs
from eco2.scan.audience import ANYBODY, Audience
from eco2.scan.outputs import (
    Classes,
    Classified,
    FinalAnswer,
    Meta,
    Option,
    Other,
    OtherThing,
    Reward,
    Rule,
    Stream,
    VisionResult,
)

RECYCLABLE = "재활용폐기물"
UNKNOWN = "미확인"
"""Class of a photo that could not be told; no class of the taxonomy has this name."""

NO_WASTE = "not_waste"  # the situation of a photo that shows nothing to throw away
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


class ImageGone(NotFound):
    """사진을 찾을 수 없어요. 사진을 다시 올려 주세요."""

    code = "IMAGE_NOT_FOUND"
    english = "The photo is not there. Upload it again."


def match(knowledge: Knowledge, seen: VisionResult, user_input: str | None, audience: Audience = ANYBODY) -> Rule:
    """From what was seen and said to an item with its rule, or to the candidates that the user chooses from."""
    shown = knowledge.item(seen.item_id) if seen.item_id else None
    called = attribution.called(knowledge, user_input, shown, audience.region)
    item = called.item
    rule = rule_of(knowledge, item, user_input, seen.situations, waste=seen.waste, audience=audience)
    others = [_other(knowledge, other, audience) for other in seen.others if other.item_id in knowledge.items]
    if item is None:
        rule = replace(rule, candidates=_candidates(knowledge, called.choices, seen))
        if not called.choices:
            rule = _of_material(knowledge, rule, seen, audience)
    else:
        rule = replace(rule, shown=shows(knowledge, seen, item))
        named = attribution.told(knowledge, user_input, item, audience.region).others[:MAX_NAMED]
        told = [Other(one.item.id, 0.0, tuple(s.id for s in one.situations)) for one in named]
        others += [
            _other(knowledge, one, audience) for one in told if one.item_id not in {o.item_id for o in seen.others}
        ]
    return replace(rule, others=tuple(others))


def _of_material(knowledge: Knowledge, rule: Rule, seen: VisionResult, audience: Audience) -> Rule:
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


def _other(knowledge: Knowledge, other: Other, audience: Audience) -> OtherThing:
    """Another thing in the photo: what the user said was about the main one."""
    rule = rule_of(knowledge, knowledge.item(other.item_id), None, other.situations, audience=audience)
    return OtherThing(
        classification_result=classification(knowledge, rule, None),
        disposal_rules=rule.disposal_rules,
        final_answer=answer(knowledge, rule, None, audience),
        stream=stream(knowledge, rule),
        confidence=other.confidence,
    )


def _candidates(knowledge: Knowledge, named: Sequence[Item], seen: VisionResult) -> tuple[Option, ...]:
    """Meanings of the words, with confidence 0 where the photo does not show it, then what the photo shows."""
    guesses = {guess.item_id: guess.confidence for guess in seen.candidates} if seen.waste else {}
    shown = [item_id for item_id, confidence in guesses.items() if confidence >= WORTH_SHOWING]
    ids = list(dict.fromkeys([*(item.id for item in named), *shown, *_look_alikes(knowledge, shown)]))[:MAX_CANDIDATES]
    return tuple(_option(knowledge.item(item_id), guesses.get(item_id, 0.0)) for item_id in ids)


def _look_alikes(knowledge: Knowledge, shown: Sequence[str]) -> list[str]:
    """The dangerous things that look like one of the guesses."""
    alike = [name for group in knowledge.taxonomy.look_alikes if not set(group).isdisjoint(shown) for name in group]
    return [name for name in alike if attribution.dangerous(knowledge.item(name))][:MAX_LOOK_ALIKES]


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


def _option(item: Item, confidence: float) -> Option:
    found = item.classification
    return Option(found.middle_category, found.minor_category, confidence)


def answer(knowledge: Knowledge, rule: Rule, user_input: str | None, audience: Audience = ANYBODY) -> FinalAnswer:
    """The answer as the rules have it."""
    situations = _situations(knowledge, rule)
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
    """The answer after what somebody in danger has to do first; it earns nothing."""
    emergency = recognising.emergency(knowledge, user_input)
    if emergency is None:
        return composed
    first, name = listed(emergency, "first", audience.lang), localized(emergency, "", audience.lang)
    steps = [" ".join(first), *composed.disposal_steps.values()]
    return FinalAnswer(
        disposal_steps={f"단계{n}": step for n, step in enumerate(steps[:MAX_STEPS], start=1)},
        insufficiencies=(name, *composed.insufficiencies),
        user_answer=" ".join([*first, composed.user_answer]),
    )


def _situations(knowledge: Knowledge, rule: Rule) -> Sequence[Situation]:
    """Those of a rule; one stored by another version may name some that are gone."""
    return [knowledge.situations[name] for name in rule.situations if name in knowledge.situations]


def unsure(rule: Rule) -> bool:
    """True when there is nothing to show: no item, none to choose from (any more), and nothing else in the photo."""
    return rule.item_id is None and (rule.none_of_these or not (rule.candidates or rule.others))


def none_of_these(rule: Rule) -> Rule:
    """The rule when the user has refused every candidate."""
    return replace(rule, stream_id=None, material=None, candidates=(), none_of_these=True)


def reward(knowledge: Knowledge, rule: Rule, answered: FinalAnswer, audience: Audience = ANYBODY) -> Reward | None:
    """The character that the scan earns: a recyclable that was seen, with a rule, and nothing left undone."""
    undone = any(text.strip() for text in answered.insufficiencies)
    if rule.item_id is None or rule.stream_id is None or undone or not rule.waste or not rule.shown:
        return None
    item = knowledge.item(rule.item_id)
    found = item.classification
    outcome = kb.Outcome(rule.stream_id)
    if found.major_category != RECYCLABLE or kb.unrewarded(knowledge, item, _situations(knowledge, rule), outcome):
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


def stream(knowledge: Knowledge, rule: Rule) -> Stream | None:
    """Where the item goes, situations considered: an addition to the contract that older clients ignore."""
    if rule.stream_id is None:
        return None
    found = knowledge.stream(rule.stream_id)
    return Stream(found.id, found.ko, found.en, found.kind)


def classification(knowledge: Knowledge, rule: Rule, user_input: str | None) -> Classified:
    """`classification_result` of the contract."""
    classes = Classes(UNKNOWN, UNKNOWN, UNKNOWN)
    about = [item for option in rule.candidates if (item := knowledge.resolve(option.minor_category))]
    if known := rule.item_id or rule.material:
        item = knowledge.item(known)
        about = [item] if rule.item_id else [item, *about]
        found = kb.classified(knowledge, item, rule.stream_id or item.stream)
        minor = found.minor_category if rule.item_id else UNKNOWN
        classes = Classes(found.major_category, found.middle_category, minor)
    streams = dict.fromkeys(filter(None, [rule.stream_id]))
    tags = [
        situation.ko
        for situation in _situations(knowledge, rule)
        if any(knowledge.applies(situation, one, stream) for one in about for stream in (one.stream, *streams))
        or (not about and not situation.safety)
    ]
    return Classified(classes, tuple(tags), Meta(user_input or ""))
