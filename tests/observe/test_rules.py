"""Each alert fires on made-up series that call for it, and is silent on those that nearly do; judged by promtool."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from eco2.local.observing.rules import rule_groups

Series = dict[str, str]
"""Series → its values, one a minute, in promtool's notation: `0+10x60` counts up by ten for an hour."""


@dataclass(frozen=True)
class Case:
    """Series that fire the alert after `minutes`, with these labels besides its severity, and others that do not."""

    fires: Series
    quiet: Series
    minutes: int = 30
    labels: dict[str, str] = field(default_factory=dict)


def http(errors: str, rest: str, service: str = "scan-api") -> Series:
    name = f'eco2_http_request_seconds_count{{service="{service}", status='
    return {f'{name}"503"}}': errors, f'{name}"200"}}': rest}


def scans(within: str, ended: str, outcome: str = "answered") -> Series:
    return {
        'eco2_scan_seconds_bucket{le="5.0"}': within,
        f'eco2_scans_ended_total{{outcome="{outcome}"}}': ended,
    }


def queue(ready: str, consumers: str, name: str = "scan.vision") -> Series:
    labels = f'{{vhost="eco2", queue="{name}"}}'
    return {
        f"rabbitmq_detailed_queue_messages_ready{labels}": ready,
        f"rabbitmq_detailed_queue_consumers{labels}": consumers,
    }


SCAN_QUEUE = {"vhost": "eco2", "queue": "scan.vision"}
DISK = '{instance="n1", mountpoint="/", fstype="ext4"}'
DISK_LABELS = {"instance": "n1", "mountpoint": "/", "fstype": "ext4"}
CASES = {
    "StuckScans": Case(
        {'eco2_scan_oldest_seconds{waits_for="end"}': "301x40"}, {'eco2_scan_oldest_seconds{waits_for="end"}': "299x40"}
    ),
    "UnsentScans": Case(
        {'eco2_scan_oldest_seconds{waits_for="message"}': "200x40"},
        {'eco2_scan_oldest_seconds{waits_for="end"}': "200x40"},
    ),
    "ScansFail": Case(
        {**scans("0+90x40", "0+90x40"), 'eco2_scans_ended_total{outcome="failed"}': "0+10x40"},
        {**scans("0+99x40", "0+99x40"), 'eco2_scans_ended_total{outcome="failed"}': "0+1x40"},
    ),
    "NoRewards": Case(
        {'eco2_scans_ended_total{outcome="answered"}': "0+1x90"},
        {
            'eco2_scans_ended_total{outcome="answered"}': "0+1x90",
            'eco2_messages_consumed_total{queue="reward.character", outcome="completed"}': "0+1x90",
        },
        minutes=40,
    ),
    "PhotosKillDecoders": Case(
        {'eco2_photos_opened_total{outcome="killed"}': "0+1x40"},
        {'eco2_photos_opened_total{outcome="refused"}': "0+9x40"},
    ),
    "EventLag": Case(
        {'eco2_router_lag{shard="0"}': "600x40", 'eco2_router_lag{shard="1"}': "600x40"},
        {'eco2_router_lag{shard="0"}': "600x40"},
    ),
    "PoisonedEvents": Case({"eco2_router_poison_total": "0x20 1x20"}, {"eco2_router_poison_total": "1x40"}),
    "StreamsMemory": Case({"eco2_router_memory_share": "0.81x40"}, {"eco2_router_memory_share": "0.79x40"}),
    "RevocationsStale": Case(
        {'eco2_authz_list_age_seconds{pod="a"}': "130x40"},
        {'eco2_authz_list_age_seconds{pod="a"}': "30x40"},
        labels={"pod": "a"},
    ),
    "LlmErrors": Case(
        {
            'eco2_llm_calls_total{model="m", outcome="timeout"}': "0+3x40",
            'eco2_llm_calls_total{model="m", outcome="ok"}': "0+7x40",
        },
        {
            'eco2_llm_calls_total{model="m", outcome="switched_off"}': "0+9x40",
            'eco2_llm_calls_total{model="m", outcome="ok"}': "0+1x40",
        },
        labels={"model": "m"},
    ),
    "LlmBudgetNearlySpent": Case(
        {"eco2_llm_spent_today_usd": "17x40", "eco2_llm_budget_usd": "20x40"},
        {"eco2_llm_spent_today_usd": "17x40", "eco2_llm_budget_usd": "0x40"},
    ),
    "LlmBudgetSpent": Case(
        {"eco2_llm_spent_today_usd": "19.9x40", "eco2_llm_budget_usd": "20x40"},
        {"eco2_llm_spent_today_usd": "17x40", "eco2_llm_budget_usd": "20x40"},
    ),
    "ServerErrors": Case(http("0+2x40", "0+98x40"), http("0+1x40", "0+199x40"), labels={"service": "scan-api"}),
    "GrpcErrors": Case(
        {
            'eco2_grpc_request_seconds_count{process="p", status="INTERNAL"}': "0+1x40",
            'eco2_grpc_request_seconds_count{process="p", status="OK"}': "0+9x40",
        },
        {
            'eco2_grpc_request_seconds_count{process="p", status="NOT_FOUND"}': "0+9x40",
            'eco2_grpc_request_seconds_count{process="p", status="OK"}': "0+1x40",
        },
        labels={"process": "p"},
    ),
    "DatabasePoolExhausted": Case(
        {'eco2_db_connections{process="p", state="waited_for"}': "1x40"},
        {'eco2_db_connections{process="p", state="open"}': "9x40"},
        labels={"process": "p"},
    ),
    "DeadLetters": Case(
        queue("101x40", "0x40", "dlq.scan.vision"),
        queue("101x40", "3x40"),
        labels={"vhost": "eco2", "queue": "dlq.scan.vision"},
    ),
    "QueueWithoutConsumer": Case(queue("1x40", "0x40"), queue("1x40", "1x40"), labels=SCAN_QUEUE),
    "QueueGrows": Case(queue("501+10x60", "3x60"), queue("900-10x60", "3x60"), minutes=40, labels=SCAN_QUEUE),
    "OutboxWaits": Case({"eco2_outbox_oldest_seconds": "901x40"}, {"eco2_outbox_oldest_seconds": "300x40"}),
    "NoScheduler": Case({"eco2_scheduler_leading": "0x40"}, {"eco2_scheduler_leading": "1x40"}),
    "RunsWait": Case({"eco2_runs_oldest_waiting_seconds": "1801x40"}, {"eco2_runs_oldest_waiting_seconds": "60x40"}),
    "BackupOld": Case(
        {'eco2_task_last_done_timestamp_seconds{task="backup.database"}': "-100000x40"},
        {'eco2_task_last_done_timestamp_seconds{task="backup.database"}': "-1000x40"},
    ),
    "NoBackup": Case(
        {"eco2_scheduler_leading": "1x1600"},
        {
            "eco2_scheduler_leading": "1x1600",
            'eco2_task_last_done_timestamp_seconds{task="backup.database"}': "0x1600",
        },
        minutes=1570,
        labels={"task": "backup.database"},
    ),
    "ImportRejects": Case(
        {
            'eco2_import_rows{data="places", outcome="rejected", reason="columns", pod="a"}': "12x40",
            'eco2_import_rows{data="places", outcome="rejected", reason="columns", pod="b"}': "12x40",
            'eco2_import_rows{data="places", outcome="kept", reason=""}': "88x40",
        },
        {
            'eco2_import_rows{data="places", outcome="rejected", reason="columns"}': "9x40",
            'eco2_import_rows{data="places", outcome="duplicate", reason="same_key"}': "90x40",
            'eco2_import_rows{data="places", outcome="kept", reason=""}': "91x40",
        },
        labels={"data": "places"},
    ),
    "ImportRefused": Case(
        {'eco2_imports_refused{data="places"}': "1x40"},
        {'eco2_imports_refused{data="places"}': "0x40"},
        labels={"data": "places"},
    ),
    "NewsStale": Case(
        {'eco2_info_source_age_seconds{source="s"}': "21700x40"},
        {'eco2_info_source_age_seconds{source="s"}': "600x40"},
        labels={"source": "s"},
    ),
    "NodeCpu": Case(
        {'node_cpu_seconds_total{instance="n1", mode="idle"}': "0+6x40"},
        {'node_cpu_seconds_total{instance="n1", mode="idle"}': "0+30x40"},
        labels={"instance": "n1"},
    ),
    "NodeDisk": Case(
        {f"node_filesystem_avail_bytes{DISK}": "19x40", f"node_filesystem_size_bytes{DISK}": "100x40"},
        {f"node_filesystem_avail_bytes{DISK}": "21x40", f"node_filesystem_size_bytes{DISK}": "100x40"},
        labels=DISK_LABELS,
    ),
    "DiskFullSoon": Case(
        {f"node_filesystem_avail_bytes{DISK}": "400-2x60", f"node_filesystem_size_bytes{DISK}": "1000x60"},
        {f"node_filesystem_avail_bytes{DISK}": "300x60", f"node_filesystem_size_bytes{DISK}": "1000x60"},
        minutes=40,
        labels=DISK_LABELS,
    ),
    "VolumeFull": Case(
        {
            'kubelet_volume_stats_available_bytes{persistentvolumeclaim="v"}': "19x40",
            'kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="v"}': "100x40",
        },
        {
            'kubelet_volume_stats_available_bytes{persistentvolumeclaim="v"}': "21x40",
            'kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="v"}': "100x40",
        },
        labels={"persistentvolumeclaim": "v"},
    ),
    "NodeNotReady": Case(
        {'kube_node_status_condition{node="n1", condition="Ready", status="true"}': "0x40"},
        {'kube_node_status_condition{node="n1", condition="Ready", status="true"}': "1x40"},
        labels={"node": "n1", "condition": "Ready", "status": "true"},
    ),
    "CrashLoopBackOff": Case(
        {
            "kube_pod_container_status_waiting_reason"
            '{namespace="scan", pod="p", container="app", reason="CrashLoopBackOff"}': "0 1 _ _ 1 _ _ 1 _ _ 1 _ _ 1x30"
        },
        {
            "kube_pod_container_status_waiting_reason"
            '{namespace="scan", pod="p", container="app", reason="ContainerCreating"}': "1x40"
        },
        labels={"namespace": "scan", "pod": "p", "container": "app"},
    ),
    "PodsMissing": Case(
        {
            'kube_deployment_status_replicas_available{namespace="n", deployment="d"}': "1x40",
            'kube_deployment_spec_replicas{namespace="n", deployment="d"}': "2x40",
        },
        {
            'kube_deployment_status_replicas_available{namespace="n", deployment="d"}': "2x40",
            'kube_deployment_spec_replicas{namespace="n", deployment="d"}': "2x40",
        },
        labels={"namespace": "n", "deployment": "d"},
    ),
    "TargetDown": Case(
        {'up{job="mesh", instance="i"}': "0x40"},
        {'up{job="mesh", instance="i"}': "1x40"},
        labels={"job": "mesh", "instance": "i"},
    ),
    "CertificateEnds": Case(
        {'certmanager_certificate_expiration_timestamp_seconds{name="c"}': "1000000x120"},
        {'certmanager_certificate_expiration_timestamp_seconds{name="c"}': "2000000x120"},
        minutes=70,
        labels={"name": "c"},
    ),
    "RequestErrorsBurnFast": Case(http("0+20x90", "0+80x90"), http("0+10x90", "0+90x90"), minutes=20),
    "RequestErrorsBurnSlow": Case(http("0+8x60", "0+92x60"), http("0+4x60", "0+96x60"), minutes=40),
    "ScanMissesBurnFast": Case(scans("0+80x90", "0+100x90"), scans("0+90x90", "0+100x90"), minutes=20),
    "ScanMissesBurnSlow": Case(scans("0+92x60", "0+100x60"), scans("0+96x60", "0+100x60"), minutes=40),
}


def alerts() -> dict[str, str]:
    """Committed alerts and their severity."""
    rules = [rule for group in rule_groups() for rule in group["rules"] if "alert" in rule]
    return {rule["alert"]: rule["labels"]["severity"] for rule in rules}


def judged(alert: str, series: Series, minutes: int, labels: dict[str, str] | None) -> dict[str, Any]:
    """A test of promtool; without labels the alert must not fire."""
    inner = ", ".join(f'{name}="{value}"' for name, value in (labels or {}).items())
    firing = f'ALERTS{{alertname="{alert}", alertstate="firing", {inner}}}'
    query = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    samples = [] if labels is None else [{"labels": firing, "value": 1}]
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": query, "eval_time": f"{minutes}m", "exp_samples": samples}],
    }


def promtool(programs: Path, *words: str) -> str:
    made = subprocess.run([programs / "promtool", *words], capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout


def test_the_rules_are_well_formed(programs: Path, rule_file: Path) -> None:
    promtool(programs, "check", "rules", "--lint=all", "--lint-fatal", str(rule_file))


def test_each_alert_is_tried() -> None:
    assert CASES.keys() == alerts().keys()


@pytest.mark.parametrize("called_for", [True, False], ids=["fires", "quiet"])
def test_each_alert(programs: Path, rule_file: Path, tmp_path: Path, called_for: bool) -> None:
    severity, tests = alerts(), []
    for name, case in CASES.items():
        labels = {"severity": severity[name], **case.labels} if called_for else None
        tests.append(judged(name, case.fires if called_for else case.quiet, case.minutes, labels))
    path = tmp_path / "tests.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(rule_file)], "evaluation_interval": "1m", "tests": tests}))
    promtool(programs, "test", "rules", str(path))
