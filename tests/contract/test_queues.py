"""The manifests, the constants and the documented listing of the broker say the same."""

import re
from collections import Counter
from fnmatch import fnmatchcase
from typing import Any

import pytest

from eco2.contracts import queues
from eco2.contracts.tasks import SCHEDULE, TASKS, ZONE, Task
from eco2.local.topology import TOPOLOGY, manifests
from eco2.processes import SERVICES
from eco2.workers import batch
from eco2.workers.batch_run import TARGETS

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# resource name → (queue, TTL in ms, delivery limit, dead-letter key), as the infrastructure document lists them
LISTED_QUEUES: dict[str, tuple[str, int | None, int | None, str | None]] = {
    "scan-vision-queue": ("scan.vision", HOUR, 3, "dlq.scan.vision"),
    "scan-rule-queue": ("scan.rule", 5 * MINUTE, 3, "dlq.scan.rule"),
    "scan-answer-queue": ("scan.answer", HOUR, 3, "dlq.scan.answer"),
    "reward-queue": ("reward.character", DAY, 5, "dlq.reward"),
    "celery-default-queue": ("celery", None, 3, "dlq.celery"),
    "dlq-scan-vision": ("dlq.scan.vision", 7 * DAY, None, None),
    "dlq-scan-rule": ("dlq.scan.rule", 7 * DAY, None, None),
    "dlq-scan-answer": ("dlq.scan.answer", 7 * DAY, None, None),
    "dlq-reward": ("dlq.reward", 7 * DAY, None, None),
    "dlq-celery": ("dlq.celery", 7 * DAY, None, None),
}
LISTED_EXCHANGES = {
    "scan-direct": ("scan.direct", "direct"),
    "reward-direct": ("reward.direct", "direct"),
    "dlx": ("dlx", "direct"),
    "authz-fanout": ("authz.fanout", "fanout"),
    "celery-default": ("celery", "topic"),
}
LISTED_BINDINGS = {
    "scan-vision-binding",
    "scan-rule-binding",
    "scan-answer-binding",
    "reward-character-binding",
    "celery-default-binding",
    "dlq-scan-vision-binding",
    "dlq-scan-rule-binding",
    "dlq-scan-answer-binding",
    "dlq-reward-binding",
    "dlq-celery-binding",
}


def vhost_of(resource: dict[str, Any]) -> str:
    return str(resource["spec"]["name"] if resource["kind"] == "Vhost" else resource["spec"]["vhost"])


def specs(kind: str, vhost: str = queues.VHOST) -> dict[str, dict[str, Any]]:
    found = [r for r in manifests() if r["kind"] == kind and vhost_of(r) == vhost]
    return {r["metadata"]["name"]: r["spec"] for r in found}


def test_the_topology_of_the_document_is_a_kustomization_of_its_own() -> None:
    counted = Counter(resource["kind"] for resource in manifests(TOPOLOGY))
    assert counted == {"Vhost": 1, "Exchange": 5, "Queue": 10, "Binding": 10}
    assert {vhost_of(resource) for resource in manifests(TOPOLOGY)} == {queues.VHOST}


def test_there_are_26_resources_and_those_of_tasks_and_chats() -> None:
    counted = Counter((vhost_of(resource), resource["kind"]) for resource in manifests())
    topology = {"Vhost": 1, "Exchange": 5, "Queue": 10, "Binding": 10}
    assert sum(topology.values()) == 26
    tasks = {"Vhost": 1, "Exchange": 1, "Queue": 5, "Binding": 5}
    chat = {"Vhost": 1, "Exchange": 2, "Queue": 2, "Binding": 2}
    assert counted == {
        **{(queues.VHOST, kind): count for kind, count in topology.items()},
        **{(queues.TASKS_VHOST, kind): count for kind, count in tasks.items()},
        **{(queues.CHAT_VHOST, kind): count for kind, count in chat.items()},
        (queues.VHOST, "Policy"): 1,
        (queues.CHAT_VHOST, "Policy"): 1,
    }


def test_every_resource_belongs_to_the_cluster_and_has_a_name_of_its_own() -> None:
    for resource in manifests():
        assert resource["apiVersion"] == "rabbitmq.com/v1beta1"
        assert resource["metadata"]["namespace"] == "rabbitmq"
        assert resource["spec"]["rabbitmqClusterReference"] == {"name": "eco2-rabbitmq", "namespace": "rabbitmq"}
    names = Counter((resource["kind"], resource["metadata"]["name"]) for resource in manifests())
    assert set(names.values()) == {1}
    assert list(specs("Vhost")) == ["eco2-vhost"]


def test_exchanges() -> None:
    found = {name: (spec["name"], spec["type"]) for name, spec in specs("Exchange").items()}
    assert found == LISTED_EXCHANGES
    assert dict(found.values()) == queues.EXCHANGES
    assert all(spec["durable"] for spec in specs("Exchange").values())


@pytest.mark.parametrize("resource", LISTED_QUEUES)
def test_queue(resource: str) -> None:
    name, ttl, limit, dead_letter_key = LISTED_QUEUES[resource]
    assert queues.QUEUES[name] == queues.Queue(name, ttl, limit, dead_letter_key)
    spec = specs("Queue")[resource]
    assert (spec["name"], spec["type"], spec["durable"]) == (name, "quorum", True)
    assert spec["arguments"] == queues.QUEUES[name].arguments


def test_no_other_queue() -> None:
    assert set(specs("Queue")) == set(LISTED_QUEUES)
    assert set(queues.QUEUES) == {listed[0] for listed in LISTED_QUEUES.values()}


def test_bindings() -> None:
    found = specs("Binding")
    assert set(found) == LISTED_BINDINGS
    assert {spec["destinationType"] for spec in found.values()} == {"queue"}
    routes = {queues.Binding(s["source"], s["destination"], s["routingKey"]) for s in found.values()}
    assert routes == set(queues.BINDINGS)


def test_every_dead_letter_key_leads_to_its_queue() -> None:
    routes = {(b.exchange, b.routing_key): b.queue for b in queues.BINDINGS}
    for queue in queues.WORK_QUEUES:
        assert queue.dead_letter_key is not None
        assert routes[queues.DEAD_LETTER_EXCHANGE, queue.dead_letter_key] == queue.dead_letter_key


def test_looking_at_a_dead_letter_never_uses_it_up() -> None:
    for vhost, known in ((queues.VHOST, queues.QUEUES), (queues.CHAT_VHOST, queues.CHAT_QUEUES)):
        (policy,) = specs("Policy", vhost).values()
        assert policy["definition"]["delivery-limit"] >= 1_000_000
        matched = {name for name in known if re.search(policy["pattern"], name)}
        assert matched == {name for name, queue in known.items() if queue.dead_letter_key is None}


def test_the_queue_of_chats_and_its_dead_letters() -> None:
    found = {spec["name"]: spec for spec in specs("Queue", queues.CHAT_VHOST).values()}
    assert {name: spec["arguments"] for name, spec in found.items()} == {
        name: queue.arguments for name, queue in queues.CHAT_QUEUES.items()
    }
    assert {(spec["type"], spec["durable"]) for spec in found.values()} == {("quorum", True)}
    exchanges = specs("Exchange", queues.CHAT_VHOST).values()
    assert {spec["name"]: spec["type"] for spec in exchanges} == queues.CHAT_EXCHANGES
    routes = specs("Binding", queues.CHAT_VHOST).values()
    assert {queues.Binding(s["source"], s["destination"], s["routingKey"]) for s in routes} == set(queues.CHAT_BINDINGS)
    limited = queues.CHAT_QUEUES[queues.CHAT_QUEUE]
    assert (limited.delivery_limit, limited.dead_letter_key) == (3, queues.CHAT_DEAD_LETTERS)


# resource name → (queue, binding, priority, TTL in ms, dead-letter key), as the architecture document lists them
LISTED_TASK_QUEUES: dict[str, tuple[str, str, int | None, int | None, str | None]] = {
    "q-ai": ("q.ai", "ai.*", 10, 5 * MINUTE, "dlq.ai"),
    "q-batch": ("q.batch", "batch.*", 1, HOUR, "dlq.batch"),
    "q-api": ("q.api", "api.*", 5, 5 * MINUTE, "dlq.api"),
    "q-sched": ("q.sched", "sched.*", 3, None, None),
    "q-dlq": ("q.dlq", "dlq.*", None, None, None),
}


@pytest.mark.parametrize("resource", LISTED_TASK_QUEUES)
def test_task_queue(resource: str) -> None:
    name, key, priority, ttl, dead_letter_key = LISTED_TASK_QUEUES[resource]
    spec = specs("Queue", queues.TASKS_VHOST)[resource]
    assert (spec["name"], spec["type"], spec["durable"]) == (name, "classic", True)
    listed = {
        "x-max-priority": priority,
        "x-message-ttl": ttl,
        "x-dead-letter-exchange": dead_letter_key and "tasks",
        "x-dead-letter-routing-key": dead_letter_key,
    }
    assert spec.get("arguments", {}) == {key: value for key, value in listed.items() if value is not None}
    queue = queues.TASK_QUEUES[name]
    assert (queue.arguments, queue.keys) == (spec.get("arguments", {}), key)
    binding = specs("Binding", queues.TASKS_VHOST)[f"{resource}-binding"]
    found = (binding["source"], binding["destination"], binding["destinationType"], binding["routingKey"])
    assert found == ("tasks", name, "queue", key)


def test_no_other_task_queue_and_one_topic_exchange() -> None:
    assert set(specs("Queue", queues.TASKS_VHOST)) == set(LISTED_TASK_QUEUES)
    assert set(queues.TASK_QUEUES) == {listed[0] for listed in LISTED_TASK_QUEUES.values()}
    (exchange,) = specs("Exchange", queues.TASKS_VHOST).values()
    assert (exchange["name"], exchange["type"], exchange["durable"]) == (queues.TASKS_EXCHANGE, "topic", True)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_task_reaches_its_queue_and_its_dead_letters(task: Task) -> None:
    reached = [queue.name for queue in queues.TASK_QUEUES.values() if fnmatchcase(task.routing_key, queue.keys)]
    assert reached == [task.queue]
    queue = queues.TASK_QUEUES[task.queue]
    assert 0 <= task.priority <= (queue.max_priority or 0)
    assert fnmatchcase(queue.dead_letter_key, queues.TASK_QUEUES[queues.Q_DLQ].keys)


def test_the_schedule_is_that_of_the_architecture_document() -> None:
    assert ZONE == "Asia/Seoul"
    listed = {"cleanup.cache": "0 * * * *", "backup.database": "0 2 * * *", "stats.aggregate": "0 3 * * *"}
    ours = {name: time for name, time in SCHEDULE.items() if not name.startswith("news.")}
    assert {
        **listed,
        "cleanup.photos": "20 * * * *",
        "cleanup.uploads": "40 * * * *",
        "cleanup.chats": "50 * * * *",
        "reminders.send": "*/10 19-21 * * *",
    } == ours
    assert {TASKS[name].queue for name in SCHEDULE} == {queues.Q_SCHED}


def test_every_task_that_has_a_process_of_its_own_has_somebody_who_does_it() -> None:
    assert set(TARGETS) == {task for task in TASKS.values() if task.queue in batch.QUEUES}


def test_every_consumed_queue_exists() -> None:
    assert {name for row in SERVICES for name in row.queues} <= {
        *queues.QUEUES,
        *queues.TASK_QUEUES,
        *queues.CHAT_QUEUES,
    }
