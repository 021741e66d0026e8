"""Intents that a paid model tells by calling tools: each call is one intent, its arguments are checked against what we
know, and the rest of its reply is ignored.

It is asked after the reader of the words, which it never overrules where a danger is said, and whose intents stand
where the model fails, is late, or calls what cannot be followed.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import orjson
from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict, ValidationError

from eco2.chat.agent.prompts import prompt
from eco2.chat.agent.state import Context, Day, Intent, Question, Shop, Told, Understood
from eco2.chat.agent.understanding import HARM, characters_in, small_talk
from eco2.chat.agent.weather import city_in
from eco2.core.time_limit import time_limit
from eco2.knowledge import Item, Knowledge
from eco2.knowledge.asking import DANGER, DISPOSAL, Asked, understand
from eco2.knowledge.attribution import dangerous
from eco2.llm.streaming import Tool, ToolCall
from eco2.llm.wire import LlmFailed

PURPOSE = "chat_routing"
MOST_CALLS = 8
MOST_INTENTS = 4
MOST_TOKENS = 600
REST_SECONDS = 30.0
"""Most that the model may write, thinking included."""
LONGEST_ARGUMENT = 40
LONGEST_BEFORE = 80

ROUTED = Counter("eco2_chat_routed_total", "Messages whose intents a paid model could tell", ["outcome"])

log = logging.getLogger(__name__)


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Thing(_Arguments):
    thing: str


class _Fee(_Arguments):
    thing: str
    district: str


class _Place(_Arguments):
    shop: Shop


class _Weather(_Arguments):
    city: str
    day: Literal[Day, "unsaid"]


class _Character(_Arguments):
    name: str


class _None(_Arguments):
    pass


TOOLS = tuple(
    Tool(intent.value, description, schema)
    for intent, description, schema in (
        (Intent.WASTE, "How to throw a thing away.", _Thing),
        (Intent.COLLECTION_POINT, "Where a place nearby is that takes a thing.", _Thing),
        (Intent.LOCATION, "Shops and centres nearby.", _Place),
        (Intent.BULK_WASTE, "Fee of a bulky thing in a district (시·군·구).", _Fee),
        (Intent.RECYCLABLE_PRICE, "Won for a kilogram of a recyclable.", _Thing),
        (Intent.CHARACTER, "A character of the app, or all of them.", _Character),
        (Intent.WEATHER, "Forecast of a Korean city, or of where the user is.", _Weather),
        (Intent.WEB_SEARCH, "Look something up on the web.", _None),
        (Intent.IMAGE_GENERATION, "Draw a picture.", _None),
        (Intent.GENERAL, "Small talk, or nothing that another tool is for.", _None),
    )
)


async def routed(context: Context, question: Question, found: Understood) -> tuple[Question, Understood]:
    """Question and intents as the model tells them, or those that the reader found."""
    llm = context.llm
    if llm is None or not context.route_within or not llm.serves(context.model):
        return question, found
    if _settled(question, found):
        ROUTED.labels("settled").inc()
        return question, found
    if (kept := context.paid.get(PURPOSE)) is not None:
        ROUTED.labels("kept").inc()
        return _followed(context, question, found, _again(kept)) or (question, found)
    loop, rest = asyncio.get_running_loop(), context.routing_rest
    if loop.time() < rest.until:
        ROUTED.labels("skipped").inc()
        return question, found
    try:
        async with time_limit(context.route_within):
            reply = await llm.reply(
                context.model,
                _messages(question),
                _unheard,
                tools=TOOLS,
                must_call=True,
                most_tokens=MOST_TOKENS,
                job=context.job_id,
                purpose=PURPOSE,
            )
    except (LlmFailed, TimeoutError) as error:
        log.warning("the paid model told no intents: %r", error)
        if isinstance(error, TimeoutError):
            rest.until = loop.time() + REST_SECONDS
        if isinstance(error, TimeoutError) or error.reason in ("timeout", "invalid"):  # it may have been billed
            await context.keep_paid(PURPOSE, [])
        ROUTED.labels("failed").inc()
        return question, found
    await context.keep_paid(PURPOSE, [(call.name, call.raw) for call in reply.calls])
    changed = _followed(context, question, found, reply.calls)
    ROUTED.labels("unusable" if changed is None else "followed").inc()
    return changed or (question, found)


def _again(kept: Any) -> list[ToolCall]:
    """Calls that were kept; none where another release kept them in a form of its own."""
    schemas = {tool.name: tool.schema for tool in TOOLS}
    try:
        return [ToolCall("", name, schemas[name].model_validate_json(raw), raw) for name, raw in kept]
    except (ValidationError, LookupError, TypeError, ValueError):
        return []


async def _unheard(_: str) -> None:
    """Words of the model beside its calls."""


def _messages(question: Question) -> list[dict[str, str]]:
    """The message and what was talked about last. Where the user is goes to nobody."""
    memory = question.memory
    before = {"thing": memory.thing[:LONGEST_BEFORE], "about": memory.carried or memory.last}
    data = orjson.dumps({"message": question.text, "before": before}).decode()
    return [{"role": "system", "content": prompt("routing")}, {"role": "user", "content": data}]


def _settled(question: Question, found: Understood) -> bool:
    """True where the model is not asked: a danger is said, a photo was looked at, or it is mere small talk."""
    text, asked = question.text, found.asked
    if asked.emergency or HARM.search(text) or DANGER.search(text) or (found.follows and question.memory.dangerous):
        return True
    if any(state.safety for state in asked.reading.situations) or question.photo is not None:
        return True
    return found.intents == (Intent.GENERAL,) and bool(small_talk(text))


def _followed(
    context: Context, question: Question, found: Understood, calls: Sequence[ToolCall]
) -> tuple[Question, Understood] | None:
    """The question and its intents after these calls; None where they cannot be followed."""
    proposed = list(dict.fromkeys(Intent(call.name) for call in calls))
    if len(proposed) > 1 and Intent.GENERAL in proposed:
        proposed.remove(Intent.GENERAL)
    if not proposed or len(calls) > MOST_CALLS or len(proposed) > MOST_INTENTS:
        return None
    if proposed == [Intent.GENERAL] and _named(found.asked):
        return None
    kept = [intent for intent in found.intents if _stays(intent, question, found) and intent not in proposed]
    intents, arguments = (*kept, *proposed), [call.arguments for call in calls]
    told = _told(context, question, arguments)
    asked = found.asked
    if (item := _meant(context.knowledge, found, arguments)) is not None:
        district = asked.region.ko if asked.region else asked.place or asked.district or question.memory.district
        asked = understand(context.knowledge, f"{item.ko} {question.text}", district or None, asked.lang)
        told = replace(told, item=item)
    if asked.emergency:
        return None
    return replace(question, told=told), replace(found, intents=intents, asked=asked)


def _named(asked: Asked) -> bool:
    reading = asked.reading
    return bool(asked.mentions or asked.topics or reading.mentions or reading.candidates or reading.material)


def _stays(intent: Intent, question: Question, found: Understood) -> bool:
    """True for what the reader found about a thing to throw away, or a dangerous one: the model may add to it."""
    if intent not in (Intent.WASTE, Intent.COLLECTION_POINT) or not _named(found.asked):
        return False
    things = [one.subject for one in found.asked.reading.mentions if isinstance(one.subject, Item)]
    # A word for several things may mean a dangerous one.
    sure = len(things) == len(found.asked.reading.mentions)
    return not sure or DISPOSAL.search(question.text) is not None or any(dangerous(item) for item in things)


def _meant(knowledge: Knowledge, found: Understood, arguments: Sequence[BaseModel]) -> Item | None:
    """The one thing that the model names, where the reader found none; of those that it offered, where it did."""
    if found.asked.mentions or found.asked.topics or found.asked.reading.mentions:
        return None
    words = dict.fromkeys(one.thing.strip() for one in arguments if isinstance(one, _Thing | _Fee))
    items = [_item(knowledge, word) for word in words if word]
    item = items[0] if len(items) == 1 else None
    offered = found.asked.reading.candidates
    return item if item is None or not offered or item in offered else None


def _item(knowledge: Knowledge, words: str) -> Item | None:
    """The item that the words name and nothing else."""
    if len(words) > LONGEST_ARGUMENT:
        return None
    asked = understand(knowledge, words, lang="ko")
    if asked.emergency or asked.topics or asked.reading.unread or len(asked.mentions) != 1:
        return None
    mention = asked.mentions[0]
    return mention.subject if isinstance(mention.subject, Item) and not mention.situations else None


def _told(context: Context, question: Question, arguments: Sequence[BaseModel]) -> Told:
    told, text = Told(), question.text
    for one in arguments:
        match one:
            case _Weather():
                city = city_in(one.city[:LONGEST_ARGUMENT])
                told = replace(told, city=city[0] if city else "", day="" if one.day == "unsaid" else one.day)
            case _Place():
                told = replace(told, shop=one.shop)
            case _Character():
                named = characters_in(context.knowledge, one.name[:LONGEST_ARGUMENT])
                told = replace(told, characters=tuple(named))
            case _Fee():
                told = replace(told, district=_district(context, text, one.district.strip()))
            case _:
                pass
    return told


def _district(context: Context, text: str, name: str) -> str:
    """A district of the steward's list that the words name too, be it without its last syllable (마포 for 마포구)."""
    known = any(fee.district == name for fee in context.lists.fees)
    return name if known and len(name) > 2 and name[:-1] in text else ""
