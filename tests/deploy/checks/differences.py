"""Fields that controllers change: Argo CD compares none of them, or its Applications are out of sync for ever."""

from collections.abc import Iterator
from typing import Any

from tests.deploy.applications import Application, applications, deployed, find_application
from tests.deploy.checks import checker
from tests.deploy.platform import ENVIRONMENTS, Object, Platform, title

RESPECT = "RespectIgnoreDifferences=true"
_VALIDATING, _MUTATING = "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"
_CERTIFICATE = ".webhooks[].clientConfig.caBundle"
OF_CHARTS = {
    # Charts that render a field which another fills in, or another value each time: Application → (kind, field).
    "istio-base": {(_VALIDATING, _CERTIFICATE), (_VALIDATING, ".webhooks[].failurePolicy")},
    "istiod": {(_VALIDATING, _CERTIFICATE), (_VALIDATING, ".webhooks[].failurePolicy"), (_MUTATING, _CERTIFICATE)},
    "alb-controller": {(_VALIDATING, _CERTIFICATE), (_MUTATING, _CERTIFICATE)},
    "logging-operator": {(_VALIDATING, _CERTIFICATE)},
    "kiali": {
        ("ConfigMap", '.data["config.yaml"]'),
        ("Deployment", '.spec.template.metadata.annotations["checksum/config"]'),
    },
}
NEW_VALUE_EACH_TIME = {"kiali"}
"""Syncs apply the field: to keep what is there would keep it for ever."""
WEIGHT = ".spec.http[].route[].weight"


def _certificate_compared(platform: Platform) -> None:
    del find_application(platform, "prod", "alb-controller")["spec"]["ignoreDifferences"][0]


def _certificate_taken_away(platform: Platform) -> None:
    find_application(platform, "dev", "istiod")["spec"]["syncPolicy"]["syncOptions"].remove(RESPECT)


def _file_never_applied(platform: Platform) -> None:
    policy = find_application(platform, "staging", "kiali")["spec"]["syncPolicy"]
    policy.setdefault("syncOptions", []).append(RESPECT)


def _everything_ignored(platform: Platform) -> None:
    rows = find_application(platform, "prod", "kiali")["spec"]["ignoreDifferences"]
    rows.append({"kind": "Service", "jqPathExpressions": [".spec"]})


@checker(_certificate_compared, _certificate_taken_away, _file_never_applied, _everything_ignored)
def fields_that_others_fill_in_are_not_compared(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        for row in applications(platform, environment):
            wanted = OF_CHARTS.get(row.name, set())
            found = _ignored(row) - ({("VirtualService", WEIGHT)} if row.folder else set())
            for kind, field in wanted - found:
                yield f"{environment}: {row.name} is out of sync for ever by {field} of its {kind}"
            for kind, field in found - wanted:
                yield f"{environment}: {row.name} does not compare {field} of its {kind}, and no reason is known"
            kept = RESPECT in row.spec["syncPolicy"].get("syncOptions", [])
            if wanted and kept == (row.name in NEW_VALUE_EACH_TIME):
                yield f"{environment}: a sync of {row.name} {'never' if kept else 'also'} writes what is not compared"


def _ignored(row: Application) -> set[tuple[str, str]]:
    return {
        (entry["kind"], field)
        for entry in row.spec.get("ignoreDifferences", [])
        for field in (*entry.get("jqPathExpressions", ()), *entry.get("jsonPointers", ()))
    }


def _replicas_beside_the_autoscaler(platform: Platform) -> None:
    platform.find("Deployment", "scan-worker", "prod")["spec"]["replicas"] = 2


def _replicas_beside_the_rollout(platform: Platform) -> None:
    platform.find("Deployment", "scan-api", "dev")["spec"]["replicas"] = 1


@checker(_replicas_beside_the_autoscaler, _replicas_beside_the_rollout)
def what_is_scaled_has_no_replicas_in_git(platform: Platform) -> Iterator[str]:
    """Else each sync takes back what the autoscaler, or the roll-out that scales the Deployment away, has done."""
    for environment in ENVIRONMENTS:
        objects = [item for _, item in deployed(platform, environment)]
        scaled = {target for item in objects for target in _scaled(item)}
        for item in objects:
            key = (item["kind"], item["metadata"].get("namespace", ""), item["metadata"].get("name", ""))
            if key in scaled and "replicas" in item["spec"]:
                yield f"{environment}: {title(item)} has replicas in Git, and something else scales it"


def _scaled(item: Object) -> Iterator[tuple[str, str, str]]:
    spec, space = item.get("spec", {}), item["metadata"].get("namespace", "")
    references: dict[str, Any] = {
        "HorizontalPodAutoscaler": spec.get("scaleTargetRef"),
        "ScaledObject": spec.get("scaleTargetRef"),
        "Rollout": spec.get("workloadRef"),
    }
    found = references.get(item["kind"])
    if found:
        yield found.get("kind", "Deployment"), space, found["name"]


def _weights_compared(platform: Platform) -> None:
    del find_application(platform, "prod", "istio-routes")["spec"]["template"]["spec"]["ignoreDifferences"]


def _weights_taken_back(platform: Platform) -> None:
    find_application(platform, "prod", "istio-routes")["spec"]["template"]["spec"]["syncPolicy"]["syncOptions"] = []


def _subsets_moved(platform: Platform) -> None:
    routing = platform.find("Rollout", "scan-api", "prod")["spec"]["strategy"]["canary"]["trafficRouting"]["istio"]
    routing["destinationRule"] = {"name": "scan-api", "stableSubsetName": "stable", "canarySubsetName": "canary"}


@checker(_weights_compared, _weights_taken_back, _subsets_moved)
def roll_outs_may_move_the_weights(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        rows = list(deployed(platform, environment))
        moved = set()
        for _, item in rows:
            canary = item.get("spec", {}).get("strategy", {}) if item["kind"] == "Rollout" else {}
            istio = canary.get("canary", {}).get("trafficRouting", {}).get("istio", {})
            if "virtualService" in istio:
                moved.add(istio["virtualService"]["name"].partition(".")[0])
            if "destinationRule" in istio:
                yield f"{environment}: {title(item)} moves subsets of a DestinationRule, which are compared"
        for row, item in rows:
            if item["kind"] != "VirtualService" or item["metadata"]["name"] not in moved:
                continue
            if ("VirtualService", WEIGHT) not in _ignored(row):
                yield f"{environment}: {row.name} compares the weights of {title(item)}"
            if RESPECT not in row.spec["syncPolicy"].get("syncOptions", []):
                yield f"{environment}: a sync of {row.name} takes back the weights of {title(item)}"


def _claims_of_a_set(platform: Platform) -> None:
    item = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "x", "namespace": "postgres"}}
    platform.builds["platform/cr/prod"].append({**item, "spec": {"volumeClaimTemplates": [{"metadata": {}}]}})


@checker(_claims_of_a_set)
def claims_of_sets_are_compared_by_the_server(platform: Platform) -> Iterator[str]:
    """The server completes the claims of a StatefulSet: a difference for Argo CD, unless it asks the server."""
    for environment in ENVIRONMENTS:
        for row, item in deployed(platform, environment):
            options = row.spec["syncPolicy"].get("syncOptions", [])
            claims = item["kind"] == "StatefulSet" and "volumeClaimTemplates" in item["spec"]
            if claims and "ServerSideApply=true" not in options:
                yield f"{environment}: {title(item)} ({row.name}) is out of sync for ever by its claims"
