"""The topology operator reconciles the custom resources of RabbitMQ against a broker on this machine."""

import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from eco2.contracts import queues
from eco2.local.config import Layout
from eco2.local.stack import Stack
from tests.cluster.conftest import Cluster, built
from tools.cluster import waves
from tools.cluster.api import until
from tools.cluster.control_plane import free_ports

PORTS, GATEWAY_PORT = 11900, 11920
KINDS = ",".join(
    f"{kind}.rabbitmq.com" for kind in ("exchanges", "queues", "bindings", "vhosts", "policies", "users", "permissions")
)
VHOSTS = (queues.VHOST, queues.TASKS_VHOST, queues.CHAT_VHOST)
SYNC = "10s"
"""Interval at which the operator looks at everything again; our manifests say five minutes."""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Not below pytest's own folder: the broker may run as another user, who cannot enter that."""
    with tempfile.TemporaryDirectory(prefix="eco2-cluster-broker-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "home"


@pytest.fixture(scope="module")
async def broker(home: Path) -> AsyncIterator[Layout]:
    running = Stack(home, port_base=PORTS, gateway_port=GATEWAY_PORT, only={"rabbitmq"})
    async with running:
        yield running.layout


@pytest.fixture(scope="module")
def api(broker: Layout) -> Iterator[httpx2.Client]:
    """The management API of a broker without any topology."""
    login = ("eco2", broker.credentials.broker_password)
    with httpx2.Client(base_url=f"{broker.management_url}/api", auth=login, timeout=30) as client:
        for name in VHOSTS:
            client.delete(f"/vhosts/{name}").raise_for_status()
        yield client


@pytest.fixture(scope="module")
def operator(cluster: Cluster, broker: Layout, api: httpx2.Client) -> Iterator[Cluster]:
    built("topology-operator")
    _secrets(cluster, broker)
    # Names under .svc do not resolve here, so the resource says where the broker is. The rest its own operator writes.
    annotate = ("annotate", "rabbitmqcluster", "eco2-rabbitmq", "-n", "rabbitmq", "--overwrite")
    cluster.api.ask(*annotate, f"rabbitmq.com/operator-connection-uri={broker.management_url}")
    names = {"name": "eco2-rabbitmq", "namespace": "rabbitmq"}
    secret = {"name": "eco2-rabbitmq-default-user", "namespace": "rabbitmq"}
    keys = {"username": "username", "password": "password"}
    status = {
        "binding": {"name": secret["name"]},
        "conditions": [],
        "defaultUser": {"secretReference": {**secret, "keys": keys}, "serviceReference": names},
    }
    patch = json.dumps({"status": status})
    where = ("rabbitmqcluster", "eco2-rabbitmq", "-n", "rabbitmq")
    cluster.api.ask("patch", *where, "--subresource=status", "--type=merge", "-p", patch)
    (metrics,) = free_ports(1)
    # With the rights of its own account, and no others.
    account = cluster.plane.kubeconfig_of("messaging-topology-operator", "rabbitmq-system")
    cluster.plane.run(
        "topology-operator",
        {"metrics-bind-address": f"127.0.0.1:{metrics}", "kubeconfig": str(account)},
        OPERATOR_NAMESPACE="rabbitmq-system", ENABLE_WEBHOOKS="false", SYNC_PERIOD=SYNC,
    )  # fmt: skip
    yield cluster
    cluster.plane.end("topology-operator")
    cluster.api.ask(*annotate, "rabbitmq.com/operator-connection-uri-")


def _secrets(cluster: Cluster, broker: Layout) -> None:
    """As External Secrets would bring them: a password for each user, and the broker's own."""
    given = {"eco2-rabbitmq-default-user": ("eco2", broker.credentials.broker_password)}
    for row in cluster.api.rows("users.rabbitmq.com", "rabbitmq"):
        reference = row["spec"].get("importCredentialsSecret")
        if reference:
            given[reference["name"]] = (row["metadata"]["name"], f"password-of-{row['metadata']['name']}")
    objects = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": "rabbitmq"},
            "stringData": {"username": user, "password": password},
        }
        for name, (user, password) in given.items()
    ]
    cluster.api.apply(objects)


def _unready(cluster: Cluster) -> dict[str, str]:
    found = {}
    for row in cluster.api.rows(KINDS, "rabbitmq"):
        conditions = {part["type"]: part for part in row.get("status", {}).get("conditions", [])}
        ready = conditions.get("Ready", {"status": "unseen", "message": ""})
        if ready["status"] != "True":
            found[f"{row['kind']} {row['metadata']['name']}"] = f"{ready['status']} {ready.get('message', '')}"
    return found


def _rows(api: httpx2.Client, what: str, vhost: str) -> list[dict[str, Any]]:
    return list(api.get(f"/{what}/{vhost}").raise_for_status().json())


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
def test_the_operator_makes_of_the_resources_what_the_contract_says(operator: Cluster, api: httpx2.Client) -> None:
    until("reconciled resources", lambda: not _unready(operator), 240)
    known = {
        queues.VHOST: {name: row.arguments for name, row in queues.QUEUES.items()},
        queues.CHAT_VHOST: {name: row.arguments for name, row in queues.CHAT_QUEUES.items()},
        queues.TASKS_VHOST: {name: row.arguments for name, row in queues.TASK_QUEUES.items()},
    }
    for vhost, wanted in known.items():
        found = {row["name"]: row for row in _rows(api, "queues", vhost)}
        assert set(found) == set(wanted)
        for name, row in found.items():
            arguments = {key: value for key, value in row["arguments"].items() if key != "x-queue-type"}
            assert arguments == {key: value for key, value in wanted[name].items() if key != "x-queue-type"}
    exchanges = [row for row in _rows(api, "exchanges", queues.VHOST) if row["name"] and row["name"][:4] != "amq."]
    assert {row["name"]: row["type"] for row in exchanges} == queues.EXCHANGES
    bound = [row for row in _rows(api, "bindings", queues.VHOST) if row["source"]]
    bindings = [queues.Binding(row["source"], row["destination"], row["routing_key"]) for row in bound]
    assert sorted(bindings, key=str) == sorted(queues.BINDINGS, key=str)
    rows = operator.api.rows(KINDS, "rabbitmq")
    users = {row["name"] for row in api.get("/users").raise_for_status().json()}
    assert {row["metadata"]["name"] for row in rows if row["kind"] == "User"} <= users
    brought = waves.rendered().builds[f"workloads/rabbitmq/{operator.environment}/topology"]
    operator.note(
        "custom resources reconciled", f"{len(rows)} of {len(rows)}, of these {len(brought)} of the seed's list"
    )


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
def test_a_queue_that_was_deleted_comes_back(operator: Cluster, api: httpx2.Client) -> None:
    until("reconciled resources", lambda: not _unready(operator), 240)
    api.delete(f"/queues/{queues.VHOST}/scan.rule").raise_for_status()
    until("the queue", lambda: "scan.rule" in {row["name"] for row in _rows(api, "queues", queues.VHOST)}, 120)
    operator.note("a queue deleted by hand", f"back with the operator's next look (here every {SYNC})")


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
def test_what_the_broker_refuses_is_said_by_the_resource(operator: Cluster, api: httpx2.Client) -> None:
    """The control: an exchange of another type than the one that is there."""
    right = waves.rendered().find("Exchange", "scan-direct", operator.environment)
    item = json.loads(json.dumps(right))
    item["metadata"]["name"] = "scan-direct-again"
    item["spec"]["type"] = "fanout"
    operator.api.apply([item])
    try:
        wrong = until(
            "the refusal", lambda: _unready(operator).get("Exchange scan-direct-again", "").removeprefix("unseen ")
        )
        assert wrong.startswith("False")
    finally:
        # Its finaliser would delete the exchange that is there.
        words = ("patch", "exchange", "scan-direct-again", "-n", "rabbitmq", "--type=merge")
        operator.api.ask(*words, "-p", '{"metadata":{"finalizers":[]}}')
        operator.api.ask("delete", "exchange", "scan-direct-again", "-n", "rabbitmq")
