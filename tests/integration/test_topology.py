"""A live broker that was given the manifests has exactly that topology, and its delivery limit holds."""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aio_pika
import httpx2
import pytest
import yaml
from aio_pika.exceptions import ChannelInvalidStateError
from aiormq.exceptions import ChannelAccessRefused

from eco2.contracts import queues
from eco2.jobs import dead_letters
from eco2.local import topology
from eco2.local.config import Layout, LocalError, environment
from eco2.local.stack import Stack
from eco2.processes import SERVICES

PORTS, GATEWAY_PORT = 11600, 11620


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Not below pytest's own folder: the broker may run as another user, who cannot enter that."""
    with tempfile.TemporaryDirectory(prefix="eco2-topology-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "home"


@pytest.fixture(scope="module")
async def stack(home: Path) -> AsyncIterator[Layout]:
    running = Stack(home, port_base=PORTS, gateway_port=GATEWAY_PORT, only={"rabbitmq"})
    async with running:
        yield running.layout


@pytest.fixture(scope="module")
def api(stack: Layout) -> Iterator[httpx2.Client]:
    login = ("eco2", stack.credentials.broker_password)
    with httpx2.Client(base_url=f"{stack.management_url}/api", auth=login) as client:
        yield client


def rows(api: httpx2.Client, what: str, vhost: str = queues.VHOST) -> list[dict[str, Any]]:
    return list(api.get(f"/{what}/{vhost}").raise_for_status().json())


@pytest.mark.parametrize(
    ("vhost", "known"), [(queues.VHOST, queues.QUEUES), (queues.CHAT_VHOST, queues.CHAT_QUEUES)], ids=["eco2", "chat"]
)
def test_queues_are_those_of_the_contract(api: httpx2.Client, vhost: str, known: dict[str, queues.Queue]) -> None:
    found = {row["name"]: row for row in rows(api, "queues", vhost)}
    assert set(found) == set(known)
    for name, row in found.items():
        assert (row["type"], row["durable"], row["exclusive"]) == ("quorum", True, False)
        assert row["arguments"] == {**known[name].arguments, "x-queue-type": "quorum"}


def test_exchanges_are_those_of_the_contract(api: httpx2.Client) -> None:
    own = [row for row in rows(api, "exchanges") if row["name"] and not row["name"].startswith("amq.")]
    assert {row["name"]: row["type"] for row in own} == queues.EXCHANGES
    assert all(row["durable"] for row in own)


def test_bindings_are_those_of_the_contract(api: httpx2.Client) -> None:
    own = [row for row in rows(api, "bindings") if row["source"]]
    found = [queues.Binding(row["source"], row["destination"], row["routing_key"]) for row in own]
    assert sorted(found, key=str) == sorted(queues.BINDINGS, key=str)


def test_applying_again_changes_nothing(stack: Layout, api: httpx2.Client) -> None:
    before = [rows(api, what) for what in ("exchanges", "bindings")]
    assert topology.apply(stack.management_url, "eco2", stack.credentials.broker_password) == 26 + 12 + 7 + 2
    assert [rows(api, what) for what in ("exchanges", "bindings")] == before


def test_a_queue_with_other_arguments_says_what_to_do(stack: Layout, tmp_path: Path) -> None:
    for file in topology.TOPOLOGY.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text().replace("x-message-ttl: 300000", "x-message-ttl: 1"))
    with pytest.raises(LocalError, match=r"queue scan\.rule .* `eco2 down && make clean`"):
        topology.apply(stack.management_url, "eco2", stack.credentials.broker_password, tmp_path)


QUORUM = (*queues.WORK_QUEUES, queues.CHAT_QUEUES[queues.CHAT_QUEUE])


@pytest.mark.parametrize("queue", QUORUM, ids=lambda queue: queue.name)
async def test_delivery_limit_ends_in_the_dead_letter_queue(stack: Layout, queue: queues.Queue) -> None:
    binding = next(b for b in (*queues.BINDINGS, *queues.CHAT_BINDINGS) if b.queue == queue.name)
    chat = queues.vhost_of(queue.name) == queues.CHAT_VHOST
    connection = await aio_pika.connect(environment(stack)["ECO2_CHAT_BROKER_URL" if chat else "ECO2_BROKER_URL"])
    async with connection, asyncio.timeout(30):
        channel = await connection.channel()
        exchange = await channel.get_exchange(binding.exchange)
        await exchange.publish(aio_pika.Message(b"poison"), binding.routing_key, mandatory=True)
        work = await channel.get_queue(queue.name)
        for _ in range((queue.delivery_limit or 0) + 1):
            await (await _next(work)).reject(requeue=True)
        dead = await _next(await channel.get_queue(queue.dead_letter_key or ""))
        assert dead.body == b"poison"
        deaths: Any = dead.headers["x-death"]
        assert (deaths[0]["queue"], deaths[0]["reason"]) == (queue.name, "delivery_limit")
        await dead.ack()


async def test_failed_work_of_the_tasks_ends_in_q_dlq_and_the_urgent_goes_first(stack: Layout) -> None:
    async with await aio_pika.connect(environment(stack)["ECO2_TASKS_BROKER_URL"]) as connection, asyncio.timeout(30):
        channel = await connection.channel()
        exchange = await channel.get_exchange(queues.TASKS_EXCHANGE)
        for priority, body in ((1, b"later"), (10, b"first")):
            await exchange.publish(aio_pika.Message(body, priority=priority), "ai.analyze", mandatory=True)
        work = await channel.get_queue(queues.Q_AI)
        taken = [await _next(work), await _next(work)]
        assert [message.body for message in taken] == [b"first", b"later"]
        for message in taken:
            await message.reject(requeue=False)
        dead = [await _next(await channel.get_queue(queues.Q_DLQ)) for _ in taken]
        assert {message.body for message in dead} == {b"first", b"later"}
        deaths: Any = dead[0].headers["x-death"]
        assert (deaths[0]["queue"], deaths[0]["reason"]) == (queues.Q_AI, "rejected")
        for message in dead:
            await message.ack()


def test_task_queues_are_those_of_the_contract(api: httpx2.Client) -> None:
    found = {row["name"]: row for row in api.get(f"/queues/{queues.TASKS_VHOST}").raise_for_status().json()}
    assert set(found) == set(queues.TASK_QUEUES)
    for name, row in found.items():
        assert (row["type"], row["durable"]) == ("classic", True)
        assert row["arguments"] == {**queues.TASK_QUEUES[name].arguments, "x-queue-type": "classic"}


# Users: what each process does on the broker, by its code. Everything else is refused.

WRITES = {
    ("auth-api", "eco2"): {"authz.fanout"},
    ("my-api", "eco2"): {"reward.direct"},
    ("scan-api", "eco2"): {"scan.direct"},
    ("location-api", "tasks"): {"tasks"},
    ("chat-api", "chat"): {"chat.direct"},
    ("chat-worker", "chat"): {"dlx"},
    ("scan-api", "tasks"): {"tasks"},
    ("scan-worker", "eco2"): {"scan.direct", "reward.direct", "dlx"},
    ("scan-sweeper", "eco2"): {"scan.direct", "reward.direct"},
    ("scan-sweeper", "tasks"): {"tasks"},
    ("ai-worker", "eco2"): {"scan.direct", "reward.direct"},
    ("ai-worker", "tasks"): {"tasks"},
    ("character-worker", "eco2"): {"dlx"},
    ("api-worker", "tasks"): {"tasks"},
    ("batch-worker", "tasks"): {"tasks"},
    ("scheduler", "eco2"): {"scan.direct", "reward.direct", "celery"},
    ("scheduler", "tasks"): {"tasks"},
}
LISTENS = {("ext-authz", "eco2"): "authz.fanout", ("scan-sweeper", "eco2"): "dlx", ("scan-sweeper", "tasks"): "tasks"}
LETTERS = {
    ("scheduler", "eco2"): set(dead_letters.QUEUES["eco2"]),
    ("scheduler", "tasks"): set(dead_letters.QUEUES["tasks"]),
}
PASSWORD = secrets.token_hex(24)


@pytest.fixture(scope="module")
def users(api: httpx2.Client) -> list[tuple[str, str]]:
    """(user, vhost) of every permission, with the users of the manifests made as the topology operator would."""
    folder = topology.TOPOLOGY.parent / "users"
    resources = [doc for file in folder.glob("*.yaml") for doc in yaml.safe_load_all(file.read_text())]
    for row in resources:
        if row["kind"] == "User":
            tags = ",".join(row["spec"].get("tags", []))
            path = f"/users/{row['metadata']['name']}"
            api.put(path, json={"password": PASSWORD, "tags": tags}).raise_for_status()
    rights = [row["spec"] for row in resources if row["kind"] == "Permission"]
    for spec in rights:
        path = f"/permissions/{spec['vhost']}/{spec['userReference']['name']}"
        api.put(path, json=spec["permissions"]).raise_for_status()
    return [(spec["userReference"]["name"], spec["vhost"]) for spec in rights]


async def _allowed(connection: aio_pika.abc.AbstractConnection, what: Callable[[Any], Awaitable[object]]) -> bool:
    try:
        async with await connection.channel() as channel:
            await what(channel)
    except (ChannelAccessRefused, ChannelInvalidStateError):
        return False
    return True


async def _publish(exchange: str, channel: aio_pika.abc.AbstractChannel) -> None:
    target = await channel.get_exchange(exchange, ensure=False)
    await target.publish(aio_pika.Message(b"x"), "of.nobody", mandatory=False)


async def _get(queue: str, channel: aio_pika.abc.AbstractChannel) -> None:
    await (await channel.get_queue(queue, ensure=False)).get(fail=False, no_ack=False)


async def _listen(exchange: str, channel: aio_pika.abc.AbstractChannel) -> None:
    own = await channel.declare_queue(exclusive=True, auto_delete=True)
    await own.bind(exchange, "of.nobody")
    await own.get(fail=False)


async def test_users_may_do_what_their_process_does_and_nothing_else(
    stack: Layout, api: httpx2.Client, users: list[tuple[str, str]]
) -> None:
    consumed = {row.name: set(row.queues) for row in SERVICES}
    everything = {
        queues.VHOST: (set(queues.EXCHANGES), set(queues.QUEUES)),
        queues.TASKS_VHOST: ({queues.TASKS_EXCHANGE}, set(queues.TASK_QUEUES)),
        queues.CHAT_VHOST: (set(queues.CHAT_EXCHANGES), set(queues.CHAT_QUEUES)),
    }
    for user, vhost in users:
        exchanges, names = everything[vhost]
        url = f"amqp://{user}:{PASSWORD}@127.0.0.1:{stack.port_of('rabbitmq')}/{vhost}"
        async with await aio_pika.connect(url) as connection, asyncio.timeout(60):
            written = {name for name in exchanges if await _allowed(connection, partial(_publish, name))}
            read = {name for name in names if await _allowed(connection, partial(_get, name))}
            heard = {name for name in exchanges if await _allowed(connection, partial(_listen, name))}
        wanted = (
            WRITES.get((user, vhost), set()),
            (consumed.get(user, set()) & names) | LETTERS.get((user, vhost), set()),
            {LISTENS[user, vhost]} if (user, vhost) in LISTENS else set(),
        )
        assert (written, read, heard) == wanted, f"{user} in {vhost}"


async def test_the_user_of_keda_sees_how_long_queues_are_and_reads_none(
    stack: Layout, users: list[tuple[str, str]]
) -> None:
    with httpx2.Client(base_url=f"{stack.management_url}/api", auth=("keda", PASSWORD)) as keda:
        assert keda.get("/queues/eco2/scan.vision").raise_for_status().json()["type"] == "quorum"
        assert keda.put("/queues/eco2/other", json={}).status_code in (401, 403)
        answer = keda.post(
            "/queues/eco2/scan.vision/get", json={"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
        )
        assert answer.status_code in (401, 403)


async def _next(queue: aio_pika.abc.AbstractQueue) -> aio_pika.abc.AbstractIncomingMessage:
    async with queue.iterator() as messages:
        return await anext(messages)
