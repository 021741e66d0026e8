"""The manifests, the constants and the documented listing of the broker say the same."""

from collections import Counter
from typing import Any

import pytest

from eco2.contracts import queues
from eco2.local.topology import manifests
from eco2.processes import SERVICES

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


def specs(kind: str) -> dict[str, dict[str, Any]]:
    return {r["metadata"]["name"]: r["spec"] for r in manifests() if r["kind"] == kind}


def test_there_are_26_resources() -> None:
    counted = Counter(resource["kind"] for resource in manifests())
    assert counted == {"Vhost": 1, "Exchange": 5, "Queue": 10, "Binding": 10}


def test_every_resource_belongs_to_the_cluster_and_the_vhost() -> None:
    for resource in manifests():
        assert resource["apiVersion"] == "rabbitmq.com/v1beta1"
        assert resource["metadata"]["namespace"] == "rabbitmq"
        assert resource["spec"]["rabbitmqClusterReference"] == {"name": "eco2-rabbitmq", "namespace": "rabbitmq"}
        name_of_vhost = resource["spec"]["name"] if resource["kind"] == "Vhost" else resource["spec"]["vhost"]
        assert name_of_vhost == queues.VHOST
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


def test_every_consumed_queue_exists() -> None:
    assert {name for row in SERVICES for name in row.queues} <= set(queues.QUEUES)
