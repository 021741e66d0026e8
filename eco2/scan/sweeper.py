"""Finds the jobs that a dying process or a lost message left behind, and takes them to their end."""

import asyncio
import logging

from prometheus_client import Counter

from eco2.contracts.queues import SCAN_EXCHANGE, SCAN_VISION
from eco2.scan import service, store
from eco2.scan.service import Services
from eco2.scan.settings import SweeperSettings

log = logging.getLogger(__name__)

SWEPT = Counter("eco2_scan_swept_total", "Jobs that the sweeper had to take care of", ["kind"])
TOO_LATE = "분석이 너무 오래 걸려 멈췄어요. 다시 시도해 주세요."


async def sweep(services: Services, settings: SweeperSettings) -> dict[str, int]:
    """One round; how many jobs of each kind there were. Nothing while another process sweeps."""
    async with store.sweeping(services.db) as ours:
        if not ours:
            return {}
        never_queued = await store.never_queued(services.db, settings.sweep_grace)
        stuck = await store.stuck(services.db, settings.sweep_stuck)
        overdue = await store.overdue(services.db, settings.sweep_deadline)
        unannounced = await store.unannounced(services.db, settings.sweep_grace)
        for job in never_queued:
            await service.hand_over(services, job)
        for job in overdue:
            await service.fail(services, job.id, TOO_LATE)
        ended = {job.id for job in overdue}
        for job in stuck:
            if job.id not in ended:
                await _send_again(services, job)
        for job in unannounced:
            await service.announce(services, job)
        await services.announced_marks.write(services.db)
    found = {"never_queued": never_queued, "stuck": stuck, "overdue": overdue, "unannounced": unannounced}
    counts = {kind: len(jobs) for kind, jobs in found.items() if jobs}
    for kind, count in counts.items():
        SWEPT.labels(kind).inc(count)
        log.warning("swept %d jobs", count, extra={"kind": kind})
    return counts


async def _send_again(services: Services, job: store.Job) -> None:
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
