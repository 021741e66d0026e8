"""Grants through the running character-worker: never lost, never twice."""

import random
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from eco2.character import service, store
from eco2.contracts.grants import Grant
from eco2.contracts.queues import QUEUES, REWARD_EXCHANGE, REWARD_QUEUE
from eco2.core.broker import Publisher
from eco2.scan.service import Services
from tests.conftest import Person
from tests.redis_server import until


def grant(user: uuid.UUID, code: str) -> Grant:
    now = datetime.now(UTC)
    return Grant(job_id=uuid.uuid4(), user_id=user, character_code=code, source="scan", earned_at=now)


async def send(publisher: Publisher, body: Mapping[str, object]) -> None:
    await publisher.send_json(REWARD_EXCHANGE, REWARD_QUEUE, body, uuid.uuid4().hex)


async def test_repeated_and_reordered_grants_are_owned_once(services: Services, engine: AsyncEngine) -> None:
    codes = [character.code for character in services.knowledge.characters][:4]
    users = [uuid.uuid4() for _ in range(5)]
    grants = [grant(user, code) for user in users for code in codes] * 3
    random.Random(7).shuffle(grants)
    for one in grants:
        await send(services.publisher, one.model_dump(mode="json"))

    async def all_owned() -> bool:
        async with engine.connect() as tx:
            return all([len(await store.owned(tx, user)) == len(codes) for user in users])

    await until(all_owned, 15)
    async with engine.connect() as tx:
        for user in users:
            assert sorted(code for code, _ in await store.owned(tx, user)) == sorted(codes)


async def test_a_poisoned_grant_goes_to_the_dead_letters_and_the_rest_is_written(
    services: Services, engine: AsyncEngine, environment: dict[str, str]
) -> None:
    user = uuid.uuid4()
    good = grant(user, services.knowledge.characters[1].code).model_dump(mode="json")
    for body in ({"nonsense": True}, {**good, "character_code": "char-nobody"}, good):
        await send(services.publisher, body)

    async def written() -> bool:
        async with engine.connect() as tx:
            return len(await store.owned(tx, user)) == 1

    await until(written, 15)
    await _take_dead_letters(environment["ECO2_BROKER_URL"], 2)


async def _take_dead_letters(url: str, count: int) -> None:
    import aio_pika

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


async def test_everybody_owns_the_default_character(person: Callable[[], Person]) -> None:
    first, second = person(), person()
    rows = [(await who.http.get("/api/v1/users/me/characters")).json() for who in (first, second)]
    assert [[row["code"] for row in found] for found in rows] == [[service.DEFAULT_CODE]] * 2
    assert rows[0][0]["id"] == rows[1][0]["id"] == str(service.character_id(service.DEFAULT_CODE))


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
