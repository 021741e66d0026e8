"""The page in a real browser against the real stack: each page once, and a photo that becomes a guide as a guest.

Whatever the Content-Security-Policy stops, a script that fails and what axe finds fail the test.
"""

import asyncio
import os
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path, PurePath
from urllib.parse import urlsplit

import httpx2
import orjson
import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Request,
    Route,
    ViewportSize,
    async_playwright,
)

from eco2.contracts.identity import ACCESS_COOKIE, REFRESH_COOKIE
from eco2.local.stack import Stack
from tests.browser import Browser as SignedIn

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "data/demo/coffee.jpg"
STATIC = ROOT / "eco2/web/static"
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
MOST_SCRIPT = 70_000
"""Bytes of JavaScript, compressed, that the first page may load."""
PHONE = ViewportSize(width=390, height=844)
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
]


def missing(why: str) -> None:
    """In CI nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def chromium() -> str:
    if not (STATIC / "manifest.json").exists() or not AXE.exists():
        missing("the page is not built: run `make web` (it needs Node and the npm registry)")
    found = subprocess.run([ROOT / "scripts/chromium"], capture_output=True, text=True, timeout=300)
    if found.returncode:
        missing(found.stderr.strip())
    return found.stdout.strip()


@pytest.fixture(scope="module")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        await launched.close()


class Watched:
    """A page and everything that went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", self._console)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.wrong.append(message.text)

    async def check(self) -> None:
        """Nothing went wrong, and axe finds nothing."""
        await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = await self.page.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then((all) => all.violations)"
        )
        broken = [f"{row['id']}: {[node['html'][:120] for node in row['nodes']]}" for row in found]
        assert broken == [], self.page.url
        assert self.wrong == [], self.page.url


async def opened(browser: Browser, stack: Stack, locale: str = "ko-KR") -> tuple[BrowserContext, Watched]:
    context = await browser.new_context(
        base_url=stack.layout.public_url,
        viewport=PHONE,
        locale=locale,
        reduced_motion="reduce",
        service_workers="block",
    )
    context.set_default_timeout(30_000)
    return context, Watched(await context.new_page())


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


async def test_a_device_is_forgotten_with_its_session_and_not_before(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    url = stack.layout.public_url
    async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
        person = SignedIn(client)
        await person.sign_in(name=f"새벽-{uuid.uuid4().hex[:12]}")
    await page.goto("/#/home")  # anybody can write this address
    await page.get_by_role("button", name="카카오로 로그인").wait_for()
    at = str(urlsplit(url).hostname)
    for name, (value, path) in person.cookies.items():
        await context.add_cookies([{"name": name, "value": value, "domain": at, "path": path}])
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
    await page.get_by_role("link", name="이 서비스는").click()
    await page.get_by_role("heading", name="이 서비스는").wait_for()
    await page.route(gone, lambda route: route.fulfill(status=404))
    await page.goto("/about")
    await page.get_by_role("alert").get_by_text("잠시 문제가 생겼어요").wait_for()
    await context.close()


def test_the_first_page_is_small() -> None:
    manifest = STATIC / "manifest.json"
    if not manifest.exists():
        missing("the page is not built: run `make web`")
    rows = orjson.loads(manifest.read_bytes())["files"]
    scripts = [row["encodings"]["br"] for path, row in rows.items() if path.endswith(".js")]
    assert sum((STATIC / name).stat().st_size for name in scripts) <= MOST_SCRIPT
