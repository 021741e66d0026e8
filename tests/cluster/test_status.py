"""scripts/cluster-status on a cluster whose operators do not run."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.cluster.conftest import Cluster
from tests.deploy.platform import CHECKOUT, KUBECTL

KIND = "queues.rabbitmq.com"


def _status(cluster: Cluster, folder: Path) -> subprocess.CompletedProcess[str]:
    tool = folder / "kubectl"
    if not tool.exists():
        tool.symlink_to(KUBECTL)
    variables = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "KUBECONFIG": str(cluster.api.kubeconfig)}
    command = [str(CHECKOUT / "scripts/cluster-status"), "--environment", cluster.environment]
    return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=300)


@pytest.mark.parametrize("cluster", ["staging"], indirect=True)
def test_what_no_controller_looks_after_is_named_until_one_does(cluster: Cluster, tmp_path: Path) -> None:
    done = _status(cluster, tmp_path)
    assert done.returncode == 1, done.stderr
    assert f"{cluster.environment}-rabbitmq-topology: no controller" in done.stdout
    assert f"{KIND}: no controller" in done.stdout
    named = [line for line in done.stdout.splitlines() if ": no controller (" in line]
    # The control: a status that its operator would write.
    seen = cluster.api.rows(KIND, "rabbitmq")[0]["metadata"]["name"]
    words = ("patch", KIND, seen, "-n", "rabbitmq", "--subresource=status", "--type=merge")
    cluster.api.ask(*words, "-p", '{"status":{"observedGeneration":1}}')
    assert f"{KIND}: no controller" not in _status(cluster, tmp_path).stdout
    cluster.note("kinds of which cluster-status says: no controller", len(named))
