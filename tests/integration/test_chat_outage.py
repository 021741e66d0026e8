"""The database of chats away in the middle of turns: each is answered once, and the worker goes on by itself."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from eco2.chat import turn_store, worker
from eco2.chat.agent import graph
from eco2.chat.agent.own_words import OwnWords
from eco2.chat.answering import Agent
from eco2.chat.turn_store import Turn
from eco2.contracts.queues import CELERY_EXCHANGE, CELERY_QUEUE
from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings
from eco2.llm.calls import Llm
from eco2.llm.settings import LlmSettings
from eco2.messaging.broker import Heartbeat, Publisher
from eco2.messaging.consumer import consume_each
from eco2.scan.services import Services
from tests.conftest import FromStack
from tests.integration.queue.conftest import Wire
from tests.integration.test_chat_turns import People, begun, followed, history, resources, talk, waiting
from tests.integration.test_chat_worker import HELLO, WORDS, speaks
from tests.llm_emulator import MODEL, Emulator
from tests.redis_server import free_port, until

__all__ = ["resources", "talk"]


@pytest.mark.parametrize("seconds", [2, pytest.param(20, marks=pytest.mark.slow)])
async def test_turns_outlast_an_outage_of_the_database(
    person: People,
    database: Database,
    settings: FromStack,
    environment: dict[str, str],
    publisher: Publisher,
    emulator: Emulator,
    services: Services,
    resources: worker.Resources,
    seconds: float,
) -> None:
    await emulator.behave(chat_general={"says": WORDS, "pause": 0.02})
    given: dict[str, Any] = {"llm_api_key": "k", "llm_base_url": emulator.base_url, "llm_daily_budget_usd": None}
    llm, base = Llm(LlmSettings(**given), services.bus.redis), services.knowledge
    agent = Agent(base, graph.build(), OwnWords(base), llm, None, MODEL)
    parts, port = urlsplit(settings(DatabaseSettings).database_url), free_port()
    behind = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{port}")).geturl()
    wire = Wire(parts.port or 0)
    server = await asyncio.start_server(wire.accept, "127.0.0.1", port)
    own = settings(DatabaseSettings).model_copy(update={"database_url": behind})

    async def sent(words: str) -> tuple[Any, str, Turn]:
        who = person()
        chat = await begun(who)
        turn = await waiting(database, who, chat, words)
        await resources.bus.open(str(turn.id), str(who.id))
        await publisher.send_json(CELERY_EXCHANGE, CELERY_QUEUE, {"job_id": str(turn.id)}, str(turn.id))
        return who, chat, turn

    async def all_said() -> bool:
        return bool((await emulator.calls())["open"] == 0)

    async with open_database(own, repeat=False) as lost:
        works = {CELERY_QUEUE: partial(worker.work, replace(resources, db=lost, agent=agent))}
        consuming = asyncio.create_task(consume_each(environment["ECO2_BROKER_URL"], works, 8, Heartbeat(), 5))
        try:
            spoken = await sent(HELLO)
            await speaks(resources, spoken[2])
            server.close()
            wire.cut()
            away = asyncio.create_task(asyncio.sleep(seconds))
            asked = await sent("캔은 어떻게 버려요?")
            await until(all_said)
            await away
            for _, _, turn in (spoken, asked):
                stored = await turn_store.load(database, turn.id)
                assert stored
                assert stored.open, "its worker cannot end it"
            server = await asyncio.start_server(wire.accept, "127.0.0.1", port)
            for who, chat, turn in (spoken, asked, await sent("병은 어떻게 버려요?")):
                frames = await followed(who, str(turn.id))
                assert [event for event, _ in frames].count("done") == 1
                done = frames[-1][1]
                assert done["status"] == "completed"
                assert [one["role"] for one in await history(who, chat)] == ["user", "assistant"]
                if turn is spoken[2]:
                    assert done["result"]["answer"] == WORDS.strip()
            assert (await emulator.of(str(spoken[2].id)))["chat_general"]["calls"] == 1, "the model was paid once"
            assert not consuming.done()
        finally:
            consuming.cancel()
            await asyncio.wait([consuming])
            server.close()
            wire.cut()
    await llm.aclose()
