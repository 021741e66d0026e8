"""The broker: its topology as the contract has it, and a user with rights for each process that signs in."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from eco2.contracts import queues
from eco2.processes import SERVICES, Process
from tests.deploy.checks import checker
from tests.deploy.fleet import deployments, of_kind, rows, secrets, variables_of
from tests.deploy.platform import ENVIRONMENTS, Platform, title

TOPOLOGY = "workloads/rabbitmq/{}/topology"
SEEDED = Counter(Vhost=1, Exchange=5, Queue=10, Binding=10)
VHOSTS = {
    "ECO2_BROKER_URL": queues.VHOST,
    "ECO2_TASKS_BROKER_URL": queues.TASKS_VHOST,
    "ECO2_CHAT_BROKER_URL": queues.CHAT_VHOST,
}
LOOKS_ON = "keda"
"""Users that are no process."""
NODES = "eco2-rabbitmq-server"
"""Account of the broker itself, whose shovels connect to it."""


def _missing_binding(platform: Platform) -> None:
    platform.builds[TOPOLOGY.format("prod")].pop()


def _one_more_queue(platform: Platform) -> None:
    queue = platform.find("Queue", "scan-vision-queue", "staging")
    more = {**queue, "metadata": {**queue["metadata"], "name": "other"}, "spec": {**queue["spec"], "name": "other"}}
    platform.builds[TOPOLOGY.format("staging")].append(more)


def _no_dead_letters(platform: Platform) -> None:
    del platform.find("Queue", "scan-rule-queue", "prod")["spec"]["arguments"]["x-dead-letter-exchange"]


def _other_ttl(platform: Platform) -> None:
    platform.find("Queue", "reward-queue", "dev")["spec"]["arguments"]["x-message-ttl"] = 3600000


def _no_limit(platform: Platform) -> None:
    del platform.find("Queue", "scan-answer-queue", "prod")["spec"]["arguments"]["x-delivery-limit"]


def _classic(platform: Platform) -> None:
    platform.find("Queue", "celery-default-queue", "prod")["spec"]["type"] = "classic"


@checker(_missing_binding, _one_more_queue, _no_dead_letters, _other_ttl, _no_limit, _classic)
def vhost_eco2_is_the_26_resources_of_the_contract(platform: Platform) -> Iterator[str]:
    """The contract is declared on a live broker by tests/integration/test_topology.py."""
    for environment in ENVIRONMENTS:
        folder = platform.builds[TOPOLOGY.format(environment)]
        if Counter(item["kind"] for item in folder) != SEEDED:
            yield f"{environment}: {len(folder)} resources in {TOPOLOGY.format(environment)}"
        found = {kind: [item["spec"] for item in folder if item["kind"] == kind] for kind in SEEDED}
        wanted: dict[str, Any] = {
            "Vhost": [queues.VHOST],
            "Exchange": sorted(queues.EXCHANGES.items()),
            "Queue": sorted((name, "quorum", row.arguments) for name, row in queues.QUEUES.items()),
            "Binding": sorted((row.exchange, row.queue, row.routing_key) for row in queues.BINDINGS),
        }
        actual: dict[str, Any] = {
            "Vhost": [spec["name"] for spec in found["Vhost"]],
            "Exchange": sorted((spec["name"], spec["type"]) for spec in found["Exchange"]),
            "Queue": sorted((spec["name"], spec["type"], spec.get("arguments", {})) for spec in found["Queue"]),
            "Binding": sorted((spec["source"], spec["destination"], spec["routingKey"]) for spec in found["Binding"]),
        }
        for kind in wanted:
            yield from (f"{environment}: {kind} {row}" for row in _differences(wanted[kind], actual[kind]))


def _differences(wanted: list[Any], actual: list[Any]) -> Iterator[str]:
    yield from (f"{row} is missing" for row in wanted if row not in actual)
    yield from (f"{row} is not of the contract" for row in actual if row not in wanted)


TASKS_TOPOLOGY = "workloads/rabbitmq/{}/tasks-topology"


def _no_priority(platform: Platform) -> None:
    del platform.find("Queue", "q-ai", "prod")["spec"]["arguments"]["x-max-priority"]


def _other_key(platform: Platform) -> None:
    platform.find("Binding", "q-batch-binding", "dev")["spec"]["routingKey"] = "#"


def _quorum(platform: Platform) -> None:
    platform.find("Queue", "q-sched", "staging")["spec"]["type"] = "quorum"


@checker(_no_priority, _other_key, _quorum)
def vhost_tasks_has_the_queues_of_the_contract(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        folder = platform.builds[TASKS_TOPOLOGY.format(environment)]
        found = [item["spec"] for item in folder if item["kind"] == "Queue"]
        bound = [item["spec"] for item in folder if item["kind"] == "Binding"]
        yield from (
            f"{environment}: {spec['name']} is not in vhost tasks" for spec in found if spec["vhost"] != "tasks"
        )
        yield from _differences(
            [(row.name, "classic", row.arguments) for row in queues.TASK_QUEUES.values()],
            [(spec["name"], spec["type"], spec.get("arguments", {})) for spec in found],
        )
        yield from _differences(
            [(queues.TASKS_EXCHANGE, row.name, row.keys) for row in queues.TASK_QUEUES.values()],
            [(spec["source"], spec["destination"], spec["routingKey"]) for spec in bound],
        )


CHAT_TOPOLOGY = "workloads/rabbitmq/{}/chat-topology"


def _endless_chat(platform: Platform) -> None:
    del platform.find("Queue", "chat-process-queue", "prod")["spec"]["arguments"]["x-delivery-limit"]


def _chat_of_eco2(platform: Platform) -> None:
    platform.find("Queue", "dlq-chat-process", "dev")["spec"]["vhost"] = "eco2"


def _no_dead_letters_of_chats(platform: Platform) -> None:
    folder = platform.builds[CHAT_TOPOLOGY.format("staging")]
    folder.remove(next(item for item in folder if item["metadata"]["name"] == "dlq-chat-process-binding"))


@checker(_endless_chat, _chat_of_eco2, _no_dead_letters_of_chats)
def vhost_chat_has_the_queues_of_the_contract(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        folder = platform.builds[CHAT_TOPOLOGY.format(environment)]
        found = {kind: [item["spec"] for item in folder if item["kind"] == kind] for kind in SEEDED}
        yield from (
            f"{environment}: {spec['name']} is not in vhost chat"
            for kind in ("Exchange", "Queue")
            for spec in found[kind]
            if spec["vhost"] != queues.CHAT_VHOST
        )
        yield from _differences(
            sorted(queues.CHAT_EXCHANGES.items()), sorted((spec["name"], spec["type"]) for spec in found["Exchange"])
        )
        yield from _differences(
            [(row.name, "quorum", row.arguments) for row in queues.CHAT_QUEUES.values()],
            [(spec["name"], spec["type"], spec.get("arguments", {})) for spec in found["Queue"]],
        )
        yield from _differences(
            [(row.exchange, row.queue, row.routing_key) for row in queues.CHAT_BINDINGS],
            [(spec["source"], spec["destination"], spec["routingKey"]) for spec in found["Binding"]],
        )


def _no_user(platform: Platform) -> None:
    folder = platform.builds["workloads/rabbitmq/prod/users"]
    folder.remove(next(item for item in folder if title(item) == "User rabbitmq/my-api"))


def _right_in_another_vhost(platform: Platform) -> None:
    platform.find("Permission", "batch-worker-tasks", "prod")["spec"]["vhost"] = "eco2"


def _user_without_a_secret(platform: Platform) -> None:
    secret = platform.find("ClusterExternalSecret", "broker-scan-worker", "dev")["spec"]
    secret["namespaceSelectors"][0]["matchExpressions"][0]["values"] = ["scan"]


def _unknown_to_the_mesh(platform: Platform) -> None:
    policy = platform.find("AuthorizationPolicy", "broker", "staging")["spec"]["rules"][0]["from"][0]["source"]
    policy["principals"].remove("cluster.local/ns/jobs/sa/scheduler")


def _administrator(platform: Platform) -> None:
    platform.find("User", "scan-api", "prod")["spec"]["tags"] = ["administrator"]


@checker(_no_user, _right_in_another_vhost, _user_without_a_secret, _unknown_to_the_mesh, _administrator)
def every_process_of_the_broker_is_a_user_of_its_own(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        users = {item["metadata"]["name"]: item["spec"] for item in of_kind(platform, environment, "User")}
        rights = {
            (item["spec"]["userReference"]["name"], item["spec"]["vhost"])
            for item in of_kind(platform, environment, "Permission")
        }
        wanted = {(row.name, vhost) for row in SERVICES for vhost in _vhosts(row)}
        yield from (f"{environment}: {user} has no rights in vhost {vhost}" for user, vhost in wanted - rights)
        yield from (
            f"{environment}: {user} has rights in vhost {vhost} and never goes there"
            for user, vhost in rights - wanted
            if user != LOOKS_ON
        )
        (source,) = platform.find("AuthorizationPolicy", "broker", environment)["spec"]["rules"][0]["from"]
        mesh = {principal.rpartition("/")[2] for principal in source["source"]["principals"]} - {NODES}
        names = {user for user, _ in wanted}
        yield from (f"{environment}: {name} is no User" for name in names - users.keys())
        yield from (f"{environment}: the mesh and the broker do not both know {name}" for name in names ^ mesh)
        made = secrets(platform, environment)
        for name, spec in users.items():
            if spec.get("tags", []) != (["monitoring"] if name == LOOKS_ON else []):
                yield f"{environment}: user {name} has the tags {spec['tags']}"
            secret = spec["importCredentialsSecret"]["name"]
            item = deployments(platform, environment).get(name)
            spaces = ["rabbitmq", item["metadata"]["namespace"] if item else name]
            if any((made.get((space, secret)) or {}).get("username") != name for space in spaces):
                yield f"{environment}: Secret {secret} with the user {name} is not in {' and '.join(spaces)}"


def _vhosts(row: Process) -> list[str]:
    return [vhost for variable, vhost in VHOSTS.items() if variable in variables_of(row)]


def _reads_everything(platform: Platform) -> None:
    platform.find("Permission", "my-api-eco2", "prod")["spec"]["permissions"]["read"] = ".*"


def _cannot_consume(platform: Platform) -> None:
    platform.find("Permission", "ai-worker-tasks", "prod")["spec"]["permissions"]["read"] = "^q.api$"


def _half_a_pattern(platform: Platform) -> None:
    platform.find("Permission", "scan-api-eco2", "dev")["spec"]["permissions"]["write"] = "scan"


@checker(_reads_everything, _cannot_consume, _half_a_pattern)
def users_read_the_queues_they_consume_and_no_others(platform: Platform) -> Iterator[str]:
    everything = {
        queues.VHOST: set(queues.QUEUES),
        queues.TASKS_VHOST: set(queues.TASK_QUEUES),
        queues.CHAT_VHOST: set(queues.CHAT_QUEUES),
    }
    for environment in ENVIRONMENTS:
        for item in of_kind(platform, environment, "Permission"):
            spec = item["spec"]
            name, vhost = spec["userReference"]["name"], spec["vhost"]
            consumed = set(rows()[name].queues) if name in rows() else set()
            letters = {queue for queue in everything[vhost] if "dlq" in queue} if name == "scheduler" else set()
            readable = {queue for queue in everything[vhost] if re.search(spec["permissions"]["read"], queue)}
            if readable != (consumed | letters) & everything[vhost]:
                yield f"{environment}: {name} reads {sorted(readable)} of {vhost}"
            for right, pattern in spec["permissions"].items():
                if not re.fullmatch(r"\^.*\$", pattern):
                    yield f"{environment}: {title(item)}: {right} {pattern!r} matches parts of names"


def _hint(platform: Platform) -> None:
    cluster = platform.find("RabbitmqCluster", "eco2-rabbitmq", "prod")["spec"]["rabbitmq"]
    cluster["additionalConfig"] = cluster["additionalConfig"].replace("size_hint = 3", "size_hint = 1")


def _no_shovel(platform: Platform) -> None:
    cluster = platform.find("RabbitmqCluster", "eco2-rabbitmq", "dev")["spec"]["rabbitmq"]
    cluster["additionalPlugins"].remove("rabbitmq_shovel_management")


def _small_disk(platform: Platform) -> None:
    platform.find("RabbitmqCluster", "eco2-rabbitmq", "prod")["spec"]["persistence"]["storage"] = "10Gi"


def _anywhere(platform: Platform) -> None:
    del platform.find("RabbitmqCluster", "eco2-rabbitmq", "prod")["spec"]["affinity"]


SIZES = {"dev": (1, "10Gi"), "staging": (3, "10Gi"), "prod": (3, "20Gi")}
PLUGINS = {"rabbitmq_management", "rabbitmq_prometheus", "rabbitmq_shovel", "rabbitmq_shovel_management"}


@checker(_hint, _no_shovel, _small_disk, _anywhere)
def the_broker_is_the_documented_one(platform: Platform) -> Iterator[str]:
    for environment, (replicas, storage) in SIZES.items():
        spec = platform.find("RabbitmqCluster", "eco2-rabbitmq", environment)["spec"]
        config = dict(line.split(" = ") for line in spec["rabbitmq"]["additionalConfig"].splitlines())
        terms = (
            spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
        )
        expressions = [row for term in terms.get("nodeSelectorTerms", []) for row in term["matchExpressions"]]
        facts = {
            "image": spec["image"] == "rabbitmq:4.0-management",
            "replicas": spec["replicas"] == replicas,
            "cluster size hint": config["cluster_formation.target_cluster_size_hint"] == str(replicas),
            "memory mark": config["vm_memory_high_watermark.relative"] == "0.7",
            "storage": spec["persistence"] == {"storageClassName": "gp3", "storage": storage},
            "plugins": set(spec["rabbitmq"]["additionalPlugins"]) == PLUGINS,
            "node": {"key": "infra-type", "operator": "In", "values": ["rabbitmq"]} in expressions,
            "toleration": {"key": "domain", "operator": "Equal", "value": "integration", "effect": "NoSchedule"}
            in spec["tolerations"],
        }
        yield from (f"{environment}: the broker has another {what}" for what, same in facts.items() if not same)
