"""Files of Prometheus and Alertmanager from the objects that the operator of the cluster reads.

The operator writes the same: rules one to one, routes with other names of their fields.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from eco2.local.config import CHECKOUT

Json = dict[str, Any]

MONITORING = CHECKOUT / "workloads" / "monitoring" / "base"
SHORTEST_WINDOW = 5
"""Seconds, at any pace: `rate` needs two samples."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+)([smhd])")
_WINDOW = re.compile(r"\[(\d+[smhd](?::(?:\d+[smhd])?)?)\]")
WAITS = ("group_wait", "group_interval", "repeat_interval")


def documents(kind: str) -> Iterator[Json]:
    """Committed objects of that kind."""
    for path in sorted(MONITORING.glob("*.yaml")):
        yield from (item for item in yaml.safe_load_all(path.read_text()) if item["kind"] == kind)


def rule_groups(pace: int = 1) -> list[Json]:
    """Groups of the committed rules; what takes time in them takes `pace` times less."""
    groups = [group for item in documents("PrometheusRule") for group in item["spec"]["groups"]]
    return [{**group, "rules": [_paced(rule, pace) for rule in group["rules"]]} for group in groups]


def _paced(rule: Json, pace: int) -> Json:
    if pace == 1:
        return rule
    faster = {**rule, "expr": _WINDOW.sub(lambda found: f"[{_windows(found[1], pace)}]", rule["expr"])}
    if "for" in rule:
        faster["for"] = _shorter(rule["for"], pace, 1)
    return faster


def _windows(text: str, pace: int) -> str:
    """A range, or a range and the step of a subquery."""
    window, colon, step = text.partition(":")
    return _shorter(window, pace, SHORTEST_WINDOW) + colon + (_shorter(step, pace, 1) if step else "")


def _shorter(duration: str, pace: int, least: int) -> str:
    seconds = sum(int(number) * _UNITS[unit] for number, unit in _DURATION.findall(duration))
    return f"{max(least, seconds // pace)}s"


def alertmanager(receiver: Callable[[Json], Json], pace: int = 1) -> Json:
    """Alertmanager's file; `receiver` makes what a receiver of the object sends to, under the file's own names."""
    (item,) = documents("AlertmanagerConfig")
    spec = item["spec"]
    return {
        "route": _route(spec["route"], pace),
        "inhibit_rules": [
            {
                "source_matchers": _matchers(row["sourceMatch"]),
                "target_matchers": _matchers(row["targetMatch"]),
                "equal": row.get("equal", []),
            }
            for row in spec["inhibitRules"]
        ],
        "receivers": [{"name": row["name"], **receiver(row)} for row in spec["receivers"]],
    }


def to_webhook(url: str | None) -> Callable[[Json], Json]:
    """Receivers that post to `url` in place of the committed ones; without a URL they are silent."""

    def receiver(row: Json) -> Json:
        writes = url is not None and row.keys() != {"name"}
        return {"webhook_configs": [{"url": url, "send_resolved": True}]} if writes else {}

    return receiver


def _route(row: Json, pace: int) -> Json:
    made = {snake(key): value for key, value in row.items() if key not in ("matchers", "routes")}
    for wait in WAITS:
        if pace != 1 and wait in made:
            made[wait] = _shorter(made[wait], pace, 1)
    if "matchers" in row:
        made["matchers"] = _matchers(row["matchers"])
    if "routes" in row:
        made["routes"] = [_route(child, pace) for child in row["routes"]]
    return made


def snake(name: str) -> str:
    """A field of the object as Alertmanager's file names it."""
    return re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name)


def _matchers(rows: list[Json]) -> list[str]:
    return [f'{row["name"]}{row["matchType"]}"{row["value"]}"' for row in rows]
