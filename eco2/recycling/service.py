"""Answers of recycling-api: the catalogue, and questions."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

import orjson
from prometheus_client import Counter

from eco2.core import telemetry
from eco2.core.aside import aside
from eco2.core.errors import AWAY, BadRequest, NotFound, TooMany
from eco2.core.postgres import Database
from eco2.core.turns import PerMinute
from eco2.knowledge import Item, Knowledge, Lang, Region, asking, days, grounding, read
from eco2.knowledge.answer import drop_offs
from eco2.knowledge.districts import Districts, UnknownDistrict
from eco2.knowledge.matching import suggest
from eco2.llm.calls import Llm
from eco2.llm.wire import LlmFailed
from eco2.recycling import calendar
from eco2.recycling.reminders import Offer

ASKED = Counter("eco2_recycling_asked_total", "Questions by how they were answered", ["outcome"])
UNUSED = Counter("eco2_recycling_selections_unused_total", "Selections replaced by the composed answer", ["reason"])
INVENTED = Counter("eco2_recycling_facts_invented_total", "Ids of facts that a model made up; they say nothing")

log = logging.getLogger(__name__)
T = TypeVar("T")


class ItemNotFound(NotFound):
    """There is no item of this id; search for it."""

    code = "ITEM_NOT_FOUND"


class StreamNotFound(NotFound):
    """There is no disposal stream of this id; GET /api/v1/recycling/streams lists them."""

    code = "STREAM_NOT_FOUND"


class SituationNotFound(NotFound):
    """There is no situation of this id."""

    code = "SITUATION_NOT_FOUND"


class RegionNotFound(NotFound):
    """There are no rules of this district yet."""

    code = "REGION_NOT_FOUND"


class TooManyQuestions(TooMany):
    """짧은 시간에 질문이 너무 많아요. 잠시 뒤에 다시 물어봐 주세요."""

    code = "TOO_MANY_QUESTIONS"


class CursorUnknown(BadRequest):
    """The cursor is not from a page of this list; leave it out to start again."""

    code = "CURSOR_UNKNOWN"


def one(found: T | None, missing: type[NotFound]) -> T:
    if found is None:
        raise missing
    return found


def items(knowledge: Knowledge, stream: str | None, group: str | None) -> list[Item]:
    """The catalogue in its own order."""
    if stream is not None:
        one(knowledge.streams.get(stream), StreamNotFound)
    chosen = (item for item in knowledge.items.values() if stream in (None, item.stream))
    return [item for item in chosen if group in (None, item.group)]


def page(rows: Sequence[Item], cursor: str | None, limit: int) -> tuple[Sequence[Item], str | None]:
    """The rows after the one that the cursor names, and the cursor of the next page."""
    ids = [row.id for row in rows]
    if cursor is not None and cursor not in ids:
        raise CursorUnknown
    start = 0 if cursor is None else ids.index(cursor) + 1
    found = rows[start : start + limit]
    return found, found[-1].id if start + limit < len(rows) else None


def search(knowledge: Knowledge, typed: str, limit: int) -> list[Item]:
    """Completions of a text in progress; if no name begins so, items that the words are about."""
    found = suggest(knowledge, typed)
    if not found:
        reading = read(knowledge, typed)
        found = [*knowledge.choices([mention.subject for mention in reading.mentions]), *reading.candidates]
    return found[:limit]


def regions(knowledge: Knowledge) -> list[Region]:
    return list(knowledge.regions.values())


def count_question(questions: PerMinute, user: UUID) -> None:
    """TooManyQuestions past the user's limit."""
    if wait := questions.take(user):
        raise TooManyQuestions(retry_after=wait)


@dataclass(frozen=True)
class Paid:
    """The model that selects the facts."""

    llm: Llm
    model: str


@dataclass(frozen=True)
class Services:
    """Dependencies of recycling-api. `paid`: where a model is configured; its failure only makes answers plainer."""

    knowledge: Knowledge
    districts: Districts
    holidays: Mapping[date, tuple[str, ...]]
    db: Database
    paid: Paid | None
    questions: PerMinute
    offer: Offer
    changes: PerMinute
    """Of reminders."""


async def ask(
    knowledge: Knowledge, paid: Paid | None, question: str, district: str | None, lang: Lang | None
) -> dict[str, Any]:
    """The composed answer; with a paid model those of its facts that the model chooses."""
    asked = await aside(question, asking.understand, knowledge, question, district, lang)
    composed = asking.answer(knowledge, asked)
    outcome = "refused" if asked.refused else "asked_back" if not composed["items"] else "composed"
    if paid and outcome == "composed" and (parts := await _chosen(knowledge, paid, asked)):
        outcome, composed = "chosen", asking.with_parts(composed, parts)
    ASKED.labels(outcome).inc()
    return composed


async def _chosen(knowledge: Knowledge, paid: Paid, asked: asking.Asked) -> list[str]:
    """Text about each thing, as the model chose; [] where the composed answer is to be shown."""
    if not asking.may_choose(asked) or not paid.llm.serves(paid.model):
        return []
    known = [grounding.facts(knowledge, advice, asked.lang) for advice in asking.advices(knowledge, asked)]
    if not known:
        return []
    facts = {name: text for one in known for name, text in grounding.shown(one).items()}
    data = orjson.dumps({"lang": asked.lang, "question": asked.text, "facts": facts}).decode()
    messages = [{"role": "system", "content": grounding.PROMPT}, {"role": "user", "content": data}]
    try:
        reply = await paid.llm.structured(
            paid.model, grounding.Selection, messages, job=telemetry.request_id.get(), purpose="answer"
        )
    except LlmFailed as error:
        UNUSED.labels(error.reason).inc()
        log.warning("the paid model chose nothing: %s", error)
        return []
    INVENTED.inc(grounding.unknown(reply, known))
    parts = grounding.told(reply, known, asked.lang)
    if not parts:
        UNUSED.labels("no_such_fact").inc()
        log.warning("an LLM's selection was not used", extra={"model": paid.model})
    return parts


Json = dict[str, Any]
DAYS_AWAY: dict[Lang, str] = {
    "ko": "배출 요일을 지금은 찾아볼 수 없어요. 잠시 뒤에 다시 물어봐 주세요.",
    "en": "Collection days cannot be looked up right now; ask again in a moment.",
}


async def with_days(
    db: Database, knowledge: Knowledge, districts: Districts, answer: Json, question: str, district: str | None
) -> Json:
    """The answer, led by the collection days where the question is for those of a district.

    Only the days are told where nothing else was asked. While the database is away the answer says so."""
    asked = days.question(districts, question, district)
    about_days = any(topic["id"] == "collection_days" for topic in answer.get("topics", ()))
    told = answer["items"] or (asked and asked.collections) or "clarify" in answer or about_days
    if asked is None or "emergency" in answer or not told:
        return answer
    named = [] if answer["items"] else await aside(question, _named, knowledge, question)
    taken = [_taken(knowledge, item, answer["lang"]) for item in named if item.stream not in days.STREAMS]
    if named and len(taken) == len(named):
        return {**answer, "answer": "\n".join(taken)}
    streams = [days.STREAMS.get(item["stream"]) for item in answer["items"]]
    streams += [days.STREAMS[item.stream] for item in named if item.stream in days.STREAMS]
    asked = replace(asked, collections=tuple(dict.fromkeys(filter(None, streams))) or asked.collections)
    text = await _days(db, knowledge, asked, question, answer["lang"])
    ends = (answer.get("clarify", "") if "candidates" in answer else "") if all(streams) else answer["answer"]
    found: Json = {**answer, "answer": "\n\n".join(filter(None, (text, *taken, ends)))}
    if len(asked.districts) > 1:
        return {**found, "clarify": text}
    if not answer["items"] and "candidates" not in answer:
        found.pop("clarify", None)
    name = asked.districts[0]
    path = f"/api/v1/recycling/regions/{quote(name)}/calendar"
    stream = f"?stream={asked.collections[0]}" if len(asked.collections) == 1 else ""
    told_district = answer["district"] if _is(knowledge, districts, answer["district"], name) else None
    return {**found, "district": told_district or {"id": name, "name": name}, "calendar": f"{path}{stream}"}


def _named(knowledge: Knowledge, question: str) -> list[Item]:
    """The things that a question for a day is about."""
    mentions = asking.understand(knowledge, question).reading.mentions
    return list({item.id: item for mention in mentions if isinstance(item := mention.subject, Item)}.values())


def _taken(knowledge: Knowledge, item: Item, lang: Lang) -> str:
    """Sentence about an item without a collection day: its destination."""
    stream, ko = knowledge.stream(item.stream), lang == "ko"
    places = [place.where_ko if ko else place.where_en for place in drop_offs(knowledge, item, item.stream)[:1]]
    if ko:
        return " ".join([f"{item.ko}: 요일에 맞춰 내놓는 것이 아니에요({stream.ko}).", *places])
    return " ".join([f"{item.en}: not put out on a day ({stream.en}).", *places])


def _is(knowledge: Knowledge, districts: Districts, told: Json | None, name: str) -> bool:
    """True when the region whose rules were applied is the district itself, not the province above it."""
    region = knowledge.regions.get(told["id"]) if told else None
    try:
        return region is not None and districts.named(region.ko) == name
    except UnknownDistrict:
        return False


async def _days(db: Database, knowledge: Knowledge, asked: days.DayQuestion, question: str, lang: Lang) -> str:
    found = None
    if len(asked.districts) == 1:
        try:
            found = await calendar.schedule(db, knowledge, asked.districts[0])
        except tuple(AWAY) as error:
            log.warning("collection days: a server is away: %s", str(error).partition("\n")[0])
            return DAYS_AWAY[lang]
    return days.answer(asked, found, question, lang, calendar.today())
