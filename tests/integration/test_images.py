"""Uploads through the gateway: tickets, the callback, the store's own rules."""

import io
import uuid
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from PIL import Image

from tests import photos
from tests.conftest import Person
from tests.e2e.journey import is_error

People = Callable[[], Person]


async def ticket(who: Person, channel: str = "scan", **body: Any) -> dict[str, Any]:
    body = {"filename": "a.jpg", "content_type": "image/jpeg", **body}
    return dict((await who.http.post(f"/api/v1/images/{channel}", json=body)).raise_for_status().json())


async def put(url: str, data: bytes, **headers: str) -> httpx2.Response:
    async with httpx2.AsyncClient() as store:
        return await store.put(url, content=data, headers={"Content-Type": "image/jpeg", **headers})


async def callback(who: Person, key: str, channel: str = "scan", **body: str) -> httpx2.Response:
    return await who.http.post(f"/api/v1/images/{channel}/callback", json={"key": key, **body})


async def test_a_ticket_has_what_the_client_reads(person: People) -> None:
    found = await ticket(person(), "chat", filename="사진.PNG", content_type="application/octet-stream")
    assert found["key"].startswith("chat/")
    assert found["key"].endswith(".png")
    assert found["cdn_url"].endswith("/" + found["key"])
    assert (found["expires_in"], found["required_headers"]) == (900, {"Content-Type": "image/png"})
    assert httpx2.URL(found["upload_url"]).host == httpx2.URL(found["cdn_url"]).host


async def test_the_callback_checks_the_object_and_removes_its_metadata(person: People) -> None:
    who = person()
    found = await ticket(who, "my", metadata={"album": "여름"})
    await put(found["upload_url"], photos.with_metadata("JPEG"))
    answer = (await callback(who, found["key"], "my")).raise_for_status().json()
    again = (await callback(who, found["key"], "my", etag="some other")).raise_for_status().json()
    assert again == answer, "the etag is optional and not compared"
    assert answer["metadata"] == {"album": "여름"}
    assert (answer["channel"], answer["content_type"], answer["uploader_id"]) == ("my", "image/jpeg", str(who.id))
    async with httpx2.AsyncClient() as anyone:
        stored = await anyone.get(found["cdn_url"])
    assert stored.headers["etag"].strip('"') == answer["etag"]
    assert not Image.open(io.BytesIO(stored.content)).getexif()


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"hello", 415, "IMAGE_TYPE_NOT_SUPPORTED"),
        (photos.jpeg()[:300], 422, "IMAGE_UNREADABLE"),
        (photos.png_header(20_000, 10_000), 413, "IMAGE_TOO_LARGE"),
    ],
)
async def test_the_callback_deletes_what_is_no_photo(person: People, data: bytes, status: int, code: str) -> None:
    who = person()
    found = await ticket(who)
    await put(found["upload_url"], data)
    answer = await callback(who, found["key"])
    assert is_error(answer, status, code)
    assert answer.json()["detail"].endswith("올려 주세요.")
    async with httpx2.AsyncClient() as anyone:
        assert (await anyone.get(found["cdn_url"])).status_code == 404


async def test_callbacks_of_nothing_and_of_others_are_refused(person: People) -> None:
    who, other = person(), person()
    found = await ticket(who)
    assert is_error(await callback(who, found["key"]), 404, "UPLOAD_NOT_FOUND"), "not uploaded yet"
    assert is_error(await callback(who, "scan/../../etc/passwd"), 404, "UPLOAD_NOT_FOUND")
    await put(found["upload_url"], photos.jpeg())
    assert is_error(await callback(other, found["key"]), 404, "UPLOADER_MISMATCH")
    assert is_error(await callback(who, found["key"], "chat"), 400, "CHANNEL_MISMATCH")


@pytest.mark.parametrize("declared", ["image/svg+xml", "application/pdf", "text/html", "image/tiff"])
async def test_other_types_get_no_ticket(person: People, declared: str) -> None:
    body = {"filename": "a.bin", "content_type": declared}
    answer = await person().http.post("/api/v1/images/scan", json=body)
    assert is_error(answer, 415, "IMAGE_TYPE_NOT_SUPPORTED")


async def test_bad_ticket_requests_have_their_error(person: People) -> None:
    who = person()
    body = {"filename": "a.jpg", "content_type": "image/jpeg"}
    foreign = {**body, "uploader_id": str(uuid.uuid4())}
    assert is_error(await who.http.post("/api/v1/images/scan", json=foreign), 404, "UPLOADER_MISMATCH")
    assert is_error(await who.http.post("/api/v1/images/other", json=body), 422, "VALIDATION_ERROR")
    nameless = {**body, "filename": ""}
    assert is_error(await who.http.post("/api/v1/images/scan", json=nameless), 422, "VALIDATION_ERROR")


async def test_the_store_takes_a_signed_upload_only_as_it_was_signed(person: People) -> None:
    who = person()
    found = await ticket(who)
    other = (await ticket(who))["key"]
    assert (await put(found["upload_url"].replace(found["key"], other), photos.jpeg())).status_code == 403
    assert (await put(found["cdn_url"], photos.jpeg())).status_code == 403
    assert (await put(found["upload_url"], photos.jpeg())).status_code == 200


async def test_uploads_from_a_web_page_pass_the_preflight(person: People, environment: dict[str, str]) -> None:
    found = await ticket(person())
    origin = "http://localhost:5173"
    asked = {"Origin": origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-type"}
    async with httpx2.AsyncClient() as browser:
        preflight = await browser.options(found["upload_url"], headers=asked)
        uploaded = await browser.put(
            found["upload_url"], content=photos.jpeg(), headers={"Origin": origin, "Content-Type": "image/jpeg"}
        )
    assert preflight.status_code in (200, 204)
    assert preflight.headers["access-control-allow-origin"] in (origin, "*")
    assert uploaded.status_code == 200
    assert uploaded.headers["access-control-allow-origin"] in (origin, "*")


async def test_objects_are_readable_by_their_url_and_never_listed(person: People, environment: dict[str, str]) -> None:
    found = await ticket(person())
    await put(found["upload_url"], photos.jpeg())
    async with httpx2.AsyncClient() as anyone:
        assert (await anyone.get(found["cdn_url"])).status_code == 200
        for listing in ("/", "/?list-type=2", "/scan/"):
            answer = await anyone.get(environment["ECO2_CDN_BASE_URL"] + listing)
            assert found["key"].rpartition("/")[2] not in answer.text, listing
            assert answer.status_code in (403, 404) or not answer.content, listing
        assert (await anyone.delete(found["cdn_url"])).status_code in (403, 405)


@pytest.mark.parametrize(
    "body",
    [
        {"filename": "a\u0000.jpg"},
        {"filename": "a.jpg", "metadata": {"a": "\u0000"}},
        {"filename": "a.jpg", "metadata": {"a": 2**70}},
        {"filename": "a.jpg", "metadata": {"a": "x" * 5000}},
    ],
    ids=["nul-name", "nul-metadata", "huge-integer", "long"],
)
async def test_what_the_database_cannot_store_is_refused(person: People, body: dict[str, Any]) -> None:
    answer = await person().http.post("/api/v1/images/scan", json={"content_type": "image/jpeg", **body})
    assert is_error(answer, 422, "VALIDATION_ERROR")


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "application/pdf"])
async def test_a_page_cannot_be_put_where_a_photo_belongs(person: People, content_type: str) -> None:
    found = await ticket(person())
    async with httpx2.AsyncClient() as store:
        refused = await store.put(found["upload_url"], content=b"<script>", headers={"Content-Type": content_type})
    assert refused.status_code == 415


async def test_a_browser_shows_an_object_as_a_picture_or_not_at_all(person: People) -> None:
    found = await ticket(person())
    await put(found["upload_url"], b"<script>alert(1)</script>")
    async with httpx2.AsyncClient() as anyone:
        headers = (await anyone.get(found["cdn_url"])).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
