"""Celery workers of vhost `tasks`, whose task bodies are async.

Task bodies run as coroutines on one event loop per process, so a service function is written once (docs/adr/0003). What
fails ends in the dead letters by `core.letters`; a message is given back only while a server is away, after a pause.
Scan stages are consumers of their own (`core.consumer`).
"""

import asyncio
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, TypeVar

import uvloop
from celery import Celery, bootsteps
from celery.exceptions import Reject
from celery.worker.consumer import Consumer
from kombu import Queue
from opentelemetry.trace import SpanKind

from eco2.contracts.tasks import REPLAYS_HEADER
from eco2.core import telemetry
from eco2.core.messaging import dead_letters
from eco2.core.messaging.broker import RETRY_PAUSES, Heartbeat, ride_out
from eco2.core.messaging.consumer import TASK_SECONDS
from eco2.core.ops import Check, OpsApp, serve_async
from eco2.core.settings import TasksWorkerSettings

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0

T = TypeVar("T")
R = TypeVar("R")
Handler = Callable[[R, str], Awaitable[None]]


class PlainConsumer(Consumer):
    """Celery's consumer without delayed delivery, which declares 28 queues of its own and needs topic exchanges.

    A message that Celery cannot make a request of ends the whole worker there, again at each delivery. Here it is
    refused like one that it cannot read: a dead letter, but from q.sched, which has none; what is due there is a row of
    `jobs.runs`, sent again.
    """

    class Blueprint(Consumer.Blueprint):  # type: ignore[valid-type,misc]
        default_steps = tuple(step for step in Consumer.Blueprint.default_steps if "delayed_delivery" not in step)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        consumer: Any = self  # the stubs lack what follows
        handle = super().create_task_handler(*args, **kwargs)

        def on_message(message: Any) -> None:
            try:
                handle(message)
            except (*consumer.connection_errors, *consumer.channel_errors):
                raise
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                consumer.on_decode_error(message, error)

        return on_message

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Celery acknowledges what it cannot read, and so loses it."""
        log.error("no task message: %.500r", message.headers, exc_info=exc)
        if not message.acknowledged:
            message.reject_log_error(log, self.connection_errors)  # type: ignore[attr-defined]


def celery_app(broker_url: str, queues: Sequence[str]) -> Celery:
    """Celery on queues that exist already: confirms, late acknowledgement, no results, no remote control."""
    app = Celery("eco2", broker=broker_url, set_as_current=False)
    app.conf.update(
        # Whatever they are: for quorum queues Celery leaves out the global QoS, which RabbitMQ 4 is giving up, and sets
        # the prefetch for each consumer, as we want it.
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
        worker_consumer=f"{__name__}:PlainConsumer",
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_transport_options={"confirm_publish": True},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=60,
    )
    return app


def heartbeat_step(heartbeat: Heartbeat) -> type[bootsteps.StartStopStep]:
    """A bootstep that beats from inside Celery's consumer loop."""

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


Background = Callable[[R], Coroutine[Any, Any, None]]


def run_worker(
    name: str,
    settings: TasksWorkerSettings,
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
    app = celery_app(settings.tasks_broker_url, queues)
    app.steps["consumer"].add(heartbeat_step(heartbeat))
    for task_name, handler in tasks.items():
        _register(app, thread, task_name, handler, resources)
    ops = OpsApp(name, {**checks(resources), "consumer": heartbeat.check_ready}, alive=heartbeat.check_alive)
    services = [asyncio.run_coroutine_threadsafe(serve_async(ops, settings), thread.loop)]
    services += [asyncio.run_coroutine_threadsafe(start(resources), thread.loop) for start in background]
    for service in services:
        service.add_done_callback(_end_with)
    try:
        worker = app.Worker(
            pool="threads",
            concurrency=settings.worker_concurrency,
            hostname=f"{name}@{uuid.uuid4().hex[:8]}",
            without_gossip=True,
            without_mingle=True,
            loglevel=settings.log_level,
            quiet=True,
        )
        worker.start()
    finally:
        for service in services:
            service.cancel()
        thread.call(stack.aclose())
        thread.close()
    if worker.exitcode:
        raise SystemExit(worker.exitcode)


def _end_with(service: Future[None]) -> None:
    """A worker without its ops pages or its watch would look alive and not be: it ends, and is started anew."""
    if not service.cancelled() and (error := service.exception()):
        log.error("a background service ended: %r", error)
        os.kill(os.getpid(), signal.SIGTERM)


def _register(app: Celery, thread: LoopThread, name: str, handler: Handler[R], resources: R) -> None:
    def body(task: Any, argument: str) -> None:
        request = task.request
        deliveries = int(request.get("x-delivery-count") or 0)
        carrier = {"traceparent": str(request.get("traceparent") or "")}
        carrier[REPLAYS_HEADER] = str(request.get(REPLAYS_HEADER) or 0)
        if not thread.call(_run(name, handler, resources, argument, carrier, deliveries)):
            raise Reject("failed for a passing reason", requeue=True)

    app.task(name=name, bind=True)(body)


async def _run(
    name: str, handler: Handler[R], resources: R, argument: str, carrier: Mapping[str, str], deliveries: int
) -> bool:
    """False when the message has to be delivered again."""
    telemetry.job_id.set(argument)
    dead_letters.replays.set(int(carrier[REPLAYS_HEADER]))
    start, outcome = time.perf_counter(), "completed"
    with telemetry.span(name, carrier, SpanKind.CONSUMER, {"eco2.deliveries": deliveries}):
        try:
            await ride_out(lambda: handler(resources, argument))
        except Exception:
            outcome = "requeued"
            log.exception("task failed", extra={"task": name, "deliveries": deliveries})
            await asyncio.sleep(RETRY_PAUSES[min(deliveries, len(RETRY_PAUSES) - 1)])
        seconds = time.perf_counter() - start
        TASK_SECONDS.labels(name, outcome).observe(seconds)
        log.info("task %s", outcome, extra={"task": name, "ms": round(seconds * 1000, 1)})
    return outcome == "completed"
