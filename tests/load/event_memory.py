"""Scenario: what the events of a scan take in the streams Redis, which never evicts."""

import asyncio
import uuid
from collections.abc import Collection
from dataclasses import fields, replace

from eco2 import knowledge
from eco2.contracts.events import Draft, Stage
from eco2.scan import stages
from eco2.scan.job import Job
from eco2.scan.outputs import Answer
from eco2.scan.progress import both, completed, started
from eco2.scan.result import done_event
from tests.load.bench import Bench
from tests.load.report import Measure

SCANS, SCANS_QUICK = 20_000, 2_000
AT_ONCE = 50
SETTLE_SECONDS = 2.0


def _finished() -> list[Job]:
    """One finished job of every item of the knowledge base; the fields that its events do not need are None."""
    base = knowledge.load()
    empty = Job(**dict.fromkeys(field.name for field in fields(Job)))  # type: ignore[arg-type]
    found = []
    for item in base.items.values():
        rule = stages.rule_of(base, item, None)
        answer = Answer.of(stages.answer(base, rule, None))
        reward = stages.reward(base, rule, answer)
        found.append(replace(empty, rule=rule, answer=answer, reward=reward, status="completed"))
    return found


async def _emit(bench: Bench, job: Job, done: Draft) -> None:
    """The events of a scan in the steps in which its processes emit them."""
    bus, job_id = bench.target.bus, str(job.id)
    await bus.emit(job_id, *both(Stage.QUEUED), owner=str(job.user_id))
    await bus.emit(job_id, started(Stage.VISION))
    await bus.emit(job_id, completed(Stage.VISION), *both(Stage.RULE), started(Stage.ANSWER))
    await bus.emit(job_id, completed(Stage.ANSWER), *both(Stage.REWARD), done)


async def event_memory(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """Bytes a scan once its events are forwarded: growth of the server's memory over many scans, by their number."""
    base, jobs, count = knowledge.load(), _finished(), bench.sized(SCANS, SCANS_QUICK)
    before = await _used(bench)
    for first in range(0, count, AT_ONCE):
        batch = [
            replace(jobs[n % len(jobs)], id=uuid.uuid4(), user_id=uuid.uuid4()) for n in range(first, first + AT_ONCE)
        ]
        await asyncio.gather(*(_emit(bench, job, done_event(base, job)) for job in batch))
    await asyncio.sleep(SETTLE_SECONDS)
    details = {"scans": count, "used_before": before}
    return [Measure("event_memory", (await _used(bench) - before) / count, details)]


async def _used(bench: Bench) -> int:
    return int((await bench.target.bus.redis.info("memory"))["used_memory"])
