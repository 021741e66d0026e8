"""Guests through the edge, and attempts that must not open a session or take another one over."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import jwt
import pytest

from eco2.auth import guests
from eco2.contracts.identity import ACCESS_COOKIE, REFRESH_COOKIE
from eco2.local.stack import Stack
from tests.browser import APP, AUTH, Browser


@pytest.fixture
async def browser(stack: Stack) -> AsyncIterator[Callable[[], Browser]]:
    """Makes browsers that have never been here."""
    async with httpx2.AsyncClient(base_url=stack.layout.public_url, timeout=30) as client:
        yield lambda: Browser(client)


@pytest.fixture
async def guest(browser: Callable[[], Browser]) -> Browser:
    made = browser()
    await made.become_guest()
    return made


def claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


async def test_a_proof_gives_the_session_of_a_guest(browser: Callable[[], Browser]) -> None:
    new = browser()
    response = await new.enter(await new.proof())
    assert response.status_code == 201, response.text
    body = response.json()
    assert (body["role"], 0 < body["expires_in"] <= 24 * 3600) == ("guest", True)
    assert new.cookies.keys() == {ACCESS_COOKIE, REFRESH_COOKIE, "s_guest"}
    access, refresh = claims(new.access), claims(new.refresh_token)
    assert (access["role"], access["provider"]) == ("guest", "guest")
    assert refresh["exp"] - refresh["iat"] == body["expires_in"]
    assert (await new.ping()).status_code == 200


async def test_a_refresh_goes_on_with_the_session_and_does_not_prolong_it(guest: Browser) -> None:
    before = claims(guest.refresh_token)
    assert (await guest.refresh()).status_code == 201
    after = claims(guest.refresh_token)
    assert (after["sub"], after["sid"], after["role"]) == (before["sub"], before["sid"], "guest")
    assert (after["jti"] != before["jti"], after["exp"]) == (True, before["exp"])
    assert (await guest.ping()).status_code == 200


async def test_a_guest_who_leaves_is_out(guest: Browser, browser: Callable[[], Browser]) -> None:
    stolen = browser()
    stolen.cookies = dict(guest.cookies)
    assert (await guest.logout()).status_code == 200

    async def is_out() -> bool:
        return (await stolen.ping()).status_code == 403

    async with asyncio.timeout(10):
        while not await is_out():
            await asyncio.sleep(0.05)
    assert (await stolen.refresh()).json()["code"] == "TOKEN_REVOKED"


async def test_a_browser_keeps_the_session_that_it_has(guest: Browser) -> None:
    before = claims(guest.refresh_token)
    response = await guest.enter("nothing.0")
    assert (response.status_code, response.json()["role"]) == (201, "guest")
    assert claims(guest.refresh_token)["sub"] == before["sub"]


async def test_who_is_signed_in_stays_so(browser: Callable[[], Browser]) -> None:
    person = browser()
    await person.sign_in(name=f"새벽-{uuid.uuid4().hex[:12]}")
    before = claims(person.access)
    response = await person.enter(await person.proof())
    assert (response.status_code, response.json()["role"]) == (201, "citizen")
    assert claims(person.access)["sub"] == before["sub"]


@pytest.mark.parametrize("proof", ["", "x", "a.b.c", "....", "x" * 200])
async def test_what_is_no_proof_gives_nothing(browser: Callable[[], Browser], proof: str) -> None:
    new = browser()
    response = await new.enter(proof)
    assert (response.status_code, response.json()["code"]) == (400, "GUEST_PROOF_INVALID")
    assert not new.cookies


async def test_work_that_was_not_done_gives_nothing(browser: Callable[[], Browser]) -> None:
    new = browser()
    challenge = (await new.proof()).rpartition(".")[0]
    response = await new.enter(f"{challenge}.undone")
    assert (response.status_code, response.json()["code"]) == (400, "GUEST_PROOF_INVALID")


async def test_a_proof_counts_once_however_many_send_it_at_once(browser: Callable[[], Browser]) -> None:
    proof = await browser().proof()
    answers = await asyncio.gather(*(browser().enter(proof) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"GUEST_PROOF_USED"}


async def test_another_nonce_does_not_make_a_used_challenge_count_again(browser: Callable[[], Browser]) -> None:
    proof = await browser().proof()
    assert (await browser().enter(proof)).status_code == 201
    challenge = proof.rpartition(".")[0]
    other = next(p for n in range(10**7) if guests.proves(p := f"{challenge}.again{n}", 16))
    assert (await browser().enter(other)).json()["code"] == "GUEST_PROOF_USED"


@pytest.mark.parametrize("path", [f"{AUTH}/guest", f"{AUTH}/guest/challenge"])
@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
async def test_a_page_of_another_origin_makes_no_guest(
    browser: Callable[[], Browser], path: str, headers: dict[str, str]
) -> None:
    response = await browser().client.post(path, json={"proof": "x"}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "ORIGIN_NOT_ALLOWED")


async def test_the_web_app_reads_the_answers(browser: Callable[[], Browser]) -> None:
    new = browser()
    for response in (await new.request("POST", f"{AUTH}/guest/challenge"), await new.enter("x.y")):
        assert response.headers["access-control-allow-origin"] == APP
        assert response.headers["access-control-allow-credentials"] == "true"


async def test_the_role_cannot_be_written_by_the_client(guest: Browser) -> None:
    """Neither in the token, nor as the header that ext-authz writes."""
    head, _, signature = guest.access.split(".")
    forged = jwt.encode({**claims(guest.access), "role": "steward"}, "k" * 32).split(".")[1]
    guest.cookies[ACCESS_COOKIE] = (f"{head}.{forged}.{signature}", "/")
    assert (await guest.ping()).status_code == 401


# Routes


async def test_a_guest_has_a_profile_that_says_so(guest: Browser) -> None:
    profile = (await guest.request("GET", "/api/v1/users/me")).json()
    assert (profile["role"], profile["provider"], profile["phone_number"]) == ("guest", "guest", None)
    assert profile["username"].startswith("이코친구 ")


async def test_a_guest_is_answered_in_the_language_that_it_prefers(guest: Browser) -> None:
    path = "/api/v1/users/me/preferences"
    assert (await guest.request("PATCH", path, json={"language": "en"})).json()["language"] == "en"
    assert (await guest.request("GET", path)).json()["language"] == "en"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/scan/categories"),
        ("GET", "/api/v1/users/me/scans"),
        ("GET", "/api/v1/character/catalog"),
        ("GET", "/api/v1/info/news"),
        ("GET", "/api/v1/locations/centers?lat=37.5553&lon=126.9019"),
    ],
)
async def test_a_guest_looks_things_up(guest: Browser, method: str, path: str) -> None:
    assert (await guest.request(method, path)).status_code == 200


REFUSED = {
    "GET /api/v1/auth/sessions",
    "DELETE /api/v1/auth/sessions/6f1d3f0e-5f54-4f3c-9d0e-7c1f2a8b9e10",
    "POST /api/v1/auth/logout/all",
    "GET /api/v1/chat",
    "PATCH /api/v1/users/me",
    "DELETE /api/v1/users/me",
    "GET /api/v1/users/me/export",
    "GET /api/v1/users/me/characters",
    "GET /api/v1/users/me/characters/페티/ownership",
    "GET /api/v1/users/me/points",
    "GET /api/v1/users/me/leaderboard",
    "PUT /api/v1/users/me/leaderboard",
    "DELETE /api/v1/users/me/leaderboard",
    "GET /api/v1/character/leaderboard",
    "POST /api/v1/locations/1/feedback",
}


@pytest.mark.parametrize("route", sorted(REFUSED))
async def test_a_guest_is_refused_what_belongs_to_an_account(guest: Browser, route: str) -> None:
    """Never with 403 or 401, on which clients sign out or refresh without end."""
    method, _, path = route.partition(" ")
    body = {"PATCH": {"nickname": "초록"}, "PUT": {"display_name": "초록"}, "POST": {"kind": "gone"}}.get(method)
    response = await guest.request(method, path, json=body)
    assert (response.status_code, response.json()["code"]) == (409, "GUEST_NOT_ALLOWED"), response.text
    assert (await guest.ping()).status_code == 200


async def test_the_header_of_a_role_is_not_taken_from_the_client(guest: Browser) -> None:
    response = await guest.request("GET", "/api/v1/chat", headers={"x-user-role": "citizen"})
    assert response.json()["code"] == "GUEST_NOT_ALLOWED"
