"""A live broker that was given the manifests has exactly that topology, and its delivery limit holds."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aio_pika
import httpx2
import pytest

from eco2.contracts import queues
from eco2.local import topology
from eco2.local.config import Layout, LocalError, environment
from eco2.local.stack import Stack

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


def rows(api: httpx2.Client, what: str) -> list[dict[str, Any]]:
    return list(api.get(f"/{what}/{queues.VHOST}").raise_for_status().json())


def test_queues_are_those_of_the_contract(api: httpx2.Client) -> None:
    found = {row["name"]: row for row in rows(api, "queues")}
    assert set(found) == set(queues.QUEUES)
    for name, row in found.items():
        assert (row["type"], row["durable"], row["exclusive"]) == ("quorum", True, False)
        assert row["arguments"] == {**queues.QUEUES[name].arguments, "x-queue-type": "quorum"}


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
    assert topology.apply(stack.management_url, "eco2", stack.credentials.broker_password) == 26 + 12 + 1
    assert [rows(api, what) for what in ("exchanges", "bindings")] == before


def test_a_queue_with_other_arguments_says_what_to_do(stack: Layout, tmp_path: Path) -> None:
    for file in topology.TOPOLOGY.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text().replace("x-message-ttl: 300000", "x-message-ttl: 1"))
    with pytest.raises(LocalError, match=r"queue scan\.rule .* `eco2 down && make clean`"):
        topology.apply(stack.management_url, "eco2", stack.credentials.broker_password, tmp_path)


@pytest.mark.parametrize("queue", queues.WORK_QUEUES, ids=lambda queue: queue.name)
async def test_delivery_limit_ends_in_the_dead_letter_queue(stack: Layout, queue: queues.Queue) -> None:
    binding = next(b for b in queues.BINDINGS if b.queue == queue.name)
    connection = await aio_pika.connect(environment(stack)["ECO2_BROKER_URL"])
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


async def _next(queue: aio_pika.abc.AbstractQueue) -> aio_pika.abc.AbstractIncomingMessage:
    async with queue.iterator() as messages:
        return await anext(messages)
