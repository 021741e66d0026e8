"""Scheduled work is planned once, sent until it arrives, done once; failures become letters that say why."""

import asyncio
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eco2.contracts.tasks import ANALYTICS_DAILY, BACKUP_DATABASE, CLEANUP_CACHE, REPORT_GENERATE, Outcome, Task
from eco2.core.errors import Unavailable
from eco2.core.postgres import Database
from eco2.jobs import dead_letters, scheduler, service, store
from eco2.jobs.dead_letters import DeadLetter, Urls
from eco2.jobs.schedule import LOCAL
from eco2.messaging import dead_letters as died
from eco2.messaging.broker import BrokerDown, Publisher
from eco2.workers import batch
from tests.redis_server import free_port, until

TWO = datetime(2026, 11, 25, 2, tzinfo=LOCAL)
AT_TWO = f"backup.database@{TWO.isoformat(timespec='minutes')}"


class Recorder(Publisher):
    """Stands where the broker is: what was sent, or its failure."""

    def __init__(self, fails: int = 0) -> None:
        self.sent: list[str] = []
        self.fails = fails

    async def send_task(self, exchange: str, routing_key: str, task: str, *args: str, **_: Any) -> None:
        if self.fails:
            self.fails -= 1
            raise BrokerDown
        self.sent.append(args[0])


async def plan(db: Database, now: datetime) -> list[str]:
    async with db.transaction() as tx:
        return await service.plan(tx, now)


async def rows(db: Database) -> dict[str, dict[str, Any]]:
    async with db.transaction() as tx:
        return {row["id"]: row for row in await store.newest(tx, None, 100)}


async def dispatch(db: Database, publisher: Publisher) -> int:
    return await service.dispatch(db, publisher)


async def order(db: Database, task: Task = ANALYTICS_DAILY, argument: str = "x") -> str:
    async with db.transaction() as tx:
        return await service.order(tx, task.name, argument)


# --- planning ---------------------------------------------------------------------------------------------------------


async def test_a_scheduler_that_was_down_at_two_makes_up_for_it_once(own: Database) -> None:
    assert await plan(own, TWO - timedelta(hours=12)) == []
    assert AT_TWO in await plan(own, TWO + timedelta(hours=7))
    assert await plan(own, TWO + timedelta(hours=7, seconds=1)) == []


async def test_two_schedulers_at_once_make_one_run(own: Database) -> None:
    await plan(own, TWO - timedelta(minutes=1))
    made = await asyncio.gather(*(plan(own, TWO) for _ in range(4)))
    assert sorted(run for one in made for run in one) == [
        AT_TWO,
        f"cleanup.cache@{TWO.isoformat(timespec='minutes')}",
    ]


async def test_a_clock_that_jumps_doubles_nothing_and_stops_nothing(own: Database) -> None:
    await plan(own, TWO - timedelta(minutes=1))
    assert AT_TWO in await plan(own, TWO)
    assert await plan(own, TWO - timedelta(minutes=5)) == []
    assert await plan(own, TWO + timedelta(seconds=30)) == []
    assert await plan(own, TWO + timedelta(days=400)) != []
    assert await plan(own, TWO + timedelta(minutes=59)) == [], "the clock is right again"
    next_day = await plan(own, TWO + timedelta(days=1))
    assert [run for run in next_day if run.startswith("backup")] == [AT_TWO.replace("11-25", "11-26")]
    assert list(await rows(own)).count(AT_TWO) == 1


async def test_one_leads_and_another_takes_over_when_it_dies(own: Database) -> None:
    async with store.leading(own) as leader:
        assert leader is not None
        async with store.leading(own) as other:
            assert other is None
        row = await leader.row("SELECT pg_backend_pid()")
        assert row is not None
        await own.row("SELECT pg_terminate_backend(%(pid)s)", pid=row[0])

        async def taken_over() -> bool:
            async with store.leading(own) as other:
                return other is not None

        await until(taken_over, 5)
        with pytest.raises(Exception, match=r"terminat|closed|lost|consuming"):
            await scheduler.tick(leader, Recorder())


async def test_who_gives_up_the_lead_lets_go_of_it(own: Database) -> None:
    for _ in range(3):
        async with store.leading(own) as leader:
            assert leader is not None


# --- sending ----------------------------------------------------------------------------------------------------------


async def test_a_run_is_sent_when_the_broker_is_back(own: Database) -> None:
    run = await order(own)
    broker = Recorder(fails=1)
    with pytest.raises(BrokerDown):
        await dispatch(own, broker)
    assert (await rows(own))[run]["status"] == "due"
    assert await dispatch(own, broker) == 1
    assert await dispatch(own, broker) == 0
    assert broker.sent == [run]


async def test_a_message_without_a_sign_of_life_counts_as_lost(own: Database) -> None:
    run = await order(own)
    broker = Recorder()
    await dispatch(own, broker)
    await own.run("UPDATE jobs.runs SET sent_at = now() - interval '7 hours'")
    assert await dispatch(own, broker) == 1
    assert broker.sent == [run, run]


async def test_an_unknown_task_is_refused_with_the_known_ones(own: Database) -> None:
    for name in ("nonsense", "image.analyze"):
        async with own.transaction() as tx:
            with pytest.raises(service.UnknownTask, match=r"analytics\.daily"):
                await service.order(tx, name, "")


# --- doing ------------------------------------------------------------------------------------------------------------


class Work:
    def __init__(self, error: Exception | None = None, seconds: float = 0) -> None:
        self.error, self.seconds, self.calls = error, seconds, 0

    async def __call__(self, argument: str) -> Outcome:
        self.calls += 1
        await asyncio.sleep(self.seconds)
        if self.error:
            raise self.error
        return Outcome({"did": argument}, [(REPORT_GENERATE.name, argument)])


Execute = Callable[..., Any]


async def test_a_run_is_done_once_however_often_it_is_delivered(own: Database) -> None:
    run, work = await order(own, argument="2026-11-24"), Work(seconds=0.2)
    both = (service.execute(own, Recorder(), ANALYTICS_DAILY, run, work) for _ in range(3))
    await asyncio.gather(*both)
    await service.execute(own, Recorder(), ANALYTICS_DAILY, run, work)
    assert work.calls == 1
    found = await rows(own)
    assert (found[run]["status"], found[run]["result"]) == ("done", {"did": "2026-11-24"})
    follow = f"report.generate:2026-11-24<{run}"
    assert (found[follow]["status"], found[follow]["argument"]) == ("due", "2026-11-24")


async def test_a_process_that_died_with_a_run_leaves_it_to_the_next(own: Database) -> None:
    run = await order(own)
    async with own.transaction() as tx:
        await store.claim(tx, run)
    work = Work()
    await service.execute(own, Recorder(), ANALYTICS_DAILY, run, work)
    assert (work.calls, (await rows(own))[run]["attempts"]) == (1, 2)


async def test_an_unknown_run_is_let_go(own: Database) -> None:
    work = Work()
    await service.execute(own, Recorder(), ANALYTICS_DAILY, "never made", work)
    assert work.calls == 0


@pytest.mark.parametrize(
    ("error", "transient", "said"),
    [
        (ValueError("no such thing"), False, "ValueError: no such thing"),
        (Unavailable("The store is full."), True, "Unavailable: The store is full."),
        (TimeoutError(), True, "not done in time"),
    ],
)
async def test_a_failure_is_noted_and_becomes_a_letter_that_says_why(
    own: Database, tasks: Publisher, urls: Urls, error: Exception, transient: bool, said: str
) -> None:
    run = await order(own)
    token = died.replays.set(2)
    await service.execute(own, tasks, ANALYTICS_DAILY, run, Work(error))
    died.replays.reset(token)
    row = (await rows(own))[run]
    assert (row["status"], row["error"]) == ("failed", said)
    letter = await taken(urls, run)
    assert (letter.error, letter.transient, letter.deaths) == (said, transient, 3)
    assert (letter.task, letter.queue, letter.routing_key) == ("analytics.daily", "q.batch", "batch.analytics")
    wait = letter.due_at and letter.due_at - letter.died_at
    assert wait == (dead_letters.BACK_OFF[2] if transient else None)


async def test_what_fails_again_and_again_is_poison_in_the_end(own: Database, tasks: Publisher, urls: Urls) -> None:
    run, work = await order(own), Work()
    await own.run("UPDATE jobs.runs SET attempts = 10")
    await service.execute(own, tasks, ANALYTICS_DAILY, run, work)
    assert work.calls == 0
    assert (await taken(urls, run)).transient is False


async def taken(urls: Urls, run: str) -> DeadLetter:
    """The letter of that run, which is dropped."""
    found: list[DeadLetter] = []

    async def there() -> bool:
        found[:] = [letter for letter in await dead_letters.listed(urls, ["tasks"]) if letter.argument == run]
        return len(found) == 1

    await until(there, 10)
    await dead_letters.settle(urls, [found[0].id], everything=False, again=False)
    return found[0]


# --- processes --------------------------------------------------------------------------------------------------------


def acts(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(batch, "command", lambda *_: (sys.executable, "-c", code))


async def test_a_process_that_is_killed_costs_one_letter_that_is_tried_again(
    own: Database, tasks: Publisher, urls: Urls, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await order(own, CLEANUP_CACHE)
    acts(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    await batch.handler(CLEANUP_CACHE)(batch.Resources(own, tasks), run)
    letter = await taken(urls, run)
    assert (letter.transient, letter.queue, letter.error) == (True, "q.sched", "its process was ended by signal 9")
    assert (await rows(own))[run]["status"] == "failed"


async def test_a_process_that_hangs_is_killed_with_what_it_started(
    own: Database, tasks: Publisher, urls: Urls, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await order(own, CLEANUP_CACHE)
    marker = uuid.uuid4().hex
    acts(monkeypatch, f"import subprocess; subprocess.run(['sleep', '60', '--', '{marker}'][:2])")
    monkeypatch.setattr(batch, "GRACE_SECONDS", 0.2)
    hasty = Task(CLEANUP_CACHE.name, CLEANUP_CACHE.queue, CLEANUP_CACHE.routing_key, 1, 0.5, "run id")
    start = time.monotonic()
    await batch.handler(hasty)(batch.Resources(own, tasks), run)
    assert time.monotonic() - start < 5
    assert (await taken(urls, run)).error == "killed: not done within 0.5 s"


async def test_a_process_that_cannot_reach_its_servers_gives_no_letter(
    own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    acts(monkeypatch, f"raise SystemExit({batch.TRY_AGAIN})")
    with pytest.raises(batch.CannotStart):
        await batch.handler(CLEANUP_CACHE)(batch.Resources(own, Recorder()), "any")


async def test_the_real_process_reports_servers_that_are_away(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ECO2_DATABASE_URL", "postgresql://eco2:x@127.0.0.1:1/eco2")
    assert await batch.spawn(BACKUP_DATABASE, "any") == batch.TRY_AGAIN


async def test_the_real_process_ends_when_its_worker_is_gone(environment: dict[str, str]) -> None:
    silent = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", free_port())
    port = silent.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *batch.command(BACKUP_DATABASE, "any"),
        stdin=asyncio.subprocess.PIPE,
        env={**environment, "ECO2_DATABASE_URL": f"postgresql://eco2:x@127.0.0.1:{port}/eco2", "PATH": "/usr/bin"},
    )
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(60):
        assert await process.wait() == 1
    silent.close()


def test_the_first_tick_of_a_day_in_utc_is_nine_in_seoul() -> None:
    assert datetime(2026, 11, 25, tzinfo=UTC).astimezone(LOCAL).hour == 9
