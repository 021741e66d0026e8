"""The page in bad conditions: no network, a slow one, no pointer, large type, refusals of the server."""

import json
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Route, ViewportSize

from eco2.local.stack import Stack
from tests.e2e.page import PHOTO, ROOT, browser, chromium, opened
from tests.e2e.test_page import PAGES, sign_in

__all__ = ["browser", "chromium"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
NARROW = ViewportSize(width=195, height=422)
"""A phone of 390 pixels at 200 %."""
SLOW = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 200_000}
"""1.6 Mbit/s and 150 ms."""
LARGEST_PAINT = 1500
PAINT = """() => new Promise((told) =>
    new PerformanceObserver((list) => told(list.getEntries().at(-1).startTime))
        .observe({type: "largest-contentful-paint", buffered: true}))"""


async def kept_offline(context: BrowserContext, page: Page) -> None:
    """Opens the page, and waits until the service worker has its copy of the rules."""
    await page.goto("/")
    await page.evaluate(
        """async () => {
            await navigator.serviceWorker.ready;
            while (!(await caches.match("/rules/all"))) await new Promise((later) => setTimeout(later, 200));
        }"""
    )


async def test_without_a_connection_every_rule_and_past_guides_open(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack, service_workers="allow")
    page = seen.page
    await kept_offline(context, page)
    await page.locator("input[type=file]").last.set_input_files(PHOTO)
    await page.locator(".steps input").first.wait_for(state="attached")
    guide = page.url
    await page.goto("/rules")
    await context.set_offline(True)
    await page.goto("/rules/styrofoam_box")  # never looked at
    await page.locator("article h1").wait_for()
    assert await page.locator("article .steps li").count() > 0
    await page.goto("/rules")
    await page.locator("#q").fill("피자")
    await page.locator(".rows a", has_text="피자 상자").first.wait_for()
    await page.goto(guide)
    await page.get_by_text("저장된 안내예요").wait_for()
    await page.goto("/")
    await page.locator("input[type=file]").last.set_input_files(PHOTO)
    await page.get_by_role("alert").get_by_text("인터넷에 연결되어 있지 않아요").wait_for()
    await seen.check()
    await context.set_offline(False)
    await page.get_by_role("button", name="다시 시도").click()
    await page.locator(".steps input").first.wait_for(state="attached")
    await context.close()


async def test_a_scan_goes_on_where_the_connection_comes_back(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    await page.route("**/events", lambda route: route.abort())

    async def running(route: Route) -> None:
        await route.fulfill(status=202, json={"status": "processing", "job_id": route.request.url.split("/")[-2]})

    await page.route("**/result", running)
    await page.goto("/")
    await page.locator("input[type=file]").last.set_input_files(PHOTO)
    await page.get_by_role("status").get_by_text("다시 잇고 있어요").wait_for()
    await seen.check()
    await page.unroute("**/result")
    await page.unroute("**/events")
    await page.locator(".steps input").first.wait_for(state="attached")
    await context.close()


async def test_the_largest_paint_is_soon_on_a_slow_connection(browser: Browser, stack: Stack) -> None:
    """The best of three: the machine is shared, the page is the same."""
    times = []
    for _ in range(3):
        context, seen = await opened(browser, stack)
        session = await context.new_cdp_session(seen.page)
        await session.send("Network.enable")
        await session.send("Network.emulateNetworkConditions", SLOW)
        await seen.page.goto("/", wait_until="networkidle")
        times.append(await seen.page.evaluate(PAINT))
        await context.close()
    assert min(times) <= LARGEST_PAINT, times


async def focused(page: Page, name: str, most: int = 40) -> None:
    """Presses Tab until what has the focus is called so."""
    for _ in range(most):
        await page.keyboard.press("Tab")
        told = "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent || ''"
        if name in await page.evaluate(told):
            return
    raise AssertionError(f"{name} is not reached by the keyboard")


async def test_a_guide_by_the_keyboard_alone(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    await page.goto("/")
    await focused(page, "본문으로 건너뛰기", 1)
    await focused(page, "예시 사진으로 해 보기")
    await page.keyboard.press("Enter")
    steps = page.locator(".steps input")
    await steps.first.wait_for(state="attached")
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await steps.first.evaluate("(box) => box === document.activeElement"):
            break
    await page.keyboard.press("Space")
    assert await steps.first.is_checked()
    await focused(page, "왜 이렇게 버리나요?")
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="근거").wait_for()
    await focused(page, "맞아요")
    await page.keyboard.press("Enter")
    await page.get_by_text("알려 주셔서 고마워요").wait_for()
    await context.close()


@pytest.mark.parametrize("locale", ["ko-KR", "en-US"])
async def test_nothing_is_cut_off_at_200_percent_and_nothing_moves(browser: Browser, stack: Stack, locale: str) -> None:
    context, seen = await opened(browser, stack, locale, viewport=NARROW)
    page = seen.page
    for path in PAGES:
        await page.goto(path)
        await page.locator("main h1").wait_for(state="attached")
        await page.locator(".loading").wait_for(state="detached")
        wide = await page.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth")
        assert wide <= 0, path
        assert await page.evaluate("document.getAnimations().length") == 0, path
    await context.close()


REFUSALS: dict[str, tuple[str, dict[str, Any], str]] = {
    "upload": ("**/eco2-uploads/**", {"status": 500}, "사진을 보내지 못했어요"),
    "busy": ("**/api/v1/images/scan", {"status": 503, "headers": {"retry-after": "3"}}, "지금 찾는 분이 많아요"),
    "other": ("**/api/v1/scan", {"status": 500, "json": {"detail": "안 돼요", "code": "X"}}, "잠시 문제가 생겼어요"),
}


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("dark", [False, True])
async def test_each_refusal_is_told_with_a_way_on(browser: Browser, stack: Stack, kind: str, dark: bool) -> None:
    address, answer, told = REFUSALS[kind]
    context, seen = await opened(browser, stack, color_scheme="dark" if dark else "light")
    page = seen.page
    await page.route(address, lambda route: route.fulfill(**answer))
    await page.goto("/")
    await page.locator("input[type=file]").last.set_input_files(PHOTO)
    await page.get_by_role("alert").get_by_text(told).wait_for()
    await seen.check()
    await page.unroute(address)
    await page.get_by_role("button", name="다시 시도").click()
    await page.locator(".steps input").first.wait_for(state="attached")
    await context.close()


async def test_a_session_that_ended_is_told_and_a_guest_goes_on(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    await sign_in(context, stack.layout.public_url)
    await page.goto("/#/home")
    await page.get_by_role("button", name="로그아웃").wait_for()
    await page.goto("/")
    await context.clear_cookies()
    await page.locator("input[type=file]").last.set_input_files(PHOTO)
    await page.get_by_role("alert").get_by_text("로그인이 끝났어요").wait_for()
    await seen.check()
    await page.get_by_role("button", name="로그인 없이 계속하기").click()
    await page.locator(".steps input").first.wait_for(state="attached")
    await context.close()


async def test_what_is_no_waste_is_told_with_what_helps(browser: Browser, stack: Stack) -> None:
    document = json.loads((ROOT / "docs/api/openapi.json").read_text(encoding="utf-8"))
    result = document["components"]["examples"]["ScanResult.no_waste"]["value"]
    context, seen = await opened(browser, stack)
    page = seen.page
    await page.route("**/result", lambda route: route.fulfill(json=result))
    await page.goto("/")
    await page.locator("input[type=file]").last.set_input_files(PHOTO)
    await page.get_by_role("heading", name="무엇인지 잘 모르겠어요").wait_for()
    await page.get_by_role("link", name="다시 찍기").wait_for()
    await page.get_by_role("link", name="이름으로 찾기").wait_for()
    await seen.check()
    await context.close()
