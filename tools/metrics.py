"""Writes docs/metrics.md from the code: every metric, its labels and who exports it. `python -m tools.metrics FILE`."""

import pkgutil
import sys
from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import grimp
from prometheus_client.metrics import MetricWrapperBase

import eco2
from eco2.processes import SERVICES

LABELS = {
    "by": "`rules`, `model`",
    "data": "`places`, `collection_days`",
    "direction": "`in`, `out`",
    "exchange": "exchanges of `eco2/contracts/queues.py`",
    "intent": "intents of `eco2/chat/agent/state.py`; `vision` for a look at a photo; for a turn that failed its code; "
    "empty for one that was stopped",
    "kind": "kinds of messages, of refusals or of lost jobs, named in the module",
    "method": "methods of HTTP; methods of the `.proto` files",
    "model": "models of `ECO2_LLM_MODELS`",
    "node": "intents of `eco2/chat/agent/state.py`, `understand` for the choice of them, `vision` for a look at a "
    "photo; empty for calls of no chat",
    "outcome": "ends named in the module; `answered`, `unsure`, `failed` for a scan",
    "provider": "providers of `ECO2_LLM_MODELS`",
    "purpose": "purposes of a call, named in the code",
    "queue": "queues of `eco2/contracts/queues.py`",
    "reason": "reasons named in the module",
    "route": "templates of the paths of `docs/api/openapi.json`; empty for a path that is none",
    "routing_key": "keys of `eco2/contracts/queues.py`",
    "service": "APIs of `eco2/processes.py`",
    "shard": "shards of the event log, a setting",
    "source": "sources of news in the settings; places where something was found, named in the module",
    "stage": "stages of a scan",
    "state": "states named in the module",
    "status": "status codes of HTTP or gRPC; ends named in the module",
    "task": "tasks of `eco2/contracts/tasks.py` and queues",
    "transient": "`True`, `False`",
    "waits_for": "`message`, `end`, `announcement`",
}
"""Label → the closed set that its values are from. A metric may have no other label: ids, paths and words of users have
no bound."""

_HEAD = """# Metrics

What the processes export on `/metrics`, which the edge never routes to: in a cluster Prometheus scrapes it, in the
local stack `curl` reads it (`eco2 status` names the ports). Written by `make metrics` from the code. Metrics of the
servers are their exporters'; `workloads/monitoring` names those that alerts use.

A name that ends in `_total` is a counter; a histogram has `_bucket`, `_sum`, `_count`. The values of each label are
from a closed set, below: nothing that a user chooses becomes a label.

| metric | type | labels | meaning | exported by |
|---|---|---|---|---|
"""


class Metric(NamedTuple):
    name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    processes: tuple[str, ...]

    @property
    def series(self) -> set[str]:
        """Names that queries may use."""
        match self.kind:
            case "counter":
                return {self.name}
            case "histogram":
                return {f"{self.name}{suffix}" for suffix in ("_bucket", "_sum", "_count")}
            case _:
                return {self.name}


def catalogue() -> list[Metric]:
    """Every metric of the processes, by name."""
    homes = _homes()
    graph = grimp.build_graph("eco2")
    exporters: dict[str, list[str]] = defaultdict(list)
    for row in SERVICES:
        if row.target is not None:
            module = row.target.partition(":")[0]
            for used in {module, *graph.find_upstream_modules(module)} & homes.keys():
                exporters[used].append(row.name)
    found = []
    for module, collectors in homes.items():
        for collector in collectors:
            (family,) = collector.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            processes = tuple(sorted(exporters[module]))
            found.append(Metric(name, family.type, tuple(collector._labelnames), family.documentation, processes))
    return sorted(found)


def _homes() -> dict[str, list[MetricWrapperBase]]:
    """Module → the metrics that it defines; one that it imports has the home where it was first seen defined."""
    homes: dict[str, list[MetricWrapperBase]] = defaultdict(list)
    for info in pkgutil.walk_packages(eco2.__path__, "eco2."):
        if info.name.startswith(("eco2.cli", "eco2.local")):
            continue
        module = import_module(info.name)
        source = Path(module.__file__ or "").read_text()
        for name, value in vars(module).items():
            if isinstance(value, MetricWrapperBase) and f"\n{name} = " in source:
                homes[info.name].append(value)
    return homes


def render(found: Sequence[Metric]) -> str:
    """The page as it is committed."""
    rows = []
    for metric in found:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        everyone = len(metric.processes) > 12
        processes = "nearly every process" if everyone else ", ".join(metric.processes)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} | {processes} |\n")
    labels = "".join(f"| `{label}` | {values} |\n" for label, values in LABELS.items())
    return f"{_HEAD}{''.join(rows)}\n## Labels\n\n| label | values |\n|---|---|\n{labels}"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(catalogue()))
