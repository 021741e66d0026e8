"""A worker that is killed anywhere in a turn: the next delivery answers, once, also where the dead one was not dead.

What is killed runs no line more, so each worker here is stopped for good at its point; afterwards it goes on, as one
does that was only cut off. The matrix of all points is in the slow lane.
"""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from eco2.chat import turn_store, worker
from eco2.chat.turn_store import Limits, Said, Turn
from eco2.contracts.events import Draft, Service, Stage, Status
from eco2.core.postgres import Database
from eco2.messaging.events import EventBus
from eco2.scan.services import Services
from tests.conftest import Person
from tests.integration.test_chat_turns import begun, delivery, followed, history, resources, talk, waiting
from tests.photos import jpeg

__all__ = ["resources", "talk"]

People = Callable[[], Person]
WORDS = {
    Stage.QUEUED: "캔은 어떻게 버려요?",
    Stage.INTENT: "캔은 어떻게 버려요?",
    Stage.WASTE: "캔은 어떻게 버려요?",
    Stage.CHARACTER: "캐릭터 알려줘",
    Stage.LOCATION: "근처 제로웨이스트 가게 어디 있어?",
    Stage.COLLECTION_POINT: "건전지 수거함 어디 있어?",
    Stage.BULK_WASTE: "장롱 대형폐기물 수수료 얼마야?",
    Stage.RECYCLABLE_PRICE: "캔 시세 알려줘",
    Stage.WEATHER: "서울 날씨 어때?",
    Stage.WEB_SEARCH: "환경 뉴스 검색해 줘",
    Stage.IMAGE_GENERATION: "북극곰 그려줘",
    Stage.GENERAL: "안녕하세요!",
    Stage.ANSWER: "캔은 어떻게 버려요?",
    Stage.DONE: "캔은 어떻게 버려요?",
    Stage.VISION: "이거 뭐야?",
}
SAYING = "saying"
POINTS: list[Any] = [
    pytest.param(Stage.ANSWER, SAYING, id="in mid-answer"),
    *(
        pytest.param(stage, status, id=f"{stage} {status}", marks=pytest.mark.slow)
        for stage in WORDS
        for status in (Status.STARTED, Status.COMPLETED)
        if (stage, status) != (Stage.DONE, Status.STARTED)
    ),
]


class Killed(EventBus):
    """The events of a process that is killed at this point, before it tells it."""

    def __init__(self, bus: EventBus, stage: Stage, at: str) -> None:
        super().__init__(bus.redis, Service.CHAT)
        self._stage, self._at = stage, at
        self.there, self.goes_on = asyncio.Event(), asyncio.Event()

    async def _here(self) -> None:
        self.there.set()
        await self.goes_on.wait()

    async def emit(self, job_id: str, *drafts: Draft, owner: str = "") -> list[int]:
        if any((draft.stage, draft.status) == (self._stage, self._at) for draft in drafts):
            await self._here()
        return await super().emit(job_id, *drafts, owner=owner)

    async def say(self, job_id: str, round_: int, part: int, content: str, node: str) -> int:
        if self._at == SAYING:
            await self._here()
        return await super().say(job_id, round_, part, content, node)


@pytest.mark.parametrize(("stage", "at"), POINTS)
async def test_a_killed_worker_leaves_its_turn_to_the_next(
    person: People, database: Database, resources: worker.Resources, services: Services, stage: Stage, at: str
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
    following = asyncio.create_task(followed(who, job))
    bus = Killed(resources.bus, stage, at)
    # What cannot be looked at is said so: that its stage failed is told in the place of its end.
    dead = asyncio.create_task(worker.work(replace(resources, bus=bus, running={}), delivery({"job_id": job})))
    try:
        async with asyncio.timeout(20):
            await _either(bus.there.wait(), dead)
        await worker.work(resources, delivery({"job_id": job}, deliveries=1))
        frames = await following
        assert [event for event, _ in frames].count("done") == 1
        assert frames[-1][1]["status"] == "completed"
        told = frames[-1][1]["result"]["answer"]
        assert [one["content"] for one in await history(who, chat)] == [WORDS[stage], told]
        bus.goes_on.set()
        await dead
        assert [one["content"] for one in await history(who, chat)] == [WORDS[stage], told]
        assert [event for event, _ in await followed(who, job)].count("done") == 1
    finally:
        dead.cancel()
        await asyncio.gather(dead, return_exceptions=True)


async def _either(reached: Any, dead: "asyncio.Task[None]") -> None:
    """Wait for the point; a stage that fails has no completed end, and its worker goes to the end of the turn."""
    there = asyncio.create_task(reached)
    await asyncio.wait({there, dead}, return_when=asyncio.FIRST_COMPLETED)
    there.cancel()


async def test_of_messages_at_once_one_is_taken_and_the_others_wait(person: People, database: Database) -> None:
    who = person()
    chat = uuid.UUID(await begun(who))
    said = [Said(f"{number}번째 질문") for number in range(10)]
    taken = await asyncio.gather(
        *(turn_store.submit(database, chat, who.id, one, None, Limits(5, 1000)) for one in said)
    )
    assert sum(isinstance(one, Turn) for one in taken) == 1
    assert {one.why for one in taken if not isinstance(one, Turn)} == {"busy"}
