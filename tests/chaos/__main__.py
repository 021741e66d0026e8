"""`python -m tests.chaos`: the platform under load while everything it is made of is broken, then an audit.

Each fault begins when all processes are ready again after the one before. The order follows from `--seed`, which is
printed; what happens between two threads of the machine does not, so a seed repeats the faults, not the run. Exit
code 1: the audit found harm, or too few acts of the users were answered.
"""

import argparse
import asyncio
import dataclasses
import json
import random
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from eco2.local import state
from eco2.local.config import LocalError
from tests.chaos import gather
from tests.chaos.audit import ANSWER_SECONDS, Finding, audit, availability
from tests.chaos.crowd import Crowd
from tests.chaos.evidence import Disturbance
from tests.chaos.faults import CLOCKS, FAILOVERS, FAULTS, Fault, with_sentinel
from tests.load import clocks, target
from tests.load.serve import PLACES
from tests.load.target import Target
from tests.redis_server import sentinel_group

out = Console(stderr=True)
READY_SECONDS = 60.0
BETWEEN_SECONDS = 4.0
QUIET_SECONDS = 120.0
AVAILABILITY = 0.99
SHOWN = 20


def schedule(names: Sequence[str], seed: int) -> list[str]:
    """All faults in a shuffled order."""
    order = list(names)
    random.Random(seed).shuffle(order)
    return order


def ready(at: Target) -> bool:
    now = state.load(at.layout.home)
    return now is not None and all(row.ready for row in now.processes)


async def disturb(at: Target, crowd: Crowd, name: str, fault: Fault) -> Disturbance:
    before, began = at.pids(), crowd.clock()
    async with fault(at, crowd.evidence):
        pass
    over = crowd.clock()
    killed = name.removeprefix("kill ") if name.removeprefix("kill ") in before else None
    while crowd.clock() - over < READY_SECONDS:
        if ready(at) and (killed is None or at.pids().get(killed) != before[killed]):
            return Disturbance(name, began, crowd.clock(), crowd.clock() - over)
        await asyncio.sleep(0.2)
    return Disturbance(name, began, crowd.clock(), None)


async def break_things(
    at: Target, crowd: Crowd, faults: Mapping[str, Fault], names: Sequence[str], seed: int, seconds: float
) -> None:
    """Faults in rounds of all, each round in an order of its own, until the time is over."""
    end, number = crowd.clock() + seconds, 0
    while True:
        for name in schedule(names, seed + number):
            if crowd.clock() >= end:
                return
            await asyncio.sleep(BETWEEN_SECONDS)
            one = await disturb(at, crowd, name, faults[name])
            crowd.evidence.disturbances.append(one)
            recovery = "NOT READY" if one.recovery is None else f"ready after {one.recovery:.1f} s"
            scans = sum(scan.ended is not None for scan in crowd.evidence.scans)
            out.print(f"{crowd.clock():5.0f} s  {name:<28} {recovery:<18} {scans} scans ended", highlight=False)
        number += 1


async def run(asked: argparse.Namespace) -> tuple[Crowd, list[Finding]]:
    out.print(f"seed {asked.seed}: starting a stack …", highlight=False)
    async with AsyncExitStack() as servers:
        faults, given = FAULTS, dict[str, str]()
        if asked.sentinel:
            group = await servers.enter_async_context(sentinel_group())
            faults, given = with_sentinel(group), {"ECO2_REDIS_STREAMS_URL": group.url()}
        if asked.clocks:
            faults, given = {**faults, **CLOCKS}, {**given, clocks.SWITCH: "1"}
        at = await servers.enter_async_context(target.started("emulated", asked.place, **given))
        names = [name for name in asked.only or faults if name in faults]
        if not names:
            raise LocalError(f"none of these faults can be had with the options given: {', '.join(asked.only)}")
        start = time.monotonic()
        crowd = Crowd(at, lambda: time.monotonic() - start, random.Random(asked.seed), asked.think)
        await gather.prepare(at)
        users = asyncio.create_task(crowd.run(asked.users))
        try:
            await break_things(at, crowd, faults, names, asked.seed, asked.minutes * 60)
        finally:
            crowd.stop()
            out.print("no further faults; waiting for what is under way …")
            await asyncio.wait([users], timeout=QUIET_SECONDS + 180)
        await users
        await gather.quiet(at, crowd.evidence, QUIET_SECONDS)
        await gather.collect(at, crowd.evidence)
    return crowd, audit(crowd.evidence)


def show(crowd: Crowd, findings: Sequence[Finding], report: Path) -> bool:
    """Print the verdict, write all evidence to `report`; true when nothing was harmed."""
    evidence, found = crowd.evidence, availability(crowd.evidence)
    report.parent.mkdir(parents=True, exist_ok=True)
    body = {"findings": [dataclasses.asdict(one) for one in findings], "evidence": dataclasses.asdict(evidence)}
    report.write_text(json.dumps(body, default=sorted, ensure_ascii=False, indent=1))
    table = Table("what", "seen", title=f"chaos: {len(evidence.disturbances)} faults")
    longest = max((one.recovery or READY_SECONDS for one in evidence.disturbances), default=0)
    rows = (
        (
            "scans accepted, ended",
            f"{sum(s.job is not None for s in evidence.scans)}, {sum(s.ended is not None for s in evidence.scans)}",
        ),
        (
            "messages of chats accepted, ended",
            f"{len(evidence.turns)}, {sum(t.ended is not None for t in evidence.turns)}",
        ),
        ("scans that ended as failed", str(sum(row.status == "failed" for row in evidence.jobs.values()))),
        ("longest until all were ready", f"{longest:.1f} s (line {READY_SECONDS:.0f})"),
        ("attempts answered without a 5xx", f"{found.requests:.2%} of {len(evidence.requests)}"),
        (
            f"acts answered within {ANSWER_SECONDS:.0f} s",
            f"{found.acts:.2%} of {len(evidence.acts)} (line {AVAILABILITY:.0%})",
        ),
        ("harm", str(len(findings))),
    )
    for row in rows:
        table.add_row(*row)
    out.print(table)
    for one in findings[:SHOWN]:
        out.print(f"{one.kind}: {one.subject}: {one.detail}", style="red", markup=False, highlight=False)
    if len(findings) > SHOWN:
        out.print(f"… and {len(findings) - SHOWN} more")
    out.print(f"evidence: {report}", highlight=False, soft_wrap=True)
    return not findings and found.acts >= AVAILABILITY


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seed", type=int, default=None, help="order of the faults and acts of the users; default: a new one"
    )
    parser.add_argument("--minutes", type=float, default=20, help="how long faults go on (default 20)")
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--think", type=float, default=5, help="mean seconds between two acts of a user")
    parser.add_argument(
        "--only",
        help=f"faults with commas between them, of: {', '.join(FAULTS)}; with --sentinel also {', '.join(FAILOVERS)}",
    )
    parser.add_argument(
        "--clocks", action="store_true", help="processes have clocks of their own, which go wrong (needs libfaketime)"
    )
    parser.add_argument(
        "--sentinel", action="store_true", help="the streams Redis is a master and a replica with three sentinels"
    )
    parser.add_argument(
        "--place", choices=sorted(PLACES), help="folder and ports of the stack (default first, with --sentinel third)"
    )
    asked = parser.parse_args()
    asked.place = asked.place or ("third" if asked.sentinel else "first")  # the group's ports may be among the first's
    asked.seed = secrets.randbelow(10**6) if asked.seed is None else asked.seed
    asked.only = [name.strip() for name in asked.only.split(",")] if asked.only else []
    known = {*FAULTS, *(FAILOVERS if asked.sentinel else ()), *(CLOCKS if asked.clocks else ())}
    if unknown := set(asked.only) - known:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    return asked


def main() -> int:
    asked = arguments()
    try:
        crowd, findings = asyncio.run(run(asked))
    except (LocalError, psycopg.Error) as error:
        out.print(str(error), style="red", markup=False)
        return 2
    report = PLACES[asked.place].home.parent / "chaos" / f"{asked.seed}.json"
    return 0 if show(crowd, findings, report) else 1


if __name__ == "__main__":
    sys.exit(main())
