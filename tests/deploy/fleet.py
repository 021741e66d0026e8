"""Contents of an environment: processes of the table as Deployments, their settings, and every Pod with its labels."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module

from eco2.core.settings import SettingsGroup
from eco2.jobs.settings import TaskSettings
from eco2.processes import SERVICES, Process
from eco2.workers.batch_run import TARGETS
from tests.deploy.platform import CHECKOUT, Object, Platform
from tools.manifests import settings_of

DOMAINS = "workloads/domains/"
IMAGE = "docker.io/mng990/eco2"
MIGRATIONS, IMPORT = "migrations", "places-import"
GENERATED = "Generated-0123456789-abcdefghijkl"
"""Stands for a value that Secrets Manager holds."""


def deployments(platform: Platform, environment: str) -> dict[str, Object]:
    """Deployments of the processes by name."""
    return {
        item["metadata"]["name"]: item
        for folder, item in platform.in_environment(environment)
        if item["kind"] == "Deployment" and folder.startswith(DOMAINS)
    }


def jobs(platform: Platform, environment: str) -> dict[str, Object]:
    """Jobs by name: the migrations, and one made of the template of imports."""
    template = platform.find("CronJob", IMPORT, environment)
    made = {**template, "kind": "Job", "spec": template["spec"]["jobTemplate"]["spec"]}
    return {MIGRATIONS: platform.find("Job", MIGRATIONS, environment), IMPORT: made}


def container(item: Object) -> Object:
    found: Object = item["spec"]["template"]["spec"]["containers"][0]
    return found


def of_kind(platform: Platform, environment: str, *kinds: str) -> Iterator[Object]:
    return (item for _, item in platform.in_environment(environment) if item["kind"] in kinds)


# Settings


@cache
def groups_of(row: Process) -> tuple[type[SettingsGroup], ...]:
    """All that the process reads: a batch-worker starts a process for each task, with its environment."""
    if row.name != "batch-worker":
        return (settings_of(row),)
    modules = [import_module(target.partition(":")[0]) for target in TARGETS.values()]
    groups = {group for module in modules for group in vars(module).values() if _is_group(group)}
    return (settings_of(row), TaskSettings, *groups)


def _is_group(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, SettingsGroup)


@cache
def variables_of(row: Process) -> frozenset[str]:
    return frozenset({f"ECO2_{name.upper()}" for group in groups_of(row) for name in group.model_fields})


@cache
def image_environment() -> dict[str, str]:
    """Environment variables of the image itself (Dockerfile, the stages that a process runs from)."""
    stages = (CHECKOUT / "Dockerfile").read_text().partition(" AS runtime\n")[2]
    return dict(re.findall(r"(ECO2_\w+)=(\S+)", stages))


def secrets(platform: Platform, environment: str) -> dict[tuple[str, str], dict[str, str] | None]:
    """(namespace, name) → keys and values of each Secret that External Secrets makes; None: only AWS knows its keys."""
    found: dict[tuple[str, str], dict[str, str] | None] = {}
    spaces = namespaces(platform, environment)
    for item in of_kind(platform, environment, "ExternalSecret", "ClusterExternalSecret"):
        spec, name = item["spec"], item["metadata"]["name"]
        inner = spec.get("externalSecretSpec", spec)
        data = inner.get("target", {}).get("template", {}).get("data")
        values = None if data is None else {key: filled(text) for key, text in data.items()}
        where = [item["metadata"].get("namespace", "")]
        if item["kind"] == "ClusterExternalSecret":
            selectors = spec["namespaceSelectors"]
            where = [space for space, labels in spaces.items() if any(selects(row, labels) for row in selectors)]
        found |= {(space, name): values for space in where}
    return found


def filled(template: str) -> str:
    """With generated values, and without those that may be missing (`index`)."""
    return re.sub(r"\{\{.*?\}\}", GENERATED, re.sub(r"\{\{ index .*?\}\}", "", template))


@dataclass(frozen=True)
class Given:
    """The environment of a container: plain values, values from a Secret, and references that lead nowhere."""

    plain: dict[str, str] = field(default_factory=dict)
    secret: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def everything(self) -> dict[str, str]:
        return {**self.plain, **self.secret}


def given(platform: Platform, environment: str, item: Object) -> Given:
    space = item["metadata"]["namespace"]
    maps = {
        (row["metadata"]["namespace"], row["metadata"]["name"]): row["data"]
        for row in of_kind(platform, environment, "ConfigMap")
        if "namespace" in row["metadata"]
    }
    made, result = secrets(platform, environment), Given()
    for source in container(item).get("envFrom", []):
        if "configMapRef" in source:
            name = source["configMapRef"]["name"]
            result.plain.update(_known(maps.get((space, name)), f"ConfigMap {name}", result))
        else:
            name = source["secretRef"]["name"]
            result.secret.update(_known(made.get((space, name)), f"Secret {name}", result))
    for row in container(item).get("env", []):
        if "value" in row:
            result.plain[row["name"]] = row["value"]
        elif "secretKeyRef" in row["valueFrom"]:
            key = row["valueFrom"]["secretKeyRef"]
            values = _known(made.get((space, key["name"])), f"Secret {key['name']}", result)
            result.secret.update({row["name"]: values[key["key"]]} if key["key"] in values else {})
        elif "fieldRef" in row["valueFrom"]:
            label = row["valueFrom"]["fieldRef"]["fieldPath"].removeprefix("metadata.labels['").removesuffix("']")
            result.plain[row["name"]] = item["spec"]["template"]["metadata"]["labels"][label]
    return result


def _known(values: dict[str, str] | None, what: str, result: Given) -> dict[str, str]:
    if values is None:
        result.missing.append(what)
    return values or {}


# Labels


def namespaces(platform: Platform, environment: str) -> dict[str, dict[str, str]]:
    """Labels of each namespace, the one included that every namespace has."""
    return {
        item["metadata"]["name"]: {
            **item["metadata"].get("labels", {}),
            "kubernetes.io/metadata.name": item["metadata"]["name"],
        }
        for item in of_kind(platform, environment, "Namespace")
    }


def selects(selector: Object, labels: dict[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_meets(row, labels) for row in selector.get("matchExpressions", []))


def _meets(row: Object, labels: dict[str, str]) -> bool:
    key, operator = row["key"], row["operator"]
    if operator in ("Exists", "DoesNotExist"):
        return (key in labels) is (operator == "Exists")
    listed = labels.get(key) in row["values"]
    return listed if operator == "In" else not listed


@dataclass(frozen=True)
class Pod:
    name: str
    namespace: str
    labels: dict[str, str]
    account: str


UPSTREAM = (
    Pod("gateway", "istio-system", {"istio": "ingressgateway"}, "istio-ingressgateway"),
    Pod("istiod", "istio-system", {"app": "istiod"}, "istiod"),
    Pod("kiali", "istio-system", {"app.kubernetes.io/name": "kiali"}, "kiali"),
    Pod("argocd-server", "argocd", {"app.kubernetes.io/name": "argocd-server"}, "argocd-server"),
    Pod("prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"}, "prometheus"),
    Pod("keda", "keda", {"app": "keda-operator"}, "keda-operator"),
    Pod("topology-operator", "rabbitmq-system", {}, "messaging-topology-operator"),
    Pod("data-operator", "data-system", {}, "postgres-operator"),
    Pod("eco2-rabbitmq", "rabbitmq", {"app.kubernetes.io/component": "rabbitmq"}, "eco2-rabbitmq-server"),
    Pod("postgres", "postgres", {"application": "spilo"}, "postgres-pod"),
    Pod("redis", "redis", {"app": "redis-streams"}, "default"),
    # Not of ours: Pods that others start beside it.
    Pod("stranger", "default", {}, "default"),
    Pod("stranger-in-scan", "scan", {"app": "debug"}, "default"),
)


def pods(platform: Platform, environment: str) -> dict[str, Pod]:
    """One Pod of each kind by name: of the processes, and of the software that upstream charts and operators start."""
    ours = [
        Pod(
            name,
            item["metadata"]["namespace"],
            item["spec"]["template"]["metadata"]["labels"],
            item["spec"]["template"]["spec"]["serviceAccountName"],
        )
        for name, item in deployments(platform, environment).items()
    ]
    once = [
        Pod(name, item["metadata"]["namespace"], item["spec"]["template"]["metadata"]["labels"], "default")
        for name, item in jobs(platform, environment).items()
    ]
    return {pod.name: pod for pod in (*ours, *once, *UPSTREAM)}


def rows() -> dict[str, Process]:
    return {row.name: row for row in SERVICES}
