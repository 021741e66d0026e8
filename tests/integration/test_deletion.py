"""A scan that its user deletes, and photos of people who left while a worker had them."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest

from eco2.contracts import uploads
from eco2.core.postgres import Database
from eco2.core.storage import Storage, StorageDown
from eco2.image import rpc as image_rpc
from eco2.image import service as image_service
from eco2.image import store as image_store
from eco2.messaging.events import EventBus
from eco2.photos import published, reading
from eco2.scan import (
    claim_store,
    deletion,
    feedback_store,
    service,
    store,
    submission,
    user_scans,
    worker,
    worker_resources,
)
from eco2.scan.job import Job
from eco2.scan.outputs import VisionResult
from eco2.scan.services import Services
from eco2.scan.settings import ApiSettings
from tests import photos
from tests.conftest import FromStack, Person
from tests.e2e import journey
from tests.e2e.journey import is_error
from tests.integration.test_scan_service import SEEN, load, log_of, register, unchanged
from tests.redis_server import free_port

People = Callable[[], Person]


async def scanned(who: Person, url: str | None = None, **body: str) -> tuple[str, str]:
    """(job id, URL of its photo) of a finished scan."""
    url = url or await journey.upload(who, photos.with_metadata("JPEG"))
    answer = await who.http.post("/api/v1/scan/classify", json={"image_url": url, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["task_id"], url


async def is_public(url: str) -> bool:
    async with httpx2.AsyncClient() as anyone:
        return (await anyone.get(url)).status_code == 200


async def deleted(who: Person, job: str) -> int:
    return (await who.http.delete(f"/api/v1/scan/{job}")).status_code


async def stripped(data: bytes) -> tuple[bytes, str]:
    """As a decoding process leaves it."""
    info, clean = reading.inspect(data)
    return clean, info.content_type


async def with_photo(services: Services) -> Job:
    job = await register(services)
    await services.storage.uploads.put(job.image_key, photos.with_metadata("JPEG"), "image/jpeg")
    return job


# What is deleted


async def test_a_deleted_scan_is_gone_with_its_photo_feedback_and_events(person: People, services: Services) -> None:
    who = person()
    job, url = await scanned(who)
    other, other_url = await scanned(who)
    await who.http.post(f"/api/v1/scan/{job}/choice", json={"minor_category": "우유팩"})
    said = await who.http.post(f"/api/v1/scan/{job}/feedback", json={"verdict": "right"})
    assert said.status_code == 200, said.text
    assert await is_public(url)

    assert (await who.http.delete(f"/api/v1/scan/{job}")).status_code == 204
    for path in (f"scan/{job}/result", f"scan/tasks/{job}", f"scan/{job}/feedback", f"waste/status/{job}"):
        assert is_error(await who.http.get(f"/api/v1/{path}"), 404, "RESULT_NOT_FOUND"), path
    assert (await who.http.get(f"/api/v1/scan/{job}/events")).status_code == 404
    assert [row["job_id"] for row in (await who.http.get("/api/v1/users/me/scans")).json()["scans"]] == [other]
    assert not await is_public(url)
    assert await services.storage.find(str(services.storage.key_of(url))) is None
    assert await feedback_store.load(services.db, uuid.UUID(job), who.id) is None
    assert await services.bus.redis.keys(f"job:{job}*") == []
    assert is_error(await who.http.delete(f"/api/v1/scan/{job}"), 404, "RESULT_NOT_FOUND")
    assert await is_public(other_url)
    assert (await who.http.get(f"/api/v1/scan/{other}/result")).status_code == 200


async def test_a_scan_of_somebody_else_is_not_found_and_stays(person: People) -> None:
    who, other = person(), person()
    job, url = await scanned(who)
    for unknown in (job, str(uuid.uuid4())):
        assert is_error(await other.http.delete(f"/api/v1/scan/{unknown}"), 404, "RESULT_NOT_FOUND")
    assert is_error(await who.http.delete("/api/v1/scan/not-an-id"), 422, "VALIDATION_ERROR")
    assert (await who.http.get(f"/api/v1/scan/{job}/result")).status_code == 200
    assert await is_public(url)


async def test_a_photo_stays_while_another_scan_shows_it(person: People) -> None:
    who = person()
    first, url = await scanned(who)
    second, _ = await scanned(who, url, user_input="라벨을 뗐어요")
    assert first != second
    assert await deleted(who, first) == 204
    assert await is_public(url)
    assert await deleted(who, second) == 204
    assert not await is_public(url)


async def test_the_last_of_several_scans_deleted_at_once_takes_the_photo_along(person: People) -> None:
    who = person()
    first, url = await scanned(who)
    jobs = [first, *[(await scanned(who, url, user_input=f"{n}개"))[0] for n in range(3)]]
    assert await asyncio.gather(*(deleted(who, job) for job in jobs)) == [204] * 4
    assert not await is_public(url)


async def test_of_several_deletions_of_a_scan_one_succeeds(person: People) -> None:
    who = person()
    job, _ = await scanned(who)
    assert sorted(await asyncio.gather(*(deleted(who, job) for _ in range(3)))) == [204, 404, 404]


async def test_without_the_store_nothing_is_deleted(services: Services, settings: FromStack) -> None:
    job = await with_photo(services)
    nowhere = settings(ApiSettings).model_copy(update={"storage_endpoint": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(StorageDown):
        await deletion.delete(replace(services, storage=Storage(nowhere)), job.id, job.user_id)
    assert await load(services, job) == job
    await deletion.delete(services, job.id, job.user_id)
    assert await services.storage.find(job.image_key) is None


async def test_without_redis_a_scan_is_deleted_all_the_same(services: Services) -> None:
    from eco2.core import redis

    job = await with_photo(services)
    async with redis.connect(f"redis://127.0.0.1:{free_port()}/0") as away:
        await deletion.delete(replace(services, bus=EventBus(away)), job.id, job.user_id)
    assert await store.load(services.db, job.id) is None


# While it runs


async def test_who_follows_a_scan_that_is_deleted_is_told_its_end(person: People) -> None:
    who = person()
    job = (await who.http.post("/api/v1/waste/analyze", json={})).raise_for_status().json()["job_id"]
    following = asyncio.create_task(journey.frames(who, f"/api/v1/scan/{job}/events"))
    await asyncio.sleep(0.5)
    assert await deleted(who, job) == 204
    last = (await following)[-1]
    assert (last["stage"], last["status"], last["result"]["code"]) == ("done", "completed", "SCAN_DELETED")
    assert last["result"]["pipeline_result"] is None
    assert (await who.http.get(f"/api/v1/scan/{job}/result")).status_code == 404


class Held(Storage):
    """Something happens between the reading of an upload and its publication."""

    def __init__(self, settings: ApiSettings, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__(settings)
        read = self.uploads.get

        async def get(key: str, limit: int) -> bytes | None:
            data = await read(key, limit)
            await meanwhile()
            return data

        self.uploads.get = get  # type: ignore[method-assign]


def looking(services: Services, storage: Storage) -> worker_resources.Resources:
    async def look(*_args: Any, **_options: Any) -> VisionResult:
        return SEEN

    picture = SimpleNamespace(inspect=stripped, keep=lambda _data: None)
    models = SimpleNamespace(picture=lambda *_: picture, look=look)
    return cast(worker_resources.Resources, SimpleNamespace(**{**vars(services), "storage": storage, "models": models}))


async def test_a_worker_that_holds_the_photo_of_a_deleted_scan_leaves_nothing_behind(
    services: Services, settings: FromStack
) -> None:
    job = await with_photo(services)
    held = Held(settings(ApiSettings), lambda: deletion.delete(services, job.id, job.user_id))
    assert await worker.see(looking(services, held), job) is None
    assert await services.storage.find(job.image_key) is None
    assert await store.load(services.db, job.id) is None


async def test_a_worker_that_finds_the_output_stored_leaves_the_photo(services: Services, settings: FromStack) -> None:
    job = await with_photo(services)
    held = Held(settings(ApiSettings), lambda: store.save_vision(services.db, job.id, SEEN))
    assert await worker.see(looking(services, held), job) is None
    assert await services.storage.public.head(job.image_key) is not None


async def test_a_later_stage_of_a_deleted_scan_writes_nothing_grants_nothing_and_says_nothing(
    services: Services,
) -> None:
    job = await with_photo(services)
    await services.bus.open(str(job.id), str(job.user_id))
    sent: list[object] = []

    async def send(*message: object, **_options: object) -> None:
        sent.append(message)

    quiet = replace(services, publisher=cast(Any, SimpleNamespace(send_json=send, send_task=send)))
    await store.save_vision(services.db, job.id, replace(SEEN, item_id="water_pet"))
    await service.match_rule(quiet, await load(services, job))
    known = await load(services, job)
    assert known.rule is not None
    await deletion.delete(services, job.id, job.user_id)
    sent.clear()
    await service.write_answer(quiet, known, unchanged)
    assert sent == []
    assert await store.load(services.db, job.id) is None

    async def told() -> list[tuple[str, str]]:
        return [event for event in await log_of(services, job) if event[0] in ("done", "reward")]

    async with asyncio.timeout(10):
        while not await told():
            await asyncio.sleep(0.05)
    assert await told() == [("done", "completed")]


# A user who leaves


class SlowStorage(Storage):
    """Publishes a photo right after it was deleted for the first time, as a worker does that had it already."""

    def __init__(self, settings: ApiSettings, key: str) -> None:
        super().__init__(settings)
        self._key: str | None = key

    async def delete(self, keys: Sequence[str]) -> None:
        await super().delete(keys)
        if self._key in keys:
            await self.public.put(str(self._key), photos.jpeg(), "image/jpeg")
            self._key = None


async def test_a_photo_published_while_its_scan_is_deleted_does_not_stay(
    services: Services, settings: FromStack
) -> None:
    job = await with_photo(services)
    slow = replace(services, storage=SlowStorage(settings(ApiSettings), job.image_key))
    await deletion.delete(slow, job.id, job.user_id)
    assert await services.storage.find(job.image_key) is None


async def test_a_scan_that_is_claimed_while_it_is_deleted_leaves_no_photo(
    services: Services, settings: FromStack
) -> None:
    job = await with_photo(services)
    new = uploads.new_key(services.upload_secret, str(job.user_id), "scan", "jpg")

    class Claiming(Storage):
        async def delete(self, keys: Sequence[str]) -> None:
            await super().delete(keys)
            if await claim_store.rekey(services.db, job.id, job.user_id, job.image_key, new):
                await self.public.put(new, photos.jpeg(), "image/jpeg")

    await deletion.delete(replace(services, storage=Claiming(settings(ApiSettings))), job.id, job.user_id)
    assert await store.load(services.db, job.id) is None
    assert await services.storage.public.head(new) is None


async def test_a_photo_published_while_its_account_is_purged_does_not_stay(
    services: Services, settings: FromStack, db: Database
) -> None:
    job = await with_photo(services)
    async with db.transaction() as tx:
        await image_store.add(tx, job.image_key, job.user_id, "scan", "a.jpg", "image/jpeg", {}, 10)
    slow = replace(services, storage=SlowStorage(settings(ApiSettings), job.image_key))
    assert await user_scans.purge(slow, job.user_id) >= 1
    assert await services.storage.find(job.image_key) is None
    assert await image_rpc.purge(db, SlowStorage(settings(ApiSettings), job.image_key), job.user_id) >= 1
    assert await services.storage.find(job.image_key) is None


async def test_a_photo_that_a_worker_holds_does_not_outlive_its_account(
    services: Services, settings: FromStack
) -> None:
    job = await with_photo(services)
    held = Held(settings(ApiSettings), lambda: user_scans.purge(services, job.user_id))
    assert await worker.see(looking(services, held), job) is None
    assert await services.storage.find(job.image_key) is None


async def test_a_photo_that_a_callback_checks_does_not_outlive_its_account(services: Services, db: Database) -> None:
    job = await with_photo(services)
    await services.storage.public.put(job.image_key, photos.jpeg(), "image/jpeg")
    checked = image_service.Checked("image/jpeg", "etag", 1)
    with pytest.raises(image_service.UploadNotFound):
        await image_service.complete(db, services.storage, job.image_key, checked)
    assert await services.storage.find(job.image_key) is None


# The first use


async def test_first_users_at_once_all_get_what_is_public(services: Services) -> None:
    job = await with_photo(services)
    taken = await asyncio.gather(*(published.take(services.storage, job.image_key, stripped) for _ in range(4)))
    public = await services.storage.public.get(job.image_key, 10**7)
    assert {photo and photo[0] for photo in taken} == {public}
    assert public is not None
    assert not any(secret in public for secret in photos.SECRETS)


async def test_a_photo_is_found_when_its_upload_has_expired(services: Services) -> None:
    job = await with_photo(services)
    first = await published.take(services.storage, job.image_key, stripped)
    await services.storage.uploads.delete([job.image_key])
    await submission.require_object(services, job.image_key)
    assert await published.take(services.storage, job.image_key, stripped) == first
