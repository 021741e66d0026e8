"""Turns that a paid model speaks in: stopped, cut off by a dying worker, two at once. Real servers and the emulator."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from eco2.chat import worker
from eco2.chat.agent import graph
from eco2.chat.agent.own_words import OwnWords
from eco2.chat.answering import Agent
from eco2.chat.conversation import Talk
from eco2.chat.turn_store import Turn
from eco2.contracts.events import Stage, Status
from eco2.core.postgres import Database
from eco2.knowledge import asking
from eco2.llm.calls import Llm
from eco2.llm.settings import LlmSettings
from eco2.scan.services import Services
from tests.integration.test_chat_kills import Killed
from tests.integration.test_chat_routing import VAGUE
from tests.integration.test_chat_turns import (
    CHAT,
    People,
    begun,
    delivery,
    followed,
    history,
    resources,
    send,
    talk,
    waiting,
)
from tests.llm_emulator import MODEL, Emulator
from tests.redis_server import until

__all__ = ["resources", "talk"]

WORDS = "".join(f"{number}번째 인사예요. " for number in range(1, 41))
HELLO = "안녕하세요!"


@pytest.fixture
async def speaking(
    emulator: Emulator, services: Services, resources: worker.Resources
) -> AsyncIterator[worker.Resources]:
    """A worker whose model speaks slowly."""
    await emulator.behave(chat_general={"says": WORDS, "pause": 0.02})
    given: dict[str, Any] = {"llm_api_key": "k", "llm_base_url": emulator.base_url, "llm_daily_budget_usd": None}
    llm, base = Llm(LlmSettings(**given), services.bus.redis), services.knowledge
    yield replace(resources, agent=Agent(base, graph.build(), OwnWords(base), llm, None, MODEL))
    await llm.aclose()


async def said(worker_: worker.Resources, turn: Turn) -> str:
    text = await worker_.bus.text(str(turn.id))
    return text.content if text else ""


async def speaks(worker_: worker.Resources, turn: Turn) -> None:
    async def heard() -> bool:
        return len(await said(worker_, turn)) > 30

    await until(heard)


async def test_an_answer_is_streamed_as_it_is_written(
    person: People, database: Database, speaking: worker.Resources
) -> None:
    who = person()
    turn = await waiting(database, who, await begun(who), HELLO)
    job = str(turn.id)
    await speaking.bus.open(job, str(who.id))
    following = asyncio.create_task(followed(who, job))
    await worker.work(speaking, delivery({"job_id": job}))
    frames = await following
    tokens = [data["content"] for event, data in frames if event == "token"]
    assert 1 < len(tokens) < 40
    assert frames[-1][1]["result"]["answer"] == WORDS.strip()
    assert "".join(tokens).strip() == WORDS.strip()
    assert [event for event, _ in frames][-2:] == ["answer", "done"]


async def test_an_answer_that_is_being_written_is_stopped_and_keeps_what_was_said(
    person: People, database: Database, emulator: Emulator, speaking: worker.Resources
) -> None:
    who = person()
    chat = await begun(who)
    turn = await waiting(database, who, chat, HELLO)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(worker.stop_the_stopped(speaking))
        work = tasks.create_task(worker.work(speaking, delivery({"job_id": str(turn.id)})))
        await speaks(speaking, turn)
        await who.http.post(f"{CHAT}/{turn.id}/cancel")
        await work
        watch.cancel()
    kept = (await history(who, chat))[-1]
    assert kept["metadata"] == {"cancelled": True}
    assert WORDS.startswith(kept["content"])
    assert 30 < len(kept["content"]) < len(WORDS) - 30

    async def closed() -> bool:
        return bool((await emulator.calls())["open"] == 0)

    await until(closed)
    assert (await who.http.get(f"{CHAT}/{chat}")).json()["messages"][0]["turn"]["status"] == "cancelled"


async def test_a_worker_that_dies_in_mid_answer_leaves_it_to_the_next_which_begins_anew(
    person: People, database: Database, emulator: Emulator, speaking: worker.Resources
) -> None:
    who = person()
    chat = await begun(who)
    turn = await waiting(database, who, chat, HELLO)
    job = str(turn.id)
    await speaking.bus.open(job, str(who.id))
    following = asyncio.create_task(followed(who, job))
    dying = asyncio.create_task(worker.work(speaking, delivery({"job_id": job})))
    await speaks(speaking, turn)
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    other = "다시 인사해요. 반가워요."
    await emulator.behave(chat_general={"says": other})
    await worker.work(speaking, delivery({"job_id": job}, deliveries=1))
    frames = await following
    assert frames[-1][1]["result"]["answer"] == other
    assert [event for event, _ in frames].count("done") == 1
    assert [one["content"] for one in await history(who, chat)] == [HELLO, other]


@pytest.mark.parametrize(
    ("stage", "made"),
    [(Stage.INTENT, {"chat_routing": 1}), (Stage.WASTE, {"chat_routing": 1, "chat_waste": 1})],
)
async def test_what_a_killed_worker_paid_for_is_not_paid_again(
    person: People,
    database: Database,
    emulator: Emulator,
    speaking: worker.Resources,
    stage: Stage,
    made: dict[str, int],
) -> None:
    tool = {"name": "waste", "arguments": {"thing": "보조배터리"}}
    await emulator.behave(chat_routing={"calls": [tool]}, chat_waste={})
    who = person()
    chat = await begun(who)
    turn = await waiting(database, who, chat, VAGUE)
    message = delivery({"job_id": str(turn.id)})

    async def paid() -> dict[str, int]:
        return {purpose: counts["calls"] for purpose, counts in (await emulator.of(str(turn.id))).items()}

    bus = Killed(speaking.bus, stage, Status.COMPLETED)
    killed = asyncio.create_task(worker.work(replace(speaking, bus=bus, running={}), message))
    await bus.there.wait()
    assert await paid() == made
    killed.cancel()
    await asyncio.wait([killed])
    await emulator.behave(chat_routing={"calls": [{"name": "weather", "arguments": {"city": "", "day": "unsaid"}}]})
    await worker.work(speaking, delivery({"job_id": str(turn.id)}, deliveries=1))
    assert await paid() == {"chat_routing": 1, "chat_waste": 1}
    answer = (await history(who, chat))[-1]
    assert answer["metadata"]["items"] == ["power_bank"], "the first reply counts"
    (row,) = await database.rows("SELECT paid FROM chat.turns WHERE id = %(id)s", id=turn.id)
    assert row[0] is None, "it is forgotten with the end"


async def test_turns_of_several_chats_are_answered_at_once_each_with_its_own_answer(
    person: People, database: Database, speaking: worker.Resources
) -> None:
    who = person()
    asked = {await begun(who): words for words in (HELLO, "우유팩은?", "건전지는?", "프라이팬은?")}
    turns = {chat: await waiting(database, who, chat, words) for chat, words in asked.items()}
    await asyncio.gather(*(worker.work(speaking, delivery({"job_id": str(turn.id)})) for turn in turns.values()))
    for chat, words in asked.items():
        answers = [one["content"] for one in await history(who, chat) if one["role"] == "assistant"]
        rules = str(asking.ask(speaking.knowledge, words)["answer"])
        first = WORDS.strip() if words == HELLO else rules.partition("\n")[0]
        assert len(answers) == 1
        assert answers[0].startswith(first)


async def test_places_are_asked_of_location_api(person: People, talk: Talk) -> None:
    who = person()
    chat = await begun(who)
    seoul = {"latitude": 37.5663, "longitude": 126.9779}
    frames = await followed(who, await send(who, chat, "건전지 수거함 어디 있어?", user_location=seoul))
    result = frames[-1][1]["result"]
    assert result["intent"] == "collection_point"
    assert "알아볼 수 없어요" not in result["answer"]
    assert "위치를 알려 주시면" not in result["answer"]
    assert "건전지" in result["answer"]
