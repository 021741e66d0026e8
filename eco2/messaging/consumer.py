"""Consumers on an event loop: message by message, in batches, or as an observer of dead letters.

Each acknowledges after its work is done and gives back a message with a temporary failure, after a pause; the broker
counts deliveries and dead-letters a message at the limit of its queue, so a poison message ends there whatever happens
to the worker. While a server is away messages are kept and tried again. A lost connection does not interrupt work: the
message is delivered again, and that delivery waits for the work that goes on.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aiormq import Channel as LeanChannel
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram

from eco2.core import telemetry
from eco2.core.errors import AWAY
from eco2.messaging.broker import (
    BROKER_ERRORS,
    RETRY_PAUSES,
    Heartbeat,
    open_connection,
    pass_on_cancellation,
    ride_out,
)
from eco2.messaging.dead_letters import reject
from eco2.messaging.headers import SENT_HEADER, moment, whole_number

log = logging.getLogger(__name__)

CONSUMED = Counter("eco2_messages_consumed_total", "Messages handled by a batch consumer", ["queue", "outcome"])
TASK_SECONDS = Histogram("eco2_task_seconds", "Time of the work on one message", ["task", "outcome"])
WAIT_SECONDS = Histogram(
    "eco2_message_wait_seconds",
    "Time from the sending of a message to the begin of its first work",
    ["task"],
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
RECONNECT_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
STOP_SECONDS = 3.0
"""Time that a consumer that ends waits for the broker, and for work that it has cut off."""

Message = AbstractIncomingMessage
Handle = Callable[[Sequence[Message]], Awaitable[None]]
Work = Callable[[Message], Awaitable[None]]
Room = Callable[[str], int | None]
"""Queue → messages to hold at most now; None: as many as may be in work."""
ROOM_SECONDS = 0.25
STILL_SECONDS = 0.1


class PoisonMessage(ValueError):
    """The message can never be handled; it goes to the dead letters at once."""


async def _forever(url: str, heartbeat: Heartbeat, consume: Callable[[AbstractChannel], Awaitable[None]]) -> None:
    """Run `consume` on a fresh channel, again and again: a lost connection is opened anew after a pause."""
    failures = 0
    while True:
        try:
            connection = await open_connection(url, heartbeat=60)
            async with connection:
                failures, heartbeat.connected = 0, True
                heartbeat.beat()
                await consume(await connection.channel())
        except BROKER_ERRORS as error:
            pass_on_cancellation()
            pause = RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)]
            failures += 1
            log.warning("broker connection lost: %r; again in %s s", error, pause)
            heartbeat.connected = False
            await asyncio.sleep(pause)
        finally:
            heartbeat.connected = False


async def consume_each(
    url: str, works: Mapping[str, Work], at_once: int, heartbeat: Heartbeat, grace: float, room: Room | None = None
) -> None:
    """Run `works[queue]` for every message of each queue, `at_once` of a queue at a time.

    PoisonMessage sends a message to the dead letters at once. Cancelled, it takes no further message and lets those in
    work finish for `grace` seconds; what is left then is delivered again. `room`: how many messages of a queue to hold
    at most for the time being; it is asked again and again, and the others stay in their queue.
    """
    desk = _Desk(works, at_once)

    async def consume(channel: AbstractChannel) -> None:
        lean = await _lean(channel)
        consumers = _Consumers(channel, desk, at_once, room)
        try:
            await _follow(lean, consumers, heartbeat)
        except asyncio.CancelledError:
            await _stop(consumers)
            await desk.drain(grace)  # before the connection closes, so that they can be acknowledged
            raise

    try:
        await _forever(url, heartbeat, consume)
    finally:
        await desk.drain(grace)


class _Consumers:
    """The consumers of a channel, each with as many unacknowledged messages as there is room for.

    The broker takes a consumer's number when it begins: for another one it ends, what it holds stays in work, and a
    new one begins. What is on its way to a consumer that ends comes back to the queue and counts as delivered; so
    nothing is settled for a moment before, since with a backlog the broker sends one message for each that is."""

    def __init__(self, channel: AbstractChannel, desk: "_Desk", at_once: int, room: Room | None) -> None:
        self._channel, self._desk, self._at_once, self._room = channel, desk, at_once, room
        self._held: dict[str, tuple[int, str]] = {}
        """Queue → its prefetch and the tag of its consumer."""

    @property
    def tags(self) -> list[str]:
        return [tag for _, tag in self._held.values()]

    async def cancel(self) -> None:
        for queue, (_, tag) in self._held.items():
            await (await self._channel.get_queue(queue, ensure=False)).cancel(tag)

    async def adjust(self) -> None:
        for queue in self._desk.works:
            have, tag = self._held.get(queue, (0, ""))
            wanted = self._wanted(queue, have)
            if wanted == have:
                continue
            source = await self._channel.get_queue(queue, ensure=False)
            if tag:
                with self._desk.settling_nothing():
                    await asyncio.sleep(STILL_SECONDS)
                    await source.cancel(tag)
                del self._held[queue]
            if wanted:
                await self._channel.set_qos(prefetch_count=wanted)
                self._held[queue] = wanted, await source.consume(partial(self._desk.take, queue))

    def _wanted(self, queue: str, have: int) -> int:
        """In powers of two where it is less than all, so that it seldom changes; and nothing further while more than
        twice as many are in work."""
        room = None if self._room is None else self._room(queue)
        if room is None or room >= self._at_once:
            return self._at_once
        wanted = 1 << room.bit_length() - 1 if room else 0
        return 0 if have != wanted and self._desk.in_work(queue) >= 2 * wanted else wanted


async def _follow(channel: LeanChannel, consumers: _Consumers, heartbeat: Heartbeat) -> None:
    """Beat until the channel, or one of its consumers, is gone; ConnectionError then."""
    while not channel.is_closed:
        _check_consumers(channel, consumers.tags)
        await consumers.adjust()
        heartbeat.beat()
        await asyncio.wait([channel.closing], timeout=ROOM_SECONDS)
    raise ConnectionError("the channel was closed")


async def _lean(channel: AbstractChannel) -> LeanChannel:
    """The channel of aiormq that aio-pika wraps."""
    return cast(LeanChannel, await channel.get_underlay_channel())


def _check_consumers(channel: LeanChannel, tags: Sequence[str]) -> None:
    """Raise ConnectionError when the broker cancelled a consumer, as it does when its queue is deleted."""
    if not all(tag in channel.consumers for tag in tags):
        raise ConnectionError("a consumer was cancelled by the broker")


async def _stop(consumers: _Consumers) -> None:
    """Take no further message. A broker that does not answer sends none either."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await consumers.cancel()
    except BROKER_ERRORS as error:
        log.warning("the consumers could not be cancelled: %r", error)


@contextmanager
def timed(task: str) -> Iterator[None]:
    """Count work that came without a message of its own as if it had had one."""
    start, outcome = time.perf_counter(), "requeued"
    try:
        yield
        outcome = "completed"
    finally:
        TASK_SECONDS.labels(task, outcome).observe(time.perf_counter() - start, telemetry.exemplar())


class _Desk:
    """The messages in work, each in a task of its own.

    A task of aio-pika, in which it hands over a message, ends with the connection. Ours goes on; when the message is
    delivered again meanwhile, or sent a second time, the second waits for the first and shares its outcome.
    """

    def __init__(self, works: Mapping[str, Work], at_once: int) -> None:
        self.works = works
        self._places = {queue: asyncio.Semaphore(at_once) for queue in works}
        self._running: dict[tuple[str, bytes], asyncio.Task[str]] = {}
        self._closed = False
        self._settling = asyncio.Event()
        self._settling.set()

    @contextmanager
    def settling_nothing(self) -> Iterator[None]:
        self._settling.clear()
        try:
            yield
        finally:
            self._settling.set()

    def in_work(self, queue: str) -> int:
        return sum(name == queue for name, _ in self._running)

    async def take(self, queue: str, message: Message) -> None:
        """Begin the work as soon as there is a place. In a task of aio-pika: a message that still waits is let go."""
        places = self._places[queue]
        key = queue, message.body
        if key not in self._running:
            await places.acquire()
            if self._closed:
                places.release()
                return
            if key not in self._running:
                self._begin(key, message)
                return
            places.release()
        first = self._running[key]
        await asyncio.wait([first])
        ended = not first.cancelled() and first.exception() is None
        await self._settling.wait()
        await _settle(queue, message, first.result() if ended else "requeued")

    def _begin(self, key: tuple[str, bytes], message: Message) -> None:
        queue = key[0]
        task = asyncio.create_task(_work(queue, message, self.works[queue], self._settling))
        self._running[key] = task

        def done(ended: asyncio.Task[str]) -> None:
            del self._running[key]
            self._places[queue].release()
            if not ended.cancelled() and (error := ended.exception()):
                log.error("a message was left unsettled", exc_info=error, extra={"task": queue})

        task.add_done_callback(done)

    async def drain(self, grace: float) -> None:
        """Begin no more work, and return when none is left; after `grace` seconds the rest is cancelled."""
        self._closed = True
        if self._running:
            await asyncio.wait(self._running.values(), timeout=grace)
        left = list(self._running.values())
        for task in left:
            task.cancel()
        if left:
            log.warning("%d messages in work were cut off", len(left))
            await asyncio.wait(left, timeout=STOP_SECONDS)


async def _work(queue: str, message: Message, work: Work, settling: asyncio.Event) -> str:
    """Do the work and settle its message; the outcome."""
    start, outcome = time.perf_counter(), "completed"
    deliveries = _deliveries(message)
    waited(queue, message.headers.get(SENT_HEADER), deliveries)
    carrier = {"traceparent": str(message.headers.get("traceparent") or "")}
    with telemetry.span(queue, carrier, SpanKind.CONSUMER, {"eco2.deliveries": deliveries}):
        try:
            await ride_out(lambda: work(message))
        except PoisonMessage as error:
            outcome = "poison"
            log.error("poison message on %s: %.500s", queue, error)
        except (Exception, asyncio.CancelledError):
            pass_on_cancellation()  # else it is a failure of the work: something that it waited for was cancelled
            outcome = "requeued"
            log.exception("task failed", extra={"task": queue, "deliveries": deliveries})
            await asyncio.sleep(_pause(deliveries))
        await settling.wait()
        await _settle(queue, message, outcome)
        seconds = time.perf_counter() - start
        TASK_SECONDS.labels(queue, outcome).observe(seconds, telemetry.exemplar())
        log.debug("task %s", outcome, extra={"task": queue, "ms": round(seconds * 1000, 1)})
    return outcome


async def _settle(queue: str, message: Message, outcome: str) -> None:
    """Tell the broker. On a connection that was lost meanwhile nothing can be told: it delivers the message again."""
    try:
        if outcome == "completed":
            await message.ack()
        else:
            await _reject(queue, message, requeue=outcome == "requeued")
    except BROKER_ERRORS as error:
        log.warning("the broker was gone before the message could be settled: %r", error)


def waited(task: str, sent: object, deliveries: int) -> None:
    """Measure how old a message is when its work begins for the first time. `sent` may be anything."""
    if deliveries == 0 and (at := moment(sent)):
        WAIT_SECONDS.labels(task).observe(max(0.0, time.time() - at), telemetry.exemplar())


def _deliveries(message: Message) -> int:
    """Number of earlier deliveries of the message; the header may hold any value."""
    return whole_number(message.headers.get("x-delivery-count"))


def _pause(deliveries: int) -> float:
    return RETRY_PAUSES[min(deliveries, len(RETRY_PAUSES) - 1)]


async def consume_batches(
    url: str,
    queue: str,
    handle: Handle,
    heartbeat: Heartbeat,
    size: int = 100,
    wait: float = 0.05,
) -> None:
    """Hand messages of `queue` to `handle` in batches of up to `size`, at most `wait` seconds after the first.

    Acknowledged when `handle` returns. When a batch fails its messages are handled one by one, so that one bad
    message does not hold up the rest: PoisonMessage goes to the dead letters, anything else back to the queue after a
    pause (the queue's delivery limit ends that).
    """

    async def consume(channel: AbstractChannel) -> None:
        await channel.set_qos(prefetch_count=2 * size)
        source = await channel.get_queue(queue, ensure=False)
        inbox: asyncio.Queue[Message] = asyncio.Queue()
        tag, lean = await source.consume(inbox.put), await _lean(channel)
        while not channel.is_closed:
            _check_consumers(lean, [tag])
            batch = await _collect(inbox, size, wait, heartbeat)
            if batch:
                await _handle_batch(queue, batch, handle)
        raise ConnectionError("the channel was closed")

    await _forever(url, heartbeat, consume)


async def _collect(inbox: asyncio.Queue[Message], size: int, wait: float, heartbeat: Heartbeat) -> list[Message]:
    """The next batch; empty after a second without a message, so that a closed channel is noticed."""
    heartbeat.beat()
    batch: list[Message] = []
    try:
        async with asyncio.timeout(1.0):
            batch.append(await inbox.get())
        async with asyncio.timeout(wait):
            while len(batch) < size:
                batch.append(await inbox.get())
    except TimeoutError:
        pass
    return batch


async def _handle_batch(queue: str, batch: Sequence[Message], handle: Handle) -> None:
    began = time.time()
    for message in batch:
        waited(queue, message.headers.get(SENT_HEADER), _deliveries(message))
    try:
        await ride_out(lambda: handle(batch))
    except Exception:
        log.exception("batch of %d failed; handling its messages one by one", len(batch))
        failed = [message for message in batch if not await _handle_one(queue, message, handle)]
        await _requeue(queue, failed)
    else:
        await batch[-1].ack(multiple=True)
        _trace(queue, batch, began)
        CONSUMED.labels(queue, "completed").inc(len(batch))


def _trace(queue: str, batch: Sequence[Message], began: float) -> None:
    """Add the work on the batch to the trace of each of its messages."""
    if telemetry.exporting():
        attributes = {"eco2.batch": len(batch)}
        for message in batch:
            telemetry.record(queue, str(message.headers.get("traceparent") or ""), began, SpanKind.CONSUMER, attributes)


async def _handle_one(queue: str, message: Message, handle: Handle) -> bool:
    """False when the message has to be delivered again."""
    try:
        await ride_out(lambda: handle([message]))
    except PoisonMessage as error:
        log.error("poison message on %s: %.500s", queue, error)
        await _reject(queue, message, requeue=False, error=str(error))
        CONSUMED.labels(queue, "poison").inc()
        return True
    except Exception:
        log.exception("message failed", extra={"queue": queue})
        return False
    await message.ack()
    CONSUMED.labels(queue, "completed").inc()
    return True


async def _requeue(queue: str, failed: Sequence[Message]) -> None:
    if not failed:
        return
    await asyncio.sleep(_pause(max(map(_deliveries, failed))))
    for message in failed:
        await _reject(queue, message, requeue=True)
    CONSUMED.labels(queue, "requeued").inc(len(failed))


async def _reject(queue: str, message: Message, *, requeue: bool, error: str = "its work failed") -> None:
    lean = cast(LeanChannel, message.channel)
    await reject(lean, queue, message.delivery_tag or 0, message, requeue=requeue, error=error)


async def watch_dead_letters(
    url: str,
    exchange: str,
    routing_keys: Sequence[str],
    on_dead: Callable[[Message], Awaitable[None]],
    heartbeat: Heartbeat,
) -> None:
    """See a copy of every dead letter as it happens, leaving the dead-letter queues to the operator.

    The copies arrive on an exclusive queue that lives as long as this connection, so what dies while no observer is
    connected is not seen here.
    """

    async def see(batch: Sequence[Message]) -> None:
        try:
            await on_dead(batch[0])
        except Exception as error:
            if isinstance(error, (PoisonMessage, *AWAY)) or not batch[0].redelivered:
                raise
            log.exception("a dead letter could not be seen")  # nothing counts its deliveries: it would come for ever

    async def consume(channel: AbstractChannel) -> None:
        await channel.set_qos(prefetch_count=50)
        watch = await channel.declare_queue(exclusive=True, auto_delete=True)
        for key in routing_keys:
            await watch.bind(exchange, key)
        inbox: asyncio.Queue[Message] = asyncio.Queue()
        tag, lean = await watch.consume(inbox.put), await _lean(channel)
        while not channel.is_closed:
            _check_consumers(lean, [tag])
            for message in await _collect(inbox, 1, 0, heartbeat):
                await _handle_batch("dead-letters", [message], see)
        raise ConnectionError("the channel was closed")

    await _forever(url, heartbeat, consume)
