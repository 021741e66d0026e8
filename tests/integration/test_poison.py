"""Whatever a message holds it is settled: worked off, or a dead letter with its reason. The processes stay, and the
operator's tools show what they can read."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

import httpx2
import orjson
import pytest
from typer.testing import CliRunner, Result

from eco2 import knowledge
from eco2.cli.main import app
from eco2.contracts.grants import Grant
from eco2.contracts.queues import (
    BINDINGS,
    DEAD_LETTER_EXCHANGE,
    DEAD_LETTER_QUEUES,
    Q_AI,
    Q_API,
    Q_BATCH,
    Q_DLQ,
    Q_SCHED,
    QUEUES,
    REWARD_QUEUE,
    SCAN_ANSWER,
    SCAN_RULE,
    SCAN_VISION,
    TASK_QUEUES,
    TASKS_EXCHANGE,
)
from eco2.contracts.tasks import TASKS
from eco2.jobs import dead_letters
from eco2.jobs.dead_letters import DeadLetter, Urls
from eco2.local import state
from eco2.local.stack import Stack
from eco2.messaging.broker import Publisher
from tests.integration.test_character import grant
from tests.poison import BODIES, Poison, Sender, every_header, sender, some, usual
from tests.redis_server import free_port, until

WORKERS = ("scan-worker", "character-worker", "ai-worker", "batch-worker", "scheduler")
SCANS = (SCAN_VISION, SCAN_RULE, SCAN_ANSWER)


@pytest.fixture(scope="module")
def urls(environment: dict[str, str]) -> Urls:
    return Urls(environment["ECO2_BROKER_URL"], environment["ECO2_TASKS_BROKER_URL"])


@pytest.fixture(scope="module", autouse=True)
async def api_worker(environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """The one worker that the stack of the tests leaves out."""
    port = free_port()
    own = {**os.environ, **environment, "ECO2_PORT": str(port)}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "eco2.run", "api-worker", env=own)
    async with httpx2.AsyncClient() as client:

        async def ready() -> bool:
            assert process.returncode is None
            try:
                return (await client.get(f"http://127.0.0.1:{port}/ready")).status_code == 200
            except httpx2.TransportError:
                return False

        await until(ready, 30)
        yield process
        assert await ready()
    process.terminate()
    await process.wait()


def pids(stack: Stack) -> dict[str, int | None]:
    found = state.load(stack.layout.home)
    assert found is not None
    return {row.name: row.pid for row in found.processes if row.name in WORKERS}


@pytest.fixture(autouse=True)
async def nothing_dies(stack: Stack, urls: Urls) -> AsyncIterator[None]:
    """The workers are the same processes afterwards, and ready; the letters are gone."""
    before = pids(stack)
    yield
    assert pids(stack) == before
    found = state.load(stack.layout.home)
    assert found is not None
    assert all(row.ready for row in found.processes if row.name in WORKERS)
    await dead_letters.settle(urls, [], everything=True, again=False)


@dataclass(frozen=True)
class Way:
    """Ways into a queue, and the headers that a message has there."""

    vhost: str
    exchange: str
    routing_key: str
    headers: bytes = b""

    def url(self, urls: Urls) -> str:
        return urls.vhosts[self.vhost]


def way(queue: str) -> Way:
    if queue in QUEUES:
        binding = next(one for one in BINDINGS if one.queue == queue)
        return Way("eco2", binding.exchange, binding.routing_key)
    task = next((task for task in TASKS.values() if task.queue == queue), None)
    if task is None:
        return Way("tasks", TASKS_EXCHANGE, "dlq.batch")
    return Way("tasks", TASKS_EXCHANGE, task.routing_key, usual(task=task.name, id=uuid.uuid4().hex, lang="py"))


async def letters_of(urls: Urls, wanted: Sequence[Poison], seconds: float = 30) -> dict[str, DeadLetter]:
    """Waits until each of them is a dead letter."""
    found: dict[str, DeadLetter] = {}

    async def all_there() -> bool:
        found.update((one.id, one) for one in await dead_letters.listed(urls))
        return all(poison.id in found for poison in wanted)

    try:
        await until(all_there, seconds)
    except TimeoutError:
        pytest.fail(f"unsettled: {[poison.kind for poison in wanted if poison.id not in found]}")
    return {poison.id: found[poison.id] for poison in wanted}


async def send(urls: Urls, target: Way, poisons: Sequence[Poison]) -> None:
    async with sender(target.url(urls)) as channel:
        await asyncio.gather(*(_send(channel, target, poison) for poison in poisons))


async def _send(channel: Sender, target: Way, poison: Poison) -> None:
    await channel.send(target.exchange, target.routing_key, replace(poison, table=target.headers + poison.table))


CONSUMED = (*SCANS, REWARD_QUEUE, Q_AI, Q_API, Q_BATCH, Q_SCHED)


def test_every_queue_of_the_contract_is_tried() -> None:
    left_out = {"celery"}  # which nobody consumes
    assert {*CONSUMED, *(queue.name for queue in DEAD_LETTER_QUEUES), Q_DLQ, *left_out} == {*QUEUES, *TASK_QUEUES}


@pytest.mark.parametrize("queue", CONSUMED)
async def test_a_body_that_is_no_message_of_the_queue_becomes_a_dead_letter(urls: Urls, queue: str) -> None:
    poisons = [Poison(kind, body) for kind, body in BODIES.items()]
    await send(urls, way(queue), poisons)
    for letter in (await letters_of(urls, poisons)).values():
        assert letter.queue == queue
        assert letter.due_at is None, "it will never fare better"
        assert letter.reason == "rejected" or letter.error


@pytest.mark.parametrize("queue", [*SCANS, REWARD_QUEUE])
async def test_headers_of_any_kind_do_not_keep_a_message_from_its_work(
    urls: Urls, publisher: Publisher, queue: str
) -> None:
    if queue == REWARD_QUEUE:
        code = knowledge.load().characters[1].code
        bodies = [Grant.model_validate(grant(uuid.uuid4(), code)).model_dump_json().encode() for _ in every_header()]
    else:  # of a job that does not exist
        bodies = [orjson.dumps([[str(uuid.uuid4())], {}, {}]) for _ in every_header()]
    worked = [Poison(kind, body, table) for body, (kind, table) in zip(bodies, every_header(), strict=True)]
    await send(urls, way(queue), worked)
    after = Poison("behind them", b"[]")
    await send(urls, way(queue), [after])
    await letters_of(urls, [after])
    letters = {one.id for one in await dead_letters.listed(urls)}
    assert not [poison.kind for poison in worked if poison.id in letters]
    assert await publisher.depth(queue) == 0


@pytest.mark.parametrize("queue", [Q_AI, Q_API, Q_BATCH, Q_SCHED])
async def test_headers_of_any_kind_end_no_worker(urls: Urls, queue: str) -> None:
    poisons = [Poison(kind, b"[[1],{},{}]", table) for kind, table in every_header()]
    await send(urls, way(queue), poisons)
    assert all(letter.error for letter in (await letters_of(urls, poisons)).values())


async def test_a_message_that_celery_would_keep_or_run_otherwise_is_refused(urls: Urls) -> None:
    good = orjson.dumps([[str(uuid.uuid4())], {}, {}])
    poisons = {
        Poison("due in a thousand years", good, usual(task="image.analyze", id="1", eta="3026-01-01T00:00:00")): "eta",
        Poison("over long ago", good, usual(task="image.analyze", id="1", expires="1999-01-01T00:00:00")): "expires",
        Poison("a task of Celery's own", good, usual(task="celery.map", id="2")): "there is no task celery.map here",
        Poison("no task", good, usual(id="3")): "there is no task",
        Poison("a task of another queue", good, usual(task="backup.database", id="4")): "there is no task",
        Poison("compressed", good, usual(task="image.analyze", id="5", compression="zlib")): "compression",
    }
    await send(urls, replace(way(Q_AI), headers=b""), list(poisons))
    letters = await letters_of(urls, list(poisons))
    for poison, reason in poisons.items():
        assert reason in (letters[poison.id].error or ""), poison.kind


@pytest.mark.parametrize(
    "queue",
    [Q_DLQ, *(pytest.param(queue.name, marks=pytest.mark.slow) for queue in DEAD_LETTER_QUEUES)],
)
async def test_a_letter_of_any_kind_is_shown_and_can_be_dropped(
    urls: Urls, queue: str, run: Callable[..., Result], stack: Stack
) -> None:
    where = "dlq.batch" if queue == Q_DLQ else queue
    vhost, exchange = ("tasks", TASKS_EXCHANGE) if queue == Q_DLQ else ("eco2", DEAD_LETTER_EXCHANGE)
    poisons = [Poison(kind, body) for kind, body in BODIES.items() if len(body) < 2_000_000]
    poisons += [Poison(kind, b"[[1],{},{}]", table) for kind, table in every_header()]
    own = usual(**{"x-eco2-error": "\x1b[2J[/red]", "x-eco2-routing-key": "dlq.batch"})
    poisons += [Poison(f"own, {kind}", b"{}", own + table) for kind, table in list(every_header())[:20]]
    await send(urls, Way(vhost, exchange, where), poisons)
    rows = json.loads((await asyncio.to_thread(run, "dlq", "list", "--json")).stdout)
    assert {poison.id for poison in poisons} <= {row["id"] for row in rows}
    shown = await asyncio.to_thread(run, "dlq", "list")
    assert shown.exit_code == 0
    assert "\x1b[2J" not in shown.stdout
    assert (await asyncio.to_thread(run, "dlq", "show", "poison-")).exit_code == 0
    assert (await asyncio.to_thread(run, "dlq", "drop", poisons[0].id)).exit_code == 0
    assert (await asyncio.to_thread(run, "dlq", "drop", "--all")).exit_code == 0
    assert not await dead_letters.listed(urls)


async def test_sending_all_again_tells_of_each_letter_and_sends_those_that_can_be_sent(
    urls: Urls, run: Callable[..., Result]
) -> None:
    stuck = [Poison(kind, b"{}", table) for kind, table in every_header() if b"compression" not in table][:8]
    await send(urls, Way("tasks", TASKS_EXCHANGE, "dlq.batch"), stuck)
    died = [Poison("of a scan", b"[[1],{},{}]"), Poison("of a task", b"[[1],{},{}]")]
    await send(urls, way(SCAN_RULE), died[:1])
    await send(urls, way(Q_BATCH), died[1:])
    await letters_of(urls, [*stuck, *died])
    result = await asyncio.to_thread(run, "dlq", "replay", "--all")
    assert result.exit_code == 1
    assert all(f"{poison.id}: sent again to" in result.stdout for poison in died)
    assert all(f"{poison.id}: stays: " in result.stderr for poison in stuck)
    again = await letters_of(urls, died)
    assert [again[poison.id].deaths for poison in died] == [2, 2]


@pytest.fixture
def run(environment: dict[str, str]) -> Callable[..., Result]:
    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=environment)

    return invoke


@pytest.mark.parametrize("queue", CONSUMED)
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
async def test_random_bodies_and_headers_are_settled(urls: Urls, queue: str, seed: int) -> None:
    poisons = list(some(seed, 60))
    await send(urls, way(queue), poisons)
    await letters_of(urls, poisons)
