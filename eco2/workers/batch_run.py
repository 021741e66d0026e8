"""One run of a task of `q.batch` or `q.sched`, in a process of its own: `python -m eco2.workers.batch_run TASK RUN`."""

import asyncio
import logging
import os
import sys
import threading
from importlib import import_module

from opentelemetry.trace import SpanKind

from eco2.contracts.tasks import (
    ANALYTICS_DAILY,
    BACKUP_DATABASE,
    CLEANUP_CACHE,
    CLEANUP_CHATS,
    CLEANUP_PHOTOS,
    CLEANUP_UPLOADS,
    NEWS_FEEDS,
    NEWS_NAVER,
    NEWS_NEWSDATA,
    REMINDERS_SEND,
    REPORT_GENERATE,
    STATS_AGGREGATE,
    TASKS,
    Outcome,
    Task,
)
from eco2.core import telemetry
from eco2.core.errors import AWAY
from eco2.core.postgres import open_database
from eco2.core.settings import load
from eco2.jobs import service
from eco2.jobs.settings import TaskSettings
from eco2.messaging import dead_letters
from eco2.messaging.broker import Publisher
from eco2.workers.batch import TRY_AGAIN

log = logging.getLogger(__name__)

TARGETS = {
    CLEANUP_CACHE: "eco2.scan.cleanup:run",
    CLEANUP_PHOTOS: "eco2.scan.photo_cleanup:run",
    CLEANUP_UPLOADS: "eco2.image.cleanup:run",
    CLEANUP_CHATS: "eco2.chat.cleanup:run",
    NEWS_NAVER: "eco2.info.worker:naver",
    NEWS_NEWSDATA: "eco2.info.worker:newsdata",
    NEWS_FEEDS: "eco2.info.worker:feeds",
    REMINDERS_SEND: "eco2.recycling.reminder_run:run",
    STATS_AGGREGATE: "eco2.jobs.stats:aggregate",
    ANALYTICS_DAILY: "eco2.jobs.stats:daily",
    REPORT_GENERATE: "eco2.jobs.report:generate",
    BACKUP_DATABASE: "eco2.jobs.backup:run",
}
"""Task → `module:coroutine function` that takes the argument of the run and gives its `Outcome`."""


async def perform(task: Task, argument: str) -> Outcome:
    """The work itself; its module is imported here, in the process of the one task that needs it."""
    module, _, function = TARGETS[task].partition(":")
    outcome: Outcome = await getattr(import_module(module), function)(argument)
    return outcome


async def work(settings: TaskSettings, task: Task, run_id: str) -> None:
    publisher = Publisher(settings.tasks_broker_url)
    dead_letters.replays.set(settings.replays)
    with telemetry.span(task.name, {"traceparent": settings.traceparent}, SpanKind.CONSUMER, {}):
        telemetry.about_job(run_id)
        async with open_database(settings, repeat=True) as db:
            try:
                await service.execute(db, publisher, task, run_id, lambda argument: perform(task, argument))
            finally:
                await publisher.close()


def _end_with_parent() -> None:
    """Its input is a pipe from the worker: when that closes, the message is delivered to another worker."""
    os.read(0, 1)  # not by sys.stdin, whose lock an ending interpreter would wait for
    os._exit(1)


def main() -> int:
    task, run_id = TASKS[sys.argv[1]], sys.argv[2]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    settings = load(TaskSettings)
    telemetry.setup(task.name, settings)
    try:
        asyncio.run(work(settings, task, run_id))
    except tuple(AWAY) as error:
        log.warning("a server is away: %s", str(error).partition("\n")[0])
        return TRY_AGAIN
    return 0


if __name__ == "__main__":
    sys.exit(main())
