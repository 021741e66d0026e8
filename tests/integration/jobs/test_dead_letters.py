"""Dead letters of all vhosts: why, how often, when again; sent again without loss, dropped, or left."""

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import orjson
import pytest
from typer.testing import CliRunner, Result

from eco2 import knowledge
from eco2.character import store as ownerships
from eco2.cli.main import app
from eco2.contracts.grants import Grant
from eco2.contracts.queues import (
    CHAT_EXCHANGE,
    CHAT_QUEUE,
    DEAD_LETTER_EXCHANGE,
    Q_API,
    REWARD_EXCHANGE,
    REWARD_QUEUE,
    TASKS_EXCHANGE,
)
from eco2.jobs import dead_letters
from eco2.jobs.dead_letters import DeadLetter, Urls
from eco2.messaging.broker import BrokerDown, Publisher
from tests.integration.test_character import grant
from tests.redis_server import free_port, until

AN_HOUR = timedelta(hours=1)


async def expire_in_q_api(urls: Urls, argument: str) -> str:
    """A task that nobody took in time, in a queue that no process of the stack consumes; its message id."""
    message_id = uuid.uuid4().hex
    trace = f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"
    async with await aio_pika.connect(urls.tasks) as connection:
        exchange = await (await connection.channel()).get_exchange(TASKS_EXCHANGE, ensure=False)
        message = aio_pika.Message(
            orjson.dumps([[argument], {}, {}]),
            headers={"task": "oauth.verify", "traceparent": trace},
            message_id=message_id,
            content_type="application/json",
            priority=4,
            expiration=0.001,
        )
        await exchange.publish(message, "api.oauth")
    return message_id


async def letter(urls: Urls, wanted: str) -> DeadLetter:
    found: list[DeadLetter] = []

    async def there() -> bool:
        found[:] = [one for one in await dead_letters.listed(urls) if wanted in (one.id, one.argument)]
        return bool(found)

    await until(there, 15)
    return found[0]


async def taken_from_q_api(urls: Urls) -> Any:
    async with await aio_pika.connect(urls.tasks) as connection, asyncio.timeout(10):
        queue = await (await connection.channel()).get_queue(Q_API, ensure=False)
        while (message := await queue.get(fail=False)) is None:
            await asyncio.sleep(0.05)
        await message.ack()
        return message


async def test_a_letter_tells_where_why_how_often_and_its_trace(urls: Urls) -> None:
    message_id = await expire_in_q_api(urls, "somebody")
    found = await letter(urls, message_id)
    assert (found.vhost, found.held_in, found.queue) == ("tasks", "q.dlq", Q_API)
    assert (found.task, found.argument, found.reason, found.deaths) == ("oauth.verify", "somebody", "expired", 1)
    assert len(found.trace_id or "") == 32
    assert found.due_at == found.died_at + dead_letters.BACK_OFF[0]
    await dead_letters.settle(urls, [message_id], everything=False, again=False)


async def test_looking_changes_nothing(urls: Urls) -> None:
    message_id = await expire_in_q_api(urls, "x")
    first = await letter(urls, message_id)
    for _ in range(25):
        again = await letter(urls, message_id)
    assert again == first
    await dead_letters.settle(urls, [message_id], everything=False, again=False)


async def test_what_failed_for_a_passing_reason_is_sent_again_when_its_time_has_come(urls: Urls) -> None:
    message_id = await expire_in_q_api(urls, "again")
    found = await letter(urls, message_id)
    assert await dead_letters.replay_due(urls, found.died_at + timedelta(seconds=59)) == 0
    assert await dead_letters.replay_due(urls, found.died_at + timedelta(seconds=61)) == 1
    message = await taken_from_q_api(urls)
    assert (message.message_id, message.body, message.priority) == (message_id, found.body, 4)
    assert message.headers["x-eco2-replays"] == 1
    assert not [name for name in message.headers if "death" in name]
    assert message.headers["traceparent"].split("-")[1] == found.trace_id


async def test_it_is_sent_again_later_each_time_and_stays_in_the_end(urls: Urls) -> None:
    await expire_in_q_api(urls, "stubborn")
    found = await letter(urls, "stubborn")
    for replays, pause in enumerate(dead_letters.BACK_OFF):
        assert found.replays == replays
        assert found.due_at == found.died_at + pause
        async with await aio_pika.connect(urls.tasks) as connection:
            exchange = await (await connection.channel()).get_exchange(TASKS_EXCHANGE, ensure=False)
            async with dead_letters.opened(urls, ["tasks"]) as boxes:
                for box in boxes:
                    for one in box.letters:
                        if one.id == found.id:
                            revived = dead_letters.revived(one)
                            revived.expiration = timedelta(milliseconds=1)
                            await exchange.publish(revived, one.routing_key)
                            await box.drop(one)
        found = await letter(urls, "stubborn")
    assert (found.due_at, found.deaths) == (None, len(dead_letters.BACK_OFF) + 1)
    await dead_letters.settle(urls, [found.id], everything=False, again=False)


async def test_poison_stays_and_dies_again_when_it_is_sent_again(urls: Urls, publisher: Publisher) -> None:
    poison = uuid.uuid4().hex
    await publisher.send_json(REWARD_EXCHANGE, REWARD_QUEUE, {"nonsense": True}, poison)
    found = await letter(urls, poison)
    assert (found.reason, found.queue, found.due_at) == ("rejected", REWARD_QUEUE, None)
    assert await dead_letters.replay_due(urls, found.died_at + 1000 * AN_HOUR) == 0
    await dead_letters.settle(urls, [poison], everything=False, again=True)

    async def died_again() -> bool:
        return (await letter(urls, poison)).deaths == 2

    await until(died_again, 15)
    await dead_letters.settle(urls, [poison], everything=False, again=False)
    assert poison not in {one.id for one in await dead_letters.listed(urls)}


async def test_a_grant_that_is_sent_again_is_granted_once(
    urls: Urls, publisher: Publisher, db: Any, environment: dict[str, str]
) -> None:
    user = uuid.uuid4()
    code = knowledge.load().characters[1].code
    body = Grant.model_validate(grant(user, code)).model_dump(mode="json")
    await publisher.send_json(REWARD_EXCHANGE, REWARD_QUEUE, body, f"grant-{uuid.uuid4()}")
    dead = f"grant-{uuid.uuid4()}"
    death = {"queue": REWARD_QUEUE, "reason": "expired", "exchange": REWARD_EXCHANGE, "routing-keys": [REWARD_QUEUE]}
    async with await aio_pika.connect(urls.eco2) as connection:
        exchange = await (await connection.channel()).get_exchange(DEAD_LETTER_EXCHANGE, ensure=False)
        headers: Any = {"x-death": [{**death, "count": 1, "time": datetime.now(UTC)}]}
        await exchange.publish(aio_pika.Message(orjson.dumps(body), headers=headers, message_id=dead), "dlq.reward")
    assert (await letter(urls, dead)).due_at is not None
    await dead_letters.settle(urls, [dead], everything=False, again=True)

    async def owned() -> bool:
        async with db.transaction() as tx:
            return len(await ownerships.owned(tx, user)) == 1

    await until(owned, 15)
    assert dead not in {one.id for one in await dead_letters.listed(urls)}


async def test_nonsense_is_a_letter_that_can_be_seen_and_dropped_but_not_sent(urls: Urls) -> None:
    message_id = uuid.uuid4().hex
    async with await aio_pika.connect(urls.tasks) as connection:
        exchange = await (await connection.channel()).get_exchange(TASKS_EXCHANGE, ensure=False)
        await exchange.publish(aio_pika.Message(b"\xff\x00", message_id=message_id), "dlq.api")
    found = await letter(urls, message_id)
    assert (found.reason, found.due_at, found.transient) == ("unknown", None, False)
    (stayed,) = await dead_letters.settle(urls, [message_id], everything=False, again=True)
    assert stayed.problem == dead_letters.DeadLetterUnroutable().message
    assert (await letter(urls, message_id)).id == message_id, "a letter that cannot be sent is put back"
    await dead_letters.settle(urls, [message_id], everything=False, again=False)


async def test_no_broker_is_said() -> None:
    away = f"amqp://nobody:x@127.0.0.1:{free_port()}"
    with pytest.raises(BrokerDown):
        await dead_letters.listed(Urls(f"{away}/eco2", f"{away}/tasks"))


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(environment: dict[str, str]) -> Callable[..., Result]:
    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=environment)

    return invoke


async def test_the_operator_lists_shows_sends_again_and_drops(urls: Urls, run: Callable[..., Result]) -> None:
    for argument in ("first", "second"):
        await expire_in_q_api(urls, argument)
    first, second = await letter(urls, "first"), await letter(urls, "second")
    rows = json.loads((await asyncio.to_thread(run, "dlq", "list", "--json")).stdout)
    assert {first.id, second.id} <= {row["id"] for row in rows}
    shown = json.loads((await asyncio.to_thread(run, "dlq", "show", first.id[:20])).stdout)
    assert (shown["argument"], shown["reason"], shown["trace_id"]) == ("first", "expired", first.trace_id)
    assert (await asyncio.to_thread(run, "dlq", "replay", first.id[:20])).exit_code == 0
    assert (await taken_from_q_api(urls)).message_id == first.id
    assert (await asyncio.to_thread(run, "dlq", "drop", second.id)).exit_code == 0
    gone = await asyncio.to_thread(run, "dlq", "drop", second.id)
    assert gone.exit_code == 1
    assert "eco2 dlq list" in gone.stderr
    assert (await asyncio.to_thread(run, "dlq", "drop")).exit_code == 1


async def test_who_looks_while_another_does_waits_for_the_whole(urls: Urls) -> None:
    wanted = await expire_in_q_api(urls, uuid.uuid4().hex)
    await letter(urls, wanted)
    looks = await asyncio.gather(*(dead_letters.listed(urls) for _ in range(6)))
    assert all(wanted in [one.id for one in seen] for seen in looks)
    async with dead_letters.opened(urls):
        waiting = asyncio.ensure_future(dead_letters.listed(urls))
        await asyncio.sleep(0.5)
        assert not waiting.done()
    assert wanted in [one.id for one in await waiting]


async def test_a_look_that_never_ends_is_said(urls: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "TURN_SECONDS", 0.5)
    async with dead_letters.opened(urls):
        with pytest.raises(dead_letters.DeadLettersBusy):
            await dead_letters.listed(urls)


async def test_letters_of_vhost_chat_are_seen_and_sent_again_by_the_operator_alone(
    urls: Urls, environment: dict[str, str]
) -> None:
    """Its worker refuses a message that names no turn, each time that it comes."""
    every = replace(urls, chat=environment["ECO2_CHAT_BROKER_URL"])
    body = orjson.dumps({"job_id": f"no turn {uuid.uuid4()}"})
    async with await aio_pika.connect(environment["ECO2_CHAT_BROKER_URL"]) as connection, asyncio.timeout(30):
        channel = await connection.channel()
        exchange = await channel.get_exchange(CHAT_EXCHANGE, ensure=False)
        await exchange.publish(aio_pika.Message(body, message_id=uuid.uuid4().hex), CHAT_QUEUE)
    found = await letter(every, orjson.loads(body)["job_id"])
    assert (found.vhost, found.held_in, found.queue, found.due_at) == ("chat", "dlq.chat.process", CHAT_QUEUE, None)
    assert found.id not in [one.id for one in await dead_letters.listed(urls)]
    (settled,) = await dead_letters.settle(every, [found.id], everything=False, again=True)
    assert settled.problem is None
    again = await letter(every, found.argument)
    assert (again.body, again.deaths) == (body, 2)
    await dead_letters.settle(every, [again.id], everything=False, again=False)
