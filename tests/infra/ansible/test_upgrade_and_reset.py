"""The life of a cluster on chroots: built, upgraded in two goes, reduced by a worker, ended, built again."""

from pathlib import Path
from typing import Any

import pytest

from tests.infra.ansible import chroots, packages
from tests.infra.ansible.cluster import KUBERNETES, MASTER, WORKER, Cluster, open_cluster, s3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

NEXT = "1.36.5"
NOTHING = {MASTER: 0, WORKER: 0}


def test_a_cluster_is_upgraded_reset_and_built_again(tmp_path: Path) -> None:
    try:
        with open_cluster(tmp_path) as cluster:
            _play(cluster, "site.yml")
            _upgrade(cluster)
            _take_off_a_worker(cluster)
            _end(cluster)
            _play(cluster, "site.yml", kubernetes_version=NEXT)
            assert set(cluster.state["nodes"]) == {MASTER, WORKER}
    except chroots.Unavailable as reason:
        pytest.skip(str(reason))


def _play(cluster: Cluster, playbook: str, *words: str, **variables: Any) -> dict[str, int]:
    run = cluster.play(playbook, *words, **variables)
    assert run.code == 0, run.text[-6000:]
    return run.changed


def _upgrade(cluster: Cluster) -> None:
    packages.release(cluster.folder / "shared/kubernetes", NEXT)
    backups = _backups()

    refused = cluster.play("upgrade.yml", kubernetes_version="1.38.0", kubernetes_minor="1.38")
    assert "cannot take it to 1.38.0 in one step" in refused.text
    assert sum(refused.changed.values()) == 0, refused.tasks_that_changed

    # A Pod that may not be moved stops it at the worker, after the control plane.
    cluster.change_state(fail_drain=WORKER, calls=[])
    stopped = cluster.play("upgrade.yml", kubernetes_version=NEXT)
    assert stopped.code != 0
    assert "disruption budget" in stopped.text
    assert _versions(cluster) == {MASTER: f"v{NEXT}", WORKER: f"v{KUBERNETES}"}
    assert _backups() == backups + 1
    assert f'kubernetesVersion: "v{NEXT}"' in cluster.read(MASTER, "/etc/kubernetes/kubeadm.yaml")

    cluster.change_state(fail_drain=None)
    _play(cluster, "upgrade.yml", kubernetes_version=NEXT)
    assert _versions(cluster) == {MASTER: f"v{NEXT}", WORKER: f"v{NEXT}"}
    assert not [name for name, node in cluster.state["nodes"].items() if node["spec"].get("unschedulable")]
    for node in (MASTER, WORKER):
        held = set(cluster.chroot(node, "apt-mark", "showhold").split())
        assert {"kubeadm", "kubectl", "kubelet"} <= held

    assert _play(cluster, "upgrade.yml", kubernetes_version=NEXT) == NOTHING
    assert _backups() == backups + 1
    assert _play(cluster, "site.yml", kubernetes_version=NEXT) == NOTHING
    _ordered(cluster)


def _ordered(cluster: Cluster) -> None:
    """Check that Pods move before a kubelet changes and come back after, the control plane first."""
    found = []
    for node, program, *words in cluster.state["calls"]:
        plain = [word for word in words if not word.startswith("-") and word != "/etc/kubernetes/admin.conf"]
        if program == "kubelet":
            found.append(("started", node))
        elif program == "kubectl" and plain[0] in ("drain", "uncordon"):
            found.append((plain[0], plain[1]))
    cut_short = [("drain", WORKER)]
    assert found == [
        *[(step, MASTER) for step in ("drain", "started", "uncordon")],
        *cut_short,
        *[(step, WORKER) for step in ("drain", "started", "uncordon")],
    ]


def _take_off_a_worker(cluster: Cluster) -> None:
    _play(cluster, "reset.yml", "--limit", WORKER, confirm="eco2-dev")
    assert set(cluster.state["nodes"]) == {MASTER}
    assert _nothing_left(cluster, WORKER)
    assert (cluster.roots[MASTER] / "etc/kubernetes/admin.conf").exists()


def _end(cluster: Cluster) -> None:
    _play(cluster, "reset.yml", confirm="eco2-dev")
    assert _nothing_left(cluster, MASTER)
    assert not list((cluster.roots[MASTER] / "var/lib/etcd").glob("*"))
    again = _play(cluster, "reset.yml", confirm="eco2-dev")
    assert again == NOTHING


def _nothing_left(cluster: Cluster, node: str) -> bool:
    kubernetes = cluster.roots[node] / "etc/kubernetes"
    left = {path.name for path in kubernetes.iterdir()} if kubernetes.exists() else set()
    return left <= {"manifests", "pki"} and not any(path.is_file() for path in kubernetes.rglob("*"))


def _versions(cluster: Cluster) -> dict[str, str]:
    return {name: node["status"]["nodeInfo"]["kubeletVersion"] for name, node in cluster.state["nodes"].items()}


def _backups() -> int:
    found = s3().list_objects_v2(Bucket="eco2-dev-ops", Prefix="etcd/")
    return len(found.get("Contents", []))
