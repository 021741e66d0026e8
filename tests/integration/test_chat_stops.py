"""Answers that are stopped at every stage, chats that are deleted while they answer, and a long chat."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from eco2.chat import turn_store, worker
from eco2.chat.turn_store import Limits, Said, Turn
from eco2.contracts.events import Stage, Status
from eco2.core.postgres import Database
from eco2.llm.calls import Llm
from eco2.scan.services import Services
from tests.conftest import Person
from tests.integration.test_chat_kills import WORDS, Killed
from tests.integration.test_chat_turns import CHAT, begun, delivery, followed, history, resources, talk, waiting
from tests.photos import jpeg
from tests.unit.chat.test_bounds import SMALLEST_WINDOW, Listening
from tests.unit.chat.test_bounds import WORDS as MESSAGES

__all__ = ["resources", "talk"]

People = Callable[[], Person]
STOPPED = {(Stage.INTENT, Status.STARTED), (Stage.WASTE, Status.STARTED), (Stage.ANSWER, Status.COMPLETED)}
POINTS = [
    pytest.param(stage, at, id=f"{stage} {at}", marks=[] if (stage, at) in STOPPED else [pytest.mark.slow])
    for stage in WORDS
    for at in (Status.STARTED, Status.COMPLETED)
    # Before the first and after the last one there is nothing to stop; a look that fails has no completed end.
    if stage not in (Stage.QUEUED, Stage.DONE) and (stage, at) != (Stage.VISION, Status.COMPLETED)
]
TURNS = 100


@pytest.mark.parametrize(("stage", "at"), POINTS)
async def test_an_answer_is_stopped_at_every_stage(
    person: People, database: Database, resources: worker.Resources, services: Services, stage: Stage, at: Status
) -> None:
    who = person()
    chat = await begun(who)
    turn = await waiting(database, who, chat, WORDS[stage])
    if stage is Stage.VISION:
        key = f"chat/{uuid.uuid4().hex}.jpg"
        await services.storage.public.put(key, jpeg(), "image/jpeg")
        await database.rows(
            "UPDATE chat.messages SET image_key = %(key)s WHERE id = %(id)s", key=key, id=turn.message_id
        )
    job = str(turn.id)
    await resources.bus.open(job, str(who.id))
    bus = Killed(resources.bus, stage, at)
    held = replace(resources, bus=bus, running={})
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(worker.stop_the_stopped(held))
        work = tasks.create_task(worker.work(held, delivery({"job_id": job})))
        await bus.there.wait()
        assert (await who.http.post(f"{CHAT}/{job}/cancel")).status_code == 200
        await work
        watch.cancel()
    question, answer = await history(who, chat)
    assert (question["turn"]["status"], answer["metadata"]) == ("cancelled", {"cancelled": True})
    assert answer["content"]
    assert [event for event, _ in await followed(who, job)].count("done") == 1
    assert not held.running
    next_one = await waiting(database, who, chat)
    await worker.work(resources, delivery({"job_id": str(next_one.id)}))
    assert len(await history(who, chat)) == 4, "the chat goes on"


@pytest.mark.slow
async def test_a_hundred_chats_are_deleted_while_they_answer(
    person: People, database: Database, resources: worker.Resources
) -> None:
    crowd = [person() for _ in range(20)]
    turns = [
        (who, chat, await waiting(database, who, chat))
        for who in crowd
        for chat in [await begun(who) for _ in range(5)]
    ]

    async def deleted(who: Person, chat: str) -> None:
        assert (await who.http.delete(f"{CHAT}/{chat}")).status_code == 204

    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(worker.stop_the_stopped(resources))
        works = [tasks.create_task(worker.work(resources, delivery({"job_id": str(turn.id)}))) for _, _, turn in turns]
        deletions = [tasks.create_task(deleted(who, chat)) for who, chat, _ in turns]
        await asyncio.gather(*works, *deletions)
        watch.cancel()
    for who in crowd:
        assert (await who.http.get(CHAT)).json()["chats"] == []
    for who, chat, turn in turns:
        ended = await turn_store.load(database, turn.id)
        assert ended
        assert not ended.open
        assert (await who.http.get(f"{CHAT}/{chat}")).status_code == 404
    assert not resources.running


async def test_a_chat_of_two_hundred_messages_is_whole_and_costs_no_more_at_its_end(
    person: People, database: Database, resources: worker.Resources
) -> None:
    who = person()
    chat = await begun(who)
    model = Listening()
    asking = replace(resources, agent=replace(resources.agent, llm=cast(Llm, model)))
    for number in range(TURNS):
        said = Said(f"{MESSAGES[number % len(MESSAGES)]} ({number})")
        turn = await turn_store.submit(database, uuid.UUID(chat), who.id, said, None, Limits(5, 1000))
        assert isinstance(turn, Turn)
        await worker.work(asking, delivery({"job_id": str(turn.id)}))
    (row,) = await database.rows("SELECT memory FROM chat.sessions WHERE id = %(id)s", id=uuid.UUID(chat))
    assert len(orjson.dumps(row[0])) < 8_000
    sizes = [sum(len(str(one["content"]).encode()) for one in messages) for messages in model.heard]
    assert len(sizes) >= TURNS // 2
    assert max(sizes) < SMALLEST_WINDOW
    half = len(sizes) // 2
    assert max(sizes[half:]) <= max(sizes[:half]) * 1.1, "what a model is asked does not grow with the chat"

    async def page(**query: Any) -> dict[str, Any]:
        return dict((await who.http.get(f"{CHAT}/{chat}", params={"limit": 30, **query})).json())

    back: list[dict[str, Any]] = []
    found = await page()
    while True:
        back = [*found["messages"], *back]
        if not found["has_more"]:
            break
        found = await page(cursor=found["next_cursor"])
    assert len({one["id"] for one in back}) == len(back) == 2 * TURNS
    assert [one["role"] for one in back] == ["user", "assistant"] * TURNS
    assert [one["content"].rpartition("(")[2] for one in back[::2]] == [f"{number})" for number in range(TURNS)]
    found = await page(cursor=(await page(limit=2 * TURNS - 2))["next_cursor"])
    forth = found["messages"]
    while (found := await page(after=found["newest_cursor"]))["messages"]:
        forth += found["messages"]
    assert [one["id"] for one in forth] == [one["id"] for one in back]
