"""Stand-ins for what charts and operators would make: Pods with requests and places, sidecars, autoscalers of KEDA."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.applications import Application, applications, deployed
from tests.deploy.platform import Object, Platform

ROWS: list[Object] = yaml.safe_load((Path(__file__).parent / "placeholders.yaml").read_text())
IMAGE = "placeholder.invalid/pause:1"
CONTROL_PLANE = {
    "nodeSelector": {"role": "control-plane"},
    "tolerations": [{"operator": "Exists"}],
}
RESTRICTED: Object = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "runAsUser": 65534,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
SIDECAR, POLICY = "istio-proxy", "sidecar-placeholder"
_LABEL = "sidecar.istio.io/inject"
_REFUSAL = f"'{_LABEL}' in object.metadata.labels && object.metadata.labels['{_LABEL}'] == 'false'"
_WANTED = f"!(has(object.metadata.labels) && {_REFUSAL})"


def objects(tree: Platform, environment: str) -> list[Object]:
    """Workloads of charts and operators, and the autoscalers that KEDA would make."""
    rows = {row.name: row for row in applications(tree, environment)}
    found = [_of_chart(row, rows.get(row.get("application", "")), environment) for row in ROWS]
    for _, item in deployed(tree, environment):
        found += _of_resource(item)
    return found


def _of_chart(row: Object, application: Application | None, environment: str) -> Object:
    values = application.values if application else {}
    given = _at(values, row["values"]) if row.get("values") is not None else {}
    given = given if isinstance(given, dict) else {}
    first = {} if not given.get("containers") else given["containers"][0]
    requests = (first.get("resources") or given.get("resources") or given).get("requests") or {
        key: row[key] for key in ("cpu", "memory") if key in row
    }
    replicas = row.get("replicas", 1)
    if isinstance(replicas, str):
        replicas = _at(values, replicas) or 1
    elif isinstance(replicas, dict):
        replicas = replicas[environment]
    place = {key: given[key] for key in ("nodeSelector", "tolerations", "affinity") if given.get(key)}
    if row.get("pool") == "control-plane":
        place = CONTROL_PLANE
    elif row["kind"] == "DaemonSet":
        place = {"tolerations": [{"operator": "Exists"}]}
    namespace = row.get("namespace") or (application.spec["destination"]["namespace"] if application else "kube-system")
    return workload(row["kind"], row["name"], namespace, replicas, requests, place, row.get("labels", {}))


def _at(values: Any, path: str) -> Any:
    """Part of the values below a path of names and places in lists; nothing where there is none."""
    for step in path.split(".") if path else ():
        if isinstance(values, list):
            values = values[int(step)]
        else:
            values = values.get(step, {}) if isinstance(values, dict) else {}
    return values


def workload(
    kind: str, name: str, namespace: str, replicas: int, requests: Object, place: Object, labels: Object
) -> Object:
    chosen = {"app.kubernetes.io/name": name, **labels}
    container = {
        "name": "placeholder",
        "image": IMAGE,
        "resources": {"requests": requests},
        "securityContext": RESTRICTED,
    }
    spec: Object = {
        "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
        "template": {
            "metadata": {"labels": chosen},
            "spec": {"containers": [container], "automountServiceAccountToken": False, **place},
        },
    }
    if kind != "DaemonSet":
        spec["replicas"] = replicas
    if kind == "StatefulSet":
        spec |= {"serviceName": name, "podManagementPolicy": "Parallel"}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "annotations": {"cluster.eco2/placeholder": "true"}},
        "spec": spec,
    }


def _of_resource(item: Object) -> Iterator[Object]:
    """Pods as the operator of a custom resource makes them."""
    kind, spec, metadata = item["kind"], item.get("spec", {}), item["metadata"]
    place = {key: spec[key] for key in ("nodeSelector", "tolerations", "affinity") if key in spec}
    if kind == "RabbitmqCluster":
        labels = {"app.kubernetes.io/name": metadata["name"], "app.kubernetes.io/component": "rabbitmq"}
        requests = spec["resources"]["requests"]
        yield workload(
            "StatefulSet", metadata["name"], metadata["namespace"], spec["replicas"], requests, place, labels
        )
    elif kind == "postgresql":
        place["affinity"] = {"nodeAffinity": spec["nodeAffinity"]}
        labels = {"application": "spilo", "cluster-name": metadata["name"]}
        requests = _sum([spec, *spec.get("sidecars", ())])
        count = spec["numberOfInstances"]
        yield workload("StatefulSet", metadata["name"], metadata["namespace"], count, requests, place, labels)
    elif kind in ("Redis", "RedisReplication", "RedisSentinel"):
        name = metadata["name"] + ("-sentinel" if kind == "RedisSentinel" else "")
        parts = [spec["kubernetesConfig"], *([spec["redisExporter"]] if "redisExporter" in spec else [])]
        count = spec.get("clusterSize", 1)
        yield workload("StatefulSet", name, metadata["namespace"], count, _sum(parts), place, {"app": name})
    elif kind == "ScaledObject":
        yield _autoscaler(item)


def _sum(parts: list[Object]) -> Object:
    cpu = sum(milli(part["resources"]["requests"].get("cpu", "0m")) for part in parts)
    memory = sum(mebi(part["resources"]["requests"].get("memory", "0Mi")) for part in parts)
    return {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}


def milli(text: str) -> int:
    """Thousandths of a CPU."""
    return int(text[:-1]) if text.endswith("m") else int(float(text) * 1000)


def mebi(text: str) -> int:
    """MiB."""
    return int(text[:-2]) * {"Mi": 1, "Gi": 1024}[text[-2:]]


def _autoscaler(item: Object) -> Object:
    spec, metadata = item["spec"], item["metadata"]
    target = {"apiVersion": "apps/v1", "kind": "Deployment", **spec["scaleTargetRef"]}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": f"keda-hpa-{metadata['name']}", "namespace": metadata["namespace"]},
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": spec["minReplicaCount"],
            "maxReplicas": spec["maxReplicaCount"],
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
                }
            ],
        },
    }


def sidecar_policy(tree: Platform, environment: str) -> list[Object]:
    """A sidecar with the requests of our values in every Pod of the mesh, where no webhook of istiod answers."""
    (values,) = (row.values for row in applications(tree, environment) if row.name == "istiod")
    requests = values["global"]["proxy"]["resources"]["requests"]
    asked = f'"cpu": "{requests["cpu"]}", "memory": "{requests["memory"]}"'
    sidecar = f"""Object.spec.initContainers{{
        name: "{SIDECAR}", image: "{IMAGE}", restartPolicy: "Always",
        resources: Object.spec.initContainers.resources{{requests: {{{asked}}}}},
        securityContext: Object.spec.initContainers.securityContext{{
          allowPrivilegeEscalation: false, runAsNonRoot: true, runAsUser: 1337, readOnlyRootFilesystem: true,
          capabilities: Object.spec.initContainers.securityContext.capabilities{{drop: ["ALL"]}},
          seccompProfile: Object.spec.initContainers.securityContext.seccompProfile{{type: "RuntimeDefault"}}
        }}
      }}"""
    # The list and what is in it by two patches: the API server panics at a list of objects.
    expression = f"""(has(object.spec.initContainers) ? []
      : [JSONPatch{{op: "add", path: "/spec/initContainers", value: []}}])
      + [JSONPatch{{op: "add", path: "/spec/initContainers/-", value: {sidecar}}}]"""
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}]
    match = {"resourceRules": rules, "namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}}}
    api = "admissionregistration.k8s.io/v1"
    return [
        {
            "apiVersion": api,
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": POLICY},
            "spec": {
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "matchConstraints": match,
                "matchConditions": [{"name": "not-refused", "expression": _WANTED}],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
            },
        },
        {
            "apiVersion": api,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": POLICY},
            "spec": {"policyName": POLICY},
        },
    ]
