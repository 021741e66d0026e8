"""Sign in, stay signed in, be locked out: through the edge, with the emulated providers."""

import asyncio
import ipaddress
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
import pytest

from eco2.auth import keys
from eco2.contracts.identity import ACCESS_COOKIE, REFRESH_COOKIE
from eco2.core.postgres import Database
from eco2.local.stack import Stack
from tests.browser import APP, AUTH, Browser, error_of
from tests.conftest import GATEWAY_PORT, Person
from tests.redis_server import until

PROVIDERS = ("kakao", "google", "naver")
HOME = f"{APP}/#/home"


@pytest.fixture
async def browser(stack: Stack) -> AsyncIterator[Callable[[], Browser]]:
    """Makes browsers that have never been here."""
    async with httpx2.AsyncClient(base_url=stack.layout.public_url, timeout=30) as client:
        yield lambda: Browser(client)


@pytest.fixture
async def provider(environment: dict[str, str]) -> AsyncIterator[httpx2.AsyncClient]:
    """The emulated providers; they behave again when the test is over."""
    async with httpx2.AsyncClient(base_url=environment["ECO2_OAUTH_EMULATOR_URL"]) as client:
        yield client
        (await client.post("/_control", json={})).raise_for_status()


def somebody() -> str:
    return f"새벽-{uuid.uuid4().hex[:12]}"


def claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


# Sign in


@pytest.mark.parametrize("name", PROVIDERS)
async def test_the_first_sign_in_and_the_return(browser: Callable[[], Browser], name: str) -> None:
    who = somebody()
    first, again = browser(), browser()
    assert await first.sign_in(name, name=who, email="dawn@example.com") == HOME
    assert (await first.ping()).status_code == 200
    assert await again.sign_in(name, name=who, email="dawn@example.com") == HOME
    ours = claims(first.access), claims(again.access)
    assert ours[0]["sub"] == ours[1]["sub"]
    assert ours[0]["sid"] != ours[1]["sid"]
    assert (ours[0]["type"], ours[0]["aud"], ours[0]["provider"]) == ("access", "api", name)
    assert claims(first.refresh_token)["aud"] == "refresh"


async def test_an_account_without_an_email_address(browser: Callable[[], Browser]) -> None:
    who = browser()
    assert await who.sign_in("kakao", name=somebody()) == HOME
    assert (await who.ping()).status_code == 200


async def test_the_cookies_are_as_the_web_app_needs_them(browser: Callable[[], Browser]) -> None:
    who = browser()
    back = await who.consent(await who.start("google"), name=somebody())
    response = await who.navigate(back)
    assert response.status_code == 302
    lines = {line.partition("=")[0]: line for line in response.headers.get_list("set-cookie")}
    assert "Path=/;" in lines[ACCESS_COOKIE]
    assert "Max-Age=10800;" in lines[ACCESS_COOKIE]
    assert f"Path={AUTH};" in lines[REFRESH_COOKIE]
    assert "Max-Age=2592000;" in lines[REFRESH_COOKIE]
    assert not any("Domain" in line for line in lines.values())
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", PROVIDERS)
async def test_the_start_says_where_to_go(browser: Callable[[], Browser], name: str) -> None:
    who = browser()
    for path in ("", "/login"):
        data = (await who.request("GET", f"{AUTH}/{name}{path}")).json()["data"]
        assert data.keys() == {"provider", "state", "authorization_url", "expires_at"}
        query = parse_qs(urlsplit(data["authorization_url"]).query)
        assert query["state"] == [data["state"]]
        assert ("code_challenge" in query) == (name != "naver")
    short = (await who.request("GET", f"{AUTH}/{name}/authorize?state=mine")).json()
    assert short.keys() == {"authorization_url", "state"}
    assert short["state"] != "mine"


async def test_an_unknown_provider_is_422(browser: Callable[[], Browser]) -> None:
    response = await browser().request("GET", f"{AUTH}/kakao/../naver")
    assert response.status_code == 200
    who = browser()
    for path in ("/kakaox", "/facebook"):
        response = await who.request("GET", f"{AUTH}{path}")
        assert response.status_code == 401  # not public, so nobody learns more


async def test_leaving_the_consent_page_leads_back_to_the_login(browser: Callable[[], Browser]) -> None:
    who = browser()
    back = await who.consent(await who.start("kakao", frontend_origin="http://localhost:3000"), cancel="1")
    response = await who.navigate(back)
    assert response.status_code == 307
    assert response.headers["location"] == "http://localhost:3000/#/login?error=access_denied"
    assert ACCESS_COOKIE not in who.cookies


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ({"token": "refuse"}, "oauth_failed"),
        ({"token": "error"}, "provider_unavailable"),
        ({"token": "garbage"}, "provider_unavailable"),
        ({"token": "empty"}, "provider_unavailable"),
        ({"profile": "error"}, "provider_unavailable"),
        ({"profile": "garbage"}, "provider_unavailable"),
        ({"profile": "empty"}, "provider_unavailable"),
    ],
    ids=str,
)
async def test_whatever_the_provider_does_the_browser_comes_back(
    browser: Callable[[], Browser], provider: httpx2.AsyncClient, name: str, behaviour: dict[str, str], error: str
) -> None:
    who = browser()
    back = await who.consent(await who.start(name, frontend_origin="http://localhost:3000"), name=somebody())
    (await provider.post("/_control", json={name: behaviour})).raise_for_status()
    response = await who.navigate(back)
    assert response.headers["location"].startswith("http://localhost:3000/")
    assert error_of(response.headers["location"]) == error
    assert ACCESS_COOKIE not in who.cookies


async def test_a_provider_that_hangs_is_given_up(browser: Callable[[], Browser], provider: httpx2.AsyncClient) -> None:
    who = browser()
    back = await who.consent(await who.start("kakao"), name=somebody())
    (await provider.post("/_control", json={"kakao": {"profile": "hang"}})).raise_for_status()
    began = time.monotonic()
    response = await who.navigate(back)
    assert error_of(response.headers["location"]) == "provider_unavailable"
    assert time.monotonic() - began < 12


async def test_sign_ins_are_in_the_audit(browser: Callable[[], Browser], db: Database) -> None:
    who = browser()
    await who.sign_in("naver", name=somebody())
    user, session = (uuid.UUID(claims(who.access)[name]) for name in ("sub", "sid"))
    ((provider, outcome, session_id, ip, user_agent),) = await db.rows(
        "SELECT provider, outcome, session_id, ip, user_agent FROM auth.login_audits WHERE user_id = %(id)s", id=user
    )
    assert (provider, outcome, session_id) == ("naver", "signed_in", session)
    assert ipaddress.ip_address(ip)
    assert user_agent.startswith("python-httpx2")


# Attacks on the sign-in


@pytest.mark.parametrize(
    "query",
    [
        {"frontend_origin": "http://evil.example"},
        {"frontend_origin": "http://localhost:5173.evil.example"},
        {"frontend_origin": "http://localhost:5173/"},
        {"frontend_origin": "javascript:alert(1)"},
        {"redirect_uri": "http://evil.example/api/v1/auth/kakao/callback"},
        {"redirect_uri": f"http://127.0.0.1:{GATEWAY_PORT}/api/v1/auth/naver/callback"},
        {"redirect_uri": f"http://127.0.0.1:{GATEWAY_PORT}@evil.example/api/v1/auth/kakao/callback"},
        {"redirect_uri": f"http://127.0.0.1:{GATEWAY_PORT}/api/v1/auth/kakao/callback/../x"},
    ],
    ids=str,
)
async def test_only_known_places_are_redirected_to(browser: Callable[[], Browser], query: dict[str, str]) -> None:
    response = await browser().request("GET", f"{AUTH}/kakao", params=query)
    assert (response.status_code, response.json()["code"]) == (400, "REDIRECT_NOT_ALLOWED")


async def test_the_header_names_the_app_and_the_query_wins(browser: Callable[[], Browser]) -> None:
    who = browser()
    response = await who.request("GET", f"{AUTH}/kakao", headers={"X-Frontend-Origin": "http://evil.example"})
    assert (response.status_code, response.json()["code"]) == (400, "REDIRECT_NOT_ALLOWED")
    headers = {"X-Frontend-Origin": "http://localhost:3000"}
    response = await who.request("GET", f"{AUTH}/kakao", params={"frontend_origin": APP}, headers=headers)
    back = await who.consent(response.json()["data"]["authorization_url"], name=somebody())
    assert (await who.navigate(back)).headers["location"] == HOME


async def test_a_sign_in_is_finished_only_where_it_began(browser: Callable[[], Browser]) -> None:
    """Otherwise a user could be signed in as the attacker, and hand over photos."""
    attacker, victim = browser(), browser()
    back = await attacker.consent(await attacker.start("kakao"), name=somebody())
    assert error_of((await victim.navigate(back)).headers["location"]) == "invalid_state"
    await victim.start("kakao")
    back = await attacker.consent(await attacker.start("kakao"), name=somebody())
    assert error_of((await victim.navigate(back)).headers["location"]) == "invalid_state"
    assert ACCESS_COOKIE not in victim.cookies


async def test_two_sign_ins_may_be_under_way_in_two_tabs(browser: Callable[[], Browser]) -> None:
    who = browser()
    pages = [await who.start("kakao"), await who.start("google")]
    for page in pages:
        back = await who.consent(page, name=somebody())
        assert (await who.navigate(back)).headers["location"] == HOME


@pytest.mark.parametrize(
    "query",
    ["", "?code=abc", "?state=abc", "?code=abc&state=abc", "?error=access_denied", "?error=server_error&state=x"],
)
async def test_a_made_up_callback_leads_to_the_login(browser: Callable[[], Browser], query: str) -> None:
    response = await browser().navigate(f"{AUTH}/kakao/callback{query}")
    assert (response.status_code, response.headers["location"]) == (307, f"{APP}/#/login?error=invalid_state")


async def test_a_state_belongs_to_its_provider(browser: Callable[[], Browser]) -> None:
    who = browser()
    back = await who.consent(await who.start("kakao"), name=somebody())
    response = await who.navigate(back.replace("/auth/kakao/", "/auth/google/"))
    assert error_of(response.headers["location"]) == "invalid_state"


async def test_a_code_of_another_sign_in_is_refused(browser: Callable[[], Browser]) -> None:
    """PKCE: a stolen code is worth nothing with another verifier."""
    victim, attacker = browser(), browser()
    stolen = parse_qs(urlsplit(await victim.consent(await victim.start("kakao"), name=somebody())).query)["code"][0]
    own = parse_qs(urlsplit(await attacker.start("kakao")).query)["state"][0]
    response = await attacker.navigate(f"{AUTH}/kakao/callback?code={stolen}&state={own}")
    assert error_of(response.headers["location"]) == "oauth_failed"


# Stay signed in


async def test_a_refresh_replaces_both_cookies(browser: Callable[[], Browser]) -> None:
    who = browser()
    await who.sign_in(name=somebody())
    before = who.access, who.refresh_token
    response = await who.refresh()
    assert (response.status_code, response.content) == (201, b"null")
    assert who.access != before[0]
    assert who.refresh_token != before[1]
    assert (await who.ping()).status_code == 200


async def test_two_tabs_that_refresh_at_once_get_the_same_pair(browser: Callable[[], Browser]) -> None:
    who = browser()
    await who.sign_in(name=somebody())
    tabs = [Browser(who.client, cookies=dict(who.cookies)) for _ in range(8)]
    answers = await asyncio.gather(*(tab.refresh() for tab in tabs))
    assert [answer.status_code for answer in answers] == [201] * 8
    assert len({tab.refresh_token for tab in tabs}) == len({tab.access for tab in tabs}) == 1
    assert (await tabs[0].ping()).status_code == 200


@pytest.mark.parametrize("header", ["X-Refresh-Token", "Authorization"])
async def test_a_refresh_token_may_come_in_a_header(browser: Callable[[], Browser], header: str) -> None:
    who = browser()
    await who.sign_in(name=somebody())
    headers = {header: f"Bearer {who.refresh_token}"}
    assert (await who.client.post(f"{AUTH}/refresh", headers=headers)).status_code == 201


async def refused(who: Browser, token: str | None) -> tuple[int, str]:
    headers = {"X-Refresh-Token": f"Bearer {token}"} if token is not None else {}
    response = await who.client.post(f"{AUTH}/refresh", headers=headers)
    return response.status_code, response.json()["code"]


async def test_what_is_no_refresh_token_is_refused(browser: Callable[[], Browser], stack: Stack) -> None:
    who = browser()
    await who.sign_in(name=somebody())
    assert await refused(who, None) == (401, "MISSING_TOKEN")
    assert await refused(who, "abc") == (401, "INVALID_TOKEN")
    assert await refused(who, who.access) == (400, "TOKEN_TYPE_MISMATCH")
    kid, key = next(iter(keys.load_keys(stack.layout.folder("keys")).items()))
    good = claims(who.refresh_token)
    late = jwt.encode({**good, "exp": int(time.time()) - 60}, key, "RS256", headers={"kid": kid})
    assert await refused(who, late) == (401, "TOKEN_EXPIRED")
    for wrong in ({"aud": "api"}, {"iss": "http://evil.example"}, {"type": "access"}):
        other = jwt.encode({**good, **wrong}, key, "RS256", headers={"kid": kid})
        assert await refused(who, other) == (401, "INVALID_TOKEN")
    unknown = jwt.encode({**good, "sid": str(uuid.uuid4())}, key, "RS256", headers={"kid": kid})
    assert await refused(who, unknown) == (401, "TOKEN_REVOKED")
    assert (await who.refresh()).status_code == 201


async def test_a_refresh_token_is_no_access_token(browser: Callable[[], Browser]) -> None:
    who = browser()
    await who.sign_in(name=somebody())
    for headers in (
        {"Authorization": f"Bearer {who.refresh_token}"},
        {"Cookie": f"{ACCESS_COOKIE}={who.refresh_token}"},
    ):
        assert (await who.client.get("/api/v1/authz/ping", headers=headers)).status_code == 401


async def test_a_key_is_rotated_while_people_are_signed_in(browser: Callable[[], Browser], stack: Stack) -> None:
    who, folder = browser(), stack.layout.folder("keys")
    await who.sign_in(name=somebody())
    old_kid = jwt.get_unverified_header(who.access)["kid"]
    new = keys.create_key(folder)

    async def published() -> bool:
        found = (await who.client.get(f"{AUTH}/.well-known/jwks.json")).json()["keys"]
        return {old_kid, new.stem} <= {key["kid"] for key in found}

    try:
        await until(published, 10)
        assert (await who.ping()).status_code == 200
        assert (await who.refresh()).status_code == 201
        # The edge may not have read the new key yet, so the old one goes on signing.
        assert jwt.get_unverified_header(who.access)["kid"] == old_kid
        assert (await who.ping()).status_code == 200
    finally:
        new.unlink()


# Locked out


async def locked_out(who: Browser) -> httpx2.Response:
    """The first answer that is not 200; within the second that we promise."""
    async with asyncio.timeout(1):
        while (response := await who.ping()).status_code == 200:
            await asyncio.sleep(0.01)
    return response


async def test_logout_ends_the_session_everywhere_at_once(browser: Callable[[], Browser]) -> None:
    who = browser()
    await who.sign_in(name=somebody())
    copy = Browser(who.client, cookies=dict(who.cookies))
    response = await who.logout()
    assert response.status_code == 200
    assert response.json()["success"] is True
    assert ACCESS_COOKIE not in who.cookies
    assert REFRESH_COOKIE not in who.cookies
    refusal = await locked_out(copy)
    assert (refusal.status_code, refusal.json()["code"]) == (403, "SESSION_REVOKED")
    refusal = await copy.request("GET", "/api/v1/users/me")
    assert (refusal.status_code, refusal.headers["access-control-allow-origin"]) == (403, APP)
    refusal = await copy.refresh()
    assert (refusal.status_code, refusal.json()["code"]) == (401, "TOKEN_REVOKED")
    assert (await copy.logout()).status_code == 200


async def test_logout_always_answers(browser: Callable[[], Browser]) -> None:
    who = browser()
    assert (await who.logout()).json()["success"] is True
    for value in ("broken", "a.b.c"):
        headers = {"Cookie": f"{ACCESS_COOKIE}={value}; {REFRESH_COOKIE}={value}", "Authorization": f"Bearer {value}"}
        assert (await who.client.post(f"{AUTH}/logout", headers=headers)).status_code == 200


async def test_logout_by_either_token_alone(browser: Callable[[], Browser]) -> None:
    for kept in (ACCESS_COOKIE, REFRESH_COOKIE):
        who = browser()
        await who.sign_in(name=somebody())
        copy = Browser(who.client, cookies=dict(who.cookies))
        who.cookies = {kept: who.cookies[kept]}
        assert (await who.logout()).status_code == 200
        assert (await locked_out(copy)).status_code == 403
        assert (await copy.refresh()).status_code == 401


async def test_a_stolen_refresh_token_ends_the_session(browser: Callable[[], Browser], db: Database) -> None:
    from tests.integration.test_auth_service import forget_grace

    who = browser()
    await who.sign_in(name=somebody())
    thief = Browser(who.client, cookies=dict(who.cookies))
    await who.refresh()
    await forget_grace(db, claims(who.access)["sid"])
    refusal = await thief.refresh()
    assert (refusal.status_code, refusal.json()["code"]) == (401, "TOKEN_REVOKED")
    assert (await locked_out(who)).status_code == 403
    assert (await who.refresh()).status_code == 401


async def test_sessions_are_listed_and_ended(browser: Callable[[], Browser]) -> None:
    name = somebody()
    phone, desk, other = browser(), browser(), browser()
    for each in (phone, desk):
        await each.sign_in(name=name)
    await other.sign_in(name=somebody())
    rows = (await desk.request("GET", f"{AUTH}/sessions")).json()
    assert {row["id"]: row["current"] for row in rows} == {
        claims(desk.access)["sid"]: True,
        claims(phone.access)["sid"]: False,
    }
    theirs = claims(other.access)["sid"]
    refusal = await desk.request("DELETE", f"{AUTH}/sessions/{theirs}")
    assert (refusal.status_code, refusal.json()["code"]) == (404, "SESSION_NOT_FOUND")
    assert (await other.ping()).status_code == 200
    assert (await desk.request("DELETE", f"{AUTH}/sessions/{claims(phone.access)['sid']}")).status_code == 204
    assert (await locked_out(phone)).status_code == 403
    assert (await desk.ping()).status_code == 200


async def test_log_out_everywhere(browser: Callable[[], Browser]) -> None:
    name = somebody()
    browsers = [browser() for _ in range(3)]
    for each in browsers:
        await each.sign_in(name=name)
    copies = [Browser(each.client, cookies=dict(each.cookies)) for each in browsers]
    assert (await browsers[0].request("POST", f"{AUTH}/logout/all")).status_code == 200
    for copy in copies:
        assert (await locked_out(copy)).status_code == 403
        assert (await copy.refresh()).status_code == 401
    back = browser()
    assert await back.sign_in(name=name) == HOME
    assert (await back.ping()).status_code == 200


async def test_a_token_without_a_session_is_logged_out_too(person: Callable[[], Person]) -> None:
    who, other = person(), person()
    assert (await who.http.post(f"{AUTH}/logout")).status_code == 200

    async def locked() -> bool:
        return (await who.http.get("/api/v1/authz/ping")).status_code == 403

    await until(locked, 2)
    assert (await other.http.get("/api/v1/authz/ping")).status_code == 200


async def test_a_stream_ends_when_another_tab_logs_out_and_that_of_somebody_else_goes_on(
    browser: Callable[[], Browser],
) -> None:
    who, other = browser(), browser()
    for one in (who, other):
        await one.sign_in(name=somebody())
    copy = Browser(who.client, cookies=dict(who.cookies))

    async def stream_of(one: Browser, into: list[str]) -> None:
        body = {"filename": "a.jpg", "content_type": "image/jpeg"}
        job = (await one.request("POST", "/api/v1/waste/analyze", json=body)).json()["job_id"]
        path = f"/api/v1/scan/{job}/events"
        async with one.client.stream("GET", path, headers=one.header(path)) as stream:
            into.append(str(stream.status_code))
            into.extend([line async for line in stream.aiter_lines()])

    lines: list[str] = []
    others: list[str] = []
    mine, theirs = asyncio.create_task(stream_of(who, lines)), asyncio.create_task(stream_of(other, others))

    async def both_open() -> bool:
        return lines[:1] == others[:1] == ["200"]

    await until(both_open)
    began = time.monotonic()
    await who.logout()
    await asyncio.wait_for(mine, 5)
    assert time.monotonic() - began < 2
    assert any("session_ended" in line for line in lines)
    assert not theirs.done()
    theirs.cancel()
    await asyncio.gather(theirs, return_exceptions=True)
    await locked_out(copy)
    assert (await copy.request("GET", "/api/v1/authz/ping")).status_code == 403


# Cross-origin pages


async def test_a_strangers_page_can_neither_refresh_nor_log_out(browser: Callable[[], Browser]) -> None:
    who = browser()
    await who.sign_in(name=somebody())
    page = Browser(who.client, origin="http://evil.example", cookies=who.cookies)
    for path in ("refresh", "logout", "logout/all"):
        response = await page.request("POST", f"{AUTH}/{path}")
        assert (response.status_code, response.json()["code"]) == (400, "ORIGIN_NOT_ALLOWED")
        assert "access-control-allow-origin" not in response.headers
    assert (await who.ping()).status_code == 200
    assert (await who.refresh()).status_code == 201


def test_the_keys_of_the_stack_are_private(stack: Stack) -> None:
    paths: list[Path] = list(stack.layout.folder("keys").glob("*.pem"))
    assert paths
    assert all(path.stat().st_mode & 0o077 == 0 for path in paths)
