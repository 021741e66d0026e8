"""Access to ports, by network policies and by the mesh, in each environment: exactly for those that need it."""

from collections.abc import Iterator, Mapping
from hashlib import sha256

import orjson

from eco2.processes import SERVICES
from tests.deploy.checks import checker
from tests.deploy.fleet import IMPORT, MIGRATIONS, Pod, deployments, given, of_kind, pods, variables_of
from tests.deploy.platform import ENVIRONMENTS, Platform
from tests.deploy.reach import Mesh, Network
from tools.manifests import settings_of

AMQP, MANAGEMENT, BROKER_METRICS, DISTRIBUTION, EPMD = 5672, 15672, 15692, 25672, 4369
POSTGRES, REDIS, SENTINEL = 5432, 6379, 26379
ARGO_CD, KIALI = 8080, 20001
HTTP, GRPC, SIDECAR_METRICS = 8000, 50051, 15020
STORES, BROKER = (POSTGRES, REDIS, SENTINEL), (AMQP, MANAGEMENT, BROKER_METRICS, DISTRIBUTION, EPMD)
BROKER_URLS = ("ECO2_BROKER_URL", "ECO2_TASKS_BROKER_URL", "ECO2_CHAT_BROKER_URL")
ONCE = {MIGRATIONS, IMPORT}
LOOSE = {"stranger-in-scan"}
"""Further callers in dev: Pods started by hand in a namespace of the platform may use the data stores."""


def _readers(*variables: str) -> set[str]:
    return {row.name for row in SERVICES if variables_of(row) & set(variables)}


def _expected(environment: str) -> Mapping[tuple[str, int], set[str]]:
    loose = LOOSE | _services() if environment == "dev" else set()
    stores = {"data-operator"}
    return {
        ("eco2-rabbitmq", AMQP): _readers(*BROKER_URLS) | {"eco2-rabbitmq"},
        ("eco2-rabbitmq", MANAGEMENT): {"gateway", "keda", "prometheus", "topology-operator"},
        ("eco2-rabbitmq", BROKER_METRICS): {"prometheus"},
        ("eco2-rabbitmq", DISTRIBUTION): {"eco2-rabbitmq"},
        ("eco2-rabbitmq", EPMD): {"eco2-rabbitmq"},
        ("argocd-server", ARGO_CD): {"gateway"},
        ("kiali", KIALI): {"gateway"},
        ("postgres", POSTGRES): _readers("ECO2_DATABASE_URL") | stores | loose | {"postgres", *ONCE},
        **{
            ("redis", port): _readers("ECO2_REDIS_STREAMS_URL", "ECO2_REDIS_CACHE_URL") | stores | loose | {"redis"}
            for port in (REDIS, SENTINEL)
        },
        **{(row.name, SIDECAR_METRICS): {"prometheus"} for row in SERVICES},
        **{(row.name, GRPC): _callers(row.name) for row in SERVICES},
        **{
            (row.name, HTTP): {"gateway"} if row.service and row.kind not in ("grpc", "worker") else set()
            for row in SERVICES
        },
    }


def _services() -> set[str]:
    """All that runs in namespaces of processes."""
    return {row.name for row in SERVICES} | ONCE


def _callers(target: str) -> set[str]:
    """Processes with the address of its gRPC among their settings; the gateway asks ext-authz."""
    setting = f"grpc_{target.replace('-', '_')}"
    return {row.name for row in SERVICES if setting in settings_of(row).model_fields} | (
        {"gateway"} if target == "ext-authz" else set()
    )


def _open(platform: Platform) -> None:
    policy = platform.find("NetworkPolicy", "allow-rabbitmq-access", "prod")
    policy["spec"]["ingress"][0]["from"].append({"namespaceSelector": {}})


def _whole_namespace(platform: Platform) -> None:
    for item in of_kind(platform, "prod", "NetworkPolicy"):
        if (item["metadata"]["namespace"], item["metadata"]["name"]) == ("postgres", "allow-clients"):
            del item["spec"]["ingress"][0]["from"][0]["podSelector"]


def _no_default(platform: Platform) -> None:
    for objects in platform.builds.values():
        objects[:] = [
            item
            for item in objects
            if (item["kind"], item["metadata"].get("namespace")) != ("NetworkPolicy", "redis")
            or item["metadata"]["name"] != "default-deny"
        ]
    for item in of_kind(platform, "prod", "NetworkPolicy"):
        if item["metadata"]["namespace"] == "redis":
            item["spec"]["policyTypes"] = ["Egress"]


def _locked_out(platform: Platform) -> None:
    labels = platform.find("Deployment", "scan-worker", "prod")["spec"]["template"]["metadata"]["labels"]
    del labels["reaches-postgres"]


def _anybody_calls(platform: Platform) -> None:
    policy = platform.find("AuthorizationPolicy", "my-api-grpc", "staging")
    policy["spec"]["rules"][0]["from"][0]["source"]["principals"] = ["cluster.local/ns/*"]


def _caller_forgotten(platform: Platform) -> None:
    policy = platform.find("AuthorizationPolicy", "scan-api-grpc", "prod")
    policy["spec"]["rules"] = policy["spec"]["rules"][:1]


def _mesh_allows(platform: Platform) -> None:
    spec = platform.find("AuthorizationPolicy", "broker", "dev")["spec"]
    spec["rules"].append({})


def _management_for_all(platform: Platform) -> None:
    policy = platform.find("NetworkPolicy", "allow-rabbitmq-access", "dev")
    del policy["spec"]["ingress"][1]["from"]


def _operators_pages_for_all(platform: Platform) -> None:
    for item in of_kind(platform, "prod", "NetworkPolicy"):
        if item["metadata"]["namespace"] in ("argocd", "istio-system"):
            item["spec"]["podSelector"] = {"matchLabels": {"app": "nobody"}}


@checker(
    _operators_pages_for_all,
    _open,
    _whole_namespace,
    _no_default,
    _locked_out,
    _anybody_calls,
    _caller_forgotten,
    _mesh_allows,
    _management_for_all,
)
def ports_are_reached_by_those_who_need_them(platform: Platform) -> Iterator[str]:
    """Both walls together, then each by itself, so that neither hides a hole in the other."""
    for environment in ENVIRONMENTS:
        kinds = ("AuthorizationPolicy", "NetworkPolicy", "Namespace", "Deployment", "Job", "CronJob")
        facts = orjson.dumps([environment, *of_kind(platform, environment, *kinds)], option=orjson.OPT_SORT_KEYS)
        key = sha256(facts).digest()
        if key not in _known:
            _known[key] = list(_reachable(platform, environment))
        yield from _known[key]


_known: dict[bytes, list[str]] = {}
"""Findings by what they follow from: a broken fixture changes one environment, the others are known."""


def _reachable(platform: Platform, environment: str) -> Iterator[str]:
    everybody = pods(platform, environment)
    network, mesh = Network(platform, environment), Mesh(platform, environment)
    for (name, port), wanted in _expected(environment).items():
        target = everybody.get(name)
        if target is None:
            continue
        sources, where = everybody.values(), f"{environment}: {name}:{port}"
        found = {pod.name for pod in sources if _reaches(network, mesh, pod, target, port)}
        yield from _differences(where, found, wanted)
        if port in (*STORES, *BROKER):
            found = {pod.name for pod in sources if network.lets_in(pod, target, port)}
            beside = _users_spaces(everybody) if (environment, port) == ("dev", AMQP) else set()
            yield from _differences(f"{where}, by network policies alone", found, wanted | beside)
        if port in (AMQP, HTTP, GRPC):
            found = {pod.name for pod in sources if _meshed(mesh, pod, target, port)}
            yield from _differences(f"{where}, by the mesh alone", found, wanted)


def _differences(where: str, found: set[str], wanted: set[str]) -> Iterator[str]:
    yield from (f"{where}: {who} is kept out" for who in sorted(wanted - found))
    yield from (f"{where}: {who} is let in" for who in sorted(found - wanted))


def _users_spaces(everybody: Mapping[str, Pod]) -> set[str]:
    """All Pods of the namespaces that have a user of the broker."""
    spaces = {everybody[name].namespace for name in _readers(*BROKER_URLS)}
    return {pod.name for pod in everybody.values() if pod.namespace in spaces}


def _reaches(network: Network, mesh: Mesh, source: Pod, target: Pod, port: int) -> bool:
    return network.lets(source, target, port) and _meshed(mesh, source, target, port)


def _meshed(mesh: Mesh, source: Pod, target: Pod, port: int) -> bool:
    # Sidecars leave these ports alone: the exporter is theirs, the others are excluded from them.
    if port in (SIDECAR_METRICS, DISTRIBUTION, EPMD) or not mesh.has(target):
        return True
    return any(mesh.lets(source, target, port, path) for path in _paths(target, port))


def _paths(target: Pod, port: int) -> list[str]:
    if port != GRPC:
        return ["/api/v1/x"]
    return [f"/{service}/Any" for service in GRPC_SERVICES] + ["/envoy.service.auth.v3.Authorization/Check"]


GRPC_SERVICES = (
    "eco2.auth.v1.SessionService",
    "eco2.character.v1.CharacterService",
    "eco2.image.v1.ImageService",
    "eco2.jobs.v1.JobStateService",
    "eco2.location.v1.LocationService",
    "eco2.scan.v1.PreferencesService",
    "eco2.scan.v1.VisionService",
    "eco2.users.v1.UserDataService",
    "eco2.users.v1.UsersService",
)


def _to_the_internet(platform: Platform) -> None:
    for item in of_kind(platform, "prod", "NetworkPolicy"):
        if item["metadata"]["name"] == "reach-internet":
            item["spec"]["podSelector"] = {}


def _no_way_out(platform: Platform) -> None:
    labels = platform.find("Deployment", "image-api", "staging")["spec"]["template"]["metadata"]["labels"]
    del labels["reaches-internet"]


def _import_without_files(platform: Platform) -> None:
    template = platform.find("CronJob", IMPORT, "prod")["spec"]["jobTemplate"]["spec"]["template"]
    del template["metadata"]["labels"]["reaches-internet"]


@checker(_to_the_internet, _no_way_out, _import_without_files)
def only_those_leave_the_cluster_who_call_somebody_there(platform: Platform) -> Iterator[str]:
    outside = _readers("ECO2_STORAGE_ENDPOINT", "ECO2_LLM_API_KEY", "ECO2_KAKAO_CLIENT_ID", "ECO2_KAKAO_REST_API_KEY")
    outside.add(IMPORT)
    for environment in ("staging", "prod"):
        network = Network(platform, environment)
        for name, pod in pods(platform, environment).items():
            if name in _services() and network.lets_out(pod) != (name in outside):
                yield f"{environment}: {name} {'cannot' if name in outside else 'can'} leave the cluster"


def _plaintext(platform: Platform) -> None:
    platform.find("PeerAuthentication", "default", "prod")["spec"]["mtls"]["mode"] = "PERMISSIVE"


def _plaintext_for_a_port(platform: Platform) -> None:
    platform.find("PeerAuthentication", "broker", "prod")["spec"]["portLevelMtls"]["5672"] = {"mode": "PERMISSIVE"}


def _allowed_by_default(platform: Platform) -> None:
    platform.find("AuthorizationPolicy", "allow-nothing", "staging")["spec"] = {"rules": [{}]}


def _not_injected(platform: Platform) -> None:
    platform.find("Namespace", "scan", "prod")["metadata"]["labels"]["istio-injection"] = "disabled"


@checker(_plaintext, _plaintext_for_a_port, _allowed_by_default, _not_injected)
def the_mesh_is_strict(platform: Platform) -> Iterator[str]:
    plain = {str(MANAGEMENT), str(BROKER_METRICS)}
    for environment in ENVIRONMENTS:
        for item in of_kind(platform, environment, "PeerAuthentication"):
            spec = item["spec"]
            if spec["mtls"] != {"mode": "STRICT"} or spec.get("portLevelMtls", {}).keys() - plain:
                yield f"{environment}: PeerAuthentication {item['metadata']['name']} lets plain text in"
        if platform.find("AuthorizationPolicy", "allow-nothing", environment)["spec"]:
            yield f"{environment}: what no policy mentions is allowed"
        mesh, everybody = Mesh(platform, environment), pods(platform, environment)
        for row in SERVICES:
            if row.name in everybody and not mesh.has(everybody[row.name]):
                yield f"{environment}: {row.name} has no sidecar"


def _metrics_for_the_gateway(platform: Platform) -> None:
    for item in of_kind(platform, "prod", "AuthorizationPolicy"):
        if item["metadata"]["name"] == "http":
            del item["spec"]["rules"][0]["to"][0]["operation"]["notPaths"]


@checker(_metrics_for_the_gateway)
def pages_for_operators_of_a_service_are_closed_to_the_gateway(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        mesh, everybody = Mesh(platform, environment), pods(platform, environment)
        for row in SERVICES:
            for path in ("/metrics", "/health", "/ready"):
                if row.name in everybody and mesh.lets(everybody["gateway"], everybody[row.name], HTTP, path):
                    yield f"{environment}: the gateway can ask {row.name} for {path}"


def _unknown_to_its_sidecar(platform: Platform) -> None:
    for item in of_kind(platform, "prod", "Sidecar"):
        if item["metadata"]["namespace"] == "sse":
            item["spec"]["egress"][0]["hosts"].remove("scan/*")


def _old_address(platform: Platform) -> None:
    for item in of_kind(platform, "staging", "ConfigMap"):
        if "ECO2_GRPC_MY_API" in item.get("data", {}):
            item["data"]["ECO2_GRPC_MY_API"] = "my-api.users.svc.cluster.local:50051"


@checker(_unknown_to_its_sidecar, _old_address)
def callers_know_the_services_that_they_call(platform: Platform) -> Iterator[str]:
    """A sidecar that does not know a host passes the call on in plain text, which nobody answers."""
    for environment in ENVIRONMENTS:
        hosts = {
            item["metadata"]["namespace"]: item["spec"]["egress"][0]["hosts"]
            for item in of_kind(platform, environment, "Sidecar")
        }
        everybody, items = pods(platform, environment), deployments(platform, environment)
        for target in SERVICES:
            for caller in _callers(target.name) & items.keys():
                space = everybody[caller].namespace
                variable = f"ECO2_GRPC_{target.name.upper().replace('-', '_')}"
                address = given(platform, environment, items[caller]).plain.get(variable)
                if address != f"{target.service}.svc.cluster.local:{GRPC}":
                    yield f"{environment}: {caller} calls {target.name} at {address}"
                if (
                    space != everybody[target.name].namespace
                    and f"{everybody[target.name].namespace}/*" not in hosts[space]
                ):
                    yield f"{environment}: sidecars of {space} do not know {target.name}"
