"""scan-sweeper: ends or continues jobs that a crash, a dead letter or a lost message left behind.

A process of its own, so that it outlives the workers whose jobs it looks after (docs/adr/0028).
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

from prometheus_client import Counter, Gauge

from eco2 import knowledge
from eco2.contracts.events import Service
from eco2.contracts.queues import (
    DEAD_LETTER_EXCHANGE,
    Q_AI,
    QUEUES,
    SCAN_ANSWER,
    SCAN_EXCHANGE,
    SCAN_RULE,
    SCAN_VISION,
    TASK_QUEUES,
    TASKS_EXCHANGE,
)
from eco2.core import telemetry
from eco2.core.errors import Unavailable
from eco2.core.ops import Check, OpsApp, run_until_terminated, serve_async
from eco2.core.postgres import open_database
from eco2.core.settings import load
from eco2.core.shared_redis import connect_shared
from eco2.core.storage import Storage
from eco2.messaging.broker import Heartbeat, Publisher
from eco2.messaging.events import EventBus
from eco2.scan import lost_jobs, service, sweeper_store
from eco2.scan.dead_letters import fail_the_dead
from eco2.scan.failures import TooLate
from eco2.scan.job import Job
from eco2.scan.lost_jobs import LostJobs
from eco2.scan.services import Services
from eco2.scan.settings import SweeperSettings, SweeperWorkerSettings
from eco2.scan.sweeper_store import START, Page, Place, Silent

NAME = "scan-sweeper"
log = logging.getLogger(__name__)

SWEPT = Counter("eco2_scan_swept_total", "Jobs that the sweeper had to take care of", ["kind"])
OPEN = Gauge("eco2_scan_open_jobs", "Scans that have not ended, as the sweeper counted last")
OLDEST = Gauge("eco2_scan_oldest_seconds", "Age of the oldest scan that waits for a step, or 0", ["waits_for"])
AT_ONCE = 8
"""Jobs taken care of at the same time: where each waits for a server that is away, a round still has an end."""
PAGES_SECONDS = 10.0
"""Time in a round for jobs of one kind, after which no further page of them is begun."""


Places = dict[str, Place]
"""Kind → the row after which the next round goes on, where this one did not get through all of them."""


async def sweep(services: Services, settings: SweeperSettings, lost: LostJobs, places: Places) -> dict[str, int]:
    """Make one round; how many jobs of each kind were taken care of. Nothing while another process sweeps.

    Ends come first, and every job by itself: neither waits for one that cannot be sent.
    """
    async with sweeper_store.sweeping(services.db) as ours:
        if not ours:
            return {}
        backlog = await sweeper_store.backlog(services.db)
        OPEN.set(backlog.open)
        for step, seconds in backlog.oldest.items():
            OLDEST.labels(step).set(seconds)
        return await _round(services, settings, lost, places)


async def _round(services: Services, settings: SweeperSettings, lost: LostJobs, places: Places) -> dict[str, int]:
    db, grace, deadline, rows = services.db, settings.sweep_grace, settings.sweep_deadline, sweeper_store
    each = partial(_pages, places)
    counts = {
        "overdue": await each("overdue", partial(rows.overdue, db, deadline), partial(_give_up, services)),
        "unannounced": await each(
            "unannounced", partial(rows.unannounced, db, grace), partial(service.announce, services)
        ),
        "unused": await rows.forget_unused(db, settings.sweep_retention),
        "aborted": await rows.revive_uploaded(db, grace),
        "never_queued": await each("never_queued", partial(rows.never_queued, db, grace), partial(_queue, services)),
        "lost": await _each(await _lost(services, settings, lost), partial(_send_again, services)),
    }
    for marks in (services.queued_marks, services.announced_marks):
        await marks.write(db)
    counts = {kind: count for kind, count in counts.items() if count}
    for kind, count in counts.items():
        SWEPT.labels(kind).inc(count)
        log.warning("swept %d jobs", count, extra={"kind": kind})
    return counts


async def _pages(
    places: Places, kind: str, find: Callable[[Place], Awaitable[Page]], act: Callable[[Job], Awaitable[None]]
) -> int:
    """Take care of page after page, for `PAGES_SECONDS`. Jobs that fail again and again hold up no younger ones: the
    pages go past them, and a round goes on where the one before stopped, until the end is reached."""
    done, until = 0, time.monotonic() + PAGES_SECONDS
    while True:
        page = await find(places.pop(kind, START))
        done += await _each(page.jobs, act)
        if page.last is None:
            return done
        places[kind] = page.last
        if time.monotonic() >= until:
            return done


class _Found(Protocol):
    @property
    def id(self) -> UUID: ...


F = TypeVar("F", bound=_Found)


async def _each(jobs: Sequence[F], act: Callable[[F], Awaitable[None]]) -> int:
    """Take care of each job by itself; for how many that went well. The others come again in the next round."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(job: F) -> bool:
        async with room:
            try:
                await act(job)
            except Exception as error:  # noqa: BLE001 - no error of one job may stop the others
                log.warning("a job could not be swept: %r", error, extra={"job_id": str(job.id)})
                return False
        return True

    return sum(await asyncio.gather(*(one(job) for job in jobs)))


async def _give_up(services: Services, job: Job) -> None:
    await service.fail(services, job.id, TooLate())


async def _queue(services: Services, job: Job) -> None:
    """A job that cannot be sent is no aborted one, which would wait for its client: it stays for the next round."""
    if job.id not in services.queued_marks:
        await service.send_first(services, job)


async def _lost(services: Services, settings: SweeperSettings, lost: LostJobs) -> Sequence[Silent]:
    try:
        return await lost.find(services.db, settings.sweep_lost)
    except Unavailable as error:
        log.warning("the queues could not be asked: %r", error)
        return []


async def _send_again(services: Services, job: Silent) -> None:
    """To the first stage, or to the second where the first has stored its output: that one hands over to the third."""
    queue = SCAN_VISION if job.queue == SCAN_VISION else SCAN_RULE
    await services.publisher.send_task(SCAN_EXCHANGE, queue, queue, str(job.id))
    await sweeper_store.swept(services.db, job.id)


# --- the process ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resources(Services):
    settings: SweeperWorkerSettings
    tasks_publisher: Publisher
    dead_scans: Heartbeat
    dead_tasks: Heartbeat

    def checks(self) -> Mapping[str, Check]:
        return {
            "postgres": self.db.ping,
            "redis-streams": self.bus.redis.ping,
            "rabbitmq": self.publisher.ping,
            "dead-letters": self.dead_scans.check_ready,
            "dead-letters-tasks": self.dead_tasks.check_ready,
        }


@asynccontextmanager
async def open_resources(settings: SweeperWorkerSettings) -> AsyncIterator[Resources]:
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(open_database(settings, repeat=False))
        streams = await stack.enter_async_context(connect_shared(settings.redis_streams_url))
        publishers = [Publisher(url) for url in (settings.broker_url, settings.tasks_broker_url)]
        for publisher in publishers:
            stack.push_async_callback(publisher.close)
        resources = Resources(
            db=db,
            storage=Storage(settings),
            bus=EventBus(streams, Service.SCAN),
            publisher=publishers[0],
            knowledge=knowledge.load(settings.data_dir),
            upload_secret=settings.upload_secret,
            settings=settings,
            tasks_publisher=publishers[1],
            dead_scans=Heartbeat(),
            dead_tasks=Heartbeat(),
        )
        for marks in (resources.queued_marks, resources.announced_marks):
            stack.push_async_callback(marks.close, db)
        yield resources


async def sweep_again_and_again(resources: Resources) -> None:
    """A round that fails is tried again in the next."""
    settings = resources.settings
    lost = LostJobs(partial(lost_jobs.depths, resources.publisher, resources.tasks_publisher))
    places: Places = {}
    while True:
        await asyncio.sleep(settings.sweep_interval.total_seconds())
        try:
            await sweep(resources, settings, lost, places)
        except Exception:
            log.exception("sweep failed; again in %s", settings.sweep_interval)


async def _serve(settings: SweeperWorkerSettings) -> None:
    async with open_resources(settings) as resources, asyncio.TaskGroup() as tasks:
        tasks.create_task(serve_async(OpsApp(NAME, resources.checks()), settings))
        tasks.create_task(sweep_again_and_again(resources))
        keys = [str(QUEUES[name].dead_letter_key) for name in (SCAN_VISION, SCAN_RULE, SCAN_ANSWER)]
        watch = partial(fail_the_dead, resources)
        tasks.create_task(watch(settings.broker_url, DEAD_LETTER_EXCHANGE, keys, resources.dead_scans))
        keys = [TASK_QUEUES[Q_AI].dead_letter_key]
        tasks.create_task(watch(settings.tasks_broker_url, TASKS_EXCHANGE, keys, resources.dead_tasks))


def run() -> None:
    settings = load(SweeperWorkerSettings)
    telemetry.setup(NAME, settings)
    run_until_terminated(_serve(settings))
