"""Work of vhost `tasks` that fails becomes a dead letter that says why.

Its queues are classic, and count no deliveries: a worker that gave the message back would get it again for ever. So
it sends the letter itself, with the reason, and acknowledges the message. Should the process die between the two,
the work is tried once more.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TypeVar

from prometheus_client import Counter

from eco2.contracts.queues import TASK_QUEUES, TASKS_EXCHANGE
from eco2.contracts.tasks import (
    DIED_HEADER,
    ERROR_HEADER,
    REPLAYS_HEADER,
    ROUTING_KEY_HEADER,
    TRANSIENT_HEADER,
    Task,
)
from eco2.core.errors import AWAY
from eco2.core.messaging.broker import Publisher

log = logging.getLogger(__name__)

GIVEN_UP = Counter("eco2_tasks_given_up_total", "Messages that became dead letters", ["task", "transient"])
ERROR_LENGTH = 2000

replays: ContextVar[int] = ContextVar("replays", default=0)
"""How often the message in work has been sent again from the dead letters."""

R = TypeVar("R")


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
