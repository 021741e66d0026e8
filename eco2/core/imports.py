"""Metrics of imports. An import is a command or a Job, gone before Prometheus looks: it leaves a row in the database,
of which the API of the domain tells."""

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Gauge

IMPORTED = Gauge(
    "eco2_import_rows",
    "Rows of the last import of each feed by their outcome, all feeds together",
    ["data", "outcome", "reason"],
)
REFUSED = Gauge("eco2_imports_refused", "Feeds whose last import was refused as a whole", ["data"])


@dataclass(frozen=True)
class Imported:
    """Last import of a feed. `findings`: `outcome.reason` → rows. `refused`: code of the error; empty: it was done."""

    kept: int
    findings: Mapping[str, int]
    refused: str = ""


def tell(data: str, found: list[Imported]) -> None:
    """Set the gauges of imports of one kind of data."""
    rows: dict[tuple[str, str], int] = {("kept", ""): 0, ("rejected", ""): 0}
    for one in found:
        rows["kept", ""] += one.kept
        for name, number in one.findings.items():
            outcome, _, reason = name.partition(".")
            rows[outcome, reason] = rows.get((outcome, reason), 0) + number
    for labels in list(IMPORTED._metrics):
        if labels[0] == data and labels[1:] not in rows:
            IMPORTED.remove(*labels)
    for (outcome, reason), number in rows.items():
        IMPORTED.labels(data, outcome, reason).set(number)
    REFUSED.labels(data).set(sum(bool(one.refused) for one in found))
