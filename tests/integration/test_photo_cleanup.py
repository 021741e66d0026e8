"""Unneeded photos are deleted within a day, needed ones stay."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import pytest

from eco2.contracts import uploads
from eco2.contracts.uploads import Channel
from eco2.core.postgres import Database
from eco2.core.storage import Storage
from eco2.image import cleanup, rpc
from eco2.image import store as image_store
from eco2.photos import leftovers
from eco2.scan import photo_cleanup, photo_store, store, user_scans_store
from eco2.scan.services import Services
from tests import photos
from tests.conftest import Person
from tests.e2e import journey

People = Callable[[], Person]
NOW = timedelta(seconds=-5)
"""Whatever was written up to now is old."""
DAY = timedelta(hours=23)


def new_key(services: Services, channel: Channel = "scan", user: uuid.UUID | None = None) -> str:
    return uploads.new_key(services.upload_secret, str(user or uuid.uuid4()), channel, "jpg")


async def both(services: Services, key: str) -> str:
    for bucket in (services.storage.uploads, services.storage.public):
        await bucket.put(key, photos.jpeg(), "image/jpeg")
    return key


async def standing(services: Services, key: str) -> tuple[bool, bool]:
    """(there is an upload, there is a public photo)"""
    found = [await bucket.head(key) for bucket in (services.storage.uploads, services.storage.public)]
    return found[0] is not None, found[1] is not None


async def job_with(services: Services, status: LiteralString, key: str, created: LiteralString = "now()") -> uuid.UUID:
    job, user = uuid.uuid4(), uuid.uuid4()
    await services.db.rows(
        f"""INSERT INTO scan.jobs (id, user_id, image_key, status, created_at, announced_at, enqueued_at)
            VALUES (%(id)s, %(user)s, %(key)s, '{status}', {created}, now(), now())""",
        id=job,
        user=user,
        key=key,
    )
    return job


@pytest.fixture
async def long_known(services: Services) -> None:
    """The database knows scans from before all photos."""
    await job_with(services, "completed", new_key(services), "now() - interval '1 hour'")


@pytest.mark.usefixtures("long_known")
async def test_photos_that_no_scan_shows_go_and_others_stay(services: Services) -> None:
    unused, done, failed, running = [await both(services, new_key(services)) for _ in range(4)]
    await job_with(services, "completed", done)
    await job_with(services, "failed", failed)
    job = await job_with(services, "processing", running)

    young = await photo_cleanup.clean(services.db, services.storage, DAY)
    assert young.result == {"uploads": 0, "photos": 0}
    old = await photo_cleanup.clean(services.db, services.storage, NOW)
    assert await standing(services, unused) == (False, False)
    assert await standing(services, done) == await standing(services, failed) == (False, True)
    assert await standing(services, running) == (True, True), "it is about to be used"
    assert int(str(old.result["uploads"])) >= 3
    assert int(str(old.result["photos"])) >= 1
    await user_scans_store.forget_jobs(services.db, [job])


async def test_photos_from_before_the_oldest_scan_stay(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty or restored database must not empty the store."""
    key = await both(services, new_key(services))

    async def none(_db: object, at: object) -> set[datetime]:
        return await known(services.db, [])

    known = photo_store.known_since
    monkeypatch.setattr(photo_store, "known_since", none)
    await photo_cleanup.clean(services.db, services.storage, NOW)
    assert await standing(services, key) == (False, True)


async def test_the_oldest_scan_is_told_by_the_time_of_a_photo(services: Services) -> None:
    long_ago, soon = datetime(2000, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(minutes=1)
    await job_with(services, "completed", new_key(services))
    assert await photo_store.known_since(services.db, [long_ago, soon]) == {soon}


async def test_uploads_of_other_channels_go_and_their_rows_with_them(services: Services, db: Database) -> None:
    user = uuid.uuid4()
    channels: tuple[Channel, ...] = ("chat", "my", "scan")
    unused = [new_key(services, channel, user) for channel in channels]
    used = [new_key(services, channel, user) for channel in channels]
    async with db.transaction() as tx:
        for key in (*unused, *used):
            await image_store.add(tx, key, user, key.partition("/")[0], "a.jpg", "image/jpeg", {}, 100)
        sql: LiteralString = "UPDATE image.uploads SET created_at = now() - interval '1 hour' WHERE key = %(key)s"
        await tx.run(sql, key=used[0])
    orphan = await both(services, new_key(services, "chat", user))
    for key in used:
        await both(services, key)
    for key in unused:
        await services.storage.uploads.put(key, photos.jpeg(), "image/jpeg")

    await cleanup.clean(db, services.storage, DAY)
    assert await standing(services, orphan) == (True, True)
    await cleanup.clean(db, services.storage, NOW)
    async with db.transaction() as tx:
        assert set(await image_store.keys_of(tx, user, 100)) == set(used)
    assert await standing(services, orphan) == (False, False)
    for key in used:
        assert await standing(services, key) == (key.startswith("scan/"), True), key
    assert await rpc.purge(db, services.storage, user) == len(used)


async def test_the_row_of_an_upload_goes_when_its_scan_was_deleted(
    services: Services, db: Database, person: People
) -> None:
    who = person()
    kept, deleted = [await journey.scan(who, photos.jpeg(90 + n, 60)) for n in range(2)]
    assert (await who.http.delete(f"/api/v1/scan/{deleted['task_id']}")).status_code == 204
    await cleanup.clean(db, services.storage, NOW)
    job = await store.load(services.db, uuid.UUID(kept["task_id"]))
    assert job is not None
    async with db.transaction() as tx:
        assert await image_store.keys_of(tx, who.id, 10) == [job.image_key]


async def test_a_walk_through_the_store_misses_nothing_between_its_pages(
    services: Services, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eco2.core.storage.LIST_CHUNK", 2)
    user = uuid.uuid4()
    keys = sorted(new_key(services, "my", user) for _ in range(9))
    async with db.transaction() as tx:
        for key in keys:
            await image_store.add(tx, key, user, "my", "a.jpg", "image/jpeg", {}, 100)
    for key in keys[1:8:2]:
        await services.storage.public.put(key, photos.jpeg(), "image/jpeg")
    await cleanup.clean(db, services.storage, NOW)
    async with db.transaction() as tx:
        assert sorted(await image_store.keys_of(tx, user, 100)) == keys[1:8:2]
    await rpc.purge(db, services.storage, user)


async def test_an_empty_bucket_costs_no_row(services: Services, db: Database) -> None:
    """It is a wrong one, rather than one without photos."""
    user = uuid.uuid4()
    async with db.transaction() as tx:
        await image_store.add(tx, new_key(services, "my", user), user, "my", "a.jpg", "image/jpeg", {}, 100)

    class Empty(Storage):
        def __init__(self) -> None:
            self.uploads = self.public = Nothing()  # type: ignore[assignment]

    class Nothing:
        async def listed(self, _prefix: str):  # type: ignore[no-untyped-def]
            for _ in ():
                yield _

    await cleanup.clean(db, Empty(), NOW)
    async with db.transaction() as tx:
        assert len(await image_store.keys_of(tx, user, 10)) == 1
    await rpc.purge(db, services.storage, user)


async def test_both_tasks_run_in_a_process_of_their_own(services: Services, environment: dict[str, str]) -> None:
    for run in (photo_cleanup.run, cleanup.run):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            outcome = await run("")
        assert all(isinstance(count, int) for count in outcome.result.values())


async def test_what_is_left_over_is_deleted_page_by_page(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eco2.core.storage.LIST_CHUNK", 3)
    keys = [new_key(services, "chat") for _ in range(7)]
    for key in keys:
        await services.storage.uploads.put(key, b"x", "image/jpeg")

    async def kept(found: object) -> set[str]:
        return {keys[0]}

    assert await leftovers.remove(services.storage.uploads, "chat", datetime.now(UTC) - NOW, kept) >= 6
    assert [key for key in keys if await services.storage.uploads.head(key)] == [keys[0]]
    await services.storage.uploads.delete([keys[0]])
