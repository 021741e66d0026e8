"""Sentences of an answer from the advice: for a scan in the form of the contract, and for a question."""

from collections.abc import Iterable, Iterator, Sequence

from eco2.knowledge.answer import (
    Advice,
    Lang,
    Named,
    advise,
    classified,
    decide,
    listed,
    localized,
    unique,
)
from eco2.knowledge.attribution import dangers
from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.models import GENERAL_BAG, Ambiguity, Item, Region, RuleException, Situation, Stream, UnknownAnswer
from eco2.knowledge.reading import subjects
from eco2.knowledge.words.text import supposing, topic

MAX_STEPS = 10
MAX_NAMED = 3  # candidates or further items named in one answer


def compose_answer(
    knowledge: Knowledge,
    item: Item,
    situations: Sequence[Situation],
    others: Sequence[Named] = (),
    *,
    lang: Lang = "ko",
    region: Region | None = None,
) -> dict[str, object]:
    """`{"disposal_steps": {"단계1": …}, "insufficiencies": […], "user_answer": …}`.

    `others`: what else was named, each in its own situations."""
    advice = advise(knowledge, item, situations, lang, region)
    said = [text for text in remarks(advice, lang) if text]
    besides = [advise(knowledge, other.item, other.situations, lang, region) for other in others]
    sentences = [*lead(knowledge, advice, lang), *said]
    for other in besides:
        sentences += also(knowledge, other, lang)
    cause = advice.outcome.cause
    why = [localized(cause, "", lang)] if isinstance(cause, RuleException) else []
    first = placement(knowledge, item, advice.outcome.stream, lang)
    # Clients may show the steps alone, so whatever restricts them or warns stands there too.
    steps = [first, *advice.steps, *why, *said]
    steps += [" ".join(also(knowledge, other, lang)) for other in besides]
    return _answer(steps, advice.faults, sentences)


def also(knowledge: Knowledge, advice: Advice, lang: Lang) -> list[str]:
    """Sentences about another thing that was named: where it goes, and what is dangerous about it."""
    where = " ".join(filter(None, lead(knowledge, advice, lang)))
    return [f"{'함께 말씀하신 ' if lang == 'ko' else 'You also asked: '}{where}", *advice.safety]


def placement(knowledge: Knowledge, item: Item, stream_id: str, lang: Lang) -> str:
    """The first step: where it goes, and that this is not the general bag, which clients take for the place of
    everything but recyclables. "" for recycling at the kerb and for the bag itself."""
    stream, recyclable = knowledge.stream(stream_id), knowledge.taxonomy.recyclable_major
    if stream.id == GENERAL_BAG:
        return ""
    if stream.kind == "recycle" and classified(knowledge, item, stream_id).major_category == recyclable:
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
    """Sentences about a thing: where it goes, why if that is not the usual way, and what is not done yet."""
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


def remarks(advice: Advice, lang: Lang) -> Iterator[str]:
    """All else that matters: what the situations say, what the district does, what the item warns of, its note."""
    yield from (say.text for say in advice.said)
    yield from (localized(override, "", lang) for override in advice.overrides)
    yield from (say.text for say in advice.warnings)
    yield advice.note


def _where(knowledge: Knowledge, item: Item, stream_id: str, lang: Lang, *, rerouted: bool = False) -> str:
    stream = knowledge.stream(stream_id)
    own = "" if rerouted else localized(item, "where", lang)
    if lang == "ko":
        return f"{topic(item.ko)} {own or stream.where_ko}"
    return f"{item.en[:1].upper()}{item.en[1:]}: {own or stream.where_en or f'it goes to {stream.en}.'}"


def compose_unknown(
    knowledge: Knowledge,
    candidates: Sequence[Item],
    user_input: str | None = None,
    *,
    situations: Sequence[Situation] = (),
    waste: bool = True,
    lang: Lang = "ko",
    region: Region | None = None,
    stream: Stream | None = None,
) -> dict[str, object]:
    """The same shape where there is no item: where each candidate goes, how to photograph it (again), and a question.

    The question is about the words if they name something, else about the candidates. Without `waste` the photo
    shows nothing to throw away. What is dangerous comes before everything else that is to be done. `stream`: where
    things of the material go, which is sure although the thing is not."""
    unknown = knowledge.situation_book.unknown
    case = unknown.unclear if waste else unknown.no_waste
    question = _question(unknown, subjects(knowledge, user_input or ""), candidates, lang)
    dangers = _dangers(knowledge, candidates, situations, lang)
    first = [localized(unknown, "hold", lang)] if candidates else []
    if stream:
        name, where = localized(stream, "", lang), localized(stream, "where", lang)
        first = [localized(unknown, "material", lang).format(name=name, where=where)]
    sentences = [*dangers, *(first if stream else []), localized(case, "lead", lang)]
    sentences.append(question or localized(case, "ask", lang))
    each = [_candidate(knowledge, item, situations, lang, region) for item in candidates]
    steps = [*dangers, *first, *each, *listed(case, "steps", lang)]
    return _answer(steps, [localized(case, "fault", lang)], sentences)


def _dangers(
    knowledge: Knowledge, candidates: Sequence[Item], situations: Sequence[Situation], lang: Lang
) -> list[str]:
    """Two sentences at most about what is dangerous in what was said or seen, whichever candidate it is."""
    about = dangers(knowledge, candidates, situations)
    steps = unique(localized(situation, "step", lang) for situation in about)
    return unique([*steps[:1], " ".join(steps[1:])])


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
        named = [localized(one, "", lang) if isinstance(one, Item) else _term(one, lang) for one in about]
        return localized(unknown, "several", lang).format(names=", ".join(named))
    for subject in about:
        if isinstance(subject, Ambiguity):
            return ask_which(names_of(candidates, lang, subject), unknown, subject, lang)
    names = names_of(candidates[:MAX_NAMED], lang)
    return localized(unknown, "guesses", lang).format(names=names) if names else ""


def _term(word: Ambiguity, lang: Lang) -> str:
    return word.terms_en[0] if lang == "en" and word.terms_en else word.term


def names_of(items: Sequence[Item], lang: Lang, of: Ambiguity | None = None) -> str:
    return ", ".join(localized(item, "", lang) for item in items if of is None or item.id in of.candidates)


def ask_which(names: str, unknown: UnknownAnswer, ambiguity: Ambiguity, lang: Lang) -> str:
    return localized(unknown, "ambiguous", lang).format(question=localized(ambiguity, "ask", lang), names=names)


def _answer(steps: Iterable[str], faults: Sequence[str], sentences: Iterable[str]) -> dict[str, object]:
    numbered = {f"단계{n}": step for n, step in enumerate(unique(steps)[:MAX_STEPS], start=1)}
    return {
        "disposal_steps": numbered,
        "insufficiencies": list(faults),
        "user_answer": " ".join(unique(sentences)),
    }
