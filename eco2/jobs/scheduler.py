"""scheduler: one of any number leads. It makes the runs that are due, sends them, and replays dead letters.

The lead is a lock of a database session, so a leader that crashes loses it at once. Nothing rests on there being one
leader only: the name of a run is its primary key.
"""

import asyncio
import logging
import time

import psycopg
from prometheus_client import Counter, Gauge

from eco2.core import telemetry
from eco2.core.errors import AWAY
from eco2.core.ops import OpsApp, run_until_terminated, serve_async
from eco2.core.postgres import Database, OneConnection, open_database
from eco2.core.settings import load
from eco2.jobs import dead_letters, service, store
from eco2.jobs.settings import SchedulerSettings
from eco2.messaging.broker import Publisher

NAME = "scheduler"
TICK_SECONDS = 1.0
STANDBY_SECONDS = 2.0
log = logging.getLogger(__name__)

LEADING = Gauge("eco2_scheduler_leading", "1 while this scheduler leads")
PLANNED = Counter("eco2_runs_planned_total", "Runs made because their time had come")
LAST_DONE = Gauge("eco2_task_last_done_timestamp_seconds", "When a run of the task was done last", ["task"])
OLDEST = Gauge("eco2_runs_oldest_waiting_seconds", "Age of the oldest run that has not begun; 0 without one")
MEASURE_SECONDS = 15.0
REPLAYED = Counter("eco2_letters_replayed_total", "Dead letters sent again by the scheduler")


async def tick(session: OneConnection, publisher: Publisher) -> int:
    """Create due runs, commit them, then send them; the number of runs created."""
    async with session.transaction() as tx:
        made = await service.plan(tx, await store.now(tx))
    PLANNED.inc(len(made))
    for run_id in made:
        log.info("run planned", extra={"run": run_id})
    with telemetry.span("dispatch", {}):
        await service.dispatch(session, publisher)
    return len(made)


async def _lead(session: OneConnection, publisher: Publisher, settings: SchedulerSettings) -> None:
    looked = measured = 0.0
    while True:
        await tick(session, publisher)
        if time.monotonic() - measured > MEASURE_SECONDS:
            await _measure(session)
            measured = time.monotonic()
        if time.monotonic() - looked > settings.replay_interval.total_seconds():
            urls = dead_letters.Urls(settings.broker_url, settings.tasks_broker_url)
            try:
                REPLAYED.inc(await dead_letters.replay_due(urls, await store.now(session)))
            except dead_letters.DeadLettersBusy:
                log.info("another process reads the dead letters; next time")
            except tuple(AWAY) as error:
                log.warning("the dead letters cannot be looked at: %s", str(error).partition("\n")[0])
            except Exception:  # the runs go on whatever lies there
                log.exception("the dead letters cannot be looked at")
            looked = time.monotonic()
        await asyncio.sleep(TICK_SECONDS)


async def _measure(session: OneConnection) -> None:
    """Note how late the runs are, and when each task was done last."""
    for task, at in (await store.last_done(session)).items():
        LAST_DONE.labels(task).set(at.timestamp())
    OLDEST.set(await store.oldest_waiting(session))


async def lead(db: Database, publisher: Publisher, settings: SchedulerSettings) -> None:
    """Lead while no other process does, for as long as this one lives."""
    passing: tuple[type[Exception], ...] = (psycopg.Error, *AWAY)
    while True:
        try:
            async with store.leading(db) as session:
                LEADING.set(session is not None)
                if session is not None:
                    log.info("leading")
                    await _lead(session, publisher, settings)
        except passing as error:
            log.warning("lost the lead: %s", str(error).partition("\n")[0])
        LEADING.set(0)
        LAST_DONE.clear()  # the one that leads tells
        OLDEST.set(0)
        await asyncio.sleep(STANDBY_SECONDS)


async def work(settings: SchedulerSettings) -> None:
    publisher = Publisher(settings.tasks_broker_url)
    async with open_database(settings, repeat=False) as db, asyncio.TaskGroup() as tasks:
        checks = {"postgres": db.ping, "rabbitmq": publisher.ping}
        tasks.create_task(serve_async(OpsApp(NAME, checks), settings))
        tasks.create_task(lead(db, publisher, settings))


def run() -> None:
    settings = load(SchedulerSettings)
    telemetry.setup(NAME, settings)
    run_until_terminated(work(settings))
