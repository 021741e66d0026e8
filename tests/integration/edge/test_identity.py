"""Identity at the edge: tokens, cookies, spoofed headers, revoked sessions, pages of others."""

import time
import uuid

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
    received,
    segment,
    token,
    unsigned_token,
)
from tests.integration.edge.conftest import FOREIGN
from tests.redis_server import until


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
