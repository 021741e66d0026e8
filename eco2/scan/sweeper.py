"""Finds the jobs that a dying process or a lost message left behind, and takes them to their end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import Counter

from eco2.contracts.queues import SCAN_EXCHANGE, SCAN_VISION
from eco2.scan import service, store
from eco2.scan.failures import TooLate
from eco2.scan.service import Services
from eco2.scan.settings import SweeperSettings
from eco2.scan.store import Job

log = logging.getLogger(__name__)

SWEPT = Counter("eco2_scan_swept_total", "Jobs that the sweeper had to take care of", ["kind"])
AT_ONCE = 8
"""Jobs taken care of at the same time: where each waits for a server that is away, a round still has an end."""


async def sweep(services: Services, settings: SweeperSettings) -> dict[str, int]:
    """Make one round; how many jobs of each kind were taken care of. Nothing while another process sweeps.

    Ends come first, and every job by itself: neither waits for one that cannot be sent.
    """
    async with store.sweeping(services.db) as ours:
        return await _round(services, settings) if ours else {}


async def _round(services: Services, settings: SweeperSettings) -> dict[str, int]:
    db, grace = services.db, settings.sweep_grace
    counts = {
        "overdue": await _each(await store.overdue(db, settings.sweep_deadline), lambda job: _give_up(services, job)),
        "unannounced": await _each(await store.unannounced(db, grace), lambda job: service.announce(services, job)),
        "unused": await store.forget_unused(db, settings.sweep_retention),
        "aborted": await store.revive_uploaded(db, grace),
        "never_queued": await _each(await store.never_queued(db, grace), lambda job: _queue(services, job)),
        "stuck": await _each(await store.stuck(db, settings.sweep_stuck), lambda job: _send_again(services, job)),
    }
    for marks in (services.queued_marks, services.announced_marks):
        await marks.write(db)
    counts = {kind: count for kind, count in counts.items() if count}
    for kind, count in counts.items():
        SWEPT.labels(kind).inc(count)
        log.warning("swept %d jobs", count, extra={"kind": kind})
    return counts


async def _each(jobs: Sequence[Job], act: Callable[[Job], Awaitable[None]]) -> int:
    """Take care of each job by itself; for how many that went well. The others come again in the next round."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(job: Job) -> bool:
        async with room:
            try:
                await act(job)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other jobs have no part in it
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


async def _send_again(services: Services, job: Job) -> None:
    """From the first stage: a stage whose output is stored only hands over to the next."""
    await services.publisher.send_task(SCAN_EXCHANGE, SCAN_VISION, SCAN_VISION, str(job.id))
    await store.swept(services.db, job.id)


async def run(services: Services, settings: SweeperSettings) -> None:
    """Sweep again and again. A round that fails is tried again in the next."""
    while True:
        await asyncio.sleep(settings.sweep_interval.total_seconds())
        try:
            await sweep(services, settings)
        except Exception:
            log.exception("sweep failed; again in %s", settings.sweep_interval)
