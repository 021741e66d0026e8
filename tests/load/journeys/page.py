"""The report: one HTML file with charts, which asks nobody for anything when it is opened."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from eco2.jobs import charts
from tests.load.client import percentile
from tests.load.journeys.lines import Verdict, disturbed, lateness
from tests.load.journeys.perform import cores, cost
from tests.load.journeys.seen import KINDS, SCAN, Act, Seen

SLICES = 40
"""Points of a line over time."""
LABELLED = 5
"""Each of so many has a label."""
PROCESSES = 12


def render(
    verdicts: Sequence[Verdict],
    stages: Sequence[Seen],
    conditions: Mapping[str, Any],
    memory: Sequence[Mapping[str, float]] = (),
) -> str:
    folder = FileSystemLoader(Path(__file__).parent)
    template = Environment(loader=folder, autoescape=select_autoescape(["j2"])).get_template("report.html.j2")
    states = Counter(one.state for one in verdicts)
    results = {"conditions": dict(conditions), "lines": [asdict(one) for one in verdicts]}
    return template.render(
        verdicts=verdicts,
        stages=[_described(seen) for seen in stages],
        conditions=conditions,
        counts={"kept": states["kept"], "missed": states["missed"], "open": states["not measured"]},
        memory=charts.ranked(memory[-1]) if memory else "",
        results=Markup(json.dumps(results, ensure_ascii=False).replace("<", "\\u003c")),
    )


def _described(seen: Seen) -> dict[str, Any]:
    stage, usage = seen.stage, seen.usage
    scans = len(seen.of(SCAN))
    text = (
        f"{stage.users} users, mean think time {stage.think:g} s, {stage.seconds:g} s; model {stage.model}"
        + (f"; {100 * stage.repeated:.0f} % of the photos known" if stage.repeated else "")
        + f". {len(seen.acts) / usage.wall:.1f} acts/s, {scans / usage.wall:.1f} scans/s, {cost(seen):.1f} ms of CPU "
        "on the path for a scan, whatever else was asked included. "
        f"The machine used {usage.machine / usage.wall:.2f} of {seen.cores} cores, "
        f"the driver {usage.driver / usage.wall:.2f}, others {usage.strangers:.2f}; the driver's loop was "
        f" {1000 * lateness(seen):.0f} ms late (p95)."
    )
    if why := disturbed(seen, limit=1.0):
        text += f" Disturbed: {why}."
    faults = Counter(act.fault for act in seen.acts if act.fault)
    return {
        "title": stage.name,
        "text": text,
        "rows": [_row(kind, seen.of(kind)) for kind in KINDS if seen.of(kind)],
        "faults": [f"{fault} ({count})" for fault, count in faults.most_common(5)],
        "charts": [
            ("A scan, submit → done, by when it was submitted (s)", _durations(seen)),
            ("Acts begun in a second", _rates(seen)),
            ("Scans done within so many seconds (%)", _shares(seen)),
            ("Cores by process, and share of all", charts.ranked(dict(islice(cores(seen).items(), PROCESSES)))),
        ],
    }


def _row(kind: str, acts: Sequence[Act]) -> dict[str, Any]:
    done = [act.seconds for act in acts if act.seconds is not None]
    found = [f"{percentile(done, share):.3f}" if done else "–" for share in (50, 95, 99)]
    return {
        "kind": kind,
        "begun": len(acts),
        "failed": len(acts) - len(done),
        "refusals": sum(act.refusals for act in acts),
        "percentiles": found,
    }


def _slices(seen: Seen, acts: Sequence[Act]) -> list[list[Act]]:
    """Acts by the slice of the stage in which they began."""
    width = _width(seen)
    found: list[list[Act]] = [[] for _ in _seconds(seen)]
    for act in acts:
        found[int(act.began // width)].append(act)
    return found


def _width(seen: Seen) -> float:
    """Seconds of a slice."""
    return max(1.0, max((act.began for act in seen.acts), default=0.0) / SLICES)


def _seconds(seen: Seen) -> list[str]:
    """A label for every slice; some are empty, so that they do not touch."""
    width = _width(seen)
    count = int(max((act.began for act in seen.acts), default=0.0) // width) + 1
    return [f"{number * width:.0f}" if number % LABELLED == 0 else "" for number in range(count)]


def _durations(seen: Seen) -> Markup:
    slices = _slices(seen, [act for act in seen.of(SCAN) if act.seconds is not None])
    took = [[act.seconds for act in acts if act.seconds is not None] for acts in slices]
    series: dict[str, list[float | None]] = {
        name: [percentile(one, share) if one else None for one in took] for name, share in (("p50", 50), ("p95", 95))
    }
    if seen.stage.limit is not None:
        series[f"limit {seen.stage.limit:g} s"] = [seen.stage.limit] * len(took)
    return charts.lines(_seconds(seen), series)


def _rates(seen: Seen) -> Markup:
    width = _width(seen)
    kinds = [kind for kind in KINDS if seen.of(kind)]
    return charts.lines(
        _seconds(seen), {kind: [len(acts) / width for acts in _slices(seen, seen.of(kind))] for kind in kinds}
    )


def _shares(seen: Seen) -> Markup:
    """Of all scans, those that failed included."""
    scans = seen.of(SCAN)
    done = [act.seconds for act in scans if act.seconds is not None]
    step = charts.nice_top(max(done, default=1.0)) / SLICES
    bounds = [step * number for number in range(SLICES + 1)]
    shares = [100 * sum(one <= bound for one in done) / max(1, len(scans)) for bound in bounds]
    labels = [f"{bound:.3g}" if number % LABELLED == 0 else "" for number, bound in enumerate(bounds)]
    return charts.lines(labels, {"scans": shares})
