"""From an item and what is known about it to the advice a person gets."""

from collections.abc import Iterable, Sequence

from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import Ambiguity, Item, Situation, UnknownAnswer
from eco2.knowledge.text import topic

MAX_STEPS = 10
MAX_NAMED = 3  # candidates or further items named in one answer


def route(knowledge: Knowledge, item: Item, situations: Sequence[Situation]) -> tuple[str, Situation | None]:
    """The stream an item ends in, and the situation that changed it.

    The first situation by precedence that applies and has another target stream decides; safety comes
    before reroute, and no other kind changes the stream."""
    for situation in knowledge.by_precedence(list(situations)):
        target = situation.target_stream
        if target and target != item.stream and knowledge.applies(situation, item, item.stream):
            return target, situation
    return item.stream, None


def compose_answer(
    knowledge: Knowledge, item: Item, situations: Sequence[Situation], user_input: str | None
) -> dict[str, object]:
    """`{"disposal_steps": {"단계1": …}, "insufficiencies": […], "user_answer": …}`.

    Safety steps come first, then what the situations ask for, the item's own steps, the stream's. A rerouted
    item gets the target stream's steps and only the preparation that still matters there."""
    stream_id, cause = route(knowledge, item, situations)
    relevant = [
        situation
        for situation in knowledge.by_precedence(list(situations))
        if situation == cause or knowledge.applies(situation, item, stream_id)
    ]
    steps = _steps(knowledge, item, stream_id, relevant)
    faults = _unique(s.fault_ko for s in relevant if s.target_stream is None or s == cause)
    return _answer(steps, faults, _sentences(knowledge, item, stream_id, relevant, cause, faults, user_input))


def _steps(knowledge: Knowledge, item: Item, stream_id: str, relevant: Sequence[Situation]) -> list[str]:
    rerouted = stream_id != item.stream
    rule = knowledge.rule(stream_id)
    codes = {step.code for step in rule.steps}
    asked = [
        situation.step_ko
        for situation in relevant
        if situation.id not in item.skip and codes.isdisjoint(situation.covered_by)
    ]
    own = () if rerouted else item.steps_ko
    general = [step.ko for step in rule.steps if rerouted or step.code not in item.skip]
    return [*asked, *own, *general]


def _sentences(
    knowledge: Knowledge,
    item: Item,
    stream_id: str,
    relevant: Sequence[Situation],
    cause: Situation | None,
    faults: Sequence[str],
    user_input: str | None,
) -> Iterable[str]:
    if cause:
        yield f"{cause.why_ko} 이 {topic(item.ko)} {knowledge.stream(stream_id).where_ko}"
    else:
        yield _where(knowledge, item)
        yield from (f"다만 {fault}" for fault in faults[:1])
    yield from (situation.say_ko for situation in relevant)
    if cause is None:
        yield item.note_ko or "".join(knowledge.rule(stream_id).dont_ko[:1])
    others = [other for other in knowledge.mentions(user_input or "") if other.id != item.id]
    yield from (f"함께 말씀하신 {_where(knowledge, other)}" for other in others[:MAX_NAMED])


def _where(knowledge: Knowledge, item: Item) -> str:
    return f"{topic(item.ko)} {item.where_ko or knowledge.stream(item.stream).where_ko}"


def compose_unknown(
    knowledge: Knowledge, candidates: Sequence[Item], user_input: str | None = None, *, waste: bool = True
) -> dict[str, object]:
    """The same shape where there is no item: how to photograph it (again), and a question.

    The question is about the words if they name something, else about the candidates. Without `waste` the photo
    shows nothing to throw away."""
    unknown = knowledge.situation_book.unknown
    case = unknown.unclear if waste else unknown.no_waste
    question = _question(unknown, knowledge.subjects(user_input or ""), candidates)
    return _answer(case.steps_ko, [case.fault_ko], [case.lead_ko, question or case.ask_ko])


def _question(unknown: UnknownAnswer, subjects: Sequence[Item | Ambiguity], candidates: Sequence[Item]) -> str:
    if len(subjects) > 1:
        named = [subject.ko if isinstance(subject, Item) else subject.term for subject in subjects]
        return unknown.several_ko.format(names=", ".join(named))
    for subject in subjects:
        if isinstance(subject, Ambiguity):
            names = ", ".join(item.ko for item in candidates if item.id in subject.candidates)
            return unknown.ambiguous_ko.format(question=subject.ask_ko, names=names)
    names = ", ".join(item.ko for item in candidates[:MAX_NAMED])
    return unknown.guesses_ko.format(names=names) if names else ""


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
    """The rule of the item's stream in the shape clients know."""
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
