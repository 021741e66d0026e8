"""The waste flow and the former addresses of a scan: the same jobs and results."""

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from eco2.scan.waste_api import WasteStatus
from tests.conftest import Person
from tests.e2e import journey

People = Callable[[], Person]
DEMO = (Path(__file__).parents[2] / "data/demo/coffee.jpg").read_bytes()


async def analyze(who: Person, **body: str) -> dict[str, Any]:
    return dict((await who.http.post("/api/v1/waste/analyze", json=body)).raise_for_status().json())


async def put(url: str, data: bytes) -> None:
    async with httpx2.AsyncClient() as store:
        (await store.put(url, content=data, headers={"Content-Type": "image/jpeg"})).raise_for_status()


async def status(who: Person, job: dict[str, Any]) -> dict[str, Any]:
    return dict((await who.http.get(job["status_url"])).raise_for_status().json())


async def polled(who: Person, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Every status until the job is over."""
    seen = [await status(who, job)]
    async with asyncio.timeout(30):
        while seen[-1]["progress"] not in (-1, 100) or seen[-1].get("result") is None:
            await asyncio.sleep(0.02)
            seen.append(await status(who, job))
    return seen


async def test_a_job_first_then_its_photo_then_polling(person: People) -> None:
    who = person()
    job = await analyze(who)
    assert job["status_url"] == f"/api/v1/waste/status/{job['job_id']}"
    assert (await status(who, job))["progress"] == 0
    early = await who.http.get(f"/api/v1/waste/result/{job['job_id']}")
    assert (early.status_code, early.headers["retry-after"]) == (202, "2")
    await put(job["upload_url"], DEMO)
    done = await who.http.post(f"/api/v1/waste/upload-complete/{job['job_id']}")
    assert done.raise_for_status().json() == {"status": "processing"}
    seen = await polled(who, job)
    progress = [row["progress"] for row in seen]
    assert progress == sorted(progress)
    assert all(row["message"] for row in seen)
    assert all(row == WasteStatus.model_validate(row).model_dump(mode="json") for row in seen)
    result = await journey.result(who, f"/api/v1/waste/result/{job['job_id']}")
    assert seen[-1]["result"] == result
    assert result == await journey.result(who, f"/api/v1/scan/{job['job_id']}/result")
    assert result == await journey.result(who, f"/api/v1/scan/tasks/{job['job_id']}")


async def test_upload_complete_twice_at_once_is_one_run(person: People) -> None:
    who = person()
    job = await analyze(who)
    await put(job["upload_url"], DEMO)
    path = f"/api/v1/waste/upload-complete/{job['job_id']}"
    answers = await asyncio.gather(*(who.http.post(path) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    frames = await journey.frames(who, f"/api/v1/scan/{job['job_id']}/events")
    assert [frame["seq"] for frame in frames] == list(range(1, 12))
    assert (await who.http.post(path)).json() == {"status": "processing"}


async def test_upload_complete_without_the_photo_says_so_and_can_be_repeated(person: People) -> None:
    who = person()
    job = await analyze(who)
    path = f"/api/v1/waste/upload-complete/{job['job_id']}"
    assert journey.is_error(await who.http.post(path), 404, "IMAGE_NOT_FOUND")
    await put(job["upload_url"], DEMO)
    assert (await who.http.post(path)).status_code == 200
    assert (await polled(who, job))[-1]["progress"] == 100


async def test_a_failed_job_is_minus_one_with_its_reason(person: People) -> None:
    who = person()
    job = await analyze(who)
    await put(job["upload_url"], b"no photo")
    await who.http.post(f"/api/v1/waste/upload-complete/{job['job_id']}")
    last = (await polled(who, job))[-1]
    assert last["progress"] == -1
    assert last["message"] == last["result"]["error"]
    assert (last["result"]["status"], last["result"]["outcome"]) == ("completed", "failed")
    assert last["result"] == (await who.http.get(f"/api/v1/waste/result/{job['job_id']}")).json()


async def test_another_users_job_is_not_found(person: People) -> None:
    job = await analyze(person())
    other = person()
    for method, name in (("GET", "status"), ("GET", "result"), ("POST", "upload-complete")):
        answer = await other.http.request(method, f"/api/v1/waste/{name}/{job['job_id']}")
        assert journey.is_error(answer, 404, "RESULT_NOT_FOUND"), name
    unknown = await other.http.get(f"/api/v1/waste/status/{uuid.uuid4()}")
    assert journey.is_error(unknown, 404, "RESULT_NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"content_type": "image/svg+xml"}, 415, "IMAGE_TYPE_NOT_SUPPORTED"),
        ({"model": "gpt-1"}, 400, "UNSUPPORTED_MODEL"),
        ({"content_type": 5}, 422, "VALIDATION_ERROR"),
    ],
)
async def test_bad_bodies_have_their_error(person: People, body: dict[str, Any], status: int, code: str) -> None:
    assert journey.is_error(await person().http.post("/api/v1/waste/analyze", json=body), status, code)


async def test_classify_waits_for_the_result(person: People) -> None:
    who = person()
    body = {"image_url": await journey.upload(who, DEMO)}
    answer = await who.http.post("/api/v1/scan/classify", json=body)
    assert answer.status_code == 200
    assert answer.json()["status"] == "completed"
    assert answer.json()["pipeline_result"]["stream"]["id"] == "noncombustible_sack"
