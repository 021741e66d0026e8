"""chat-worker: answers the turns of `chat.process`, message by message.

A turn ends once, whoever ends it; what is said is stored before its end is announced. A message that is delivered twice
finds the turn over and announces it again. A failure of the work is tried again by the broker; the last delivery fails
the turn visibly before its message becomes a dead letter.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import orjson
from prometheus_client import Counter, Histogram

from eco2 import knowledge
from eco2.chat import announcing, answering, turn_store, work_store
from eco2.chat.agent.state import Ask
from eco2.chat.answering import Agent
from eco2.chat.scans import Scans, open_scans
from eco2.chat.settings import WorkerSettings
from eco2.chat.speaking import Speaker
from eco2.chat.store import Json
from eco2.chat.turn_store import Answer, Turn
from eco2.chat.work_store import Begun
from eco2.contracts.events import Draft, Service, Stage, Status
from eco2.contracts.queues import CHAT_QUEUE, CHAT_QUEUES
from eco2.core import telemetry
from eco2.core.errors import AWAY, AppError, Unavailable
from eco2.core.ops import Check, OpsApp, run_until_terminated, serve_async
from eco2.core.postgres import Database, open_database
from eco2.core.settings import load
from eco2.core.shared_redis import connect_shared
from eco2.core.storage import Storage
from eco2.core.time_limit import time_limit
from eco2.knowledge import Knowledge
from eco2.llm import budget, spending
from eco2.messaging.broker import Heartbeat, ride_out
from eco2.messaging.consumer import Message, PoisonMessage, consume_each
from eco2.messaging.events import EventBus
from eco2.messaging.headers import whole_number

NAME = "chat-worker"
log = logging.getLogger(__name__)

TURNS = Counter("eco2_chat_turns_total", "Turns by how they ended", ["status", "intent"])
TURN_SECONDS = Histogram(
    "eco2_chat_turn_seconds", "From the message to its stored answer", buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60)
)
INPUTS = Counter(
    "eco2_chat_inputs_total", "Inputs that users were asked for, and whether they came", ["kind", "outcome"]
)
T = TypeVar("T")
ASKING_SHARE = 4
"""Part of a process's turns, one of so many, that may wait for inputs at once; others are answered without."""
LOOK_SECONDS = 0.5
"""Interval at which running turns are looked up for those that are to end."""
FAILED_CODE, FAILED = "ANSWER_FAILED", "답변하지 못했어요. 다시 시도해 주세요."


@dataclass(frozen=True)
class Resources:
    db: Database
    bus: EventBus
    storage: Storage
    knowledge: Knowledge
    scans: Scans
    agent: Agent
    settings: WorkerSettings
    consumer: Heartbeat
    running: dict[UUID, "asyncio.Task[Any]"] = field(default_factory=dict)
    """Turns whose answer is being found."""
    waiting: dict[UUID, "asyncio.Future[Json]"] = field(default_factory=dict)
    """Turns that wait for an input of their user."""
    asking: set[UUID] = field(default_factory=set)
    """Turns that ask for an input."""

    def checks(self) -> Mapping[str, Check]:
        return {
            "postgres": self.db.ping,
            "redis-streams": self.bus.redis.ping,
            "consumer": self.consumer.check_ready,
        }


async def work(resources: Resources, message: Message) -> None:
    job_id = _job_id(message.body)
    telemetry.about_job(str(job_id))
    begun = await work_store.begin(resources.db, job_id)
    if begun is None:
        await announcing.announce(resources.db, resources.storage, resources.bus, job_id)
        return
    try:
        await _answer(resources, begun)
    except AppError as error:
        if isinstance(error, Unavailable):
            raise
        await _fail(resources, begun.turn, error.code, error.message)
    except TimeoutError:
        await _fail(resources, begun.turn, announcing.LATE_CODE, announcing.LATE)
    except tuple(AWAY):
        raise
    except Exception:
        if whole_number(message.headers.get("x-delivery-count")) >= (CHAT_QUEUES[CHAT_QUEUE].delivery_limit or 0):
            await _fail(resources, begun.turn, FAILED_CODE, FAILED)
        raise


def _job_id(body: bytes) -> UUID:
    try:
        return UUID(orjson.loads(body)["job_id"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise PoisonMessage(f"no message of a turn: {error!r}") from error


async def _answer(resources: Resources, begun: Begun) -> None:
    turn, job = begun.turn, str(begun.turn.id)
    budget.spender.set(str(turn.user_id))
    speaker = Speaker(resources.bus, job, begun.attempt)
    if turn.cancel_asked:
        await _cancel(resources, turn, speaker)
        return
    async with time_limit(resources.settings.turn_timeout.total_seconds()):
        await resources.bus.emit(job, *announcing.beginning(), owner=str(turn.user_id))
        answer = await _unless_stopped(resources, turn.id, _reply(resources, begun, speaker))
        await speaker.finish()
    if answer is None:
        await _cancel(resources, turn, speaker)
    else:
        await _finish(resources, turn, "completed", answer)


async def _cancel(resources: Resources, turn: Turn, speaker: Speaker) -> None:
    """End the turn with the text so far as its answer."""
    said = speaker.said.strip() or announcing.STOPPED
    await _finish(resources, turn, "cancelled", Answer(said, metadata={"cancelled": True}))


async def _unless_stopped(resources: Resources, job_id: UUID, answer: Coroutine[Any, Any, T]) -> T | None:
    """The answer; None where its user stopped it."""
    task: asyncio.Task[T] = asyncio.create_task(answer)
    resources.running[job_id] = task
    try:
        return await task
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and current.cancelling():  # not its user: the process ends, or the time is up
            raise
        return None
    finally:
        if resources.running.get(job_id) is task:  # else another delivery of the same message is at it
            del resources.running[job_id]
        task.cancel()


async def stop_the_stopped(resources: Resources) -> None:
    """Cancel, again and again, what users stopped; they say so to chat-api, which notes it."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if not resources.running:
            continue
        try:
            ended = await work_store.to_stop(resources.db, list(resources.running))
        except tuple(AWAY) as error:
            log.warning("stopped turns cannot be looked up: %s", str(error).partition("\n")[0])
            continue
        for job_id in ended:
            if job_id in resources.running:
                resources.running[job_id].cancel()


async def bring_inputs(resources: Resources) -> None:
    """Hand over, again and again, what users gave; they gave it to chat-api, which noted it."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if not resources.waiting:
            continue
        try:
            given = await work_store.given(resources.db, list(resources.waiting))
        except tuple(AWAY) as error:
            log.warning("inputs cannot be looked up: %s", str(error).partition("\n")[0])
            continue
        for job_id, data in given.items():
            future = resources.waiting.get(job_id)
            if future is not None and not future.done():
                future.set_result(data)


def _asker(resources: Resources, turn: Turn) -> Ask:
    """Asks the user of the turn, whose client said that it can be asked. One that was asked by a worker that died is
    not asked again: the turn waits on, or has the input. A user is asked in one turn at a time, of all workers."""

    async def ask(kind: str, message: str) -> Json | None:
        if kind not in turn.inputs:
            return None
        if turn.waiting_for is None and turn.input is None and not _may_wait(resources):
            INPUTS.labels(kind, "too_many").inc()
            return None
        resources.asking.add(turn.id)
        try:
            waits, given = await turn_store.wait_for(resources.db, turn, kind)
            if not waits:
                INPUTS.labels(kind, "too_many").inc()
                return None
            if given is None:
                wanted: dict[str, object] = {"type": kind}
                draft = Draft(Stage.NEEDS_INPUT, Status.STARTED, 0, result=wanted, message=message, part=kind)
                await resources.bus.emit(str(turn.id), draft)
                given = await _given(resources, turn.id, kind)
        finally:
            resources.asking.discard(turn.id)
        INPUTS.labels(kind, "none" if given is None else "given").inc()
        await resources.bus.emit(str(turn.id), Draft(Stage.NEEDS_INPUT, Status.COMPLETED, 0, part=kind))
        return given

    return ask


def _may_wait(resources: Resources) -> bool:
    """False where so many wait that the turns of others would."""
    return len(resources.asking) < max(1, resources.settings.worker_concurrency // ASKING_SHARE)


async def _given(resources: Resources, job_id: UUID, kind: str) -> Json | None:
    future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
    resources.waiting[job_id] = future
    try:
        async with asyncio.timeout(resources.settings.input_timeout.total_seconds()):
            return await future
    except TimeoutError:
        return await turn_store.stop_waiting(resources.db, job_id, kind)
    finally:
        if resources.waiting.get(job_id) is future:
            del resources.waiting[job_id]


async def _keep_paid(resources: Resources, job_id: UUID, purpose: str, reply: Any) -> None:
    """Keep a reply of a paid model for the next delivery. Where that fails only a worker that dies pays again."""
    try:
        await work_store.keep_paid(resources.db, job_id, purpose, reply)
    except tuple(AWAY) as error:
        log.warning("a paid reply is not kept: %s", str(error).partition("\n")[0])


async def _reply(resources: Resources, begun: Begun, speaker: Speaker) -> Answer:
    memory = begun.memory
    if memory is None and begun.scan_job_id is not None:
        memory = await resources.scans.remembered(resources.knowledge, begun.scan_job_id)
    return await answering.reply(
        resources.agent,
        resources.bus,
        begun,
        memory,
        speaker,
        partial(_keep_paid, resources, begun.turn.id),
        _asker(resources, begun.turn) if begun.turn.inputs else None,
    )


async def _finish(resources: Resources, turn: Turn, status: turn_store.Status, answer: Answer) -> None:
    # Else the whole work would be done again, and the model paid again.
    if await ride_out(lambda: turn_store.finish(resources.db, turn, status, answer)):
        TURNS.labels(status, answer.intent or "").inc()
        TURN_SECONDS.observe((datetime.now(UTC) - turn.created_at).total_seconds(), telemetry.exemplar())
    await announcing.announce(resources.db, resources.storage, resources.bus, turn.id)


async def _fail(resources: Resources, turn: Turn, code: str, error: str) -> None:
    if await ride_out(lambda: turn_store.fail(resources.db, turn.id, code, error)):
        TURNS.labels("failed", code).inc()
    await announcing.announce(resources.db, resources.storage, resources.bus, turn.id)


@asynccontextmanager
async def open_resources(settings: WorkerSettings) -> AsyncIterator[Resources]:
    base = knowledge.load(settings.data_dir)
    async with AsyncExitStack() as stack:
        streams = await stack.enter_async_context(connect_shared(settings.redis_streams_url))
        db = await stack.enter_async_context(open_database(settings, repeat=False))
        yield Resources(
            db=db,
            bus=EventBus(streams, Service.CHAT),
            storage=Storage(settings),
            knowledge=base,
            scans=await stack.enter_async_context(open_scans(settings.grpc_scan_api, settings.service_secret)),
            agent=await stack.enter_async_context(answering.open_agent(settings, base, db)),
            settings=settings,
            consumer=Heartbeat(),
        )


async def _serve(settings: WorkerSettings) -> None:
    """Consume until cancelled, which lets the turns in work finish."""
    grace = settings.shutdown_grace.total_seconds()
    async with open_resources(settings) as resources, asyncio.TaskGroup() as tasks:
        pages = OpsApp(NAME, resources.checks(), alive=resources.consumer.check_alive)
        tasks.create_task(serve_async(pages, settings))
        tasks.create_task(stop_the_stopped(resources))
        tasks.create_task(bring_inputs(resources))
        works = {CHAT_QUEUE: partial(work, resources)}
        at_once = settings.worker_concurrency
        tasks.create_task(consume_each(settings.chat_broker_url, works, at_once, resources.consumer, grace))
        log.info("%s", await spending.described(settings, resources.agent.llm, "the rules answer"))


def run() -> None:
    settings = load(WorkerSettings)
    telemetry.setup(NAME, settings)
    run_until_terminated(_serve(settings))
