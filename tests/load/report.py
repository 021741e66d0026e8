"""Measures against their lines: the table on the terminal and docs/benchmarks/results.json."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.load.machine import conditions


@dataclass(frozen=True)
class Line:
    """`limit` is the worst value that passes: the highest, or the lowest where more is better."""

    limit: float
    unit: str
    more_is_better: bool = False

    def passes(self, value: float) -> bool:
        return value >= self.limit if self.more_is_better else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.more_is_better else '≤'} {self.limit:g}"


LINES = {
    "cpu_per_job_tiny": Line(15, "ms"),
    "cpu_per_job_3mp": Line(45, "ms"),
    "cpu_per_job_whole": Line(12, "ms"),
    "cpu_per_job_upload": Line(15, "ms"),
    "path_to_floor": Line(3, "times"),
    "jobs_per_second": Line(60, "jobs/s", more_is_better=True),
    "users_500_success": Line(100, "%", more_is_better=True),
    "users_500_overhead_p95": Line(0.25, "s"),
    "users_500_cpu": Line(14, "ms"),
    "realistic_success": Line(100, "%", more_is_better=True),
    "realistic_overhead_p95": Line(0.35, "s"),
    "realistic_cpu": Line(14, "ms"),
    "storm_others_p95": Line(2, "times"),
    "storm_others_success": Line(100, "%", more_is_better=True),
    "repeated_images_p50": Line(0.3, "s"),
    "repeated_images_overhead_p95": Line(0.5, "s"),
    "waste_polling_p99": Line(50, "ms"),
    "waste_polling_cpu": Line(0.7, "cores"),
    "grants_per_second": Line(1000, "grants/s", more_is_better=True),
    "catalogue_p95": Line(2, "ms"),
    "memory_pss": Line(1800, "MB"),
    "sse_idle": Line(15_000, "bytes"),
    "sse_idle_edge": Line(75_000, "bytes"),
    "event_latency_p99": Line(6, "ms"),
    "event_memory": Line(6_000, "bytes"),
    "vision_photo": Line(20, "ms"),
    "edge_auth_share": Line(35, "%", more_is_better=True),
    "authz_cpu_per_check": Line(250, "µs"),
    "edge_auth_p99": Line(15, "ms"),
    "denied_memory": Line(40, "MB"),
    "revocation_p99": Line(200, "ms"),
    "news_page_p95": Line(5, "ms"),
    "chat_first_event_p95": Line(50, "ms"),
    "chat_token_cpu": Line(300, "µs"),
    "chat_token_cpu_worker": Line(150, "µs"),
    "chat_token_latency_p99": Line(150, "ms"),
    "chat_worker_memory": Line(220, "MB"),
    "chat_graph_cpu": Line(8, "ms"),
    "daily_stats_5m": Line(60, "s"),
    "backup_memory": Line(200, "MB"),
    "filled_to_empty": Line(1.15, "times"),
    "memory_after_many": Line(2000, "MB"),
    "soak_success": Line(100, "%", more_is_better=True),
    "soak_memory_slope": Line(60, "MB/h"),
    "soak_latency_slope": Line(20, "ms/h"),
    "places_import": Line(10_000, "rows/s", more_is_better=True),
    "places_import_memory": Line(200, "MB"),
    "places_nearest_p99": Line(15, "ms"),
    "places_nearest_50_p99": Line(60, "ms"),
    "places_rare_p99": Line(50, "ms"),
    "places_clusters_p99": Line(20, "ms"),
    "places_search_p95": Line(30, "ms"),
    "places_memory": Line(90, "MB"),
}


@dataclass(frozen=True)
class Measure:
    """`value` is None when it could not be measured; `details` then has the reason as `skipped`."""

    name: str
    value: float | None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> Line:
        return LINES[self.name]

    @property
    def passed(self) -> bool | None:
        return None if self.value is None else self.line.passes(self.value)

    def to_json(self, circumstances: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "value": None if self.value is None else round(self.value, 4),
            "unit": self.line.unit,
            "line": str(self.line),
            "pass": self.passed,
            "conditions": {**circumstances, **self.details},
        }


def skipped(name: str, why: str) -> Measure:
    return Measure(name, None, {"skipped": why})


def show(measures: Sequence[Measure]) -> None:
    table = Table("measure", "value", "unit", "line", "pass", "note", box=None, header_style="bold")
    for one in measures:
        value = "–" if one.value is None else f"{one.value:,.4g}" if abs(one.value) < 1000 else f"{one.value:,.0f}"
        mark = {None: "[yellow]skipped", True: "[green]yes", False: "[red]NO"}[one.passed]
        note = str(one.details.get("skipped") or one.details.get("note") or "")
        table.add_row(one.name, value, one.line.unit, str(one.line), mark, note)
    Console(width=160, soft_wrap=True).print(table)


def write(path: Path, measures: Sequence[Measure], circumstances: Mapping[str, Any]) -> None:
    """Replaces what was measured now; the other measures of the file stay, each with its own conditions."""
    path.parent.mkdir(exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else {}
    now = {one.name: one.to_json({**conditions(), **circumstances}) for one in measures}
    merged = {name: {**before, **now}[name] for name in LINES if name in before or name in now}
    path.write_text(json.dumps(merged, indent=2, ensure_ascii=False) + "\n")
