"""The list of one's scans through the gateway."""

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from eco2.core import cursors
from eco2.scan import stages
from eco2.scan.outputs import Answer, dumps
from eco2.scan.services import Services
from eco2.scan.tables import jobs
from tests.conftest import Person

PATH = "/api/v1/users/me/scans"
Add = Callable[..., Awaitable[str]]
NOON = datetime(2026, 3, 10, 3, 0, tzinfo=UTC)  # 12 o'clock in Korea


@pytest.fixture
def add(services: Services, engine: AsyncEngine) -> Add:
    """Writes one job, with an item a finished one; returns its id."""

    async def write(user: uuid.UUID, at: datetime, item: str | None = "water_pet", **row: Any) -> str:
        base, job_id = services.knowledge, uuid.uuid4()
        if item is not None:
            rule = stages.rule_of(base, base.item(item), None)
            answer = Answer.of(stages.answer(base, rule, None))
            stored = {"rule": orjson.loads(dumps(rule)), "answer": orjson.loads(dumps(answer))}
            row = {"status": "completed", **stored, "finished_at": at, **row}
        async with engine.begin() as tx:
            values = {"id": job_id, "user_id": user, "image_key": f"scan/{job_id.hex}.jpg", "created_at": at, **row}
            await tx.execute(insert(jobs).values(values))
        return str(job_id)

    return write


async def pages(who: Person, limit: int, **asked: str) -> list[list[str]]:
    found: list[list[str]] = []
    query: dict[str, Any] = {"limit": limit, **asked}
    while True:
        body = (await who.http.get(PATH, params=query)).json()
        found.append([row["job_id"] for row in body["scans"]])
        if body["next_cursor"] is None:
            return found
        query["cursor"] = body["next_cursor"]


async def test_pages_hold_every_scan_once_newest_first_also_of_one_moment(
    person: Callable[[], Person], services: Services, add: Add
) -> None:
    who, other = person(), person()
    await add(other.id, NOON)
    at_once = sorted([await add(who.id, NOON) for _ in range(7)], reverse=True)
    later = [await add(who.id, NOON + timedelta(seconds=number)) for number in (1, 2)]
    expected = [*reversed(later), *at_once]
    for limit in (1, 2, 3, 9, 100):
        found = await pages(who, limit)
        assert [job for page in found for job in page] == expected
        assert all(found)
        assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)


async def test_what_is_submitted_meanwhile_does_not_move_the_pages(
    person: Callable[[], Person], services: Services, add: Add
) -> None:
    who = person()
    old = [await add(who.id, NOON + timedelta(seconds=number)) for number in range(4)]
    first = (await who.http.get(PATH, params={"limit": 2})).json()
    await add(who.id, NOON + timedelta(hours=1))
    second = (await who.http.get(PATH, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [row["job_id"] for row in (*first["scans"], *second["scans"])] == old[::-1]


async def test_an_entry_tells_what_it_was(person: Callable[[], Person], services: Services, add: Add) -> None:
    who = person()
    job = await add(who.id, NOON)
    failed = await add(who.id, NOON - timedelta(hours=1), None, status="failed", error="안 됐어요.")
    running = await add(who.id, NOON - timedelta(hours=2), None, status="queued")
    found = (await who.http.get(PATH)).json()["scans"]
    assert [row["job_id"] for row in found] == [job, failed, running]
    assert [row["status"] for row in found] == ["completed", "failed", "processing"]
    assert found[0]["classification"]["middle_category"] == "무색페트병"
    assert found[0]["stream"]["id"] == "clear_pet"
    assert found[0]["image_url"] == services.storage.public_url(f"scan/{uuid.UUID(job).hex}.jpg")
    assert (found[1]["error"], found[1]["stream"], found[1]["classification"]) == ("안 됐어요.", None, None)
    result = await who.http.get(found[0]["result_url"])
    assert (result.status_code, result.json()["task_id"]) == (200, job)


async def test_what_the_user_never_finished_to_submit_is_not_listed(
    person: Callable[[], Person], services: Services, add: Add
) -> None:
    who = person()
    for status in ("waiting", "aborted"):
        await add(who.id, NOON, None, status=status)
    assert (await who.http.get(PATH)).json() == {"scans": [], "next_cursor": None}


async def test_filters_narrow_the_list(person: Callable[[], Person], services: Services, add: Add) -> None:
    who = person()
    pet = await add(who.id, NOON)
    battery = await add(who.id, NOON + timedelta(days=1), "alkaline")
    failed = await add(who.id, NOON + timedelta(days=2), None, status="failed")
    battery_item = services.knowledge.item("alkaline")
    rule = stages.rule_of(services.knowledge, battery_item, None)

    async def listed(**asked: str) -> list[str]:
        return [job for page in await pages(who, 1, **asked) for job in page]

    assert await listed(stream="clear_pet") == [pet]
    assert await listed(stream=str(rule.stream_id)) == [battery]
    assert await listed(category="무색페트병") == [pet]
    assert await listed(category=battery_item.classification.middle_category) == [battery]
    assert await listed(status="failed") == [failed]
    assert await listed(status="completed") == [battery, pet]
    assert await listed(status="processing") == []
    assert await listed(**{"from": "2026-03-11"}) == [failed, battery]
    assert await listed(to="2026-03-11") == [battery, pet]
    assert await listed(**{"from": "2026-03-11", "to": "2026-03-11", "stream": "clear_pet"}) == []


async def test_a_day_is_one_in_korea(person: Callable[[], Person], services: Services, add: Add) -> None:
    who = person()
    midnight = datetime(2026, 3, 9, 15, 0, tzinfo=UTC)  # the 10th begins in Korea
    await add(who.id, midnight - timedelta(seconds=1))
    first = await add(who.id, midnight)
    last = await add(who.id, midnight + timedelta(hours=24) - timedelta(microseconds=1))
    await add(who.id, midnight + timedelta(hours=24))
    found = (await who.http.get(PATH, params={"from": "2026-03-10", "to": "2026-03-10"})).json()["scans"]
    assert [row["job_id"] for row in found] == [last, first]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"stream": "nonsense"}, 400, "INVALID_STREAM"),
        ({"category": "nonsense"}, 400, "INVALID_CATEGORY"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, 400, "INVALID_DATE_RANGE"),
        ({"cursor": "nonsense"}, 400, "INVALID_CURSOR"),
        ({"cursor": "é"}, 400, "INVALID_CURSOR"),
        ({"cursor": cursors.encode(NOON, "no-uuid")}, 400, "INVALID_CURSOR"),
        ({"cursor": ""}, 422, "VALIDATION_ERROR"),
        ({"status": "waiting"}, 422, "VALIDATION_ERROR"),
        ({"from": "9999-12-31"}, 422, "VALIDATION_ERROR"),
        ({"from": "yesterday"}, 422, "VALIDATION_ERROR"),
        ({"limit": "0"}, 422, "VALIDATION_ERROR"),
        ({"limit": "101"}, 422, "VALIDATION_ERROR"),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(
    person: Callable[[], Person], query: dict[str, str], status: int, code: str
) -> None:
    answer = await person().http.get(PATH, params=query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
