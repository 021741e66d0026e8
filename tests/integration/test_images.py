"""Uploads through the gateway: tickets, the callback, what of it is public, the store's own rules."""

import asyncio
import io
import uuid
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from PIL import Image

from eco2.core.settings import StorageSettings
from eco2.core.storage import Storage
from tests import photos
from tests.conftest import FromStack, Person
from tests.e2e.journey import is_error

People = Callable[[], Person]


async def ticket(who: Person, channel: str = "scan", **body: Any) -> dict[str, Any]:
    body = {"filename": "a.jpg", "content_type": "image/jpeg", **body}
    return dict((await who.http.post(f"/api/v1/images/{channel}", json=body)).raise_for_status().json())


async def put(url: str, data: bytes, **headers: str) -> httpx2.Response:
    async with httpx2.AsyncClient() as store:
        return await store.put(url, content=data, headers={"Content-Type": "image/jpeg", **headers})


async def read(url: str) -> httpx2.Response:
    """As anybody."""
    async with httpx2.AsyncClient() as anyone:
        return await anyone.get(url)


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
    stored = await read(found["cdn_url"])
    assert stored.headers["etag"].strip('"') == answer["etag"]
    assert stored.headers["content-type"] == "image/jpeg"
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
    assert is_error(await read(found["cdn_url"]), 404, "NOT_FOUND")
    assert is_error(await callback(who, found["key"]), 404, "UPLOAD_NOT_FOUND")


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


ODD_TYPES = (
    ("", "IMG_0001.HEIC"),
    ("", "photo"),
    ("image/jpg", "a.jpg"),
    ("image/*", "photo"),
    ("application/octet-stream", "photo"),
    ("application/octet-stream", "a.heic"),
    ("IMAGE/HEIC; q=1", "a.heic"),
)


@pytest.mark.parametrize(("declared", "filename"), ODD_TYPES)
async def test_the_type_of_a_photo_is_told_by_what_it_holds(person: People, declared: str, filename: str) -> None:
    """`File.type` is empty for HEIC on many systems; the browser sends on what the page has."""
    who = person()
    found = await ticket(who, filename=filename, content_type=declared)
    assert (await put(found["upload_url"], photos.heic(), **{"Content-Type": declared})).status_code == 200
    answer = (await callback(who, found["key"])).raise_for_status().json()
    assert answer["content_type"] == "image/heic"
    assert (await read(found["cdn_url"])).headers["content-type"] == "image/heic"


async def test_bad_ticket_requests_have_their_error(person: People) -> None:
    who = person()
    body = {"filename": "a.jpg", "content_type": "image/jpeg"}
    foreign = {**body, "uploader_id": str(uuid.uuid4())}
    assert is_error(await who.http.post("/api/v1/images/scan", json=foreign), 404, "UPLOADER_MISMATCH")
    assert is_error(await who.http.post("/api/v1/images/other", json=body), 422, "VALIDATION_ERROR")
    nameless = {**body, "filename": ""}
    assert is_error(await who.http.post("/api/v1/images/scan", json=nameless), 422, "VALIDATION_ERROR")


async def test_the_store_takes_a_signed_upload_only_as_it_was_signed(person: People) -> None:
    """Never 403: the client would sign out."""
    who = person()
    found = await ticket(who)
    url, other = found["upload_url"], (await ticket(who))["key"]
    altered = (
        url.replace(found["key"], other),
        f"{url}&acl",
        f"{url}&x-id=CopyObject",
        url.partition("?")[0],
    )
    for refused in altered:
        assert is_error(await put(refused, photos.jpeg()), 400, "UPLOAD_REFUSED"), refused
    public = await put(url.replace("/eco2-uploads/", "/eco2-images/"), photos.jpeg())
    assert is_error(public, 405, "METHOD_NOT_ALLOWED")
    assert (await put(url, photos.jpeg())).status_code == 200


async def test_an_upload_is_what_was_sent_and_no_copy_of_another(person: People) -> None:
    who, victim = person(), person()
    found, other = await ticket(who), await ticket(victim)
    assert (await put(other["upload_url"], photos.jpeg())).status_code == 200
    copied = await put(found["upload_url"], b"", **{"x-amz-copy-source": f"/eco2-uploads/{other['key']}"})
    assert copied.status_code in (200, 400)
    answer = await who.http.post("/api/v1/images/scan/callback", json={"key": found["key"]})
    assert answer.status_code in (404, 422), answer.text


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


async def test_photos_are_readable_by_their_url_and_never_listed(person: People, environment: dict[str, str]) -> None:
    who = person()
    found = await ticket(who)
    await put(found["upload_url"], photos.jpeg())
    (await callback(who, found["key"])).raise_for_status()
    assert (await read(found["cdn_url"])).status_code == 200
    async with httpx2.AsyncClient() as anyone:
        for listing in ("/", "/?list-type=2", "/scan/"):
            answer = await anyone.get(environment["ECO2_CDN_BASE_URL"] + listing)
            assert found["key"].rpartition("/")[2] not in answer.text, listing
            assert answer.status_code == 404 or not answer.content, listing
        assert (await anyone.delete(found["cdn_url"])).status_code == 405


async def test_an_upload_is_public_only_as_it_was_checked(person: People) -> None:
    who = person()
    found = await ticket(who)
    sent = photos.with_metadata("JPEG")
    await put(found["upload_url"], sent)
    assert (await read(found["cdn_url"])).status_code == 404, "nobody has used it"
    assert (await read(found["upload_url"])).status_code == 405
    assert (await read(found["upload_url"].partition("?")[0])).status_code == 405
    (await callback(who, found["key"])).raise_for_status()
    published = (await read(found["cdn_url"])).content
    assert not any(secret in published for secret in photos.SECRETS)


@pytest.mark.parametrize("later", [b"<script>alert(1)</script>", photos.jpeg(40, 30), bytes(15 * 1024**2 + 1)])
async def test_what_is_put_after_the_check_changes_nothing(person: People, later: bytes) -> None:
    """The upload URL works for 15 minutes."""
    who = person()
    found = await ticket(who)
    await put(found["upload_url"], photos.jpeg())
    first = (await callback(who, found["key"])).raise_for_status().json()
    published = (await read(found["cdn_url"])).content
    assert (await put(found["upload_url"], later)).status_code == 200
    assert (await read(found["cdn_url"])).content == published
    assert (await callback(who, found["key"])).raise_for_status().json() == first
    assert (await read(found["cdn_url"])).content == published


async def test_of_several_first_users_one_publishes(person: People) -> None:
    who = person()
    found = await ticket(who)
    await put(found["upload_url"], photos.with_metadata("JPEG"))
    answers = await asyncio.gather(*(callback(who, found["key"]) for _ in range(4)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["etag"] for answer in answers}) == 1


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
async def test_a_page_is_never_public(person: People, content_type: str) -> None:
    who = person()
    found = await ticket(who)
    await put(found["upload_url"], b"<svg xmlns='http://www.w3.org/2000/svg'/>", **{"Content-Type": content_type})
    assert is_error(await callback(who, found["key"]), 415, "IMAGE_TYPE_NOT_SUPPORTED")
    assert (await read(found["cdn_url"])).status_code == 404


@pytest.mark.parametrize(
    "query", ["?response-content-type=text/html", "?response-content-disposition=attachment", "?acl"]
)
async def test_a_browser_shows_a_photo_as_a_picture_or_not_at_all(person: People, query: str) -> None:
    who = person()
    found = await ticket(who)
    await put(found["upload_url"], photos.jpeg())
    (await callback(who, found["key"])).raise_for_status()
    answer = await read(found["cdn_url"] + query)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert "content-disposition" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


async def test_an_upload_url_holds_where_the_store_is_asked_under_another_name(settings: FromStack) -> None:
    """As behind a CDN: clients see its name, the store sees its own."""
    own = settings(StorageSettings)
    seen = {"storage_public_endpoint": "https://images.example"}
    key = f"scan/{uuid.uuid4().hex}.jpg"
    signed = own.model_copy(update={**seen, "storage_signed_endpoint": own.storage_endpoint})
    for given, status in ((signed, 200), (own.model_copy(update=seen), 403)):
        url = await Storage(given).upload_url(key)
        assert url.startswith(f"https://images.example/{own.upload_bucket}/{key}?")
        asked = url.replace("https://images.example", own.storage_endpoint, 1)
        assert (await put(asked, photos.jpeg())).status_code == status
