"""The broker: publishing with confirms, Celery workers whose task bodies are async, dead letters.

Why it is built so (docs/adr/0003): task bodies run as coroutines on one event loop per process, so a service
function is written once; the next stage is published by aio-pika with a confirm before the finished one is
acknowledged. A message that fails for a passing reason is requeued after a pause; the broker counts deliveries and
dead-letters it at the limit of its queue, so a poison message ends there whatever happens to the worker.
"""

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, TypeVar

import aio_pika
import orjson
import uvloop
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError, DeliveryError
from celery import Celery, bootsteps
from celery.exceptions import Reject
from celery.worker.consumer import Consumer
from kombu import Queue
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram
from pydantic import Field

from eco2.core import telemetry
from eco2.core.errors import Unavailable
from eco2.core.ops import Check, OpsApp, serve_async
from eco2.core.settings import BrokerSettings, Settings, SettingsGroup

log = logging.getLogger(__name__)

PUBLISH_SECONDS = 4.0
PUBLISH_ATTEMPTS = 3
HEARTBEAT_SECONDS = 1.0
STALE_SECONDS = 10.0
STUCK_SECONDS = 60.0
RETRY_PAUSES = (0.5, 2.0, 5.0)
"""Seconds before a failed message is requeued, by its delivery count: rides out a restart of a server (~10 s)."""

TASK_SECONDS = Histogram("eco2_task_seconds", "Time of a task", ["task", "outcome"])
PUBLISHED = Counter("eco2_messages_published_total", "Messages confirmed by the broker", ["exchange", "routing_key"])

T = TypeVar("T")
R = TypeVar("R")
Handler = Callable[[R, str], Awaitable[None]]


class BrokerDown(Unavailable):
    """The message broker does not answer; try again."""

    code = "BROKER_UNAVAILABLE"


class WorkerSettings(SettingsGroup):
    worker_concurrency: int = Field(default=32, ge=1)
    """Messages in work at once; also the prefetch of each queue."""


class Publisher:
    """Publishes with confirms over one connection, reconnecting as needed. Safe for concurrent use in one loop."""

    def __init__(self, broker_url: str) -> None:
        self._url = broker_url
        self._lock = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    async def send_task(self, exchange: str, routing_key: str, task: str, *args: str) -> None:
        """A Celery task message (protocol 2)."""
        task_id = str(uuid.uuid4())
        headers = {
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
        await self._send(exchange, routing_key, body, headers, message_id=task_id)

    async def send_json(self, exchange: str, routing_key: str, body: Mapping[str, object], message_id: str) -> None:
        """A plain JSON message of a contract."""
        await self._send(exchange, routing_key, orjson.dumps(body), {}, message_id)

    async def _send(
        self, exchange: str, routing_key: str, body: bytes, headers: dict[str, Any], message_id: str
    ) -> None:
        message = aio_pika.Message(
            body,
            headers={**headers, **telemetry.trace_headers()},
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            correlation_id=message_id,
            message_id=message_id,
        )
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._publish(exchange, routing_key, message)
        except (AMQPError, OSError, TimeoutError) as error:
            raise BrokerDown from error
        PUBLISHED.labels(exchange, routing_key).inc()

    async def _publish(self, exchange: str, routing_key: str, message: aio_pika.Message) -> None:
        for attempt in range(PUBLISH_ATTEMPTS):
            try:
                channel = await self._open_channel()
                target = await channel.get_exchange(exchange, ensure=False)
                await target.publish(message, routing_key, mandatory=True)
                return
            except (AMQPError, OSError) as error:
                # A quorum queue nacks while it elects a leader; a closed channel is opened again.
                if attempt == PUBLISH_ATTEMPTS - 1:
                    raise
                if not isinstance(error, DeliveryError):
                    await self.close()
                await asyncio.sleep(0.1 * 2**attempt)

    async def _open_channel(self) -> AbstractChannel:
        async with self._lock:
            if self._channel is None or self._channel.is_closed:
                await self._disconnect()
                self._connection = await aio_pika.connect(self._url, timeout=PUBLISH_SECONDS)
                self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
            return self._channel

    async def _disconnect(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and not connection.is_closed:
            await connection.close()

    async def close(self) -> None:
        async with self._lock:
            await self._disconnect()

    async def depth(self, *queues: str) -> int:
        """How many messages wait in these queues, those in work not counted. BrokerDown."""
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                channel = await self._open_channel()
                declared = [await channel.declare_queue(name, passive=True) for name in queues]
        except (AMQPError, OSError, TimeoutError) as error:
            raise BrokerDown from error
        return sum(queue.declaration_result.message_count or 0 for queue in declared)

    async def ping(self) -> None:
        """Raises BrokerDown when there is no open channel and none can be opened."""
        try:
            await self._open_channel()
        except (AMQPError, OSError, TimeoutError) as error:
            raise BrokerDown from error


class QuorumConsumer(Consumer):
    """Celery's consumer without delayed delivery, which declares 28 queues of its own and needs topic exchanges."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[valid-type,misc]
        default_steps = tuple(step for step in Consumer.Blueprint.default_steps if "delayed_delivery" not in step)


def celery_app(settings: BrokerSettings, queues: Sequence[str]) -> Celery:
    """Celery on quorum queues that exist already: confirms, late acknowledgement, no results, no remote control."""
    app = Celery("eco2", broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        # Celery takes the queue type from here to leave out the global QoS that quorum queues refuse.
        task_queues=[Queue(name, no_declare=True, queue_arguments={"x-queue-type": "quorum"}) for name in queues],
        task_default_queue=queues[0],
        task_default_queue_type="quorum",
        task_create_missing_queues=False,
        task_acks_late=True,
        task_acks_on_failure_or_timeout=False,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_detect_quorum_queues=True,
        worker_consumer=f"{__name__}:QuorumConsumer",
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_transport_options={"confirm_publish": True},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=10,
    )
    return app


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

    def step(self) -> type[bootsteps.StartStopStep]:
        """A bootstep that beats from inside Celery's consumer loop."""
        heartbeat = self

        class HeartbeatStep(bootsteps.StartStopStep):
            requires = ("celery.worker.consumer.tasks:Tasks",)

            def start(self, consumer: Any) -> None:
                heartbeat.connected = True
                heartbeat.beat()
                self.timer = consumer.timer.call_repeatedly(HEARTBEAT_SECONDS, heartbeat.beat)

            def stop(self, _consumer: Any) -> None:
                heartbeat.connected = False
                self.timer.cancel()

            shutdown = stop

        return HeartbeatStep


class LoopThread:
    """An event loop in a thread of its own, for the coroutines of a worker whose main thread is Celery's."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="eco2-loop", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it on the loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)


class CelerySettings(Settings, BrokerSettings, WorkerSettings):
    """What every Celery worker has."""


Background = Callable[[R], Coroutine[Any, Any, None]]


def run_worker(
    name: str,
    settings: CelerySettings,
    open_resources: Callable[[], AbstractAsyncContextManager[R]],
    tasks: Mapping[str, Handler[R]],
    queues: Sequence[str],
    checks: Callable[[R], Mapping[str, Check]],
    background: Sequence[Background[R]] = (),
) -> None:
    """Consume `queues` until SIGTERM, then finish the messages in work and return.

    `tasks` maps a task name to `async handler(resources, argument)`. A handler that raises is a passing failure: the
    message is requeued. `background` coroutines run beside the tasks for as long as the process lives.
    """
    telemetry.setup(name, settings)
    thread, heartbeat, stack = LoopThread(), Heartbeat(), AsyncExitStack()
    resources = thread.call(stack.enter_async_context(open_resources()))
    app = celery_app(settings, queues)
    app.steps["consumer"].add(heartbeat.step())
    for task_name, handler in tasks.items():
        _register(app, thread, task_name, handler, resources)
    ops = OpsApp(name, {**checks(resources), "consumer": heartbeat.check_ready}, alive=heartbeat.check_alive)
    services = [asyncio.run_coroutine_threadsafe(serve_async(ops, settings), thread.loop)]
    services += [asyncio.run_coroutine_threadsafe(start(resources), thread.loop) for start in background]
    try:
        app.Worker(
            pool="threads",
            concurrency=settings.worker_concurrency,
            hostname=f"{name}@{uuid.uuid4().hex[:8]}",
            without_gossip=True,
            without_mingle=True,
            loglevel=settings.log_level,
            quiet=True,
        ).start()
    finally:
        for service in services:
            service.cancel()
        thread.call(stack.aclose())
        thread.close()


def _register(app: Celery, thread: LoopThread, name: str, handler: Handler[R], resources: R) -> None:
    def body(task: Any, argument: str) -> None:
        request = task.request
        deliveries = int(request.get("x-delivery-count") or 0)
        carrier = {"traceparent": str(request.get("traceparent") or "")}
        if not thread.call(_run(name, handler, resources, argument, carrier, deliveries)):
            raise Reject("failed for a passing reason", requeue=True)

    app.task(name=name, bind=True)(body)


async def _run(
    name: str, handler: Handler[R], resources: R, argument: str, carrier: Mapping[str, str], deliveries: int
) -> bool:
    """False when the message has to be delivered again."""
    telemetry.job_id.set(argument)
    start, outcome = time.perf_counter(), "completed"
    with telemetry.span(name, carrier, SpanKind.CONSUMER, {"eco2.deliveries": deliveries}):
        try:
            await handler(resources, argument)
        except Exception:
            outcome = "requeued"
            log.exception("task failed", extra={"task": name, "deliveries": deliveries})
            await asyncio.sleep(RETRY_PAUSES[min(deliveries, len(RETRY_PAUSES) - 1)])
    TASK_SECONDS.labels(name, outcome).observe(time.perf_counter() - start)
    return outcome == "completed"
