"""A backup of etcd with every object of an environment in it, restored as ansible/roles/etcd_restore does it."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cluster.conftest import Cluster
from tests.deploy.platform import CHECKOUT
from tools.cluster.api import until
from tools.cluster.programs import path

OPTIONS = yaml.safe_load((CHECKOUT / "ansible/roles/etcd_restore/defaults/main.yml").read_text())[
    "etcd_restore_options"
]


def _run(program: str, *words: str | Path) -> str:
    done = subprocess.run([path(program), *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("cluster", ["dev"], indirect=True)
def test_a_restored_cluster_is_that_of_the_backup(cluster: Cluster, tmp_path: Path) -> None:
    plane = cluster.plane
    flags, keys = plane.arguments["etcd"], plane.pki / "etcd"
    access = [f"--cacert={keys}/ca.crt", f"--cert={keys}/server.crt", f"--key={keys}/server.key"]
    cluster.settled()
    before = _deployments(cluster)
    backup = tmp_path / "snapshot.db"
    _run("etcdctl", f"--endpoints={flags['listen-client-urls']}", *access, "snapshot", "save", backup)
    # Lost after the backup, and made after it.
    cluster.api.ask("delete", "namespace", "my", "--wait=false")
    cluster.api.ask("create", "namespace", "later")
    until("the loss", lambda: "my" not in _namespaces(cluster))

    for name in ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
        plane.end(name)
    shutil.rmtree(flags["data-dir"])
    _run(
        "etcdutl", "snapshot", "restore", backup, f"--data-dir={flags['data-dir']}", f"--name={flags['name']}",
        f"--initial-cluster={flags['initial-cluster']}",
        f"--initial-advertise-peer-urls={flags['initial-advertise-peer-urls']}", *OPTIONS,
    )  # fmt: skip
    plane.start_etcd()
    plane.start_api_server()
    plane.start_controllers()

    assert "later" not in _namespaces(cluster)
    assert _deployments(cluster) == before
    until(
        "Pods",
        lambda: all(row.get("status", {}).get("availableReplicas") for row in cluster.api.rows("deployments", "my")),
    )
    cluster.note("etcd restored from a backup", f"{len(before)} Deployments as before, what came later is gone")


def _deployments(cluster: Cluster) -> dict[str, str]:
    return {
        f"{row['metadata']['namespace']}/{row['metadata']['name']}": row["metadata"]["uid"]
        for row in cluster.api.rows("deployments")
    }


def _namespaces(cluster: Cluster) -> set[str]:
    return {row["metadata"]["name"] for row in cluster.api.rows("namespaces")}
