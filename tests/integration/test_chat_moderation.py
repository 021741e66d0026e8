"""A look at messages before they are answered: the official client against the emulator."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from eco2 import knowledge as kb
from eco2.chat import moderation, turn_store, worker
from eco2.chat.moderation import MessageRefused, Moderation
from eco2.core.postgres import Database
from eco2.llm.settings import LlmSettings
from tests.conftest import Person
from tests.integration.test_chat_inputs import asked
from tests.integration.test_chat_turns import begun, delivery, history, resources, talk
from tests.llm_emulator import Emulator

__all__ = ["resources", "talk"]

KNOWLEDGE = kb.load()
PURPOSE = moderation.PURPOSE


@pytest.fixture
async def look(emulator: Emulator) -> AsyncIterator[Moderation]:
    given: dict[str, Any] = {"llm_base_url": emulator.base_url, "llm_api_key": "k", "llm_models": ("gpt-*",)}
    looking = Moderation(LlmSettings(**given), "omni-moderation-latest", 20)
    yield looking
    await looking.aclose()


async def test_what_is_flagged_is_refused_and_the_rest_is_not(emulator: Emulator, look: Moderation) -> None:
    await moderation.check(look, KNOWLEDGE, "우유팩 어떻게 버려요?", "job-1")
    await emulator.behave(**{PURPOSE: {"flags": True}})
    with pytest.raises(MessageRefused):
        await moderation.check(look, KNOWLEDGE, "우유팩 어떻게 버려요?", "job-1")
    assert (await emulator.of("job-1"))[PURPOSE] == {"calls": 2, "answers": 2}


@pytest.mark.parametrize("text", ["아이가 건전지를 삼켰어요", "가스가 새요", "약을 한 통 다 먹었어요"])
async def test_who_tells_of_harm_is_answered_and_nobody_is_asked(
    emulator: Emulator, look: Moderation, text: str
) -> None:
    await emulator.behave(**{PURPOSE: {"flags": True}})
    await moderation.check(look, KNOWLEDGE, text, "job-1")
    assert await emulator.of("job-1") == {}


@pytest.mark.parametrize("fault", ["error", "hang", "garbage", "rate_limit", "refusal"])
async def test_where_nobody_looks_in_time_it_goes_on_and_the_next_do_not_wait(
    emulator: Emulator, look: Moderation, fault: str
) -> None:
    await emulator.behave(**{PURPOSE: {"flags": True, "rates": {fault: 1}, "retry_after": 300}})
    look._seconds = 0.3 if fault == "hang" else look._seconds
    assert not await look("안녕", "job-1")
    assert not await look("안녕", "job-1")
    assert (await emulator.of("job-1"))[PURPOSE]["calls"] == 1
    await emulator.behave(**{PURPOSE: {"flags": True}})
    look._rests_until = asyncio.get_running_loop().time()
    assert await look("안녕", "job-1")


async def test_a_refused_message_fails_with_a_code_and_costs_no_answer(
    person: Callable[[], Person], database: Database, resources: worker.Resources
) -> None:
    async def refuses(text: str, job: str) -> bool:
        return True

    strict = replace(resources, agent=replace(resources.agent, moderate=refuses))
    who = person()
    chat = await begun(who)
    turn = await asked(database, who, chat)
    await worker.work(strict, delivery({"job_id": str(turn.id)}))
    ended = await turn_store.load(database, turn.id)
    assert ended
    assert (ended.status, ended.error_code) == ("failed", "MESSAGE_REFUSED")
    assert ended.error == MessageRefused.__doc__
    shown = await history(who, chat)
    assert [message["role"] for message in shown] == ["user"]
    assert shown[0]["turn"]["code"] == "MESSAGE_REFUSED"
