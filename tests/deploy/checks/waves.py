"""The order of the waves: nothing is synced before what it needs."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from tests.deploy.applications import WAVE, Application, applications, deployed, find_application
from tests.deploy.checks import checker
from tests.deploy.platform import ENVIRONMENTS, Object, Platform, title

BEFORE_ARGO_CD = {"argocd", "default", "kube-system", "kube-public"}
"""Namespaces that a new cluster has, or that Ansible makes together with Argo CD."""

NEEDS = {
    # API group, or group and kind: the Applications that bring its definition and its controller.
    "acid.zalan.do": ("crds-postgres", "postgres-operator"),
    "argoproj.io/AnalysisTemplate": ("crds-argo-rollouts", "argo-rollouts"),
    "argoproj.io/Rollout": ("crds-argo-rollouts", "argo-rollouts"),
    "cert-manager.io": ("cert-manager",),
    "elbv2.k8s.aws": ("crds-aws-load-balancer-controller",),
    "external-secrets.io": ("crds-external-secrets", "secrets-operator"),
    "extensions.istio.io": ("istio-base", "istiod"),
    "keda.sh": ("crds-keda", "keda"),
    "monitoring.coreos.com": ("crds-prometheus",),
    "networking.istio.io": ("istio-base", "istiod"),
    "rabbitmq.com": ("rabbitmq-topology-operator",),
    "rabbitmq.com/RabbitmqCluster": ("rabbitmq-operator",),
    "redis.redis.opstreelabs.in": ("crds-redis", "redis-operator"),
    "security.istio.io": ("istio-base", "istiod"),
    "telemetry.istio.io": ("istio-base", "istiod"),
}
WITH_ARGO_CD = {"argoproj.io/Application", "argoproj.io/ApplicationSet", "argoproj.io/AppProject"}
SKIPPED = {
    # Charts without their definitions: the Application that brings them.
    "alb-controller": "crds-aws-load-balancer-controller",
    "argo-rollouts": "crds-argo-rollouts",
    "keda": "crds-keda",
    "monitoring-operator": "crds-prometheus",
    "postgres-operator": "crds-postgres",
    "redis-operator": "crds-redis",
    "secrets-operator": "crds-external-secrets",
}


def _other_wave(platform: Platform) -> None:
    path = "clusters/base/apps/24-postgres-operator.yaml"
    platform.texts[path] = platform.texts[path].replace('sync-wave: "24"', 'sync-wave: "42"')


def _file_of_one_environment(platform: Platform) -> None:
    del platform.texts["clusters/prod/apps/29-rabbitmq-operator.yaml"]


@checker(_other_wave, _file_of_one_environment)
def the_number_of_a_file_is_its_wave(platform: Platform) -> Iterator[str]:
    """And each environment has a file for each Application, under the same name."""
    base = _numbered(platform, "clusters/base/apps")
    for name, path in base.items():
        metadata = platform.document(path)["metadata"]
        wave = metadata["annotations"][WAVE]
        if int(name[:2]) != int(wave):
            yield f"{path}: its wave is {wave}"
    for environment in ENVIRONMENTS:
        for name in base.keys() ^ _numbered(platform, f"clusters/{environment}/apps").keys():
            yield f"clusters/{environment}/apps: {name} is there or in clusters/base/apps, not in both"


def _numbered(platform: Platform, folder: str) -> dict[str, str]:
    paths = [path for path in platform.texts if str(PurePosixPath(path).parent) == folder]
    return {name: path for path in paths if re.match(r"\d\d-", name := PurePosixPath(path).name)}


def _missing_folder(platform: Platform) -> None:
    find_application(platform, "dev", "data")["spec"]["source"]["path"] = "platform/cr/development"


def _other_environment(platform: Platform) -> None:
    find_application(platform, "prod", "data")["spec"]["source"]["path"] = "platform/cr/dev"


def _nobody_deploys_it(platform: Platform) -> None:
    platform.builds["workloads/forgotten/prod"] = []


@checker(_missing_folder, _other_environment, _nobody_deploys_it)
def every_folder_of_an_environment_is_deployed_once(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        wanted = {
            folder
            for folder in platform.builds
            if environment in PurePosixPath(folder).parts and not folder.startswith("clusters/")
        }
        rows = [row for row in applications(platform, environment) if row.folder]
        for row in rows:
            if row.folder not in wanted:
                yield f"{environment}: Application {row.name} deploys {row.folder}, which is no folder of {environment}"
        deploying = [row.folder for row in rows]
        for folder in sorted(wanted - set(deploying)):
            yield f"{environment}: no Application deploys {folder}"
        for twice in {folder for folder in deploying if deploying.count(folder) > 1}:
            yield f"{environment}: {twice} is deployed by two Applications"


def _operator_after_its_resources(platform: Platform) -> None:
    item = find_application(platform, "prod", "postgres-operator")
    item["metadata"]["annotations"][WAVE] = "36"


def _topology_before_its_operator(platform: Platform) -> None:
    item = find_application(platform, "dev", "rabbitmq-topology")
    item["metadata"]["annotations"][WAVE] = "29"


def _definitions_nobody_brings(platform: Platform) -> None:
    objects = platform.builds["platform/crds/prod"]
    objects[:] = [item for item in objects if item["metadata"]["name"] != "prod-crds-redis"]


def _unknown_group(platform: Platform) -> None:
    platform.find("PodMonitor", "redis", "prod")["apiVersion"] = "example.org/v1"


@checker(_operator_after_its_resources, _topology_before_its_operator, _definitions_nobody_brings, _unknown_group)
def definitions_and_operators_come_first(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        waves = {row.name: row.wave for row in applications(platform, environment)}
        for row, item in deployed(platform, environment):
            for need in _needs(item):
                if need not in waves:
                    yield f"{environment}: {title(item)} needs Application {need}, which there is not"
                elif waves[need] >= row.wave:
                    yield (
                        f"{environment}: {title(item)} of wave {row.wave} ({row.name}) "
                        f"needs {need} of wave {waves[need]}"
                    )
        for chart, definitions in SKIPPED.items():
            if waves.get(definitions, 99) >= waves.get(chart, -1):
                yield f"{environment}: {chart} skips its definitions, and {definitions} does not come before it"


def _needs(item: Object) -> tuple[str, ...]:
    group = item["apiVersion"].rpartition("/")[0]
    key = f"{group}/{item['kind']}"
    if "." not in group or group.endswith(".k8s.io") or key in WITH_ARGO_CD:
        return ()
    return NEEDS.get(key) or NEEDS.get(group) or (f"that brings {group}",)


def _bundled_definitions(platform: Platform) -> None:
    find_application(platform, "staging", "redis-operator")["spec"]["source"]["helm"]["skipCrds"] = False


@checker(_bundled_definitions)
def charts_skip_definitions_that_a_bundle_brings(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        for row in applications(platform, environment):
            skips = any(source.get("helm", {}).get("skipCrds") for source in row.sources)
            if row.name in SKIPPED and not skips:
                yield f"{environment}: {row.name} and {SKIPPED[row.name]} would both bring the definitions: skipCrds"


def _namespace_after_its_content(platform: Platform) -> None:
    find_application(platform, "prod", "namespaces")["metadata"]["annotations"][WAVE] = "41"


def _unknown_namespace(platform: Platform) -> None:
    platform.find("PodMonitor", "redis", "dev")["metadata"]["namespace"] = "cache"


def _chart_without_namespace(platform: Platform) -> None:
    find_application(platform, "dev", "keda")["spec"]["destination"]["namespace"] = "autoscaling"


@checker(_namespace_after_its_content, _unknown_namespace, _chart_without_namespace)
def namespaces_come_before_their_content(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        made = {
            item["metadata"]["name"]: row.wave
            for row, item in deployed(platform, environment)
            if item["kind"] == "Namespace"
        }
        asked = [
            (row, item["metadata"]["namespace"], title(item))
            for row, item in deployed(platform, environment)
            if item["metadata"].get("namespace")
        ]
        asked += [
            (row, row.spec["destination"]["namespace"], f"Application {row.name}")
            for row in applications(platform, environment)
        ]
        for row, name, what in asked:
            if name in BEFORE_ARGO_CD:
                continue
            if name not in made:
                yield f"{environment}: {what} is in namespace {name}, which nothing makes"
            elif made[name] >= row.wave:
                yield f"{environment}: {what} of wave {row.wave} is in namespace {name} of wave {made[name]}"


def _secret_after_its_user(platform: Platform) -> None:
    find_application(platform, "prod", "external-secrets")["metadata"]["annotations"][WAVE] = "45"


def _unknown_secret(platform: Platform) -> None:
    platform.find("Redis", "redis-cache", "dev")["spec"]["kubernetesConfig"]["redisSecret"]["name"] = "password"


def _secret_of_another_namespace(platform: Platform) -> None:
    platform.find("Deployment", "scan-api", "prod")["metadata"]["namespace"] = "postgres"


@checker(_secret_after_its_user, _unknown_secret, _secret_of_another_namespace)
def secrets_come_before_their_users(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        made = secrets_made(platform, environment)
        for row, item in deployed(platform, environment):
            space = item["metadata"].get("namespace", "")
            for name in secrets_of(item):
                wave = made.get((space, name))
                if wave is None:
                    yield f"{environment}: {title(item)} reads Secret {name}, which nothing makes in {space}"
                elif wave > row.wave:
                    yield f"{environment}: {title(item)} of wave {row.wave} reads Secret {name} of wave {wave}"


def secrets_made(platform: Platform, environment: str) -> dict[tuple[str, str], int]:
    """Waves of the Secrets that exist after it, by namespace and name."""
    made: dict[tuple[str, str], int] = {}
    for row, item in deployed(platform, environment):
        name, space, spec = item["metadata"]["name"], item["metadata"].get("namespace", ""), item.get("spec", {})
        if item["kind"] == "ExternalSecret":
            made[(space, spec.get("target", {}).get("name", name))] = row.wave
        elif item["kind"] == "ClusterExternalSecret":
            target = spec["externalSecretSpec"].get("target", {}).get("name", spec.get("externalSecretName", name))
            for selected in _selected(platform, environment, spec):
                made[(selected, target)] = row.wave
        elif item["kind"] == "postgresql":
            for role in ("postgres", "standby"):
                made[(space, f"{role}.{name}.credentials.postgresql.acid.zalan.do")] = row.wave
        elif item["kind"] == "User" and "importCredentialsSecret" not in spec:
            made[(space, f"{name}-user-credentials")] = row.wave
        elif item["kind"] == "RabbitmqCluster":
            made[(space, f"{name}-default-user")] = row.wave
        elif item["kind"] == "Certificate":
            made[(space, spec["secretName"])] = row.wave
    return made


def _selected(platform: Platform, environment: str, spec: dict[str, Any]) -> Iterator[str]:
    for _, item in deployed(platform, environment):
        if item["kind"] != "Namespace":
            continue
        labels = {"kubernetes.io/metadata.name": item["metadata"]["name"], **item["metadata"].get("labels", {})}
        for selector in spec.get("namespaceSelectors", []):
            if all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
                labels.get(row["key"]) in row["values"] for row in selector.get("matchExpressions", [])
            ):
                yield item["metadata"]["name"]


def secrets_of(item: Object) -> Iterator[str]:
    """Names of the Secrets that an object reads, optional ones left out."""
    stack: list[Any] = [item.get("spec", {})] if item["kind"] not in ("ExternalSecret", "ClusterExternalSecret") else []
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            for key in ("secretKeyRef", "secretRef", "redisSecret", "importCredentialsSecret"):
                reference = node.get(key)
                if isinstance(reference, dict) and "name" in reference and not reference.get("optional"):
                    yield reference["name"]
            for reference in node.get("imagePullSecrets") or ():
                yield reference["name"]
            volume = node.get("secret")
            if isinstance(volume, dict) and "secretName" in volume and not volume.get("optional"):
                yield volume["secretName"]
            stack.extend(node.values())


def _mesh_after_its_pods(platform: Platform) -> None:
    find_application(platform, "prod", "istiod")["metadata"]["annotations"][WAVE] = "33"


@checker(_mesh_after_its_pods)
def the_mesh_comes_before_its_pods(platform: Platform) -> Iterator[str]:
    """A Pod that starts before istiod gets no sidecar."""
    for environment in ENVIRONMENTS:
        rows: dict[str, Application] = {row.name: row for row in applications(platform, environment)}
        injected = {
            item["metadata"]["name"]
            for _, item in deployed(platform, environment)
            if item["kind"] == "Namespace" and item["metadata"].get("labels", {}).get("istio-injection") == "enabled"
        }
        for row, item in deployed(platform, environment):
            if item["kind"] not in ("Deployment", "StatefulSet", "Job", "Rollout", "RabbitmqCluster"):
                continue
            for part in ("istio-base", "istio-cni", "istiod"):
                wave = rows[part].wave
                if item["metadata"].get("namespace") in injected and wave >= row.wave:
                    yield f"{environment}: {title(item)} of wave {row.wave} starts before {part} of wave {wave}"
