"""The API server takes every rendered object in the order of the waves, and applying again changes nothing."""

from collections.abc import Collection
from typing import Any

import pytest

from tests.cluster.conftest import Cluster
from tests.deploy.platform import Object, title
from tools.cluster import waves
from tools.cluster.api import until
from tools.cluster.definitions import ours

SCALED = ("Deployment", "Rollout")
OTHERS_WRITE = (
    *("resourceVersion", "generation", "managedFields", "creationTimestamp", "uid"),
    *("finalizers", "ownerReferences"),
)


def _own(objects: list[Object]) -> list[Object]:
    return [row for row in objects if row["kind"] != "CustomResourceDefinition"]


def test_every_object_is_accepted_in_the_order_of_the_waves(cluster: Cluster) -> None:
    rendered = [row for _, objects in waves.steps(cluster.environment) for row in _own(objects)]
    applied = [row for objects in cluster.applied.values() for row in _own(objects)]
    assert [(row["kind"], row["metadata"]["name"]) for row in applied] == [
        (row["kind"], row["metadata"]["name"]) for row in rendered
    ]
    definitions = sum(len(objects) - len(_own(objects)) for objects in cluster.applied.values())
    cluster.note("objects accepted by server-side apply", f"{len(applied)} of {len(rendered)}")
    cluster.note("definitions from upstream modules", f"{definitions}, {len(ours())} set of them ours (Redis)")


def test_what_comes_before_its_namespace_and_definition_is_refused(cluster: Cluster) -> None:
    assert "no matches for kind" in cluster.early


def test_applying_again_changes_nothing(cluster: Cluster) -> None:
    scaled = {
        (row["metadata"]["namespace"], row["metadata"]["name"])
        for _, objects in waves.steps(cluster.environment)
        for row in objects
        if row["kind"] in SCALED and "replicas" not in row["spec"]
    }
    again = waves.apply(cluster.api, cluster.environment)
    changed = [
        title(new)
        for step, objects in again.items()
        for old, new in zip(cluster.applied[step], objects, strict=True)
        if _content(old, scaled) != _content(new, scaled)
    ]
    assert changed == []
    cluster.note("changed by a second apply", len(changed))


def _content(item: Object, scaled: Collection[tuple[str, str]] = ()) -> Any:
    """Without what controllers write meanwhile."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in OTHERS_WRITE}
    annotations = {
        key: value
        for key, value in metadata.get("annotations", {}).items()
        if not key.startswith("deployment.kubernetes")
    }
    found = {**item, "metadata": {**metadata, "annotations": annotations}}
    found.pop("status", None)
    # Where we say nothing of replicas, autoscalers do.
    if item["kind"] in SCALED and (metadata["namespace"], metadata["name"]) in scaled:
        found["spec"] = {key: value for key, value in item["spec"].items() if key != "replicas"}
    return found


@pytest.mark.parametrize("cluster", ["dev"], indirect=True)
def test_a_second_apply_that_would_change_something_is_seen(cluster: Cluster) -> None:
    cluster.api.ask("label", "namespace", "scan", "tier=changed", "--overwrite")
    (row,) = [row for row in cluster.applied["wave 02"] if row["metadata"]["name"] == "scan"]
    assert _content(cluster.api.get("namespace", "scan")) != _content(row)
    waves.apply(cluster.api, cluster.environment)
    assert _content(cluster.api.get("namespace", "scan")) == _content(row)


@pytest.mark.parametrize("cluster", ["staging"], indirect=True)
def test_a_deleted_namespace_heals_by_the_next_apply(cluster: Cluster) -> None:
    """Not on the nodes of dev: they are so full that the same Pods do not always fit a second time."""
    before = {row["metadata"]["name"] for row in cluster.api.rows("deployments", "scan")}
    cluster.api.ask("delete", "namespace", "scan", "--wait=false")
    until("the end of namespace scan", lambda: "scan" not in _namespaces(cluster))
    waves.apply(cluster.api, cluster.environment)
    assert {row["metadata"]["name"] for row in cluster.api.rows("deployments", "scan")} == before
    until("Pods of scan", lambda: all(_available(row) for row in cluster.api.rows("deployments", "scan")))
    cluster.note("deleted namespace", "back with the next apply, its Pods too")


def _namespaces(cluster: Cluster) -> set[str]:
    return {row["metadata"]["name"] for row in cluster.api.rows("namespaces")}


def _available(item: Object) -> bool:
    return bool(item.get("status", {}).get("availableReplicas", 0) == item["spec"]["replicas"])
