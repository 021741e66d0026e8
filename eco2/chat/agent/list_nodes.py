"""Nodes that answer from the lists of a steward: fees of bulky waste, prices of recyclables."""

import re
from collections.abc import Sequence

from eco2.chat.agent.lists import Fee, Origin, Price
from eco2.chat.agent.state import Context, Intent, Json, Part, State
from eco2.chat.agent.texts import say
from eco2.chat.agent.understanding import lives
from eco2.knowledge import Item, asking
from eco2.knowledge.answer import Lang, localized

MOST_LINES = 8
MOST_THINGS = 6
"""Things whose fees are asked for one after the other and then together."""
_ALL = re.compile(
    r"총|합쳐|합하|합계|다\s*(?:하|해|합)|둘\s*다|전부|모두|같이|together|total|\bboth\b|\ball\b", re.IGNORECASE
)


async def bulk_waste(state: State, context: Context) -> Part:
    """Fee of the thing in the district; what of the two is missing is asked for, and the next message may tell it."""
    understood, memory, lists = state["understood"], state["question"].memory, context.lists
    asked, lang = understood.asked, understood.lang
    if not lists.fees:
        return Part(Intent.BULK_WASTE, say("bulk_waste", lang))
    text = state["question"].text
    things = _things(state, context)
    if _ALL.search(text):
        known = [context.knowledge.items[one] for one in memory.fees if one in context.knowledge.items]
        things = list(dict.fromkeys([*known, *things]))
    said = next((fee.district for fee in lists.fees if fee.district in text), "") or lives(text)
    here = asked.place or (asked.region.ko if asked.region else asked.district)
    district = said or here or state["question"].told.district or memory.district
    kept: Json = {"district": district} if district else {}
    if things:
        before = [one for one in memory.fees if one not in {item.id for item in things}]
        kept |= {"thing": things[-1].ko, "item": things[-1].id}
        kept["fees"] = [*before, *(item.id for item in things)][-MOST_THINGS:]
    data: Json = {"items": [item.id for item in things], "streams": list(dict.fromkeys(item.stream for item in things))}
    if not things:
        return Part(Intent.BULK_WASTE, say("fee_which_thing", lang), kept, {"needs": "thing"})
    if not district:
        name = localized(things[-1], "", lang)
        return Part(Intent.BULK_WASTE, say("fee_which_district", lang, name=name), kept, data | {"needs": "district"})
    found = [fee for item in things for fee in lists.fees_of(district, item)]
    if not found:
        names = ", ".join(localized(item, "", lang) for item in things)
        return Part(Intent.BULK_WASTE, say("fee_unknown", lang, district=district, name=names), kept, data)
    lines = [say("fees", lang, district=district), *(_fee_line(fee, lang) for fee in found[:MOST_LINES])]
    lines += [*_origins([fee.origin for fee in found], lang), say("fee_apply", lang)]
    rows = [{"district": one.district, "name": one.name, "size": one.size, "won": one.won} for one in found]
    return Part(Intent.BULK_WASTE, "\n".join(lines), kept, data | {"fees": rows[:MOST_LINES]})


def _things(state: State, context: Context) -> list[Item]:
    """Things that the message names, or else the one that was talked about last."""
    reading = state["understood"].asked.reading
    named = [mention.subject for mention in reading.mentions if isinstance(mention.subject, Item)]
    last = context.knowledge.items.get(state["question"].memory.item)
    return list(dict.fromkeys(named)) or ([last] if last else [])


def _fee_line(fee: Fee, lang: Lang) -> str:
    size = f" ({fee.size})" if fee.size else ""
    return f"· {fee.name}{size}: {_won(fee.won, lang)}"


async def recyclable_price(state: State, context: Context) -> Part:
    """Won for a kilogram of what is named, of the thing that was talked about last, or of everything in the list."""
    understood, lang, lists = state["understood"], state["understood"].lang, context.lists
    if not lists.prices:
        return Part(Intent.RECYCLABLE_PRICE, say("recyclable_price", lang))
    items = _things(state, context)
    streams = [
        asking.entry(context.knowledge, one, lang)["stream"]
        for one in asking.advices(context.knowledge, understood.asked)
    ]
    streams = streams or [item.stream for item in items]
    found = lists.prices_of(state["question"].text, streams)
    lines: list[str] = []
    if not found:
        lines.append(say("price_unknown", lang))
        found = list(lists.prices)
    lines += [say("prices", lang), *(_price_line(one, lang) for one in found[:MOST_LINES])]
    lines += [*_origins([one.origin for one in found], lang), say("price_varies", lang)]
    rows = [{"name": one.name, "won_per_kg": one.won, "date": one.origin.date.isoformat()} for one in found]
    return Part(Intent.RECYCLABLE_PRICE, "\n".join(lines), {}, {"prices": rows[:MOST_LINES]})


def _price_line(price: Price, lang: Lang) -> str:
    return f"· {price.name if lang == 'ko' else price.name_en}: {_won(price.won, lang)}/kg"


def _won(won: int, lang: Lang) -> str:
    return f"{won:,}원" if lang == "ko" else f"{won:,} won"


def _origins(origins: Sequence[Origin], lang: Lang) -> list[str]:
    """Source and age of the numbers; a word that they are made up, where they are."""
    oldest = min(one.date for one in origins)
    sources = ", ".join(dict.fromkeys(one.source for one in origins))
    lines = [say("list_source", lang, sources=sources, date=oldest.isoformat())]
    return [*lines, say("list_sample", lang)] if any(one.sample for one in origins) else lines
