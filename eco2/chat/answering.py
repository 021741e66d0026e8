"""Answers of the agent: a turn's message through the graph, sent piece by piece and stored."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eco2.chat import moderation
from eco2.chat.agent import graph, lists
from eco2.chat.agent.lists import NO_LISTS, Lists
from eco2.chat.agent.own_words import OwnWords
from eco2.chat.agent.state import (
    ROUTE_SECONDS,
    Ask,
    Context,
    Forecast,
    Location,
    Look,
    Memory,
    Question,
    Rest,
    SearchPlaces,
    State,
)
from eco2.chat.gallery import Gallery, open_gallery
from eco2.chat.kma import Kma
from eco2.chat.moderation import Moderate, Moderation
from eco2.chat.settings import WorkerSettings
from eco2.chat.speaking import Speaker
from eco2.chat.store import Json
from eco2.chat.turn_store import Answer, Turn
from eco2.chat.work_store import Begun
from eco2.contracts.events import Draft, Stage, Status
from eco2.contracts.pb import scan_pb2 as scans
from eco2.contracts.pb.location_pb2_grpc import LocationServiceStub
from eco2.contracts.pb.scan_pb2_grpc import VisionServiceStub
from eco2.core import grpc, redis
from eco2.core.grpc import Method
from eco2.core.postgres import Database
from eco2.knowledge import Knowledge
from eco2.llm.calls import Llm
from eco2.llm.control import Controls
from eco2.messaging.events import EventBus

if TYPE_CHECKING:
    from eco2.chat.agent.graph import Graph

_BEFORE_ANSWER, _ANSWERED = 70, 95

log = logging.getLogger(__name__)


Classify = Method[scans.ClassifyRequest, scans.ClassifyResponse]


@dataclass(frozen=True)
class Agent:
    """Dependencies of every answer. `llm`, `places`, `classify`: None where there are none."""

    knowledge: Knowledge
    graph: "Graph"
    own_words: OwnWords
    llm: Llm | None
    places: SearchPlaces | None
    model: str
    classify: Classify | None = None
    lists: Lists = NO_LISTS
    search_model: str = ""
    image_model: str = ""
    gallery: Gallery | None = None
    forecast: Forecast | None = None
    forecast_source: str = ""
    route_within: float = ROUTE_SECONDS
    routing_rest: Rest = field(default_factory=Rest)
    moderate: Moderate | None = None


@asynccontextmanager
async def open_agent(settings: WorkerSettings, knowledge: Knowledge, db: Database) -> AsyncIterator[Agent]:
    async with AsyncExitStack() as stack:
        yield Agent(
            knowledge=knowledge,
            graph=graph.build(),
            own_words=OwnWords(knowledge),
            llm=_llm(settings, stack, db),
            places=await _places(settings, stack),
            model=settings.llm_default_model,
            classify=await _classify(settings, stack),
            lists=_lists(settings, knowledge),
            search_model=settings.llm_search_model,
            image_model=settings.llm_image_model,
            gallery=await _gallery(settings, stack),
            forecast=_forecast(settings, stack),
            forecast_source=settings.kma_source,
            route_within=settings.routing_timeout.total_seconds(),
            moderate=_moderation(settings, stack),
        )


def _llm(settings: WorkerSettings, stack: AsyncExitStack, db: Database) -> Llm | None:
    if not settings.endpoints():
        return None
    cache = redis.connect(settings.redis_cache_url)
    stack.push_async_callback(cache.aclose)
    llm = Llm(settings, cache, Controls(db))
    stack.push_async_callback(llm.aclose)
    return llm


async def _places(settings: WorkerSettings, stack: AsyncExitStack) -> SearchPlaces | None:
    if settings.grpc_location_api is None:
        return None
    channel = await stack.enter_async_context(grpc.channel(settings.grpc_location_api, settings.service_secret))
    return partial(grpc.call, LocationServiceStub(channel).SearchNearby)


async def _gallery(settings: WorkerSettings, stack: AsyncExitStack) -> Gallery | None:
    if settings.grpc_image_api is None or not settings.llm_image_model:
        return None
    return await stack.enter_async_context(open_gallery(settings.grpc_image_api, settings.service_secret))


def _lists(settings: WorkerSettings, knowledge: Knowledge) -> Lists:
    try:
        return lists.load(knowledge, _there(settings.bulk_fees), _there(settings.recyclable_prices))
    except (ValueError, OSError) as error:
        raise SystemExit(f"Cannot start: {error}") from None


def _there(file: Path | None) -> Path | None:
    """None before a steward has loaded it: it is a key of an optional ConfigMap in the cluster."""
    if file is None or file.exists():
        return file
    log.warning("there is no list %s", file)
    return None


def _moderation(settings: WorkerSettings, stack: AsyncExitStack) -> Moderate | None:
    if not settings.llm_moderation_model or not settings.endpoints() or not settings.llm_enabled:
        return None
    looking = Moderation(settings, settings.llm_moderation_model, settings.moderation_timeout.total_seconds())
    stack.push_async_callback(looking.aclose)
    return looking


def _forecast(settings: WorkerSettings, stack: AsyncExitStack) -> Forecast | None:
    if settings.kma_service_key is None:
        return None
    cache = redis.connect(settings.redis_cache_url)
    stack.push_async_callback(cache.aclose)
    kma = Kma(settings, cache)
    stack.push_async_callback(kma.aclose)
    return kma.hours


async def _classify(settings: WorkerSettings, stack: AsyncExitStack) -> Classify | None:
    if settings.grpc_scan_worker is None:
        return None
    channel = await stack.enter_async_context(grpc.channel(settings.grpc_scan_worker, settings.service_secret))
    return VisionServiceStub(channel).Classify


async def reply(
    agent: Agent,
    bus: EventBus,
    begun: Begun,
    memory: Json | None,
    speaker: Speaker,
    keep_paid: Callable[[str, Any], Awaitable[None]],
    ask: Ask | None = None,
) -> Answer:
    """The answer to the turn's message, which went to `speaker` as it was found. MessageRefused."""
    turn, words, image_key = begun.turn, begun.content, begun.image_key
    job_id = str(turn.id)
    await moderation.check(agent.moderate, agent.knowledge, words, job_id)

    async def started(stage: Stage) -> None:
        await bus.emit(job_id, Draft(stage, Status.STARTED, _BEFORE_ANSWER if stage is Stage.ANSWER else 0))

    async def ended(stage: Stage, ok: bool) -> None:
        if stage is Stage.ANSWER:
            await speaker.finish()  # no piece comes after the stage that it belongs to
        progress = _ANSWERED if stage is Stage.ANSWER else _BEFORE_ANSWER
        await bus.emit(job_id, Draft(stage, Status.COMPLETED if ok else Status.FAILED, progress))

    context = Context(
        knowledge=agent.knowledge,
        job_id=job_id,
        say=speaker.say,
        started=started,
        ended=ended,
        llm=agent.llm,
        model=turn.model or agent.model,
        places=agent.places,
        own_words=agent.own_words,
        lists=agent.lists,
        search_model=agent.search_model,
        image_model=agent.image_model,
        pictures=agent.gallery.of(turn.user_id, turn.message_id) if agent.gallery else None,
        forecast=agent.forecast,
        forecast_source=agent.forecast_source,
        ask=ask,
        look=_look_at(agent, turn, image_key),
        route_within=agent.route_within,
        routing_rest=agent.routing_rest,
        paid=begun.paid or {},
        keep_paid=keep_paid,
    )
    before = Memory.read(agent.knowledge, memory)
    question = Question(words, before, Location.read(turn.location), has_image=image_key is not None)
    state = await graph.run(agent.graph, question, context)
    return Answer(
        content=state["answer"],
        intent=state["understood"].intents[0].value,
        metadata=_metadata(state, before),
        image_key=next((part.image_key for part in state["parts"] if part.image_key), None),
        memory=before.updated(state["parts"]).model_dump(mode="json"),
    )


def _look_at(agent: Agent, turn: Turn, image_key: str | None) -> Look | None:
    if agent.classify is None or image_key is None:
        return None
    classify = agent.classify

    async def look(*, asked: bool) -> scans.ClassifyResponse:
        request = scans.ClassifyRequest(
            user_id=str(turn.user_id), key=image_key, model=turn.model or "", asked=asked, job_id=str(turn.id)
        )
        return await grpc.call(classify, request, graph.LOOK_SECONDS)

    return look


def _metadata(state: State, before: Memory) -> Json:
    found: Json = {"intents": [intent.value for intent in state["understood"].intents]}
    for part in state["parts"]:
        found |= part.data
    if state["understood"].follows:
        found["followed"] = before.item or before.thing
    return found
