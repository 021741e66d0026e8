"""Celery workers of vhost `tasks`, whose task bodies are async.

Task bodies run as coroutines on one event loop per process, so a service function is written once (docs/adr/0003). What
fails, or is no task at all, becomes a dead letter (`dead_letters`); a message is given back only while a server is
away, after a pause. Scan stages are consumers of their own (`consumer`).
"""

import asyncio
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, TypeVar

import uvloop
from celery import Celery, bootsteps
from celery.exceptions import Reject
from celery.worker.consumer import Consumer
from kombu import Queue
from opentelemetry.trace import SpanKind

from eco2.contracts.tasks import REPLAYS_HEADER, TASKS, Task
from eco2.core import telemetry
from eco2.core.errors import AWAY
from eco2.core.ops import Check, OpsApp, serve_async
from eco2.core.settings import TasksWorkerSettings
from eco2.messaging import dead_letters
from eco2.messaging.broker import RETRY_PAUSES, Heartbeat, Publisher, ride_out
from eco2.messaging.celery_messages import NoTask, make_plain, message_id
from eco2.messaging.consumer import TASK_SECONDS, waited
from eco2.messaging.headers import SENT_HEADER, printable, whole_number

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0

T = TypeVar("T")
R = TypeVar("R")
Handler = Callable[[R, str], Awaitable[None]]


class PlainConsumer(Consumer):
    """Celery's consumer without delayed delivery, which declares 28 queues of its own and needs topic exchanges.

    What is no task of this worker ends a worker of Celery's, again at each delivery, or is thrown away. Here it becomes
    a dead letter that says why: `refuse` sends it. While that fails the message is given back.
    """

    class Blueprint(Consumer.Blueprint):  # type: ignore[valid-type,misc]
        default_steps = tuple(step for step in Consumer.Blueprint.default_steps if "delayed_delivery" not in step)

    refuse: Callable[[Any, str], None]
    names: Collection[str]

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        consumer: Any = self  # the stubs lack what follows
        handle = super().create_task_handler(*args, **kwargs)

        def on_message(message: Any) -> None:
            try:
                make_plain(message, self.names)
                handle(message)
            except (*consumer.connection_errors, *consumer.channel_errors):
                raise
            except NoTask as error:
                self._refuse(message, str(error))
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                consumer.on_decode_error(message, error)

        return on_message

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        self._refuse(message, f"it cannot be read: {printable(repr(exc), 500)}")

    def on_unknown_message(self, _body: Any, message: Any) -> None:
        self._refuse(message, "it is no task message")

    def on_unknown_task(self, _body: Any, message: Any, exc: Exception) -> None:
        self._refuse(message, f"there is no task {printable(str(exc), 100)} here")

    def on_invalid_task(self, _body: Any, message: Any, exc: Exception) -> None:
        self._refuse(message, f"it is no valid task: {printable(repr(exc), 500)}")

    def _refuse(self, message: Any, error: str) -> None:
        if message.acknowledged:
            return
        lost: tuple[type[Exception], ...] = self.connection_errors  # type: ignore[attr-defined]
        try:
            self.refuse(message, error)
        except tuple(AWAY) as away:
            log.warning("a message could not be refused, and is given back: %r", away)
            message.reject_log_error(log, lost, requeue=True)
        else:
            message.ack_log_error(log, lost)


def celery_app(broker_url: str, queues: Sequence[str], consumer: type[Consumer]) -> Celery:
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
        worker_consumer=consumer,
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
    publisher: Callable[[R], Publisher],
    background: Sequence[Background[R]] = (),
) -> None:
    """Consume `queues` until SIGTERM, then finish the messages in work and return.

    `tasks` maps a task name to `async handler(resources, argument)`. The message of a handler that raises because a
    server is away is requeued; any other error makes it a dead letter, sent by `publisher`. `background` coroutines run
    beside the tasks for as long as the process lives.
    """
    telemetry.setup(name, settings)
    thread, heartbeat, stack = LoopThread(), Heartbeat(), AsyncExitStack()
    resources = thread.call(stack.enter_async_context(open_resources()))
    letters = publisher(resources)
    app = celery_app(settings.tasks_broker_url, queues, _consumer(thread, letters, queues, tasks))
    app.steps["consumer"].add(heartbeat_step(heartbeat))
    for task_name, handler in tasks.items():
        _register(app, thread, task_name, _settled(handler, TASKS[task_name], letters), resources)
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


def _consumer(
    thread: LoopThread, publisher: Publisher, queues: Sequence[str], names: Collection[str]
) -> type[PlainConsumer]:
    def refuse(message: Any, error: str) -> None:
        key, headers = str(message.delivery_info.get("routing_key") or ""), message.headers
        body = message.body.encode() if isinstance(message.body, str) else bytes(message.body or b"")
        queue = next((name for name in queues if dead_letters.comes_from(name, key)), queues[0])
        letter = dead_letters.Refused(queue, error, message_id(message), key, headers, body)
        thread.call(dead_letters.refuse(publisher, letter))

    return type("RefusingConsumer", (PlainConsumer,), {"refuse": staticmethod(refuse), "names": names})


def _settled(handler: Handler[R], task: Task, publisher: Publisher) -> Handler[R]:
    """End what the handler cannot help: given back it would stay for ever, since nothing counts that."""

    async def run(resources: R, argument: str) -> None:
        try:
            await handler(resources, argument)
        except tuple(AWAY):
            raise
        except Exception as error:
            log.exception("task failed", extra={"task": task.name})
            await dead_letters.give_up(publisher, task, argument, repr(error), transient=False)

    return run


def _register(app: Celery, thread: LoopThread, name: str, handler: Handler[R], resources: R) -> None:
    running: dict[tuple[str, int], asyncio.Task[bool]] = {}

    async def once(argument: str, carrier: Mapping[str, str], replays: int, deliveries: int) -> bool:
        """Let a message that is delivered again, after a lost connection, wait while its work goes on.

        A dead letter that is replayed is other work, also when the work that gave it up has not quite ended."""
        key = argument, replays
        if key not in running:
            work = _run(name, handler, resources, argument, carrier, replays, deliveries)
            running[key] = asyncio.create_task(work)
            running[key].add_done_callback(lambda _: running.pop(key))
        return await running[key]

    def body(task: Any, argument: str) -> None:
        request = task.request
        deliveries, replays = (whole_number(request.get(key)) for key in ("x-delivery-count", REPLAYS_HEADER))
        carrier = {"traceparent": str(request.get("traceparent") or "")}
        waited(name, request.get(SENT_HEADER), deliveries)
        if not thread.call(once(argument, carrier, replays, deliveries)):
            raise Reject("failed for a passing reason", requeue=True)

    app.task(name=name, bind=True)(body)


async def _run(
    name: str,
    handler: Handler[R],
    resources: R,
    argument: str,
    carrier: Mapping[str, str],
    replays: int,
    deliveries: int,
) -> bool:
    """False when the message has to be delivered again."""
    dead_letters.replays.set(replays)
    start, outcome = time.perf_counter(), "completed"
    with telemetry.span(name, carrier, SpanKind.CONSUMER, {"eco2.deliveries": deliveries}):
        telemetry.about_job(argument)
        try:
            await ride_out(lambda: handler(resources, argument))
        except Exception:
            outcome = "requeued"
            log.exception("task failed", extra={"task": name, "deliveries": deliveries})
            await asyncio.sleep(RETRY_PAUSES[min(deliveries, len(RETRY_PAUSES) - 1)])
        seconds = time.perf_counter() - start
        TASK_SECONDS.labels(name, outcome).observe(seconds, telemetry.exemplar())
        log.info("task %s", outcome, extra={"task": name, "ms": round(seconds * 1000, 1)})
    return outcome == "completed"
