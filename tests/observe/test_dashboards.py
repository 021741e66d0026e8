"""Queries of dashboards that no process of ours and no local exporter answers: promtool evaluates them over made-up
series that have the upstream names. `test_live.py` asks the others of the running Prometheus."""

import subprocess
from pathlib import Path

import yaml

from tests.deploy.checks.alerts import names
from tools.dashboards import boards

ELSEWHERE = ("kube_", "kubelet_", "istio_", "certmanager_")
"""Beginnings of metrics that only a cluster has: kube-state-metrics, kubelet, mesh, cert-manager."""
MADE_UP = {
    'kube_deployment_spec_replicas{namespace="scan", deployment="scan-api"}': "3x20",
    'kube_deployment_status_replicas_available{namespace="scan", deployment="scan-api"}': "2x20",
    'kube_pod_container_status_restarts_total{namespace="scan", pod="p", container="app"}': "0+1x20",
    'kube_pod_status_phase{namespace="scan", pod="p", phase="Running"}': "1x20",
    'kubelet_volume_stats_available_bytes{persistentvolumeclaim="data"}': "5x20",
    'kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="data"}': "10x20",
    'certmanager_certificate_expiration_timestamp_seconds{name="edge"}': "1000000x20",
    'istio_requests_total{reporter="source", response_code="200"}': "0+60x20",
    'istio_request_duration_milliseconds_bucket{reporter="source", le="100"}': "0+50x20",
    'istio_request_duration_milliseconds_bucket{reporter="source", le="+Inf"}': "0+60x20",
}


def at(query: str, window: str) -> str:
    """The query as Grafana sends it."""
    return query.replace("$__rate_interval", window)


def elsewhere() -> dict[tuple[str, str], str]:
    """(board, panel) → query that is answered in a cluster only."""
    found = {(board, panel): at(query, "5m") for board, panel, query in boards.queries()}
    return {key: query for key, query in found.items() if any(name.startswith(ELSEWHERE) for name in names(query))}


ANSWERED_IN_A_CLUSTER = {
    ("platform", "Pods missing"),
    ("platform", "Containers that start again"),
    ("platform", "Pods by phase"),
    ("platform", "Volumes in use"),
    ("platform", "Certificates end in"),
    ("edge", "Requests at the gateway"),
    ("edge", "Time at the gateway, p95"),
}


def test_what_only_a_cluster_answers_is_listed() -> None:
    assert elsewhere().keys() == ANSWERED_IN_A_CLUSTER


def test_upstream_series_answer_the_queries(programs: Path, tmp_path: Path) -> None:
    tests = [
        {"expr": f"count({query}) > bool 0", "eval_time": "15m", "exp_samples": [{"labels": "{}", "value": 1}]}
        for query in elsewhere().values()
    ]
    series = [{"series": name, "values": values} for name, values in MADE_UP.items()]
    path = tmp_path / "tests.yaml"
    path.write_text(yaml.safe_dump({"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}]}))
    made = subprocess.run(
        [programs / "promtool", "test", "rules", str(path)], capture_output=True, text=True, timeout=60
    )
    assert made.returncode == 0, made.stdout + made.stderr


def test_every_query_is_understood(programs: Path, tmp_path: Path) -> None:
    rules = [{"record": f"q{n}", "expr": at(query, "5m")} for n, (_, _, query) in enumerate(boards.queries())]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    made = subprocess.run(
        [programs / "promtool", "check", "rules", str(path)], capture_output=True, text=True, timeout=60
    )
    assert made.returncode == 0, made.stdout + made.stderr
