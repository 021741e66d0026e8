"""Charts and our manifests use the same names: Services, accounts, secrets and settings that the other makes."""

import re
from collections.abc import Iterator
from typing import Any

from tests.deploy.applications import applications, deployed, find_application
from tests.deploy.checks import checker
from tests.deploy.checks.waves import secrets_made
from tests.deploy.platform import ENVIRONMENTS, Platform, title

HOST = re.compile(r"(?<![\w*.-])([a-z][a-z0-9-]*)\.([a-z][a-z0-9-]*)\.svc\.cluster\.local(?::(\d+))?")
OF_CHARTS = {
    # Services that charts and operators make: the Application that brings each, its ports.
    "argocd-server.argocd": ("argocd", {80}),
    "eco2-postgres.postgres": ("data", {5432}),
    "eco2-rabbitmq.rabbitmq": ("rabbitmq-cluster", {5672, 15672, 15692}),
    "grafana.monitoring": ("grafana", {80}),
    "istio-ingressgateway.istio-system": ("istio-gateway", {80}),
    "jaeger-collector.monitoring": ("jaeger", {4318}),
    # With one Pod for everything, the chart's Service has no address of its own and the port of the Pod.
    "jaeger-query.monitoring": ("jaeger", {16686}),
    "kiali.istio-system": ("kiali", {20001}),
    "kibana-kb-http.monitoring": ("log-store", {5601}),
    "kube-prometheus-stack-prometheus.monitoring": ("monitoring-operator", {9090}),
    "redis-cache.redis": ("data", {6379}),
    "redis-cache-sentinel.redis": ("data", {26379}),
    "redis-streams.redis": ("data", {6379}),
    "redis-streams-sentinel.redis": ("data", {26379}),
}
OUTSIDE = {"object-store.storage"}
"""The object store of the local stack, whose routes clusters do not have."""


def _renamed_release(platform: Platform) -> None:
    platform.find("ConfigMap", "postgres-backups", "dev")["data"]["URL"] = (
        "http://prometheus.monitoring.svc.cluster.local"
    )


def _other_port(platform: Platform) -> None:
    values = find_application(platform, "prod", "grafana")["spec"]["source"]["helm"]["valuesObject"]
    values["datasources"]["datasources.yaml"]["datasources"][0]["url"] = (
        "http://kube-prometheus-stack-prometheus.monitoring.svc.cluster.local:80"
    )


def _chart_gone(platform: Platform) -> None:
    objects = platform.builds["clusters/dev"]
    objects[:] = [item for item in objects if item["metadata"]["name"] != "dev-jaeger"]


@checker(_renamed_release, _other_port, _chart_gone)
def hosts_inside_the_cluster_are_services(platform: Platform) -> Iterator[str]:
    """Every `name.namespace.svc.cluster.local` in values and manifests, with its port where one is said."""
    for environment in ENVIRONMENTS:
        rows = applications(platform, environment)
        brought = {row.name for row in rows}
        ours = {
            f"{item['metadata']['name']}.{item['metadata']['namespace']}": {
                port["port"] for port in item["spec"]["ports"]
            }
            for _, item in deployed(platform, environment)
            if item["kind"] == "Service"
        }
        texts = [(f"Application {row.name}", text) for row in rows for text in _texts(row.values)]
        texts += [(title(item), text) for _, item in deployed(platform, environment) for text in _texts(item)]
        for where, text in texts:
            for name, space, port in HOST.findall(text):
                host = f"{name}.{space}"
                maker, ports = OF_CHARTS.get(host, ("", set()))
                if host in OUTSIDE:
                    continue
                if host not in ours and maker not in brought:
                    yield f"{environment}: {where} names {host}, which is no Service"
                elif port and int(port) not in ours.get(host, set()) | ports:
                    yield f"{environment}: {where} asks {host} at port {port}"


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list):
        for entry in node:
            yield from _texts(entry)
    elif isinstance(node, str):
        yield node


def _other_account(platform: Platform) -> None:
    values = find_application(platform, "prod", "external-dns")["spec"]["source"]["helm"]["valuesObject"]
    values["serviceAccount"]["name"] = "dns"


def _other_secret(platform: Platform) -> None:
    values = find_application(platform, "dev", "grafana")["spec"]["source"]["helm"]["valuesObject"]
    values["admin"]["existingSecret"] = "grafana"


def _other_settings(platform: Platform) -> None:
    values = find_application(platform, "dev", "postgres-operator")["spec"]["source"]["helm"]["valuesObject"]
    values["configKubernetes"]["pod_environment_configmap"] = "postgres/backups"


def _account_after_its_chart(platform: Platform) -> None:
    find_application(platform, "dev", "rbac-storage")["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] = "16"


@checker(_other_account, _other_secret, _other_settings, _account_after_its_chart)
def charts_find_what_they_are_told_to_use(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        made = {
            (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]): row.wave
            for row, item in deployed(platform, environment)
        }
        made |= {("Secret", *key): wave for key, wave in secrets_made(platform, environment).items()}
        for row in applications(platform, environment):
            space = row.spec["destination"]["namespace"]
            for kind, where, name, before in _used(row.values, space):
                wave = made.get((kind, where, name))
                if wave is None:
                    yield f"{environment}: {row.name} uses {kind} {where}/{name}, which nothing makes"
                elif before and wave >= row.wave:
                    yield f"{environment}: {row.name} of wave {row.wave} uses {kind} {where}/{name} of wave {wave}"


def _used(values: dict[str, Any], space: str) -> Iterator[tuple[str, str, str, bool]]:
    """Kind, namespace, name; and whether it has to be there before the chart itself."""
    account = values.get("serviceAccount", {})
    if account.get("create") is False:
        yield "ServiceAccount", space, account["name"], True
    if "existingSecret" in values.get("admin", {}):
        yield "Secret", space, values["admin"]["existingSecret"], True
    if "podServiceAccount" in values:
        yield "ServiceAccount", "postgres", values["podServiceAccount"]["name"], True
    settings = values.get("configKubernetes", {}).get("pod_environment_configmap")
    if settings:
        yield "ConfigMap", *settings.split("/"), False


def _sentinel_of_another_name(platform: Platform) -> None:
    platform.find("RedisSentinel", "redis-streams", "prod")["spec"]["redisSentinelConfig"]["masterGroupName"] = (
        "myMaster"
    )


def _one_redis_behind_sentinels(platform: Platform) -> None:
    secret = platform.find("ClusterExternalSecret", "redis-cache", "dev")["spec"]["externalSecretSpec"]
    secret["target"]["template"]["data"]["ECO2_REDIS_CACHE_URL"] = (
        "redis+sentinel://:x@redis-cache-sentinel.redis.svc.cluster.local:26379/redis-cache/0"
    )


@checker(_sentinel_of_another_name, _one_redis_behind_sentinels)
def clients_ask_the_sentinels_that_there_are(platform: Platform) -> Iterator[str]:
    """Sentinels, where Redis has replicas and only there; by the name under which they know the master."""
    for environment in ENVIRONMENTS:
        masters = {
            item["metadata"]["name"]: item["spec"]["redisSentinelConfig"]["masterGroupName"]
            for _, item in deployed(platform, environment)
            if item["kind"] == "RedisSentinel"
        }
        for _, item in deployed(platform, environment):
            if item["kind"] != "ClusterExternalSecret" or not item["metadata"]["name"].startswith("redis-"):
                continue
            name = item["metadata"]["name"]
            for url in item["spec"]["externalSecretSpec"]["target"]["template"]["data"].values():
                if name in masters and not url.endswith(
                    f"@{name}-sentinel.redis.svc.cluster.local:26379/{masters[name]}/0"
                ):
                    yield f"{environment}: {name} has sentinels that know it as {masters[name]}; clients have {url}"
                if name not in masters and "sentinel" in url:
                    yield f"{environment}: {name} has no sentinels; clients have {url}"


def _image_of_no_version(platform: Platform) -> None:
    del find_application(platform, "dev", "rabbitmq-operator")["spec"]["source"]["kustomize"]["images"]


def _image_of_another_version(platform: Platform) -> None:
    source = find_application(platform, "prod", "rabbitmq-topology-operator")["spec"]["source"]
    source["kustomize"]["images"] = ["rabbitmqoperator/messaging-topology-operator:1.14.0"]


@checker(_image_of_no_version, _image_of_another_version)
def operators_run_the_version_of_their_manifests(platform: Platform) -> Iterator[str]:
    """The manifests of a release name the image `latest`; only what a project publishes beside them names a version."""
    for environment in ENVIRONMENTS:
        for row in applications(platform, environment):
            for source in row.sources:
                patched = {patch["target"]["kind"] for patch in source.get("kustomize", {}).get("patches", [])}
                if "Deployment" not in patched:
                    continue
                tags = [image.rpartition(":")[2] for image in source["kustomize"].get("images", [])]
                wanted = str(source["targetRevision"]).removeprefix("v")
                if tags != [wanted]:
                    found = ", ".join(tags) or "whatever is latest"
                    yield f"{environment}: {row.name} of {wanted} runs the image of {found}"
