"""From the last release to this checkout under load: the old stack goes down and the new one comes up on its data,
while users scan, chat and sign out. Then the audit of a chaos run."""

import asyncio
import random
import shutil
import time

from eco2.local.config import CHECKOUT
from tests.chaos import gather
from tests.chaos.audit import ANSWER_SECONDS, audit, availability
from tests.chaos.crowd import Crowd
from tests.chaos.evidence import Disturbance
from tests.drills.machine import machine, require, step
from tools import last_release

USERS, THINK = 12, 4.0
BEFORE_SECONDS, AFTER_SECONDS = 30.0, 40.0
QUIET_SECONDS = 90.0
SHOWN = 5
PAGE = "eco2/web/static"


async def upgrade() -> None:
    revision = last_release.last_release()
    step(f"the last release, {revision}, in a folder of its own")
    last_release.unpack(revision)
    shutil.copytree(CHECKOUT / PAGE, last_release.COPY / PAGE, dirs_exist_ok=True)
    async with machine("upgraded") as at:
        at.code = last_release.COPY
        await at.run("eco2 up")
        start = time.monotonic()
        crowd = Crowd(at.target, lambda: time.monotonic() - start, random.Random(1), THINK)
        users = asyncio.create_task(crowd.run(USERS))
        try:
            await asyncio.sleep(BEFORE_SECONDS)
            began = crowd.clock()
            step("down, and up again with this checkout, while they go on")
            await at.run("eco2 down")
            at.code = CHECKOUT
            await at.run("eco2 up")
            over = crowd.clock()
            crowd.evidence.disturbances.append(Disturbance("upgrade", began, over, 0.0))
            await asyncio.sleep(AFTER_SECONDS)
        finally:
            crowd.stop()
            await asyncio.wait([users], timeout=QUIET_SECONDS + 180)
        await users
        await gather.quiet(at.target, crowd.evidence, QUIET_SECONDS)
        await gather.collect(at.target, crowd.evidence)
    evidence = crowd.evidence
    ended = sum(scan.ended is not None for scan in evidence.scans)
    step(f"away for {over - began:.0f} s; {ended} scans and {len(evidence.turns)} messages of chats ended")
    found = audit(evidence)
    require(not found, "; ".join(f"{one.kind}: {one.subject}: {one.detail}" for one in found[:SHOWN]))
    require(ended and evidence.turns, "nobody scanned or talked")
    share = availability(evidence).acts
    step(f"no harm; {share:.1%} of what users wanted was answered within {ANSWER_SECONDS:.0f} s")
