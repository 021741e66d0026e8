"""Numbers of a running stack, read from its processes: metrics of ours and of the broker, CPU, memory, alerts.

Nothing here needs Prometheus; alerts need Alertmanager.
"""

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil

from eco2.local import config, state
from eco2.local.config import Layout
from eco2.processes import SERVICES

Json = dict[str, Any]

WANTED = (
    "eco2_task_seconds_count",
    "eco2_task_seconds_sum",
    "eco2_scans_ended_total",
    "eco2_scan_seconds_sum",
    "eco2_scan_seconds_count",
    "eco2_scan_cache_total",
    "eco2_chat_turns_total",
    "eco2_http_request_seconds_count",
    "eco2_http_request_seconds_sum",
    "eco2_sse_open_streams",
    "eco2_sse_subscribed_jobs",
    "eco2_sse_frames_sent_total",
    "eco2_router_events_forwarded_total",
    "eco2_router_lag",
    "eco2_router_memory_share",
    "eco2_llm_spent_today_usd",
    "eco2_llm_budget_usd",
    "eco2_llm_stopped",
    "eco2_llm_calls_total",
    "eco2_llm_tokens_total",
    "rabbitmq_detailed_queue_messages_ready",
    "rabbitmq_detailed_queue_messages_unacked",
    "rabbitmq_detailed_queue_consumers",
)
BROKER_PATH = "/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count"
SECONDS = 1.5
"""Patience with one process: a stopped one must not hold up the rest."""
_SAMPLE = re.compile(rf"^({'|'.join(WANTED)})(?:{{(.*)}})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Sample:
    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Usage:
    """Of one process: CPU seconds since its start, memory in bytes (None: not ours to know)."""

    cpu: float | None
    memory: int | None


@dataclass(frozen=True)
class Reading:
    """The stack at one moment."""

    at: float
    processes: Sequence[state.ProcessState]
    usage: dict[str, Usage]
    samples: Sequence[Sample]
    unread: Sequence[str]
    """Processes whose metrics could not be read."""
    broker_read: bool
    alerts: Sequence[Json] | None
    """None: there is no Alertmanager, or it does not answer."""

    def total(self, name: str, **labels: str) -> float:
        return sum(row.value for row in self._matching(name, labels))

    def most(self, name: str, **labels: str) -> float:
        return max((row.value for row in self._matching(name, labels)), default=0.0)

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Sum for each value of the label."""
        found: dict[str, float] = {}
        for row in self._matching(name, labels):
            key = row.labels.get(label, "")
            found[key] = found.get(key, 0.0) + row.value
        return found

    def _matching(self, name: str, labels: dict[str, str]) -> Iterable[Sample]:
        return (row for row in self.samples if row.name == name and labels.items() <= row.labels.items())


def parse(text: str) -> list[Sample]:
    """Samples of WANTED in a page of metrics."""
    found = []
    for name, labels, value in _SAMPLE.findall(text):
        found.append(Sample(name, dict(_LABEL.findall(labels)), float(value)))
    return found


async def read(client: httpx2.AsyncClient, at: Layout) -> Reading:
    """One reading of the stack that runs at `at`."""
    last = state.load(at.home)
    alive = last is not None and last.alive
    processes = last.processes if last else []
    names = {row.name for row in processes if row.pid is not None} if alive else set()
    services = [row for row in SERVICES if row.name in names]
    pages = await asyncio.gather(*(_page(client, f"http://127.0.0.1:{at.port(row.port)}/metrics") for row in services))
    own_broker = "rabbitmq" in names and "ECO2_BROKER_URL" not in at.given
    broker = (
        await _page(client, f"http://127.0.0.1:{at.port(config.BROKER_PROMETHEUS)}{BROKER_PATH}")
        if own_broker
        else None
    )
    samples = [sample for page in (*pages, broker) if page is not None for sample in parse(page)]
    return Reading(
        time.monotonic(),
        processes,
        {row.name: usage(row.pid) for row in processes if row.pid is not None and alive},
        samples,
        [row.name for row, page in zip(services, pages, strict=True) if page is None],
        broker is not None,
        await _alerts(client, at) if "alertmanager" in names else None,
    )


async def _page(client: httpx2.AsyncClient, url: str) -> str | None:
    try:
        answer = await client.get(url, timeout=SECONDS)
        return answer.text if answer.status_code == 200 else None
    except httpx2.HTTPError:
        return None


async def _alerts(client: httpx2.AsyncClient, at: Layout) -> list[Json] | None:
    try:
        url = f"http://127.0.0.1:{at.port(config.ALERTMANAGER)}/api/v2/alerts"
        answer = await client.get(url, params={"active": "true", "silenced": "false"}, timeout=SECONDS)
        found: list[Json] = answer.raise_for_status().json()
    except (httpx2.HTTPError, ValueError):
        return None
    return found


def usage(pid: int) -> Usage:
    try:
        spent = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return Usage(None, None)
    return Usage(spent.user + spent.system, _memory(pid))


def _memory(pid: int) -> int | None:
    """Its share of the pages that it has with others, where this user may read that; else None."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    found = re.search(r"^Pss:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None
