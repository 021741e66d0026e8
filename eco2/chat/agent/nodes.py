"""The nodes of a turn: each answers one intent with a part of the answer."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
from prometheus_client import Counter

from eco2.chat.agent import seeing
from eco2.chat.agent.drawing import image_generation
from eco2.chat.agent.list_nodes import bulk_waste, recyclable_price
from eco2.chat.agent.prompts import prompt
from eco2.chat.agent.searching import web_search
from eco2.chat.agent.seeing import Photo
from eco2.chat.agent.state import Context, Intent, Json, Memory, Part, State, Understood
from eco2.chat.agent.texts import say
from eco2.chat.agent.understanding import CENTRE, POINTS, SHOP, characters_in, small_talk
from eco2.chat.agent.weather import needs_place as weather_needs_place
from eco2.chat.agent.weather import weather
from eco2.contracts.pb import location_pb2 as places
from eco2.knowledge import Knowledge, asking, grounding
from eco2.knowledge.answer import Lang, advise, localized
from eco2.knowledge.mentions import Mention
from eco2.knowledge.models import Ambiguity
from eco2.knowledge.words.vocabulary import COMPOUND
from eco2.llm.wire import LlmFailed

MOST_PLACES = 5
RADIUS_METRES = 5_000
LONGEST_SAID = 150
MOST_THINGS = 4
"""Things of a message that are remembered together."""
CHOICE = "chat_waste"
"""Purpose of the call in which a model chooses facts."""

WORDED = Counter("eco2_chat_worded_total", "Parts of answers by what chose their words", ["intent", "by"])

log = logging.getLogger(__name__)

Node = Callable[[State, Context], Awaitable[Part]]


# --- waste ------------------------------------------------------------------------------------------------------------


async def waste(state: State, context: Context) -> Part:
    """The rules' answer; with a paid model those of its facts that the model chooses."""
    knowledge, understood = context.knowledge, state["understood"]
    asked = understood.asked
    body = asking.answer(knowledge, asked)
    by = "rules"
    if context.llm is not None and asking.may_choose(asked) and (chosen := await _chosen(context, asked)):
        body, by = asking.with_parts(body, chosen), "model"
    WORDED.labels(Intent.WASTE, by).inc()
    text, memory, data = body["answer"], _remembered(asked, body), _shown(body)
    if item := state["question"].told.item:
        text = f"{say('meant', asked.lang, name=localized(item, '', asked.lang))}\n\n{text}"
    if understood.of_photo and (photo := state["question"].photo):
        memory, data = memory | _kept(photo), data | _seen(photo)
    return Part(Intent.WASTE, text, memory, data)


async def _chosen(context: Context, asked: asking.Asked) -> list[str]:
    """Text about each thing, of the facts that the model chose; [] where the composed answer is to be shown."""
    assert context.llm is not None
    known = [grounding.facts(context.knowledge, one, asked.lang) for one in asking.advices(context.knowledge, asked)]
    if not known or not context.llm.serves(context.model):
        return []
    facts = {name: text for one in known for name, text in grounding.shown(one).items()}
    if (kept := context.paid.get(CHOICE)) is not None:
        return grounding.told(grounding.Selection(facts=kept), known, asked.lang)
    data = orjson.dumps({"lang": asked.lang, "question": asked.text, "facts": facts}).decode()
    messages = [{"role": "system", "content": grounding.PROMPT}, {"role": "user", "content": data}]
    try:
        reply = await context.llm.structured(
            context.model, grounding.Selection, messages, job=context.job_id, purpose=CHOICE
        )
    except LlmFailed as error:
        log.warning("the paid model chose nothing: %s", error)
        return []
    await context.keep_paid(CHOICE, [name for name in reply.facts if name in facts])
    return grounding.told(reply, known, asked.lang)


def _remembered(asked: asking.Asked, body: Json) -> Json:
    """Changes of the memory for the next message. A thing that is not known leaves the one before."""
    memory: Json = {"choices": [one["name"] for one in body.get("candidates", ())], "wants_place": False}
    memory["topic"] = asked.text[:LONGEST_SAID] if asked.topics and not asked.mentions else ""
    if asked.place or asked.region:
        memory["district"] = asked.place or (asked.region.ko if asked.region else "")
    if asked.mentions:
        last, items = asked.mentions[-1], [one["item"] for one in body["items"] if one["item"]]
        memory["thing"], memory["item"] = _named(last), items[-1] if items else ""
        memory["things"] = [_named(one) for one in asked.mentions][:MOST_THINGS] if len(asked.mentions) > 1 else ()
        memory["kinds"] = last.subject.candidates if isinstance(last.subject, Ambiguity) else ()
        memory["said"] = asked.text[:LONGEST_SAID] if last.situations else ""
        memory["dangerous"] = any(state.safety for state in last.situations)
    return memory


def _named(mention: Mention) -> str:
    """The words that name a thing; of a compound that no name has those that were said."""
    return mention.guessed if mention.span.term.startswith(COMPOUND) else mention.span.term


def _kept(photo: Photo) -> Json:
    """Memory of the thing in a photo. What is seen of its state is for this answer: the next photo may show another."""
    assert photo.item is not None
    return {"photo": photo.item.id, "thing": photo.item.ko, "item": photo.item.id, "kinds": ()}


def _offered(photo: Photo) -> Json:
    """Memory of what was offered to choose from."""
    if not photo.guesses:
        return {}
    return {"choices": [one.ko for one in photo.guesses], "kinds": [one.id for one in photo.guesses]}


def _seen(photo: Photo) -> Json:
    """Description of a photo, for clients."""
    return {
        "photo": {
            "item": photo.item.id if photo.item else None,
            "guesses": [one.id for one in photo.guesses],
            "others": [one.id for one in photo.others],
            "waste": photo.waste,
            "away": photo.away,
        }
    }


def _shown(body: Json) -> Json:
    """Subjects of the answer, for clients and for whoever looks into it later."""
    entries = body["items"]
    sources = {source["title"]: source for one in entries for source in one["sources"] if "title" in source}
    return {
        "items": [one["item"] for one in entries if one["item"]],
        "streams": list(dict.fromkeys(one["stream"] for one in entries)),
        "sources": list(sources.values()),
        **{name: body[name] for name in ("candidates", "emergency", "topics", "district") if body.get(name)},
    }


# --- characters -------------------------------------------------------------------------------------------------------


async def character(state: State, context: Context) -> Part:
    knowledge, lang = context.knowledge, state["understood"].lang
    if POINTS.search(state["question"].text):
        return Part(Intent.CHARACTER, say("points", lang))
    named = characters_in(knowledge, state["question"].text) or [*state["question"].told.characters]
    lines = [_character(one, lang) for one in knowledge.characters if one.name in named]
    if not lines:
        names = ", ".join(f"{one.name}({one.type})" for one in knowledge.characters if one.match)
        lines = [say("characters", lang, names=names)]
    return Part(Intent.CHARACTER, "\n".join(lines), data={"characters": named})


def _character(one: Any, lang: Lang) -> str:
    dialog = one.dialog_en if lang == "en" and one.dialog_en else one.dialog
    key = "character_of" if one.match else "character_first"
    return say(key, lang, name=one.name, type=one.type, dialog=dialog)


# --- places -----------------------------------------------------------------------------------------------------------


async def collection_point(state: State, context: Context) -> Part:
    """Places nearby that take the thing that is asked about, or was talked about last."""
    understood, lang = state["understood"], state["understood"].lang
    thing = _thing(context.knowledge, understood, state["question"].memory)
    if thing is None:
        return await _nearby(state, context, Intent.COLLECTION_POINT, say("place_any", lang), {})
    memory: Json = {"thing": thing["name"], "item": thing["item"], "wants_place": False}
    if not thing["drop_off"]:
        return Part(Intent.COLLECTION_POINT, say("not_taken", lang, thing=thing["name"]), memory)
    what = say("place_thing", lang, thing=thing["name"])
    # In a state that changes where it goes, none of the places take it that otherwise do.
    changed = thing["stream"] != context.knowledge.item(thing["item"]).stream
    streams = [thing["stream"]] if changed else thing["streams"]
    found = await _nearby(state, context, Intent.COLLECTION_POINT, what, {"stream": ",".join(streams)})
    known = "\n".join(f"· {one['name']}: {one['where']}" for one in thing["drop_off"])
    text = (
        found.text if found.data.get("places") else f"{say('taken', lang, thing=thing['name'])}\n{known}\n{found.text}"
    )
    return replace(found, text=text, memory=memory | found.memory)


def _thing(knowledge: Knowledge, understood: Understood, memory: Memory) -> Json | None:
    """The thing that is asked about, or was talked about last, as an answer has it; None where there is none."""
    if understood.asked.mentions:
        body = asking.answer(knowledge, understood.asked)
        return next((one for one in body["items"] if one["item"]), None)
    item = knowledge.items.get(memory.item)
    lang, region = understood.lang, understood.asked.region
    return asking.entry(knowledge, advise(knowledge, item, (), lang, region), lang) if item else None


def needed(state: State, context: Context) -> tuple[str, str] | None:
    """(kind, question) of an input without which a node has no answer; None where there is none, or nobody to ask."""
    question, understood = state["question"], state["understood"]
    if context.ask is None or question.location is not None:
        return None
    # An answer about waste does not wait for the weather.
    weather = Intent.WEATHER in understood.intents and Intent.WASTE not in understood.intents
    if weather and context.forecast is not None and weather_needs_place(question):
        return "location", say("weather_where", understood.lang)
    if context.places is None:
        return None
    point = Intent.COLLECTION_POINT in understood.intents
    if point and (thing := _thing(context.knowledge, understood, question.memory)) is not None:
        point = bool(thing["drop_off"])
    if point or Intent.LOCATION in understood.intents:
        return "location", say("where", understood.lang)
    return None


async def location(state: State, context: Context) -> Part:
    """Shops and centres nearby."""
    text, lang = state["question"].text, state["understood"].lang
    shop = state["question"].told.shop
    named = CENTRE.search(text) or SHOP.search(text)
    if (CENTRE.search(text) and not SHOP.search(text)) or (shop == "reuse_centre" and not named):
        return await _nearby(
            state, context, Intent.LOCATION, say("place_centre", lang), {"store_category": "upcycle_recycle"}
        )
    if named or shop == "refill_shop":
        return await _nearby(
            state, context, Intent.LOCATION, say("place_shop", lang), {"store_category": "refill_zero"}
        )
    return await _nearby(state, context, Intent.LOCATION, say("place_any", lang), {})


async def _nearby(state: State, context: Context, intent: Intent, what: str, wanted: dict[str, str]) -> Part:
    lang, at = state["understood"].lang, state["question"].location
    if context.places is None:
        return Part(intent, say("away", lang))
    if at is None:
        return Part(intent, say("where", lang), {"wants_place": True}, {"needs": "location"})
    found = await context.places(
        places.SearchNearbyRequest(
            latitude=at.latitude, longitude=at.longitude, radius=RADIUS_METRES, limit=MOST_PLACES, **wanted
        )
    )
    if not found.entries:
        text = say("no_places", lang, what=what, km=RADIUS_METRES // 1000)
        return Part(intent, text, {"wants_place": False})
    lines = [say("places", lang, what=what), *(_place_line(entry, lang) for entry in found.entries)]
    shown = [
        {"id": one.id, "name": one.name, "latitude": one.latitude, "longitude": one.longitude} for one in found.entries
    ]
    return Part(intent, "\n".join(lines), {"wants_place": False}, {"places": shown})


def _place_line(entry: places.Place, lang: Lang) -> str:
    opened = say("open" if entry.is_open else "closed", lang) if entry.HasField("is_open") else ""
    told = [entry.distance_text, entry.road_address, entry.phone, opened]
    return f"· {entry.name} – {', '.join(filter(None, told))}"


# --- small talk -------------------------------------------------------------------------------------------------------


SMALL_TALK_TOKENS = 500
"""Most that a model may write, thinking included. Where it thinks past it and says nothing, the rules answer."""


async def general(state: State, context: Context) -> Part:
    """Small talk; with a paid model in its words, of which those about waste are left out."""
    question, lang = state["question"], state["understood"].lang
    if question.photo is not None:
        return Part(Intent.GENERAL, seeing.told(question.photo, lang), _offered(question.photo), _seen(question.photo))
    key = small_talk(question.text) or "nothing"
    alone = state["understood"].intents == (Intent.GENERAL,)
    if context.llm is None or not alone or not context.llm.serves(context.model):
        WORDED.labels(Intent.GENERAL, "rules").inc()
        return Part(Intent.GENERAL, say(key, lang))
    messages = [{"role": "system", "content": prompt("small_talk")}, {"role": "user", "content": question.text}]
    try:
        async with context.own_words.only(context.say) as sieve:
            await context.llm.reply(
                context.model,
                messages,
                sieve.take,
                most_tokens=SMALL_TALK_TOKENS,
                job=context.job_id,
                purpose="chat_general",
            )
    except LlmFailed as error:
        log.warning("the paid model said nothing, or not all: %s", error)
    if not sieve.passed.strip():
        WORDED.labels(Intent.GENERAL, "rules").inc()
        return Part(Intent.GENERAL, say(key, lang))
    WORDED.labels(Intent.GENERAL, "model").inc()
    return Part(Intent.GENERAL, sieve.passed.strip(), said=True)


NODES: dict[Intent, Node] = {
    Intent.WASTE: waste,
    Intent.CHARACTER: character,
    Intent.LOCATION: location,
    Intent.COLLECTION_POINT: collection_point,
    Intent.GENERAL: general,
    Intent.BULK_WASTE: bulk_waste,
    Intent.RECYCLABLE_PRICE: recyclable_price,
    Intent.WEATHER: weather,
    Intent.WEB_SEARCH: web_search,
    Intent.IMAGE_GENERATION: image_generation,
}
