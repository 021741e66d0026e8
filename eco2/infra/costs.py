"""Monthly cost of a layout at list prices."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HOURS = 730
DATE = "2026-11-30"
SOURCE = (
    "list prices of ap-northeast-2 (Linux, on demand, USD without tax) as AWS publishes them, noted without access to "
    "AWS: compare with its calculator before you count on them"
)
INSTANCES = {"t3.small": 0.026, "t3.medium": 0.052, "t3.large": 0.104, "t3.xlarge": 0.208}
"""Prices of an hour. Spot nodes are counted like others: their price changes by the hour, mostly a third."""
DISK = 0.0912
"""A GiB of gp3 for a month."""
ADDRESS = 0.005
BALANCER = 0.0225
NAT = 0.059
"""An hour each; a NAT gateway takes as much for each GB."""
SECRET = 0.40
ZONE = 0.50
SECRETS = 15
ZONES = 2


@dataclass(frozen=True)
class Cost:
    layout: str
    nodes: int
    instances: float
    disks: float
    other: float
    """Public addresses, the load balancer, secrets, zones."""

    @property
    def total(self) -> float:
        return self.instances + self.disks + self.other


def nodes(layouts: dict[str, Any], layout: str, environment: str = "") -> Iterator[tuple[str, int]]:
    """Type and disk in GiB of every node; with the sizes of an environment, where it has some for this layout."""
    chosen = layouts["environments"].get(environment, {})
    types = chosen.get("types", {}) if chosen.get("layout") == layout else {}
    for row in layouts["layouts"][layout]:
        for _ in range(row.get("count", 1)):
            yield types.get(row["pool"], row["type"]), row["disk"]


def cost(layouts: dict[str, Any], layout: str, environment: str = "") -> Cost:
    """Without traffic, volumes of the data stores, buckets and CloudFront: those are by use."""
    found = list(nodes(layouts, layout, environment))
    # A public address for each node, and three for the load balancer.
    hourly = ADDRESS * (len(found) + 3) + BALANCER
    return Cost(
        layout,
        len(found),
        sum(INSTANCES[kind] for kind, _ in found) * HOURS,
        sum(disk for _, disk in found) * DISK,
        hourly * HOURS + SECRET * SECRETS + ZONE * ZONES,
    )


def table(checkout: Path) -> str:
    """Markdown: a row for each layout, and one for each environment."""
    layouts = yaml.safe_load((checkout / "clusters/layouts.yaml").read_text())
    rows = [(name, cost(layouts, name)) for name in layouts["layouts"]]
    rows += [
        (f"{environment} ({row['layout']})", cost(layouts, row["layout"], environment))
        for environment, row in layouts["environments"].items()
    ]
    lines = ["| | nodes | instances | disks | other | USD a month |", "|---|---|---|---|---|---|"]
    for name, row in rows:
        parts = " | ".join(f"{part:.0f}" for part in (row.instances, row.disks, row.other, row.total))
        lines.append(f"| {name} | {row.nodes} | {parts} |")
    return "\n".join(lines)
