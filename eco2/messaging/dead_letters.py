"""Failed work of vhost `tasks` becomes a dead letter with its error.

Its queues are classic, and count no deliveries: a worker that gave the message back would get it again without end. So
it sends the letter itself, with the reason, and acknowledges the message. Should the process die between the two,
the work is tried once more. A message that is no task becomes a dead letter in the same way.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from aiormq import Channel, spec
from prometheus_client import Counter

from eco2.contracts.queues import CHAT_QUEUES, DEAD_LETTER_EXCHANGE, QUEUES, TASK_QUEUES, TASKS_EXCHANGE
from eco2.contracts.tasks import (
    DIED_HEADER,
    ERROR_HEADER,
    REPLAYS_HEADER,
    ROUTING_KEY_HEADER,
    TRANSIENT_HEADER,
    Task,
)
from eco2.core.errors import AWAY
from eco2.messaging.broker import Publisher
from eco2.messaging.headers import printable, whole_number

log = logging.getLogger(__name__)

GIVEN_UP = Counter("eco2_tasks_given_up_total", "Messages that became dead letters", ["task", "transient"])
ERROR_LENGTH = 2000
SHORT = 200
"""Longest text of an unreadable message that is kept in a header."""

replays: ContextVar[int] = ContextVar("replays", default=0)
"""Times that the message in work has been sent again from the dead letters."""

R = TypeVar("R")


class Carried(Protocol):
    """Part of a message that `reject` needs."""

    body: bytes
    message_id: str | None

    @property
    def headers(self) -> Mapping[str, Any]: ...


async def give_up(publisher: Publisher, task: Task, argument: str, error: str, *, transient: bool) -> None:
    """Send the dead letter of the message in work. BrokerDown."""
    headers = {
        ERROR_HEADER: error[:ERROR_LENGTH],
        TRANSIENT_HEADER: transient,
        DIED_HEADER: datetime.now(UTC).isoformat(),
        ROUTING_KEY_HEADER: task.routing_key,
        REPLAYS_HEADER: replays.get(),
    }
    key = TASK_QUEUES[task.queue].dead_letter_key
    await publisher.send_task(TASKS_EXCHANGE, key, task.name, argument, headers=headers)
    GIVEN_UP.labels(task.name, transient).inc()
    log.error("given up: %s", error, extra={"task": task.name, "transient": transient})


def comes_from(queue: str, routing_key: str) -> bool:
    """True when a message of vhost `tasks` with this key lay in that queue; without an exchange its key is the name."""
    return routing_key == queue or routing_key.startswith(TASK_QUEUES[queue].keys.removesuffix("*"))


async def refuse(publisher: Publisher, message: "Refused") -> None:
    """Send the dead letter of a message that is no task of ours, its body as it came. BrokerDown."""
    headers = {
        ERROR_HEADER: message.error[:ERROR_LENGTH],
        TRANSIENT_HEADER: False,
        DIED_HEADER: datetime.now(UTC).isoformat(),
        ROUTING_KEY_HEADER: printable(message.routing_key, SHORT),
        REPLAYS_HEADER: whole_number(message.headers.get(REPLAYS_HEADER)),
        "task": printable(message.headers.get("task") or "", SHORT),
    }
    key = TASK_QUEUES[message.queue].dead_letter_key
    await publisher.send_as_it_is(TASKS_EXCHANGE, key, message.body, headers, message.id)
    GIVEN_UP.labels("unreadable", False).inc()
    log.error("no task of ours: %s", message.error, extra={"queue": message.queue})


@dataclass(frozen=True)
class Refused:
    """A message that its worker cannot take as a task, and why."""

    queue: str
    error: str
    id: str
    routing_key: str
    headers: Mapping[str, Any]
    body: bytes


async def reject(
    channel: Channel, queue: str, tag: int, message: Carried, *, requeue: bool, error: str = "its work failed"
) -> None:
    """Reject a message of a quorum queue, which dead-letters it at once or at the limit of its deliveries.

    A queue of RabbitMQ crashes when it dead-letters a message whose `x-death` is not a broker's, and loses it. The
    letter of such a message is sent here. BROKER_ERRORS.
    """
    known = QUEUES.get(queue) or CHAT_QUEUES.get(queue)
    key = known.dead_letter_key if known else None
    if key is None or "x-death" not in message.headers or _is_a_brokers(message.headers["x-death"]):
        await channel.basic_reject(tag, requeue=requeue)
        return
    headers: dict[str, Any] = {
        ERROR_HEADER: printable(error, ERROR_LENGTH),
        TRANSIENT_HEADER: False,
        DIED_HEADER: datetime.now(UTC).isoformat(),
        REPLAYS_HEADER: whole_number(message.headers.get(REPLAYS_HEADER)),
    }
    properties = spec.Basic.Properties(headers=headers, delivery_mode=2, message_id=message.message_id)
    await channel.basic_publish(message.body, exchange=DEAD_LETTER_EXCHANGE, routing_key=key, properties=properties)
    await channel.basic_ack(tag)


def _is_a_brokers(deaths: object) -> bool:
    """True when this is a list of deaths as a broker writes it."""
    return isinstance(deaths, list) and all(
        isinstance(death, dict)
        and isinstance(death.get("queue"), str)
        and isinstance(death.get("reason"), str)
        and type(death.get("count")) is int
        for death in deaths
    )


def guarded(
    task: Task, handler: Callable[[R, str], Awaitable[None]], publisher: Callable[[R], Publisher]
) -> Callable[[R, str], Awaitable[None]]:
    """The handler, within the time of the task; its failure becomes a dead letter.

    A server that is away is no failure of the message: that is raised, and the message kept or given back.
    """

    async def run(resources: R, argument: str) -> None:
        try:
            async with asyncio.timeout(task.seconds):
                await handler(resources, argument)
        except TimeoutError:
            error = f"not done within {task.seconds:g} s"
            await give_up(publisher(resources), task, argument, error, transient=True)
        except tuple(AWAY):
            raise
        except Exception as error:
            log.exception("task failed", extra={"task": task.name})
            await give_up(publisher(resources), task, argument, repr(error), transient=False)

    return run
