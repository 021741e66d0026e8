"""The state graph of a turn: understand, one node for each intent concurrently, combine.

LangGraph runs it; a turn is one run from start to end, of which only the memory of its answer is stored.
"""

import asyncio
import logging
import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send
from prometheus_client import Histogram

from eco2.chat.agent import routing, seeing
from eco2.chat.agent.nodes import NODES, Node, needed
from eco2.chat.agent.state import STAGE, Context, Intent, Location, Part, Question, State
from eco2.chat.agent.texts import say
from eco2.chat.agent.understanding import understood
from eco2.contracts.events import Stage
from eco2.core import telemetry
from eco2.core.aside import aside
from eco2.llm.budget import chat_node

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

NODE_SECONDS = 45.0
"""Time of a node; one that takes longer says that it cannot tell now, and the others are heard."""

LONGER_SECONDS = {Intent.IMAGE_GENERATION: 150.0}
"""Nodes that may take longer: the one attempt of a picture, its way to the store and an outage there. The frames in
between are the gateway's."""

LOOK_SECONDS = 50.0
"""Time of a look at a photo: that of a call of a paid model with its retries, and some for the way."""

SECONDS = Histogram("eco2_chat_node_seconds", "Time of a node of a chat's turn", ["intent", "outcome"])

log = logging.getLogger(__name__)


async def _look(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """The question with what its photo shows. One that nobody can look at costs no more than that."""
    context, question, ok = runtime.context, state["question"], True
    began = time.perf_counter()
    await context.started(Stage.VISION)
    try:
        if context.look is None:
            photo = seeing.AWAY
        else:
            async with asyncio.timeout(LOOK_SECONDS):
                found = await context.look(asked=bool(seeing.without_words(question.text)))
            photo = seeing.saw(context.knowledge, found)
    except Exception:
        ok, photo = False, seeing.AWAY
        log.exception("a photo was not looked at")
    SECONDS.labels("vision", "ok" if ok else "failed").observe(time.perf_counter() - began)
    await context.ended(Stage.VISION, ok)
    return {"question": replace(question, photo=photo)}


def _begin(state: State) -> str:
    return "look" if state["question"].has_image else "understand"


async def _understand(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    context = runtime.context
    chat_node.set("understand")
    await context.started(Stage.INTENT)
    question = state["question"]
    found = await aside(question.text, understood, context.knowledge, question)
    question, found = await routing.routed(context, question, found)
    await context.ended(Stage.INTENT, True)
    return {"question": question, "understood": found}


async def _ask(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """The question with the place where its user is, where a node needs one and the user tells it."""
    context, question = runtime.context, state["question"]
    wanted = needed(state, context)
    assert wanted is not None
    assert context.ask is not None
    location = Location.read(await context.ask(*wanted))
    return {"question": replace(question, location=location)} if location else {}


def _ask_or_route(state: State, runtime: Runtime[Context]) -> str | list[Send]:
    return _route(state) if needed(state, runtime.context) is None else "ask"


def _route(state: State) -> list[Send]:
    return [Send(intent.value, state) for intent in state["understood"].intents]


async def _run(intent: Intent, node: Node, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """The node's part; a node that fails costs its own part, never the answer."""
    context, stage, ok = runtime.context, STAGE[intent], True
    chat_node.set(intent)  # each node runs in a context of its own
    began = time.perf_counter()
    await context.started(stage)
    try:
        with telemetry.span("chat.node", attributes={"eco2.intent": intent.value}):
            async with asyncio.timeout(LONGER_SECONDS.get(intent, NODE_SECONDS)):
                part = await node(state, context)
    except Exception:
        ok = False
        log.exception("a node failed", extra={"intent": intent.value})
        part = Part(intent, say("away", state["understood"].lang))
    SECONDS.labels(intent, "ok" if ok else "failed").observe(time.perf_counter() - began, telemetry.exemplar())
    await context.ended(stage, ok)
    return {"parts": [part]}


async def _compose(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Say the parts in the order of the intents."""
    context = runtime.context
    order = {intent: place for place, intent in enumerate(state["understood"].intents)}
    parts = sorted(state["parts"], key=lambda part: order[part.intent])
    await context.started(Stage.ANSWER)
    texts: list[str] = []
    if about_photo := _about_photo(state):
        await context.say(about_photo)
        texts.append(about_photo)
    for part in parts:
        if not part.said:
            await context.say(("\n\n" if texts else "") + part.text)
        texts.append(part.text)
    await context.ended(Stage.ANSWER, True)
    return {"answer": "\n\n".join(texts)}


def _about_photo(state: State) -> str:
    """Sentence about the photo; "" where a node said it, or where it is not what the words are about."""
    photo, understood = state["question"].photo, state["understood"]
    if photo is None or understood.intents == (Intent.GENERAL,):
        return ""
    return seeing.told(photo, understood.lang) if understood.of_photo or photo.away else ""


if TYPE_CHECKING:
    Graph = CompiledStateGraph[State, Context, State, State]


async def run(graph: "Graph", question: Question, context: Context) -> State:
    begin = {"question": question, "parts": []}
    return cast(State, await graph.ainvoke(cast(State, begin), context=context))


def _refuse_to_report() -> None:
    """LangGraph brings a client that sends what was said to a third party, if these variables ask it to."""
    if found := sorted(name for name in os.environ if name.startswith(("LANGSMITH_", "LANGCHAIN_"))):
        raise SystemExit(f"Cannot start: take {', '.join(found)} away, chats are sent to nobody.")


def build() -> "Graph":
    _refuse_to_report()
    graph: StateGraph[State, Context, State, State] = StateGraph(State, context_schema=Context)
    graph.add_node("look", _look)
    graph.add_node("understand", _understand)
    graph.add_node("compose", _compose)
    for intent, node in NODES.items():
        graph.add_node(intent.value, partial(_run, intent, node))
        graph.add_edge(intent.value, "compose")
    graph.add_conditional_edges(START, _begin, ["look", "understand"])
    graph.add_edge("look", "understand")
    nodes = [intent.value for intent in NODES]
    graph.add_node("ask", _ask)
    graph.add_conditional_edges("understand", _ask_or_route, ["ask", *nodes])
    graph.add_conditional_edges("ask", _route, nodes)
    graph.add_edge("compose", END)
    return graph.compile()
