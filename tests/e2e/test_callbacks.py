"""The callback of a sign-in as browsers really call it: twice, ahead of time, with parameters that are too long."""

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from eco2.contracts.identity import ACCESS_COOKIE
from eco2.local.stack import Stack
from tests.browser import APP, AUTH, Browser, error_of
from tests.e2e.test_sign_in import HOME, claims, somebody


@pytest.fixture
async def browser(stack: Stack) -> AsyncIterator[Callable[[], Browser]]:
    async with httpx2.AsyncClient(base_url=stack.layout.public_url, timeout=30) as client:
        yield lambda: Browser(client)


@pytest.fixture
async def provider(environment: dict[str, str]) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=environment["ECO2_OAUTH_EMULATOR_URL"]) as client:
        yield client
        (await client.post("/_control", json={})).raise_for_status()


async def asked(provider: httpx2.AsyncClient) -> int:
    return int((await provider.get("/_calls")).json().get("kakao token", 0))


def copy_of(who: Browser) -> Browser:
    return Browser(who.client, cookies=dict(who.cookies))


async def test_calls_at_once_end_the_same_way_and_sign_in_once(
    browser: Callable[[], Browser], provider: httpx2.AsyncClient
) -> None:
    who = browser()
    back = await who.consent(await who.start("kakao"), name=somebody())
    before = await asked(provider)
    (await provider.post("/_control", json={"kakao": {"seconds": 0.3}})).raise_for_status()
    calls = [copy_of(who) for _ in range(5)]
    answers = await asyncio.gather(*(each.navigate(back) for each in calls))
    assert [(answer.status_code, answer.headers["location"]) for answer in answers] == [(302, HOME)] * 5
    assert len({(each.access, each.refresh_token) for each in calls}) == 1
    assert await asked(provider) == before + 1
    assert len((await calls[0].request("GET", f"{AUTH}/sessions")).json()) == 1


async def test_a_later_call_finds_the_session_as_it_is_now(browser: Callable[[], Browser]) -> None:
    who = browser()
    back = await who.consent(await who.start("kakao"), name=somebody())
    assert (await who.navigate(back)).headers["location"] == HOME
    session = claims(who.access)["sid"]
    assert (await who.refresh()).status_code == 201
    newest = who.refresh_token
    assert (await who.navigate(back)).headers["location"] == HOME
    assert who.refresh_token == newest
    assert claims(who.access)["sid"] == session
    assert (await who.logout()).status_code == 200
    assert error_of((await who.navigate(back)).headers["location"]) == "invalid_state"
    assert ACCESS_COOKIE not in who.cookies


async def test_a_call_from_elsewhere_learns_nothing_and_spoils_nothing(browser: Callable[[], Browser]) -> None:
    who, other = browser(), browser()
    await other.start("kakao")
    back = await who.consent(await who.start("kakao"), name=somebody())
    for _ in range(2):
        assert error_of((await other.navigate(back)).headers["location"]) == "invalid_state"
    assert (await who.navigate(back)).headers["location"] == HOME
    assert error_of((await other.navigate(back)).headers["location"]) == "invalid_state"
    wrong = f"{back.partition('?')[0]}?code=another&state={parse_qs(urlsplit(back).query)['state'][0]}"
    assert error_of((await who.navigate(wrong)).headers["location"]) == "invalid_state"


async def test_a_sign_in_that_failed_fails_the_same_way_again(
    browser: Callable[[], Browser], provider: httpx2.AsyncClient
) -> None:
    left = browser()
    back = await left.consent(await left.start("kakao"), cancel="1")
    refused = browser()
    turned_down = await refused.consent(await refused.start("kakao"), name=somebody())
    (await provider.post("/_control", json={"kakao": {"token": "refuse", "seconds": 0.2}})).raise_for_status()
    for who, url, error in ((left, back, "access_denied"), (refused, turned_down, "oauth_failed")):
        answers = await asyncio.gather(*(who.navigate(url) for _ in range(3)))
        assert [error_of(answer.headers["location"]) for answer in answers] == [error] * 3


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Purpose": "prefetch"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
        {"X-Moz": "prefetch"},
        {"X-Purpose": "preview"},
    ],
    ids=str,
)
async def test_a_page_fetched_ahead_does_not_use_the_code_up(
    browser: Callable[[], Browser], headers: dict[str, str]
) -> None:
    """Browsers throw away what is no success, and go there."""
    who = browser()
    back = await who.consent(await who.start("kakao"), name=somebody())
    ahead = await who.client.get(back, headers={**who.header(urlsplit(back).path), **headers})
    assert (ahead.status_code, ahead.json()["code"]) == (503, "PREFETCH_REFUSED")
    assert "set-cookie" not in ahead.headers
    assert (await who.navigate(back)).headers["location"] == HOME


LONG = "x" * 5000


@pytest.mark.parametrize(
    "query",
    [
        f"code={LONG}&state=abc",
        f"code=abc&state={LONG}",
        f"error={LONG}",
        f"error={LONG}&state=abc",
        "code=a&code=b&state=a&state=b",
        "code=%00&state=%00",
        "code=%ED%A0%BD&state=%FF%FE",
        "code[]=a&state[]=b",
    ],
    ids=lambda query: query[:30],
)
async def test_no_parameter_of_a_callback_leads_to_a_page_of_json(browser: Callable[[], Browser], query: str) -> None:
    response = await browser().navigate(f"{AUTH}/kakao/callback?{query}")
    assert (response.status_code, response.headers["location"]) == (307, f"{APP}/#/login?error=invalid_state")


@pytest.mark.parametrize("query", [f"code={LONG}", "code=%00", f"error={LONG}"], ids=lambda query: query[:10])
async def test_a_strange_code_of_a_known_state_fails_like_any_other(browser: Callable[[], Browser], query: str) -> None:
    who = browser()
    state = parse_qs(urlsplit(await who.start("kakao")).query)["state"][0]
    response = await who.navigate(f"{AUTH}/kakao/callback?state={state}&{query}")
    assert error_of(response.headers["location"]) == "oauth_failed"
