"""A photo becomes a disposal guide, through the gateway, with every process running."""

import asyncio
import io
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import orjson
import pytest
from openapi_schema_validator import OAS31Validator
from PIL import Image

from eco2.core.postgres import open_database
from eco2.core.settings import DatabaseSettings
from eco2.scan import user_scans_store
from tests import photos
from tests.conftest import PAID_MODEL, Person
from tests.e2e import journey

People = Callable[[], Person]

DOCUMENT = Path(__file__).parents[2] / "docs/api/openapi.json"
DEMO = (Path(__file__).parents[2] / "data/demo/coffee.jpg").read_bytes()
RECYCLABLE = "투명 페트병이에요"

EVENTS = [
    ("queued", "started"),
    ("queued", "completed"),
    ("vision", "started"),
    ("vision", "completed"),
    ("rule", "started"),
    ("rule", "completed"),
    ("answer", "started"),
    ("answer", "completed"),
    ("reward", "started"),
    ("reward", "completed"),
    ("done", "completed"),
]


async def test_a_photo_becomes_a_guide(person: People) -> None:
    who = person()
    body = await journey.scan(who, DEMO)
    assert (body["status"], body["error"], body["needs_choice"]) == ("completed", None, False)
    found = body["pipeline_result"]
    assert found["classification_result"]["classification"]["major_category"] == "불연성종량제폐기물"
    assert found["stream"]["id"] == "noncombustible_sack"
    assert next(iter(found["final_answer"]["disposal_steps"])) == "단계1"
    assert found["disposal_rules"]["배출방법_공통"]
    assert "reward" in body
    assert body["reward"] is None


async def test_events_come_in_order_each_once_and_the_result_is_readable_before_done(person: People) -> None:
    who = person()
    job = await journey.submit(who, await journey.upload(who, DEMO))
    found = await journey.frames(who, job["stream_url"])
    assert [(frame["stage"], frame["status"]) for frame in found] == EVENTS
    components = orjson.loads(DOCUMENT.read_bytes())["components"]
    for frame in found:
        OAS31Validator({**components["schemas"]["JobEvent"], "components": components}).validate(frame)
    assert [frame["id"] for frame in found] == [str(frame["seq"]) for frame in found]
    assert [frame["seq"] for frame in found] == list(range(1, len(EVENTS) + 1))
    assert all(frame["event"] == frame["stage"] and isinstance(frame["progress"], int) for frame in found)
    body = await journey.result(who, job["result_url"])
    assert body["pipeline_result"].pop("disposal_rules")
    assert found[-1]["result"].pop("pipeline_result") == {**body.pop("pipeline_result"), "disposal_rules": None}
    assert found[-1]["result"] == body
    assert len({frame["trace_id"] for frame in found}) == 1, "one trace from the request to the last event"


async def test_the_stream_resumes_after_the_last_event_id(person: People) -> None:
    who = person()
    job = await journey.submit(who, await journey.upload(who, DEMO))
    whole = await journey.frames(who, job["stream_url"])
    for seen in (0, 1, 5, len(whole) - 1):
        assert await journey.frames(who, job["stream_url"], str(seen)) == whole[seen:]


async def test_a_recyclable_earns_its_character_within_seconds(person: People) -> None:
    who = person()
    before = (await who.http.get("/api/v1/users/me/characters")).json()
    assert [row["name"] for row in before] == ["이코"]
    body = await journey.scan(who, photos.jpeg(320, 240), user_input="우유팩이에요")
    reward = body["reward"]
    assert (reward["name"], reward["type"]) == ("팩토리", "종이팩")
    assert reward["match_reason"].startswith("종이팩>")

    async def names() -> list[str]:
        return [row["name"] for row in (await who.http.get("/api/v1/users/me/characters")).json()]

    async with asyncio.timeout(2):
        while await names() != ["이코", "팩토리"]:
            await asyncio.sleep(0.05)


def noise(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    return photos.encoded(Image.fromarray(pixels), "JPEG")


async def test_words_alone_earn_nothing(person: People) -> None:
    who = person()
    for seed in range(3):
        body = await journey.scan(who, noise(seed), user_input=RECYCLABLE)
        assert (body["outcome"], body["reward"]) == ("answered", None)
        assert body["pipeline_result"]["stream"]["id"] == "clear_pet", "they are answered all the same"
        assert body["pipeline_result"]["final_answer"]["insufficiencies"]
    body = await journey.scan(who, noise(9), user_input="페트병")
    chosen = await who.http.post(f"/api/v1/scan/{body['task_id']}/choice", json={"minor_category": "생수병"})
    assert (chosen.json()["outcome"], chosen.json()["reward"]) == ("answered", None)


async def test_what_was_not_done_yet_costs_the_reward(person: People) -> None:
    body = await journey.scan(person(), photos.jpeg(), user_input="투명 페트병인데 안 씻었어요")
    assert body["pipeline_result"]["final_answer"]["insufficiencies"]
    assert body["reward"] is None


async def test_none_of_these_ends_as_unsure_and_is_stored(person: People) -> None:
    who = person()
    body = await journey.scan(who, photos.jpeg(320, 240), user_input="페트병")
    choice = f"/api/v1/scan/{body['task_id']}/choice"
    first = await who.http.post(choice, json={"minor_category": None})
    assert first.status_code == 200
    refused = first.json()
    assert (refused["status"], refused["outcome"], refused["code"]) == ("completed", "unsure", "NOT_RECOGNIZED")
    assert (refused["pipeline_result"], refused["needs_choice"], refused["candidates"]) == (None, False, [])
    assert refused["error"]
    assert (await who.http.post(choice, json={"minor_category": None})).json() == refused
    assert await journey.result(who, f"/api/v1/scan/{body['task_id']}/result") == refused
    named = await who.http.post(choice, json={"minor_category": "도자기"})
    assert named.json()["outcome"] == "answered", "who knows its name after all may still say it"
    late = await who.http.post(choice, json={"minor_category": None})
    assert journey.is_error(late, 409, "CHOICE_NOT_NEEDED")


async def test_an_uncertain_photo_asks_and_the_choice_completes_it(person: People) -> None:
    who = person()
    body = await journey.scan(who, photos.jpeg(320, 240))
    assert body["needs_choice"] is True
    assert body["reward"] is None
    assert body["pipeline_result"]["final_answer"]["insufficiencies"]
    choice = f"/api/v1/scan/{body['task_id']}/choice"
    refused = await who.http.post(choice, json={"minor_category": "없는 물건"})
    assert journey.is_error(refused, 400, "UNKNOWN_CATEGORY")
    first = await who.http.post(choice, json={"minor_category": "우유팩"})
    assert first.status_code == 200
    assert first.json()["needs_choice"] is False
    assert first.json()["reward"]["name"] == "팩토리"
    assert (await who.http.post(choice, json={"minor_category": "우유팩"})).json() == first.json()
    assert await journey.result(who, f"/api/v1/scan/{body['task_id']}/result") == first.json()
    other = await who.http.post(choice, json={"minor_category": "신문지"})
    assert journey.is_error(other, 409, "CHOICE_NOT_NEEDED")


@pytest.mark.parametrize("model", [None, PAID_MODEL])
async def test_the_user_is_answered_in_the_language_and_by_the_district_that_are_preferred(
    person: People, environment: dict[str, str], model: str | None
) -> None:
    who = person()
    async with open_database(DatabaseSettings(database_url=environment["ECO2_DATABASE_URL"]), repeat=True) as db:
        await user_scans_store.prefer(db, who.id, 1, "en", "서울특별시 강서구")
    named = {} if model is None else {"model": model}
    body = await journey.scan(who, photos.jpeg(320, 240), user_input="남은 페인트예요", **named)
    answer = body["pipeline_result"]["final_answer"]
    assert not re.search("[가-힣]", " ".join([answer["user_answer"], *answer["disposal_steps"].values()]))
    if model is None:  # the emulated one sees what it likes
        assert body["pipeline_result"]["stream"]["id"] == "professional"
        assert "Gangseo-gu has paint" in answer["user_answer"]


async def test_a_word_for_several_things_is_asked_back(person: People) -> None:
    who = person()
    body = await journey.scan(who, photos.jpeg(320, 240), user_input="페트병")
    assert (body["needs_choice"], body["reward"]) == (True, None)
    names = [row["minor_category"] for row in body["candidates"]]
    assert names[:3] == ["생수병", "유색 페트병", "식용유·간장 페트병"]
    found = (await who.http.get("/api/v1/scan/items", params={"q": "페트병"})).json()
    assert {*names[:3]} <= {row["minor_category"] for row in found}
    for name in names:
        listed = (await who.http.get("/api/v1/scan/items", params={"q": name, "limit": 1})).json()
        assert [row["minor_category"] for row in listed] == [name]


async def test_the_names_of_all_items_are_listed(person: People) -> None:
    who = person()
    some = (await who.http.get("/api/v1/scan/items")).json()
    everything = (await who.http.get("/api/v1/scan/items", params={"limit": 500})).json()
    assert len(some) == 50
    assert len(everything) > 280
    assert everything[:50] == some
    assert some[0].keys() == {"id", "minor_category", "middle_category", "major_category", "name_en"}
    for limit in ("0", "501", "x"):
        refused = await who.http.get("/api/v1/scan/items", params={"limit": limit})
        assert journey.is_error(refused, 422, "VALIDATION_ERROR")


async def test_the_same_key_twice_at_once_is_one_job(person: People) -> None:
    who = person()
    body = {"image_url": await journey.upload(who, DEMO)}
    headers = {"X-Idempotency-Key": uuid.uuid4().hex}
    answers = await asyncio.gather(*(who.http.post("/api/v1/scan", json=body, headers=headers) for _ in range(8)))
    assert len({answer.raise_for_status().json()["job_id"] for answer in answers}) == 1
    found = await journey.frames(who, answers[0].json()["stream_url"])
    assert [(frame["stage"], frame["status"]) for frame in found] == EVENTS
    again = {"image_url": await journey.upload(who, DEMO)}
    assert journey.is_error(
        await who.http.post("/api/v1/scan", json=again, headers=headers), 409, "IDEMPOTENCY_KEY_REUSED"
    )


async def test_the_same_key_of_another_user_is_another_job(person: People) -> None:
    key = {"X-Idempotency-Key": uuid.uuid4().hex}
    jobs = set()
    for who in (person(), person()):
        body = {"image_url": await journey.upload(who, DEMO)}
        jobs.add((await who.http.post("/api/v1/scan", json=body, headers=key)).raise_for_status().json()["job_id"])
    assert len(jobs) == 2


async def test_a_result_can_be_polled(person: People) -> None:
    who = person()
    job = await journey.submit(who, await journey.upload(who, DEMO))
    assert job["result_url"] == f"/api/v1/scan/{job['job_id']}/result"
    assert (await journey.result_when_done(who, job["result_url"]))["status"] == "completed"


# --- photos -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        pytest.param(photos.heic(), "image/heic", id="heic"),
        pytest.param(photos.animated("GIF"), "image/gif", id="animated-gif"),
        pytest.param(photos.animated("WEBP"), "image/webp", id="animated-webp"),
        pytest.param(photos.encoded(photos.picture(mode="CMYK"), "JPEG"), "image/jpeg", id="cmyk"),
        pytest.param(photos.encoded(photos.picture(), "PNG"), "image/jpeg", id="declared-wrong"),
    ],
)
async def test_odd_photos_are_read(person: People, data: bytes, content_type: str) -> None:
    assert (await journey.scan(person(), data, content_type))["status"] == "completed"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"this is no photo at all", "JPEG", id="text"),
        pytest.param(b"", "비어", id="empty"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "JPEG", id="svg"),
        pytest.param(b"%PDF-1.7 \n", "JPEG", id="pdf"),
        pytest.param(photos.jpeg(640, 480)[:300], "손상", id="truncated"),
        pytest.param(photos.png_header(10_000, 9_000), "6,400만 화소", id="90-megapixels"),
        pytest.param(photos.png_header(50_000_000, 1), "16,384픽셀", id="one-line"),
    ],
)
async def test_what_is_no_photo_fails_visibly_and_is_deleted(person: People, data: bytes, words: str) -> None:
    who = person()
    url = await journey.upload(who, data)
    job = await journey.submit(who, url)
    found = await journey.frames(who, job["stream_url"])
    last = found[-1]
    assert (last["event"], last["status"]) == ("done", "completed")
    assert [frame["stage"] for frame in found].count("done") == 1
    body = await journey.result(who, job["result_url"])
    assert body == last["result"]
    assert (body["status"], body["outcome"]) == ("completed", "failed")
    assert (body["pipeline_result"], body["reward"], body["needs_choice"]) == (None, None, False)
    assert body["error"] == last["message"]
    assert body["code"] in ("IMAGE_TYPE_NOT_SUPPORTED", "IMAGE_UNREADABLE", "IMAGE_TOO_LARGE")
    assert words in body["error"]
    async with httpx2.AsyncClient() as anyone:
        assert (await anyone.get(url)).status_code == 404


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(photos.encoded(Image.new("RGB", (8160, 6144), "gray"), "JPEG"), id="50-megapixels"),
        pytest.param(photos.jpeg(640, 480)[:-2], id="no-end"),
        pytest.param(photos.jpeg(640, 480)[:-2] + b"SEFT" + bytes(40), id="trailer-instead-of-end"),
        pytest.param(photos.encoded(photos.picture(640, 480), "PNG")[:-12], id="png-no-end"),
    ],
)
async def test_what_every_viewer_shows_is_scanned(person: People, data: bytes) -> None:
    who = person()
    job = await journey.submit(who, await journey.upload(who, data))
    await journey.frames(who, job["stream_url"])
    assert (await journey.result(who, job["result_url"]))["outcome"] != "failed"


async def test_where_the_photo_was_taken_is_removed_from_the_stored_object(person: People) -> None:
    who = person()
    url = await journey.upload(who, photos.with_metadata("JPEG", orientation=6))
    job = await journey.submit(who, url)
    await journey.frames(who, job["stream_url"])
    async with httpx2.AsyncClient() as anyone:
        stored = await anyone.get(url)
    exif = Image.open(io.BytesIO(stored.content)).getexif()
    assert dict(exif) == {0x0112: 6}, "nothing is left but the orientation"


async def test_more_than_15_mb_is_refused_at_the_edge(person: People) -> None:
    who = person()
    body = {"filename": "big.jpg", "content_type": "image/jpeg"}
    ticket = (await who.http.post("/api/v1/images/scan", json=body)).raise_for_status().json()
    url = httpx2.URL(ticket["upload_url"])
    head = f"PUT {url.raw_path.decode()} HTTP/1.1\r\nHost: {url.netloc.decode()}\r\nContent-Type: image/jpeg\r\n"
    for framing, status in (("Content-Length: 50000000", b" 413 "), ("Transfer-Encoding: chunked", b" 411 ")):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(f"{head}{framing}\r\n\r\n".encode())
        assert status in await asyncio.wait_for(reader.readline(), 10), framing
        writer.close()


# --- refusals ---------------------------------------------------------------------------------------------------------


async def test_never_uploaded_is_not_found(person: People) -> None:
    who = person()
    body = {"filename": "a.jpg", "content_type": "image/jpeg"}
    ticket = (await who.http.post("/api/v1/images/scan", json=body)).json()
    answer = await who.http.post("/api/v1/scan", json={"image_url": ticket["cdn_url"]})
    assert journey.is_error(answer, 404, "IMAGE_NOT_FOUND")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/scan/5f0c1d2e3a4b5c6d7e8f901234567890.jpg",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/a.jpg",
        "file:///etc/passwd",
        "{cdn}/../credentials.json",
        "{cdn}/scan/../../x.jpg",
        "{cdn}/chat/5f0c1d2e3a4b5c6d7e8f901234567890.jpg",
    ],
)
async def test_addresses_that_are_not_ours_are_refused(person: People, environment: dict[str, str], url: str) -> None:
    body = {"image_url": url.format(cdn=environment["ECO2_CDN_BASE_URL"])}
    assert journey.is_error(await person().http.post("/api/v1/scan", json=body), 400, "IMAGE_URL_NOT_ALLOWED")


async def test_somebody_elses_upload_is_not_found(person: People) -> None:
    url = await journey.upload(person(), DEMO)
    answer = await person().http.post("/api/v1/scan", json={"image_url": url})
    assert journey.is_error(answer, 404, "IMAGE_NOT_FOUND")


async def test_somebody_elses_job_is_not_found(person: People) -> None:
    owner, other = person(), person()
    job = await journey.submit(owner, await journey.upload(owner, photos.jpeg(320, 240)))
    await journey.frames(owner, job["stream_url"])
    path = f"/api/v1/scan/{job['job_id']}"
    assert journey.is_error(await other.http.get(f"{path}/events"), 404, "JOB_NOT_FOUND")
    assert journey.is_error(await other.http.get(f"{path}/result"), 404, "RESULT_NOT_FOUND")
    choice = await other.http.post(f"{path}/choice", json={"minor_category": "우유팩"})
    assert journey.is_error(choice, 404, "RESULT_NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "IMAGE_URL_REQUIRED"),
        ({"image_url": ""}, 400, "IMAGE_URL_REQUIRED"),
        ({"image_url": "x", "model": "gpt-1"}, 400, "UNSUPPORTED_MODEL"),
        ({"image_url": 5}, 422, "VALIDATION_ERROR"),
        ({"image_url": "x", "user_input": "a" * 1001}, 422, "VALIDATION_ERROR"),
    ],
)
async def test_bad_bodies_have_their_error(person: People, body: dict[str, object], status: int, code: str) -> None:
    assert journey.is_error(await person().http.post("/api/v1/scan", json=body), status, code)


async def test_unknown_jobs_and_paths_are_json_errors(person: People) -> None:
    who = person()
    assert journey.is_error(await who.http.get(f"/api/v1/scan/{uuid.uuid4()}/result"), 404, "RESULT_NOT_FOUND")
    assert journey.is_error(await who.http.get("/api/v1/scan/abc/result"), 422, "VALIDATION_ERROR")
    assert journey.is_error(await who.http.get(f"/api/v1/scan/{uuid.uuid4()}/events"), 404, "JOB_NOT_FOUND")
    assert journey.is_error(await who.http.get("/api/v1/scan/nothing/here"), 404, "NOT_FOUND")


async def test_without_a_token_nothing_answers(person: People) -> None:
    who = person()
    del who.http.headers["Authorization"]
    for path in ("/api/v1/scan/categories", f"/api/v1/scan/{uuid.uuid4()}/events", "/api/v1/users/me/characters"):
        assert journey.is_error(await who.http.get(path), 401, "UNAUTHORIZED")


async def test_categories_are_the_classes_of_the_contract(person: People) -> None:
    rows = (await person().http.get("/api/v1/scan/categories")).json()
    assert [row["name"] for row in rows] == [
        "재활용폐기물",
        "일반종량제폐기물",
        "불연성종량제폐기물",
        "음식물류폐기물",
        "대형폐기물",
        "공사장생활폐기물",
        "생활계유해폐기물",
    ]
    assert all(row["instructions"] for row in rows)
