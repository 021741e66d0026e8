"""The page in a real browser against the real stack: each page once, and a photo that becomes a guide as a guest.

Whatever the Content-Security-Policy stops, a script that fails and what axe finds fail the test.
"""

import asyncio
import uuid
from contextlib import suppress
from pathlib import Path, PurePath
from urllib.parse import urlsplit

import httpx2
import orjson
import pytest
from playwright.async_api import Browser, BrowserContext, Error, Geolocation, Request, Route

from eco2.contracts.identity import ACCESS_COOKIE, REFRESH_COOKIE
from eco2.local.stack import Stack
from tests.browser import Browser as SignedIn
from tests.e2e.page import PHOTO, STATIC, browser, chromium, missing, opened

__all__ = ["browser", "chromium"]
MOST_SCRIPT, MOST_MAP = 70_000, 50_000
"""Bytes of JavaScript, compressed, of all pages, and of the map, which is loaded when it is opened."""
MAP = "/assets/map-view-"
HERE = Geolocation(latitude=37.5563, longitude=126.9010)
"""Near places of the sample."""
PAGES = [
    "/",
    "/rules",
    "/en/rules",
    "/rules/milk_carton",
    "/ask",
    "/map",
    "/calendar",
    "/me",
    "/about",
    "/about/sources",
    "/news",
    "/steward",
]


async def test_a_photo_becomes_a_guide_without_an_account(browser: Browser, stack: Stack) -> None:
    """One tap, and the file that was chosen; then the guide is ticked off, judged, and opens again after a reload."""
    context, seen = await opened(browser, stack)
    page = seen.page
    await page.goto("/")
    await seen.check()
    await page.locator("input[type=file]").last.set_input_files(PHOTO)
    await page.wait_for_url("**/guide/*", wait_until="commit")
    steps = page.locator(".steps input")
    await steps.first.wait_for(state="attached")
    assert await page.locator("h1").inner_text() == "도자기·사기그릇"
    assert "불연성 전용마대" in await page.locator(".stream").inner_text()
    await page.get_by_text("이 물건의 전체 규칙").wait_for()
    await seen.check()
    for number in range(await steps.count()):
        await page.locator(".steps label").nth(number).click()
    await page.get_by_text("다 했어요").wait_for()
    await page.get_by_role("button", name="맞아요").click()
    await page.get_by_text("알려 주셔서 고마워요").wait_for()
    await page.reload()
    await steps.first.wait_for(state="attached")
    assert await steps.first.is_checked()
    await page.goto("/")
    await page.get_by_role("link", name="도자기·사기그릇").wait_for()
    await seen.check()
    await context.close()


@pytest.mark.parametrize(("locale", "dark"), [("ko-KR", False), ("en-US", True)])
async def test_every_page_opens_without_a_fault(browser: Browser, stack: Stack, locale: str, dark: bool) -> None:
    context, seen = await opened(browser, stack, locale)
    await seen.page.emulate_media(color_scheme="dark" if dark else "light")
    for path in PAGES:
        await seen.page.goto(path)
        await seen.page.locator("main h1").wait_for(state="attached")
        await seen.page.locator(".loading").wait_for(state="detached")
        await seen.check()
    await context.close()


async def test_something_that_is_no_photo_is_said_so(browser: Browser, stack: Stack, tmp_path: Path) -> None:
    text = tmp_path / "photo.jpg"
    text.write_text("no photo")
    context, seen = await opened(browser, stack)
    await seen.page.goto("/")
    await seen.page.locator("input[type=file]").last.set_input_files(text)
    assert "사진으로 읽을 수 없어요" in await seen.page.get_by_role("alert").inner_text()
    await seen.check()
    await context.close()


async def test_a_full_queue_is_waited_for_with_the_photo_in_hand(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    body = orjson.dumps({"detail": "busy", "code": "BUSY"}).decode()
    headers = {"retry-after": "2", "content-type": "application/json"}
    await page.route("**/api/v1/scan", lambda route: route.fulfill(status=429, headers=headers, body=body))
    await page.goto("/")
    await page.locator("input[type=file]").last.set_input_files(PHOTO)
    await page.get_by_role("alert").get_by_text("지금 찾는 분이 많아요").wait_for()
    await seen.check()
    await page.unroute("**/api/v1/scan")
    await page.get_by_role("button", name="다시 시도").click()
    await page.wait_for_url("**/guide/*", wait_until="commit")
    await context.close()


async def test_a_photo_that_is_stopped_is_not_scanned(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    uploaded: list[str] = []
    scanned: list[str] = []
    stopped = asyncio.Event()

    def note(sent: Request) -> None:
        if sent.method == "PUT":
            uploaded.append(PurePath(urlsplit(sent.url).path).name)
        elif sent.url.endswith("/api/v1/scan"):
            scanned.append(PurePath((sent.post_data_json or {})["image_url"]).name)

    page.on("request", note)

    async def hold(route: Route) -> None:
        await stopped.wait()
        with suppress(Error):  # the page has given it up
            await route.fulfill(status=200)

    await page.route("**/eco2-uploads/**", hold, times=1)
    await page.goto("/")
    async with page.expect_request("**/eco2-uploads/**"):
        await page.locator("input[type=file]").last.set_input_files(PHOTO)
    await page.get_by_role("button", name="그만두기").click()
    stopped.set()
    await page.locator("input[type=file]").last.set_input_files(PHOTO)
    await page.wait_for_url("**/guide/*", wait_until="commit")
    assert len(uploaded) == 2
    assert scanned == uploaded[1:]
    await context.close()


async def sign_in(context: BrowserContext, url: str) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
        person = SignedIn(client)
        await person.sign_in(name=f"새벽-{uuid.uuid4().hex[:12]}")
    at = str(urlsplit(url).hostname)
    for name, (value, path) in person.cookies.items():
        await context.add_cookies([{"name": name, "value": value, "domain": at, "path": path}])


async def test_an_item_tells_its_next_collection_day_and_where_it_is_taken(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack, geolocation=HERE)
    page = seen.page
    await page.goto("/rules/milk_carton")
    await page.get_by_label("어느 동네에 사세요?").fill("없는동네")
    await page.keyboard.press("Enter")
    await page.locator(".where [role=alert]").wait_for()
    await seen.check()
    await page.get_by_label("어느 동네에 사세요?").fill("마포구")
    await page.keyboard.press("Enter")
    await page.locator(".where .day").first.wait_for()
    await seen.check()
    await page.goto("/rules/alkaline")
    await page.get_by_role("button", name="내 위치에서 찾기").wait_for()
    await context.grant_permissions(["geolocation"])
    await page.reload()  # who allowed it is not asked again
    await page.locator(".where .place").first.wait_for()
    await seen.check()
    await context.close()


async def test_places_are_on_the_map_and_in_the_list(browser: Browser, stack: Stack) -> None:
    """Counted from afar, then around the person; one that is chosen on the map, by the keyboard, leads the list."""
    context, seen = await opened(browser, stack, geolocation=HERE, permissions=["geolocation"])
    page = seen.page
    asked: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url))
    await page.goto("/map")
    await page.locator(".cluster").first.wait_for()
    await seen.check()
    await page.get_by_role("button", name="내 위치에서 찾기").click()
    pins = page.locator(".pin")
    await pins.first.wait_for()
    ground = await page.locator(".leaflet-ground").bounding_box()
    nearest = await page.locator('.pin:has(span:text-is("1"))').bounding_box()
    assert ground is not None
    assert nearest is not None
    assert ground["x"] <= nearest["x"] <= ground["x"] + ground["width"] - nearest["width"]
    assert ground["y"] <= nearest["y"] <= ground["y"] + ground["height"] - nearest["height"]
    name = await pins.last.get_attribute("title")
    await pins.last.focus()
    await page.keyboard.press("Enter")
    chosen = page.locator(".place.chosen h2 span").last
    await chosen.wait_for()
    assert await chosen.inner_text() == name
    own = (stack.layout.public_url, "blob:", "data:")
    assert [url for url in asked if not url.startswith(own)] == []
    await context.close()


async def test_without_the_map_and_a_location_there_is_the_list(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    await page.route(f"**{MAP}*.js", lambda route: route.abort())
    await page.goto("/map")
    await page.get_by_text("지도를 불러오지 못했어요").wait_for()
    await page.get_by_role("searchbox").fill("망원")
    await page.keyboard.press("Enter")
    await page.locator(".place h2", has_text="망원").first.wait_for()
    await page.get_by_role("button", name="내 위치에서 찾기").click()
    await page.get_by_role("alert").get_by_text("위치를 쓸 수 없어요").wait_for()
    assert await page.locator(".place").first.get_by_role("link", name="길찾기").is_visible()
    await seen.check()
    await context.close()


async def test_who_signs_in_keeps_what_they_scanned_as_a_guest(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    await page.goto("/")
    await page.locator("input[type=file]").last.set_input_files(PHOTO)
    await page.locator(".steps input").first.wait_for(state="attached")
    await page.goto("/me")
    await page.get_by_role("button", name="카카오로 로그인").click()
    await page.get_by_label("다른 이름").fill(f"새벽-{uuid.uuid4().hex[:12]}")
    await page.get_by_role("button", name="이 이름으로 로그인").click()
    await page.get_by_role("button", name="로그아웃").wait_for()
    mine = page.locator(".rows a", has_text="도자기·사기그릇")
    async with asyncio.timeout(60):  # what a guest left is handed over service by service
        while not await mine.count():
            async with page.expect_response("**/api/v1/users/me/scans*"):
                await page.reload()
            await page.locator(".points").wait_for()
    await mine.first.click()
    await page.locator(".steps input").first.wait_for(state="attached")
    await seen.check()
    await context.close()


async def test_a_citizen_is_told_that_the_page_of_stewards_is_not_for_them(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    await sign_in(context, stack.layout.public_url)
    await page.goto("/#/home")
    await page.get_by_role("button", name="로그아웃").wait_for()
    assert await page.get_by_role("link", name="돌보기").count() == 0
    await page.goto("/steward")
    await page.get_by_role("alert").first.get_by_text("돌보미만").wait_for()
    await page.goto("/me")
    await page.get_by_role("button", name="로그아웃").wait_for()
    await context.close()


async def test_a_device_is_forgotten_with_its_session_and_not_before(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    url = stack.layout.public_url
    await page.goto("/#/home")  # anybody can write this address
    await page.get_by_role("button", name="카카오로 로그인").wait_for()
    await sign_in(context, url)
    await page.goto("/#/home")
    await page.get_by_role("button", name="로그아웃").wait_for()
    body = orjson.dumps({"detail": "not now", "code": "REVOCATION_UNAVAILABLE"}).decode()
    await page.route("**/auth/logout", lambda route: route.fulfill(status=503, body=body))
    await page.get_by_role("button", name="로그아웃").click()
    await page.get_by_role("alert").get_by_text("로그아웃하지 못했어요").wait_for()
    await page.get_by_role("button", name="내 자료 내려받기").wait_for()
    await page.unroute("**/auth/logout")
    await page.get_by_role("button", name="이 기기에서 지우기").click()
    await page.get_by_role("button", name="정말 지울까요?").click()
    await page.wait_for_url(f"{url}/")
    assert not {ACCESS_COOKIE, REFRESH_COOKIE} & {cookie["name"] for cookie in await context.cookies()}
    assert await page.evaluate("localStorage.getItem('eco2.role')") is None
    await context.close()


async def test_collection_days_go_into_a_calendar(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    await page.goto("/calendar")
    await page.get_by_role("searchbox").fill("마포구")
    await page.get_by_role("searchbox").press("Enter")
    await page.get_by_text("수거하지 않는 날: 토요일").first.wait_for()
    async with page.expect_download() as started:
        await page.get_by_role("link", name="내 달력에 추가").click()
    assert (await started.value).suggested_filename.endswith(".ics")
    assert page.url.endswith("/calendar")
    await seen.check()
    await context.close()


async def test_an_address_asks_nothing_by_itself(browser: Browser, stack: Stack) -> None:
    """Other sites can link to it; a link within the page asks at once."""
    context, seen = await opened(browser, stack)
    page = seen.page
    asked: list[str] = []
    page.on("request", lambda sent: asked.append(sent.url) if sent.url.endswith("/recycling/ask") else None)
    await page.goto("/ask?q=qqqqzzzz", wait_until="networkidle")
    assert await page.locator("#question").input_value() == "qqqqzzzz"
    assert asked == []
    await page.goto("/rules?q=qqqqzzzz")
    await page.locator(".empty a").click()
    await page.locator(".talk .eco > p").first.wait_for()
    assert len(asked) == 1
    await context.close()


async def test_a_guide_that_cannot_be_is_said_so(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    await seen.page.goto("/guide/abc")
    await seen.page.get_by_role("heading", name="이 안내는 찾을 수 없어요").wait_for()
    await seen.check()
    await context.close()


async def test_a_tab_from_before_a_release_loads_the_page_anew(browser: Browser, stack: Stack) -> None:
    """Once; where that does not help, it says so."""
    context, seen = await opened(browser, stack)
    page = seen.page
    gone = "**/assets/about-*.js"
    await page.route(gone, lambda route: route.fulfill(status=404), times=1)
    await page.goto("/")
    await page.get_by_role("link", name="서비스 안내").click()
    await page.get_by_role("heading", name="서비스 안내").wait_for()
    await page.route(gone, lambda route: route.fulfill(status=404))
    await page.goto("/about")
    await page.get_by_role("alert").get_by_text("잠시 문제가 생겼어요").wait_for()
    await context.close()


def test_the_first_page_is_small() -> None:
    manifest = STATIC / "manifest.json"
    if not manifest.exists():
        missing("the page is not built: run `make web`")
    rows = orjson.loads(manifest.read_bytes())["files"]
    sizes = {
        path: (STATIC / row["encodings"]["br"]).stat().st_size for path, row in rows.items() if path.endswith(".js")
    }
    of_map = [size for path, size in sizes.items() if path.startswith(MAP)]
    assert sum(of_map) <= MOST_MAP
    assert of_map
    assert sum(sizes.values()) - sum(of_map) <= MOST_SCRIPT
    worker = (STATIC / "sw.js").read_text(encoding="utf-8")
    assert MAP not in worker
