"""Verdicts of the scheduler on the nodes of the first layout."""

import json

import pytest

from tests.cluster.conftest import Cluster
from tests.deploy.platform import Object
from tools.cluster.api import until
from tools.cluster.placeholders import IMAGE

OURS = "app.kubernetes.io/part-of=ecoeco-backend"


def _reason(pod: Object) -> str:
    return next(
        (row.get("message", "") for row in pod["status"].get("conditions", []) if row["type"] == "PodScheduled"),
        "unseen",
    )


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
