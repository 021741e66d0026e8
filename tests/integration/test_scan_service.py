"""Guarantees of a scan when something around it fails."""

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast
from unittest.mock import AsyncMock, Mock

import httpx2
import orjson
import pytest

from eco2.contracts import uploads
from eco2.contracts.events import Stage
from eco2.contracts.queues import DEAD_LETTER_EXCHANGE, QUEUES, SCAN_ANSWER, SCAN_EXCHANGE, SCAN_RULE, SCAN_VISION
from eco2.core.redis import connect
from eco2.core.shared_redis import connect_shared
from eco2.core.storage import StorageDown
from eco2.messaging.broker import Publisher, ride_out
from eco2.messaging.consumer import Message
from eco2.messaging.events import EventBus
from eco2.photos.check import PhotoTooLarge
from eco2.scan import (
    choice,
    errors,
    service,
    states,
    store,
    submission,
    user_scans_store,
    waste_flow,
    worker,
    worker_resources,
)
from eco2.scan.admission import Admission
from eco2.scan.api import result_response
from eco2.scan.failures import TooLate
from eco2.scan.job import Job
from eco2.scan.limits import Rules
from eco2.scan.outputs import Answer, Candidate, FinalAnswer, Rule, VisionResult
from eco2.scan.progress import both, stage_text, started
from eco2.scan.result import result_body
from eco2.scan.services import Services
from tests import photos
from tests.redis_server import RedisServer, free_port, private_redis, until

SEEN = VisionResult("ceramic", 0.9, (Candidate("ceramic", 0.9),), needs_choice=False, waste=True, model="test")


async def register(services: Services, key: str | None = None, user: uuid.UUID | None = None) -> Job:
    user = user or uuid.uuid4()
    image = uploads.new_key(services.upload_secret, str(user), "scan", "jpg")
    return await submission.register(services.db, user, key, image, None, None)


async def load(services: Services, job: Job) -> Job:
    found = await store.load(services.db, job.id)
    assert found is not None
    return found


async def unchanged(_rule: Rule, composed: FinalAnswer, _job: Job) -> Answer:
    return Answer.of(composed)


async def log_of(services: Services, job: Job) -> list[tuple[str, str]]:
    frames = [orjson.loads(frame) for frame in await services.bus.log(str(job.id), 0, 100)]
    return [(frame["stage"], frame["status"]) for frame in frames]


async def test_without_the_broker_the_row_is_aborted_and_the_same_key_revives_it(services: Services) -> None:
    key, user = uuid.uuid4().hex, uuid.uuid4()
    image = uploads.new_key(services.upload_secret, str(user), "scan", "jpg")
    await services.storage.uploads.put(image, photos.jpeg(), "image/jpeg")
    nobody = Publisher(f"amqp://nobody:x@127.0.0.1:{free_port()}/eco2")
    job = await submission.register(services.db, user, key, image, None, None)
    with pytest.raises(errors.ScanUnavailable) as refused:
        await service.hand_over(replace(services, publisher=nobody), job)
    assert refused.value.status == 503
    assert refused.value.headers == {"Retry-After": "2"}
    assert (await load(services, job)).status == "aborted"

    again = await submission.register(services.db, user, key, image, None, None)
    assert (again.id, again.status, again.enqueued) == (job.id, "queued", False)
    await service.hand_over(services, again)

    async def completed() -> bool:
        return (await load(services, job)).status == "completed"

    await until(completed, 20)


async def test_a_double_click_is_one_job(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an idempotency key: same user, photo, words and ten seconds."""
    user, now = uuid.uuid4(), 1_000_000.0
    image = uploads.new_key(services.upload_secret, str(user), "scan", "jpg")

    async def submitted(words: str | None, at: float) -> uuid.UUID:
        monkeypatch.setattr("eco2.scan.submission.time.time", lambda: at)
        return (await submission.register(services.db, user, None, image, words, None)).id

    first = await submitted(None, now)
    assert await submitted(None, now + 9) == first
    assert await submitted("컵이 깨졌어요", now) != first
    assert await submitted(None, now + 10) != first


async def test_new_jobs_are_refused_past_the_backlog(services: Services, publisher: Publisher) -> None:
    for _ in range(3):
        await publisher.send_json("celery", "celery", {}, uuid.uuid4().hex)
    open_door = Admission(publisher, Rules(10_000), services.bus, _nobody_tells)
    closed = Admission(_Deep(publisher), Rules(3), services.bus, _nobody_tells)
    assert await open_door.refusal(uuid.uuid4()) is None
    refused = await closed.refusal(uuid.uuid4())
    assert refused is not None
    assert (refused.status, refused.headers) == (429, {"Retry-After": "10"})


async def test_new_jobs_are_refused_while_the_memory_for_events_is_nearly_full(publisher: Publisher) -> None:
    async with RedisServer("--maxmemory", "8mb") as server, connect(server.url) as redis:
        bus, user = EventBus(redis), uuid.uuid4()
        assert await Admission(publisher, Rules(10_000), bus).refusal(user) is None
        await redis.setrange("filler", 6_800_000, "x")
        refused = await Admission(publisher, Rules(10_000), bus).refusal(user)
        assert refused is not None
        assert (refused.status, refused.code, refused.headers) == (503, "EVENTS_FULL", {"Retry-After": "60"})


async def test_a_server_without_a_limit_is_never_full() -> None:
    async with private_redis() as url, connect(url) as redis:
        await redis.set("filler", b"x" * 1_000_000)
        assert await EventBus(redis).fullness() == 0.0


async def _nobody_tells() -> None:
    return None


class _Deep(Publisher):
    """Measures the queue that nobody consumes."""

    def __init__(self, publisher: Publisher) -> None:
        self._real = publisher

    async def depth(self, *_queues: str) -> int:
        return await self._real.depth("celery")


class Counted(EventBus):
    looks = 0

    async def state(self, job_id: str) -> dict[str, object] | None:
        self.looks += 1
        return await super().state(job_id)


async def test_who_waits_for_a_result_is_woken_and_does_not_ask_for_it(
    services: Services, environment: dict[str, str]
) -> None:
    async with connect_shared(environment["ECO2_REDIS_STREAMS_URL"]) as streams:
        job, bus = await register(services), Counted(streams)
        await services.bus.open(str(job.id), str(job.user_id))
        waiting = asyncio.create_task(states.wait_done(replace(services, bus=bus), job.id, 30))
        await asyncio.sleep(1)
        assert not waiting.done()
        await service.fail(services, job.id, TooLate())
        async with asyncio.timeout(1):
            await waiting
        assert bus.looks <= 3
        async with asyncio.timeout(1):
            await states.wait_done(replace(services, bus=bus), job.id, 30)


async def test_nobody_waits_longer_than_asked_or_for_a_server_that_is_away(services: Services) -> None:
    job = await register(services)
    async with asyncio.timeout(2):
        await states.wait_done(services, job.id, 0.2)
    async with connect(f"redis://127.0.0.1:{free_port()}/0") as nobody:
        await states.wait_done(replace(services, bus=EventBus(nobody)), job.id, 30)


async def test_a_job_that_another_request_has_queued_is_not_aborted(services: Services) -> None:
    job = await register(services)
    await store.enqueued(services.db, {job.id: datetime.now(UTC)})
    await store.abort(services.db, job.id)
    assert (await load(services, job)).status == "queued"


async def test_a_stage_delivered_twice_stores_and_says_everything_once(services: Services) -> None:
    job = await register(services)
    await services.bus.open(str(job.id), str(job.user_id))
    assert await store.save_vision(services.db, job.id, SEEN)
    for _ in range(2):
        await service.match_rule(services, await load(services, job))
    for _ in range(2):
        await service.write_answer(services, await load(services, job), unchanged)

    async def ended() -> bool:
        return ("done", "completed") in await log_of(services, job)

    await until(ended)
    assert await log_of(services, job) == [
        ("vision", "completed"),
        ("rule", "started"),
        ("rule", "completed"),
        ("answer", "started"),
        ("answer", "completed"),
        ("reward", "started"),
        ("reward", "completed"),
        ("done", "completed"),
    ]


async def test_the_next_stage_in_the_same_process_knows_the_job_as_it_is_stored(services: Services) -> None:
    services = replace(services, publisher=Mock(send_task=AsyncMock()))  # else the stack's worker takes the job further
    job = await register(services)
    await store.save_vision(services.db, job.id, SEEN)
    matched = await service.match_rule(services, await load(services, job))
    assert matched == await load(services, job)
    await service.hand_on(services, matched, SCAN_ANSWER)
    assert services.recent_jobs.take(job.id, SCAN_ANSWER) == matched
    before = replace(matched, rule=None)
    assert await service.match_rule(services, before) == matched, "stored by another one before: what is stored counts"


@pytest.mark.parametrize("again", [False, True])
async def test_what_is_delivered_again_is_read_again(
    services: Services, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, worked = await register(services), []

    async def stage(_resources: object, job: Job) -> None:
        worked.append(job.vision)

    services.recent_jobs.put(replace(job, vision=SEEN), SCAN_RULE)
    monkeypatch.setitem(worker.STAGES, SCAN_RULE, stage)
    body = orjson.dumps([[str(job.id)], {}, {}])
    message = cast(Message, SimpleNamespace(body=body, headers={}, redelivered=again))
    settings = SimpleNamespace(stage_timeout=timedelta(seconds=5))
    resources = cast(worker_resources.Resources, SimpleNamespace(**vars(services), settings=settings))
    await worker.work(resources, SCAN_RULE, message)
    assert worked == [None if again else SEEN]
    assert services.recent_jobs.take(job.id, SCAN_RULE) is None


async def test_a_finished_job_cannot_fail_and_a_failed_one_cannot_finish(services: Services) -> None:
    done, dead = await register(services), await register(services)
    for job in (done, dead):
        await store.save_vision(services.db, job.id, SEEN)
        if job is dead:
            await service.fail(services, job.id, TooLate())
        await service.match_rule(services, await load(services, job))
        if job is done:
            await service.write_answer(services, await load(services, job), unchanged)
            await service.fail(services, job.id, TooLate())
    assert (await load(services, done)).status == "completed"
    assert (await load(services, dead)).status == "failed"
    assert (await load(services, dead)).rule is None


async def test_who_reads_english_is_told_in_english_why_a_scan_failed(services: Services) -> None:
    user = uuid.uuid4()
    await user_scans_store.prefer(services.db, user, 1, "en", None)
    job = await submission.register(services.db, user, uuid.uuid4().hex, "scan/x", None, None)
    await service.fail(services, job.id, TooLate())
    assert result_body(services.knowledge, await load(services, job))["error"] == TooLate.english


async def test_a_dead_letter_fails_its_job_with_one_last_event_and_stays_in_its_queue(services: Services) -> None:
    job = await register(services)
    await services.bus.open(str(job.id), str(job.user_id))
    for _ in range(2):
        key = str(QUEUES[SCAN_VISION].dead_letter_key)
        await services.publisher.send_task(DEAD_LETTER_EXCHANGE, key, SCAN_VISION, str(job.id))

    async def ended() -> bool:
        return bool(await log_of(services, job))

    await until(ended)
    assert await log_of(services, job) == [("done", "completed")]
    found = await load(services, job)
    assert (found.status, bool(found.error)) == ("failed", True)


@pytest.mark.slow
async def test_a_poisoned_job_ends_at_the_delivery_limit(services: Services) -> None:
    """A stored output makes stage `rule` fail every time; the broker gives up, the job fails visibly."""
    job = await register(services)
    await services.bus.open(str(job.id), str(job.user_id))
    await store.save_vision(services.db, job.id, SEEN)
    await services.db.rows("UPDATE scan.jobs SET vision = '{\"nonsense\": true}' WHERE id = %(id)s", id=job.id)
    await services.publisher.send_task(SCAN_EXCHANGE, SCAN_RULE, SCAN_RULE, str(job.id))

    async def told() -> bool:
        return [row for row in await log_of(services, job) if row[0] == "done"] == [("done", "completed")]

    await until(told, 60)
    assert (await load(services, job)).status == "failed"


async def test_a_message_of_a_job_that_does_not_exist_is_dropped(
    services: Services, management: httpx2.AsyncClient
) -> None:
    await services.publisher.send_task(SCAN_EXCHANGE, SCAN_RULE, SCAN_RULE, str(uuid.uuid4()))

    async def empty() -> bool:
        queue = (await management.get(f"/queues/eco2/{SCAN_RULE}")).json()
        return bool(queue.get("messages") == 0)

    await until(empty, 30)


async def test_a_job_that_was_aborted_and_then_confirmed_is_queued(services: Services) -> None:
    """The confirm of a first try may come after a second one has given up."""
    job = await register(services)
    await store.abort(services.db, job.id)
    await store.enqueued(services.db, {job.id: datetime.now(UTC)})
    assert (await load(services, job)).status == "queued"


async def test_the_first_output_of_a_stage_stays(services: Services) -> None:
    job = await register(services)
    assert await store.save_vision(services.db, job.id, SEEN)
    assert not await store.save_vision(services.db, job.id, replace(SEEN, item_id="newspaper"))
    assert (await load(services, job)).vision == SEEN


async def test_of_two_choices_at_once_one_counts_and_its_repeat_is_harmless(services: Services) -> None:
    job = await register(services)
    unsure = replace(SEEN, item_id=None, needs_choice=True)
    await store.save_vision(services.db, job.id, unsure)
    await service.match_rule(services, await load(services, job))
    await service.write_answer(services, await load(services, job), unchanged)
    seen = await load(services, job)

    async def choose(name: str) -> str:
        chosen = await choice.choose(services, seen, name)
        assert chosen.rule is not None
        return str(chosen.rule.item_id)

    names = ["우유팩", "우유팩", "신문지", "신문지"]
    outcomes = await asyncio.gather(*(choose(name) for name in names), return_exceptions=True)
    won = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(won) == 2
    assert len(set(won)) == 1
    assert sum(isinstance(outcome, errors.ChoiceNotNeeded) for outcome in outcomes) == 2


async def test_an_object_past_the_limit_is_refused_and_deleted_before_it_is_read(services: Services) -> None:
    user = uuid.uuid4()
    key = uploads.new_key(services.upload_secret, str(user), "scan", "jpg")
    await services.storage.uploads.put(key, bytes(15 * 1024 * 1024 + 1), "image/jpeg")
    with pytest.raises(PhotoTooLarge):
        await submission.require_object(
            services, submission.own_image(services, user, services.storage.public_url(key))
        )
    assert await services.storage.find(key) is None


async def test_a_server_that_is_away_costs_no_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eco2.messaging.broker.OUTAGE_PAUSES", (0.01,))
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        if tries < 5:
            raise StorageDown

    await ride_out(work)
    assert tries == 5
    monkeypatch.setattr("eco2.messaging.broker.OUTAGE_SECONDS", 0.05)

    async def never() -> None:
        raise StorageDown

    with pytest.raises(StorageDown):
        await ride_out(never)

    async def too_slow() -> None:
        nonlocal tries
        tries += 1
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await ride_out(too_slow)
    assert tries == 6, "work that takes too long is no outage"


@pytest.mark.parametrize(("language", "text"), [("ko", "사진을 보고 있어요."), ("en", "Looking at the photo.")])
async def test_the_result_and_the_status_of_an_open_job_tell_the_same_stage(
    services: Services, language: str, text: str
) -> None:
    """One was told by the row, which is written at the end of a stage, the other by the newest event."""
    user = uuid.uuid4()
    await user_scans_store.prefer(services.db, user, 1, language, None)
    job = await register(services, user=user)
    waiting = await waste_flow.status(services, job.id, user)
    assert waiting["message"] == stage_text("queued", language)
    await services.bus.emit(str(job.id), *both(Stage.QUEUED), started(Stage.VISION), owner=str(job.user_id))

    async def forwarded() -> bool:
        frame = await services.bus.state(str(job.id))
        return frame is not None and frame["stage"] == "vision"

    await until(forwarded)
    stage, percent = await waste_flow.stage_of(services, await load(services, job))
    told = await waste_flow.status(services, job.id, job.user_id)
    assert (stage, percent, text) == ("vision", told["progress"], told["message"])
    response = await result_response(services, job.id, user)
    assert orjson.loads(response.body)["message"] == text
