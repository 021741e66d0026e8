"""The stages of a scan on both ways, one message for all of them or one for each: the same outcome, whatever fails."""

import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import obstore
import orjson
import pytest

from eco2.contracts import uploads
from eco2.contracts.events import Stage
from eco2.contracts.queues import SCAN_ANSWER, SCAN_RULE, SCAN_VISION
from eco2.local.emulators import llm as llm_emulator
from eco2.local.stack import Stack
from eco2.messaging.broker import BrokerDown, Publisher
from eco2.messaging.consumer import Message
from eco2.scan import service, store, submission, user_scans_store, worker
from eco2.scan.job import Job
from eco2.scan.progress import both
from eco2.scan.services import Services
from eco2.scan.settings import WorkerSettings
from eco2.scan.worker_resources import Resources, open_resources
from tests import photos
from tests.conftest import PAID_MODEL, FromStack
from tests.e2e.test_scan import EVENTS
from tests.integration.test_scan_service import load, log_of
from tests.redis_server import until

ORDER = [SCAN_VISION, SCAN_RULE, SCAN_ANSWER]


class Mailbox:
    """Queues of one job: what a stage sends is delivered next, what fails is delivered again."""

    def __init__(self, job: Job) -> None:
        self._body = orjson.dumps([[str(job.id)], {}, {}])
        self._waiting = deque([(SCAN_VISION, False)])
        self.delivered: list[str] = []
        self.grants: list[str] = []
        self.away = 0

    async def send_task(self, _exchange: str, queue: str, *_arguments: str, **_options: object) -> None:
        if self.away:
            self.away -= 1
            raise BrokerDown
        self._waiting.append((queue, False))

    async def send_json(self, _exchange: str, _key: str, _body: object, message_id: str) -> None:
        self.grants.append(message_id)

    async def deliver_all(self, resources: Resources) -> None:
        while self._waiting:
            queue, redelivered = self._waiting.popleft()
            self.delivered.append(queue)
            message = SimpleNamespace(body=self._body, headers={}, redelivered=redelivered)
            try:
                await worker.work(resources, queue, cast(Message, message))
            except (RuntimeError, BrokerDown, ConnectionError):
                self._waiting.appendleft((queue, True))


@pytest.fixture(params=[False, True], ids=["one message", "stage by stage"])
async def resources(stack: Stack, settings: FromStack, request: pytest.FixtureRequest) -> AsyncIterator[Resources]:
    paid = {
        "llm_api_key": "emulated",
        "llm_base_url": llm_emulator.base_url(stack.layout),
        "llm_models": (PAID_MODEL,),
        "stage_by_stage": request.param,
    }
    async with open_resources(settings(WorkerSettings).model_copy(update=paid)) as opened:
        yield opened


@pytest.fixture
async def job(services: Services) -> Job:
    """A job of the paid model whose first message only the test delivers."""
    user = uuid.uuid4()
    key = uploads.new_key(services.upload_secret, str(user), "scan", "jpg")
    photo = photos.encoded(photos.picture(320, 240, seed=user.int % 2**32), "JPEG")
    await services.storage.uploads.put(key, photo, "image/jpeg")
    job = await submission.register(services.db, user, None, key, f"질문 {uuid.uuid4().hex}", PAID_MODEL)
    await store.enqueued(services.db, {job.id: datetime.now(UTC)})
    await services.bus.emit(str(job.id), *both(Stage.QUEUED), owner=str(user))
    return job


async def calls(stack: Stack, job: Job) -> dict[str, int]:
    async with httpx2.AsyncClient(base_url=llm_emulator.base_url(stack.layout).removesuffix("/v1")) as client:
        report = (await client.get("/_calls")).json()
    return {purpose: row["calls"] for purpose, row in report["jobs"].get(str(job.id), {}).items()}


async def outcome(stack: Stack, services: Services, resources: Resources, job: Job) -> Mailbox:
    """Deliver what there is; then everything was done and said once, and paid for once."""
    mailbox = Mailbox(job)
    await deliver(resources, mailbox)
    await ended_once(stack, services, job, mailbox)
    return mailbox


async def deliver(resources: Resources, mailbox: Mailbox) -> None:
    await mailbox.deliver_all(replace(resources, publisher=cast(Publisher, mailbox)))


async def ended_once(stack: Stack, services: Services, job: Job, mailbox: Mailbox) -> None:
    done = await load(services, job)
    assert (done.status, done.vision is None, done.rule is None, done.answer is None) == ("completed",) + (False,) * 3
    assert len(set(mailbox.grants)) == (1 if done.reward else 0)

    async def told() -> bool:
        return ("done", "completed") in await log_of(services, job)

    await until(told)
    assert await log_of(services, job) == EVENTS
    assert await calls(stack, job) == {"vision": 1, "answer": 1}


async def test_a_scan_takes_one_message_or_one_a_stage(
    stack: Stack, services: Services, resources: Resources, job: Job
) -> None:
    mailbox = await outcome(stack, services, resources, job)
    assert mailbox.delivered == (ORDER if resources.settings.stage_by_stage else [SCAN_VISION])


async def test_a_scan_looks_for_its_photo_once_and_reads_it_once(
    stack: Stack, services: Services, resources: Resources, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()

    def count(name: str) -> None:
        call = getattr(obstore, name)

        async def counted(*arguments: object, **options: object) -> object:
            asked[name] += 1
            return await call(*arguments, **options)

        monkeypatch.setattr(obstore, name, counted)

    count("head_async")
    count("get_async")
    await submission.require_object(services, job.image_key)  # of the request; the rest is of the stages
    await outcome(stack, services, resources, job)
    assert asked == {"head_async": 1, "get_async": 1}


Fail = Callable[[str, str, type[Exception]], None]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Let a stage raise once, before its work or when that is done."""

    def arrange(queue: str, when: str, error: type[Exception]) -> None:
        stage, failures = worker.STAGES[queue], [error("in a test")]

        async def failing(resources: Resources, job: Job) -> Job | None:
            if failures and when == "before":
                raise failures.pop()
            done = await stage(resources, job)
            if failures:
                raise failures.pop()
            return done

        monkeypatch.setitem(worker.STAGES, queue, failing)

    return arrange


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("queue", ORDER)
async def test_a_stage_that_fails_is_tried_again_in_its_own_queue(
    stack: Stack, services: Services, resources: Resources, job: Job, fail: Fail, queue: str, when: str
) -> None:
    fail(queue, when, RuntimeError)
    mailbox = await outcome(stack, services, resources, job)
    if resources.settings.stage_by_stage or queue == SCAN_VISION:
        assert mailbox.delivered.count(queue) == 2
    else:
        assert mailbox.delivered == [SCAN_VISION, queue]


@pytest.mark.parametrize("queue", ORDER)
async def test_a_stage_that_meets_a_server_that_is_away_keeps_its_message(
    stack: Stack, services: Services, resources: Resources, job: Job, fail: Fail, queue: str
) -> None:
    fail(queue, "before", ConnectionError)
    mailbox = await outcome(stack, services, resources, job)
    begun = queue if resources.settings.stage_by_stage else SCAN_VISION
    assert mailbox.delivered.count(begun) == 2


async def test_without_the_broker_a_stage_that_failed_comes_back_with_the_message_before_it(
    stack: Stack, services: Services, resources: Resources, job: Job, fail: Fail
) -> None:
    fail(SCAN_ANSWER, "before", RuntimeError)
    mailbox = Mailbox(job)
    mailbox.away = 1
    await deliver(resources, mailbox)
    await ended_once(stack, services, job, mailbox)


async def test_an_answer_that_has_to_wait_for_the_provider_waits_in_its_queue(
    stack: Stack, services: Services, resources: Resources, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_room", lambda _resources, queue: 5 if queue == SCAN_ANSWER else None)
    mailbox = await outcome(stack, services, resources, job)
    assert mailbox.delivered == (ORDER if resources.settings.stage_by_stage else [SCAN_VISION, SCAN_ANSWER])


async def test_a_process_that_ends_leaves_the_next_stage_to_another(
    stack: Stack, services: Services, resources: Resources, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = worker.STAGES[SCAN_VISION]

    async def told_to_end(resources: Resources, job: Job) -> Job | None:
        resources.ending.set()
        return await look(resources, job)

    monkeypatch.setitem(worker.STAGES, SCAN_VISION, told_to_end)
    mailbox = await outcome(stack, services, resources, job)
    assert mailbox.delivered == ORDER


async def test_words_without_a_rule_leave_what_was_seen(
    stack: Stack, services: Services, resources: Resources, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule is looked for right after the look, before that is stored: its failure must not cost a second look."""
    find, failures = service.find_rule, [RuntimeError("in a test"), RuntimeError("again")]

    async def broken(services: Services, job: Job) -> Any:
        if failures:
            raise failures.pop()
        return await find(services, job)

    monkeypatch.setattr(service, "find_rule", broken)
    mailbox = await outcome(stack, services, resources, job)
    assert SCAN_RULE in mailbox.delivered


async def test_a_scan_that_is_deleted_meanwhile_goes_no_further(
    services: Services, resources: Resources, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = service.find_rule

    async def deleted(services: Services, job: Job) -> Any:
        await user_scans_store.forget_job(services.db, job.id, job.user_id)
        return await find(services, job)

    monkeypatch.setattr(service, "find_rule", deleted)
    mailbox = Mailbox(job)
    await deliver(resources, mailbox)
    assert await store.load(services.db, job.id) is None
    assert mailbox.grants == []
    assert ("answer", "started") not in await log_of(services, job)
