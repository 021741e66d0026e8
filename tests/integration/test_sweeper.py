"""Jobs of a process that died at the wrong line are found and taken to their end."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, cast
from unittest.mock import AsyncMock, Mock

import pytest
from psycopg import OperationalError
from psycopg.sql import SQL, Identifier

from eco2.contracts import uploads
from eco2.contracts.queues import SCAN_VISION
from eco2.core.postgres import Database, Row
from eco2.messaging.broker import Publisher
from eco2.scan import errors, service, store, submission, sweeper, sweeper_store, user_scans_store, waste_flow
from eco2.scan.failures import TooLate
from eco2.scan.job import Job
from eco2.scan.lost_jobs import LostJobs
from eco2.scan.marks import Marks
from eco2.scan.outputs import Answer, Reward
from eco2.scan.services import Services
from eco2.scan.settings import SweeperSettings
from tests import photos
from tests.integration.test_scan_service import SEEN, load, log_of, register, unchanged
from tests.redis_server import free_port, until

NOW = SweeperSettings(sweep_grace=timedelta(0), sweep_deadline=timedelta(hours=2))


async def sweep(services: Services, settings: SweeperSettings, places: sweeper.Places | None = None) -> dict[str, int]:
    """A round, in which no job is missing from its queue."""

    async def full() -> dict[str, int]:
        return {SCAN_VISION: 10**6}

    return await sweeper.sweep(services, settings, LostJobs(full), {} if places is None else places)


async def age(services: Services, job: Job, column: str, minutes: int) -> None:
    statement = "UPDATE scan.jobs SET {} = now() - make_interval(mins => %s) WHERE id = %s"
    async with services.db.connection() as connection:
        await connection.execute(SQL(statement).format(Identifier(column)), [minutes, job.id])


async def ends(services: Services, job: Job, status: str) -> None:
    async def ended() -> bool:
        return (await load(services, job)).status == status and ("done", "completed") in await log_of(services, job)

    await until(ended, 30)


async def with_photo(services: Services) -> Job:
    user = uuid.uuid4()
    key = uploads.new_key(services.upload_secret, str(user), "scan", "jpg")
    await services.storage.uploads.put(key, photos.jpeg(), "image/jpeg")
    return await submission.register(services.db, user, uuid.uuid4().hex, key, None, None)


async def test_a_row_that_was_never_queued_is_queued(services: Services) -> None:
    job = await with_photo(services)

    async def found() -> bool:  # nothing while the stack's own sweeper has its round
        return (await sweep(services, NOW)).get("never_queued", 0) >= 1

    await until(found, 30)
    await ends(services, job, "completed")


async def test_a_job_whose_note_was_lost_is_sent_again_and_ends_once(services: Services) -> None:
    """The process died between the broker's confirm and its note; the row looks as if it had not been queued."""
    job, died = await with_photo(services), Unwritten("queued", store.enqueued)
    await service.hand_over(replace(services, queued_marks=died), job)
    await service.hand_over(services, job)
    await ends(services, job, "completed")
    assert [event for event in await log_of(services, job) if event[0] == "done"] == [("done", "completed")]
    assert len(await log_of(services, job)) == len(set(await log_of(services, job)))


class Unwritten(Marks):
    def add(self, db: Database, job_id: uuid.UUID) -> None:
        """The end of the process."""


class Recorded:
    """A database that is away at first."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.written: list[list[uuid.UUID]] = []

    async def rows(self, sql: Any, **values: Any) -> Sequence[Row]:
        self.written.append(values["ids"])
        if len(self.written) == 1:
            raise OperationalError("away")
        return await self._db.rows(sql, **values)


async def test_jobs_are_noted_as_queued_together_and_again_after_an_outage(services: Services) -> None:
    jobs, recorded = [await register(services) for _ in range(3)], Recorded(services.db)
    marks = Marks("queued", store.enqueued)
    for job in jobs:
        marks.add(cast(Database, recorded), job.id)
    assert jobs[0].id in marks

    async def noted() -> bool:
        return jobs[0].id not in marks

    await until(noted, 5)
    assert recorded.written == [[job.id for job in jobs]] * 2
    assert all([(await load(services, job)).enqueued for job in jobs])
    later = await register(services)
    marks.add(services.db, later.id)
    await marks.close(services.db)
    assert (await load(services, later)).enqueued


async def test_the_first_output_notes_that_a_job_was_queued_and_that_note_stays(services: Services) -> None:
    job = await register(services)
    assert await store.save_vision(services.db, job.id, SEEN)
    assert (await load(services, job)).enqueued
    await store.enqueued(services.db, {job.id: datetime(2020, 1, 1, tzinfo=UTC)})
    row = await services.db.row("SELECT enqueued_at >= created_at FROM scan.jobs WHERE id = %(id)s", id=job.id)
    assert row == (True,)


async def test_a_repeat_before_the_note_is_written_is_not_sent_again(services: Services) -> None:
    job, sent = await with_photo(services), Mock(wraps=services.publisher)
    own = replace(services, queued_marks=Marks("queued", store.enqueued), publisher=sent)
    await service.hand_over(own, job)
    await service.hand_over(own, job)
    assert sent.send_task.call_count == 1
    await ends(services, job, "completed")


async def test_a_fresh_row_is_left_to_its_request(services: Services) -> None:
    job = await with_photo(services)
    await sweep(services, SweeperSettings())
    assert not (await load(services, job)).enqueued


async def test_a_job_past_its_deadline_fails(services: Services) -> None:
    job = await overdue(services)
    await sweep(services, NOW)
    await ends(services, job, "failed")
    found = await load(services, job)
    assert (found.error, found.error_code) == (TooLate().message, TooLate.code)


async def test_an_end_that_nobody_was_told_is_told(services: Services) -> None:
    job = await register(services)
    await services.bus.open(str(job.id), str(job.user_id))
    await store.save_vision(services.db, job.id, SEEN)
    await store.fail(services.db, job.id, "GONE", "gone", "gone")
    assert (await sweep(services, NOW)).get("unannounced", 0) >= 1
    await ends(services, job, "failed")
    assert "unannounced" not in await sweep(services, NOW)


REWARD = Reward("char-petty", "페티", dialog="", match_reason="무색페트병>생수병", type="플라스틱")
ANSWER = Answer({}, (), "")


async def granted(services: Services, job: Job) -> None:
    async def owns() -> bool:
        sql: LiteralString = "SELECT character_code FROM character.ownerships WHERE user_id = %(user)s"
        return ("char-petty",) in await services.db.rows(sql, user=job.user_id)

    await until(owns, 20)


async def with_rule(services: Services, **seen: Any) -> Job:
    job = await register(services)
    await services.bus.open(str(job.id), str(job.user_id))
    await store.save_vision(services.db, job.id, replace(SEEN, **seen))
    await service.match_rule(replace(services, publisher=Mock(send_task=AsyncMock())), await load(services, job))
    return await load(services, job)


async def test_a_completed_job_that_was_not_announced_is_announced_and_granted(services: Services) -> None:
    """The worker died after its commit, or the message that it held was lost."""
    job = await with_rule(services)
    assert await store.complete(services.db, job.id, ANSWER, REWARD) is not None
    assert (await sweep(services, NOW)).get("unannounced", 0) >= 1
    await ends(services, job, "completed")
    await granted(services, job)
    assert "unannounced" not in await sweep(services, NOW)


async def test_a_choice_whose_process_died_is_granted(services: Services) -> None:
    job = await with_rule(services, item_id=None, needs_choice=True)
    await service.write_answer(services, job, unchanged)
    await services.announced_marks.write(services.db)
    assert job.rule is not None
    assert await user_scans_store.choose(services.db, job.id, replace(job.rule, needs_choice=False), ANSWER, REWARD)
    assert (await sweep(services, NOW)).get("unannounced", 0) >= 1
    await granted(services, job)


@pytest.mark.parametrize("failed", [False, True])
async def test_a_job_that_was_announced_is_not_announced_again(services: Services, failed: bool) -> None:
    job = await with_rule(services)
    if failed:
        await service.fail(services, job.id, TooLate())
    else:
        await service.write_answer(services, job, unchanged)

    async def marked() -> bool:
        row = await services.db.row("SELECT announced_at FROM scan.jobs WHERE id = %(id)s", id=job.id)
        return row is not None and row[0] is not None

    await until(marked, 5)
    assert job.id not in [found.id for found in (await sweeper_store.unannounced(services.db, timedelta(0))).jobs]


def away() -> Publisher:
    return Publisher(f"amqp://nobody:x@127.0.0.1:{free_port()}/eco2")


async def overdue(services: Services) -> Job:
    job = await register(services)
    await services.bus.open(str(job.id), str(job.user_id))
    await store.enqueued(services.db, {job.id: datetime.now(UTC)})
    await age(services, job, "created_at", 121)
    return job


async def test_jobs_end_although_others_cannot_be_sent(services: Services) -> None:
    unsent, late = [await with_photo(services) for _ in range(3)], [await overdue(services) for _ in range(3)]
    await sweep(replace(services, publisher=away()), NOW)
    for job in late:
        await ends(services, job, "failed")
    assert {(await load(services, job)).status for job in unsent} == {"queued"}, "none waits for its client"
    await sweep(services, NOW)
    for job in unsent:
        await ends(services, job, "completed")


async def test_one_job_that_cannot_be_taken_care_of_holds_up_no_other(services: Services) -> None:
    jobs = [await with_photo(services) for _ in range(3)]

    async def send_task(*message: str) -> None:
        if message[-1] == str(jobs[0].id):
            raise ValueError("cannot be sent")
        await services.publisher.send_task(*message)

    await sweep(replace(services, publisher=cast(Publisher, Mock(send_task=send_task))), NOW)
    for job in jobs[1:]:
        await ends(services, job, "completed")
    assert (await load(services, jobs[0])).status == "queued"


async def too_many_that_fail(services: Services, job: Job) -> Services:
    """Older jobs than this one, more than a page, that cannot be sent."""
    sql: LiteralString = """
        INSERT INTO scan.jobs (id, user_id, image_key, status, created_at)
        SELECT gen_random_uuid(), user_id, image_key, status, created_at - make_interval(secs => n)
        FROM scan.jobs, generate_series(1, %(more)s) AS n WHERE id = %(id)s"""
    await services.db.rows(sql, id=job.id, more=2 * sweeper_store.PAGE + 1)

    async def send_task(*message: str) -> None:
        if message[-1] != str(job.id):
            raise ValueError("cannot be sent")
        await services.publisher.send_task(*message)

    return replace(services, publisher=cast(Publisher, Mock(send_task=send_task)))


async def test_a_round_gets_past_pages_of_jobs_that_fail(services: Services) -> None:
    job = await with_photo(services)
    faulty = await too_many_that_fail(services, job)
    assert (await sweep(faulty, NOW)).get("never_queued") == 1
    await ends(services, job, "completed")


async def test_a_round_that_had_no_time_left_is_gone_on_with_and_then_begun_again(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "PAGES_SECONDS", 0)
    job, places = await with_photo(services), cast(sweeper.Places, {})
    faulty = await too_many_that_fail(services, job)
    rounds = [(await sweep(faulty, NOW, places)).get("never_queued", 0) for _ in range(3)]
    assert (rounds, places) == ([0, 0, 1], {}), "the next round begins with the oldest"
    await ends(services, job, "completed")


async def uploaded(services: Services) -> Job:
    user = uuid.uuid4()
    job_id, key = await waste_flow.prepare(services, user, "image/jpeg", None, None, 100)
    await services.storage.uploads.put(key, photos.jpeg(), "image/jpeg")
    return await waste_flow.accept_upload(services, job_id, user)


async def aborted(services: Services, job: Job) -> None:
    with pytest.raises(errors.ScanUnavailable):
        await service.hand_over(services, job, away())
    assert (await load(services, job)).status == "aborted"


async def test_an_upload_that_could_not_be_queued_is_queued_when_the_broker_is_back(services: Services) -> None:
    job = await uploaded(services)
    await aborted(services, job)
    await sweep(replace(services, publisher=away()), NOW)
    assert (await sweep(services, NOW)).get("never_queued", 0) >= 1
    await ends(services, job, "completed")


async def test_a_scan_whose_client_never_tried_again_fails_at_its_deadline(services: Services) -> None:
    job = await with_photo(services)
    await aborted(services, job)
    await sweep(services, NOW)
    assert (await load(services, job)).status == "aborted", "its client was told to try again"
    await age(services, job, "created_at", 121)
    await sweep(services, NOW)
    await ends(services, job, "failed")


async def test_a_job_that_is_asked_for_again_has_its_whole_time(services: Services) -> None:
    late = await uploaded(services)
    await age(services, late, "created_at", 121)
    await aborted(services, late)
    await waste_flow.accept_upload(services, late.id, late.user_id)
    key, user = uuid.uuid4().hex, uuid.uuid4()
    again = await register(services, key, user)
    await aborted(services, again)
    await age(services, again, "created_at", 121)
    await submission.register(services.db, user, key, again.image_key, None, None)
    found = [job.id for job in (await sweeper_store.overdue(services.db, NOW.sweep_deadline)).jobs]
    assert not {late.id, again.id} & set(found)


@pytest.mark.parametrize("status", ["waiting", "aborted"])
async def test_a_job_that_never_ran_is_deleted_after_its_retention(services: Services, status: str) -> None:
    job = await register(services)
    sql: LiteralString = "UPDATE scan.jobs SET status = %(status)s WHERE id = %(id)s"
    await services.db.rows(sql, status=status, id=job.id)
    kept = NOW.model_copy(update={"sweep_deadline": timedelta(days=7)})
    await age(services, job, "created_at", 23 * 60)
    await sweep(services, kept)
    assert await store.load(services.db, job.id) is not None
    await age(services, job, "created_at", 25 * 60)
    assert (await sweep(services, kept)).get("unused", 0) >= 1
    assert await store.load(services.db, job.id) is None


async def test_only_one_process_sweeps_at_a_time(services: Services) -> None:
    await with_photo(services)
    async with sweeper_store.sweeping(services.db) as ours:
        assert ours
        assert await sweep(services, NOW) == {}
    assert (await sweep(services, NOW)).get("never_queued", 0) >= 1


@pytest.fixture(autouse=True)
async def nothing_left(services: Services) -> None:
    """Rows of other tests that were never queued on purpose are not ours to sweep."""
    await services.db.rows("DELETE FROM scan.jobs WHERE status = 'queued' AND enqueued_at IS NULL")
