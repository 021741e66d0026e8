"""Text about an item of a question: its stream, few steps, one exception, one caution, and everything about
danger."""

from collections.abc import Iterator

from eco2.knowledge.answer import Advice, Lang, exception_text, localized, unique, varies
from eco2.knowledge.composing import lead
from eco2.knowledge.knowledge import Knowledge

MOST_STEPS = 4
"""Steps that are told; those about danger are told however many they are."""

TEXTS: dict[str, dict[Lang, str]] = {
    "varies": {
        "ko": "동네마다 달라요. 시·군·구를 알려 주시면 맞춰 드려요.",
        "en": "This differs by district: tell me yours.",
    },
    "deposit": {"ko": "보증금은 {krw}원이에요.", "en": "The deposit is {krw} won."},
    "deposits": {"ko": "보증금은 {tiers}이에요.", "en": "The deposit is {tiers}."},
}


def lines(knowledge: Knowledge, advice: Advice, lang: Lang, *, known: bool) -> list[str]:
    """The answer about one thing, line by line. `known`: the district is, so that it need not be asked for."""
    return unique(_lines(knowledge, advice, lang, known=known))


def _lines(knowledge: Knowledge, advice: Advice, lang: Lang, *, known: bool) -> Iterator[str]:
    yield " ".join(filter(None, lead(knowledge, advice, lang)))
    yield from (f"{number}. {step}" for number, step in enumerate(steps(advice), start=1))
    yield " ".join(unique(say.text for say in (*advice.said, *advice.warnings) if say.safety))
    yield " ".join(unique(_further(knowledge, advice, lang)))
    if not known and advice.outcome.cause is None and varies(knowledge, advice.item):
        yield TEXTS["varies"][lang]


def steps(advice: Advice) -> list[str]:
    """All that are about danger, and others up to four in all; not the one that only repeats where it goes."""
    safety = [step.text for step in advice.does if step.safety]
    others = [step.text for step in advice.does if not step.safety and not step.place]
    return [*safety, *others[: max(0, MOST_STEPS - len(safety))]]


def _further(knowledge: Knowledge, advice: Advice, lang: Lang) -> Iterator[str]:
    """Sayings of situation and district; where there are none, the exception that applies. Then the caution."""
    said = [say.text for say in advice.said if not say.safety][:1]
    told = localized(advice.outcome.cause, "", lang) if advice.outcome.cause in advice.overrides else ""
    districts = [text for text in (localized(one, "", lang) for one in advice.overrides) if text != told][:1]
    yield from (*said, *districts)
    if not said and not districts and advice.outcome.cause is None:
        yield from [text for case in advice.exceptions if (text := exception_text(case, lang))][:1]
    yield advice.note
    yield _deposit(knowledge, advice, lang)


def _deposit(knowledge: Knowledge, advice: Advice, lang: Lang) -> str:
    if advice.outcome.stream != "bottle_return":
        return ""
    if str(advice.item.deposit_krw) in advice.note:
        return ""
    if advice.item.deposit_krw:
        return TEXTS["deposit"][lang].format(krw=advice.item.deposit_krw)
    won = "원" if lang == "ko" else " won"
    tiers = [f"{localized(tier, 'volume', lang)} {tier.krw}{won}" for tier in knowledge.rulebook.deposits]
    return TEXTS["deposits"][lang].format(tiers=", ".join(tiers)) if tiers else ""
