"""istiod's configuration of our gateway equals what the local edge makes of the same files; sidecars are restricted."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import yaml

from eco2.local import envoy
from tests.cluster.conftest import Cluster, built
from tests.deploy.platform import Object
from tools.cluster import mesh, placeholders, waves
from tools.cluster.api import until

MANAGER = "envoy.filters.network.http_connection_manager"


@pytest.fixture(scope="module")
def istiod(cluster: Cluster) -> Iterator[dict[str, str]]:
    built("istiod", "gateway-config")
    addresses = mesh.start(cluster.plane, waves.rendered(), cluster.environment)

    def ready() -> bool:
        cluster.plane.alive()
        try:
            return httpx2.get(f"http://{addresses['httpAddr']}/ready", timeout=2).status_code == 200
        except httpx2.HTTPError:
            return False

    until("istiod's readiness", ready)
    yield addresses
    cluster.plane.end("istiod")


@pytest.fixture(scope="module")
def theirs(cluster: Cluster, istiod: dict[str, str]) -> dict[str, list[Object]]:
    cluster.api.apply([_gateway_service(), _object_store(cluster)])
    cluster.settled()
    (pod, *_) = cluster.pods(mesh.NAMESPACE, "istio=ingressgateway")
    return mesh.gateway_configuration(istiod, pod)


def _gateway_service() -> Object:
    """As the chart of the gateway makes it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": mesh.GATEWAY, "namespace": mesh.NAMESPACE},
        "spec": {
            "selector": {"istio": "ingressgateway"},
            "ports": [{"name": "http2", "port": 80, "targetPort": 80}],
        },
    }


def _object_store(cluster: Cluster) -> Object:
    """The routes to the buckets: in a cluster a CDN stands before these, so that the overlays leave them out."""
    (item,) = (row for row in envoy.load() if row.get("metadata", {}).get("name") == "object-store-vs")
    hosts = waves.rendered().find("VirtualService", "images-vs", cluster.environment)["spec"]["hosts"]
    return {
        **item,
        "metadata": {**item["metadata"], "namespace": mesh.NAMESPACE},
        "spec": {**item["spec"], "hosts": hosts},
    }


@pytest.fixture(scope="module")
def ours(cluster: Cluster, istiod: dict[str, str], theirs: dict[str, list[Object]]) -> Object:
    """The HTTP connection manager of the local edge, given what the overlay of the environment sets."""
    filters = {
        item["metadata"]["name"]: item["spec"]["configPatches"]
        for item in waves.rendered().builds[f"workloads/routing/gateway/{cluster.environment}"]
        if item["kind"] == "EnvoyFilter"
    }
    cors = filters["edge-cors"][0]["patch"]["value"]["typed_per_filter_config"]["eco2.cors"]
    origins = [row["exact"] for row in cors["allow_origin_string_match"]]
    issuer = filters["edge-jwt"][0]["patch"]["value"]["typed_config"]["providers"]["eco2"]["issuer"]
    hops = filters["edge-address"][0]["patch"]["value"]["typed_config"]["xff_num_trusted_hops"]
    buckets = (envoy.DEFAULT_BUCKET, envoy.DEFAULT_UPLOAD_BUCKET)
    text = envoy.render({}, 8080, 9901, "/tmp/admin", 9000, buckets[0], origins, issuer, buckets[1], hops)
    bootstrap = mesh.normalised(cluster.plane, yaml.safe_load(text))
    (edge,) = (row for row in bootstrap["static_resources"]["listeners"] if row["name"] == "edge")
    return _manager([edge])


def _manager(listeners: list[Object]) -> Object:
    for listener in listeners:
        for chain in listener["filter_chains"]:
            for row in chain["filters"]:
                if row["name"] == MANAGER:
                    found: Object = row["typed_config"]
                    return found
    raise AssertionError("no listener for HTTP")


DECORATION = {"metadata", "decorator"}
"""For telemetry of the mesh."""


def _route(row: Object) -> Object:
    """Without what the mesh adds to every route and the local edge does not need."""
    found = {key: value for key, value in row.items() if key not in DECORATION}
    found["match"] = {key: value for key, value in row["match"].items() if (key, value) != ("case_sensitive", True)}
    if "response_headers_to_add" in found:
        found["response_headers_to_add"] = sorted(
            found["response_headers_to_add"], key=lambda one: one["header"]["key"]
        )
    if "route" in found:
        action = {key: value for key, value in found["route"].items() if key != "max_grpc_timeout"}
        if "retry_policy" in action:
            hosts = ("retry_host_predicate", "host_selection_retry_max_attempts")
            action["retry_policy"] = {key: value for key, value in action["retry_policy"].items() if key not in hosts}
        # Beside a destination of no weight, which waits for a new release.
        targets = action.get("weighted_clusters", {}).get("clusters", [])
        if [one["weight"] for one in targets] == [100]:
            del action["weighted_clusters"]
            action["cluster"] = targets[0]["name"]
        found["route"] = action
    return found


def _virtual_host(theirs: dict[str, list[Object]]) -> Object:
    """The one of the API and the page: its routes have the most names."""
    hosts = [host for row in theirs["routes"] for host in row.get("virtual_hosts", ())]
    return max(hosts, key=lambda host: len(host.get("routes", ())))


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
def test_istiod_makes_the_routes_of_the_local_edge(
    cluster: Cluster, theirs: dict[str, list[Object]], ours: Object
) -> None:
    local = ours["route_config"]["virtual_hosts"][0]
    mine = [_route(row) for row in local["routes"]]
    other = [_route(row) for row in _virtual_host(theirs)["routes"]]
    if other[-1] == other[-2]:
        other.pop()  # that of `unknown-hosts`, which istiod puts behind the routes of every host of the gateway
    assert sorted({row["name"] for row in mine}) == sorted({row["name"] for row in other})
    wrong = {}
    for name in dict.fromkeys(row["name"] for row in mine):
        one = [row for row in mine if row["name"] == name]
        two = [row for row in other if row["name"] == name]
        if one != two:
            wrong[name] = (one, two)
    assert wrong == {}
    cluster.note("routes that istiod and the local edge make alike", f"{len(mine)} of {len(other)}")


FILTERS = ("eco2.", "envoy.filters.http.rbac", "envoy.filters.http.ext_authz", "envoy.filters.http.router")
MESH = {"operators": "DENY", "allow-nothing": "ALLOW", "gateway": "ALLOW"}
"""Authorisation policies of workloads/routing/mesh, of no use to the local edge: it serves no page of operators."""


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
def test_istiod_makes_the_filters_of_the_local_edge(
    cluster: Cluster, theirs: dict[str, list[Object]], ours: Object
) -> None:
    """JWT, buffer, headers, CORS and the check against ext-authz, in the same order."""
    mine = [_filter(row) for row in ours["http_filters"] if row["name"].startswith(FILTERS)]
    given = [row for row in _manager(theirs["listeners"])["http_filters"] if row["name"].startswith(FILTERS)]
    other = [_filter(row) for row in given if not _of_the_mesh(row)]
    assert [row["name"] for row in mine] == [row["name"] for row in other]
    wrong = [text for one, two in zip(mine, other, strict=True) for text in _differences(one, two)]
    assert wrong == []
    policies = {name: word for row in given if _of_the_mesh(row) for name, word in _policies(row).items()}
    assert policies == MESH
    cluster.note("HTTP filters that both make alike", f"{len(mine)} of {len(other)}")


def _policies(row: Object) -> dict[str, str]:
    rules = row["typed_config"].get("rules", {})
    names = [re.search(r"policy\[(.+?)\]", name) for name in rules.get("policies", {})]
    return {name[1]: rules.get("action", "ALLOW") for name in names if name}


def _of_the_mesh(row: Object) -> bool:
    return row["name"].endswith(".rbac") and "shadow_rules" not in row["typed_config"]


def _filter(row: Object) -> Object:
    """Names and wrappers apart: the check is for what a shadow rule marked, whatever that rule would do by itself."""
    found: Object = json.loads(json.dumps(row))
    config = found["typed_config"]
    if found["name"].endswith(".rbac"):
        config["shadow_rules"] = [_unwrapped(one) for one in config["shadow_rules"]["policies"].values()]
    elif found["name"].endswith(".ext_authz"):
        config["grpc_service"]["envoy_grpc"].pop("authority", None)
        match = config["filter_enabled_metadata"]["value"]["string_match"]
        match["prefix"] = match["prefix"].replace("istio-ext-authz-ext-authz", "istio-ext-authz")
    return found


def _unwrapped(part: Any) -> Any:
    """Without `and` of one."""
    if isinstance(part, list):
        return [_unwrapped(row) for row in part]
    if not isinstance(part, dict):
        return part
    for outer, inner in (("and_rules", "rules"), ("and_ids", "ids")):
        if part.keys() == {outer} and len(part[outer][inner]) == 1:
            return _unwrapped(part[outer][inner][0])
    return {key: _unwrapped(value) for key, value in part.items()}


OF_THE_MESH = {
    # Names; certificates of clients, which end at the load balancer; how a trace begins.
    *("stat_prefix", "server_name", "forward_client_cert_details", "set_current_client_cert_details"),
    *("request_id_extension", "proxy_100_continue", "http_protocol_options"),
    # Where requests are routed and written down: compared above, or not the same on purpose.
    *("http_filters", "route_config", "rds", "access_log", "tracing"),
    # istiod offers WebSockets here, and every route refuses them, which is compared above.
    "upgrade_configs",
}


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
def test_istiod_makes_the_limits_and_early_answers_of_the_local_edge(
    cluster: Cluster, theirs: dict[str, list[Object]], ours: Object
) -> None:
    other = _manager(theirs["listeners"])
    fields = (ours.keys() | other.keys()) - OF_THE_MESH
    wrong = [text for key in sorted(fields) for text in _differences(ours.get(key), other.get(key), key)]
    assert wrong == []
    cluster.note("fields of the connections that both make alike", f"{len(fields)} of {len(fields)}")


def _differences(mine: Any, other: Any, where: str = "") -> Iterator[str]:
    if isinstance(mine, dict) and isinstance(other, dict):
        for key in sorted(mine.keys() | other.keys()):
            yield from _differences(mine.get(key), other.get(key), f"{where}.{key}")
    elif mine != other:
        yield f"{where}: {mine!r} here, {other!r} by istiod"


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
def test_another_timeout_is_seen(theirs: dict[str, list[Object]], ours: Object) -> None:
    """The control of the comparison."""
    local = ours["route_config"]["virtual_hosts"][0]
    row = next(row for row in local["routes"] if row.get("route", {}).get("timeout"))
    changed = json.loads(json.dumps(row))
    changed["route"]["timeout"] = "7s"
    assert _route(changed) not in [_route(row) for row in _virtual_host(theirs)["routes"]]


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
def test_pods_with_the_sidecar_of_istiod_meet_the_restricted_standard(cluster: Cluster, istiod: dict[str, str]) -> None:
    cluster.api.ask("delete", "mutatingadmissionpolicybinding", placeholders.POLICY)
    cluster.api.apply([mesh.webhook(cluster.plane, istiod)])
    try:
        spaces = {row["metadata"]["name"] for row in cluster.api.rows("namespaces", selector="istio-injection=enabled")}
        ours = [row for row in cluster.api.rows("deployments") if row["metadata"]["namespace"] in spaces]
        for row in ours:
            cluster.api.ask(
                "rollout", "restart", f"deployment/{row['metadata']['name']}", "-n", row["metadata"]["namespace"]
            )
        for row in ours:
            words = ("rollout", "status", f"deployment/{row['metadata']['name']}", "-n", row["metadata"]["namespace"])
            cluster.api.ask(*words, "--timeout=240s")
        names = {row["metadata"]["namespace"] for row in ours}
        pods = [row for row in cluster.pods() if row["metadata"]["namespace"] in names and _alive(row)]
        assert {part["name"] for row in pods for part in row["spec"]["initContainers"]} >= {"istio-proxy"}
        assert all(any(part["name"] == "istio-proxy" for part in row["spec"]["initContainers"]) for row in pods)
        cluster.note("Pods with istiod's sidecar under restricted", f"{len(pods)} of {len(pods)}")
    finally:
        cluster.api.ask("delete", "mutatingwebhookconfiguration", "istio-sidecar-injector")
        cluster.api.apply(placeholders.sidecar_policy(waves.rendered(), cluster.environment))


def _alive(pod: Object) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") == "Running"
