"""One user takes a share, never all: what is counted, exactly, and what is not."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from eco2.contracts import uploads
from eco2.core.errors import TooMany
from eco2.llm.settings import CLIENT_MODELS
from eco2.messaging.broker import Publisher
from eco2.messaging.events import EventBus
from eco2.scan import errors, photo_store, service, store, submission, user_scans_store, waste_flow
from eco2.scan.admission import Admission, TooBusy
from eco2.scan.door import MOST_WAITING, Door
from eco2.scan.failures import GivenUp
from eco2.scan.job import Job
from eco2.scan.limits import Limits, Rules, TooManyOpenJobs, TooManyScans, TooManyTickets
from eco2.scan.services import Services
from tests import photos
from tests.conftest import Person
from tests.e2e import journey

People = Callable[[], Person]
MANY = 1_000_000


def door(publisher: Publisher, backlog: int = MANY, tickets: int = MANY, **limits: int) -> Door:
    limits = {"open_jobs": MANY, "scans_per_day": MANY, **limits}
    bus, rules = cast(EventBus, Memory()), Rules(backlog)
    return Door(Admission(publisher, rules, bus, _nobody_tells), Limits(**limits), CLIENT_MODELS, tickets)


class Memory:
    """Fullness of the streams Redis, as given."""

    def __init__(self, share: float = 0.0) -> None:
        self.share = share

    async def fullness(self) -> float:
        return self.share


async def _nobody_tells() -> None:
    return None


class _Deep(Publisher):
    """A broker with a long queue."""

    def __init__(self) -> None:
        pass

    async def depth(self, *_queues: str) -> int:
        return 10_000


async def uploaded(services: Services, user: uuid.UUID) -> str:
    """The key of a photo of the user."""
    key = uploads.new_key(services.upload_secret, str(user), "scan", "jpg")
    await services.storage.uploads.put(key, photos.jpeg(), "image/jpeg")
    return key


async def register(services: Services, at: Door, user: uuid.UUID, key: str | None = None) -> Job:
    """A row that nobody works on: it stays open."""
    image = uploads.new_key(services.upload_secret, str(user), "scan", "jpg")
    async with at.turn(user):
        return await submission.register(services.db, user, key or uuid.uuid4().hex, image, None, None, at.limits)


async def outcomes(*asked: Any) -> tuple[list[Any], list[BaseException]]:
    found = await asyncio.gather(*asked, return_exceptions=True)
    refused = [one for one in found if isinstance(one, BaseException)]
    return [one for one in found if not isinstance(one, BaseException)], refused


async def forget(services: Services, *users: uuid.UUID) -> None:
    for user in users:
        await user_scans_store.forget_jobs(
            services.db, [job_id for job_id, _ in await photo_store.photos_of(services.db, user, 1000)]
        )


async def test_of_many_scans_at_once_exactly_as_many_are_taken_as_may_be_open(
    services: Services, publisher: Publisher
) -> None:
    at, user, neighbour = door(publisher, open_jobs=10), uuid.uuid4(), uuid.uuid4()
    taken, refused = await outcomes(*(register(services, at, user) for _ in range(60)))
    assert len(taken) == 10
    assert {type(one) for one in refused} == {TooManyOpenJobs}
    assert isinstance(refused[0], TooManyOpenJobs)
    assert (refused[0].status, refused[0].code) == (429, "TOO_MANY_OPEN_JOBS")
    assert int((refused[0].headers or {})["Retry-After"]) >= 1
    assert "10장" in refused[0].message
    assert (await register(services, at, neighbour)).open
    await service.fail(services, taken[0].id, GivenUp())
    assert (await register(services, at, user)).open, "one has ended"
    await forget(services, user, neighbour)


async def test_a_day_counts_what_came_also_what_was_deleted_since(
    services: Services, publisher: Publisher, engine: AsyncEngine
) -> None:
    at, user = door(publisher, scans_per_day=3), uuid.uuid4()
    taken, refused = await outcomes(*(register(services, at, user) for _ in range(8)))
    assert len(taken) == 3
    assert {type(one) for one in refused} == {TooManyScans}
    assert isinstance(refused[0], TooManyScans)
    assert 1 <= int((refused[0].headers or {})["Retry-After"]) <= 86_400
    await forget(services, user)
    with pytest.raises(TooManyScans):
        await register(services, at, user)
    async with engine.begin() as tx:
        await tx.execute(text("UPDATE scan.usage SET day = day - 1 WHERE user_id = :user"), {"user": user})
    taken, _ = await outcomes(*(register(services, at, user) for _ in range(8)))
    assert len(taken) == 3, "a day later"
    await forget(services, user)


async def test_a_known_key_is_answered_whatever_the_limits_say_and_counts_once(
    services: Services, publisher: Publisher
) -> None:
    at, user = door(publisher, scans_per_day=1), uuid.uuid4()
    key = await uploaded(services, user)
    url = services.storage.public_url(key)

    async def submitted(at: Door, name: str) -> Job:
        return await submission.submit(services, at, user, name, url, None, None)

    taken, refused = await outcomes(*(submitted(at, "first") for _ in range(30)))
    assert len({job.id for job in taken}) == 1
    assert refused == []
    with pytest.raises(TooManyScans):
        await submitted(at, "second")
    busy = door(_Deep(), backlog=1, scans_per_day=1)
    for full in (at, busy, door(publisher, open_jobs=1, scans_per_day=1)):
        assert (await submitted(full, "first")).id == taken[0].id
    with pytest.raises(TooManyScans):  # the user's own limit is said before that of all
        await submitted(busy, "third")
    with pytest.raises(TooBusy):
        await submitted(door(_Deep(), backlog=1), "third")


async def test_an_aborted_job_is_revived_past_the_limits(services: Services, publisher: Publisher) -> None:
    at, user = door(publisher, open_jobs=1, scans_per_day=2), uuid.uuid4()
    url = services.storage.public_url(await uploaded(services, user))
    nobody = replace(services, publisher=Publisher("amqp://nobody:x@127.0.0.1:1/eco2"))
    with pytest.raises(errors.ScanUnavailable):
        await submission.submit(nobody, at, user, "a", url, None, None)
    other = await register(services, at, user)
    with pytest.raises(TooManyOpenJobs):
        await submission.submit(services, at, user, "b", url, None, None)
    revived = await submission.submit(services, at, user, "a", url, None, None)
    assert revived.status == "queued"
    await user_scans_store.forget_jobs(services.db, [other.id])


async def test_jobs_whose_photo_is_to_come_are_counted_by_the_minute_and_as_scans_once_it_is_there(
    services: Services, publisher: Publisher
) -> None:
    at, user = door(publisher, tickets=5, open_jobs=2, scans_per_day=3), uuid.uuid4()

    async def prepared() -> uuid.UUID:
        return (await waste_flow.prepare_in_turn(services, at, user, "image/jpeg", None, None))[0]

    jobs, refused = await outcomes(*(prepared() for _ in range(9)))
    assert len(jobs) == 5
    assert {type(one) for one in refused} == {TooManyTickets}
    assert isinstance(refused[0], TooManyTickets)
    assert 1 <= int((refused[0].headers or {})["Retry-After"]) <= 60
    for job_id in jobs:
        job = await store.load(services.db, job_id)
        assert job is not None
        await services.storage.uploads.put(job.image_key, photos.jpeg(), "image/jpeg")

    async def arrived(job_id: uuid.UUID) -> Job:
        return await waste_flow.accept_upload_in_turn(services, at, job_id, user)

    taken, refused = await outcomes(*(arrived(job_id) for job_id in jobs))
    assert (len(taken), {type(one) for one in refused}) == (2, {TooManyOpenJobs})
    assert await outcomes(*(arrived(job.id) for job in taken)) == (taken, []), "said again"
    for job in taken:
        await service.fail(services, job.id, GivenUp())
    left = [job_id for job_id in jobs if job_id not in {job.id for job in taken}]
    taken, refused = await outcomes(*(arrived(job_id) for job_id in left))
    assert (len(taken), {type(one) for one in refused}) == (1, {TooManyScans}), "the third of the day"
    await forget(services, user)


async def test_a_user_whose_requests_pile_up_is_refused_before_any_server_is_asked(
    services: Services, publisher: Publisher
) -> None:
    at, user = door(publisher), uuid.uuid4()
    gone = asyncio.Event()

    async def slow() -> None:
        async with at.turn(user):
            await gone.wait()

    waiting = [asyncio.create_task(slow()) for _ in range(MOST_WAITING + 1)]
    await asyncio.sleep(0)
    with pytest.raises(TooMany) as refused:
        async with at.turn(user):
            pass
    assert (refused.value.code, refused.value.headers) == ("TOO_MANY_REQUESTS", {"Retry-After": "1"})
    async with asyncio.timeout(1), at.turn(uuid.uuid4()):
        pass
    gone.set()
    await asyncio.gather(*waiting)
    assert not at.turns._users


async def test_purging_a_user_forgets_the_count(services: Services, publisher: Publisher, engine: AsyncEngine) -> None:
    user = uuid.uuid4()
    await register(services, door(publisher), user)
    await forget(services, user)
    assert await user_scans_store.forget_user(services.db, user) == 1
    async with engine.connect() as tx:
        found = await tx.execute(text("SELECT count(*) FROM scan.usage WHERE user_id = :user"), {"user": user})
    assert found.scalar_one() == 0


# --- through the gateway, at the defaults: everybody comes from one address -------------------------------------------


def refused(answer: httpx2.Response, code: str, most_seconds: int) -> bool:
    seconds = int(answer.headers["Retry-After"])
    assert any("가" <= letter <= "힣" for letter in answer.json()["detail"])
    return journey.is_error(answer, 429, code) and 1 <= seconds <= most_seconds


async def test_thirty_upload_tickets_a_minute_and_a_neighbour_has_the_same(person: People) -> None:
    who, neighbour = person(), person()
    body = {"filename": "a.jpg", "content_type": "image/jpeg"}

    async def asked(who: Person) -> httpx2.Response:
        return await who.http.post("/api/v1/images/scan", json=body)

    answers = await asyncio.gather(*(asked(who) for _ in range(50)))
    assert sum(answer.status_code == 200 for answer in answers) == 30
    assert all(refused(answer, "TOO_MANY_TICKETS", 60) for answer in answers if answer.status_code != 200)
    assert (await asked(neighbour)).status_code == 200


async def test_sixty_questions_a_minute_and_a_neighbour_has_the_same(person: People) -> None:
    who, neighbour = person(), person()

    async def asked(who: Person, question: str = "우유팩") -> httpx2.Response:
        return await who.http.post("/api/v1/recycling/ask", json={"question": question})

    answers = await asyncio.gather(*(asked(who) for _ in range(70)))
    assert sum(answer.status_code == 200 for answer in answers) == 60
    assert all(refused(answer, "TOO_MANY_QUESTIONS", 60) for answer in answers if answer.status_code != 200)
    assert (await asked(neighbour)).status_code == 200


async def test_ten_open_scans_and_a_known_key_is_answered_and_a_neighbour_is_not_counted(
    services: Services, publisher: Publisher, person: People
) -> None:
    who, neighbour = person(), person()
    url = await journey.upload(who, photos.jpeg())
    body, headers = {"image_url": url}, {"X-Idempotency-Key": "known"}
    known = (await who.http.post("/api/v1/scan", json=body, headers=headers)).raise_for_status().json()
    await journey.frames(who, known["stream_url"])
    rows = [await register(services, door(publisher), who.id) for _ in range(10)]
    await store.enqueued(services.db, {job.id: datetime.now(UTC) for job in rows})
    answers = await asyncio.gather(*(who.http.post("/api/v1/scan", json={**body, "user_input": str(n)}) for n in "abc"))
    assert all(refused(answer, "TOO_MANY_OPEN_JOBS", 60) for answer in answers)
    again = await who.http.post("/api/v1/scan", json=body, headers=headers)
    assert again.raise_for_status().json()["job_id"] == known["job_id"]
    assert (await journey.scan(neighbour, photos.jpeg()))["status"] == "completed"
    await forget(services, who.id)
    assert (await who.http.post("/api/v1/scan", json=body)).status_code == 200
