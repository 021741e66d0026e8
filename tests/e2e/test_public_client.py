"""The public client, unmodified, through its journeys."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2
import pytest

from eco2.contracts.identity import ACCESS_COOKIE
from eco2.local.stack import Stack
from tests import photos
from tests.browser import Browser
from tests.e2e.public_client import ERROR_PAGE, GENERAL_BAG, HOME, LOGIN, RESULT_PAGE, PublicClient
from tests.redis_server import until

SignedIn = Callable[[], Awaitable[PublicClient]]


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[SignedIn]:
    """Makes clients that have signed in through the emulated provider."""
    async with httpx2.AsyncClient(base_url=stack.layout.public_url, timeout=30) as http:

        async def make() -> PublicClient:
            one = PublicClient(Browser(http))
            await one.browser.sign_in("kakao", name=f"시민-{uuid.uuid4().hex[:10]}")
            return one

        yield make


async def test_after_sign_in_the_splash_screen_leads_home_and_after_logout_to_the_login(client: SignedIn) -> None:
    one = await client()
    await one.start()
    assert one.route == HOME
    await one.log_out()
    await one.start()
    assert (one.route, one.logouts) == (LOGIN, 1)
    await one.log_out()  # without a session as well


async def test_a_recyclable_is_shown_and_its_character_is_home_within_seconds(client: SignedIn) -> None:
    one = await client()
    page = await one.scan(photos.jpeg(400, 300), "종이 우유팩이에요")
    assert page.route == RESULT_PAGE
    assert GENERAL_BAG not in page.text
    assert page.bar == sorted(page.bar)
    assert page.bar[-1] == 100
    assert "이코" in await one.characters()


async def test_a_scan_that_fails_shows_its_reason_at_once(client: SignedIn) -> None:
    one = await client()
    page = await one.scan(b"\xff\xd8\xff\xe0 this is no photo", "")
    assert (page.route, bool(page.reason)) == (ERROR_PAGE, True)


async def test_a_photo_that_never_came_shows_its_reason_or_its_page(client: SignedIn) -> None:
    one = await client()
    ticket = (await one.call("POST", "/api/v1/images/scan", json={"filename": "a.jpg", "content_type": ""})).json()
    page = await one.follow(ticket["cdn_url"])
    assert page.route == ERROR_PAGE


async def test_nothing_worth_a_guess_shows_the_error_page_and_never_the_general_bag(client: SignedIn) -> None:
    one = await client()
    page = await one.scan(photos.jpeg(400, 300))
    if page.route == ERROR_PAGE:
        assert page.reason
    elif GENERAL_BAG in page.text:  # candidates: the first step has to contradict the sentence of the bag
        assert "아직 버리지 마세요" in page.text[page.text.index(GENERAL_BAG) + 1]
    else:
        assert any("재질은 분명해요" in text for text in page.text)


async def test_what_is_not_for_the_bag_says_so_in_the_first_step(client: SignedIn) -> None:
    """The client adds the sentence of the general bag to every class but one."""
    one = await client()
    page = await one.scan(photos.jpeg(420, 310), "먹다 남은 알약이에요")
    assert page.route == RESULT_PAGE
    first = page.text[page.text.index(GENERAL_BAG) + 1] if GENERAL_BAG in page.text else page.text[1]
    assert "종량제" in first or "아직" in first
    assert not page.celebrates


async def test_several_requests_with_an_expired_token_refresh_at_once_and_all_succeed(client: SignedIn) -> None:
    one = await client()
    value, path = one.browser.cookies[ACCESS_COOKIE]
    one.browser.cookies[ACCESS_COOKIE] = (value[:-4] + "AAAA", path)
    paths = ["/api/v1/users/me", "/api/v1/users/me/characters", "/api/v1/users/me/scans"] * 2
    answers = await asyncio.gather(*(one.call("GET", path) for path in paths))
    assert {answer.status_code for answer in answers} == {200}
    assert one.refreshes > 1
    assert (one.route, one.logouts) == (HOME, 0)


async def test_an_ended_session_leads_to_the_login_without_a_loop(client: SignedIn) -> None:
    one = await client()
    twin = PublicClient(Browser(one.browser.client, cookies=dict(one.browser.cookies)))
    await one.log_out()

    async def led_to_the_login() -> bool:
        await twin.start()
        return twin.route == LOGIN

    await until(led_to_the_login, 5)


async def test_another_users_scan_signs_nobody_out(client: SignedIn) -> None:
    one, other = await client(), await client()
    job = (await one.call("POST", "/api/v1/scan", json={"image_url": await one.upload(photos.jpeg())})).json()
    assert (await other.call("GET", job["result_url"])).status_code == 404
    assert (other.route, other.logouts) == (HOME, 0)


async def test_the_news_screen_scrolls_through_its_tabs_without_repeating(client: SignedIn) -> None:
    """The stack orders a round of its emulated feed when it starts for the first time."""
    one = await client()
    async with asyncio.timeout(90):
        while len(await one.news(1, source="rss", category="environment")) < 2:
            await asyncio.sleep(0.5)
    for tab in (await one.call("GET", "/api/v1/info/categories")).json()["categories"]:
        shown = await one.news(3, category=tab["id"])
        assert shown, tab
        assert len({row["id"] for row in shown}) == len(shown)
        assert all(tab["id"] in ("all", row["category"]) for row in shown)
    assert all(row["thumbnail_url"] for row in await one.news(2, has_image="true"))


async def test_the_map_shows_markers_opens_their_sheets_and_finds_them_by_name(client: SignedIn) -> None:
    one = await client()
    here = (37.5553, 126.9019)
    street, district = await one.map(*here, 3, ("keco", "zerowaste")), await one.map(*here, 8, ("keco", "zerowaste"))
    assert 0 < len(street) <= len(district)
    assert [row["distance_km"] for row in district] == sorted(row["distance_km"] for row in district)
    assert {row["source"] for row in district} == {"keco", "zerowaste"}, "both sides of the toggle have places"
    assert {row["source"] for row in await one.map(*here, 8, ("zerowaste",))} == {"zerowaste"}
    for marker in street:
        sheet = await one.place(marker["id"])
        assert (sheet["name"], sheet["latitude"], sheet["chips"]) == (
            marker["name"],
            marker["latitude"],
            marker["chips"],
        )
    found = await one.search_places(street[0]["name"])
    assert street[0]["id"] in [row["id"] for row in found]
    assert one.logouts == 0
