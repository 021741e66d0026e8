"""Mistakes that schemas and static checks let through: the cluster's own programs refuse each, or show what it does."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.cluster.conftest import Cluster
from tests.deploy.platform import Object
from tools.cluster import waves
from tools.cluster.api import Refused, until


@dataclass(frozen=True)
class Mistake:
    kind: str
    name: str
    spoil: Callable[[Object], object]
    shown: Callable[[Cluster, Object], str]
    """Apply it; what the cluster says of it."""
    word: str


def _refusal(cluster: Cluster, item: Object) -> str:
    try:
        cluster.api.apply([item])
    except Refused as error:
        return str(error)
    return ""


def _event(*reasons: str) -> Callable[[Cluster, Object], str]:
    """Apply it, and wait for what a controller says about Pods of it."""

    def said(cluster: Cluster, space: str) -> list[str]:
        return [text for reason in reasons for text in cluster.api.events(space, reason)]

    def shown(cluster: Cluster, item: Object) -> str:
        space = item["metadata"]["namespace"]
        before = said(cluster, space)
        cluster.api.apply([item])
        return until(
            f"an event {reasons}",
            lambda: next((text for text in said(cluster, space) if text not in before), ""),
        )

    return shown


def _condition(kind: str, wanted: str) -> Callable[[Cluster, Object], str]:
    def shown(cluster: Cluster, item: Object) -> str:
        space, name = item["metadata"]["namespace"], item["metadata"]["name"]
        cluster.api.apply([item])

        def look() -> str:
            rows = cluster.api.get(kind, name, space).get("status", {}).get("conditions", [])
            return next((row["message"] for row in rows if row["type"] == wanted and row["status"] == "False"), "")

        return until(f"condition {wanted}", look)

    return shown


def _endpoints(cluster: Cluster, item: Object) -> str:
    """Ports of the Service that lead to Pods."""
    space, name = item["metadata"]["namespace"], item["metadata"]["name"]
    cluster.api.apply([item])
    wanted = {port["name"] for port in item["spec"]["ports"]}

    def look() -> str:
        slices = cluster.api.rows("endpointslices", space, f"kubernetes.io/service-name={name}")
        led = {port["name"] for row in slices for port in row.get("ports") or ()}
        return " ".join(sorted(wanted - led))

    return until("ports without Pods", look)


def _evicted(cluster: Cluster, item: Object) -> str:
    space = item["metadata"]["namespace"]
    other = json.loads(json.dumps(item))
    other["metadata"]["name"] += "-again"
    cluster.api.apply([other])
    try:
        name = item["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        pod = cluster.pods(space, f"app.kubernetes.io/name={name}")[0]["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": space}}
        where = f"/api/v1/namespaces/{space}/pods/{pod}/eviction"
        return until(
            "the answer",
            lambda: cluster.api.run("create", "--raw", where, "-f", "-", given=json.dumps(eviction)).stderr,
        )
    finally:
        cluster.api.ask("delete", "pdb", other["metadata"]["name"], "-n", space)


def _webhook(cluster: Cluster, item: Object) -> str:
    """A webhook whose server is missing refuses what it is asked about, although the object is right."""
    rule = {"apiGroups": ["rabbitmq.com"], "apiVersions": ["*"], "resources": ["queues"], "operations": ["UPDATE"]}
    hook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "missing"},
        "webhooks": [
            {
                "name": "missing.eco2.invalid",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": 2,
                "clientConfig": {"service": {"namespace": "rabbitmq-system", "name": "webhook-service"}},
                "rules": [rule],
            }
        ],
    }
    cluster.api.apply([hook])
    try:
        return until("the refusal", lambda: _refusal(cluster, item))
    finally:
        cluster.api.ask("delete", "validatingwebhookconfiguration", "missing")


def _pod(item: Object) -> Object:
    found: Object = item["spec"]["template"]["spec"]
    return found


def _labels(item: Object) -> Object:
    found: Object = item["spec"]["template"]["metadata"]["labels"]
    return found


def _spread(item: Object) -> Object:
    found: Object = _pod(item)["topologySpreadConstraints"][0]
    return found


MISTAKES = {
    "a request for more CPU than any node has": Mistake(
        "Deployment", "my-api",
        lambda row: [part.update(cpu="3") for part in _pod(row)["containers"][0]["resources"].values()],
        _event("FailedScheduling"), "Insufficient cpu",
    ),
    "a priority class that there is not": Mistake(
        "Deployment", "my-api", lambda row: _pod(row).update(priorityClassName="urgent"),
        _event("FailedCreate"), "no PriorityClass with name urgent",
    ),
    "a service account that there is not": Mistake(
        "Deployment", "my-api", lambda row: _pod(row).update(serviceAccountName="my"),
        _event("FailedCreate"), 'serviceaccount "my" not found',
    ),
    "a group that the restricted standard forbids to a volume": Mistake(
        "Deployment", "my-api", lambda row: _pod(row)["volumes"].append({"name": "host", "hostPath": {"path": "/tmp"}}),
        _event("FailedCreate"), "violates PodSecurity",
    ),
    "a spread that no node can keep": Mistake(
        "Deployment", "my-api",
        lambda row: _spread(row).update(topologyKey="rack", whenUnsatisfiable="DoNotSchedule"),
        _event("FailedScheduling"), "didn't match pod topology spread constraints",
    ),
    "labels of the Pods outside the selector": Mistake(
        "Deployment", "my-api", lambda row: _labels(row).update({"app.kubernetes.io/name": "my"}),
        _refusal, "`selector` does not match template `labels`",
    ),
    "a selector that changes": Mistake(
        "Deployment", "my-api",
        lambda row: (row["spec"]["selector"]["matchLabels"].update(version="2"), _labels(row).update(version="2")),
        _refusal, "field is immutable",
    ),
    "a volume that is mounted and not there": Mistake(
        "Deployment", "my-api",
        lambda row: _pod(row)["containers"][0]["volumeMounts"].append({"name": "cache", "mountPath": "/cache"}),
        _refusal, "Not found",
    ),
    "a Service port that no Pod names": Mistake(
        "Service", "my-api", lambda row: row["spec"]["ports"][0].update(targetPort="https"), _endpoints, "http",
    ),
    "an autoscaler with more replicas at least than at most": Mistake(
        "HorizontalPodAutoscaler", "my-api", lambda row: row["spec"].update(minReplicas=11), _refusal,
        "must be greater than or equal to `minReplicas`",
    ),
    "an autoscaler whose target is of another kind": Mistake(
        "HorizontalPodAutoscaler", "my-api", lambda row: row["spec"]["scaleTargetRef"].update(kind="StatefulSet"),
        _condition("horizontalpodautoscaler", "AbleToScale"), "not found",
    ),
    "two budgets for the same Pods": Mistake(
        "PodDisruptionBudget", "my-api", lambda row: row, _evicted, "more than one PodDisruptionBudget",
    ),
    "a storage class with other parameters than before": Mistake(
        "StorageClass", "gp3", lambda row: row["parameters"].update(type="gp2"),
        _refusal, "parameters: Invalid value",
    ),
    "a webhook whose server is gone": Mistake(
        "Queue", "scan-vision-queue", lambda row: row["metadata"].setdefault("labels", {}).update(touched="true"),
        _webhook, "failed calling webhook",
    ),
}  # fmt: skip


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_that_no_static_check_sees_is_caught(cluster: Cluster, name: str) -> None:
    mistake = MISTAKES[name]
    right = waves.rendered().find(mistake.kind, mistake.name, "prod")
    item = json.loads(json.dumps(right))
    mistake.spoil(item)
    try:
        assert mistake.word in mistake.shown(cluster, item)
    finally:
        cluster.api.apply([right])
        if space := right["metadata"].get("namespace"):
            cluster.api.ask("rollout", "status", "deployment/my-api", "-n", "my", "--timeout=120s")
            # Other tests read what was refused there.
            cluster.api.ask("delete", "events", "--all", "-n", space)
    cluster.note("mistake caught", name)
