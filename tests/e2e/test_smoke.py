"""`eco2 smoke` against the running stack, and against one whose worker hangs."""

import asyncio
import json
import os
import signal
from typing import Any

from eco2.cli import smoke
from eco2.local.stack import Stack
from tests.e2e.test_cli import eco2, own
from tests.e2e.test_faults import send

__all__ = ["eco2", "own"]  # fixtures
NAMES = [check.__name__ for check in smoke.CHECKS]


async def test_a_stack_that_works_passes_every_check(eco2: Any) -> None:
    code, out, err = await eco2("smoke", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [row["detail"] for row in found if row["status"] != "passed"] == []
    assert (code, [row["check"] for row in found]) == (0, NAMES), err


async def test_a_worker_that_hangs_fails_the_broker_and_what_needs_it(stack: Stack) -> None:
    found: list[smoke.Outcome] = []
    worker = await send(stack, "scan-worker", signal.SIGSTOP)
    try:
        passed = await asyncio.to_thread(smoke.run, stack.layout.public_url, "", 2.0, found.append)
    finally:
        os.kill(worker, signal.SIGCONT)
    assert not passed
    wrong = {row.check: row.detail for row in found if row.status != "passed"}
    assert list(wrong) == ["broker", "events", "result"]
    assert wrong["broker"].startswith("no worker took the job in time (events: queued")
    assert wrong["result"] == "needs events"
