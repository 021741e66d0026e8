"""The broker's client: publishing with confirms, health of a consumer, retries during an outage."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aio_pika
import orjson
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError
from opentelemetry.trace import SpanKind
from prometheus_client import Counter

from eco2.core import telemetry
from eco2.core.errors import AWAY, Unavailable
from eco2.messaging.headers import SENT_HEADER  # its module makes every header readable

log = logging.getLogger(__name__)
T = TypeVar("T")

PUBLISH_SECONDS = 4.0
PUBLISH_ATTEMPTS = 3
CLOSE_SECONDS = 1.0
STALE_SECONDS = 10.0
STUCK_SECONDS = 60.0
RETRY_PAUSES = (0.5, 2.0, 5.0)
"""Seconds before a failed message is requeued, by its delivery count."""
OUTAGE_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
OUTAGE_SECONDS = 120.0
"""Time for which a message is kept while a server that its work needs is away. That is no failure of the message:
giving it back would use up its deliveries and end it in the dead letters during an outage of seconds."""

BROKER_ERRORS = (*CONNECTION_EXCEPTIONS, OSError, TimeoutError)
"""Errors that aio-pika raises when the broker or a channel is gone; some of them are RuntimeErrors."""

PUBLISHED = Counter("eco2_messages_published_total", "Messages confirmed by the broker", ["exchange", "routing_key"])


def pass_on_cancellation() -> None:
    """Raises CancelledError in a task that is to end.

    To be called after an error of aio-pika, which now and then answers a cancellation with that error: the task would
    never end."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class _Connection(aio_pika.Connection):
    async def connect(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as in the library
        """Close a connection that failed to open at once: its finalizer would run in a thread without an event loop."""
        try:
            await super().connect(timeout)
        except BaseException:
            await self.close()
            raise


async def open_connection(url: str, heartbeat: int | None = None) -> AbstractConnection:
    """BROKER_ERRORS when there is none within PUBLISH_SECONDS. `heartbeat`: seconds, by default the broker's."""
    more: dict[str, Any] = {} if heartbeat is None else {"heartbeat": heartbeat}
    found: AbstractConnection = await aio_pika.connect(
        url, timeout=PUBLISH_SECONDS, connection_class=_Connection, **more
    )
    return found


class BrokerDown(Unavailable):
    """The message broker does not answer; try again."""

    code = "BROKER_UNAVAILABLE"


class Publisher:
    """Publishes with confirms over one connection, reconnecting as needed. Safe for concurrent use in one loop."""

    def __init__(self, broker_url: str) -> None:
        self._url = broker_url
        self._lock = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    async def send_task(
        self,
        exchange: str,
        routing_key: str,
        task: str,
        *args: str,
        priority: int | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> None:
        """A Celery task message (protocol 2). `priority` counts on classic queues only; `headers` are added."""
        task_id = str(uuid.uuid4())
        own = {
            "lang": "py",
            "task": task,
            "id": task_id,
            "root_id": task_id,
            "parent_id": None,
            "group": None,
            "retries": 0,
            "eta": None,
            "expires": None,
            "timelimit": [None, None],
            "argsrepr": repr(args),
            "kwargsrepr": "{}",
            "ignore_result": True,
        }
        embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
        body = orjson.dumps([args, {}, embed])
        await self._send(exchange, routing_key, body, {**own, **(headers or {})}, task_id, priority=priority)

    async def send_json(
        self, exchange: str, routing_key: str, body: Mapping[str, object], message_id: str, *, mandatory: bool = True
    ) -> None:
        """A plain JSON message of a contract; one that is not `mandatory` may find no queue."""
        await self._send(exchange, routing_key, orjson.dumps(body), {}, message_id, mandatory)

    async def send_as_it_is(
        self, exchange: str, routing_key: str, body: bytes, headers: Mapping[str, Any], message_id: str
    ) -> None:
        """A message of any body."""
        await self._send(exchange, routing_key, body, dict(headers), message_id)

    async def _send(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        headers: dict[str, Any],
        message_id: str,
        mandatory: bool = True,
        priority: int | None = None,
    ) -> None:
        with telemetry.detail("publish", SpanKind.PRODUCER, {"messaging.routing_key": routing_key}):
            message = aio_pika.Message(
                body,
                headers={**headers, **telemetry.trace_headers(), SENT_HEADER: time.time()},
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                correlation_id=message_id,
                message_id=message_id,
                priority=priority,
            )
            try:
                await self._publish(exchange, routing_key, message, mandatory)
            except BROKER_ERRORS as error:
                raise BrokerDown from error
        PUBLISHED.labels(exchange, routing_key).inc()

    async def _publish(self, exchange: str, routing_key: str, message: aio_pika.Message, mandatory: bool) -> None:
        until = asyncio.get_running_loop().time() + PUBLISH_SECONDS
        for attempt in range(PUBLISH_ATTEMPTS):
            channel = None
            try:
                async with asyncio.timeout_at(until):
                    channel = await self._open_channel()
                    target = await channel.get_exchange(exchange, ensure=False)
                    await target.publish(message, routing_key, mandatory=mandatory)
                return
            except BROKER_ERRORS as error:
                pass_on_cancellation()
                # A quorum queue nacks while it elects a leader. A closed channel is opened again, and so is one that
                # got no answer in time: the other end may be gone without a word.
                if not isinstance(error, DeliveryError):
                    await self._discard(channel)
                if attempt == PUBLISH_ATTEMPTS - 1 or asyncio.get_running_loop().time() >= until:
                    raise
                await asyncio.sleep(0.1 * 2**attempt)

    async def _open_channel(self) -> AbstractChannel:
        async with self._lock:
            if self._channel is None or self._channel.is_closed:
                await self._disconnect()
                self._connection = await open_connection(self._url)
                self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
            return self._channel

    async def _discard(self, failed: AbstractChannel | None) -> None:
        """Close the connection of a channel that failed, unless another caller has already replaced it."""
        async with self._lock:
            if self._channel is failed:
                await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and not connection.is_closed:
            with contextlib.suppress(*BROKER_ERRORS):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.close()

    async def close(self) -> None:
        async with self._lock:
            await self._disconnect()

    async def depth(self, *queues: str) -> int:
        """Count the messages that wait in these queues, those in work not counted. BrokerDown."""
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                channel = await self._open_channel()
                declared = [await channel.declare_queue(name, passive=True) for name in queues]
        except BROKER_ERRORS as error:
            pass_on_cancellation()
            raise BrokerDown from error
        return sum(queue.declaration_result.message_count or 0 for queue in declared)

    async def ping(self) -> None:
        """Raises BrokerDown when there is no open channel and none can be opened."""
        try:
            await self._open_channel()
        except BROKER_ERRORS as error:
            pass_on_cancellation()
            raise BrokerDown from error


class Heartbeat:
    """When the consumer loop last turned, and whether it is connected to the broker at all."""

    def __init__(self) -> None:
        self.last = 0.0
        self.connected = False

    def beat(self) -> None:
        self.last = time.monotonic()

    async def check_ready(self) -> None:
        """Raises unless the loop is connected and turned within STALE_SECONDS."""
        if not self.connected or time.monotonic() - self.last > STALE_SECONDS:
            raise BrokerDown("the consumer loop is not connected to the broker")

    async def check_alive(self) -> None:
        """Raises when a connected loop has been stuck for STUCK_SECONDS; a broker that is away is no reason."""
        if self.connected and time.monotonic() - self.last > STUCK_SECONDS:
            raise RuntimeError("the consumer loop is stuck")


def is_away(error: Exception) -> bool:
    """True for an error of a server that does not answer now. A TimeoutError, which is an OSError, is none: the work
    itself took too long."""
    return isinstance(error, tuple(AWAY)) and not isinstance(error, TimeoutError)


async def ride_out(work: Callable[[], Awaitable[T]]) -> T:
    """Do it, again and again while a server is away, for OUTAGE_SECONDS at most."""
    start, failures = time.monotonic(), 0
    while True:
        try:
            return await work()
        except Exception as error:
            if not is_away(error) or time.monotonic() - start > OUTAGE_SECONDS:
                raise
            log.warning("a server is away, trying again: %s", str(error).partition("\n")[0])
        await asyncio.sleep(OUTAGE_PAUSES[min(failures, len(OUTAGE_PAUSES) - 1)])
        failures += 1
