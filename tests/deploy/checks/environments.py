"""Environments differ only where the table of docs/deployment.md (seed 002) says so."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.deploy.applications import deployed, find_application
from tests.deploy.checks import checker
from tests.deploy.platform import ENVIRONMENTS, Object, Platform, title

HASH = re.compile(r"-[bcdfghkmt2456789]{10}$")
"""Kustomize's ending of the names of ConfigMaps that it generates."""


@dataclass(frozen=True)
class Difference:
    """A row of the table: where two environments may differ. `kind` and `path` are regular expressions."""

    row: str
    kind: str
    path: str
    staging: bool = False
    """Also between staging and prod, which share shapes but not sizes."""


ALLOWED = (
    Difference("redis", "Redis|RedisReplication|RedisSentinel", ""),
    Difference(
        "redis", "ClusterExternalSecret", r"spec\.externalSecretSpec\.target\.template\.data\.ECO2_REDIS_.*_URL"
    ),
    Difference("postgresql", "postgresql", r"spec\.numberOfInstances"),
    Difference("postgresql", "Service", r"spec\.externalName"),
    Difference("replicas", "Deployment|Rollout|RabbitmqCluster", r"spec\.replicas"),
    Difference("replicas", "RabbitmqCluster", r"spec\.rabbitmq\.additionalConfig"),
    Difference("replicas", "Deployment|Rollout|RabbitmqCluster|postgresql", r"spec\..*topologySpreadConstraints.*"),
    Difference("replicas", "Application", r"spec\.sources?.*\.(replicas|replicaCount|minReplicas|maxReplicas)"),
    Difference("replicas", "Application", r"spec\.source\.helm\.valuesObject\.operator"),
    Difference("replicas", "PodDisruptionBudget", ""),
    Difference("hpa", "HorizontalPodAutoscaler|ScaledObject", ""),
    Difference("hpa", "Application", r"spec\.sources?.*\.(autoscal\w*(\..*)?)"),
    Difference("limits", ".*", r"spec\..*resources(\..*)?", staging=True),
    Difference("limits", "RabbitmqCluster", r"spec\.persistence\.storage", staging=True),
    Difference(
        "limits", "postgresql", r"spec\.volume\.size|spec\.postgresql\.parameters\.shared_buffers", staging=True
    ),
    Difference("limits", "ConfigMap", r"data\.size\.conf", staging=True),
    Difference("limits", "Redis|RedisReplication", r"spec\.storage\..*", staging=True),
    Difference(
        "limits",
        "Application",
        r"spec\.source\.helm\.valuesObject\.(prometheus\..*|alertmanager\.alertmanagerSpec\.replicas)",
        staging=True,
    ),
    # Four nodes have room for Argo CD, Prometheus and Grafana on the control plane alone.
    Difference("nodes", "Application", r"spec\.sources?\..*(nodeSelector|tolerations|eck-kibana\.podTemplate)(\..*)?"),
    Difference("network policy", "NetworkPolicy", ""),
    Difference("traces", "ConfigMap", r"data\.ECO2_TRACE_SHARE", staging=True),
    Difference("traces", "Telemetry", r"spec\.tracing\.\d+\.randomSamplingPercentage", staging=True),
    Difference("data is kept", "Application", r"spec\.syncPolicy\.automated\.prune", staging=True),
    Difference("branch", "Application", r"spec\..*targetRevision"),
    Difference("branch", "ApplicationSet", r"spec\..*(targetRevision|revision)"),
)
"""Names of the environment itself (hosts, buckets, prefixes) are no difference: `_neutral` takes them out."""


def _more_permissive_prod(platform: Platform) -> None:
    platform.find("postgresql", "eco2-postgres", "prod")["spec"]["patroni"]["synchronous_mode"] = False


def _route_of_one_environment(platform: Platform) -> None:
    platform.find("VirtualService", "auth-vs", "dev")["spec"]["http"][0]["timeout"] = "99s"


def _object_of_one_environment(platform: Platform) -> None:
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "debug", "namespace": "redis"}, "data": {}}
    platform.builds["platform/cr/dev"].append(item)


def _staging_without_sentinels(platform: Platform) -> None:
    objects = platform.builds["platform/cr/staging"]
    objects[:] = [item for item in objects if item["kind"] != "RedisSentinel"]


@checker(_more_permissive_prod, _route_of_one_environment, _object_of_one_environment, _staging_without_sentinels)
def environments_differ_where_the_table_allows(platform: Platform) -> Iterator[str]:
    prod = _neutral_objects(platform, "prod")
    for environment in ("dev", "staging"):
        other = _neutral_objects(platform, environment)
        for key in sorted(prod.keys() | other.keys()):
            if key not in prod or key not in other:
                if not _allowed(environment, key[0], ""):
                    yield f"{' '.join(key)} is in {'prod' if key in prod else environment} only"
                continue
            for path, ours, theirs in _differences(other[key], prod[key], ""):
                if not _allowed(environment, key[0], path):
                    yield f"{' '.join(key)}: {path} is {ours!r} in {environment} and {theirs!r} in prod"


def _allowed(environment: str, kind: str, path: str) -> bool:
    return any(
        re.fullmatch(row.kind, kind) and (not row.path or re.fullmatch(row.path, path))
        for row in ALLOWED
        if row.staging or environment == "dev" or row.row == "branch"
    )


def _neutral_objects(platform: Platform, environment: str) -> dict[tuple[str, str], Any]:
    objects: dict[tuple[str, str], Any] = {}
    everything = [item for _, item in deployed(platform, environment)] + platform.builds[f"clusters/{environment}"]
    for item in everything:
        neutral = _neutral(item, environment)
        objects[(neutral["kind"], title(neutral).partition(" ")[2])] = neutral
    return objects


def _neutral(node: Any, environment: str) -> Any:
    """The same without the names that an environment has because of what it is called."""
    if isinstance(node, dict):
        return {key: _neutral(value, environment) for key, value in node.items()}
    if isinstance(node, list):
        return [_neutral(entry, environment) for entry in node]
    if not isinstance(node, str):
        return node
    text = HASH.sub("", node)
    if environment != "prod":
        text = text.replace(f"{environment}.growbin.app", "growbin.app").replace(f"eco2-{environment}", "eco2")
    text = text.replace("eco2-prod", "eco2")
    return re.sub(rf"\b{environment}\b(?!\.)", "ENVIRONMENT", text).replace("ENVIRONMENT-", "")


def _differences(ours: Any, theirs: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours.keys() | theirs.keys():
            inner = f"{path}.{key}" if path else key
            yield from _differences(ours.get(key), theirs.get(key), inner)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (left, right) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(left, right, f"{path}.{index}")
    elif ours != theirs:
        yield path, ours, theirs


def _dev_host_in_prod(platform: Platform) -> None:
    platform.find("Gateway", "eco2-gateway", "prod")["spec"]["servers"][0]["hosts"][0] = "api.dev.growbin.app"


def _dev_bucket_in_staging(platform: Platform) -> None:
    platform.find("ConfigMap", "postgres-backups", "staging")["data"]["WAL_S3_BUCKET"] = "eco2-dev-ops"


def _prod_host_in_dev(platform: Platform) -> None:
    values = find_application(platform, "dev", "argocd")["spec"]["source"]["helm"]["valuesObject"]
    values["global"]["domain"] = "argocd.growbin.app"


@checker(_dev_host_in_prod, _dev_bucket_in_staging, _prod_host_in_dev)
def no_environment_names_another(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        others = [name for name in ENVIRONMENTS if name != environment]
        foreign: list[tuple[str, Callable[[str], Any]]] = [
            (f"the name {name}", re.compile(rf"(?<![\w./-]dev/)\b{name}\b(?!/null|\.kubernetes)").search)
            for name in others
        ]
        if environment != "prod":
            own = re.compile(rf"(?<!{environment}\.)growbin\.app")
            foreign.append(("a host of prod", own.search))
        for item in _whole(platform, environment):
            for text in _texts(item):
                for what, search in foreign:
                    if search(text):
                        yield f"{environment}: {title(item)} has {what} in {text[:120]!r}"


def _whole(platform: Platform, environment: str) -> Iterator[Object]:
    yield from platform.builds[f"clusters/{environment}"]
    for _, item in deployed(platform, environment):
        yield item


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list):
        for entry in node:
            yield from _texts(entry)
    elif isinstance(node, str):
        yield node


def _unlabelled(platform: Platform) -> None:
    del platform.find("ConfigMap", "postgres-backups", "prod")["metadata"]["labels"]["environment"]


@checker(_unlabelled)
def everything_says_its_environment(platform: Platform) -> Iterator[str]:
    """A selection by the label, as in seed 002, finds everything that is ours."""
    for environment in ENVIRONMENTS:
        for _, item in deployed(platform, environment):
            labels = item["metadata"].get("labels", {})
            if labels.get("environment") != environment:
                yield f"{environment}: {title(item)} has no label environment={environment}"
