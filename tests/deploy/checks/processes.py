"""The table of processes and the manifests name the same processes, ports, queues and probes."""

from collections.abc import Iterator

from eco2.contracts.queues import vhost_of
from eco2.contracts.tasks import TASKS
from eco2.core.ops import OpsApp
from eco2.processes import SERVERS, SERVICES, Process
from eco2.release.services import name_of
from tests.deploy.checks import checker
from tests.deploy.fleet import IMAGE, IMPORT, MIGRATIONS, container, deployments, given, jobs, of_kind, rows, secrets
from tests.deploy.platform import ENVIRONMENTS, Object, Platform, title
from tools.manifests import settings_of

HTTP, GRPC = 8000, 50051
GATEWAY = "istio-ingressgateway"
DATABASE, WAIT = "postgres", ["eco2", "migrate", "--wait"]
COMMAND = ["eco2", "places", "import"]
TIERS = {"api": "business-logic", "grpc": "business-logic", "worker": "worker", "stream": "integration"}
SEEDED = {
    "chat-api.chat": {HTTP},
    "character-api.character": {GRPC},
    "location-api.location": {GRPC},
    "rabbitmq.rabbitmq": {5672, 15672},
}
"""The documented table of endpoints, as far as its Services are ours and their domains are built."""


def _missing_process(platform: Platform) -> None:
    folder = platform.builds["workloads/domains/scan/prod"]
    folder.remove(next(item for item in folder if title(item) == "Deployment scan/scan-sweeper"))


def _unknown_process(platform: Platform) -> None:
    platform.find("Deployment", "scan-sweeper", "dev")["metadata"]["name"] = "scan-sweeeper"


def _other_namespace(platform: Platform) -> None:
    platform.find("Deployment", "my-api", "staging")["metadata"]["namespace"] = "users"


@checker(_missing_process, _unknown_process, _other_namespace)
def every_process_is_deployed(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        found, known = deployments(platform, environment), rows()
        for name in known.keys() - found.keys():
            yield f"{environment}: process {name} has no Deployment: add workloads/domains/<domain>/base/{name}"
        for name in found.keys() - known.keys():
            yield f"{environment}: Deployment {name} is no process of eco2/processes.py"
        for name in found.keys() & known.keys():
            service, space = known[name].service, found[name]["metadata"]["namespace"]
            if service is not None and service != f"{name}.{space}":
                yield f"{environment}: {name} is in namespace {space}, but its host is {service}"


def _wrong_port(platform: Platform) -> None:
    platform.find("Service", "scan-api", "prod")["spec"]["ports"][0]["port"] = 8080


def _no_grpc(platform: Platform) -> None:
    ports = container(platform.find("Deployment", "character-api", "dev"))["ports"]
    ports.remove({"name": "grpc", "containerPort": GRPC})


def _other_selector(platform: Platform) -> None:
    platform.find("Service", "auth-api", "prod")["spec"]["selector"]["app.kubernetes.io/name"] = "ext-authz"


def _service_of_a_worker(platform: Platform) -> None:
    service = platform.find("Service", "scan-api", "prod")
    platform.builds["workloads/domains/scan/prod"].append(
        {**service, "metadata": {**service["metadata"], "name": "scan-sweeper"}}
    )


@checker(_wrong_port, _no_grpc, _other_selector, _service_of_a_worker)
def services_have_the_ports_of_the_table(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        services = {
            f"{item['metadata']['name']}.{item['metadata']['namespace']}": item
            for item in of_kind(platform, environment, "Service")
        }
        for row in SERVICES:
            wanted = _ports(row)
            item = deployments(platform, environment).get(row.name)
            declared = {port["containerPort"] for port in container(item)["ports"]} if item else set()
            if item and declared != wanted | {HTTP}:
                yield f"{environment}: {row.name} declares ports {sorted(declared)}"
            if row.service is None:
                yield from (
                    f"{environment}: nobody calls {row.name}, but it has a Service" for _ in _named(services, row)
                )
                continue
            service = services.get(row.service)
            if service is None:
                yield f"{environment}: {row.service} is no Service"
                continue
            if {port["port"] for port in service["spec"]["ports"]} != wanted:
                yield f"{environment}: Service {row.service} has other ports than {sorted(wanted)}"
            if service["spec"]["selector"] != {"app.kubernetes.io/name": row.name}:
                yield f"{environment}: Service {row.service} selects other Pods than {row.name}"
        known = {row.service for row in (*SERVICES, *SERVERS)} | {"rabbitmq.rabbitmq"}
        for host, ports in SEEDED.items():
            found = services.get(host, {"spec": {"ports": []}})["spec"]["ports"]
            if host in known and not ports <= {port["port"] for port in found}:
                yield f"{environment}: {host} does not have the ports {sorted(ports)}"


def _ports(row: Process) -> set[int]:
    """Of its Service: HTTP of a grpc process, and of a worker, is for probes and metrics."""
    http = set() if row.kind in ("grpc", "worker") else {HTTP}
    return http | ({GRPC} if row.grpc_port is not None else set())


def _named(services: dict[str, Object], row: Process) -> Iterator[str]:
    return (host for host in services if host.partition(".")[0] == row.name)


def _probe_of_nothing(platform: Platform) -> None:
    container(platform.find("Deployment", "scan-worker", "prod"))["readinessProbe"]["httpGet"]["path"] = "/readyz"


def _no_liveness(platform: Platform) -> None:
    del container(platform.find("Deployment", "my-api", "dev"))["livenessProbe"]


@checker(_probe_of_nothing, _no_liveness)
def probes_ask_what_the_process_answers(platform: Platform) -> Iterator[str]:
    wanted = {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready"}
    assert OpsApp.__doc__ is not None
    for environment in ENVIRONMENTS:
        for name, item in deployments(platform, environment).items():
            for probe, path in wanted.items():
                asked = container(item).get(probe, {}).get("httpGet", {})
                if asked != {"path": path, "port": "http"}:
                    yield f"{environment}: the {probe} of {name} asks {asked or 'nothing'}"


def _queue_of_another(platform: Platform) -> None:
    platform.find("ScaledObject", "scan-worker", "prod")["spec"]["triggers"][0]["metadata"]["queueName"] = "q.ai"


def _wrong_vhost(platform: Platform) -> None:
    platform.find("ScaledObject", "ai-worker", "prod")["spec"]["triggers"][0]["metadata"]["vhostName"] = "eco2"


def _scaler_of_nothing(platform: Platform) -> None:
    platform.find("HorizontalPodAutoscaler", "scan-api", "prod")["spec"]["scaleTargetRef"]["name"] = "process"


def _one_hundred_replicas(platform: Platform) -> None:
    platform.find("HorizontalPodAutoscaler", "my-api", "staging")["spec"]["maxReplicas"] = 100


def _nobody_to_ask_as(platform: Platform) -> None:
    platform.find("ClusterTriggerAuthentication", "broker", "prod")["spec"]["secretTargetRef"][0]["name"] = "keda"


@checker(_queue_of_another, _wrong_vhost, _scaler_of_nothing, _one_hundred_replicas, _nobody_to_ask_as)
def workers_scale_by_their_queues_and_services_by_their_cpu(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        scaled = {
            (item["kind"], item["spec"]["scaleTargetRef"]["name"]): item
            for item in of_kind(platform, environment, "ScaledObject", "HorizontalPodAutoscaler")
        }
        for row in SERVICES:
            keda, hpa = (
                scaled.pop(("ScaledObject", row.name), None),
                scaled.pop(("HorizontalPodAutoscaler", row.name), None),
            )
            if environment == "dev":
                yield from (f"dev: {row.name} scales by itself" for _ in filter(None, (keda, hpa)))
                continue
            triggers = keda["spec"]["triggers"] if keda else []
            queues = {(row["metadata"]["vhostName"], row["metadata"]["queueName"]) for row in triggers}
            if queues != {(vhost_of(queue), queue) for queue in row.queues}:
                yield f"{environment}: {row.name} scales by {sorted(queues)}, but consumes {row.queues}"
            if (hpa is None) != (row.kind == "worker"):
                yield f"{environment}: {row.name} has {'no' if hpa is None else 'a'} HorizontalPodAutoscaler"
            if hpa and (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"], _utilisation(hpa)) != (2, 10, 70):
                yield f"{environment}: {row.name} does not scale from 2 to 10 replicas at 70 % of its CPU"
        scaled.pop(("HorizontalPodAutoscaler", GATEWAY), None)
        yield from (f"{environment}: {kind} of {name}, which is no process" for kind, name in scaled)
        (asked,) = platform.find("ClusterTriggerAuthentication", "broker", environment)["spec"]["secretTargetRef"]
        if asked["key"] not in (secrets(platform, environment).get(("keda", asked["name"])) or {}):
            yield f"{environment}: KEDA reads the Secret {asked['name']}, which is not in its namespace"


def _utilisation(hpa: Object) -> int:
    (metric,) = hpa["spec"]["metrics"]
    return int(metric["containerResource"]["target"]["averageUtilization"])


def _short_grace(platform: Platform) -> None:
    platform.find("Deployment", "batch-worker", "prod")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = (
        600
    )


def _grace_of_the_stage(platform: Platform) -> None:
    platform.find("Deployment", "scan-worker", "dev")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 60


@checker(_short_grace, _grace_of_the_stage)
def a_pod_is_given_the_time_that_its_work_takes(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        for name, item in deployments(platform, environment).items():
            if name not in rows():
                continue
            row, spec = rows()[name], item["spec"]["template"]["spec"]
            fields = settings_of(row).model_fields
            grace = float(given(platform, environment, item).plain.get("ECO2_SHUTDOWN_GRACE", 0))
            grace = grace or fields["shutdown_grace"].default.total_seconds()
            tasks = [task.seconds for task in TASKS.values() if task.queue in row.queues]
            stage = [fields["stage_timeout"].default.total_seconds()] if "stage_timeout" in fields else []
            if stage and grace <= stage[0]:
                yield f"{environment}: {name} cuts a stage off after {grace:g} s"
            waits = container(item).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            longest = waits + max(grace, *tasks, 0)
            if spec["terminationGracePeriodSeconds"] <= longest:
                killed = spec["terminationGracePeriodSeconds"]
                yield f"{environment}: {name} is killed after {killed} s, its work takes {longest:g}"


def _no_domain_label(platform: Platform) -> None:
    del platform.find("Service", "scan-api", "prod")["metadata"]["labels"]["domain"]


def _tier_of_another(platform: Platform) -> None:
    labels = platform.find("Deployment", "scan-worker", "prod")["spec"]["template"]["metadata"]["labels"]
    labels["tier"] = "business-logic"


def _environment_of_another(platform: Platform) -> None:
    folder = platform.builds["workloads/domains/scan/prod"]
    settings = next(item for item in folder if item["kind"] == "ConfigMap")
    settings["metadata"]["labels"]["environment"] = "dev"


@checker(_no_domain_label, _tier_of_another, _environment_of_another)
def what_runs_is_found_by_its_labels(platform: Platform) -> Iterator[str]:
    """The scripts of operators select Pods, Services and ConfigMaps by them."""
    for environment in ENVIRONMENTS:
        for folder, item in platform.in_environment(environment):
            if not folder.startswith(("workloads/domains/", "workloads/migrations/")):
                continue
            wanted = {"app.kubernetes.io/part-of": "ecoeco-backend", "environment": environment}
            wanted["domain"] = item["metadata"]["namespace"]
            labels = [item["metadata"]["labels"]]
            made = item["spec"]["jobTemplate"] if item["kind"] == "CronJob" else item
            if item["kind"] in ("Deployment", "Job", "CronJob"):
                labels.append(made["spec"]["template"]["metadata"]["labels"])
            for found in labels:
                tierless = "tier" not in found and item["kind"] in ("Service", "ConfigMap")
                if tierless or not wanted.items() <= found.items():
                    yield f"{folder}: {title(item)} is labelled {found}"
            row = rows().get(item["metadata"]["name"])
            if row and item["kind"] == "Deployment" and any(found["tier"] != TIERS[row.kind] for found in labels):
                yield f"{folder}: {title(item)} is of tier {TIERS[row.kind]}"


def _root(platform: Platform) -> None:
    platform.find("Deployment", "scan-worker", "prod")["spec"]["template"]["spec"]["securityContext"]["runAsUser"] = 0


def _writable(platform: Platform) -> None:
    container(platform.find("Deployment", "my-api", "prod"))["securityContext"]["readOnlyRootFilesystem"] = False


def _token(platform: Platform) -> None:
    platform.find("Deployment", "my-api", "prod")["spec"]["template"]["spec"]["automountServiceAccountToken"] = True


def _no_limit(platform: Platform) -> None:
    del container(platform.find("Deployment", "sse-gateway", "dev"))["resources"]["limits"]["memory"]


def _unprotected(platform: Platform) -> None:
    folder = platform.builds["workloads/domains/auth/prod"]
    folder.remove(next(item for item in folder if title(item) == "PodDisruptionBudget auth/ext-authz"))


def _import_as_root(platform: Platform) -> None:
    template = platform.find("CronJob", IMPORT, "prod")["spec"]["jobTemplate"]["spec"]["template"]
    del template["spec"]["securityContext"]["runAsUser"]


def _import_that_may_write(platform: Platform) -> None:
    template = platform.find("CronJob", IMPORT, "dev")["spec"]["jobTemplate"]
    container(template)["securityContext"]["readOnlyRootFilesystem"] = False


@checker(_root, _writable, _token, _no_limit, _unprotected, _import_as_root, _import_that_may_write)
def pods_are_restricted_and_spread(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        budgets = {
            (item["metadata"]["namespace"], item["spec"]["selector"]["matchLabels"].get("app.kubernetes.io/name"))
            for item in of_kind(platform, environment, "PodDisruptionBudget")
        }
        processes = deployments(platform, environment)
        for name, item in {**processes, **jobs(platform, environment)}.items():
            pod, own = item["spec"]["template"]["spec"], container(item)
            inner, outer = own.get("securityContext", {}), pod.get("securityContext", {})
            lasting = {
                "is an identity of its own": pod.get("serviceAccountName") == name,
                "has a PodDisruptionBudget": (item["metadata"]["namespace"], name) in budgets,
                "is spread over nodes": bool(pod.get("topologySpreadConstraints")),
            }
            wanted = {
                "runs as a user of its own": outer.get("runAsNonRoot") is True and outer.get("runAsUser", 0) >= 10000,
                "is confined by seccomp": outer.get("seccompProfile") == {"type": "RuntimeDefault"},
                "gains nothing": inner.get("allowPrivilegeEscalation") is False,
                "has no capability": inner.get("capabilities") == {"drop": ["ALL"]},
                "writes nowhere but to its volumes": inner.get("readOnlyRootFilesystem") is True,
                "has no token": pod.get("automountServiceAccountToken") is False,
                "has requests and limits": {"cpu", "memory"}
                <= own["resources"].get("requests", {}).keys() & own["resources"].get("limits", {}).keys(),
                **(lasting if name in processes else {}),
            }
            yield from (f"{environment}: {name}: not true that it {what}" for what, held in wanted.items() if not held)


def _tag_of_dev(platform: Platform) -> None:
    container(platform.find("Deployment", "scan-api", "prod"))["image"] = f"{IMAGE}:scan-dev-0.1.0"


def _latest(platform: Platform) -> None:
    container(platform.find("Deployment", "my-api", "prod"))["image"] = f"{IMAGE}:my-prod-latest"


def _without_models(platform: Platform) -> None:
    container(platform.find("Deployment", "scan-worker", "staging"))["image"] = f"{IMAGE}:scan-staging-0.1.0"


def _import_of_another_release(platform: Platform) -> None:
    container(platform.find("CronJob", IMPORT, "prod")["spec"]["jobTemplate"])["image"] = f"{IMAGE}:jobs-prod-0.1.0"


@checker(_tag_of_dev, _latest, _without_models, _import_of_another_release)
def images_are_tagged_by_service_and_environment(platform: Platform) -> Iterator[str]:
    """The target of the image is that of the process. `latest` can change under a running Deployment."""
    targets = {row.name: row.image for row in SERVICES}
    for environment in ENVIRONMENTS:
        for name, item in {**deployments(platform, environment), **jobs(platform, environment)}.items():
            repository, _, tag = container(item)["image"].partition(":")
            domain = MIGRATIONS if name == MIGRATIONS else item["metadata"]["namespace"]
            start = f"{name_of(domain, targets.get(name, 'api'))}-{environment}"
            if repository != IMAGE or not tag.startswith(f"{start}-") or tag.endswith("-latest"):
                yield f"{environment}: {name} runs {container(item)['image']}, not {start}-…"


def _no_wait(platform: Platform) -> None:
    del platform.find("Deployment", "character-api", "prod")["spec"]["template"]["spec"]["initContainers"]


def _wait_for_another_release(platform: Platform) -> None:
    (schema,) = platform.find("Deployment", "my-api", "dev")["spec"]["template"]["spec"]["initContainers"]
    schema["image"] += "-old"


@checker(_no_wait, _wait_for_another_release)
def who_reads_the_database_waits_for_its_schema(platform: Platform) -> Iterator[str]:
    """The migrations and the roll-out of one commit begin together."""
    for environment in ENVIRONMENTS:
        for name, found in deployments(platform, environment).items():
            if {"secretRef": {"name": DATABASE}} not in container(found)["envFrom"]:
                continue
            release = container(found)["image"]
            first = found["spec"]["template"]["spec"].get("initContainers", [])
            if not any(one["command"][:3] == WAIT and one["image"] == release for one in first):
                yield f"{environment}: {name} begins before the migrations of its release ({' '.join(WAIT)})"


def _runs_by_itself(platform: Platform) -> None:
    platform.find("CronJob", IMPORT, "prod")["spec"]["suspend"] = False


def _goes_on_for_ever(platform: Platform) -> None:
    del platform.find("CronJob", IMPORT, "staging")["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"]


def _tried_again_for_ever(platform: Platform) -> None:
    platform.find("CronJob", IMPORT, "dev")["spec"]["jobTemplate"]["spec"]["backoffLimit"] = 100


def _refused_again_and_again(platform: Platform) -> None:
    platform.find("CronJob", IMPORT, "dev")["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"].pop()


def _never_cleaned_away(platform: Platform) -> None:
    del platform.find("CronJob", IMPORT, "prod")["spec"]["jobTemplate"]["spec"]["ttlSecondsAfterFinished"]


@checker(_runs_by_itself, _goes_on_for_ever, _tried_again_for_ever, _refused_again_and_again, _never_cleaned_away)
def an_import_is_made_by_hand_and_ends(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        spec = platform.find("CronJob", IMPORT, environment)["spec"]
        job = jobs(platform, environment)[IMPORT]["spec"]
        refused = [
            rule.get("onExitCodes", {}).get("values") for rule in job.get("podFailurePolicy", {}).get("rules", [])
        ]
        held = {
            "is suspended": spec.get("suspend") is True,
            "starts what imports": container(jobs(platform, environment)[IMPORT])["command"] == COMMAND,
            "has a deadline": 0 < job.get("activeDeadlineSeconds", 0) <= 3600,
            "is tried again a few times": job.get("backoffLimit", 6) <= 3,
            "ends when it is refused": [1, 2] in refused,
            "is cleaned away": job.get("ttlSecondsAfterFinished", 0) > 0,
        }
        yield from (f"{environment}: {IMPORT}: not true that it {what}" for what, true in held.items() if not true)
