"""Scheduled work on the running stack: ordered, sent, done in a process of its own, whatever is killed meanwhile."""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, LiteralString

import pytest

from eco2.contracts.queues import TASKS_EXCHANGE
from eco2.contracts.tasks import IMAGE_ANALYZE, IMAGE_CLASSIFY, Task
from eco2.core.postgres import Database
from eco2.jobs import dead_letters, service, store
from eco2.jobs.dead_letters import Urls
from eco2.jobs.objects import OpsStore
from eco2.jobs.schedule import LOCAL
from eco2.jobs.settings import ReportSettings
from eco2.local.stack import Stack
from eco2.messaging.broker import Publisher
from tests.conftest import FromStack, Person
from tests.e2e import journey
from tests.e2e.test_faults import back, send
from tests.e2e.test_waste import DEMO, analyze, polled, put
from tests.redis_server import until

People = Callable[[], Person]


@pytest.fixture
async def tasks(environment: dict[str, str]) -> AsyncIterator[Publisher]:
    publisher = Publisher(environment["ECO2_TASKS_BROKER_URL"])
    yield publisher
    await publisher.close()


@pytest.fixture
def urls(environment: dict[str, str]) -> Urls:
    return Urls(environment["ECO2_BROKER_URL"], environment["ECO2_TASKS_BROKER_URL"])


async def publish(publisher: Publisher, task: Task, argument: str) -> None:
    await publisher.send_task(TASKS_EXCHANGE, task.routing_key, task.name, argument, priority=task.priority)


async def order(db: Database, name: str, argument: str) -> str:
    return await service.order(db, name, argument)


async def run_of(db: Database, run_id: str) -> dict[str, Any]:
    return next(row for row in await store.newest(db, None, 1000) if row["id"] == run_id)


async def ended(db: Database, run_id: str, seconds: float = 100) -> dict[str, Any]:
    async def over() -> bool:
        return str((await run_of(db, run_id))["status"]) in ("done", "failed")

    await until(over, seconds)
    return await run_of(db, run_id)


def today() -> str:
    return datetime.now(LOCAL).date().isoformat()


async def test_a_day_becomes_statistics_and_a_report(db: Database, settings: FromStack) -> None:
    run = await order(db, "analytics.daily", today())
    statistics = await ended(db, run)
    assert (statistics["status"], statistics["error"]) == ("done", None)
    reported = await ended(db, f"report.generate:{today()}<{run}")
    assert (reported["status"], reported["error"]) == ("done", None)
    page = await OpsStore(settings(ReportSettings)).get(reported["result"]["html"])
    assert "Eco² 일일 보고" in (page or b"").decode()


async def test_the_running_platform_makes_a_proven_backup(db: Database) -> None:
    found = await ended(db, await order(db, "backup.database", ""))
    assert (found["status"], found["error"]) == ("done", None)
    assert found["result"]["tables"] > 5


async def test_a_bad_argument_fails_once_visibly_and_stays_for_the_operator(db: Database, urls: Urls) -> None:
    run = await order(db, "analytics.daily", "someday")
    found = await ended(db, run)
    assert (found["status"], found["attempts"]) == ("failed", 1)
    assert "is no day" in found["error"]
    (letter,) = [one for one in await dead_letters.listed(urls, ["tasks"]) if one.argument == run]
    assert (letter.transient, letter.due_at, letter.error) == (False, None, found["error"])
    assert letter.trace_id
    await dead_letters.settle(urls, [letter.id], everything=False, again=True)

    async def failed_again() -> bool:
        return int((await run_of(db, run))["attempts"]) == 2

    await until(failed_again, 30)

    async def there() -> bool:
        found = [one for one in await dead_letters.listed(urls, ["tasks"]) if one.argument == run]
        return [one.deaths for one in found] == [2]

    await until(there, 15)
    (letter,) = [one for one in await dead_letters.listed(urls, ["tasks"]) if one.argument == run]
    await dead_letters.settle(urls, [letter.id], everything=False, again=False)


@pytest.mark.parametrize("victim", ["batch-worker", "scheduler"])
async def test_a_run_survives_the_death_of(stack: Stack, db: Database, victim: str) -> None:
    await ended(db, await order(db, "analytics.daily", today()))
    run = await order(db, "report.generate", today())
    if victim == "batch-worker":

        async def running() -> bool:
            return str((await run_of(db, run))["status"]) == "running"

        await until(running, 30)
    old = await send(stack, victim, signal.SIGKILL)
    await back(stack, victim, old)
    found = await ended(db, run)
    assert (found["status"], found["error"]) == ("done", None)
    assert found["attempts"] == (2 if victim == "batch-worker" else 1)


# --- q.ai -------------------------------------------------------------------------------------------------------------


async def waiting_job(who: Person, db: Database) -> dict[str, Any]:
    """A job of the waste flow whose photo is there and whose message was never sent."""
    job = await analyze(who)
    await put(job["upload_url"], DEMO)
    await db.run("UPDATE scan.jobs SET status = 'queued', enqueued_at = now() WHERE id = %(id)s", id=job["job_id"])
    return job


async def test_classify_is_the_look_alone_and_analyze_goes_on_from_it(
    person: People, db: Database, tasks: Publisher
) -> None:
    who = person()
    job = await waiting_job(who, db)
    await publish(tasks, IMAGE_CLASSIFY, job["job_id"])

    async def columns() -> tuple[bool, bool]:
        sql: LiteralString = "SELECT vision IS NOT NULL, rule IS NOT NULL FROM scan.jobs WHERE id = %(id)s"
        row = await db.row(sql, id=job["job_id"])
        assert row is not None
        return bool(row[0]), bool(row[1])

    async def looked() -> bool:
        return (await columns())[0]

    await until(looked, 40)
    await asyncio.sleep(0.5)
    assert await columns() == (True, False)
    for _ in range(3):
        await publish(tasks, IMAGE_ANALYZE, job["job_id"])
    assert (await polled(who, job))[-1]["progress"] == 100
    frames = await journey.frames(who, f"/api/v1/scan/{job['job_id']}/events")
    assert sum(frame["stage"] == "done" for frame in frames) == 1


async def test_a_job_whose_message_died_in_q_ai_fails_visibly(
    person: People, db: Database, tasks: Publisher, urls: Urls
) -> None:
    who = person()
    job = await waiting_job(who, db)
    await tasks.send_task(TASKS_EXCHANGE, "dlq.ai", IMAGE_ANALYZE.name, job["job_id"])
    last = (await polled(who, job))[-1]
    assert last["progress"] == -1
    assert last["message"]
    (letter,) = [one for one in await dead_letters.listed(urls, ["tasks"]) if one.argument == job["job_id"]]
    assert letter.due_at is None, "its user knows already"
    await dead_letters.settle(urls, [letter.id], everything=False, again=False)


async def test_nonsense_in_q_ai_is_a_letter_with_its_reason(tasks: Publisher, urls: Urls) -> None:
    argument = f"no-uuid-{uuid.uuid4().hex}"
    await publish(tasks, IMAGE_ANALYZE, argument)

    async def there() -> bool:
        return any(one.argument == argument for one in await dead_letters.listed(urls, ["tasks"]))

    await until(there, 20)
    (letter,) = [one for one in await dead_letters.listed(urls, ["tasks"]) if one.argument == argument]
    assert (letter.queue, letter.reason, letter.transient) == ("q.ai", "failed", False)
    assert "ValueError" in (letter.error or "")
    await dead_letters.settle(urls, [letter.id], everything=False, again=False)
