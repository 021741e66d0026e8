"""scripts/cluster-status and scripts/domain-check, against a kubectl that answers with what prod renders."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.applications import applications, deployed
from tests.deploy.platform import CHECKOUT, Platform

Run = Callable[..., subprocess.CompletedProcess[str]]

KUBECTL = """\
import json, sys
state = json.load(open({state!r}))
words = [word for word in sys.argv[1:] if not word.startswith("--request-timeout")]
if state["away"]:
    sys.exit("Unable to connect to the server")
if words[0] in ("version", "cluster-info", "config", "top"):
    print("ok")
    sys.exit()
assert words[0] == "get", words
selector = dict(pair.split("=") for pair in words[words.index("-l") + 1].split(",")) if "-l" in words else {{}}
for row in state["objects"]:
    if row["kind"] == words[1] and selector.items() <= row["labels"].items():
        print(row["line"])
"""


@pytest.fixture
def run(platform: Platform, tmp_path: Path) -> Run:
    """Runs a script; the objects of prod are all there, changed as `change` says."""

    def call(
        script: str, *arguments: str, away: bool = False, change: Callable[[list[dict[str, Any]]], None] | None = None
    ) -> subprocess.CompletedProcess[str]:
        objects = _objects(platform)
        if change:
            change(objects)
        state = tmp_path / "state.json"
        state.write_text(json.dumps({"away": away, "objects": objects}))
        kubectl = tmp_path / "kubectl"
        kubectl.write_text(f"#!{sys.executable}\n{KUBECTL.format(state=str(state))}")
        kubectl.chmod(0o755)
        environment = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}
        command = [str(CHECKOUT / "scripts" / script), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)

    return call


def _objects(platform: Platform) -> list[dict[str, Any]]:
    """Output of `kubectl get --no-headers` for prod with all its Pods running."""
    rows = [{"kind": "nodes", "labels": {}, "line": "k8s-api Ready <none> 1d v1.36.0 app"}]
    plural = {"Service": "services", "ConfigMap": "configmaps", "Namespace": "namespaces"}
    for _, item in deployed(platform, "prod"):
        name, space = item["metadata"]["name"], item["metadata"].get("namespace", "")
        labels = item["metadata"].get("labels", {})
        if item["kind"] in plural:
            rows.append({"kind": plural[item["kind"]], "labels": labels, "line": f"{space} {name}"})
        if item["kind"] == "Deployment":
            labels = item["spec"]["template"]["metadata"]["labels"]
            rows.append({"kind": "pods", "labels": labels, "line": f"{space} {name}-x 2/2 Running 0 1d"})
    return rows + [
        {"kind": "applications.argoproj.io", "labels": {}, "line": f"prod-{row.name} Synced Healthy"}
        for row in applications(platform, "prod")
    ]


def _break(name: str, line: str) -> Callable[[list[dict[str, Any]]], None]:
    def change(objects: list[dict[str, Any]]) -> None:
        for row in objects:
            if name in row["line"]:
                row["line"] = line

    return change


def test_a_well_cluster_has_pods_in_every_tier_of_ours(run: Run) -> None:
    done = run("cluster-status", "--environment", "prod")
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(line.split(": ") for line in done.stdout.splitlines() if line.endswith(" pods"))
    assert all(int(counts[tier].split()[0]) > 0 for tier in ("business-logic", "worker", "integration")), counts


def test_a_pod_that_waits_is_named(run: Run) -> None:
    done = run("cluster-status", change=_break("scan-worker-x", "scan scan-worker-x 1/2 CrashLoopBackOff 7 1d"))
    assert done.returncode == 1
    assert "scan/scan-worker-x: CrashLoopBackOff, 1/2 ready, 7 restarts" in done.stdout


def test_a_node_that_is_not_ready_is_told(run: Run) -> None:
    assert run("cluster-status", change=_break("k8s-api", "k8s-api NotReady <none> 1d v1.36.0")).returncode == 1


def test_an_application_that_is_not_synced_is_named(run: Run) -> None:
    done = run("cluster-status", change=_break("prod-data ", "prod-data OutOfSync Healthy"))
    assert done.returncode == 1
    assert "prod-data: OutOfSync, Healthy" in done.stdout


def test_what_nobody_looks_after_has_no_controller(run: Run) -> None:
    def queues(*states: str) -> Callable[[list[dict[str, Any]]], None]:
        rows = [{"kind": "queues.rabbitmq.com", "labels": {}, "line": f"{state} scan"} for state in states]
        return lambda objects: objects.extend(rows)

    done = run("cluster-status", change=queues("<none>", "<none>"))
    assert done.returncode == 1
    assert "queues.rabbitmq.com: no controller (2 without a status)" in done.stdout
    done = run("cluster-status", change=queues("<none>", "map[conditions:[]]"))
    assert done.returncode == 0, done.stdout
    done = run("cluster-status", change=_break("prod-data ", "prod-data"))
    assert done.returncode == 1
    assert "prod-data: no controller" in done.stdout


@pytest.mark.parametrize("script", ["cluster-status", "domain-check"])
def test_a_cluster_that_is_away_is_told_from_a_wrong_call(run: Run, script: str) -> None:
    away = run(script, away=True)
    assert away.returncode == 2
    assert "does not answer" in away.stderr
    wrong = run(script, "--environment", "production")
    assert wrong.returncode == 2
    assert "dev, staging or prod" in wrong.stderr
    assert run(script, "--help").stdout.startswith(f"Usage: scripts/{script}")


def test_a_domain_shows_its_pods_services_and_settings(run: Run) -> None:
    done = run("domain-check", "scan", "--environment", "prod")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("scan-api-x", "scan-worker-x", "scan scan-api", "scan settings"):
        assert name in done.stdout


def test_a_domain_with_a_pod_that_waits_or_without_pods_is_unwell(run: Run) -> None:
    done = run("domain-check", "auth", change=_break("auth-api-x", "auth auth-api-x 0/2 Pending 0 1m"))
    assert done.returncode == 1
    assert "auth/auth-api-x: Pending" in done.stdout
    assert run("domain-check", "nothing").returncode == 1
    assert run("domain-check", "Scan;ls").returncode == 2
