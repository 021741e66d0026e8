"""Grants through the running character-worker: never lost, never twice."""

import asyncio
import random
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from eco2 import knowledge
from eco2.character import service, store
from eco2.character.points import Rates
from eco2.contracts.grants import DEFAULT_CHARACTER, Grant
from eco2.contracts.queues import QUEUES, REWARD_EXCHANGE, REWARD_QUEUE
from eco2.core.postgres import Database
from eco2.local.stack import Stack
from eco2.messaging.broker import Heartbeat, Publisher
from eco2.messaging.consumer import Message, consume_batches
from eco2.scan.services import Services
from tests.conftest import Person
from tests.e2e.test_faults import back
from tests.e2e.test_faults import send as kill
from tests.redis_server import until


def grant(user: uuid.UUID, code: str) -> Grant:
    now = datetime.now(UTC)
    return Grant(job_id=uuid.uuid4(), user_id=user, character_code=code, source="scan", earned_at=now)


async def send(publisher: Publisher, body: Mapping[str, object]) -> None:
    await publisher.send_json(REWARD_EXCHANGE, REWARD_QUEUE, body, uuid.uuid4().hex)


async def test_repeated_and_reordered_grants_are_owned_once(services: Services, db: Database) -> None:
    codes = [character.code for character in services.knowledge.characters][:4]
    users = [uuid.uuid4() for _ in range(5)]
    grants = [grant(user, code) for user in users for code in codes] * 3
    random.Random(7).shuffle(grants)
    for one in grants:
        await send(services.publisher, one.model_dump(mode="json"))

    async def all_owned() -> bool:
        async with db.transaction() as tx:
            return all([len(await store.owned(tx, user)) == len(codes) for user in users])

    await until(all_owned, 15)
    async with db.transaction() as tx:
        for user in users:
            assert sorted(code for code, _ in await store.owned(tx, user)) == sorted(codes)


async def test_a_poisoned_grant_goes_to_the_dead_letters_and_the_rest_is_written(
    services: Services, db: Database, environment: dict[str, str]
) -> None:
    user = uuid.uuid4()
    good = grant(user, services.knowledge.characters[1].code).model_dump(mode="json")
    for body in ({"nonsense": True}, {**good, "character_code": "char-nobody"}, good):
        await send(services.publisher, body)

    async def written() -> bool:
        async with db.transaction() as tx:
            return len(await store.owned(tx, user)) == 1

    await until(written, 15)
    await _take_dead_letters(environment["ECO2_BROKER_URL"], 2)


async def _take_dead_letters(url: str, count: int) -> None:
    taken = 0
    async with await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).get_queue(str(QUEUES[REWARD_QUEUE].dead_letter_key), ensure=False)

        async def all_dead() -> bool:
            nonlocal taken
            message = await queue.get(fail=False)
            if message is not None:
                await message.ack()
                taken += 1
            return taken == count

        await until(all_dead)


@pytest.fixture
async def scratch(environment: dict[str, str]) -> AsyncIterator[tuple[str, AbstractChannel, str]]:
    """(broker, channel, quorum queue) that no worker of the stack consumes."""
    url, name = environment["ECO2_BROKER_URL"], f"test.{uuid.uuid4().hex}"
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
        yield url, channel, name
        await channel.queue_delete(name)


async def test_a_consumer_that_dies_between_write_and_acknowledgement_writes_once(
    db: Database, scratch: tuple[str, AbstractChannel, str]
) -> None:
    url, channel, queue = scratch
    users = [uuid.uuid4() for _ in range(40)]
    for user in users:
        body = grant(user, "char-petty").model_dump_json().encode()
        await channel.default_exchange.publish(aio_pika.Message(body), queue)
    base, rates, deaths, written = knowledge.load(), Rates(10, 100), 0, 0

    async def handle(messages: Sequence[Message]) -> None:
        nonlocal deaths, written
        async with db.transaction() as tx:
            written += (await service.grant(tx, base, rates, messages)).characters
        if deaths < 3:
            deaths += 1
            raise asyncio.CancelledError  # committed, and the connection goes down before the acknowledgement

    def consume() -> asyncio.Task[None]:
        return asyncio.create_task(consume_batches(url, queue, handle, Heartbeat(), size=10))

    for _ in range(3):
        await asyncio.wait({consume()}, timeout=15)
    survivor = consume()

    async def all_owned() -> bool:
        async with db.transaction() as tx:
            return all([len(await store.owned(tx, user)) == 1 for user in users])

    await until(all_owned, 15)
    await asyncio.sleep(0.5)
    survivor.cancel()
    await asyncio.wait({survivor})
    left = await channel.declare_queue(queue, passive=True)
    assert left.declaration_result.message_count == 0
    async with db.transaction() as tx:
        totals = [sum((await store.totals(tx, user)).values()) for user in users]
    assert (deaths, written, totals) == (3, len(users), [10] * len(users))


async def test_a_killed_worker_loses_and_doubles_nothing(
    stack: Stack, services: Services, publisher: Publisher, db: Database
) -> None:
    users = [uuid.uuid4() for _ in range(300)]
    grants = [grant(user, code) for user in users for code in ("char-petty", "char-bini")]

    async def send_all() -> None:
        await asyncio.gather(*(send(publisher, one.model_dump(mode="json")) for one in grants))

    await kill(stack, "character-worker", signal.SIGSTOP)
    await send_all()
    await send_all()
    await kill(stack, "character-worker", signal.SIGCONT)
    for _ in range(2):
        await asyncio.sleep(0.15)
        await back(stack, "character-worker", await kill(stack, "character-worker", signal.SIGKILL))

    async def all_written() -> bool:
        jobs = [one.job_id for one in grants]
        row = await db.row("SELECT count(*) FROM character.points WHERE job_id = ANY(%(jobs)s)", jobs=jobs)
        return row == (len(grants),)

    await until(all_written, 30)
    async with db.transaction() as tx:
        for user in users:
            assert sorted(code for code, _ in await store.owned(tx, user)) == ["char-bini", "char-petty"]
            assert sum((await store.totals(tx, user)).values()) == 20


async def test_everybody_owns_the_default_character(person: Callable[[], Person]) -> None:
    first, second = person(), person()
    rows = [(await who.http.get("/api/v1/users/me/characters")).json() for who in (first, second)]
    assert [[row["code"] for row in found] for found in rows] == [[DEFAULT_CHARACTER]] * 2
    assert rows[0][0]["id"] == rows[1][0]["id"] == str(service.character_id(DEFAULT_CHARACTER))


async def test_the_catalogue_has_the_names_that_clients_know(person: Callable[[], Person]) -> None:
    rows = (await person().http.get("/api/v1/character/catalog")).json()
    assert {(row["name"], row["match"]) for row in rows} >= {
        ("이코", None),
        ("페이피", "종이"),
        ("팩토리", "종이팩"),
        ("페티", "무색페트병"),
        ("비니", "비닐류"),
        ("글래시", "유리병"),
        ("코튼", "의류및원단"),
        ("플리", "플라스틱류"),
        ("메탈리", "금속류"),
        ("배리", "전지"),
        ("라이티", "조명제품"),
        ("일렉", "전기전자제품"),
        ("폼이", "발포합성수지"),
    }


async def test_the_catalogue_is_sent_once(person: Callable[[], Person]) -> None:
    http = person().http
    first = await http.get("/api/v1/character/catalog")
    tag = first.headers["etag"]
    assert first.headers["content-type"] == "application/json"
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await http.get("/api/v1/character/catalog", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = await http.get("/api/v1/character/catalog", headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.json()) == (200, first.json())
