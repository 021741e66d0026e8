"""The live side of the gateway: one Pub/Sub connection per process, one channel per job that a client follows.

A channel hands each live frame to its listeners. Frames may be lost, late, doubled or in another order; a listener
corrects that by the log, and is woken to read it whenever the channel is subscribed again.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import orjson
from prometheus_client import Gauge
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from eco2.contracts.events import TOKEN, Stage, channel
from eco2.core import telemetry
from eco2.core.errors import Unavailable
from eco2.messaging.events import trace_ids
from eco2.sse_gateway.text import Part

PING_SECONDS = 5.0
DEAD_SECONDS = 12.0
"""Nothing received for so long, not even a pong: the connection is dead, even if TCP has no error."""
SUBSCRIBE_SECONDS = 2.0
BACKOFF_SECONDS = (0.1, 2.0)
KEPT_FRAMES = 16
"""Live frames kept for one slow listener, which reads later ones from the log."""

SUBSCRIBED = Gauge("eco2_sse_subscribed_jobs", "Jobs whose channel is subscribed")

log = logging.getLogger(__name__)


class Frame:
    """One event as it is sent."""

    __slots__ = ("data", "seq", "terminal", "traced")

    def __init__(self, text: str, event: dict[str, Any] | None = None) -> None:
        """`event`: the text as read, where it has been."""
        event = event or orjson.loads(text)
        self.seq: int = event["seq"]
        self.terminal: bool = event["stage"] == Stage.DONE
        self.traced = event if telemetry.exporting() else None
        """The event, where its trace is collected."""
        trace_id, span_id = trace_ids(event.get("traceparent", ""))
        whole = f'{text.rstrip()[:-1]},"trace_id":"{trace_id}","span_id":"{span_id}"}}'
        self.data = f"event: {event['stage']}\nid: {self.seq}\ndata: {whole}\n\n".encode()


class Listener:
    """The mailbox of one stream. `frames` and `parts` are a bounded short cut: whatever is not there is in the log, or
    in the text of the job.

    A future made for each wait instead of an asyncio.Event, which keeps 0.7 kB per stream for its queue of waiters.
    """

    __slots__ = ("_waiter", "dropped", "frames", "gone", "parts", "woken")

    def __init__(self) -> None:
        self.frames: dict[int, Frame] = {}
        self.parts: dict[int, Part] = {}
        self.woken = self.dropped = self.gone = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, received: Frame | Part) -> None:
        kept: dict[int, Any] = self.parts if isinstance(received, Part) else self.frames
        if len(kept) < KEPT_FRAMES:
            kept[received.seq] = received
        else:
            self.dropped = True
        self.wake()

    def take(self, after: int) -> list[Frame]:
        """The frames that directly follow `after`; older ones are dropped, newer ones stay."""
        # After a drop there is more to see than what is here: the next wait is to end at once.
        self.woken, self.dropped = self.dropped, False
        ready = []
        while frame := self.frames.pop(after + 1, None):
            ready.append(frame)
            after += 1
        if self.frames:
            self.frames = {seq: frame for seq, frame in self.frames.items() if seq > after}
        return ready

    def leave(self) -> None:
        """The client went away."""
        self.gone = True
        self.wake()

    def wake(self) -> None:
        self.woken = True
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Until there is a reason to look since the last `take`, at most so long."""
        if self.woken:
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self.wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None


class _Channel:
    __slots__ = ("confirmed", "listeners")

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.confirmed = False


class Registration:
    """`async with` it: within, the listener receives. Unavailable when the server does not confirm it in time."""

    __slots__ = ("channels", "listener", "name", "touch")

    def __init__(self, channels: dict[str, _Channel], name: str, touch: Callable[[str], None]) -> None:
        self.channels, self.name, self.touch = channels, name, touch
        self.listener = Listener()

    async def __aenter__(self) -> Listener:
        entry = self.channels.setdefault(self.name, _Channel())
        entry.listeners.append(self.listener)
        if len(entry.listeners) == 1:
            self.touch(self.name)
        try:
            await self._confirmation(entry)
        except BaseException:
            self._remove()
            raise
        return self.listener

    async def __aexit__(self, *_: object) -> None:
        self._remove()

    async def _confirmation(self, entry: _Channel) -> None:
        now = asyncio.get_running_loop().time
        deadline = now() + SUBSCRIBE_SECONDS
        while not entry.confirmed:
            if now() >= deadline:
                raise Unavailable("Live events are not available at the moment; try again.")
            self.listener.take(0)
            await self.listener.wait(deadline - now())

    def _remove(self) -> None:
        entry = self.channels[self.name]
        entry.listeners.remove(self.listener)
        if not entry.listeners:
            del self.channels[self.name]
            self.touch(self.name)


class Hub:
    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.connected = False
        self._channels: dict[str, _Channel] = {}
        # Channels whose wanted state may differ from the server's; only the writer talks to the connection, so a
        # client that goes away in mid-command cannot break it for the others.
        self._changed: set[str] = set()
        self._write = asyncio.Event()

    async def check(self) -> None:
        """Raises when live events cannot arrive."""
        if not self.connected:
            raise RedisConnectionError("the Pub/Sub connection is down")

    def listen(self, job_id: str) -> Registration:
        return Registration(self._channels, channel(job_id), self._touch)

    def _touch(self, name: str) -> None:
        SUBSCRIBED.set(len(self._channels))
        self._changed.add(name)
        self._write.set()

    async def run(self) -> None:
        """Keep the connection until cancelled."""
        delay = BACKOFF_SECONDS[0]
        while True:
            try:
                await self._session()
            except* (RedisError, OSError) as errors:
                delay = BACKOFF_SECONDS[0] if self.connected else min(delay * 2, BACKOFF_SECONDS[1])
                log.warning("Pub/Sub connection lost: %s; again in %.1f s", errors.exceptions[0], delay)
            finally:
                self._disconnected()
            await asyncio.sleep(delay)

    def _disconnected(self) -> None:
        self.connected = False
        for entry in self._channels.values():
            entry.confirmed = False

    async def _session(self) -> None:
        """One connection, until it breaks: subscribe the wanted channels, then follow changes and receive."""
        pool = self.redis.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            self._changed = set(self._channels)
            self._write.set()
            self.connected = True
            async with asyncio.TaskGroup() as both:
                both.create_task(self._send_changes(connection))
                both.create_task(self._receive(connection))
        finally:
            await connection.disconnect(nowait=True)
            await pool.release(connection)

    async def _send_changes(self, connection: AbstractConnection) -> None:
        while True:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await self._write.wait()
            except TimeoutError:
                await connection.send_command("PING", check_health=False)
                continue
            self._write.clear()
            changed, self._changed = self._changed, set()
            await self._send(connection, "SUBSCRIBE", changed & self._channels.keys())
            await self._send(connection, "UNSUBSCRIBE", changed - self._channels.keys())

    async def _send(self, connection: AbstractConnection, verb: str, names: set[str]) -> None:
        if names:
            await connection.send_command(verb, *names, check_health=False)

    async def _receive(self, connection: AbstractConnection) -> None:
        while True:
            message = await connection.read_response(timeout=DEAD_SECONDS)
            if message is None:
                raise RedisConnectionError(f"silent for {DEAD_SECONDS:g} s")
            kind, name, data = (*message, None)[:3]
            entry = self._channels.get(name)
            if entry is None:
                continue
            if kind == "message":
                _deliver(entry, data)
            elif kind == "subscribe":
                _confirm(entry)


def _deliver(entry: _Channel, message: str) -> None:
    """A message holds a frame a line: those of the job that the router had in hand at once."""
    try:
        received = [_received(text) for text in message.split("\n")]
    except (ValueError, KeyError, TypeError):
        # Anybody may publish to a channel; what counts is in the log.
        log.warning("a live message is no event: %.100r", message)
        return
    for listener in entry.listeners:
        for one in received:
            listener.put(one)


def _received(text: str) -> Frame | Part:
    event = orjson.loads(text)
    return Part(event, text) if event["stage"] == TOKEN else Frame(text, event)


def _confirm(entry: _Channel) -> None:
    """Wake all listeners to read the log, since earlier frames may have been missed."""
    entry.confirmed = True
    for listener in entry.listeners:
        listener.wake()
