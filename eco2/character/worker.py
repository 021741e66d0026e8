"""character-worker: writes the grants of queue `reward.character` in batches."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict

from eco2 import knowledge
from eco2.character import service
from eco2.character.points import Rates
from eco2.character.settings import WorkerSettings
from eco2.contracts.queues import REWARD_QUEUE
from eco2.core import telemetry
from eco2.core.ops import OpsApp, run_until_terminated, serve_async
from eco2.core.postgres import open_database
from eco2.core.settings import load
from eco2.messaging.broker import Heartbeat
from eco2.messaging.consumer import Message, consume_batches

NAME = "character-worker"
log = logging.getLogger(__name__)


async def work(settings: WorkerSettings) -> None:
    """Consume until cancelled. A batch in work is written before its messages are acknowledged."""
    catalogue, heartbeat = knowledge.load(settings.data_dir), Heartbeat()
    rates = Rates(settings.points_per_scan, settings.points_daily_cap)
    async with open_database(settings, repeat=True) as db, asyncio.TaskGroup() as tasks:

        async def handle(messages: Sequence[Message]) -> None:
            async with db.transaction() as tx:
                written = await service.grant(tx, catalogue, rates, messages)
            log.info("grants written", extra={"messages": len(messages), **asdict(written)})

        checks = {"postgres": db.ping, "consumer": heartbeat.check_ready}
        tasks.create_task(serve_async(OpsApp(NAME, checks, alive=heartbeat.check_alive), settings))
        tasks.create_task(
            consume_batches(settings.broker_url, REWARD_QUEUE, handle, heartbeat, size=settings.grant_batch_size)
        )


def run() -> None:
    settings = load(WorkerSettings)
    telemetry.setup(NAME, settings)
    run_until_terminated(work(settings))
