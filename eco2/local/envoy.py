"""The edge of the local stack: the Envoy configuration that the mesh would derive from `workloads/routing`.

It follows the mesh in the features that these manifests use and refuses others, so that a route cannot work here and
mean something else in the cluster. Clusters have the mesh's names (`outbound|<port>||<host>`); EnvoyFilters use them.
"""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

Json = dict[str, Any]

ROUTING = Path(__file__).parents[2] / "workloads" / "routing"
DOMAINS = (
    "auth",
    "my",
    "images",
    "scan",
    "chat",
    "character",
    "recycling",
    "info",
    "location",
    "sse",
    "web",
    "gateway",
)
DEFAULT_BUCKET, DEFAULT_UPLOAD_BUCKET = "eco2-images", "eco2-uploads"
"""As the manifests name them."""
ADMIN_PATHS = ("/ready", "/stats", "/stats/prometheus")
"""Paths that its admin port answers: the rest, such as ending it, is open to every page that a browser shows."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Names under which it answers them: a page may point a name of its own at this machine, and read what comes back."""

_HTTP = "type.googleapis.com/envoy.extensions.filters.http"
_HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_PROTOCOL = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TRACER = "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig"
_SOON = {"tracing.opentelemetry.flush_interval_ms": 500, "tracing.opentelemetry.min_flush_spans": 100}
_CUSTOM_POLICY = "istio-ext-authz"
_SHADOW_PREFIX = "istio_ext_authz_"


def render(
    ports: Mapping[str, int | Sequence[int]],
    gateway_port: int,
    admin_port: int,
    admin_socket: str,
    object_store_port: int,
    bucket: str,
    cors_origins: Sequence[str],
    issuer: str,
    upload_bucket: str = DEFAULT_UPLOAD_BUCKET,
    trusted_proxies: int = 0,
    traces_port: int | None = None,
    hosts: Sequence[str] = (),
) -> str:
    """Envoy's bootstrap as YAML.

    `hosts` are names of the API besides those of the loopback; any other host is not found. `ports` maps a service
    (`scan-api.scan`) to its local port or ports, ext-authz to its gRPC port; the routes of a service that is missing
    answer 503. With `traces_port` every request begins a trace, which is sent there. The admin interface itself is the
    socket; the port leads to a part of it.
    """
    manifests = load(bucket, upload_bucket)
    _fill_in(manifests, cors_origins, issuer, trusted_proxies)
    provider = _provider(manifests)
    known = {"object-store.storage": object_store_port, **ports}
    virtual_host = {"name": "edge", "domains": _domains(hosts), "routes": _routes(manifests)}
    manager = _connection_manager(virtual_host, _stock_filters(manifests, provider))
    for patch in _patches(manifests):
        _apply(patch, manager, virtual_host)
    manager["route_config"]["virtual_hosts"].append(_elsewhere(virtual_host))
    rule = _one(manifests, "DestinationRule")["spec"]["trafficPolicy"]["connectionPool"]
    authz = (provider["service"], provider["port"])
    backends = {row for row in (*_destinations(manifests), authz) if not row[0].endswith(".invalid")}
    clusters = [_cluster(host, port, known, rule, http2=(host, port) == authz) for host, port in sorted(backends)]
    clusters.append(_admin_cluster(admin_socket))
    more: Json = {}
    if traces_port is not None:
        manager["tracing"] = _tracing(traces_port)
        clusters.append(_traces_cluster(traces_port))
        more = {"layered_runtime": {"layers": [{"name": "static", "static_layer": _SOON}]}}
    listeners = [_listener("edge", gateway_port, manager), _listener("admin", admin_port, _admin_manager(admin_port))]
    bootstrap = {
        "admin": {
            "address": {"pipe": {"path": admin_socket, "mode": 0o600}},
            "allow_paths": [{"exact": path} for path in ADMIN_PATHS],
        },
        "static_resources": {"listeners": listeners, "clusters": clusters},
        **more,
    }
    return yaml.safe_dump(bootstrap, sort_keys=False, allow_unicode=True)


def load(bucket: str = DEFAULT_BUCKET, upload_bucket: str = DEFAULT_UPLOAD_BUCKET) -> list[Json]:
    """Every manifest of the bases, and the values of the mesh."""
    files = [path for domain in DOMAINS for path in sorted((ROUTING / domain / "base").glob("*.yaml"))]
    files.append(ROUTING / "gateway" / "istiod-values.yaml")
    renamed = {f"/{DEFAULT_BUCKET}/": f"/{bucket}/", f"/{DEFAULT_UPLOAD_BUCKET}/": f"/{upload_bucket}/"}
    texts = [_replaced(path.read_text(encoding="utf-8"), renamed) for path in files]
    found = [doc for text in texts for doc in yaml.safe_load_all(text)]
    return [doc for doc in found if doc.get("kind") != "Kustomization"]


def _replaced(text: str, names: Mapping[str, str]) -> str:
    for known, name in names.items():
        text = text.replace(known, name)
    return text


def _of_kind(manifests: Sequence[Json], kind: str) -> list[Json]:
    return [doc for doc in manifests if doc.get("kind") == kind]


def _one(manifests: Sequence[Json], kind: str) -> Json:
    (found,) = _of_kind(manifests, kind)
    return found


def _fill_in(manifests: Sequence[Json], cors_origins: Sequence[str], issuer: str, trusted_proxies: int) -> None:
    """Set what an overlay of the cluster sets: the origins, the issuer, and what stands in front of the edge."""
    filters = {doc["metadata"]["name"]: doc["spec"]["configPatches"] for doc in _of_kind(manifests, "EnvoyFilter")}
    cors = filters["edge-cors"][0]["patch"]["value"]["typed_per_filter_config"]["eco2.cors"]
    cors["allow_origin_string_match"] = [{"exact": origin} for origin in cors_origins]
    early = filters["edge-early-answers"][0]["patch"]["value"]["typed_config"]["local_reply_config"]["mappers"]
    for headers in [row["headers_to_add"] for row in early if "headers_to_add" in row]:
        headers[0]["header"]["value"] = _allowed_origin(cors_origins)
    filters["edge-jwt"][0]["patch"]["value"]["typed_config"]["providers"]["eco2"]["issuer"] = issuer
    filters["edge-address"][0]["patch"]["value"]["typed_config"]["xff_num_trusted_hops"] = trusted_proxies


def _allowed_origin(origins: Sequence[str]) -> str:
    """The request's origin where it is one of these; the first of them where the request was not read so far."""
    known = ", ".join(f"'{origin}'" for origin in origins)
    first = origins[0] if origins else ""
    asked = "'origin' in request.headers"
    allowed = f"{asked} && request.headers['origin'] in [{known}]"
    return f"%CEL({allowed} ? request.headers['origin'] : {asked} ? '' : '{first}')%"


def _provider(manifests: Sequence[Json]) -> Json:
    """The external authorisation that the CUSTOM policy names: service, port, timeout, failOpen, statusOnError."""
    (mesh,) = (doc["meshConfig"] for doc in manifests if "meshConfig" in doc)
    wanted = _one(manifests, "AuthorizationPolicy")["spec"]["provider"]["name"]
    (found,) = (row["envoyExtAuthzGrpc"] for row in mesh["extensionProviders"] if row["name"] == wanted)
    return dict(found)


# Routes


def _routes(manifests: Sequence[Json]) -> list[Json]:
    """The routes of all VirtualServices in file order; a bare catch-all comes last, as in the mesh."""
    entries = [entry for doc in _of_kind(manifests, "VirtualService") for entry in doc["spec"]["http"]]
    pairs = [(match, entry) for entry in entries for match in entry["match"]]
    pairs.sort(key=lambda pair: pair[0] == {"uri": {"prefix": "/"}})
    return [_route(match, entry) for match, entry in pairs]


_HEADER_CHANGES = {("request", "remove"), ("response", "set")}


def _route(match: Json, entry: Json) -> Json:
    route: Json = {"name": entry["name"], "match": _match(match)}
    answer = entry.get("directResponse")
    if answer:
        body = {"body": {"inline_string": answer["body"]["string"]}} if "body" in answer else {}
        route["direct_response"] = {"status": answer["status"], **body}
    else:
        route["route"] = _forward(entry)
    headers = entry.get("headers", {})
    unknown = {(way, what) for way in headers for what in headers[way]} - _HEADER_CHANGES
    if unknown:
        raise ValueError(f"route changes headers by {sorted(unknown)}, which the local edge does not know")
    if "request" in headers:
        route["request_headers_to_remove"] = headers["request"]["remove"]
    for name, value in headers.get("response", {}).get("set", {}).items():
        header = {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        route.setdefault("response_headers_to_add", []).append(header)
    return route


def _match(match: Json) -> Json:
    unknown = match.keys() - {"uri", "method", "headers"}
    if unknown:
        raise ValueError(f"route matches on {sorted(unknown)}, which the local edge does not know")
    ((how, value),) = match["uri"].items()
    path = {"exact": {"path": value}, "prefix": {"prefix": value}, "regex": {"safe_regex": {"regex": value}}}[how]
    headers = [_header_match(name, rule) for name, rule in match.get("headers", {}).items()]
    if "method" in match:
        headers.append(_header_match(":method", match["method"]))
    return {**path, **({"headers": headers} if headers else {})}


def _header_match(name: str, rule: Json) -> Json:
    if not rule:
        return {"name": name, "present_match": True}
    ((how, value),) = rule.items()
    match = {"exact": {"exact": value}, "prefix": {"prefix": value}, "regex": {"safe_regex": {"regex": value}}}
    return {"name": name, "string_match": match[how]}


def _forward(entry: Json) -> Json:
    (target,) = _taken(entry)
    action = {
        "cluster": _cluster_name(target["destination"]["host"], target["destination"]["port"]["number"]),
        # The mesh sets none by itself, and takes no 0s; Envoy's own default is 15 s.
        "timeout": entry.get("timeout", "0s"),
    }
    retries = entry["retries"]
    if retries["attempts"]:
        action["retry_policy"] = _retry_policy(retries)
    return action


def _taken(entry: Json) -> list[Json]:
    """Destinations that get requests. One of weight 0 waits for a new release, which never runs here."""
    return [target for target in entry.get("route", ()) if target.get("weight", 100)]


def _retry_policy(retries: Json) -> Json:
    """The mesh takes status codes among the words of `retryOn`; Envoy has a list of its own for them."""
    words = retries["retryOn"].split(",")
    codes = [int(word) for word in words if word.isdigit()]
    names = [word for word in words if not word.isdigit()] + (["retriable-status-codes"] if codes else [])
    return {
        "retry_on": ",".join(names),
        "retriable_status_codes": codes,
        "num_retries": retries["attempts"],
        "per_try_timeout": retries["perTryTimeout"],
    }


# Filters


def _stock_filters(manifests: Sequence[Json], provider: Json) -> list[Json]:
    """The HTTP filters before any EnvoyFilter. A CUSTOM policy is a rule that marks requests, then a check of those."""
    policy = _one(manifests, "AuthorizationPolicy")
    return [
        _filter("envoy.filters.http.rbac", "rbac.v3.RBAC", _marking_rules(policy)),
        _filter("envoy.filters.http.ext_authz", "ext_authz.v3.ExtAuthz", _check(provider)),
        _filter("envoy.filters.http.router", "router.v3.Router", {}),
    ]


def _filter(name: str, kind: str, config: Json) -> Json:
    return {"name": name, "typed_config": {"@type": f"{_HTTP}.{kind}", **config}}


def _marking_rules(policy: Json) -> Json:
    policies = {}
    for number, rule in enumerate(policy["spec"]["rules"]):
        ((operation,),) = (to.values() for to in rule["to"])
        if rule.keys() != {"to"} or operation.keys() != {"notPaths"}:
            raise ValueError(f"policy rule {number} says more than notPaths, which the local edge does not know")
        public = {"or_rules": {"rules": [_path_rule(pattern) for pattern in operation["notPaths"]]}}
        policies[f"{_CUSTOM_POLICY}-rule[{number}]"] = {
            "permissions": [{"not_rule": public}],
            "principals": [{"any": True}],
        }
    return {"shadow_rules_stat_prefix": _SHADOW_PREFIX, "shadow_rules": {"action": "ALLOW", "policies": policies}}


def _path_rule(pattern: str) -> Json:
    if not re.fullmatch(r"/[^*{}]*\*?", pattern):
        raise ValueError(f"path pattern {pattern!r}: the local edge knows exact paths and prefixes")
    match = {"prefix": pattern[:-1]} if pattern.endswith("*") else {"exact": pattern}
    return {"url_path": {"path": match}}


def _check(provider: Json) -> Json:
    cluster = _cluster_name(provider["service"], provider["port"])
    return {
        "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": cluster}, "timeout": provider["timeout"]},
        "failure_mode_allow": provider["failOpen"],
        "status_on_error": {"code": int(provider["statusOnError"])},
        "filter_enabled_metadata": {
            "filter": "envoy.filters.http.rbac",
            "path": [{"key": f"{_SHADOW_PREFIX}shadow_effective_policy_id"}],
            "value": {"string_match": {"prefix": _CUSTOM_POLICY}},
        },
    }


def _domains(hosts: Sequence[str]) -> list[str]:
    """Each name with any port and without one."""
    return [name for host in dict.fromkeys((*LOOPBACK, *hosts)) for name in (host, f"{host}:*")]


def _elsewhere(virtual_host: Json) -> Json:
    """Hosts that are not ours: every request is not found."""
    routes = [route for route in virtual_host["routes"] if route["name"] == "not-found"]
    return {**virtual_host, "name": "elsewhere", "domains": ["*"], "routes": routes}


def _patches(manifests: Sequence[Json]) -> list[Json]:
    filters = sorted(_of_kind(manifests, "EnvoyFilter"), key=lambda doc: int(doc["spec"]["priority"]))
    return [patch for doc in filters for patch in doc["spec"]["configPatches"]]


def _apply(patch: Json, manager: Json, virtual_host: Json) -> None:
    target, operation, value = patch["applyTo"], patch["patch"]["operation"], patch["patch"]["value"]
    if target == "HTTP_FILTER":
        _patch_filters(manager["http_filters"], patch["match"], operation, value)
    elif (target, operation) == ("NETWORK_FILTER", "MERGE"):
        _merge(manager, value["typed_config"])
    elif (target, operation) == ("VIRTUAL_HOST", "MERGE"):
        _merge(virtual_host, value)
    elif (target, operation) == ("HTTP_ROUTE", "MERGE"):
        wanted = patch["match"]["routeConfiguration"]["vhost"]["route"]
        for route in [route for route in virtual_host["routes"] if _is(route, wanted)]:
            _merge(route, deepcopy(value))
    else:
        raise ValueError(f"EnvoyFilter patch {target} {operation}, which the local edge does not know")


def _is(route: Json, wanted: Json) -> bool:
    if wanted == {"action": "ROUTE"}:
        return "route" in route
    if wanted.keys() != {"name"}:
        raise ValueError(f"EnvoyFilter patch of routes {wanted}, which the local edge does not know")
    return bool(route["name"] == wanted["name"])


def _patch_filters(filters: list[Json], match: Json, operation: str, value: Json) -> None:
    if operation == "INSERT_FIRST":
        filters.insert(0, value)
        return
    wanted = match["listener"]["filterChain"]["filter"]["subFilter"]["name"]
    (place,) = (index for index, row in enumerate(filters) if row["name"] == wanted)
    if operation == "INSERT_BEFORE":
        filters.insert(place, value)
    elif operation == "MERGE":
        _merge(filters[place], value)
    else:
        raise ValueError(f"EnvoyFilter patch HTTP_FILTER {operation}, which the local edge does not know")


def _merge(target: Json, value: Json) -> None:
    """Like a merge of protocol buffers: objects merge, lists grow, anything else is replaced."""
    for key, item in value.items():
        if isinstance(item, dict) and isinstance(target.get(key), dict):
            _merge(target[key], item)
        elif isinstance(item, list) and isinstance(target.get(key), list):
            target[key] = target[key] + item
        else:
            target[key] = item


# Listener and clusters


def _connection_manager(virtual_host: Json, filters: list[Json]) -> Json:
    return {
        "@type": _HCM,
        "stat_prefix": "edge",
        "access_log": [_access_log()],
        "http_filters": filters,
        "route_config": {"name": "edge", "virtual_hosts": [virtual_host], "validate_clusters": False},
    }


def _access_log() -> Json:
    """Paths without their query: it can carry signatures and sign-in codes."""
    line = {
        "time": "%START_TIME%",
        "logger": "edge",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "milliseconds": "%DURATION%",
        "route": "%ROUTE_NAME%",
        "request_id": "%REQ(X-REQUEST-ID)%",
    }
    return {
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {"json_format": line},
        },
    }


def _admin_manager(port: int) -> Json:
    """The few paths for programs on this machine; 403 under any other name."""
    lead = {"cluster": "admin"}
    routes = [{"match": {"path": path}, "route": lead} for path in ADMIN_PATHS]
    refuse = {"match": {"prefix": "/"}, "direct_response": {"status": 403}}
    here = {"name": "here", "domains": [name for host in LOOPBACK for name in (host, f"{host}:{port}")]}
    hosts = [{**here, "routes": [*routes, refuse]}, {"name": "elsewhere", "domains": ["*"], "routes": [refuse]}]
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_HTTP}.router.v3.Router"}}
    return {
        "@type": _HCM,
        "stat_prefix": "admin",
        "route_config": {"name": "admin", "virtual_hosts": hosts},
        "http_filters": [router],
    }


def _admin_cluster(socket: str) -> Json:
    endpoint = {"endpoint": {"address": {"pipe": {"path": socket}}}}
    load = {"cluster_name": "admin", "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": "admin", "type": "STATIC", "connect_timeout": "1s", "load_assignment": load}


def _tracing(port: int) -> Json:
    """As the mesh makes of a Telemetry resource: OpenTelemetry, every request."""
    target = {"uri": f"http://127.0.0.1:{port}/v1/traces", "cluster": "traces", "timeout": "1s"}
    config = {"@type": _TRACER, "http_service": {"http_uri": target}, "service_name": "gateway"}
    return {
        "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": config},
        "random_sampling": {"value": 100},
    }


def _traces_cluster(port: int) -> Json:
    load = {"cluster_name": "traces", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]}
    return {"name": "traces", "type": "STATIC", "connect_timeout": "1s", "load_assignment": load}


def _listener(name: str, port: int, manager: Json) -> Json:
    hcm = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {"name": name, "address": _address(port), "filter_chains": [{"filters": [hcm]}]}


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _destinations(manifests: Sequence[Json]) -> set[tuple[str, int]]:
    """Host and port of everything that a route leads to, or that the verification of tokens reads."""
    entries = [entry for doc in _of_kind(manifests, "VirtualService") for entry in doc["spec"]["http"]]
    targets = [target["destination"] for entry in entries for target in _taken(entry)]
    keys = [doc for doc in _of_kind(manifests, "EnvoyFilter") if doc["metadata"]["name"] == "edge-jwt"]
    provider = keys[0]["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]["providers"]["eco2"]
    uri = urlsplit(provider["remote_jwks"]["http_uri"]["uri"])
    return {(target["host"], target["port"]["number"]) for target in targets} | {(str(uri.hostname), uri.port or 80)}


def _cluster_name(host: str, port: int) -> str:
    return f"outbound|{port}||{host}"


def _cluster(host: str, port: int, known: Mapping[str, int | Sequence[int]], pool: Json, *, http2: bool) -> Json:
    local = known.get(host.removesuffix(".svc.cluster.local"), ())
    addresses = [_address(number) for number in ([local] if isinstance(local, int) else local)]
    keepalive = pool["tcp"]["tcpKeepalive"]
    return {
        "name": _cluster_name(host, port),
        "type": "STATIC",
        "connect_timeout": pool["tcp"]["connectTimeout"],
        "load_assignment": {
            "cluster_name": _cluster_name(host, port),
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": row}} for row in addresses]}],
        },
        "circuit_breakers": {"thresholds": [_thresholds(pool)]},
        "upstream_connection_options": {
            "tcp_keepalive": {
                "keepalive_time": int(keepalive["time"].removesuffix("s")),
                "keepalive_interval": int(keepalive["interval"].removesuffix("s")),
                "keepalive_probes": keepalive["probes"],
            }
        },
        "typed_extension_protocol_options": {_PROTOCOL: _protocol(pool, http2=http2)},
    }


def _thresholds(pool: Json) -> Json:
    return {
        "max_connections": pool["tcp"]["maxConnections"],
        "max_pending_requests": pool["http"]["http1MaxPendingRequests"],
        "max_requests": pool["http"]["http2MaxRequests"],
        "max_retries": pool["http"]["maxRetries"],
    }


def _protocol(pool: Json, *, http2: bool) -> Json:
    """HTTP/2 only towards gRPC; its connections stay open, they are kept alive by pings and not by use."""
    version: Json = {"http2_protocol_options": {}} if http2 else {"http_protocol_options": {}}
    common = {} if http2 else {"common_http_protocol_options": {"idle_timeout": pool["http"]["idleTimeout"]}}
    return {"@type": f"type.googleapis.com/{_PROTOCOL}", **common, "explicit_http_config": version}
