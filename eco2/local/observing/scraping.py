"""The file of the local Prometheus: every process and exporter of this stack, and the rules."""

from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

import yaml

from eco2.local import config
from eco2.local.config import CHECKOUT, Layout
from eco2.processes import SERVICES

Json = dict[str, Any]

BROKER_MONITOR = CHECKOUT / "workloads" / "rabbitmq" / "base" / "service-monitor.yaml"
REDIS = ("redis-streams", "redis-cache")
EVERY_SECONDS = 15
RULES = "rules.yaml"


def prometheus(at: Layout, running: Collection[str], pace: int = 1) -> Json:
    """Prometheus's file. `running`: names of the units of the stack; others are no targets."""
    every = f"{EVERY_SECONDS if pace == 1 else 1}s"
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [RULES],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [_target(at, config.ALERTMANAGER)]}]}]},
        "scrape_configs": [
            _processes(at, running),
            *(_gateway(at) if "gateway" in running else ()),
            *(_broker(at) if "rabbitmq" in running and "ECO2_BROKER_URL" not in at.given else ()),
            *(_redis(at, running) if redis_urls(at, running) else ()),
            *(_job("postgres", _target(at, config.POSTGRES_EXPORTER)) if "postgres" in running else ()),
            *_job("node", _target(at, config.NODE_EXPORTER)),
            *_job("prometheus", _target(at, config.PROMETHEUS)),
            *_job("alertmanager", _target(at, config.ALERTMANAGER)),
        ],
    }


def _target(at: Layout, offset: int) -> str:
    return f"127.0.0.1:{at.port(offset)}"


def _job(name: str, target: str, **more: Any) -> tuple[Json]:
    return ({"job_name": name, "static_configs": [{"targets": [target]}], **more},)


def _processes(at: Layout, running: Collection[str]) -> Json:
    """With the labels that the cluster's Prometheus gives to the Pods of a process."""
    rows = [row for row in SERVICES if row.name in running]
    targets = [
        {"targets": [_target(at, row.port)], "labels": {"process": row.name, "pod": f"{row.name}-0"}} for row in rows
    ]
    return {"job_name": "processes", "static_configs": targets}


def _gateway(at: Layout) -> tuple[Json]:
    return _job("gateway", _target(at, config.GATEWAY_ADMIN), metrics_path="/stats/prometheus")


def _broker(at: Layout) -> list[Json]:
    """The paths that the cluster's ServiceMonitor reads."""
    endpoints = yaml.safe_load(BROKER_MONITOR.read_text())["spec"]["endpoints"]
    target = _target(at, config.BROKER_PROMETHEUS)
    jobs: list[Json] = []
    for row in endpoints:
        path = row.get("path", "/metrics")
        name = "rabbitmq" if path == "/metrics" else f"rabbitmq-{path.rpartition('/')[2]}"
        jobs += _job(name, target, metrics_path=path, params=row.get("params", {}))
    return jobs


def redis_urls(at: Layout, running: Collection[str]) -> dict[str, str]:
    """Name → URL of each Redis that the exporter can ask; it follows no sentinel."""
    found = config.environment(at)
    urls = {name: found[f"ECO2_{name.upper().replace('-', '_')}_URL"] for name in REDIS if name in running}
    return {name: url for name, url in urls.items() if urlsplit(url).scheme in ("redis", "rediss")}


def redis_address(url: str) -> str:
    """As the exporter names a server: without its password, which stands in a file."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}"


def _redis(at: Layout, running: Collection[str]) -> tuple[Json]:
    """One exporter for both: the address of the server is a parameter, its name becomes the instance."""
    targets = [
        {"targets": [redis_address(url)], "labels": {"instance": name}} for name, url in redis_urls(at, running).items()
    ]
    relabel = [
        {"source_labels": ["__address__"], "target_label": "__param_target"},
        {"target_label": "__address__", "replacement": _target(at, config.REDIS_EXPORTER)},
    ]
    return ({"job_name": "redis", "metrics_path": "/scrape", "static_configs": targets, "relabel_configs": relabel},)
