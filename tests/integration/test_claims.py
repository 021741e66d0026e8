"""Claims of a guest's data, service by service: what runs, what is repeated, what fails in between."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, LiteralString

import pytest
from redis.exceptions import RedisError

from eco2.chat import claims as chat_claims
from eco2.contracts import uploads
from eco2.contracts.events import Stage
from eco2.core import redis
from eco2.core.postgres import Database
from eco2.core.storage import StorageDown
from eco2.image import rpc as image_rpc
from eco2.image import store as image_store
from eco2.messaging.events import EventBus
from eco2.scan import claims, service, store
from eco2.scan.job import Job
from eco2.scan.progress import both, completed
from eco2.scan.services import Services
from tests import photos
from tests.conftest import Person

People = Callable[[], Person]


async def job_of(services: Services, guest: uuid.UUID, key: str | None = None) -> Job:
    """A queued scan of the guest, whose photo is there and whose first events are out."""
    image = uploads.new_key(services.upload_secret, str(guest), "scan", "jpg")
    await services.storage.public.put(image, photos.jpeg(), "image/jpeg")
    job = await store.add(services.db, uuid.uuid4(), guest, key, image, None, None)
    assert isinstance(job, Job)
    await services.bus.emit(str(job.id), *both(Stage.QUEUED), owner=str(guest))
    return job


async def loaded(services: Services, job: Job) -> Job:
    found = await store.load(services.db, job.id)
    assert found is not None
    return found


async def test_events_of_a_running_scan_are_its_new_owners(services: Services, person: People) -> None:
    guest, user = uuid.uuid4(), person()
    job = await job_of(services, guest)
    assert await claims.claim(services, guest, user.id) == 1
    # A worker that began before knows the old owner.
    await services.bus.emit(str(job.id), completed(Stage.VISION), owner=str(guest))
    assert await services.bus.owner(str(job.id)) == str(user.id)
    await store.fail(services.db, job.id, "TEST", "끝", "over")
    await service.announce(services, await loaded(services, job))
    async with user.http.sse(f"/api/v1/scan/{job.id}/events") as source:
        stages = [event.event async for event in source if event.event != "keepalive"]
    assert stages[0] == "queued"
    assert stages[-1] == "done"


async def test_a_photo_changes_its_key_when_its_scan_has_ended(services: Services) -> None:
    guest, user = uuid.uuid4(), uuid.uuid4()
    job = await job_of(services, guest)
    await claims.claim(services, guest, user)
    assert (await loaded(services, job)).image_key == job.image_key, "a worker may be about to read it"
    await store.fail(services.db, job.id, "TEST", "끝", "over")
    assert await claims.claim(services, guest, user) == 0
    new = (await loaded(services, job)).image_key
    assert uploads.owns(services.upload_secret, str(user), new)
    assert await services.storage.public.head(new)
    assert await services.storage.public.head(job.image_key) is None


async def test_claims_can_be_repeated_and_take_nobody_elses(services: Services) -> None:
    guest, user, other = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    mine, theirs = await job_of(services, guest), await job_of(services, other)
    assert [await claims.claim(services, guest, user) for _ in range(3)] == [1, 0, 0]
    assert (await loaded(services, mine)).user_id == user
    assert (await loaded(services, theirs)).user_id == other
    assert await services.bus.owner(str(theirs.id)) == str(other)


async def test_a_key_that_both_have_used_stays_the_users(services: Services) -> None:
    guest, user = uuid.uuid4(), uuid.uuid4()
    theirs, own = await job_of(services, guest, "key:same"), await job_of(services, user, "key:same")
    other = await job_of(services, guest, "key:other")
    assert await claims.claim(services, guest, user) == 2
    for key, job in (("key:same", own), ("key:other", other)):
        found = await store.find_known(services.db, user, key)
        assert isinstance(found, Job)
        assert found.id == job.id
    assert (await loaded(services, theirs)).user_id == user


async def test_a_claim_that_died_halfway_is_ended_by_the_next(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest, user = uuid.uuid4(), uuid.uuid4()
    job = await job_of(services, guest)
    await store.fail(services.db, job.id, "TEST", "끝", "over")

    async def down(*_args: object) -> None:
        raise StorageDown

    with monkeypatch.context() as patch:
        patch.setattr(services.storage.public, "copy", down)
        with pytest.raises(StorageDown):
            await claims.claim(services, guest, user)
    assert (await loaded(services, job)).user_id == user
    assert await claims.claim(services, guest, user) == 0
    assert uploads.owns(services.upload_secret, str(user), (await loaded(services, job)).image_key)


async def test_without_the_server_of_events_nothing_changes_hands(services: Services) -> None:
    guest = uuid.uuid4()
    job = await job_of(services, guest)
    away = redis.connect("redis://127.0.0.1:1/0", retries=0)
    with pytest.raises((RedisError, OSError)):
        await claims.claim(replace(services, bus=EventBus(away)), guest, uuid.uuid4())
    await away.aclose()
    assert (await loaded(services, job)).user_id == guest


async def test_uploads_get_the_tag_of_their_new_owner(services: Services, db: Database) -> None:
    guest, user, secret = uuid.uuid4(), uuid.uuid4(), services.upload_secret
    key = uploads.new_key(secret, str(guest), "chat", "jpg")
    await services.storage.uploads.put(key, photos.jpeg(), "image/jpeg")
    await image_store.add(db, key, guest, "chat", "a.jpg", "image/jpeg", {"note": "창가"}, 10)
    assert [await image_rpc.claim(db, services.storage, secret, guest, user) for _ in range(2)] == [1, 0]
    (new,) = await image_store.keys_of(db, user, 10)
    assert uploads.owns(secret, str(user), new)
    assert await services.storage.find(new)
    upload = await image_store.find(db, new)
    assert upload is not None
    assert (upload.user_id, upload.metadata) == (user, {"note": "창가"})


async def test_chats_and_their_events_change_hands(
    services: Services, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest, user, chat, message, turn = (uuid.uuid4() for _ in range(5))
    statements: tuple[LiteralString, ...] = (
        "INSERT INTO chat.sessions (id, user_id) VALUES (%(chat)s, %(guest)s)",
        """INSERT INTO chat.messages (id, chat_id, role, content, image_key, created_at)
           VALUES (%(message)s, %(chat)s, 'user', '캔', %(key)s, now())""",
        """INSERT INTO chat.turns (id, chat_id, message_id, user_id, idempotency_key, status, created_at, announced_at)
           VALUES (%(turn)s, %(chat)s, %(message)s, %(guest)s, 'same', 'completed', now(), now())""",
    )
    key = uploads.new_key(services.upload_secret, str(guest), "chat", "jpg")
    await services.storage.public.put(key, photos.jpeg(), "image/jpeg")
    for sql in statements:
        await db.run(sql, chat=chat, guest=guest, message=message, key=key, turn=turn)
    await services.bus.open(str(turn), str(guest))
    give, shown = chat_claims._give, list[bool]()

    async def given(*told: Any) -> int:
        """The chat is the user's from here on, and so is its photo."""
        number = await give(*told)
        row = await db.row("SELECT image_key FROM chat.messages WHERE id = %(id)s", id=message)
        assert row
        is_own = uploads.owns(services.upload_secret, str(user), row[0])
        shown.append(is_own and await services.storage.public.head(row[0]) is not None)
        return number

    monkeypatch.setattr(chat_claims, "_give", given)
    assert [await chat_claims.claim(services, guest, user) for _ in range(2)] == [1, 0]  # type: ignore[arg-type]
    assert await services.bus.owner(str(turn)) == str(user)
    row = await db.row(
        """SELECT sessions.user_id, turns.user_id, image_key FROM chat.sessions
           JOIN chat.turns ON turns.chat_id = sessions.id JOIN chat.messages ON messages.id = message_id
           WHERE sessions.id = %(chat)s""",
        chat=chat,
    )
    assert row is not None
    assert row[:2] == (user, user)
    assert shown == [True, True]
    assert uploads.owns(services.upload_secret, str(user), row[2])
    assert await services.storage.public.head(row[2])
