"""The edge as the local stack runs it: a real Envoy, the real ext-authz, and services that tell what reached them."""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator

import httpx2
import jwt
import pytest

from eco2.contracts.identity import ACCESS_COOKIE, IDENTITY_HEADERS, VERIFIED_CLAIMS_HEADER
from tests.edge import (
    KEY,
    KID,
    ORIGIN,
    OTHER_KEY,
    USER,
    Edge,
    bearer,
    claims,
    hmac_token,
    is_error,
    plan,
    received,
    running_edge,
    segment,
    token,
    unsigned_token,
)
from tests.redis_server import until

FOREIGN = "http://evil.example"


@pytest.fixture(scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    async with running_edge(tmp_path_factory.mktemp("edge"), plan()) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_called_yet(edge: Edge) -> None:
    for service in edge.services.values():
        service.calls.clear()


# Who is asking


async def test_a_bearer_token_becomes_identity_headers(edge: Edge) -> None:
    session = str(uuid.uuid4())
    response = await edge.client.get("/api/v1/scan/categories", headers=bearer(token(sid=session)))
    headers = received(response)
    assert {name: headers[name] for name in IDENTITY_HEADERS} == {
        "x-user-id": USER,
        "x-auth-provider": "kakao",
        "x-user-role": "steward",
        "x-session-id": session,
    }
    assert not headers.keys() & {"authorization", "cookie", VERIFIED_CLAIMS_HEADER}


async def test_a_cookie_becomes_identity_headers(edge: Edge) -> None:
    response = await edge.client.get("/api/v1/scan/categories", headers={"Cookie": f"{ACCESS_COOKIE}={token()}"})
    headers = received(response)
    assert headers["x-user-id"] == USER
    assert "cookie" not in headers


async def test_a_user_without_a_role_is_a_citizen(edge: Edge) -> None:
    value = jwt.encode({k: v for k, v in claims().items() if k != "role"}, KEY, "RS256", headers={"kid": KID})
    response = await edge.client.get("/api/v1/scan/categories", headers=bearer(value))
    assert received(response)["x-user-role"] == "citizen"


def _refused_tokens() -> dict[str, str]:
    now = int(time.time())
    return {
        "garbage": "abc",
        "expired": token(exp=now - 60),
        "not yet valid": token(nbf=now + 600),
        "refresh token": token(aud="refresh", type="refresh"),
        "refresh token with the audience of an access token": token(type="refresh"),
        "several audiences": token(aud=["api", "refresh"]),
        "other issuer": token(iss="http://evil.example/auth"),
        "forged key": token(OTHER_KEY),
        "unknown key": token(OTHER_KEY, kid="other"),
        "alg none": unsigned_token(),
        "HS256 with the public key": hmac_token(),
        "no expiry": jwt.encode({k: v for k, v in claims().items() if k != "exp"}, KEY, "RS256", headers={"kid": KID}),
        "no provider": jwt.encode(
            {k: v for k, v in claims().items() if k != "provider"}, KEY, "RS256", headers={"kid": KID}
        ),
        "subject that would split the header": token(sub="a\r\nx-user-role: operator"),
        "subject that is a number": token(sub=17),
        "subject that is an object": token(sub={"a": 1}),
    }


@pytest.mark.parametrize("case", _refused_tokens())
@pytest.mark.parametrize("carrier", ["bearer", "cookie"])
async def test_any_other_token_is_401_that_the_web_app_can_read(edge: Edge, case: str, carrier: str) -> None:
    value = _refused_tokens()[case]
    sent = bearer(value) if carrier == "bearer" else {"Cookie": f"{ACCESS_COOKIE}={value}"}
    response = await edge.client.get("/api/v1/scan/categories", headers={**sent, "Origin": ORIGIN})
    assert is_error(response, 401, "UNAUTHORIZED")
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert response.headers["access-control-allow-credentials"] == "true"
    assert edge.services["scan-api.scan"].calls == []


async def test_no_token_is_401_with_cors_headers(edge: Edge) -> None:
    response = await edge.client.post("/api/v1/scan", json={}, headers={"Origin": ORIGIN})
    assert is_error(response, 401, "UNAUTHORIZED")
    assert response.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("path", ["/api/v1/scan/categories", "/api/v1/authz/ping"])
async def test_each_refusal_of_the_check_can_be_read_by_the_web_app_and_by_no_stranger(edge: Edge, path: str) -> None:
    ended = str(uuid.uuid4())
    edge.authz.denylist.read(ended, 60)
    for status, headers in ((401, {}), (401, {"Authorization": "Bearer x"}), (403, bearer(token(sid=ended)))):
        response = await edge.client.get(path, headers={"Origin": ORIGIN, **headers})
        assert response.status_code == status
        assert response.headers.get_list("access-control-allow-origin") == [ORIGIN]
        assert response.headers.get_list("access-control-allow-credentials") == ["true"]
        stranger = await edge.client.get(path, headers={"Origin": "https://evil.example", **headers})
        assert stranger.status_code == status
        assert "access-control-allow-origin" not in stranger.headers


SPOOFED = {
    "x-user-id": "11111111-1111-1111-1111-111111111111",
    "X-User-Role": "operator",
    "x-auth-provider": "spoofed",
    VERIFIED_CLAIMS_HEADER: segment(claims(sub="11111111-1111-1111-1111-111111111111")),
}


@pytest.mark.parametrize("path", ["/api/v1/auth/refresh", "/api/v1/auth/kakao/callback"])
async def test_spoofed_identity_never_reaches_a_public_route(edge: Edge, path: str) -> None:
    headers = received(await edge.client.post(path, headers=SPOOFED))
    assert not headers.keys() & {*IDENTITY_HEADERS, VERIFIED_CLAIMS_HEADER}


async def test_spoofed_identity_is_replaced_on_a_protected_route(edge: Edge) -> None:
    headers = received(await edge.client.get("/api/v1/scan/categories", headers={**SPOOFED, **bearer()}))
    assert (headers["x-user-id"], headers["x-user-role"], headers["x-auth-provider"]) == (USER, "steward", "kakao")
    assert VERIFIED_CLAIMS_HEADER not in headers


async def test_spoofed_identity_does_not_sign_in(edge: Edge) -> None:
    response = await edge.client.get("/api/v1/scan/categories", headers=SPOOFED)
    assert is_error(response, 401, "UNAUTHORIZED")


async def test_an_underscore_does_not_stand_for_a_dash(edge: Edge) -> None:
    headers = received(await edge.client.post("/api/v1/auth/refresh", headers={"x_user_id": USER}))
    assert "x_user_id" not in headers


@pytest.mark.parametrize("path", ["/api/v1/auth/logout", "/api/v1/auth/refresh", "/api/v1/auth/google"])
@pytest.mark.parametrize("value", ["broken", ""])
async def test_public_routes_are_open_to_bad_tokens_and_see_them(edge: Edge, path: str, value: str) -> None:
    response = await edge.client.post(path, headers={"Cookie": f"{ACCESS_COOKIE}={value or token()}", **bearer(value)})
    assert response.status_code == 200
    assert received(response).keys() >= {"cookie", "authorization"}


async def test_what_is_not_listed_as_public_under_auth_is_protected(edge: Edge) -> None:
    assert (await edge.client.get("/api/v1/auth/sessions")).status_code == 401
    assert (await edge.client.get("/api/v1/auth/logout/all")).status_code == 401
    response = await edge.client.get("/api/v1/auth/sessions", headers={**bearer(), "Cookie": "s_refresh=abc"})
    assert received(response)["cookie"] == "s_refresh=abc"


async def test_without_ext_authz_nothing_protected_opens(edge: Edge) -> None:
    await edge.authz.stop()
    try:
        response = await edge.client.get("/api/v1/scan/categories", headers={**bearer(), "Origin": ORIGIN})
        assert is_error(response, 503, "UNAVAILABLE")
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert response.headers["retry-after"] == "2"
        assert edge.services["scan-api.scan"].calls == []
        assert (await edge.client.post("/api/v1/auth/logout")).status_code == 200
    finally:
        await edge.authz.start()

    async def back() -> bool:
        return (await edge.client.get("/api/v1/scan/categories", headers=bearer())).status_code == 200

    await until(back, 20)


# Revoked sessions


@pytest.mark.parametrize("carrier", ["bearer", "cookie"])
@pytest.mark.parametrize("named", ["sid", "jti"])
async def test_a_revoked_session_is_403_that_the_web_app_can_read(edge: Edge, carrier: str, named: str) -> None:
    session, other = str(uuid.uuid4()), str(uuid.uuid4())
    value = token(sid=session) if named == "sid" else token(jti=session)
    sent = bearer(value) if carrier == "bearer" else {"Cookie": f"{ACCESS_COOKIE}={value}"}
    edge.authz.denylist.read(other, 600)
    assert (await edge.client.get("/api/v1/scan/categories", headers=sent)).status_code == 200
    edge.services["scan-api.scan"].calls.clear()
    edge.authz.denylist.read(session, 600)
    response = await edge.client.get("/api/v1/scan/categories", headers={**sent, "Origin": ORIGIN})
    assert is_error(response, 403, "SESSION_REVOKED")
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert response.headers["access-control-allow-credentials"] == "true"
    assert edge.services["scan-api.scan"].calls == []
    assert (await edge.client.post("/api/v1/auth/logout", headers=sent)).status_code == 200


async def test_a_token_of_a_session_is_not_judged_by_its_own_id(edge: Edge) -> None:
    """Otherwise the next token of a session that was ended would pass."""
    revoked, session = str(uuid.uuid4()), str(uuid.uuid4())
    edge.authz.denylist.read(revoked, 600)
    response = await edge.client.get("/api/v1/scan/categories", headers=bearer(token(sid=revoked)))
    assert response.status_code == 403
    response = await edge.client.get("/api/v1/scan/categories", headers=bearer(token(jti=revoked, sid=session)))
    assert response.status_code == 200


async def test_while_the_list_is_stale_nobody_passes_and_nobody_is_signed_out(edge: Edge) -> None:
    edge.authz.distrust()
    try:
        response = await edge.client.get("/api/v1/scan/categories", headers={**bearer(), "Origin": ORIGIN})
        assert is_error(response, 503, "UNAVAILABLE")
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert response.headers["retry-after"] == "2"
        assert edge.services["scan-api.scan"].calls == []
        assert is_error(await edge.client.get("/api/v1/scan/categories"), 401, "UNAUTHORIZED")
        assert (await edge.client.post("/api/v1/auth/logout")).status_code == 200
    finally:
        edge.authz.trust()


# Cross-origin pages


def _with_cookie(**headers: str) -> dict[str, str]:
    return {
        "Cookie": f"{ACCESS_COOKIE}={token()}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "headers", [{"Origin": FOREIGN}, {"Origin": "null"}, {"Origin": ""}, {"Sec_Fetch_Site": "cross-site"}], ids=str
)
async def test_a_strangers_page_cannot_use_the_cookie(edge: Edge, method: str, headers: dict[str, str]) -> None:
    response = await edge.client.request(method, "/api/v1/scan", headers=_with_cookie(**headers))
    assert is_error(response, 400, "ORIGIN_NOT_ALLOWED")
    assert edge.services["scan-api.scan"].calls == []


async def test_the_scheme_of_a_token_cannot_be_claimed(edge: Edge) -> None:
    response = await edge.client.post("/api/v1/scan", headers=_with_cookie(Origin=FOREIGN, X_Auth_Scheme="Bearer"))
    assert is_error(response, 400, "ORIGIN_NOT_ALLOWED")


async def test_our_page_and_what_is_no_page_may_use_the_cookie(edge: Edge) -> None:
    of_the_host = {"Origin": "https://of.the.host", "Sec_Fetch_Site": "same-origin"}
    for headers in ({"Origin": ORIGIN}, {}, {"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}, of_the_host):
        response = await edge.client.post("/api/v1/scan", headers=_with_cookie(**headers))
        assert response.status_code == 200
        assert "x-auth-scheme" not in received(response)


async def test_reading_and_bearers_need_no_origin(edge: Edge) -> None:
    response = await edge.client.get("/api/v1/scan/categories", headers=_with_cookie(Origin=FOREIGN))
    assert response.status_code == 200
    response = await edge.client.post("/api/v1/scan", headers={**bearer(), "Origin": FOREIGN})
    assert response.status_code == 200
    assert "x-auth-scheme" not in received(response)


async def test_authz_ping_answers_only_the_authorised(edge: Edge) -> None:
    assert is_error(await edge.client.get("/api/v1/authz/ping"), 401, "UNAUTHORIZED")
    response = await edge.client.get("/api/v1/authz/ping", headers=bearer())
    assert (response.status_code, response.json()) == (200, {"status": "authorized"})


# CORS


async def preflight(edge: Edge, origin: str, path: str = "/api/v1/scan", method: str = "POST") -> httpx2.Response:
    wanted = "content-type,x-frontend-origin,x-idempotency-key,authorization,last-event-id"
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": wanted}
    return await edge.client.options(path, headers={"Origin": origin, **asked})


async def test_a_preflight_needs_no_token(edge: Edge) -> None:
    response = await preflight(edge, ORIGIN)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert response.headers["access-control-allow-credentials"] == "true"
    allowed = {name.strip().lower() for name in response.headers["access-control-allow-headers"].split(",")}
    assert allowed == {"content-type", "x-frontend-origin", "x-idempotency-key", "authorization", "last-event-id"}
    assert edge.services["scan-api.scan"].calls == []


async def test_a_foreign_origin_gets_no_cors_headers(edge: Edge) -> None:
    for response in (
        await preflight(edge, FOREIGN),
        await edge.client.get("/api/v1/scan/categories", headers={"Origin": FOREIGN}),
    ):
        assert not [name for name in response.headers if name.startswith("access-control-")]
    assert edge.services["scan-api.scan"].calls == []


async def test_the_edge_alone_says_which_origin_is_allowed(edge: Edge) -> None:
    response = await edge.client.get("/api/v1/scan/categories", headers={**bearer(), "Origin": ORIGIN})
    assert response.headers.get_list("access-control-allow-origin") == [ORIGIN]


async def test_the_object_store_answers_its_own_preflight(edge: Edge) -> None:
    await preflight(edge, ORIGIN, "/eco2-uploads/scan/a.jpg", "PUT")
    assert edge.services["object-store.storage"].calls == ["OPTIONS /eco2-uploads/scan/a.jpg"]


# Routes


@pytest.mark.parametrize(
    ("method", "path", "service"),
    [
        ("POST", "/api/v1/auth/refresh", "auth-api.auth"),
        ("POST", "/api/v1/images/scan", "image-api.image"),
        ("POST", "/api/v1/scan", "scan-api.scan"),
        ("GET", "/api/v1/scan/categories", "scan-api.scan"),
        ("GET", "/api/v1/scan/0123456789ab/result", "scan-api.scan"),
        ("POST", "/api/v1/scan/0123456789ab/choice", "scan-api.scan"),
        ("DELETE", "/api/v1/scan/0123456789ab", "scan-api.scan"),
        ("GET", "/api/v1/stream?job_id=0123456789ab", "sse-gateway.sse"),
        ("GET", "/", "web.web"),
        ("GET", "/rules/milk_carton", "web.web"),
        ("HEAD", "/assets/index-12345678.js", "web.web"),
        ("GET", "/eco2-images/scan/a.jpg", "object-store.storage"),
        ("HEAD", "/eco2-images/scan/a.jpg", "object-store.storage"),
    ],
)
async def test_a_path_leads_to_its_service(edge: Edge, method: str, path: str, service: str) -> None:
    response = await edge.client.request(method, path, headers=bearer())
    assert response.status_code == 200
    assert edge.services[service].calls == [f"{method} {path.partition('?')[0]}"]


async def test_the_edge_answers_its_own_health(edge: Edge) -> None:
    response = await edge.client.get("/api/v1/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response.headers["content-type"] == "application/json"


OUTSIDE = (
    "/nothing",
    "/guide/",
    "/rules/milk_carton/more",
    "/health",
    "/ready",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/internal/users",
    "/api/v1/internal/users",
    "/api/v1/scanner",
    "/api/v1/imagesx",
    "/API/V1/scan/categories",
    "/api/v1/SCAN/categories",
    "/eco2-images/",
    "/eco2-images",
    "/eco2-uploads/",
    "/eco2-ops/backups/a",
    "/other-bucket/a.jpg",
    "/api/v1/scan/0123456789ab/result/more",
)


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("signed_in", [False, True])
async def test_nothing_else_is_reachable(edge: Edge, path: str, signed_in: bool) -> None:
    response = await edge.raw(path, headers={"Origin": ORIGIN, **(bearer() if signed_in else {})})
    assert is_error(response, 404, "NOT_FOUND")
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert edge.calls() == []


@pytest.mark.parametrize("headers", [{}, bearer(), bearer("no token")])
async def test_a_host_that_nobody_knows_is_not_found_whoever_asks(edge: Edge, headers: dict[str, str]) -> None:
    for path in ("/", "/admin", "/api/v1/health", "/api/v1/scan/categories"):
        response = await edge.client.get(path, headers={"Host": "unknown.example", **headers})
        assert is_error(response, 404, "NOT_FOUND")
    assert edge.calls() == []


async def test_a_service_that_does_not_run_is_503(edge: Edge) -> None:
    response = await edge.client.get("/api/v1/character/catalog", headers={**bearer(), "Origin": ORIGIN})
    assert is_error(response, 503, "UNAVAILABLE")
    assert response.headers["access-control-allow-origin"] == ORIGIN


TRICKS = (
    "/api/v1/auth/kakao/../../scan/categories",
    "/api/v1/auth/kakao/%2e%2e/%2e%2e/scan/categories",
    "/api/v1/auth/kakao/%2E%2E/%2e./scan/categories",
    "/api/v1/auth/kakao/.%2e/..//scan//categories",
    "//api//v1//scan//categories",
    "/api/v1/./scan/categories",
    "/x/../api/v1/scan/categories",
    "/../api/v1/scan/categories",
    "/eco2-images/../api/v1/scan/categories",
)


@pytest.mark.parametrize("target", TRICKS)
async def test_a_detour_is_judged_by_where_it_ends(edge: Edge, target: str) -> None:
    assert (await edge.raw(target)).status_code == 401
    assert edge.calls() == []
    assert (await edge.raw(target, headers=bearer())).status_code == 200
    assert edge.services["scan-api.scan"].calls == ["GET /api/v1/scan/categories"]


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/auth/kakao/..%2f..%2fscan/categories",
        "/api/v1/auth/kakao%2f../scan/categories",
        "/api/v1/auth/kakao/..%5c..%5cscan/categories",
        "/eco2-images%2Fscan/a.jpg",
    ],
)
async def test_an_escaped_slash_is_refused(edge: Edge, target: str) -> None:
    assert is_error(await edge.raw(target), 400, "BAD_REQUEST")
    assert edge.calls() == []


@pytest.mark.parametrize(
    "target",
    ["/api/v1/auth/kakao/%252e%252e/%252e%252e/scan/categories", "/api/v1/auth/kakao/..;/..;/scan/categories"],
)
async def test_what_stays_below_a_public_path_stays_in_its_service(edge: Edge, target: str) -> None:
    await edge.raw(target)
    assert not any(service.calls for name, service in edge.services.items() if name != "auth-api.auth")


async def test_a_fragment_or_query_does_not_make_a_path_public(edge: Edge) -> None:
    for target in ("/api/v1/scan/categories?/api/v1/auth/kakao/", "/api/v1/scan/categories?x=/eco2-images/"):
        assert (await edge.raw(target)).status_code == 401
    assert (await edge.raw("/api/v1/scan/categories#/api/v1/auth/kakao/")).status_code in (400, 401)


async def test_an_absolute_target_or_another_host_opens_nothing(edge: Edge) -> None:
    assert (await edge.raw("http://localhost/api/v1/scan/categories")).status_code == 401
    assert (await edge.raw("http://internal/api/v1/scan/categories")).status_code == 404
    assert (await edge.raw("/api/v1/scan/categories", headers={"Host": "scan-api.scan"})).status_code == 404


# Limits


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
        writer.write(f"{line}\r\nHost: localhost\r\nOrigin: {origin}\r\n{header}{end}".encode())
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


# Repeats and streams


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


# What a browser and the store may make of it


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
