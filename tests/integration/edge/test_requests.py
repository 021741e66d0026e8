"""Requests and answers at the edge: sizes, uploads, photos, odd headers, streams of events."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator

import httpx2
import pytest

from eco2.contracts.identity import ACCESS_COOKIE
from tests.edge import (
    ORIGIN,
    Edge,
    bearer,
    is_error,
    received,
    token,
)


async def test_a_large_body_is_413(edge: Edge) -> None:
    headers = {**bearer(), "Origin": ORIGIN}
    just = await edge.client.post("/api/v1/scan", content=b"x" * 1_048_576, headers=headers)
    assert just.json()["size"] == 1_048_576
    response = await edge.client.post("/api/v1/scan", content=b"x" * 1_048_577, headers=headers)
    assert is_error(response, 413, "PAYLOAD_TOO_LARGE")
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert edge.services["scan-api.scan"].calls == ["POST /api/v1/scan"]


async def test_a_large_body_in_chunks_is_413(edge: Edge) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 65_536

    response = await edge.client.post("/api/v1/scan", content=chunks(), headers=bearer())
    assert is_error(response, 413, "PAYLOAD_TOO_LARGE")


async def test_an_upload_may_have_15_mb(edge: Edge) -> None:
    path = "/eco2-uploads/scan/a.jpg?X-Amz-Signature=abc"
    response = await edge.client.put(path, content=b"x" * 15 * 1024 * 1024, headers={"Content-Type": "image/jpeg"})
    assert response.json()["size"] == 15 * 1024 * 1024
    assert response.json()["query"] == "X-Amz-Signature=abc"
    assert received(response)["host"] == f"127.0.0.1:{edge.port}"


@pytest.mark.parametrize("size", ["16000000", "52428800", "9999999999999999"])
async def test_a_larger_upload_is_413_before_it_is_sent(edge: Edge, size: str) -> None:
    response = await edge.raw("/eco2-uploads/scan/a.jpg", "PUT", {"Content-Length": size, "Content-Type": "image/jpeg"})
    assert is_error(response, 413, "PAYLOAD_TOO_LARGE")
    assert response.headers["access-control-allow-origin"] == "*"
    assert edge.services["object-store.storage"].calls == []


async def test_an_upload_of_unknown_length_is_411(edge: Edge) -> None:
    response = await edge.raw(
        "/eco2-uploads/scan/a.jpg", "PUT", {"Transfer-Encoding": "chunked", "Content-Type": "image/jpeg"}
    )
    assert is_error(response, 411, "LENGTH_REQUIRED")
    assert edge.services["object-store.storage"].calls == []


@pytest.mark.parametrize("kind", ["", "image/jpg", "IMAGE/HEIC; a=b", "application/octet-stream", "text/html", None])
async def test_an_upload_may_call_itself_anything(edge: Edge, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    response = await edge.client.put("/eco2-uploads/scan/a.jpg", content=b"x", headers=headers)
    assert received(response).get("content-type") == kind


OTHER_METHODS = [("eco2-images", m) for m in ("PUT", "POST", "DELETE", "PATCH", "OPTIONS")]


OTHER_METHODS += [("eco2-uploads", m) for m in ("GET", "HEAD", "POST", "DELETE", "PATCH")]


@pytest.mark.parametrize(("bucket", "method"), OTHER_METHODS)
async def test_photos_are_only_read_and_uploads_only_written(edge: Edge, bucket: str, method: str) -> None:
    response = await edge.client.request(method, f"/{bucket}/scan/a.jpg")
    assert response.status_code == 405
    assert method == "HEAD" or is_error(response, 405, "METHOD_NOT_ALLOWED")
    assert edge.services["object-store.storage"].calls == []


QUERIES = (
    "?response-content-type=text/html",
    "?response-content-disposition=attachment%3B%20filename%3Da.exe&response-content-encoding=gzip",
    "?%72esponse-content-type=text/html",
    "?acl",
    "?X-Amz-Signature=abc&X-Amz-Credential=b",
    "?a=?b",
)


@pytest.mark.parametrize("query", QUERIES)
async def test_a_reader_of_a_photo_asks_the_store_for_nothing_but_the_photo(edge: Edge, query: str) -> None:
    signed_in = {"Authorization": "AWS4-HMAC-SHA256 Credential=a", "Cookie": f"{ACCESS_COOKIE}={token()}"}
    response = await edge.client.get(f"/eco2-images/scan/a.jpg{query}", headers={**signed_in, "Range": "bytes=0-9"})
    assert (response.json()["path"], response.json()["query"]) == ("/eco2-images/scan/a.jpg", "")
    headers = received(response)
    assert headers["range"] == "bytes=0-9"
    assert not headers.keys() & {"authorization", "cookie"}


async def test_a_photo_is_shown_as_a_picture_or_not_at_all(edge: Edge) -> None:
    headers = (await edge.client.get("/eco2-images/scan/a.jpg")).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_photo_that_the_store_does_not_give_is_404(edge: Edge, status: int) -> None:
    """403 would sign the client out."""
    response = await edge.client.get(f"/eco2-images/scan/answers-{status}")
    assert is_error(response, 404, "NOT_FOUND")
    assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_an_upload_that_the_store_refuses_is_400(edge: Edge, status: int) -> None:
    response = await edge.client.put(f"/eco2-uploads/scan/answers-{status}", content=b"x")
    assert is_error(response, 400, "UPLOAD_REFUSED")
    assert response.headers["access-control-allow-origin"] == "*"


async def test_the_edges_own_door_does_nothing_for_a_page(edge: Edge) -> None:
    """A form of any page in a browser on this machine reaches it."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{edge.admin}") as admin:
        assert (await admin.get("/ready")).status_code == 200
        counters = await admin.get("/stats", headers={"Origin": "http://evil.example"})
        assert counters.status_code == 200
        assert "access-control-allow-origin" not in counters.headers
        for path in (
            "/quitquitquit",
            "/healthcheck/fail",
            "/logging?level=trace",
            "/reset_counters",
            "/drain_listeners",
        ):
            assert (await admin.post(path)).status_code == 403, path
        for path in ("/config_dump", "/certs", "/"):
            assert (await admin.get(path)).status_code == 403, path


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:{port}"]
)
@pytest.mark.parametrize("path", ["/stats", "/stats/prometheus", "/ready"])
async def test_a_name_that_a_page_has_pointed_here_reads_no_counters(edge: Edge, host: str, path: str) -> None:
    """To the browser it is the page's own site, so that the page may read what is answered."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{edge.admin}") as admin:
        refused = await admin.get(path, headers={"Host": host.format(port=edge.admin)})
        assert (refused.status_code, refused.content) == (403, b"")
        for name in (f"localhost:{edge.admin}", "127.0.0.1", f"[::1]:{edge.admin}"):
            assert (await admin.get(path, headers={"Host": name})).status_code == 200


async def test_large_headers_are_refused(edge: Edge) -> None:
    response = await edge.client.get("/api/v1/scan/categories", headers={"x-large": "x" * 40_000, "Origin": ORIGIN})
    assert is_error(response, 431, "HEADERS_TOO_LARGE")


UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize(
    ("status", "line", "header"),
    [
        (400, "GET /api/v1/scan%2Fcategories HTTP/1.1", ""),
        (400, "GET /api/v1/scan#a HTTP/1.1", ""),
        (400, "GET /api/v1/scan/categories HTTP/1.1", UPGRADE),
        (400, "GET /api/v1/scan/categories HTTP/1.1", "no header\r\n"),
        (400, "POST /api/v1/scan HTTP/1.1", "Content-Length: x\r\n"),
        (431, "GET /api/v1/scan/categories HTTP/1.1", f"Cookie: {'x' * 40_000}\r\n"),
        (431, "GET /api/v1/scan/categories HTTP/1.1", "a: b\r\n" * 200),
        (408, "GET /api/v1/scan/categories HTTP/1.1", "still coming"),
    ],
    ids=["slash", "fragment", "upgrade", "malformed", "length", "size", "count", "slow"],
)
async def test_what_is_refused_before_the_filters_can_be_read_by_the_web_app_and_by_no_stranger(
    edge: Edge, status: int, line: str, header: str
) -> None:
    for origin in (ORIGIN, "https://elsewhere.example"):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        end = "" if status == 408 else "\r\n"
        writer.write(f"{line}\r\nHost: {edge.host}\r\nOrigin: {origin}\r\n{header}{end}".encode())
        async with asyncio.timeout(20):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.close()
        await writer.wait_closed()
        answered = httpx2.Headers(dict(row.split(": ", 1) for row in head.rstrip().split("\r\n")[1:]))
        assert head.split()[1] == str(status)
        assert answered.get("access-control-allow-origin", ORIGIN) == ORIGIN
        if origin == ORIGIN:
            assert answered["access-control-allow-origin"] == ORIGIN
            assert answered["access-control-allow-credentials"] == "true"


async def test_a_get_is_repeated_and_a_post_is_not(edge: Edge) -> None:
    scan = edge.services["scan-api.scan"]
    response = await edge.client.get("/api/v1/scan/away", headers=bearer())
    assert response.json() == {"detail": "mine", "code": "MINE"}
    assert scan.calls == ["GET /api/v1/scan/away"] * 3
    scan.calls.clear()
    asked = {"x-envoy-retry-on": "5xx,retriable-status-codes", "x-envoy-max-retries": "5"}
    more = {"x-envoy-retriable-status-codes": "503", "x-envoy-upstream-rq-timeout-ms": "1"}
    response = await edge.client.post("/api/v1/scan/away", headers={**bearer(), **asked, **more})
    assert response.json() == {"detail": "mine", "code": "MINE"}
    assert scan.calls == ["POST /api/v1/scan/away"]


async def test_events_arrive_one_by_one(edge: Edge) -> None:
    gateway = edge.services["sse-gateway.sse"]
    gateway.next_frame.clear()
    path = "/api/v1/scan/0123456789ab/events"
    frames: list[str] = []
    async with asyncio.timeout(20), edge.client.stream("GET", path, headers=bearer()) as response:
        assert response.headers["content-type"] == "text/event-stream"
        lines = response.aiter_lines()
        for _ in range(3):
            gateway.next_frame.set()
            # Only after this frame is here does the service send the next one: a buffer in between would hang.
            while not (line := await anext(lines)).startswith("id: "):
                pass
            frames.append(line)
    assert frames == ["id: 0", "id: 1", "id: 2"]
    assert gateway.calls == [f"GET {path}"]


async def test_events_need_a_user(edge: Edge) -> None:
    for path in ("/api/v1/scan/0123456789ab/events", "/api/v1/chat/0123456789ab/events", "/api/v1/stream"):
        assert is_error(await edge.client.get(path), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("given", ["<script>alert(1)</script>", "a" * 65, "a b", "a,b", "%0d%0a"])
async def test_an_id_that_could_be_anything_else_is_not_repeated(edge: Edge, given: str) -> None:
    answer = await edge.client.get("/api/v1/scan/categories", headers={**bearer(), "x-request-id": given})
    assert re.fullmatch(r"[A-Za-z0-9-]{1,64}", answer.headers["x-request-id"])
    assert received(answer)["x-request-id"] == answer.headers["x-request-id"]


async def test_an_upgrade_that_nobody_offers_does_not_sign_anybody_out(edge: Edge) -> None:
    headers = {**bearer(), "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x", "Origin": ORIGIN}
    assert (await edge.raw("/api/v1/scan/categories", headers=headers)).status_code in (400, 426)


async def test_two_host_headers_are_refused(edge: Edge) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.client.base_url.port)
    token = bearer()["Authorization"]
    request = f"GET /api/v1/scan/categories HTTP/1.1\r\nHost: a\r\nHost: b\r\nAuthorization: {token}\r\n\r\n"
    writer.write(request.encode())
    assert (await reader.readline()).split()[1] == b"400"
    writer.close()
    await writer.wait_closed()


async def test_a_request_keeps_its_id_or_gets_one(edge: Edge) -> None:
    kept = await edge.client.get("/api/v1/scan/categories", headers={**bearer(), "x-request-id": "mine-17"})
    assert received(kept)["x-request-id"] == "mine-17"
    assert kept.headers["x-request-id"] == "mine-17"
    refused = await edge.client.get("/api/v1/scan/categories")
    assert uuid.UUID(refused.headers["x-request-id"])


@pytest.mark.parametrize("path", ["/api/v1/scan/categories", "/api/v1/health", "/", "/api/v1/nowhere"])
async def test_no_answer_is_taken_for_something_else_than_it_says(edge: Edge, path: str) -> None:
    for headers in (bearer(), {}):
        response = await edge.client.get(path, headers=headers)
        assert response.headers.get_list("x-content-type-options") == ["nosniff"], (path, response.status_code)
        assert response.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert response.headers["referrer-policy"] == "no-referrer"


async def test_an_upload_tells_the_store_nothing_but_what_it_holds(edge: Edge) -> None:
    told = {"acl": "public-read", "copy-source": "/eco2-uploads/scan/b.jpg", "tagging": "a=b", "grant-read": "id=1"}
    headers = {f"x-amz-{name}": value for name, value in told.items()}
    response = await edge.client.put("/eco2-uploads/scan/a.jpg", content=b"x", headers=headers)
    assert not [name for name in received(response) if name.startswith("x-amz-")]


@pytest.mark.parametrize(
    "lengths",
    [
        {"Content-Length": "5", "Transfer-Encoding": "chunked"},
        {"Content-Length": "5\r\nContent-Length: 6"},
        {"Transfer-Encoding": "chunked, identity"},
        {"Transfer-Encoding": "xchunked"},
        {"Content-Length": "5, 6"},
        {"Content-Length": "+5"},
    ],
)
async def test_a_body_that_says_two_lengths_is_refused(edge: Edge, lengths: dict[str, str]) -> None:
    """A server that took the other one would read a second request in it."""
    response = await edge.raw("/api/v1/auth/refresh", "POST", lengths)
    assert response.status_code in (400, 501)
    assert edge.calls() == []
