"""Journeys of the page beyond the first photo: chats, the map's filters, choices, a guide that is passed on."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Browser, Geolocation, Page, Route

from eco2.local.stack import Stack
from tests import photos
from tests.e2e.page import PHOTO, Watched, browser, chromium, opened
from tests.e2e.test_page import HERE, sign_in

__all__ = ["browser", "chromium"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
HEARD = """(() => {
  window.heard = [];
  const add = EventSource.prototype.addEventListener;
  EventSource.prototype.addEventListener = function (name, told) {
    return add.call(this, name, (event) => { window.heard.push(name); told(event); });
  };
})();"""
"""Notes the events of streams, in their order."""
NOWHERE = Geolocation(latitude=37.0, longitude=131.5)
"""In the sea."""


async def scanned(page: Page, photo: Path = PHOTO) -> None:
    await page.goto("/")
    await page.locator("input[type=file]").last.set_input_files(photo)
    await page.wait_for_url("**/guide/*", wait_until="commit")


async def test_a_sign_in_that_is_left_is_told(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    await page.goto("/me")
    await page.get_by_role("button", name="카카오로 로그인").click()
    await page.get_by_role("button", name="취소").click()
    await page.get_by_role("alert").get_by_text("로그인하지 못했어요").wait_for()
    await seen.check()
    await context.close()


async def in_chat(browser: Browser, stack: Stack) -> Watched:
    context, seen = await opened(browser, stack)
    await context.add_init_script(HEARD)
    await sign_in(context, stack.layout.public_url)
    await seen.page.goto("/#/home")
    await seen.page.get_by_role("button", name="로그아웃").wait_for()
    await seen.page.goto("/ask")
    await seen.page.locator(".composer button.secondary").wait_for()
    return seen


async def test_a_chat_is_streamed_kept_and_opened_again(browser: Browser, stack: Stack) -> None:
    seen = await in_chat(browser, stack)
    page = seen.page
    await page.locator("#question").fill("기름 묻은 피자 상자는 어떻게 버려요?")
    await page.keyboard.press("Enter")
    answer = page.locator(".talk .eco[aria-busy=false] > p")
    await answer.first.wait_for()
    heard = await page.evaluate("window.heard")
    assert "token" in heard[: heard.index("done")]
    said = await answer.first.inner_text()
    await page.reload()
    await page.locator(".rows button", has_text="피자").click()
    await page.locator(".talk .eco > p", has_text=said).wait_for()
    await seen.check()
    await page.context.close()


async def test_a_photo_is_asked_about_in_a_chat(browser: Browser, stack: Stack) -> None:
    seen = await in_chat(browser, stack)
    page = seen.page
    await page.locator("input[type=file]").set_input_files(PHOTO)
    await page.locator(".attached img").wait_for()
    await page.get_by_role("button", name="보내기").click()
    await page.locator(".talk .me img").wait_for()
    answer = page.locator(".talk .eco[aria-busy=false]")
    await answer.wait_for()
    assert "도자기" in await answer.inner_text()
    await seen.check()
    await page.context.close()


async def test_an_answer_is_stopped(browser: Browser, stack: Stack) -> None:
    """Its events are held, so it is still open in the page; the stream then tells how it ended."""
    seen = await in_chat(browser, stack)
    page = seen.page
    held: asyncio.Future[Route] = asyncio.get_running_loop().create_future()

    def hold(route: Route) -> None:
        held.set_result(route)

    await page.route("**/api/v1/chat/*/events", hold, times=1)
    await page.locator("#question").fill("우유팩은 어떻게 버려요?")
    await page.keyboard.press("Enter")
    async with page.expect_response("**/cancel") as stopped:
        await page.locator(".talk").get_by_role("button", name="답 멈추기").click()
    assert (await stopped.value).status < 500
    await (await held).continue_()
    await page.locator(".talk .eco[aria-busy=false]").wait_for()
    await page.locator("#question").fill("유리병은요?")
    await page.keyboard.press("Enter")
    await page.locator(".talk .eco[aria-busy=false] > p").last.wait_for()
    await seen.check()
    await page.context.close()


async def test_places_are_filtered_by_what_they_take_and_by_who_is_open(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack, geolocation=HERE, permissions=["geolocation"])
    page = seen.page
    await page.goto("/map")
    await page.get_by_role("button", name="내 위치에서 찾기").click()
    await page.locator(".place").first.wait_for()
    async with page.expect_response("**/locations/nearest*"):
        await page.get_by_label("무엇을 받는 곳").select_option("battery_bin")
    await page.get_by_role("status").get_by_text("곳").first.wait_for()
    async with page.expect_response("**/locations/nearest*open_now=true*"):
        await page.get_by_label("지금 연 곳만").check()
    await seen.check()
    await page.get_by_label("지금 연 곳만").uncheck()
    await page.locator(".place").first.wait_for()
    way = page.locator(".place").first.get_by_role("link", name="길찾기")
    address = await way.get_attribute("href")
    assert address is not None
    assert address.startswith("https://map.kakao.com/link/to/")
    await seen.check()
    await context.close()


async def test_where_there_is_no_place_it_says_so(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack, geolocation=NOWHERE, permissions=["geolocation"])
    page = seen.page
    await page.goto("/map")
    await page.get_by_label("무엇을 받는 곳").select_option(index=1)
    await page.get_by_role("button", name="내 위치에서 찾기").click()
    await page.locator(".empty").wait_for()
    await seen.check()
    await context.close()


@pytest.mark.parametrize("chosen", [True, False])
async def test_an_unsure_scan_asks_and_takes_none_of_these(
    browser: Browser, stack: Stack, tmp_path: Path, chosen: bool
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(photos.jpeg(320, 240))
    context, seen = await opened(browser, stack)
    page = seen.page
    await scanned(page, photo)
    choice = page.locator(".choice")
    await choice.wait_for()
    await seen.check()
    if chosen:
        await choice.get_by_role("button").first.click()
        await choice.wait_for(state="detached")
        await page.locator(".steps input").first.wait_for(state="attached")
    else:
        await choice.get_by_role("button", name="이 중에 없어요").click()
        await page.get_by_role("heading", name="무엇인지 잘 모르겠어요").wait_for()
    await seen.check()
    await context.close()


async def test_a_guide_is_shared_read_aloud_and_printed(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack, permissions=["clipboard-read", "clipboard-write"])
    page = seen.page
    await context.add_init_script(
        "speechSynthesis.speak = (said) => (window.spoken = said.text); window.print = () => (window.printed = true)"
    )
    await scanned(page)
    await page.locator(".steps input").first.wait_for(state="attached")
    step = await page.locator(".steps label").first.inner_text()
    await page.get_by_role("button", name="듣기").click()
    assert step in await page.evaluate("window.spoken")
    await page.get_by_role("button", name="멈춤").click()
    await page.evaluate("delete Navigator.prototype.share")
    await page.get_by_role("button", name="공유").click()
    await page.get_by_role("button", name="복사했어요").wait_for()
    assert step in await page.evaluate("navigator.clipboard.readText()")
    await page.get_by_role("button", name="인쇄").click()
    assert await page.evaluate("window.printed")
    await page.emulate_media(media="print")
    assert await page.locator(".steps label").first.is_visible()
    assert not await page.locator(".acts").is_visible()
    await context.close()


async def test_words_are_searched_and_a_rule_is_opened_by_the_keyboard_alone(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    await page.goto("/rules")
    await page.locator("#q").focus()
    await page.keyboard.type("우유팩")
    first = page.locator(".rows a").first
    await first.wait_for()
    for _ in range(10):
        await page.keyboard.press("Tab")
        if await first.evaluate("(link) => link === document.activeElement"):
            break
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/rules/milk_carton")
    await page.locator("article h1").wait_for()
    await context.close()
