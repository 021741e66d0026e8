"""Argo CD: what the Applications may do, how they sync, and what seed 000 says of the operators of RabbitMQ."""

import re
from collections.abc import Iterator
from typing import Any

from tests.deploy.applications import Application, applications, deployed, find_application, is_own
from tests.deploy.checks import checker
from tests.deploy.platform import ENVIRONMENTS, Object, Platform, title

KEPT = {
    # Kinds whose removal loses data, or takes with it all that depends on them.
    "Namespace",
    "Redis",
    "RedisReplication",
    "RedisSentinel",
    "RabbitmqCluster",
    "Vhost",
    "Queue",
    "PersistentVolumeClaim",
    "StorageClass",
    "postgresql",
}
CLUSTER_WIDE = {
    "ClusterExternalSecret",
    "ClusterRole",
    "ClusterRoleBinding",
    "ClusterSecretStore",
    "ClusterTriggerAuthentication",
    "IngressClass",
    "IngressClassParams",
    "Namespace",
    "PriorityClass",
    "StorageClass",
}
UPSTREAM = re.compile(r"v?\d+\.\d+\.\d+")
BRANCHES = {"dev": "develop", "staging": "main", "prod": "main"}


def _unknown_source(platform: Platform) -> None:
    find_application(platform, "prod", "keda")["spec"]["source"]["repoURL"] = "https://charts.example.org"


def _rights_from_the_apps(platform: Platform) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
    platform.builds["workloads/ingress/prod"].append({**role, "metadata": {"name": "x", "namespace": "istio-system"}})


def _cluster_wide_from_the_data(platform: Platform) -> None:
    item = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}}
    platform.builds["platform/cr/prod"].append(item)


def _namespace_outside_the_project(platform: Platform) -> None:
    platform.find("Redis", "redis-cache", "dev")["metadata"]["namespace"] = "kube-system"


def _destination_outside_the_project(platform: Platform) -> None:
    find_application(platform, "dev", "data")["spec"]["destination"]["namespace"] = "default"


@checker(
    _unknown_source,
    _rights_from_the_apps,
    _cluster_wide_from_the_data,
    _namespace_outside_the_project,
    _destination_outside_the_project,
)
def projects_allow_what_is_deployed(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        projects = {
            item["metadata"]["name"]: item["spec"]
            for item in platform.builds[f"clusters/{environment}"]
            if item["kind"] == "AppProject"
        }
        rows = applications(platform, environment)
        for row in rows:
            project = projects.get(row.spec["project"])
            if project is None:
                yield f"{environment}: {row.name} is in project {row.spec['project']}, which there is not"
                continue
            for source in row.sources:
                repository = source["repoURL"]
                if repository not in project["sourceRepos"]:
                    yield f"{environment}: project {row.spec['project']} does not allow {repository} ({row.name})"
            # Argo CD refuses the Application for this alone, whatever the namespaces of its objects.
            space = row.spec["destination"].get("namespace", "")
            if not _destination(project, space):
                yield f"{environment}: project {row.spec['project']} does not allow {row.name} to namespace {space}"
        for row, item in deployed(platform, environment):
            fault = _refused(projects.get(row.spec["project"], {}), row, item)
            if fault:
                yield f"{environment}: project {row.spec['project']} does not allow {title(item)} ({row.name}): {fault}"


def _refused(project: dict[str, Any], row: Application, item: Object) -> str | None:
    group, kind = item["apiVersion"].rpartition("/")[0], item["kind"]

    def listed(name: str) -> bool:
        return any(entry["group"] == group and entry["kind"] in ("*", kind) for entry in project.get(name, []))

    if kind in CLUSTER_WIDE:
        return None if listed("clusterResourceWhitelist") else "its kind is not in clusterResourceWhitelist"
    space = item["metadata"].get("namespace") or row.spec["destination"]["namespace"]
    if not _destination(project, space):
        return f"namespace {space}"
    if listed("namespaceResourceBlacklist"):
        return "its kind is in namespaceResourceBlacklist"
    if "namespaceResourceWhitelist" in project and not listed("namespaceResourceWhitelist"):
        return "its kind is not in namespaceResourceWhitelist"
    return None


def _destination(project: dict[str, Any], namespace: str) -> bool:
    return any(entry["namespace"] in ("*", namespace) for entry in project.get("destinations", []))


def _migrations_as_a_hook(platform: Platform) -> None:
    metadata = platform.find("Job", "migrations", "prod")["metadata"]
    metadata["annotations"] = {"argocd.argoproj.io/hook": "Sync"}


@checker(_migrations_as_a_hook)
def no_application_is_hooks_alone(platform: Platform) -> Iterator[str]:
    """Hooks do not count for the status of a sync: an Application of nothing else is always in sync, never synced."""
    for environment in ENVIRONMENTS:
        for row in applications(platform, environment):
            items = platform.builds.get(row.folder or "", [])
            if items and all(_is_hook(item) for item in items):
                yield f"{environment}: {row.name} has nothing but hooks, which automatic syncs never run"


def _is_hook(item: Object) -> bool:
    annotations = item["metadata"].get("annotations", {})
    return any(name in annotations for name in ("argocd.argoproj.io/hook", "helm.sh/hook"))


def _data_is_pruned(platform: Platform) -> None:
    find_application(platform, "prod", "data")["spec"]["syncPolicy"]["automated"]["prune"] = True


def _definitions_are_pruned(platform: Platform) -> None:
    for item in platform.builds["platform/crds/prod"]:
        item["spec"]["syncPolicy"]["automated"]["prune"] = True


def _no_retry(platform: Platform) -> None:
    del find_application(platform, "dev", "keda")["spec"]["syncPolicy"]["retry"]


def _by_hand(platform: Platform) -> None:
    del find_application(platform, "dev", "apis")["spec"]["template"]["spec"]["syncPolicy"]["automated"]


@checker(_data_is_pruned, _definitions_are_pruned, _no_retry, _by_hand)
def syncs_are_automatic_and_keep_data(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        for row in applications(platform, environment):
            policy = row.spec["syncPolicy"]
            kinds = {item["kind"] for item in platform.builds.get(row.folder or "", [])}
            if "automated" not in policy:
                yield f"{environment}: {row.name} is synced by hand"
            if "retry" not in policy:
                yield f"{environment}: {row.name} is not tried again"
            keep = row.name.startswith("crds-") or (environment == "prod" and kinds & KEPT)
            if keep and policy.get("automated", {}).get("prune", False):
                yield f"{environment}: {row.name} removes {', '.join(sorted(kinds & KEPT)) or 'definitions'} by itself"


def _compared_by_its_own_schemas(platform: Platform) -> None:
    del find_application(platform, "prod", "istiod")["metadata"]["annotations"][COMPARE]


def _job_compared_by_the_server(platform: Platform) -> None:
    find_application(platform, "prod", "migrations")["metadata"]["annotations"][COMPARE] = "ServerSideDiff=true"


COMPARE = "argocd.argoproj.io/compare-options"


@checker(_compared_by_its_own_schemas, _job_compared_by_the_server)
def what_the_server_applies_it_compares(platform: Platform) -> Iterator[str]:
    """Argo CD's own schemas may be older than the cluster; a Job that is replaced cannot be compared by the server."""
    for environment in ENVIRONMENTS:
        for folder in (f"clusters/{environment}", f"platform/crds/{environment}"):
            for item in platform.builds[folder]:
                if item["kind"] != "Application":
                    continue
                metadata, spec = item["metadata"], item["spec"]
                by_server = metadata.get("annotations", {}).get(COMPARE) == "ServerSideDiff=true"
                if by_server != ("ServerSideApply=true" in spec["syncPolicy"].get("syncOptions", [])):
                    yield f"{environment}: {metadata['name']} is compared by another than applies it"
                objects = platform.builds.get(spec.get("source", {}).get("path", ""), [])
                if by_server and any(row["kind"] == "Job" for row in objects):
                    yield f"{environment}: {metadata['name']} has a Job, which the server cannot compare"


def _rare_poll(platform: Platform) -> None:
    _argocd_values(platform)["configs"]["cm"]["timeout.reconciliation"] = "1h"


def _silent(platform: Platform) -> None:
    _argocd_values(platform)["notifications"]["subscriptions"] = []


def _waves_do_not_wait(platform: Platform) -> None:
    del _argocd_values(platform)["configs"]["cm"][HEALTH]


def _argocd_values(platform: Platform, environment: str = "prod") -> dict[str, Any]:
    item = find_application(platform, environment, "argocd")
    return dict(item["spec"]["source"]["helm"]["valuesObject"])


def _unsynced_is_healthy(platform: Platform) -> None:
    settings = _argocd_values(platform)["configs"]["cm"]
    settings[HEALTH] = settings[HEALTH].replace('sync.status ~= "Synced"', 'sync.status == "Unknown"')


def _harmless_holds_waves(platform: Platform) -> None:
    settings = _argocd_values(platform)["configs"]["cm"]
    settings[HEALTH] = settings[HEALTH].replace('not (sync.status == "OutOfSync" and done)', "true")


def _refused_is_waited_for(platform: Platform) -> None:
    settings = _argocd_values(platform)["configs"]["cm"]
    settings[HEALTH] = settings[HEALTH].replace("InvalidSpecError", "OrphanedResourceWarning")


HEALTH = "resource.customizations.health.argoproj.io_Application"
HEALTH_OF = {
    'sync.status ~= "Synced"': "takes one that was never synced for healthy",
    'sync.status == "OutOfSync" and done': "holds the later waves for a harmless difference",
    '"InvalidSpecError"': "waits for one that it refuses",
    '"ComparisonError"': "waits for one that it cannot render",
}


@checker(_rare_poll, _silent, _waves_do_not_wait, _unsynced_is_healthy, _harmless_holds_waves, _refused_is_waited_for)
def argo_cd_polls_waits_and_tells(platform: Platform) -> Iterator[str]:
    """Every three minutes; a wave is waited for; Slack hears of each sync."""
    for environment in ENVIRONMENTS:
        values = _argocd_values(platform, environment)
        settings, notices = values["configs"]["cm"], values["notifications"]
        if settings.get("timeout.reconciliation") != "180s":
            yield f"{environment}: Git is not polled every 3 minutes"
        if HEALTH not in settings:
            yield f"{environment}: Argo CD does not wait for the Applications of a wave: their health is not told"
        for part, fault in HEALTH_OF.items():
            if part not in settings.get(HEALTH, part):
                yield f"{environment}: Argo CD {fault}"
        told = {trigger for row in notices["subscriptions"] for trigger in row["triggers"]}
        for trigger in ("on-deployed", "on-sync-failed", "on-health-degraded"):
            if trigger not in told or f"trigger.{trigger}" not in notices["triggers"]:
                yield f"{environment}: nobody is told {trigger}"
        sent = set(re.findall(r"send: \[([\w-]+)\]", "".join(notices["triggers"].values())))
        for name in sent - {name.removeprefix("template.") for name in notices["templates"]}:
            yield f"{environment}: a trigger sends template {name}, which there is not"


def _operator_anywhere(platform: Platform) -> None:
    patches = find_application(platform, "dev", "rabbitmq-operator")["spec"]["source"]["kustomize"]["patches"]
    patches[0]["patch"] = patches[0]["patch"].replace("role: control-plane", "role: worker")


def _one_toleration(platform: Platform) -> None:
    patches = find_application(platform, "prod", "rabbitmq-topology-operator")["spec"]["source"]["kustomize"]["patches"]
    patches[0]["patch"] = patches[0]["patch"].replace("node-role.kubernetes.io/control-plane", "x")


def _client_side(platform: Platform) -> None:
    policy = find_application(platform, "prod", "rabbitmq-operator")["spec"]["syncPolicy"]
    policy["syncOptions"].remove("ServerSideApply=true")


def _other_version(platform: Platform) -> None:
    find_application(platform, "prod", "rabbitmq-operator")["spec"]["source"]["targetRevision"] = "v2.12.0"


def _namespace_twice(platform: Platform) -> None:
    find_application(platform, "prod", "rabbitmq-topology-operator")["spec"]["source"]["kustomize"]["patches"].pop()


@checker(_operator_anywhere, _one_toleration, _client_side, _other_version, _namespace_twice)
def operators_of_rabbitmq_are_as_the_seed_has_them(platform: Platform) -> Iterator[str]:
    wanted = {
        "rabbitmq-operator": (
            "https://github.com/rabbitmq/cluster-operator", "v2.11.0", "config/installation",
            "rabbitmq-cluster-operator", "CreateNamespace=true",
        ),
        "rabbitmq-topology-operator": (
            "https://github.com/rabbitmq/messaging-topology-operator", "v1.15.0", "config/installation/cert-manager",
            "messaging-topology-operator", "CreateNamespace=false",
        ),
    }  # fmt: skip
    tolerated = [
        {"key": "role", "operator": "Equal", "value": "control-plane", "effect": "NoSchedule"},
        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
    ]
    for environment in ENVIRONMENTS:
        for name, (repository, version, path, deployment, namespaces) in wanted.items():
            spec = find_application(platform, environment, name)["spec"]
            source, where = spec["source"], f"{environment}: {name}"
            if (source["repoURL"], source["targetRevision"], source["path"]) != (repository, version, path):
                yield f"{where} is not {path} of {repository} at {version}"
            if set(spec["syncPolicy"]["syncOptions"]) != {namespaces, "ServerSideApply=true"}:
                yield f"{where} is not applied with {namespaces} and ServerSideApply=true"
            if spec["destination"]["namespace"] != "rabbitmq-system":
                yield f"{where} is not in rabbitmq-system"
            patches = {row["target"]["kind"]: row for row in source["kustomize"]["patches"]}
            steps = {step["path"]: step["value"] for step in platform.yaml(patches["Deployment"]["patch"])}
            placement = {key: steps.get(f"/spec/template/spec/{key}") for key in ("nodeSelector", "tolerations")}
            if patches["Deployment"]["target"]["name"] != deployment:
                yield f"{where}: the placement is not that of Deployment {deployment}"
            if placement != {"nodeSelector": {"role": "control-plane"}, "tolerations": tolerated}:
                yield f"{where} is not placed on the control plane"
            if platform.yaml(patches.get("Namespace", {}).get("patch", "{}")).get("$patch") != "delete":
                yield f"{where} brings the namespace rabbitmq-system, which wave 02 has"


def _newest_chart(platform: Platform) -> None:
    find_application(platform, "dev", "keda")["spec"]["source"]["targetRevision"] = "2.*"


def _branch_of_upstream(platform: Platform) -> None:
    platform.builds["platform/crds/dev"][0]["spec"]["source"]["targetRevision"] = "main"


def _prod_first(platform: Platform) -> None:
    find_application(platform, "prod", "keda")["spec"]["source"]["targetRevision"] = "2.99.0"


def _prod_from_develop(platform: Platform) -> None:
    find_application(platform, "prod", "data")["spec"]["source"]["targetRevision"] = "develop"


def _version_not_written_down(platform: Platform) -> None:
    for environment in ENVIRONMENTS:
        find_application(platform, environment, "grafana")["spec"]["source"]["targetRevision"] = "1.2.3"


@checker(_newest_chart, _branch_of_upstream, _prod_first, _prod_from_develop, _version_not_written_down)
def versions_are_pinned_and_written_down(platform: Platform) -> Iterator[str]:
    """One exact version of everything upstream, as docs/deployment.md lists it; dev has the newest."""
    listed = dict(re.findall(r"^\| `([\w-]+)` \|.*?\| `([^`]+)` \|", platform.texts["docs/deployment.md"], re.M))
    pins: dict[str, dict[str, str]] = {}
    for environment in ENVIRONMENTS:
        for row in applications(platform, environment):
            for source in row.sources:
                revision = str(source.get("targetRevision", ""))
                if is_own(source):
                    if revision != BRANCHES[environment]:
                        yield f"{environment}: {row.name} follows {revision or 'HEAD'}, not {BRANCHES[environment]}"
                elif not UPSTREAM.fullmatch(revision):
                    yield f"{environment}: {row.name} is not pinned to a version: {revision or 'HEAD'}"
                else:
                    pins.setdefault(row.name, {})[environment] = revision
    for name, by in pins.items():
        versions = [_parts(by[environment]) for environment in ENVIRONMENTS if environment in by]
        if versions != sorted(versions, reverse=True):
            yield f"{name}: a later environment is ahead of an earlier one: {by}"
        if listed.get(name) != by.get("dev"):
            yield f"docs/deployment.md: {name} is {by.get('dev')}, the table says {listed.get(name)}"
    for name in listed.keys() - pins.keys():
        yield f"docs/deployment.md: the table has {name}, which no environment deploys"


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.removeprefix("v").split("."))


def _latest(platform: Platform) -> None:
    platform.find("Redis", "redis-cache", "dev")["spec"]["kubernetesConfig"]["image"] = "quay.io/opstree/redis:latest"


def _no_tag(platform: Platform) -> None:
    platform.find("postgresql", "eco2-postgres", "prod")["spec"]["dockerImage"] = "ghcr.io/zalando/spilo-17"


@checker(_latest, _no_tag)
def images_have_an_exact_tag(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        for _, item in deployed(platform, environment):
            for image in _images(item.get("spec", {})):
                tag = image.rpartition("/")[2].partition(":")[2]
                if "@sha256:" not in image and (not re.search(r"\d", tag) or "latest" in tag):
                    yield f"{environment}: {title(item)} runs {image}, which can change"


def _images(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for entry in node:
            yield from _images(entry)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("image", "dockerImage") and isinstance(value, str):
                yield value
            else:
                yield from _images(value)
