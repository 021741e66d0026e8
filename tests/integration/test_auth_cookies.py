"""Cookies of sign-in, refresh and logout: several of one name, taken back everywhere."""

import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import jwt
import pytest

from eco2.auth import service
from eco2.auth.api import router
from eco2.auth.service import Pair, Services
from eco2.auth.store import Session
from eco2.contracts.identity import ACCESS_COOKIE, AUTH_PATH, REFRESH_COOKIE
from eco2.core.app import api_app
from tests.browser import AUTH, error_of
from tests.conftest import FromStack
from tests.integration.test_auth_service import alone, forget_grace, is_over, signed_in

BOTH = (ACCESS_COOKIE, REFRESH_COOKIE)


@asynccontextmanager
async def serving(at: Services) -> AsyncIterator[httpx2.AsyncClient]:
    app = api_app("auth-api", router)
    app.state.services = at
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=at.settings.public_url) as client:
        yield client


@pytest.fixture
async def at(settings: FromStack) -> AsyncIterator[Services]:
    async with alone(settings) as services:
        yield services


@pytest.fixture
async def client(at: Services) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(at) as client:
        yield client


def sent(name: str, *values: str) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for value in values)}


def set_by(response: httpx2.Response) -> list[tuple[str, str, str, bool]]:
    """(name, path, domain, taken back) of each cookie, in the order of the answer."""
    found = []
    for line in response.headers.get_list("set-cookie"):
        first, *rest = line.split("; ")
        given = {key.lower(): value for key, _, value in (part.partition("=") for part in rest)}
        assert given.keys() >= {"httponly", "secure"}
        found.append((first.partition("=")[0], given["path"], given.get("domain", ""), given["max-age"] == "0"))
    return found


def taken_back(response: httpx2.Response) -> set[tuple[str, str, str]]:
    return {(name, path, domain) for name, path, domain, gone in set_by(response) if gone}


def kept(response: httpx2.Response) -> dict[str, str]:
    """Name → path of what a browser has afterwards, by the order of the answer."""
    found: dict[tuple[str, str, str], bool] = {}
    for name, path, domain, gone in set_by(response):
        found[name, path, domain] = not gone
    return {name: path for (name, path, _), there in found.items() if there}


EVERYWHERE = {(name, path, "") for name in BOTH for path in ("/", AUTH_PATH)}


# Several refresh tokens


@dataclass(frozen=True)
class Case:
    at: Services
    session: Session
    pair: Pair

    def signed(self, **changes: Any) -> str:
        """The refresh token, changed by a holder of the key."""
        (kid, key) = next(iter(self.at.keyring._keys.items()))
        claims = jwt.decode(self.pair.refresh, options={"verify_signature": False})
        return jwt.encode({**claims, **changes}, key, "RS256", headers={"kid": kid})


@pytest.fixture
async def case(at: Services) -> Case:
    return Case(at, *await signed_in(at))


async def _of_an_ended_session(case: Case) -> str:
    session, pair = await signed_in(case.at)
    await service.end(case.at, session.user_id, "test", session.id)
    return pair.refresh


async def _replaced_long_ago(case: Case) -> str:
    """An earlier token of the same session, beyond the grace."""
    return case.signed(jti=str(uuid.uuid4()))


WORTHLESS: dict[str, Callable[[Case], Any]] = {
    "garbage": lambda _case: "garbage",
    "of an earlier backend": lambda _case: jwt.encode({"sub": "x"}, "s" * 32, "HS256"),
    "expired": lambda case: case.signed(exp=int(time.time()) - 3600),
    "access token": lambda case: case.pair.access,
    "of nobody's session": lambda case: case.signed(sid=str(uuid.uuid4())),
    "of an ended session": _of_an_ended_session,
    "replaced long ago": _replaced_long_ago,
}


async def worthless(case: Case, kind: str) -> str:
    made = WORTHLESS[kind](case)
    return made if isinstance(made, str) else await made


@pytest.mark.parametrize("kind", WORTHLESS)
@pytest.mark.parametrize("first", [True, False], ids=["before", "behind"])
async def test_a_worthless_cookie_beside_the_right_one_does_no_harm(
    case: Case, client: httpx2.AsyncClient, kind: str, first: bool
) -> None:
    values = [await worthless(case, kind), case.pair.refresh]
    response = await client.post(f"{AUTH}/refresh", headers=sent(REFRESH_COOKIE, *(values if first else values[::-1])))
    assert (response.status_code, response.content) == (201, b"null")
    assert kept(response) == {ACCESS_COOKIE: "/", REFRESH_COOKIE: AUTH_PATH}
    assert taken_back(response) == EVERYWHERE - {(ACCESS_COOKIE, "/", ""), (REFRESH_COOKIE, AUTH_PATH, "")}
    assert not await is_over(case.at, case.session.id)


async def test_a_header_counts_beside_a_worthless_cookie(case: Case, client: httpx2.AsyncClient) -> None:
    for name in ("Authorization", "X-Refresh-Token"):
        headers = {**sent(REFRESH_COOKIE, "garbage"), name: f"bEARER {case.pair.refresh}"}
        assert (await client.post(f"{AUTH}/refresh", headers=headers)).status_code == 201


@pytest.mark.parametrize("kind", WORTHLESS)
async def test_a_refusal_takes_the_cookies_back_everywhere(case: Case, client: httpx2.AsyncClient, kind: str) -> None:
    response = await client.post(f"{AUTH}/refresh", headers=sent(REFRESH_COOKIE, await worthless(case, kind), "x"))
    assert response.status_code == 400 if kind == "access token" else 401
    assert response.json().keys() == {"detail", "code"}
    assert taken_back(response) == EVERYWHERE
    assert not kept(response)


async def test_what_is_no_refusal_takes_no_cookie(case: Case, client: httpx2.AsyncClient) -> None:
    nothing = await client.post(f"{AUTH}/refresh")
    assert (nothing.status_code, set_by(nothing)) == (401, [])
    strict = replace(case.at, settings=case.at.settings.model_copy(update={"refreshes_per_minute": 1}))
    async with serving(strict) as limited:
        for status in (201, 429):
            response = await limited.post(f"{AUTH}/refresh", headers=sent(REFRESH_COOKIE, case.pair.refresh))
            assert (response.status_code, bool(taken_back(response))) == (status, False)


async def test_a_stolen_token_still_ends_the_session(case: Case, client: httpx2.AsyncClient) -> None:
    old = case.pair.refresh
    assert (await client.post(f"{AUTH}/refresh", headers=sent(REFRESH_COOKIE, old))).status_code == 201
    assert (await client.post(f"{AUTH}/refresh", headers=sent(REFRESH_COOKIE, old))).status_code == 201
    await forget_grace(case.at.db, str(case.session.id))
    refusal = await client.post(f"{AUTH}/refresh", headers=sent(REFRESH_COOKIE, "x", old))
    assert (refusal.status_code, refusal.json()["code"]) == (401, "TOKEN_REVOKED")
    assert await is_over(case.at, case.session.id)


async def test_an_answer_that_was_lost_may_be_asked_for_again_within_a_minute(case: Case) -> None:
    assert case.at.settings.refresh_grace.total_seconds() == 60
    pair = await service.refresh(case.at, [case.pair.refresh])
    for _ in range(25):  # as many as may follow within that minute
        pair = await service.refresh(case.at, [pair.refresh])
    assert await service.refresh(case.at, [case.pair.refresh]) == pair


async def test_with_a_domain_cookies_of_the_host_are_taken_back_too(case: Case) -> None:
    there = replace(case.at, settings=case.at.settings.model_copy(update={"cookie_domain": "example.test"}))
    places = {(name, path, domain) for name, path, _ in EVERYWHERE for domain in ("", "example.test")}
    async with serving(there) as client:
        response = await client.post(f"{AUTH}/refresh", headers=sent(REFRESH_COOKIE, "x", case.pair.refresh))
        ours = {(ACCESS_COOKIE, "/", "example.test"), (REFRESH_COOKIE, AUTH_PATH, "example.test")}
        assert taken_back(response) == places - ours
        # A browser to which host and domain are the same keeps what came last.
        assert [row[3] for row in set_by(response)][-2:] == [False, False]
        assert taken_back(await client.post(f"{AUTH}/logout")) == places


# Logout


async def test_a_logout_ends_every_session_that_is_named(at: Services, client: httpx2.AsyncClient) -> None:
    made = [await signed_in(at) for _ in range(5)]
    untouched, _ = await signed_in(at)
    pairs = [pair for _, pair in made]
    headers = {
        "Cookie": f"s_access=x; s_access={pairs[0].access}; s_access={pairs[1].access}; s_refresh=garbage; "
        f"s_refresh={pairs[2].refresh}; s_refresh={pairs[3].refresh}",
        "Authorization": f"bearer {pairs[4].access}",
    }
    response = await client.post(f"{AUTH}/logout", headers=headers)
    assert (response.status_code, response.json()["success"]) == (200, True)
    assert taken_back(response) == EVERYWHERE
    assert [await is_over(at, session.id) for session, _ in made] == [True] * 5
    assert not await is_over(at, untouched.id)


@pytest.mark.parametrize("shift", [-40 * 24 * 3600, 600, 4 * 3600])
async def test_a_logout_holds_whatever_the_clock_says(case: Case, client: httpx2.AsyncClient, shift: int) -> None:
    """A token that seems to be from the future shows that this clock is behind."""
    now = int(time.time()) + shift
    token = case.signed(iat=now, nbf=now, exp=now + 3600)
    response = await client.post(f"{AUTH}/logout", headers=sent(REFRESH_COOKIE, token))
    assert response.json()["data"]["message"] == "Signed out."
    assert await is_over(case.at, case.session.id)


async def test_cookies_without_end_are_an_answer_all_the_same(client: httpx2.AsyncClient) -> None:
    headers = sent(REFRESH_COOKIE, *(f"a.{number}.c" for number in range(2000)))
    assert (await client.post(f"{AUTH}/refresh", headers=headers)).status_code == 401
    assert (await client.post(f"{AUTH}/logout", headers=headers)).status_code == 200


# The cookie of a sign-in


async def test_where_https_is_spoken_nobody_else_can_set_the_cookie_of_a_sign_in(at: Services) -> None:
    changes = {"public_url": "https://api.example.test", "cookie_domain": "example.test"}
    there = replace(at, settings=at.settings.model_copy(update=changes))
    async with serving(there) as client:
        begun = await client.get(f"{AUTH}/kakao")
        ((name, path, domain, _),) = set_by(begun)
        assert (name, path, domain) == ("__Host-s_signin", "/", "")
        value = begun.cookies[name]
        state = begun.json()["data"]["state"]
        back = f"{AUTH}/kakao/callback?error=access_denied&state={state}"
        client.cookies.clear()
        planted = await client.get(back, headers=sent("s_signin", value))
        assert error_of(planted.headers["location"]) == "invalid_state"
        own = await client.get(back, headers=sent("__Host-s_signin", value))
        assert error_of(own.headers["location"]) == "access_denied"


async def test_a_value_that_the_client_chose_is_never_taken(client: httpx2.AsyncClient) -> None:
    chosen = "c" * 43
    begun = await client.get(f"{AUTH}/kakao", headers=sent("s_signin", chosen))
    issued = begun.cookies["s_signin"]
    assert issued != chosen
    client.cookies.clear()
    state = begun.json()["data"]["state"]
    response = await client.get(
        f"{AUTH}/kakao/callback?error=access_denied&state={state}", headers=sent("s_signin", chosen)
    )
    assert error_of(response.headers["location"]) == "invalid_state"
    client.cookies.clear()
    again = await client.get(f"{AUTH}/google", headers=sent("s_signin", chosen, issued))
    assert again.cookies["s_signin"] == issued
