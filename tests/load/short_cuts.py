"""`python -m tests.load.short_cuts [NAME…] [--quick]`: what each short cut pays, with it and without, in turn.

Two stacks run side by side: one with all short cuts, and one without the one in question, made anew for each. Rounds of
the same work go to both in turn, so whatever else the machine does meets both; what counts is the ratio within a pair
of rounds. Of each stack only its own processes are read. Stops after LONGEST_SECONDS. Writes
docs/benchmarks/short-cuts.json; docs/short-cuts.md says which line each is for.
"""

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from eco2.core.short_cuts import ShortCut
from eco2.local.config import LocalError
from tests.load import edge, footprint, pipeline, places, polling, target
from tests.load.__main__ import OPEN_FILES
from tests.load.bench import USERS, Bench
from tests.load.client import Client, open_session
from tests.load.machine import conditions

RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks" / "short-cuts.json"
LONGEST_SECONDS, LONGEST_QUICK_SECONDS = 1200, 600
WORTH = 0.05
"""Share of its line that a short cut has to save to stay."""
WARM_UP = 60
REQUESTS_AT_ONCE = 32

out = Console(stderr=True)


@dataclass(frozen=True)
class Line:
    """A measure of a stack, and how often it is taken. `unit`: of one round's value."""

    name: str
    unit: str
    round: Callable[[Bench], Awaitable[float]]
    rounds: int
    quick: int = 3


async def scan_cpu(bench: Bench) -> float:
    """CPU milliseconds of the path for one scan of a tiny photo."""
    photos = await bench.photos(bench.sized(120, 60))
    before = bench.target.usage()
    await bench.scan_all(photos, pipeline.AT_ONCE)
    await asyncio.sleep(pipeline.SETTLE_SECONDS)
    return 1000 * bench.target.usage().since(before).path / len(photos)


async def check_cpu(bench: Bench) -> float:
    """CPU microseconds of ext-authz for one check, driven through the edge."""
    users, count = bench.target.users(USERS), bench.sized(3000, 1000)
    before = bench.target.usage()
    numbers = iter(range(count))

    async def ask() -> None:
        for number in numbers:
            url = bench.target.url + edge.PATH
            async with bench.client.session.get(url, headers=users[number % len(users)].headers) as response:
                await response.read()

    async with asyncio.TaskGroup() as askers:
        for _ in range(REQUESTS_AT_ONCE):
            askers.create_task(ask())
    return 1e6 * bench.target.usage().since(before).by_process["ext-authz"] / count


async def poll_cpu(bench: Bench) -> float:
    """CPU microseconds of the path for one poll of a job's status."""
    paths = await polling.jobs(bench, bench.sized(200, 100))
    before = bench.target.usage()
    times, refused = await polling.poll(bench, paths, bench.sized(6, 4))
    if refused:
        raise RuntimeError(f"{refused} polls were refused")
    return 1e6 * bench.target.usage().since(before).path / len(times)


async def memory(bench: Bench) -> float:
    """PSS of the stack in MB."""
    return footprint.stack_pss(bench)[0]


SCAN = Line("scan_cpu", "ms", scan_cpu, 6)
LINES = {
    ShortCut.REDIS_LINE: (SCAN,),
    ShortCut.CHECK_SERVER: (Line("check_cpu", "µs", check_cpu, 6),),
    ShortCut.FORK_SERVER: (replace(SCAN, rounds=2, quick=2), Line("memory", "MB", memory, 1, 1)),
    ShortCut.POLLED_ROUTE: (Line("poll_cpu", "µs", poll_cpu, 6),),
    ShortCut.NEAREST_PLACES: (Line("nearest_cpu", "µs", places.nearest_cpu, 6),),
}
"""Measure of each short cut; of the stack's memory after the scans before."""


@asynccontextmanager
async def stack(place: str, off: str, *, quick: bool) -> AsyncIterator[Bench]:
    """A fresh stack without the short cuts of `off`, warm."""
    out.print(f"  starting a stack {f'without {off}' if off else 'with all'} …")
    started = target.started("emulated", place, ECO2_SHORT_CUTS_OFF=off)
    async with started as at, open_session() as session:
        bench = Bench(at, Client(session, at.url), quick)
        await bench.llm_seconds(0, 0)
        await bench.scan_all(await bench.photos(WARM_UP), pipeline.AT_ONCE)
        yield bench


async def compared(short_cut: ShortCut, taken: Bench, *, quick: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async with stack("second", short_cut.value, quick=quick) as off:
        for line in LINES[short_cut]:
            pairs = []
            for number in range(line.quick if quick else line.rounds):
                order = (taken, off) if number % 2 == 0 else (off, taken)
                values = {id(bench): await line.round(bench) for bench in order}
                pairs.append((values[id(taken)], values[id(off)]))
            found[line.name] = row(pairs, line.unit)
            out.print(f"  {line.name}: {found[line.name]}")
    return found


def row(pairs: list[tuple[float, float]], unit: str) -> dict[str, Any]:
    """Medians, and what is saved as a share of the cost without, from the ratios within the pairs."""
    saved = sorted(1 - taken / without for taken, without in pairs)
    return {
        "with": round(median(taken for taken, _ in pairs), 3),
        "without": round(median(without for _, without in pairs), 3),
        "unit": unit,
        "saved": round(median(saved), 3),
        "from": round(saved[0], 3),
        "to": round(saved[-1], 3),
        "pairs": len(pairs),
    }


def show(found: dict[str, dict[str, Any]]) -> None:
    table = Table("short cut", "measure", "with", "without", "unit", "saves", "from … to", "stays", box=None)
    for short_cut, rows in found.items():
        stays = "yes" if any(one["saved"] >= WORTH for one in rows.values()) else "no"
        for name, one in rows.items():
            figures = (f"{one['with']:g}", f"{one['without']:g}", one["unit"])
            span = f"{one['from']:.0%} … {one['to']:.0%}"
            table.add_row(short_cut, name, *figures, f"{one['saved']:.0%}", span, stays)
    Console(width=140).print(table)


def kept(results: Path) -> dict[str, dict[str, Any]]:
    """Short cuts of a run before that this one was not asked for."""
    return dict(json.loads(results.read_text())["short_cuts"]) if results.exists() else {}


async def run(asked: argparse.Namespace) -> bool:
    """True when everything that was asked for was measured."""
    begun, found = time.monotonic(), {}
    names = [ShortCut(name) for name in asked.names] or list(ShortCut)
    try:
        async with (
            asyncio.timeout(LONGEST_QUICK_SECONDS if asked.quick else LONGEST_SECONDS),
            stack("first", "", quick=asked.quick) as taken,
        ):
            before = taken.target.usage()
            for name in names:
                out.print(f"{name} …")
                found[name.value] = await compared(name, taken, quick=asked.quick)
                load = taken.target.usage().since(before)
                machine = {**conditions(), "quick": asked.quick, "busy_cores": round(load.machine / load.wall, 2)}
                every = {**kept(asked.results), **found}
                asked.results.write_text(json.dumps({"conditions": machine, "short_cuts": every}, indent=2) + "\n")
    except (TimeoutError, LocalError, RuntimeError) as error:
        out.print(f"interrupted: {error!r}", style="red", markup=False)
    show(found)
    out.print(f"{time.monotonic() - begun:.0f} s")
    return len(found) == len(names)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.load.short_cuts", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*map(str, ShortCut), []], help="default: all")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--results", type=Path, default=RESULTS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, OPEN_FILES), hard))
    return 0 if uvloop.run(run(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
