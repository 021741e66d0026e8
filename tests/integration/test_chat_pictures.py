"""Pictures that the agent draws, on the real stack with the emulated provider: paid once, the user's own."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from eco2.chat import cleanup, turn_store, worker
from eco2.chat.agent import graph
from eco2.chat.agent.own_words import OwnWords
from eco2.chat.agent.texts import say
from eco2.chat.answering import Agent
from eco2.chat.gallery import MOST_BYTES, Gallery, open_gallery
from eco2.contracts import uploads
from eco2.contracts.pb import image_pb2 as pb
from eco2.contracts.pb.image_pb2_grpc import ImageServiceStub
from eco2.core import grpc
from eco2.core.errors import BadRequest, Unauthorized
from eco2.core.postgres import Database
from eco2.image.rpc import purge
from eco2.llm import budget
from eco2.llm.calls import Llm
from eco2.llm.provider import Provider
from eco2.llm.settings import LlmSettings
from eco2.llm.wire import Call, Drawings
from eco2.scan.services import Services
from tests import photos
from tests.integration.test_chat_turns import (
    People,
    begun,
    delivery,
    followed,
    history,
    resources,
    talk,
    waiting,
)
from tests.integration.test_images import read
from tests.llm_emulator import Emulator

__all__ = ["resources", "talk"]

pytestmark = pytest.mark.usefixtures("one_day")

MODEL, PURPOSE, WORDS = "gpt-image-1", "chat_image_generation", "북극곰 포스터 그려줘"
COST = 0.05
"""USD, more than such a picture costs."""


def model_at(emulator: Emulator, **more: Any) -> LlmSettings:
    return LlmSettings(llm_api_key="k", llm_base_url=emulator.base_url, llm_models=("*",), **more)


@pytest.fixture
async def gallery(environment: dict[str, str]) -> AsyncIterator[Gallery]:
    async with open_gallery(environment["ECO2_GRPC_IMAGE_API"], environment["ECO2_SERVICE_SECRET"]) as gallery:
        yield gallery


@pytest.fixture
async def drawing(
    emulator: Emulator, services: Services, resources: worker.Resources, gallery: Gallery
) -> AsyncIterator[worker.Resources]:
    """A worker that can draw."""
    llm = Llm(model_at(emulator, llm_image_timeout=timedelta(seconds=1)), services.bus.redis)
    base = services.knowledge
    agent = Agent(base, graph.build(), OwnWords(base), llm, None, "gpt-5.2", image_model=MODEL, gallery=gallery)
    yield replace(resources, agent=agent)
    await llm.aclose()


async def drawn(emulator: Emulator, job: object) -> int:
    return (await emulator.of(str(job))).get(PURPOSE, {}).get("calls", 0)


async def test_a_picture_is_drawn_told_as_generated_and_shown_in_the_history(
    person: People,
    database: Database,
    drawing: worker.Resources,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[Any] = []
    draw = Provider.draw

    async def noted(provider: Provider, call: Call, seconds: float) -> Drawings:
        sent.append(orjson.loads(call.body))
        return await draw(provider, call, seconds)

    monkeypatch.setattr(Provider, "draw", noted)
    who = person()
    chat = await begun(who)
    turn = await waiting(database, who, chat, WORDS)
    await worker.work(drawing, delivery({"job_id": str(turn.id)}))
    result = (await followed(who, str(turn.id)))[-1][1]["result"]
    answer = (await history(who, chat))[-1]
    url = result["persistence"]["assistant_image_url"]
    assert (answer["image_url"], answer["intent"]) == (url, "image_generation")
    assert say("picture", "ko") in answer["content"]
    picture = await read(url)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    assert uploads.owns(environment["ECO2_UPLOAD_SECRET"], str(who.id), str(drawing.storage.key_of(url)))

    follow = await waiting(database, who, chat, "더 귀엽게")
    await worker.work(drawing, delivery({"job_id": str(follow.id)}))
    first, second = (body["prompt"].split("---")[1].strip() for body in sent)
    assert (first, second) == (WORDS, f"{WORDS}\n더 귀엽게")
    assert not [body for body in sent if str(who.id) in str(body) or chat in str(body)], "the words and nothing else"
    assert (await history(who, chat))[-1]["image_url"] not in (None, url)

    day = budget.today()
    spent = int(await drawing.bus.redis.get(budget.user_key(day, str(who.id))) or 0)
    assert 0 < spent / 1e6 < 2 * COST, "what it cost counts for its user, and no more stays held"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("refusal", "picture_refused"),
        ("rate_limit", "picture_away"),
        ("error", "picture_away"),
        ("hang", "picture_away"),
        ("garbage", "picture_away"),
        ("cut", "away"),
    ],
)
async def test_what_is_not_drawn_is_said_politely_and_tried_once(
    person: People, database: Database, drawing: worker.Resources, emulator: Emulator, fault: str, told: str
) -> None:
    await emulator.behave(**{PURPOSE: {"next": [fault]}})
    who = person()
    chat = await begun(who)
    turn = await waiting(database, who, chat, WORDS)
    await worker.work(drawing, delivery({"job_id": str(turn.id)}))
    answer = (await history(who, chat))[-1]
    assert say(told, "ko") in answer["content"]
    assert (answer["image_url"], await drawn(emulator, turn.id)) == (None, 1)


async def test_what_a_picture_may_cost_is_held_and_what_does_not_fit_is_not_drawn(
    person: People, database: Database, drawing: worker.Resources, emulator: Emulator, services: Services
) -> None:
    spent = int(await services.bus.redis.get(budget.spent_key(budget.today())) or 0) / 1e6
    llm = Llm(model_at(emulator, llm_daily_budget_usd=spent + 1.5 * COST, llm_user_share=1), services.bus.redis)
    poor = replace(drawing, agent=replace(drawing.agent, llm=llm))
    who = person()
    chat = await begun(who)
    for words, told, calls in ((WORDS, "picture", 1), (f"{WORDS} 더 크게", "picture_spent", 0)):
        turn = await waiting(database, who, chat, words)
        await worker.work(poor, delivery({"job_id": str(turn.id)}))
        assert say(told, "ko") in (await history(who, chat))[-1]["content"]
        assert await drawn(emulator, turn.id) == calls
    await llm.aclose()


async def test_a_worker_that_dies_after_the_picture_does_not_pay_for_it_again(
    person: People,
    database: Database,
    drawing: worker.Resources,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    who = person()
    chat = await begun(who)
    turn = await waiting(database, who, chat, WORDS)
    finish = turn_store.finish

    async def dies(*_: object) -> bool:
        raise RuntimeError("dead")

    monkeypatch.setattr(turn_store, "finish", dies)
    with pytest.raises(RuntimeError):
        await worker.work(drawing, delivery({"job_id": str(turn.id)}))
    monkeypatch.setattr(turn_store, "finish", finish)
    await worker.work(drawing, delivery({"job_id": str(turn.id)}, 1))
    answer = (await history(who, chat))[-1]
    assert answer["image_url"]
    assert await drawn(emulator, turn.id) == 1


async def test_bytes_are_checked_stored_once_and_owned(
    gallery: Gallery, services: Services, database: Database, environment: dict[str, str]
) -> None:
    user, message = uuid.uuid4(), uuid.uuid4()
    picture = gallery.of(user, message)
    assert await picture.find() == ""
    for nothing in (b"", b"<svg/>", photos.jpeg()[:20], bytes(MOST_BYTES + 1)):
        with pytest.raises(BadRequest):
            await picture.keep(nothing)
    key = await picture.keep(photos.with_metadata("JPEG"))
    assert uploads.owns(environment["ECO2_UPLOAD_SECRET"], str(user), key)
    first = await services.storage.public.get(key, 10**7)
    assert first is not None
    assert b"Exif" not in first
    assert await picture.keep(photos.jpeg()) == await picture.find() == key
    assert await services.storage.public.get(key, 10**7) == first, "what comes later changes nothing"
    assert await gallery.of(uuid.uuid4(), message).keep(photos.jpeg()) != key

    wrong = pb.UploadBytesRequest(channel="chat", uploader_id=str(user), image_data=first, idempotency_key="a")
    for field, value in (("channel", "other"), ("uploader_id", "nobody"), ("idempotency_key", "")):
        request = pb.UploadBytesRequest()
        request.CopyFrom(wrong)
        setattr(request, field, value)
        with pytest.raises(BadRequest):
            await grpc.call(gallery.images.UploadBytes, request)
    async with grpc.channel(environment["ECO2_GRPC_IMAGE_API"], None) as stranger:
        with pytest.raises(Unauthorized):
            await grpc.call(ImageServiceStub(stranger).UploadBytes, wrong)

    assert await purge(database, services.storage, user) == 1
    assert await services.storage.public.get(key, 10**7) is None
    assert await picture.find() == ""


async def test_a_picture_of_no_message_goes_and_one_of_an_answer_stays(
    person: People, database: Database, drawing: worker.Resources, gallery: Gallery, services: Services
) -> None:
    who = person()
    chat = await begun(who)
    turn = await waiting(database, who, chat, WORDS)
    await worker.work(drawing, delivery({"job_id": str(turn.id)}))
    shown = await gallery.of(who.id, turn.message_id).find()
    unused = await gallery.of(who.id, uuid.uuid4()).keep(photos.jpeg())
    await cleanup.remove_unused(database, services.storage, timedelta(days=1))
    assert await services.storage.public.head(unused)
    await cleanup.remove_unused(database, services.storage, timedelta(0))
    assert await gallery.of(who.id, turn.message_id).find() == shown
    assert (await services.storage.public.head(unused), bool(await services.storage.public.head(shown))) == (None, True)
