"""The numbers that `eco2 top` shows, and that its picture fits every terminal."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from eco2.cli.top import picture
from eco2.local.observing import samples
from eco2.local.observing.samples import Reading, Usage
from eco2.local.observing.summary import summary
from eco2.local.state import ProcessState

PAGE = """# HELP eco2_task_seconds Time of the work on one message
# TYPE eco2_task_seconds histogram
eco2_task_seconds_bucket{le="0.1",outcome="completed",task="scan.vision"} 3.0
eco2_task_seconds_count{outcome="completed",task="scan.vision"} %(count)s
eco2_task_seconds_sum{outcome="completed",task="scan.vision"} %(sum)s
eco2_scans_ended_total{outcome="answered"} %(count)s
eco2_scan_cache_total{source="exact",stage="vision"} 3.0
eco2_scan_cache_total{source="model",stage="vision"} 1.0
eco2_llm_spent_today_usd 1.5
eco2_llm_budget_usd 20.0
eco2_http_request_seconds_count{method="GET",route="/x\\"y",service="s",status="503"} %(count)s
rabbitmq_detailed_queue_messages_ready{vhost="eco2",queue="scan.vision"} 7
rabbitmq_detailed_queue_consumers{vhost="eco2",queue="scan.vision"} 1
rabbitmq_detailed_queue_messages_ready{vhost="eco2",queue="dlq.scan.vision"} 2
other_metric 9
"""


def reading(at: float, count: int, seconds: float, **more: Any) -> Reading:
    processes = [ProcessState("scan-worker", "worker", 10041, 5, 1, True), ProcessState("web", "api", 1, 6, 1, True)]
    used = {"scan-worker": Usage(seconds, 50_000_000), "web": Usage(None, None)}
    found = samples.parse(PAGE % {"count": count, "sum": seconds})
    made = Reading(at, processes, used, found, ["web"], broker_read=True, alerts=None)
    return replace(made, **more)


ALERT = {
    "labels": {"alertname": "TargetDown", "severity": "warning"},
    "annotations": {"summary": "Prometheus cannot read [x]", "runbook_url": "https://h/blob/main/docs/runbooks/t.md"},
    "startsAt": "2026-01-01T00:00:00Z",
    "status": {"state": "active"},
}


def test_rates_are_differences_of_two_readings() -> None:
    found = summary(reading(0, 10, 1.0), reading(2, 30, 2.0))
    assert found["stages"] == [{"task": "scan.vision", "rate": 10, "milliseconds": 50, "again": 0}]
    assert found["scans"]["ended"] == {"answered": 10}
    assert found["scans"]["cache_hits"] == 0.75
    assert found["edge"]["failed"] == 10
    assert found["cost"] | {"spent_today_usd": 1.5, "budget_usd": 20.0} == found["cost"]
    worker, web = found["processes"]
    assert (worker["cpu_percent"], worker["memory_mb"], worker["answers"]) == (50, 50, True)
    assert (web["cpu_percent"], web["memory_mb"], web["answers"]) == (None, None, False)
    assert [(row["queue"], row["ready"], row["consumers"]) for row in found["queues"]] == [
        ("scan.vision", 7, 1),
        ("dlq.scan.vision", 2, 0),
    ]
    assert found["alerts"] is None


def test_a_process_that_began_anew_has_no_negative_rate() -> None:
    found = summary(reading(0, 30, 2.0), reading(2, 10, 1.0))
    assert (found["stages"][0]["rate"], found["stages"][0]["milliseconds"]) == (0, None)


def drawn(width: int, height: int | None, found: dict[str, Any], observed: bool) -> str:
    console = Console(file=io.StringIO(), width=width, height=height or 50, force_terminal=False, legacy_windows=False)
    console.print(picture(found, observed, width, height))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.mark.parametrize(("width", "height"), [(60, 24), (80, 24), (120, 40), (200, None)])
def test_the_picture_fits(width: int, height: int | None) -> None:
    found = summary(reading(0, 10, 1.0), reading(2, 30, 2.0, alerts=[ALERT]))
    text = drawn(width, height, found, True)
    assert max(map(len, text.splitlines())) <= width
    for word in ("TargetDown", "scan.vision", "scan-worker", "docs/runbooks/t.md"):
        assert word in text, word


def test_it_says_what_alerts_need() -> None:
    found = summary(reading(0, 10, 1.0), reading(2, 30, 2.0))
    assert "eco2 up --observe" in drawn(120, 40, found, False)
    assert "does not answer" in drawn(120, 40, found, True)
