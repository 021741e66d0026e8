"""Events between processes: names and types that clients and other processes rely on."""

from collections.abc import AsyncIterator
from uuid import uuid4

import orjson
import pytest
from redis.asyncio import Redis

from eco2.contracts import events
from eco2.contracts.events import Draft, Stage, Status
from eco2.core.redis import connect
from eco2.messaging.events import EventBus
from tests.integration.test_bus import forwarded, routing, streamed, url_of
from tests.redis_server import private_redis

FIELDS = {
    "job_id": str,
    "stage": str,
    "status": str,
    "seq": int,
    "ts": str,
    "progress": int,
    "traceparent": str,
    "stream_id": str,
}


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    async with private_redis() as url, connect(url) as client:
        yield client


def test_names_that_clients_listen_for() -> None:
    assert {"queued", "vision", "rule", "answer", "reward", "done"} <= {stage.value for stage in Stage}
    assert [status.value for status in Status] == ["started", "completed", "failed"]


def test_only_done_is_terminal_whatever_its_status() -> None:
    for stage in Stage:
        for status in Status:
            assert Draft(stage, status, 0).terminal == (stage == "done")


def test_every_stage_and_status_has_its_own_key() -> None:
    keys = {Draft(stage, status, 0).key for stage in Stage for status in Status}
    assert len(keys) == len(Stage) * len(Status)
    assert not keys & {"owner", "seq", "terminal"}


def test_shard_of_a_job_does_not_change_between_releases() -> None:
    assert events.shard_keys() == ["events:0", "events:1", "events:2", "events:3"]
    assert events.shard_key("123456789") == "events:2", "the CRC-32 of this text is 0xCBF43926"


def test_keys_of_a_job_are_distinct() -> None:
    keys = {make("j") for make in (events.job_key, events.log_key, events.channel)}
    assert keys == {"job:j", "job:j:log", "job:j:live"}


async def test_fields_have_one_type_in_stream_log_and_state(redis: Redis) -> None:
    bus, job = EventBus(redis), uuid4().hex
    drafts = [
        Draft(Stage.QUEUED, Status.STARTED, 0),
        Draft(Stage.REWARD, Status.FAILED, 99, message="later"),
        Draft(Stage.DONE, Status.COMPLETED, 100, result={"a": [1]}),
    ]
    await bus.emit(job, *drafts)
    produced = await streamed(redis, job)
    async with routing(url_of(redis)):
        await forwarded(redis, job, 3)
    logged = [orjson.loads(text) for text in await bus.log(job, 0, 10)]
    for frame, draft in zip(logged, drafts, strict=True):
        assert {name: type(frame[name]) for name in FIELDS} == FIELDS
        assert set(frame) - set(FIELDS) == {"result"} | ({"message"} if draft.message else set())
        assert float(frame["ts"]) > 1.7e9
        assert frame["result"] == ("" if draft.result is None else draft.result)
    assert logged[-1] == await bus.state(job)
    assert [frame.pop("stream_id") != "" for frame in logged] == [True] * 3
    assert logged == produced
