"""batch-worker: queues `q.batch` and `q.sched`. Each task runs in a process of its own (docs/adr/0017).

A task that crashes or is killed takes nothing else with it, its memory is given back, and a time limit can be enforced.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from eco2.contracts.queues import Q_BATCH, Q_SCHED
from eco2.contracts.tasks import TASKS, Task
from eco2.core import telemetry
from eco2.core.errors import Unavailable
from eco2.core.ops import Check
from eco2.core.postgres import Database, open_database
from eco2.core.settings import load
from eco2.jobs import service
from eco2.jobs.settings import WorkerSettings
from eco2.messaging import dead_letters
from eco2.messaging.broker import Publisher
from eco2.messaging.celery_worker import Handler, run_worker
from eco2.recycling.push_settings import PushSettings

NAME = "batch-worker"
QUEUES = (Q_BATCH, Q_SCHED)
TRY_AGAIN = 75
"""Exit code of a process that could not even claim its run: a server was away."""
GRACE_SECONDS = 30.0
"""Time by which a process may overrun the time of its task, which it keeps itself, before it is killed."""


class CannotStart(Unavailable):
    """A server that the task needs to keep its run is away; try again."""


@dataclass(frozen=True)
class Resources:
    db: Database
    publisher: Publisher

    def checks(self) -> Mapping[str, Check]:
        return {"postgres": self.db.ping}


def command(task: Task, run_id: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "eco2.workers.batch_run", task.name, run_id)


async def spawn(task: Task, run_id: str) -> int:
    """Exit code of the process that did the run; it ends when this one does, because it sees its input closed."""
    trace = telemetry.trace_headers().get("traceparent", "")
    environment = {**os.environ, "ECO2_TRACEPARENT": trace, "ECO2_REPLAYS": str(dead_letters.replays.get())}
    process = await asyncio.create_subprocess_exec(
        *command(task, run_id), stdin=asyncio.subprocess.PIPE, env=environment, start_new_session=True
    )
    try:
        async with asyncio.timeout(task.seconds + GRACE_SECONDS):
            return await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with whatever it started


def handler(task: Task) -> Handler[Resources]:
    async def run(resources: Resources, run_id: str) -> None:
        try:
            code = await spawn(task, run_id)
        except TimeoutError:
            code, error = 1, f"killed: not done within {task.seconds:g} s"
        else:
            error = f"its process was ended by signal {-code}" if code < 0 else f"its process failed with code {code}"
        if code == TRY_AGAIN:
            raise CannotStart
        if code != 0:
            await service.fail(resources.db, resources.publisher, task, run_id, error, transient=True)

    return run


@asynccontextmanager
async def open_resources(settings: WorkerSettings) -> AsyncIterator[Resources]:
    publisher = Publisher(settings.tasks_broker_url)
    async with open_database(settings, repeat=True) as db:
        try:
            yield Resources(db, publisher)
        finally:
            await publisher.close()


def run() -> None:
    settings = load(WorkerSettings)
    # Each run of the task would fail by itself in the evening; a wrong key is told where somebody looks: at the start.
    load(PushSettings)
    run_worker(
        NAME,
        settings,
        lambda: open_resources(settings),
        {task.name: handler(task) for task in TASKS.values() if task.queue in QUEUES},
        QUEUES,
        Resources.checks,
        lambda resources: resources.publisher,
    )
