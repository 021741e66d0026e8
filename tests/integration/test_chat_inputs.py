"""Answers that wait for their user in the middle: for the place where they are."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from eco2.chat import turn_store, worker
from eco2.chat.turn_store import Limits, Said, Turn
from eco2.contracts.pb import location_pb2 as places
from eco2.core.postgres import Database
from tests.conftest import Person
from tests.integration.test_chat_turns import (
    CHAT,
    begun,
    delivery,
    followed,
    history,
    resources,
    talk,
)
from tests.redis_server import until

__all__ = ["resources", "talk"]

People = Callable[[], Person]
WHERE = "근처 제로웨이스트 가게 어디 있어?"
SEOUL = {"latitude": 37.5663, "longitude": 126.9779}


@pytest.fixture
def looking(resources: worker.Resources) -> worker.Resources:
    """A worker that finds one shop wherever it looks."""

    async def nearby(request: places.SearchNearbyRequest) -> places.SearchNearbyResponse:
        found = places.Place(id=1, name=f"{request.latitude:.4f} 가게", distance_text="120m")
        return places.SearchNearbyResponse(entries=[found], total_count=1)

    return replace(resources, agent=replace(resources.agent, places=nearby))


async def asked(db: Database, who: Person, chat: str, *inputs: str) -> Turn:
    """A turn that this client sent, which no broker has."""
    said = Said(WHERE, inputs=inputs)
    turn = await turn_store.submit(db, uuid.UUID(chat), who.id, said, None, Limits(5, 1000))
    assert isinstance(turn, Turn)
    await db.rows("UPDATE chat.turns SET queued_at = now() WHERE id = %(id)s", id=turn.id)
    return turn


@asynccontextmanager
async def at_work(worker_: worker.Resources, turn: Turn, deliveries: int = 0) -> AsyncIterator["asyncio.Task[None]"]:
    message = delivery({"job_id": str(turn.id)}, deliveries=deliveries)
    bringing = asyncio.create_task(worker.bring_inputs(worker_))
    watching = asyncio.create_task(worker.stop_the_stopped(worker_))
    working = asyncio.create_task(worker.work(worker_, message))
    try:
        async with asyncio.timeout(30):
            yield working
    finally:
        for task in (bringing, watching, working):
            task.cancel()
        await asyncio.gather(bringing, watching, working, return_exceptions=True)


async def waits(db: Database, turn: Turn) -> None:
    async def waiting() -> bool:
        found = await turn_store.load(db, turn.id)
        return found is not None and found.waiting_for == "location"

    await until(waiting)


async def give(who: Person, turn: Turn, data: dict[str, Any], kind: str = "location") -> tuple[int, str]:
    answer = await who.http.post(f"{CHAT}/{turn.id}/input", json={"type": kind, "data": data})
    return answer.status_code, answer.json().get("code", "")


async def test_an_answer_waits_for_the_place_and_goes_on_with_it(
    person: People, database: Database, looking: worker.Resources
) -> None:
    who, other = person(), person()
    chat = await begun(who)
    turn = await asked(database, who, chat, "location")
    await looking.bus.open(str(turn.id), str(who.id))
    following = asyncio.create_task(followed(who, str(turn.id)))
    async with at_work(looking, turn) as working:
        await waits(database, turn)
        assert await give(other, turn, SEOUL) == (404, "JOB_NOT_FOUND")
        assert await give(who, turn, {"confirmed": True}, "confirmation") == (409, "INPUT_NOT_EXPECTED")
        for bad in ({"latitude": 91, "longitude": 0}, {"latitude": "37", "longitude": 127}, {"latitude": True}):
            assert await give(who, turn, bad) == (400, "INPUT_MALFORMED")
        assert await give(who, turn, SEOUL) == (200, "")
        assert await give(who, turn, SEOUL) == (409, "INPUT_NOT_EXPECTED")
        await working
    frames = await following
    needs = [data for event, data in frames if event == "needs_input"]
    assert [(one["status"], one["result"]) for one in needs] == [("started", {"type": "location"}), ("completed", "")]
    assert "위치" in needs[0]["message"]
    assert "37.5663 가게" in frames[-1][1]["result"]["answer"]
    ended = await turn_store.load(database, turn.id)
    assert ended
    assert (ended.input, ended.location, ended.waiting_for) == (None, None, None), "where they are is forgotten"


@pytest.mark.parametrize("how", ["late", "declined", "cannot"])
async def test_without_the_place_it_goes_on_and_says_what_is_missing(
    person: People, database: Database, looking: worker.Resources, how: str
) -> None:
    who = person()
    chat = await begun(who)
    turn = await asked(database, who, chat, *([] if how == "cannot" else ["location"]))
    seconds = timedelta(seconds=0.2 if how == "late" else 60)
    mine = replace(looking, settings=looking.settings.model_copy(update={"input_timeout": seconds}))
    async with at_work(mine, turn) as working:
        if how == "declined":
            await waits(database, turn)
            assert await give(who, turn, {}) == (200, "")
        await working
    assert "위치를 알려 주시면" in (await history(who, chat))[-1]["content"]
    assert await give(who, turn, SEOUL) == (409, "INPUT_NOT_EXPECTED")


@pytest.mark.parametrize("given", ["meanwhile", "afterwards"])
async def test_a_worker_that_dies_while_it_waits_leaves_the_wait_to_the_next(
    person: People, database: Database, looking: worker.Resources, given: str
) -> None:
    who = person()
    chat = await begun(who)
    turn = await asked(database, who, chat, "location")
    await looking.bus.open(str(turn.id), str(who.id))
    following = asyncio.create_task(followed(who, str(turn.id)))
    async with at_work(looking, turn):
        await waits(database, turn)
    if given == "meanwhile":
        assert await give(who, turn, {**SEOUL, "other": "field"}) == (200, "")
        kept = await turn_store.load(database, turn.id)
        assert kept
        assert kept.input == {"type": "location", "data": SEOUL}
    async with at_work(looking, turn, deliveries=1) as working:
        if given == "afterwards":

            async def again() -> bool:
                return turn.id in looking.waiting

            await until(again)
            assert await give(who, turn, SEOUL) == (200, "")
        await working
    frames = await following
    assert [data["status"] for event, data in frames if event == "needs_input"] == ["started", "completed"]
    assert "37.5663 가게" in frames[-1][1]["result"]["answer"]
    assert len(await history(who, chat)) == 2


async def test_an_answer_that_waits_can_be_stopped(
    person: People, database: Database, looking: worker.Resources
) -> None:
    who = person()
    chat = await begun(who)
    turn = await asked(database, who, chat, "location")
    async with at_work(looking, turn) as working:
        await waits(database, turn)
        assert (await who.http.post(f"{CHAT}/{turn.id}/input", json={"type": "cancel"})).status_code == 200
        await working
    assert (await history(who, chat))[-1]["metadata"] == {"cancelled": True}
    assert not looking.waiting


async def test_a_user_is_asked_in_one_turn_at_a_time_and_a_process_asks_few(
    person: People, database: Database, looking: worker.Resources
) -> None:
    few = replace(looking, settings=looking.settings.model_copy(update={"worker_concurrency": worker.ASKING_SHARE}))
    who, other = person(), person()
    chats = [await begun(who), await begun(who), await begun(other)]
    first = await asked(database, who, chats[0], "location")
    async with at_work(few, first) as working:
        await waits(database, first)
        elsewhere = replace(looking, asking=set(), running={}, waiting={})
        for whose, chat, by in ((who, chats[1], elsewhere), (other, chats[2], few)):
            async with at_work(by, await asked(database, whose, chat, "location")) as answered:
                await answered
            assert "위치를 알려 주시면" in (await history(whose, chat))[-1]["content"]
        assert await give(who, first, SEOUL) == (200, "")
        await working
    assert not few.asking
