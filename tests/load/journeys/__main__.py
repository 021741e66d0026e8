"""`python -m tests.load.journeys` (make load): journeys of real users against the pass lines (docs/reliability.md).

Of 100 acts 60 are scans, 20 messages of chats, 10 looks at the map and 10 visits of the page, with time to think
between them. Exit code 0: every line that was asked for was kept; 1: one was missed; 2: none was missed, and one could
not be measured, for a reason that the table gives.
"""

import argparse
import asyncio
import hashlib
import resource
import secrets
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import uvloop
from rich.console import Console
from rich.table import Table

from eco2.local.config import LocalError
from tests.load import target
from tests.load.bench import Bench
from tests.load.client import Client, open_session
from tests.load.journeys import lines, page, plan
from tests.load.journeys.lines import Verdict
from tests.load.machine import conditions
from tests.load.serve import PLACES

OPEN_FILES = 65536
SECONDS, QUICK_SECONDS = 120.0, 30.0
ROUNDS, QUICK_ROUNDS = 3, 1
ROUND_SECONDS, QUICK_ROUND_SECONDS = 40.0, 20.0
REPORT = Path("build") / "load.html"
REFERENCE_SECONDS = 0.21
"""Time of `probe` on the machine on which the lines were drawn, with nothing else running."""
PROBE_ROUNDS = 3
OUTSIDE_SECONDS = 240
"""Beyond the stages: start of the stack, photos, a full database."""
MARKS = {"kept": "green", "missed": "red", "not measured": "yellow"}

out = Console(stderr=True)


def probe() -> float:
    """Seconds of a fixed piece of work on one core, the fastest of some rounds."""
    found = []
    for _ in range(PROBE_ROUNDS):
        start = time.perf_counter()
        digest = b""
        for number in range(300_000):
            digest = hashlib.sha256(digest + number.to_bytes(4, "big")).digest()
        found.append(time.perf_counter() - start)
    return min(found)


async def measure(asked: plan.Asked, place: str, found: plan.Found, broken: dict[str, str]) -> None:
    """Stages one after the other. One that breaks is noted, and the next begins."""
    out.print("starting a stack …")
    async with target.started("emulated", place) as at, open_session() as session:
        bench = Bench(at, Client(session, at.url), quick=False)
        for name, measuring in plan.stages(asked):
            begun, stages = time.monotonic(), len(found.stages)
            broken[name] = "the time was up, or it was interrupted"
            out.print(f"{name} …", highlight=False)
            try:
                await measuring(bench, asked, found)
            except (RuntimeError, aiohttp.ClientError, psycopg.Error, OSError) as error:
                broken[name] = f"its stage broke: {error!r}"
                out.print(f"  {broken[name]}", style="red", markup=False)
                continue
            del broken[name]
            acts = Counter(act.kind for seen in found.stages[stages:] for act in seen.acts)
            told = ", ".join(f"{count} × {kind}" for kind, count in acts.items())
            out.print(f"  {time.monotonic() - begun:.0f} s: {told}", highlight=False)


def verdicts(asked: plan.Asked, found: plan.Found, broken: Mapping[str, str], slowness: float) -> list[Verdict]:
    """One for each line; none is left out."""
    judged = {line: lines.judged(line, figure, seen, slowness) for line, figure, seen in found.figures}
    wanted = {name for name, _ in plan.stages(asked)}

    def missing(line: lines.Line) -> Verdict:
        if line.stage not in wanted:
            return lines.not_measured(line, "not asked for", asked=False)
        return lines.not_measured(line, broken.get(line.stage, "the stack did not get so far"))

    return [judged.get(line) or missing(line) for line in plan.every_line(asked.users)]


def show(found: Sequence[Verdict]) -> None:
    table = Table("line", "limit", "seen", "", "note", box=None, header_style="bold")
    for one in found:
        table.add_row(one.name, one.limit, one.value, f"[{MARKS[one.state]}]{one.state}", one.why)
    Console(width=190, soft_wrap=True).print(table)


def exit_code(found: Sequence[Verdict]) -> int:
    if any(one.state == "missed" for one in found):
        return 1
    return 2 if any(one.asked and one.state == "not measured" for one in found) else 0


def _counts(text: str) -> tuple[int, ...]:
    found = tuple(sorted({int(one) for one in text.split(",") if one.strip()}))
    if any(one < 1 or one > 20_000 for one in found):
        raise ValueError
    return found


def _stages(text: str) -> tuple[str, ...]:
    found = tuple(one.strip() for one in text.split(",") if one.strip() not in ("", "none"))
    if not set(found) <= plan.MORE.keys():
        raise ValueError
    return found


_counts.__name__, _stages.__name__ = "numbers of users", "stages"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.load.journeys", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = ",".join(map(str, plan.USUAL_USERS))
    parser.add_argument(
        "--users", type=_counts, default=_counts(usual), help=f"numbers of users, a stage for each (default {usual})"
    )
    parser.add_argument(
        "--with",
        dest="more",
        type=_stages,
        default=plan.USUAL_MORE,
        help=f"further stages, of {','.join(plan.MORE)} or none (default {','.join(plan.USUAL_MORE)})",
    )
    parser.add_argument("--quick", action="store_true", help="short stages and one round of each comparison")
    parser.add_argument("--seconds", type=float, help=f"of a stage (default {SECONDS:g}, quick {QUICK_SECONDS:g})")
    parser.add_argument(
        "--soak-minutes", type=float, default=lines.SOAK_MINUTES, help=f"of the soak (default {lines.SOAK_MINUTES})"
    )
    parser.add_argument("--seed", type=int, help="what users do and when; default: a new one, which is printed")
    parser.add_argument("--report", type=Path, default=REPORT, help=f"HTML file (default {REPORT})")
    parser.add_argument("--place", default="first", choices=sorted(PLACES), help="folder and ports of the stack")
    parsed = parser.parse_args(given)
    parsed.seed = secrets.randbelow(10**6) if parsed.seed is None else parsed.seed
    parsed.seconds = parsed.seconds or (QUICK_SECONDS if parsed.quick else SECONDS)
    if not parsed.users and not parsed.more:
        parser.error("nothing is asked for")
    return parsed


def asked_of(parsed: argparse.Namespace) -> plan.Asked:
    rounds, seconds = (QUICK_ROUNDS, QUICK_ROUND_SECONDS) if parsed.quick else (ROUNDS, ROUND_SECONDS)
    return plan.Asked(parsed.users, parsed.more, parsed.seed, parsed.seconds, rounds, seconds, parsed.soak_minutes)


def longest(asked: plan.Asked) -> float:
    """Seconds after which a run is ended, whatever it is doing: twice what its stages take, and some more."""
    stages = len(asked.users) + ("repeated" in asked.more)
    rounds = 4 * asked.rounds * ({"cost", "filled"} & set(asked.more) != set())
    seconds = stages * asked.seconds + rounds * asked.round_seconds
    return OUTSIDE_SECONDS + 2 * seconds + ("soak" in asked.more) * (60 * asked.soak_minutes + OUTSIDE_SECONDS)


async def run(asked: plan.Asked, place: str) -> tuple[plan.Found, dict[str, str]]:
    found, broken = plan.Found(), dict[str, str]()
    try:
        async with asyncio.timeout(longest(asked)):
            await measure(asked, place, found, broken)
    except (TimeoutError, LocalError) as error:
        out.print(f"interrupted: {error!r}", style="red", markup=False)
    return found, broken


def described(parsed: argparse.Namespace, slowness: float) -> dict[str, Any]:
    options = shlex.join(sys.argv[1:]) or "without options"
    return {
        **conditions(),
        "slower than the reference": f"{slowness:.2f} times",
        "seed": parsed.seed,
        "options": options,
    }


def main() -> int:
    parsed = arguments()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, OPEN_FILES), hard))
    asked, slowness = asked_of(parsed), probe() / REFERENCE_SECONDS
    told = described(parsed, slowness)
    out.print(f"seed {parsed.seed}; this machine is {slowness:.2f} times slower than the reference", highlight=False)
    found, broken = uvloop.run(run(asked, parsed.place))
    all_verdicts = verdicts(asked, found, broken, slowness)
    show(all_verdicts)
    parsed.report.parent.mkdir(parents=True, exist_ok=True)
    parsed.report.write_text(page.render(all_verdicts, found.stages, told, found.memory), encoding="utf-8")
    out.print(f"report: {parsed.report}", highlight=False, soft_wrap=True)
    return exit_code(all_verdicts)


if __name__ == "__main__":
    sys.exit(main())
