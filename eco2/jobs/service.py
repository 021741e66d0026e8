"""Runs of scheduled and background work: each is a row that outlives every process and message.

The row is inserted in the transaction that decides to run the task. The leading scheduler sends its message,
a worker does it, and repeating any of the steps does no harm: a run that is done is skipped, one in work is waited for.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from eco2.contracts.queues import TASKS_EXCHANGE
from eco2.contracts.tasks import SCHEDULE, TASKS, Outcome, Task
from eco2.core.errors import AWAY, BadRequest
from eco2.core.postgres import Database, Session, Transaction
from eco2.jobs import schedule, store
from eco2.messaging.broker import Publisher
from eco2.messaging.dead_letters import give_up

log = logging.getLogger(__name__)

PATIENCE = timedelta(hours=6)
"""Time for which a message may show no sign of life before it counts as lost; longer than the longest task may take."""
ATTEMPTS = 10
"""Most tries of a run, its replays from the dead letters included."""

LONGEST = 200
"""Characters of the argument of a run; its id, which its message carries, holds it and those of the runs before."""

Work = Callable[[str], Awaitable[Outcome]]


class UnknownTask(BadRequest):
    """There is no such task."""

    code = "UNKNOWN_TASK"


class BadArgument(BadRequest):
    """The argument of a run is one line of at most 200 characters."""

    code = "BAD_ARGUMENT"


async def plan(tx: Transaction, now: datetime) -> list[str]:
    """Make the runs that are due and remember it, in the transaction of the caller; returns their ids."""
    made = []
    dealt = await store.dealt_with(tx)
    for name, expression in SCHEDULE.items():
        verdict = schedule.judge(expression, dealt.get(name), now)
        if verdict is None:
            continue
        run_id = f"{name}@{verdict.last.isoformat(timespec='minutes')}"
        if verdict.run and await store.add(tx, run_id, name, ""):
            made.append(run_id)
        if name in dealt and not verdict.run:
            log.warning("the clock was set back", extra={"task": name, "last": str(dealt[name])})
        await store.deal_with(tx, name, verdict.last)
    return made


async def dispatch(db: Session, publisher: Publisher) -> int:
    """Send the message of every run that waits for it. Dying in between sends it twice, and it is done once."""
    waiting = await store.to_send(db, PATIENCE)
    for run in waiting:
        task = TASKS.get(run.task)
        if task is None:
            await store.failed(db, run.id, f"there is no task {run.task!r} in this release")
            continue
        await publisher.send_task(TASKS_EXCHANGE, task.routing_key, task.name, run.id, priority=task.priority)
        await store.sent(db, run.id)
    return len(waiting)


async def order(db: Session, name: str, argument: str) -> str:
    """Make a run now, for an operator; returns its id."""
    if name not in TASKS or TASKS[name].argument != "run id":
        known = ", ".join(task.name for task in TASKS.values() if task.argument == "run id")
        raise UnknownTask(f"There is no task {name!r} to run; there are: {known}.")
    if len(argument) > LONGEST or not argument.isprintable():
        raise BadArgument
    run_id = f"{name}:{argument}@{datetime.now(UTC).isoformat(timespec='milliseconds')}"
    await store.add(db, run_id, name, argument)
    return run_id


async def execute(db: Database, publisher: Publisher, task: Task, run_id: str, work: Work) -> None:
    """Do the run once, however often it is delivered. A failure is noted and becomes a dead letter."""
    async with store.alone(db, run_id):
        run = await store.claim(db, run_id)
        if run is None:
            log.info("run is done already, or unknown", extra={"run": run_id})
            return
        try:
            if run.attempts > ATTEMPTS:
                raise RuntimeError(f"given up after {ATTEMPTS} attempts")
            async with asyncio.timeout(task.seconds):
                outcome = await work(run.argument)
        except Exception as error:
            log.exception("run failed", extra={"run": run_id, "attempts": run.attempts})
            transient = isinstance(error, tuple(AWAY)) and run.attempts <= ATTEMPTS  # a timeout is an OSError
            await fail(db, publisher, task, run_id, describe(error), transient=transient)
            return
        async with db.transaction() as tx:
            await store.done(tx, run_id, outcome.result)
            for name, argument in outcome.then:
                await store.add(tx, f"{name}:{argument}<{run_id}", name, argument)


async def fail(db: Database, publisher: Publisher, task: Task, run_id: str, error: str, *, transient: bool) -> None:
    """The letter first: should the process die before the note, the run is tried again and there is one letter more."""
    await give_up(publisher, task, run_id, error, transient=transient)
    await store.failed(db, run_id, error)


def describe(error: BaseException) -> str:
    """One line for a person: the message where it is ours, else the kind of the error with it."""
    if isinstance(error, TimeoutError) and not str(error):
        return "not done in time"
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
