"""Scheduler and controllers on the nodes of each layout: places, drains, a lost node, roll-outs, autoscalers."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import Cluster
from tests.deploy.platform import Object
from tools.cluster import nodes, waves
from tools.cluster.agent import UNREADY
from tools.cluster.api import until
from tools.cluster.placeholders import IMAGE, mebi, milli

PLACES = {
    # Layout: where Pods of each tier belong, by the seeds.
    "four": {
        "business-logic": {"app"}, "worker": {"app"}, "integration": {"app"},
        "data": {"storage"}, "platform": {"storage"},
    },
    "pools": {
        "business-logic": {"api"}, "integration": {"api"}, "worker": {"worker", "spot"},
        "data": {"data"}, "platform": {"broker"},
    },
}  # fmt: skip
OURS = "app.kubernetes.io/part-of=ecoeco-backend"
DATA = {
    # Pods that operators make.
    "eco2-rabbitmq": "platform", "eco2-postgres": "data", "redis-streams": "data", "redis-cache": "data",
    "redis-streams-sentinel": "data", "redis-cache-sentinel": "data",
}  # fmt: skip


def _pool(cluster: Cluster) -> dict[str, str]:
    return {row["name"]: row["pool"] for row in nodes.layout(cluster.environment)}


def _name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _is_placeholder_of_chart(pod: Object) -> bool:
    labels = pod["metadata"].get("labels", {})
    images = {row["image"] for row in pod["spec"]["containers"]}
    return IMAGE in images and labels.get("app.kubernetes.io/name") not in DATA


def _reason(pod: Object) -> str:
    return next(
        (row.get("message", "") for row in pod["status"].get("conditions", []) if row["type"] == "PodScheduled"),
        "unseen",
    )


def test_every_pod_has_a_node_of_its_pool(cluster: Cluster) -> None:
    pods = cluster.settled()
    pending = [row for row in pods if not row["spec"].get("nodeName")]
    ours = [row for row in pending if not _is_placeholder_of_chart(row)]
    assert {_name(row): _reason(row) for row in ours} == {}
    left = {_name(row): _asked(row) for row in pending}
    cluster.note("Pods with a node", f"{len(pods) - len(pending)} of {len(pods)}")
    for name, asked in left.items():
        cluster.note("does not fit", f"{name} ({asked})")
    if cluster.environment != "dev":
        assert left == {}
    layout = "four" if cluster.environment == "dev" else "pools"
    pools = _pool(cluster)
    strayed = {
        _name(pod): pools[pod["spec"]["nodeName"]]
        for pod in pods
        if (tier := _tier(pod)) in PLACES[layout]
        and pod["spec"].get("nodeName")
        and pools[pod["spec"]["nodeName"]] not in PLACES[layout][tier]
    }
    assert strayed == {}


def _tier(pod: Object) -> str:
    labels = pod["metadata"].get("labels", {})
    if labels.get("app.kubernetes.io/name") in DATA:
        return DATA[labels["app.kubernetes.io/name"]]
    return str(labels.get("tier", "")) if labels.get("app.kubernetes.io/part-of") else ""


def _asked(pod: Object) -> str:
    requests = [row.get("resources", {}).get("requests", {}) for row in pod["spec"]["containers"]]
    return (
        ", ".join(f"{row.get('cpu', '0')} CPU and {row.get('memory', '0')}" for row in requests) + f": {_reason(pod)}"
    )


def test_rooms_left_are_told(cluster: Cluster) -> None:
    """Requests of the Pods of each pool against what its nodes give to Pods."""
    pools = _pool(cluster)
    used: dict[str, tuple[int, int]] = {}
    for pod in cluster.pods():
        node = pod["spec"].get("nodeName")
        # A Job that ended has given its room back.
        if node and pod["status"]["phase"] not in ("Succeeded", "Failed"):
            cpu, memory = used.get(node, (0, 0))
            more = _requests(pod)
            used[node] = (cpu + more[0], memory + more[1])
    rooms = {row["name"]: nodes.room(row["type"]) for row in nodes.layout(cluster.environment)}
    for pool in dict.fromkeys(pools.values()):
        names = [name for name in pools if pools[name] == pool]
        cpu, memory = (sum(used.get(name, (0, 0))[part] for name in names) for part in (0, 1))
        there = [sum(rooms[name][part] for name in names) for part in (0, 1)]
        cluster.note(f"asked of pool {pool} ({len(names)})", f"{cpu} of {there[0]}m CPU, {memory} of {there[1]} Mi")
        assert cpu <= there[0]
        assert memory <= there[1]


def _requests(pod: Object) -> tuple[int, int]:
    parts = [
        row.get("resources", {}).get("requests", {})
        for row in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
        if row.get("restartPolicy") == "Always" or row in pod["spec"]["containers"]
    ]
    return sum(milli(row.get("cpu", "0")) for row in parts), sum(mebi(row.get("memory", "0Mi")) for row in parts)


@pytest.mark.parametrize("cluster", ["dev"], indirect=True)
def test_the_storage_node_of_four_has_the_labels_of_the_seed(cluster: Cluster) -> None:
    labels = cluster.api.get("node", "k8s-storage")["metadata"]["labels"]
    assert {"node-pool": "data", "workload": "storage", "infra-type": "rabbitmq"}.items() <= labels.items()
    counts = {
        row["metadata"]["name"]: row["spec"]["replicas"] for row in cluster.api.rows("deployments", selector=OURS)
    }
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("cluster", ["dev"], indirect=True)
def test_a_pod_that_no_node_has_room_for_stays_pending_with_the_numbers(cluster: Cluster) -> None:
    done = cluster.api.ask(
        "create", "deployment", "hungry", "-n", "default", f"--image={IMAGE}", "--dry-run=client", "-o", "json"
    )
    item = json.loads(done)
    item["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"memory": "30Gi"}}
    cluster.api.apply([item])
    try:
        found = until(
            "the refusal", lambda: [_reason(row) for row in cluster.pods("default") if "Insufficient" in _reason(row)]
        )
        assert "Insufficient memory" in found[0]
    finally:
        cluster.api.ask("delete", "deployment", "hungry", "-n", "default")


# Drains


@contextlib.contextmanager
def _watched(cluster: Cluster) -> Iterator[list[str]]:
    """Budgets that are broken meanwhile, by what the server says of them."""
    broken: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for row in cluster.api.rows("poddisruptionbudgets"):
                status = row["status"]
                if status["currentHealthy"] < status["desiredHealthy"]:
                    broken.append(_name(row))
            time.sleep(0.3)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield broken
    finally:
        done.set()
        thread.join()


DRAIN = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--disable-eviction=false")


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
@pytest.mark.parametrize("node", ["k8s-api-2", "k8s-worker-1", "k8s-data-1", "k8s-rabbitmq-1"])
def test_draining_respects_the_budgets(cluster: Cluster, node: str) -> None:
    cluster.settled()
    with _watched(cluster) as broken:
        cluster.api.ask("drain", node, *DRAIN, "--timeout=240s")
    pods = cluster.settled()
    left = [row for row in pods if row["spec"].get("nodeName") == node and not _is_of_daemon(row)]
    waiting = [_name(row) for row in pods if not row["spec"].get("nodeName")]
    cluster.api.ask("uncordon", node)
    cluster.settled()
    assert left == []
    assert broken == []
    if _pool(cluster)[node] in ("api", "worker"):
        assert waiting == []
    cluster.note(f"drain of {node}", f"no budget broken, {len(waiting)} Pods without a place")


def _is_of_daemon(pod: Object) -> bool:
    return any(row["kind"] == "DaemonSet" for row in pod["metadata"].get("ownerReferences", []))


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
def test_a_budget_that_allows_nothing_stops_a_drain(cluster: Cluster) -> None:
    """The control: with every replica wanted, the eviction is refused."""
    patch = json.dumps([{"op": "replace", "path": "/spec/maxUnavailable", "value": 0}])
    cluster.api.ask("patch", "pdb", "auth-api", "-n", "auth", "--type=json", "-p", patch)
    node = cluster.pods("auth", "app.kubernetes.io/name=auth-api")[0]["spec"]["nodeName"]
    try:
        done = cluster.api.run("drain", node, *DRAIN, "--timeout=15s", "--pod-selector=app.kubernetes.io/name=auth-api")
        assert done.returncode != 0
        assert "disruption budget" in done.stderr
    finally:
        cluster.api.ask("uncordon", node)
        waves.apply(cluster.api, cluster.environment)


# A lost node


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
def test_what_ran_on_a_lost_node_starts_elsewhere(cluster: Cluster) -> None:
    node = nodes.losable(nodes.layout(cluster.environment))
    before = [row for row in cluster.settled() if row["spec"].get("nodeName") == node and not _is_of_daemon(row)]
    assert before
    start = time.monotonic()
    cluster.plane.end("agent-few")
    try:
        until("the loss", lambda: not nodes.ready(cluster.api.get("node", node)), 120)
        until("new Pods", lambda: _none_left(cluster, node) and _all_available(cluster), 240)
        took = time.monotonic() - start
    finally:
        cluster.plane.start_agent("few")
        until("the node's return", lambda: nodes.ready(cluster.api.get("node", node)))
    cluster.note(
        f"loss of {node} with {len(before)} Pods", f"all available elsewhere after {took:.0f} s (waits shortened)"
    )


def _none_left(cluster: Cluster, node: str) -> bool:
    alive = [row for row in cluster.pods() if "deletionTimestamp" not in row["metadata"] and not _is_of_daemon(row)]
    return all(row["spec"].get("nodeName") != node for row in alive)


def _all_available(cluster: Cluster) -> bool:
    return all(
        row.get("status", {}).get("availableReplicas", 0) >= row["spec"]["replicas"]
        for row in cluster.api.rows("deployments")
    )


# Roll-outs


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
def test_a_roll_out_whose_pods_stay_unready_stops_and_undo_restores(cluster: Cluster) -> None:
    cluster.settled()
    before = cluster.api.get("deployment", "my-api", "my")
    patch = {"spec": {"template": {"metadata": {"annotations": {UNREADY: "true"}}}}}
    cluster.api.ask("patch", "deployment", "my-api", "-n", "my", "-p", json.dumps(patch))
    status = until("the new Pod", lambda: _status(cluster) if _status(cluster).get("unavailableReplicas") else None)
    done = cluster.api.run("rollout", "status", "deployment/my-api", "-n", "my", "--timeout=15s")
    assert done.returncode != 0
    status = _status(cluster)
    assert (status["updatedReplicas"], status["unavailableReplicas"]) == (1, 1), (
        "maxSurge is one, maxUnavailable is none"
    )
    assert status["availableReplicas"] == before["spec"]["replicas"]
    cluster.api.ask("rollout", "undo", "deployment/my-api", "-n", "my")
    cluster.api.ask("rollout", "status", "deployment/my-api", "-n", "my", "--timeout=120s")
    after = cluster.api.get("deployment", "my-api", "my")
    assert after["spec"]["template"] == before["spec"]["template"]
    cluster.note("a roll-out with unready Pods", "stopped at 1 new Pod, none of the old lost; undone")


def _status(cluster: Cluster) -> Object:
    found: Object = cluster.api.get("deployment", "my-api", "my")["status"]
    return found


# Autoscalers


@pytest.mark.parametrize("cluster", ["staging", "prod"], indirect=True)
def test_autoscalers_reach_their_targets(cluster: Cluster) -> None:
    """Their controller reads the scale of each target. No metrics are served here: it only keeps the minimum."""
    for row in cluster.api.rows("rollouts.argoproj.io"):
        # Written by the controller of Argo Rollouts, which does not run here.
        space, name = row["metadata"]["namespace"], row["metadata"]["name"]
        cluster.api.ask(
            "patch", "rollout.argoproj.io", name, "-n", space, "--type=merge", "-p", '{"spec":{"replicas":1}}'
        )
    found = until("a look at every autoscaler", lambda: _reached(cluster))
    assert {name: reached for name, reached in found.items() if not reached} == {}
    cluster.note("targets that autoscalers reach", f"{len(found)} of {len(found)} (KEDA's made by a stand-in)")


def _reached(cluster: Cluster) -> dict[str, bool]:
    """Autoscalers by name; none as long as their controller may find more."""
    rows = cluster.api.rows("horizontalpodautoscalers")
    conditions = {
        _name(row): {part["type"]: part["status"] for part in row.get("status", {}).get("conditions", [])}
        for row in rows
    }
    if any("AbleToScale" not in row for row in conditions.values()):
        return {}
    found = {name: row["AbleToScale"] == "True" for name, row in conditions.items()}
    return found if all(found.values()) or not _young(cluster) else {}


def _young(cluster: Cluster) -> bool:
    """The controller looks every 15 seconds."""
    return time.monotonic() < _FIRST.setdefault(cluster.environment, time.monotonic() + 60)


_FIRST: dict[str, float] = {}
