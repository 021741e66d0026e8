"""A client whose events were lost gets the true end of its scan, and gets it once."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import cast

import orjson
import pytest
from redis.asyncio import Redis

from eco2.contracts.events import job_key, log_key
from eco2.core.redis import connect
from tests import photos
from tests.conftest import Person
from tests.e2e import journey

People = Callable[[], Person]
SECONDS = 15.0
"""Two looks of the gateway at a silent stream, on a busy machine."""


@pytest.fixture
async def streams(environment: dict[str, str]) -> AsyncIterator[Redis]:
    async with connect(environment["ECO2_REDIS_STREAMS_URL"]) as redis:
        yield redis


async def ended(who: Person) -> journey.Json:
    """A submitted scan that is over, its events read."""
    job = await journey.submit(who, await journey.upload(who, photos.jpeg()), user_input="우유팩이에요")
    await journey.frames(who, job["stream_url"])
    await asyncio.sleep(2.5)  # so long a service says nothing: the last events may be on their way
    return job


async def test_events_that_never_reached_the_log_are_replaced_by_the_end(person: People, streams: Redis) -> None:
    who = person()
    job = await ended(who)
    whole = await journey.result(who, job["result_url"])
    last = await streams.zcard(log_key(job["job_id"]))
    await streams.zremrangebyrank(log_key(job["job_id"]), 2, -1)
    start = time.monotonic()
    found = await journey.frames(who, job["stream_url"])
    assert time.monotonic() - start < SECONDS
    assert [frame["stage"] for frame in found] == ["queued", "queued", "done"]
    assert found[-1]["seq"] == last, "a client that has seen the end is told that there is nothing more"
    assert found[-1]["result"]["pipeline_result"] == {**whole["pipeline_result"], "disposal_rules": None}


async def test_a_scan_without_any_events_left_is_ended_once_and_only_for_its_owner(
    person: People, streams: Redis
) -> None:
    who, other = person(), person()
    job = await ended(who)
    await streams.delete(job_key(job["job_id"]), log_key(job["job_id"]))
    assert journey.is_error(await other.http.get(job["stream_url"]), 404, "JOB_NOT_FOUND")
    found = await journey.frames(who, job["stream_url"])
    assert [(frame["stage"], frame["status"]) for frame in found] == [("done", "completed")]
    again = await who.http.get(job["stream_url"], headers={"Last-Event-ID": found[-1]["id"]})
    assert again.status_code == 204


async def test_the_status_of_the_waste_flow_is_that_of_the_row_when_events_are_old(
    person: People, streams: Redis
) -> None:
    who = person()
    job = await ended(who)
    frames = cast(list[str], await streams.zrange(log_key(job["job_id"]), 0, -1))
    old = {**orjson.loads(frames[2]), "ts": f"{time.time() - 60:.3f}"}
    await streams.delete(log_key(job["job_id"]))
    await streams.zadd(log_key(job["job_id"]), {orjson.dumps(old): 3})
    status = (await who.http.get(f"/api/v1/waste/status/{job['job_id']}")).json()
    assert status["progress"] == 100
    assert status["result"]["pipeline_result"]["disposal_rules"], "the whole result, not that of the event"


async def test_an_event_carries_no_rule_texts(person: People, streams: Redis) -> None:
    """They would be most of what a scan keeps on a server that never evicts."""
    who = person()
    job = await ended(who)
    texts = await streams.zrange(log_key(job["job_id"]), 0, -1)
    assert sum(map(len, texts)) < 5000
