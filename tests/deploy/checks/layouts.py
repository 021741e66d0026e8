"""clusters/layouts.yaml and node selectors: every selector has a node that its Pods tolerate."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.deploy.applications import applications, deployed, find_application
from tests.deploy.checks import checker
from tests.deploy.platform import ENVIRONMENTS, Object, Platform, title

LAYOUTS = "clusters/layouts.yaml"
MEMORY = {"t3.small": 2048, "t3.medium": 4096, "t3.large": 8192, "t3.xlarge": 16384, "t3.2xlarge": 32768}
"""MiB of the instance types."""


@dataclass(frozen=True)
class Node:
    name: str
    labels: dict[str, str]
    taints: tuple[str, ...]
    count: int
    type: str

    def __hash__(self) -> int:
        return hash(self.name)


@dataclass(frozen=True)
class Pod:
    """Parts of a Pod that decide where it may run."""

    selector: dict[str, str]
    terms: list[dict[str, Any]]
    tolerations: list[dict[str, Any]]


def nodes(platform: Platform, environment: str) -> list[Node]:
    data = platform.document(LAYOUTS)
    chosen = data["environments"][environment]
    return [
        Node(
            row["name"],
            {key: str(value) for key, value in data["pools"][row["pool"]]["labels"].items()},
            tuple(data["pools"][row["pool"]].get("taints", ())),
            row.get("count", 1),
            chosen.get("types", {}).get(row["pool"], row["type"]),
        )
        for row in data["layouts"][chosen["layout"]]
    ]


def _typing_error(platform: Platform) -> None:
    platform.texts[LAYOUTS] = platform.texts[LAYOUTS].replace("disk: 40}", "disc: 40}", 1)


def _unknown_pool(platform: Platform) -> None:
    platform.texts[LAYOUTS] = platform.texts[LAYOUTS].replace("pool: broker", "pool: brokers", 1)


def _spot_without_taint(platform: Platform) -> None:
    platform.texts[LAYOUTS] = platform.texts[LAYOUTS].replace(', "capacity=spot:NoSchedule"', "", 1)


def _three_nodes(platform: Platform) -> None:
    lines = platform.texts[LAYOUTS].splitlines()
    platform.texts[LAYOUTS] = "\n".join(line for line in lines if "k8s-storage" not in line)


@checker(_typing_error, _unknown_pool, _spot_without_taint, _three_nodes)
def layouts_are_whole(platform: Platform) -> Iterator[str]:
    data = platform.document(LAYOUTS)
    for name, rows in data["layouts"].items():
        for row in rows:
            extra = row.keys() ^ {"name", "pool", "type", "disk"}
            if extra - {"count"}:
                yield f"{name}: {row['name']} lacks or does not know {', '.join(sorted(extra - {'count'}))}"
            if row.get("pool") not in data["pools"]:
                yield f"{name}: {row['name']} is of pool {row.get('pool')}, which there is not"
        total = sum(row.get("count", 1) for row in rows)
        if {"four": 4, "fourteen": 14}.get(name, total) != total:
            yield f"{name} has {total} nodes"
    for name, pool in data["pools"].items():
        if pool.get("spot") and "capacity=spot:NoSchedule" not in pool.get("taints", []):
            yield f"pool {name} is taken away at short notice, and any Pod may run there"
    for environment in ENVIRONMENTS:
        chosen = data["environments"].get(environment, {})
        if chosen.get("layout") not in data["layouts"]:
            yield f"{environment} has no layout"
        for name in chosen.get("types", {}).keys() - data["pools"].keys():
            yield f"{environment} gives a type to pool {name}, which there is not"


def _selector_of_no_node(platform: Platform) -> None:
    platform.find("Redis", "redis-cache", "dev")["spec"]["nodeSelector"] = {"node-pool": "cache"}


def _broker_without_toleration(platform: Platform) -> None:
    del platform.find("RabbitmqCluster", "eco2-rabbitmq", "prod")["spec"]["tolerations"]


def _prometheus_without_toleration(platform: Platform) -> None:
    values = find_application(platform, "dev", "monitoring-operator")["spec"]["source"]["helm"]["valuesObject"]
    values["prometheus"]["prometheusSpec"]["tolerations"].pop()


def _label_gone(platform: Platform) -> None:
    text = platform.texts[LAYOUTS]
    platform.texts[LAYOUTS] = text.replace("domain: integration, infra-type: rabbitmq", "domain: integration")


@checker(_selector_of_no_node, _broker_without_toleration, _prometheus_without_toleration, _label_gone)
def every_pod_has_a_node(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        layout = nodes(platform, environment)
        for where, pod in _pods(platform, environment):
            fitting = [node for node in layout if _selected(pod, node)]
            if not fitting:
                yield f"{environment}: no node has what {where} asks for: {pod.selector or pod.terms}"
            elif not any(_tolerated(pod, node) for node in fitting):
                names = ", ".join(f"{node.name} ({', '.join(node.taints)})" for node in fitting)
                yield f"{environment}: {where} does not tolerate the nodes that it asks for: {names}"


def _small_workers(platform: Platform) -> None:
    platform.texts[LAYOUTS] = platform.texts[LAYOUTS].replace("type: t3.medium, disk: 40}", "type: t3.small, disk: 40}")


def _hungry_cache(platform: Platform) -> None:
    settings = platform.find("RedisReplication", "redis-cache", "prod")["spec"]["kubernetesConfig"]
    settings["resources"]["requests"]["memory"] = "8Gi"


@checker(_small_workers, _hungry_cache)
def pools_have_the_memory_that_is_asked_for(platform: Platform) -> Iterator[str]:
    """Requests of our own Pods, at their fewest replicas, take three quarters of the nodes at most."""
    for environment in ENVIRONMENTS:
        layout = nodes(platform, environment)
        asked: dict[tuple[Node, ...], int] = {}
        for name, item, pod in _our_pods(platform, environment):
            fitting = tuple(node for node in layout if _selected(pod, node) and _tolerated(pod, node))
            replicas, each = _replicas(platform, environment, item), _memory(item)
            asked[fitting] = asked.get(fitting, 0) + replicas * each
            if fitting and each > max(MEMORY[node.type] for node in fitting):
                yield f"{environment}: {name} asks for {each} Mi, more than any of its nodes has"
        for fitting, total in asked.items():
            there = sum(MEMORY[node.type] * node.count for node in fitting)
            if total > there * 3 // 4:
                names = ", ".join(node.name for node in fitting)
                yield f"{environment}: Pods ask for {total} Mi of {names}, which have {there}"


def _our_pods(platform: Platform, environment: str) -> Iterator[tuple[str, Object, Pod]]:
    for _, item in deployed(platform, environment):
        spec = _pod_spec(item)
        if spec is not None:
            yield title(item), item, _pod(spec)


def _replicas(platform: Platform, environment: str, item: Object) -> int:
    spec, name = item["spec"], item["metadata"]["name"]
    for _, scaler in deployed(platform, environment):
        if scaler["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
            target = scaler["spec"]["scaleTargetRef"]["name"]
            if target == name and scaler["metadata"]["namespace"] == item["metadata"]["namespace"]:
                return int(scaler["spec"].get("minReplicas", scaler["spec"].get("minReplicaCount", 1)))
    return int(spec.get("replicas", spec.get("clusterSize", spec.get("numberOfInstances", 1))))


def _memory(item: Object) -> int:
    """MiB that a Pod asks for, its sidecars included."""
    spec = item["spec"]["jobTemplate"]["spec"] if item["kind"] == "CronJob" else item["spec"]
    if "template" in spec:
        template = spec["template"]
        parts = [row["resources"] for row in template["spec"]["containers"]]
        if template["metadata"]["labels"].get("sidecar.istio.io/inject") != "false":
            parts.append({"requests": {"memory": "64Mi"}})
    else:
        own = spec.get("resources") or spec["kubernetesConfig"]["resources"]
        parts = [own, *(row["resources"] for row in spec.get("sidecars", []))]
    return sum(_mebibytes(part["requests"]["memory"]) for part in parts)


def _mebibytes(text: str) -> int:
    return int(text[:-2]) * {"Mi": 1, "Gi": 1024}[text[-2:]]


def _three_replicas_on_one_node(platform: Platform) -> None:
    platform.texts[LAYOUTS] = platform.texts[LAYOUTS].replace("pool: data, count: 3", "pool: data, count: 2")


@checker(_three_replicas_on_one_node)
def replicas_that_part_have_a_node_each(platform: Platform) -> Iterator[str]:
    """There are as many nodes as replicas that refuse to share one."""
    for environment in ENVIRONMENTS:
        layout = nodes(platform, environment)
        for _, item in deployed(platform, environment):
            affinity = item.get("spec", {}).get("affinity", {}).get("podAntiAffinity", {})
            if "requiredDuringSchedulingIgnoredDuringExecution" not in affinity:
                continue
            pod = _pod(item["spec"])
            places = sum(node.count for node in layout if _selected(pod, node) and _tolerated(pod, node))
            if places < item["spec"].get("clusterSize", item["spec"].get("replicas", 1)):
                yield f"{environment}: {title(item)} needs a node for each replica, and there are {places}"


def _pods(platform: Platform, environment: str) -> Iterator[tuple[str, Pod]]:
    for name, _, pod in _our_pods(platform, environment):
        yield name, pod
    for row in applications(platform, environment):
        for values in _placed(row.values):
            yield f"Application {row.name}", _pod(values)
        for source in row.sources:
            for patch in source.get("kustomize", {}).get("patches", []):
                if patch["target"]["kind"] == "Deployment":
                    steps = platform.yaml(patch["patch"])
                    spec = {step["path"].rsplit("/", 1)[1]: step["value"] for step in steps}
                    yield f"Application {row.name}", _pod(spec)


def _placed(values: Any) -> Iterator[dict[str, Any]]:
    """Parts of a chart's values that choose nodes."""
    if isinstance(values, dict):
        if values.get("nodeSelector"):
            yield values
        for value in values.values():
            yield from _placed(value)


def _pod_spec(item: Object) -> dict[str, Any] | None:
    spec: dict[str, Any] = item.get("spec", {})
    # A Rollout has the Pods of its Deployment.
    if item["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
        return dict(spec["template"]["spec"])
    if item["kind"] == "CronJob":
        return dict(spec["jobTemplate"]["spec"]["template"]["spec"])
    if item["kind"] in ("RabbitmqCluster", "Redis", "RedisReplication", "RedisSentinel"):
        return spec
    if item["kind"] == "postgresql":
        return {**spec, "affinity": {"nodeAffinity": spec["nodeAffinity"]}}
    return None


def _pod(spec: dict[str, Any]) -> Pod:
    required = (
        spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    )
    return Pod(spec.get("nodeSelector", {}), required.get("nodeSelectorTerms", []), spec.get("tolerations", []))


def _selected(pod: Pod, node: Node) -> bool:
    if any(node.labels.get(key) != value for key, value in pod.selector.items()):
        return False
    return not pod.terms or any(
        all(_expressed(row, node.labels) for row in term.get("matchExpressions", [])) for term in pod.terms
    )


def _expressed(row: dict[str, Any], labels: dict[str, str]) -> bool:
    has = row["key"] in labels
    match row["operator"]:
        case "In":
            return labels.get(row["key"]) in row["values"]
        case "NotIn":
            return labels.get(row["key"]) not in row["values"]
        case "Exists":
            return has
        case "DoesNotExist":
            return not has
    raise ValueError(row["operator"])


def _tolerated(pod: Pod, node: Node) -> bool:
    return all(any(_tolerates(row, taint) for row in pod.tolerations) for taint in node.taints)


def _tolerates(toleration: dict[str, Any], taint: str) -> bool:
    pair, _, effect = taint.rpartition(":")
    key, _, value = pair.partition("=")
    if toleration.get("effect") not in (None, effect):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, key)
    return toleration.get("key") == key and toleration.get("value") == value
