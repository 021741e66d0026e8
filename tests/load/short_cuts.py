"""`python -m tests.load.short_cuts [NAME…] [--quick]`: what each short cut pays, on and off in one run.

For each: a fresh stack with all short cuts, one without it, and one with all again, whose distance from the first is
the noise of the machine. Writes docs/benchmarks/short-cuts.json; docs/short-cuts.md says which line each is for.
"""

import argparse
import json
import resource
import sys
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from eco2.core.short_cuts import ShortCut
from tests.load import report, target
from tests.load.__main__ import OPEN_FILES, SCENARIOS
from tests.load.bench import Bench
from tests.load.client import Client, open_session
from tests.load.machine import conditions

RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks" / "short-cuts.json"
PAYS_FOR = {
    ShortCut.REDIS_LINE: ("cpu_per_job_tiny",),
    ShortCut.CHECK_SERVER: ("cpu_per_job_tiny", "edge_auth"),
    ShortCut.FORK_SERVER: ("memory_pss",),
    ShortCut.POLLED_ROUTE: ("waste_polling",),
}
WORTH = 0.05
"""Share of its line that a short cut has to save to stay."""

out = Console(stderr=True)


async def measured(off: str, names: tuple[str, ...], *, quick: bool) -> dict[str, float]:
    """Measure → value, on a fresh stack."""
    async with target.started("emulated", ECO2_SHORT_CUTS_OFF=off) as at, open_session() as session:
        bench = Bench(at, Client(session, at.url), quick)
        found: list[report.Measure] = []
        for scenario in dict.fromkeys(SCENARIOS[name] for name in names):
            out.print(f"{off or 'all'}: {scenario.__name__} …")
            found += await scenario(bench, names)
    return {one.name: one.value for one in found if one.value is not None}


async def compared(short_cut: ShortCut, *, quick: bool) -> dict[str, Any]:
    names = PAYS_FOR[short_cut]
    runs = [await measured(off, names, quick=quick) for off in ("", short_cut.value, "")]
    rows = {}
    for name in runs[0].keys() & runs[1].keys() & runs[2].keys():
        first, without, again = (run[name] for run in runs)
        with_it, more_is_better = (first + again) / 2, report.LINES[name].more_is_better
        saved = (with_it - without if more_is_better else without - with_it) / max(without, 1e-9)
        rows[name] = {
            "with": round(with_it, 3),
            "without": round(without, 3),
            "unit": report.LINES[name].unit,
            "saved": round(saved, 3),
            "noise": round(abs(first - again) / max(with_it, 1e-9), 3),
        }
    return rows


def show(found: dict[str, dict[str, Any]]) -> None:
    table = Table("short cut", "measure", "with", "without", "unit", "saves", "noise", "stays", box=None)
    for short_cut, rows in found.items():
        for name, row in rows.items():
            stays = "yes" if row["saved"] >= WORTH else "no"
            figures = (f"{row['with']:g}", f"{row['without']:g}", row["unit"])
            table.add_row(short_cut, name, *figures, f"{row['saved']:.0%}", f"{row['noise']:.0%}", stays)
    Console(width=140).print(table)


async def run(asked: argparse.Namespace) -> None:
    found: dict[str, dict[str, Any]] = {}
    for name in asked.names or list(ShortCut):
        found[str(name)] = await compared(ShortCut(name), quick=asked.quick)
        asked.results.write_text(json.dumps({"conditions": conditions(), "short_cuts": found}, indent=2) + "\n")
    show(found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.load.short_cuts", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*map(str, ShortCut), []], help="default: all")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--results", type=Path, default=RESULTS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, OPEN_FILES), hard))
    uvloop.run(run(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
