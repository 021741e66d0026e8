"""A job whose message was lost is told from one that waits and from one in work, and sent again."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from eco2.contracts.queues import SCAN_ANSWER, SCAN_RULE, SCAN_VISION
from eco2.messaging.broker import BrokerDown, Publisher
from eco2.scan import lost_jobs, state_store, store, sweeper, sweeper_store, worker, worker_resources
from eco2.scan.in_work import InWork
from eco2.scan.job import Job
from eco2.scan.lost_jobs import LostJobs
from eco2.scan.services import Services
from eco2.scan.settings import SweeperSettings, WorkerSettings
from tests.conftest import FromStack
from tests.integration.test_scan_service import SEEN, load, log_of, register
from tests.integration.test_sweeper import age, ends, with_photo
from tests.redis_server import until

LONGEST = timedelta(seconds=60)
MINUTES = 2


@pytest.fixture(autouse=True)
async def nobody_else(services: Services) -> None:
    """The open rows that other tests left behind would be counted as well."""
    await services.db.rows("DELETE FROM scan.jobs WHERE status IN ('queued', 'processing')")


async def silent(services: Services, minutes: int = MINUTES) -> Job:
    job = await with_photo(services)
    await services.bus.open(str(job.id), str(job.user_id))
    await store.enqueued(services.db, {job.id: datetime.now(UTC)})
    await age(services, job, "enqueued_at", minutes)
    return job


def holding(depth: int, queue: str = SCAN_VISION) -> LostJobs:
    """With queues that hold so many messages."""

    async def depths() -> Mapping[str, int]:
        return {SCAN_VISION: 0, SCAN_RULE: 0, SCAN_ANSWER: 0, queue: depth}

    return LostJobs(depths, between=0)


async def lost(services: Services, looks: LostJobs) -> set[str]:
    await looks.find(services.db, LONGEST)
    return {str(job.id) for job in await looks.find(services.db, LONGEST)}


async def test_a_job_that_its_queue_may_hold_waits(services: Services) -> None:
    jobs = [await silent(services, minutes) for minutes in (5, 4, 3)]
    assert await lost(services, holding(3)) == set()
    assert await lost(services, holding(2)) == {str(jobs[0].id)}, "the queue holds the newest"
    assert await lost(services, holding(0)) == {str(job.id) for job in jobs}


async def test_jobs_that_came_later_fill_the_queue_first(services: Services) -> None:
    """A purge, and then a backlog of new jobs."""
    old = await silent(services)
    for _ in range(3):
        young = await silent(services)
        sql = "UPDATE scan.jobs SET enqueued_at = now() - interval '10 s' WHERE id = %(id)s"
        await services.db.rows(sql, id=young.id)
    assert await lost(services, holding(4)) == set()
    assert await lost(services, holding(3)) == {str(old.id)}


async def test_a_job_is_counted_for_the_queue_of_its_stage(services: Services) -> None:
    job = await silent(services)
    await store.save_vision(services.db, job.id, SEEN)
    assert await lost(services, holding(0)) == set(), "it went on just now"
    await age(services, job, "moved_at", MINUTES)
    assert await lost(services, holding(1, SCAN_VISION)) == {str(job.id)}
    assert await lost(services, holding(1, SCAN_RULE)) == set()


async def test_a_job_in_work_is_not_lost_and_fills_no_queue(services: Services) -> None:
    working, waiting, missing = [await silent(services, minutes) for minutes in (5, 4, 6)]
    now = [0.0]
    in_work = InWork(lambda: now[0])
    with in_work.on(working.id):
        now[0] += 20
        await in_work.mark(services.db)
    assert await lost(services, holding(1)) == {str(missing.id)}
    await age(services, working, "marked_at", MINUTES)
    assert str(working.id) in await lost(services, holding(0)), "its worker died"
    assert waiting.id != missing.id


async def test_a_job_that_went_on_between_two_looks_is_not_lost(services: Services) -> None:
    job, looks = await silent(services), holding(0)
    assert await looks.find(services.db, LONGEST) == []
    await store.save_vision(services.db, job.id, SEEN)
    await age(services, job, "moved_at", MINUTES)
    assert await looks.find(services.db, LONGEST) == [], "it is another silence"
    assert [found.id for found in await looks.find(services.db, LONGEST)] == [job.id]


async def test_two_looks_have_some_time_between_them(services: Services) -> None:
    job = await silent(services)

    async def empty() -> Mapping[str, int]:
        return {SCAN_VISION: 0}

    looks = LostJobs(empty, between=0.3)
    for _ in range(2):
        assert await looks.find(services.db, LONGEST) == []
    await asyncio.sleep(0.3)
    assert [found.id for found in await looks.find(services.db, LONGEST)] == [job.id]


@pytest.mark.parametrize("seen", [False, True])
async def test_a_lost_message_is_sent_again_and_the_job_ends_once(
    services: Services, environment: dict[str, str], seen: bool
) -> None:
    """By what the real queues hold."""
    job = await silent(services)
    if seen:
        await store.save_vision(services.db, job.id, SEEN)
        await age(services, job, "moved_at", MINUTES)
    tasks = Publisher(environment["ECO2_TASKS_BROKER_URL"])

    async def depths() -> Mapping[str, int]:
        return await lost_jobs.depths(services.publisher, tasks)

    looks, settings = LostJobs(depths, between=0), SweeperSettings()
    assert "lost" not in await sweeper.sweep(services, settings, looks, {})
    assert (await sweeper.sweep(services, settings, looks, {}))["lost"] == 1
    await tasks.close()
    await ends(services, job, "completed")
    assert [event for event in await log_of(services, job) if event[0] == "done"] == [("done", "completed")]


async def test_a_job_that_was_sent_again_has_its_time(services: Services) -> None:
    job, looks = await register(services), holding(0)
    await store.enqueued(services.db, {job.id: datetime.now(UTC)})
    await age(services, job, "enqueued_at", MINUTES)
    await state_store.in_work(services.db, [job.id])
    await age(services, job, "marked_at", MINUTES)
    await sweeper_store.swept(services.db, job.id)
    assert await lost(services, looks) == set()


async def test_a_worker_marks_what_it_works_on(
    services: Services, settings: FromStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eco2.scan.in_work.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("eco2.scan.in_work.FIRST_SECONDS", 0.0)
    job = await silent(services)

    async def marked() -> bool:
        row = await services.db.row("SELECT marked_at FROM scan.jobs WHERE id = %(id)s", id=job.id)
        return row is not None and row[0] is not None

    async def stage(_resources: worker_resources.Resources, _job: Job) -> None:
        await until(marked, 5)

    async with worker_resources.open_resources(settings(WorkerSettings)) as resources:
        await worker.run_stage(resources, stage, job.id)


async def test_queues_that_cannot_be_asked_lose_nothing(services: Services) -> None:
    job = await silent(services)

    async def away() -> Mapping[str, int]:
        raise BrokerDown

    assert "lost" not in await sweeper.sweep(services, SweeperSettings(), LostJobs(away), {})
    assert (await load(services, job)).status == "queued"
