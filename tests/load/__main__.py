"""`python -m tests.load`: the platform under load, against its lines (docs/benchmarks/performance.md)."""

import argparse
import asyncio
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path

import aiohttp
import uvloop
from rich.console import Console

from eco2.local.config import LocalError
from tests.load import (
    chat,
    edge,
    event_memory,
    footprint,
    grants,
    jobs,
    lasting,
    news,
    pipeline,
    places,
    polling,
    report,
    serve,
    storm,
    streams,
    target,
)
from tests.load.bench import Bench
from tests.load.client import Client, open_session

RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks" / "results.json"
LONGEST_SECONDS, LONGEST_QUICK_SECONDS = 1020, 320
OPEN_FILES = 16384

Scenario = Callable[[Bench, Collection[str]], Awaitable[list[report.Measure]]]

SCENARIOS: dict[str, Scenario] = {
    "memory_pss": footprint.memory_pss,  # first: of a thousand scans, not of all
    "cpu_per_job_tiny": pipeline.cpu_per_job,
    "cpu_per_job_3mp": pipeline.cpu_per_job,
    "path_to_floor": pipeline.path_to_floor,
    "jobs_per_second": pipeline.jobs_per_second,
    "users_500": pipeline.users_500,
    "storm": storm.storm,
    "repeated_images": pipeline.repeated_images,
    "waste_polling": polling.waste_polling,
    "grants_per_second": grants.grants_per_second,
    "catalogue_p95": grants.catalogue,
    "event_latency": streams.event_latency,
    "sse_idle": streams.sse_idle,
    "event_memory": event_memory.event_memory,
    "vision_photo": footprint.vision_photo,
    "edge_auth": edge.edge_auth,
    "denied_memory": edge.denied_memory,
    "revocation": edge.revocation_latency,
    "news_page_p95": news.news_page,
    "chat_first_event": chat.first_event,
    "chat_token": chat.tokens,
    "chat_worker_memory": chat.full_worker,
    "chat_graph_cpu": chat.graph_cpu,
    "realistic": pipeline.realistic,
    "filled_to_empty": lasting.filled,
    "memory_after_many": lasting.memory_after_many,
    "soak": lasting.soak,
    "daily_stats_5m": jobs.daily_stats,
    "backup_memory": jobs.backup_memory,
    "places_import": places.places,
    "places_import_memory": places.places,
    "places_nearest_p99": places.places,
    "places_nearest_50_p99": places.places,
    "places_rare_p99": places.places,
    "places_clusters_p99": places.places,
    "places_search_p95": places.places,
    "places_memory": places.places,
}
"""In the order in which they run. Names with the same function run together."""
ON_DEMAND = (
    "news_page_p95",
    "realistic",
    "filled_to_empty",
    "memory_after_many",
    "soak",
    "daily_stats_5m",
    "backup_memory",
    *(name for name in SCENARIOS if name.startswith("places_")),
)
"""Fill a database first, or take many minutes themselves: they run when they are named."""
MORE_SECONDS = {"memory_after_many": 900, "soak": 2100}
"""Seconds beyond those of a run that they may take; a quick one is bounded as the others are."""

out = Console(stderr=True)


async def measure(asked: argparse.Namespace, found: list[report.Measure]) -> bool:
    """Adds to `found`, so that what was measured before an interruption is there. False when a scenario broke."""
    complete = True
    out.print("using the running stack …" if asked.url else "starting a stack …")
    stack = target.running(asked.url) if asked.url else target.started(asked.llm)
    async with stack as at, open_session() as session:
        bench = Bench(at, Client(session, at.url), asked.quick, asked.keep)
        for scenario in dict.fromkeys(SCENARIOS[name] for name in SCENARIOS if name in asked.only):
            out.print(f"{scenario.__name__} …")
            start = time.monotonic()
            try:
                found += await scenario(bench, asked.only)
            except (RuntimeError, aiohttp.ClientError) as error:
                out.print(f"  broke: {error!r}", style="red", markup=False)
                complete = False
            out.print(f"  {time.monotonic() - start:.0f} s")
    return complete


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument(
        "--only",
        default=",".join(name for name in SCENARIOS if name not in ON_DEMAND),
        help=f"some of: {', '.join(SCENARIOS)}",
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer and shorter rounds, at most five and a half minutes"
    )
    parser.add_argument("--url", help="use the stack that runs there instead of starting one")
    parser.add_argument(
        "--keep", action="store_true", help="with --url: leave the places that were imported, and use those of before"
    )
    parser.add_argument("--llm", choices=("emulated", "embedded"), default="emulated", help="who looks at the photos")
    parser.add_argument("--results", type=Path, default=RESULTS, help="default: docs/benchmarks/results.json")
    parsed = parser.parse_args()
    parsed.only = parsed.only.split(",")
    if unknown := set(parsed.only) - SCENARIOS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return parsed


def _missing(asked: Collection[str], found: Sequence[report.Measure]) -> list[report.Measure]:
    """A line for each measure that was asked for and did not come to an end."""
    known = {one.name for one in found}
    names = [name for name in report.LINES if name not in known and any(name.startswith(one) for one in asked)]
    return [report.skipped(name, "not measured: its scenario broke, or the time was up") for name in names]


def _longest(asked: argparse.Namespace) -> int:
    if asked.quick:
        return LONGEST_QUICK_SECONDS
    return LONGEST_SECONDS + sum(seconds for name, seconds in MORE_SECONDS.items() if name in asked.only)


async def run(asked: argparse.Namespace) -> bool:
    """True when everything was measured and no line was missed."""
    found: list[report.Measure] = []
    complete = False
    try:
        async with asyncio.timeout(_longest(asked)):
            complete = await measure(asked, found)
    except (TimeoutError, LocalError) as error:
        out.print(f"interrupted: {error!r}", style="red", markup=False)
    found += _missing(asked.only, found)
    report.show(found)
    report.write(asked.results, found, {"quick": asked.quick, "llm": asked.llm, "settings": serve.SETTINGS})
    return complete and all(one.passed is not False for one in found)


def main() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, OPEN_FILES), hard))
    return 0 if uvloop.run(run(arguments())) else 1


if __name__ == "__main__":
    sys.exit(main())
