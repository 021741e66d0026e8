"""Ingress: hosts, routes, and that the gateway of each environment does what the local edge is tested to do."""

import json
import re
from collections.abc import Iterator
from typing import Any

from eco2.local import envoy
from tests.deploy.checks import checker
from tests.deploy.fleet import deployments, given, of_kind
from tests.deploy.platform import ENVIRONMENTS, Object, Platform, title

SITES = {"dev": "dev.growbin.app", "staging": "staging.growbin.app", "prod": "growbin.app"}
OPERATORS = {
    "argocd": ("argocd-server.argocd", 80),
    "grafana": ("grafana.monitoring", 80),
    "jaeger": ("jaeger-query.monitoring", 16686),
    "kiali": ("kiali.istio-system", 20001),
    "kibana": ("kibana-kb-http.monitoring", 5601),
    "rabbitmq": ("eco2-rabbitmq.rabbitmq", 15672),
}
UNKNOWN = "unknown-hosts"
"""Answers for hosts that have no other VirtualService."""
ELSEWHERE = {"VirtualService object-store-vs"}
"""Routes of the local edge alone: in a cluster photos and uploads have the host of the CDN."""


def _routes(platform: Platform, environment: str) -> dict[str, Object]:
    return {item["metadata"]["name"]: item["spec"] for item in of_kind(platform, environment, "VirtualService")}


def _other_timeout(platform: Platform) -> None:
    platform.find("VirtualService", "scan-vs", "prod")["spec"]["http"][0]["timeout"] = "5s"


def _route_of_one_environment(platform: Platform) -> None:
    platform.find("VirtualService", "auth-vs", "dev")["spec"]["http"].pop()


def _missing_domain(platform: Platform) -> None:
    platform.builds["workloads/routing/recycling/prod"].clear()


def _other_public_path(platform: Platform) -> None:
    policy = platform.find("AuthorizationPolicy", "edge", "prod")["spec"]
    policy["rules"][0]["to"][0]["operation"]["notPaths"].append("/api/v1/users/*")


def _other_filter(platform: Platform) -> None:
    platform.find("EnvoyFilter", "edge", "staging")["spec"]["configPatches"].pop(0)


@checker(_other_timeout, _route_of_one_environment, _missing_domain, _other_public_path, _other_filter)
def every_environment_routes_as_the_local_edge_does(platform: Platform) -> Iterator[str]:
    """The bases are what the local edge is generated from; an environment changes hosts, origins and issuer."""
    for environment, site in SITES.items():
        found = {
            title(item).replace("istio-system/", ""): item["spec"]
            for item in of_kind(platform, environment, "VirtualService", "AuthorizationPolicy")
        }
        for doc in envoy.load():
            if doc.get("kind") == "EnvoyFilter":
                yield from _filter(platform, environment, doc)
            elif doc.get("kind") in ("VirtualService", "AuthorizationPolicy") and title(doc) not in ELSEWHERE:
                hosts = {"hosts": [f"api.{site}"]} if doc["kind"] == "VirtualService" else {}
                if found.get(title(doc)) != {**doc["spec"], **hosts}:
                    yield f"{environment}: {title(doc)} is another than the local edge's"


def _filter(platform: Platform, environment: str, doc: Object) -> Iterator[str]:
    """The same patches in the same order; values that belong to an environment are looked at below."""
    here = platform.find("EnvoyFilter", doc["metadata"]["name"], environment)["spec"]
    if [_without_own(row) for row in here["configPatches"]] != [
        _without_own(row) for row in doc["spec"]["configPatches"]
    ]:
        yield f"{environment}: {title(doc)} is another than the local edge's"


OWN = re.compile(
    r'"(issuer|xff_num_trusted_hops)": [^,}]+'
    r'|"allow_origin_string_match": \[[^\]]*\]'
    r'|(?<="key": "access-control-allow-origin", )"value": "(\\.|[^"\\])*"'
)


def _without_own(patch: Object) -> str:
    return OWN.sub("", json.dumps(patch, sort_keys=True))


def _host_without_gateway(platform: Platform) -> None:
    platform.find("Gateway", "eco2-gateway", "prod")["spec"]["servers"][0]["hosts"].remove("rabbitmq.growbin.app")


def _host_without_name(platform: Platform) -> None:
    annotations = platform.find("Ingress", "eco2", "dev")["metadata"]["annotations"]
    annotations["external-dns.alpha.kubernetes.io/hostname"] = "api.dev.growbin.app"


def _other_page(platform: Platform) -> None:
    route = platform.find("VirtualService", "grafana-vs", "prod")["spec"]["http"][0]["route"][0]
    route["destination"]["host"] = "prometheus.monitoring.svc.cluster.local"


def _past_the_gateway(platform: Platform) -> None:
    platform.find("Ingress", "eco2", "prod")["spec"]["defaultBackend"]["service"]["name"] = "auth-api"


def _short_stream(platform: Platform) -> None:
    annotations = platform.find("Ingress", "eco2", "prod")["metadata"]["annotations"]
    annotations["alb.ingress.kubernetes.io/load-balancer-attributes"] = "idle_timeout.timeout_seconds=60"


@checker(_host_without_gateway, _host_without_name, _other_page, _past_the_gateway, _short_stream)
def every_host_has_a_name_a_gateway_and_a_page_behind_it(platform: Platform) -> Iterator[str]:
    for environment, site in SITES.items():
        hosts = {f"{name}.{site}" for name in ("api", *OPERATORS)}
        (server,) = platform.find("Gateway", "eco2-gateway", environment)["spec"]["servers"]
        ingress = platform.find("Ingress", "eco2", environment)
        annotations = ingress["metadata"]["annotations"]
        names = annotations["external-dns.alpha.kubernetes.io/hostname"].split(",")
        routed = {host for spec in _routes(platform, environment).values() for host in spec["hosts"]}
        for what, found in (
            ("the gateway", set(server["hosts"]) - {"*"}),
            ("DNS", {name.strip() for name in names}),
            ("the routes", routed - {"*"}),
        ):
            if found != hosts:
                yield f"{environment}: {what}: {sorted(found ^ hosts)}"
        backend = ingress["spec"]["defaultBackend"]["service"]
        if backend != {"name": "istio-ingressgateway", "port": {"number": 80}} or "rules" in ingress["spec"]:
            yield f"{environment}: the load balancer leads to {backend}"
        idle = re.search(
            r"idle_timeout\.timeout_seconds=(\d+)", annotations["alb.ingress.kubernetes.io/load-balancer-attributes"]
        )
        if idle is None or int(idle[1]) <= 300:
            yield f"{environment}: the load balancer ends event streams, which last 300 s"
        for name, (host, port) in OPERATORS.items():
            (entry,) = _routes(platform, environment)[f"{name}-vs"]["http"]
            target = entry["route"][0]["destination"]
            if target != {"host": f"{host}.svc.cluster.local", "port": {"number": port}}:
                yield f"{environment}: {name}.{site} leads to {target}"


def _unknown_host_refused(platform: Platform) -> None:
    platform.find("VirtualService", UNKNOWN, "prod")["spec"]["hosts"].remove("*")


def _unknown_host_not_taken(platform: Platform) -> None:
    platform.find("Gateway", "eco2-gateway", "dev")["spec"]["servers"][0]["hosts"].remove("*")


def _domain_on_any_host(platform: Platform) -> None:
    platform.find("VirtualService", "my-vs", "staging")["spec"]["hosts"].append("*")


def _unknown_host_checked(platform: Platform) -> None:
    for patch in platform.find("EnvoyFilter", "edge", "prod")["spec"]["configPatches"]:
        patch["patch"]["value"].get("typed_per_filter_config", {}).pop("envoy.filters.http.rbac", None)


def _unknown_host_served(platform: Platform) -> None:
    health = platform.find("VirtualService", "edge-vs", "prod")["spec"]["http"][0]
    platform.find("VirtualService", UNKNOWN, "prod")["spec"]["http"].insert(0, health)


@checker(
    _unknown_host_refused, _unknown_host_not_taken, _domain_on_any_host, _unknown_host_checked, _unknown_host_served
)
def a_host_that_nobody_knows_is_not_found(platform: Platform) -> Iterator[str]:
    """As at the local edge, where one VirtualService takes all other paths: 404 for every caller."""
    off = {"envoy.filters.http.ext_authz", "envoy.filters.http.rbac"}
    for environment in ENVIRONMENTS:
        (server,) = platform.find("Gateway", "eco2-gateway", environment)["spec"]["servers"]
        if "*" not in server["hosts"]:
            yield f"{environment}: the gateway does not take hosts that it does not know"
        anywhere = {name for name, spec in _routes(platform, environment).items() if "*" in spec["hosts"]}
        if anywhere != {UNKNOWN}:
            yield f"{environment}: routes of any host: {sorted(anywhere)}, not {UNKNOWN} alone"
        edge = _routes(platform, environment)["edge-vs"]["http"]
        if _routes(platform, environment)[UNKNOWN]["http"] != [row for row in edge if row["name"] == "not-found"]:
            yield f"{environment}: {UNKNOWN} has other routes than the not-found of edge-vs"
        for patch in platform.find("EnvoyFilter", "edge", environment)["spec"]["configPatches"]:
            vhost = patch["match"].get("routeConfiguration", {}).get("vhost", {})
            if vhost.get("route", {}).get("name") == "not-found":
                checked = off - patch["patch"]["value"]["typed_per_filter_config"].keys()
                if checked:
                    yield f"{environment}: who asks for nothing is checked first by {', '.join(sorted(checked))}"


def _open_to_citizens(platform: Platform) -> None:
    platform.find("AuthorizationPolicy", "operators", "prod")["spec"]["rules"][0]["when"][0]["notValues"].append(
        "citizen"
    )


def _one_host_forgotten(platform: Platform) -> None:
    operation = platform.find("AuthorizationPolicy", "operators", "dev")["spec"]["rules"][0]["to"][0]["operation"]
    operation["notHosts"].append("grafana.*")


@checker(_open_to_citizens, _one_host_forgotten)
def pages_of_operators_are_for_operators(platform: Platform) -> Iterator[str]:
    wanted = {
        "action": "DENY",
        "selector": {"matchLabels": {"istio": "ingressgateway"}},
        "rules": [
            {
                "to": [{"operation": {"notHosts": ["api.*"]}}],
                "when": [{"key": "request.headers[x-user-role]", "notValues": ["operator"]}],
            }
        ],
    }
    for environment in ENVIRONMENTS:
        if platform.find("AuthorizationPolicy", "operators", environment)["spec"] != wanted:
            yield f"{environment}: not only operators see the pages of operators"


def _blank_page(platform: Platform) -> None:
    del platform.find("VirtualService", "kiali-vs", "prod")["spec"]["http"][0]["headers"]["response"]


@checker(_blank_page)
def pages_of_operators_have_a_policy_under_which_they_work(platform: Platform) -> Iterator[str]:
    """The gateway gives the policy of the API to whatever has none. `add` weakens no page's own: both hold."""
    for environment in ENVIRONMENTS:
        for name in OPERATORS:
            for route in _routes(platform, environment)[f"{name}-vs"]["http"]:
                added = route.get("headers", {}).get("response", {}).get("add", {})
                if added.get("content-security-policy") != "frame-ancestors 'self'":
                    yield f"{environment}: {name} gets the policy of the API, which shows no page"


def _fewer_retries(platform: Platform) -> None:
    platform.find("VirtualService", "rabbitmq-vs", "dev")["spec"]["http"][0]["retries"]["attempts"] = 1


@checker(_fewer_retries)
def the_page_of_the_broker_is_routed_as_documented(platform: Platform) -> Iterator[str]:
    retries = {"attempts": 3, "perTryTimeout": "10s", "retryOn": "connect-failure,reset,503"}
    for environment in ENVIRONMENTS:
        spec = _routes(platform, environment)["rabbitmq-vs"]
        (entry,) = spec["http"]
        if (entry["timeout"], entry["retries"], entry["match"]) != ("30s", retries, [{"uri": {"prefix": "/"}}]):
            yield f"{environment}: the route of the broker's page is {entry}"
        if spec["gateways"] != ["istio-system/eco2-gateway"]:
            yield f"{environment}: the broker's page is at {spec['gateways']}"


def _issuer_of_dev(platform: Platform) -> None:
    provider = _patch(platform, "prod", "edge-jwt")["typed_config"]["providers"]["eco2"]
    provider["issuer"] = "api.dev.growbin.app/api/v1/auth"


def _stranger_origin(platform: Platform) -> None:
    policy = _patch(platform, "prod", "edge-cors")["typed_per_filter_config"]["eco2.cors"]
    policy["allow_origin_string_match"].append({"exact": "https://example.org"})


def _early_origin_of_dev(platform: Platform) -> None:
    mappers = _patch(platform, "prod", "edge-early-answers")["typed_config"]["local_reply_config"]["mappers"]
    header = mappers[2]["headers_to_add"][0]["header"]
    header["value"] = header["value"].replace("growbin.app", "dev.growbin.app")


def _spoofed_address(platform: Platform) -> None:
    _patch(platform, "staging", "edge-address")["typed_config"]["xff_num_trusted_hops"] = 2


def _cookie_for_another_site(platform: Platform) -> None:
    for item in of_kind(platform, "prod", "ConfigMap"):
        if "ECO2_COOKIE_DOMAIN" in item.get("data", {}):
            item["data"]["ECO2_COOKIE_DOMAIN"] = "dev.growbin.app"


def _patch(platform: Platform, environment: str, name: str) -> Any:
    return platform.find("EnvoyFilter", name, environment)["spec"]["configPatches"][0]["patch"]["value"]


@checker(_issuer_of_dev, _stranger_origin, _early_origin_of_dev, _spoofed_address, _cookie_for_another_site)
def the_gateway_and_the_services_mean_the_same_site(platform: Platform) -> Iterator[str]:
    for environment, site in SITES.items():
        settings = given(platform, environment, deployments(platform, environment)["auth-api"]).plain
        issuer = _patch(platform, environment, "edge-jwt")["typed_config"]["providers"]["eco2"]["issuer"]
        cors = _patch(platform, environment, "edge-cors")["typed_per_filter_config"]["eco2.cors"]
        origins = [row["exact"] for row in cors["allow_origin_string_match"]]
        early = json.dumps(_patch(platform, environment, "edge-early-answers"))
        hops = _patch(platform, environment, "edge-address")["typed_config"]["xff_num_trusted_hops"]
        facts = {
            "issuer": (issuer, settings["ECO2_ISSUER"]),
            "origins": (origins, json.loads(settings["ECO2_CORS_ORIGINS"])),
            "origins of early answers": (sorted(set(re.findall(r"https://[\w.-]+", early))), origins),
            "host": (f"https://api.{site}", settings["ECO2_PUBLIC_URL"]),
            "web app": (f"https://{site}", settings["ECO2_FRONTEND_URL"]),
            "domain of the cookies": (site, settings["ECO2_COOKIE_DOMAIN"]),
            "number of trusted proxies": (hops, 1),
        }
        for what, (there, here) in facts.items():
            if there != here:
                yield f"{environment}: {what}: {there} at the gateway, {here} at auth-api"


def _routed_metrics(platform: Platform) -> None:
    entry = platform.find("VirtualService", "scan-vs", "prod")["spec"]["http"][0]
    entry["match"].append({"uri": {"prefix": "/metrics"}})


def _routed_grpc(platform: Platform) -> None:
    entry = platform.find("VirtualService", "my-vs", "dev")["spec"]["http"][0]
    entry["match"].append({"uri": {"regex": "/eco2[.].*"}})


INNER = (
    "/metrics",
    "/health",
    "/ready",
    "/docs",
    "/eco2.users.v1.UsersService/GetUser",
    "/grpc.health.v1.Health/Check",
)


@checker(_routed_metrics, _routed_grpc)
def nothing_leads_from_outside_to_inner_paths(platform: Platform) -> Iterator[str]:
    for environment, site in SITES.items():
        for name, spec in _routes(platform, environment).items():
            if spec["hosts"] != [f"api.{site}"]:
                continue
            for entry in spec["http"]:
                paths = [path for path in INNER if any(_takes(match["uri"], path) for match in entry["match"])]
                if paths and entry["name"] != "not-found":
                    yield f"{environment}: {name} routes {paths}"


def _takes(rule: dict[str, str], path: str) -> bool:
    ((how, text),) = rule.items()
    if how == "regex":
        return re.fullmatch(text, path) is not None
    return path == text if how == "exact" else path.startswith(text)


def _provider_moved(platform: Platform) -> None:
    platform.find("Service", "ext-authz", "prod")["spec"]["ports"][0]["port"] = 9000


@checker(_provider_moved)
def the_mesh_asks_ext_authz_where_it_listens(platform: Platform) -> Iterator[str]:
    provider = envoy._provider(envoy.load())
    for environment in ENVIRONMENTS:
        ports = [row["port"] for row in platform.find("Service", "ext-authz", environment)["spec"]["ports"]]
        if provider["service"] != "ext-authz.auth.svc.cluster.local" or ports != [provider["port"]]:
            yield f"{environment}: the mesh asks {provider['service']}:{provider['port']}, ext-authz listens on {ports}"
        if provider["failOpen"]:
            yield "requests pass while ext-authz is away"


def _timeout_of_nothing(platform: Platform) -> None:
    platform.find("VirtualService", "sse-vs", "prod")["spec"]["http"][0]["timeout"] = "0s"


@checker(_timeout_of_nothing)
def no_route_has_a_timeout_that_the_mesh_refuses(platform: Platform) -> Iterator[str]:
    """Its definitions take nothing below a millisecond; a route without the field has none."""
    for environment in ENVIRONMENTS:
        for _, item in platform.in_environment(environment):
            if item["kind"] == "VirtualService":
                for entry in item["spec"]["http"]:
                    if entry.get("timeout") in ("0s", "0"):
                        yield f"{environment}: {title(item)} has a timeout of 0 in {entry['name']}"
