"""Cross-origin requests and routes of the edge: what leads where, and what leads nowhere."""

import httpx2
import pytest

from tests.edge import (
    ORIGIN,
    Edge,
    bearer,
    is_error,
)
from tests.integration.edge.conftest import FOREIGN


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
    assert (await edge.raw(f"http://{edge.host}/api/v1/scan/categories")).status_code == 401
    assert (await edge.raw("http://internal/api/v1/scan/categories")).status_code == 404
    assert (await edge.raw("/api/v1/scan/categories", headers={"Host": "scan-api.scan"})).status_code == 404
