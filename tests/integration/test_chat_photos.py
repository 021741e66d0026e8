"""Photos in chats on the real stack: looked at by scan-worker, the user's own alone, honest where nobody looks."""

import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from eco2.contracts import uploads
from eco2.contracts.pb import scan_pb2 as pb
from eco2.contracts.pb.scan_pb2_grpc import VisionServiceStub
from eco2.core import grpc
from eco2.core.errors import BadRequest, NotFound, Unavailable
from eco2.scan import looking
from tests.conftest import PAID_MODEL, Person
from tests.integration.test_chat_turns import begun, followed, send
from tests.integration.test_images import put, ticket

People = Callable[[], Person]
COFFEE = (Path(__file__).parents[2] / "data/demo/coffee.jpg").read_bytes()


async def uploaded(who: Person) -> dict[str, Any]:
    found = await ticket(who, "chat")
    (await put(found["upload_url"], COFFEE)).raise_for_status()
    return found


@pytest.fixture
async def classify(environment: dict[str, str]) -> AsyncIterator[Callable[..., Any]]:
    async with grpc.channel(environment["ECO2_GRPC_SCAN_WORKER"], environment["ECO2_SERVICE_SECRET"]) as channel:
        stub = VisionServiceStub(channel)

        async def ask(user: object, key: str, **more: Any) -> pb.ClassifyResponse:
            return await grpc.call(stub.Classify, pb.ClassifyRequest(user_id=str(user), key=key, **more), 30)

        yield ask


async def test_a_photo_is_looked_at_before_it_is_answered_and_remembered(person: People) -> None:
    who = person()
    chat = await begun(who)
    job = await send(who, chat, "이 이미지 분류해줘", image_url=(await uploaded(who))["cdn_url"])
    frames = await followed(who, job)
    stages = [(event, data["status"]) for event, data in frames if not event.startswith("token")]
    assert stages[2:5] == [("vision", "started"), ("vision", "completed"), ("intent", "started")]
    result = frames[-1][1]["result"]
    item = result["persistence"]["metadata"]["photo"]["item"]
    assert item
    assert result["answer"].startswith("사진의 물건: ")
    assert result["persistence"]["user_image_url"]
    follow = (await followed(who, await send(who, chat, "어디에 버려?")))[-1][1]["result"]
    assert follow["persistence"]["metadata"]["followed"] == item


async def test_the_same_photo_is_looked_at_once_by_the_paid_model(person: People, classify: Callable[..., Any]) -> None:
    who = person()
    photo = await uploaded(who)
    job = await send(who, await begun(who), "이거?", image_url=photo["cdn_url"], model=PAID_MODEL)
    assert (await followed(who, job))[-1][1]["result"]["persistence"]["metadata"]["photo"]["away"] is False
    again = await classify(who.id, photo["key"], model=PAID_MODEL)
    assert (again.source, again.model.startswith(PAID_MODEL)) == ("exact", True)


async def test_nobody_looks_at_what_is_not_the_users_own(
    person: People, classify: Callable[..., Any], environment: dict[str, str]
) -> None:
    who = person()
    key = (await uploaded(who))["key"]
    secret = environment["ECO2_UPLOAD_SECRET"]
    for user, other in (
        (uuid.uuid4(), key),
        (who.id, uploads.new_key(secret, str(who.id), "my", "jpg")),
        (who.id, uploads.new_key(secret, str(who.id), "chat", "jpg")),  # nothing was ever uploaded there
        (who.id, key),  # uploaded, and not checked and published yet
        (who.id, "http://169.254.169.254/chat"),
    ):
        with pytest.raises(NotFound):
            await classify(user, other)
    with pytest.raises(BadRequest):
        await classify("nobody", key)


async def test_more_looks_than_a_worker_has_room_for_are_refused_for_now() -> None:
    secret, user = "s" * 32, uuid.uuid4()
    vision = looking.Vision(None, None, secret)  # type: ignore[arg-type]
    key = uploads.new_key(secret, str(user), "chat", "jpg")
    for _ in range(looking.MOST_LOOKS):
        await vision._room.acquire()
    with pytest.raises(Unavailable) as refused:
        await vision.Classify(pb.ClassifyRequest(user_id=str(user), key=key), None)
    assert refused.value.code == "MODEL_BUSY"
