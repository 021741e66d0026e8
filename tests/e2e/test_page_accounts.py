"""The page for who has an account: a copy of one's data, leaving, each act of a steward, and all of it by keyboard."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from playwright.async_api import Browser, Locator, Page
from sqlalchemy.ext.asyncio import AsyncEngine

from eco2.auth import keys
from eco2.auth.settings import TokenSettings
from eco2.core.postgres import Database
from eco2.knowledge.stewards.answers import Changed
from eco2.local.stack import Stack
from eco2.recycling import answer_store
from tests.conftest import Person
from tests.e2e.page import PHOTO, Watched, browser, chromium, database, opened
from tests.e2e.test_page import sign_in
from tests.integration.test_feedback import said, scanned

__all__ = ["browser", "chromium", "database"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
People = Callable[[], Person]
MOST_TABS = 60


async def signed_in(browser: Browser, stack: Stack) -> Watched:
    context, seen = await opened(browser, stack)
    await sign_in(context, stack.layout.public_url)
    await seen.page.goto("/#/home")
    await seen.page.get_by_role("button", name="로그아웃").wait_for()
    return seen


@asynccontextmanager
async def steward(browser: Browser, stack: Stack, environment: dict[str, str]) -> AsyncIterator[Watched]:
    settings = TokenSettings(
        signing_keys_dir=Path(environment["ECO2_SIGNING_KEYS_DIR"]), issuer=environment["ECO2_ISSUER"]
    )
    token = keys.mint(settings, uuid.uuid4(), "local", "steward")
    context, seen = await opened(browser, stack, extra_http_headers={"Authorization": f"Bearer {token}"})
    await context.add_init_script("localStorage.setItem('eco2.role', '\"citizen\"')")
    await seen.page.goto("/steward")
    yield seen
    await seen.check()
    await context.close()


async def to(page: Page, target: Locator) -> None:
    """By the Tab key, as somebody without a pointer gets there."""
    await target.wait_for()
    for _ in range(MOST_TABS):
        if await target.evaluate("(one) => one === document.activeElement"):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{target} cannot be reached by Tab")


async def test_a_copy_of_ones_data_is_downloaded(browser: Browser, stack: Stack) -> None:
    seen = await signed_in(browser, stack)
    page = seen.page
    await page.locator(".points").wait_for()
    name = await page.locator("h1").inner_text()
    async with page.expect_download() as started:
        await page.get_by_role("button", name="내 자료 내려받기").click()
    file = await started.value
    assert file.suggested_filename == "eco2.json"
    copy = (await file.path()).read_text(encoding="utf-8")
    assert name in copy
    assert isinstance(orjson.loads(copy), dict)
    await seen.check()
    await page.context.close()


async def test_who_leaves_is_asked_once_more_and_is_gone(browser: Browser, stack: Stack) -> None:
    seen = await signed_in(browser, stack)
    page = seen.page
    await page.get_by_role("button", name="탈퇴", exact=True).click()
    await page.get_by_role("button", name="모두 지우고 탈퇴할까요?").wait_for()
    await seen.check()
    assert await page.evaluate("fetch('/api/v1/users/me').then((answer) => answer.status)") == 200, (
        "one tap is not enough"
    )
    await page.get_by_role("button", name="모두 지우고 탈퇴할까요?").click()
    await page.wait_for_url(lambda url: url.endswith(":8080/") or url.rstrip("/") == stack.layout.public_url)
    await page.goto("/me")
    await page.get_by_role("button", name="카카오로 로그인").wait_for()
    assert await page.evaluate("fetch('/api/v1/users/me').then((answer) => answer.status)") in (401, 403)
    assert await page.evaluate("Object.keys(localStorage).filter((name) => name === 'eco2.role').length") == 0
    await page.context.close()


async def test_disputed_results_are_read_of_one_thing(
    browser: Browser, stack: Stack, environment: dict[str, str], person: People, engine: AsyncEngine
) -> None:
    comment = f"안쪽이 은색이에요 {uuid.uuid4().hex[:8]}"
    for item, words in (("milk_carton", comment), ("water_pet", "다른 물건")):
        who = person()
        await said(who, await scanned(engine, who.id, item), "wrong", minor_category="건전지", comment=words)
    async with steward(browser, stack, environment) as seen:
        page = seen.page
        await page.get_by_text(comment).wait_for()
        await seen.check()
        carton = page.get_by_role("button", name="우유팩")
        async with page.expect_response("**/scan/disputes*item=milk_carton*"):
            await carton.first.click()
        await page.get_by_text(comment).wait_for()
        await page.get_by_text("다른 물건").wait_for(state="detached")
        assert await carton.first.get_attribute("aria-pressed") == "true"


async def test_a_place_is_taken_off_the_map_and_put_back_and_a_report_is_settled(
    browser: Browser, stack: Stack, environment: dict[str, str], person: People, database: Database
) -> None:
    rows = await database.rows(
        """SELECT id, name FROM location.places WHERE retired_at IS NULL
              AND NOT EXISTS (SELECT FROM location.feedback WHERE place_id = places.id) ORDER BY id DESC LIMIT 2"""
    )
    notes = {place: f"가 보니 없어요 {uuid.uuid4().hex[:8]}" for place, _ in rows}
    for place, note in notes.items():
        sent = await person().http.post(f"/api/v1/locations/{place}/feedback", json={"kind": "gone", "comment": note})
        assert sent.status_code == 201
    (gone, _), (stays, _) = rows

    async def retired(place: int) -> bool:
        return bool(
            await database.rows("SELECT FROM location.places WHERE id = %(id)s AND retired_at IS NOT NULL", id=place)
        )

    async with steward(browser, stack, environment) as seen:
        page = seen.page
        await page.get_by_role("button", name="장소 알림").click()
        card = page.locator("li.card", has_text=notes[gone])
        await card.wait_for()
        await seen.check()
        await card.get_by_role("button", name="지도에서 빼기").click()
        await card.wait_for(state="detached")
        assert await retired(gone)
        await page.get_by_role("button", name="되돌리기").click()
        await page.get_by_role("button", name="되돌리기").wait_for(state="detached")
        assert not await retired(gone)
        other = page.locator("li.card", has_text=notes[stays])
        await other.get_by_role("button", name="그대로 두기").click()
        await other.wait_for(state="detached")
        assert not await retired(stays)
        await page.reload()
        await page.get_by_role("button", name="장소 알림").click()
        await page.locator(".loading").wait_for(state="detached")
        assert await page.get_by_text(notes[stays]).count() == 0


async def test_answers_that_changed_are_read_page_by_page(
    browser: Browser, stack: Stack, environment: dict[str, str], database: Database
) -> None:
    rows = [
        Changed(f"q{n}", f"질문 {n}?", "ko", "전", "지금", ["paper"], ["vinyl"], ["stream"] * (n == 0))
        for n in range(21)
    ]
    await answer_store.publish(database, "before", "after", rows)
    try:
        async with steward(browser, stack, environment) as seen:
            page = seen.page
            await page.get_by_role("button", name="달라진 답").click()
            await page.get_by_role("heading", name="질문 0?").wait_for()
            assert "나빠진 점" in await page.locator(".card.warning").inner_text()
            await page.get_by_text("21개가 달라졌고 1개는 나빠졌어요").wait_for()
            assert await page.get_by_role("heading", name="질문 20?").count() == 0
            await seen.check()
            await page.get_by_role("button", name="더 보기").click()
            await page.get_by_role("heading", name="질문 20?").wait_for()
    finally:
        await database.run("DELETE FROM recycling.answer_changes")


async def test_a_sign_in_by_the_keyboard_alone(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    await page.goto("/")
    await to(page, page.locator(".tabs a", has_text="나").last)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/me")
    await to(page, page.get_by_role("button", name="카카오로 로그인"))
    await page.keyboard.press("Enter")
    name = page.locator("input[name=name]")
    await name.wait_for()
    await to(page, name)
    await page.keyboard.press("ControlOrMeta+a")
    await page.keyboard.type(f"글쇠-{uuid.uuid4().hex[:8]}")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/me")
    await to(page, page.get_by_role("button", name="로그아웃"))
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="카카오로 로그인").wait_for()
    await seen.check()
    await context.close()


async def test_a_chat_by_the_keyboard_alone(browser: Browser, stack: Stack) -> None:
    seen = await signed_in(browser, stack)
    page = seen.page
    await page.goto("/ask")
    attach = page.get_by_role("button", name="사진 붙이기")
    await to(page, attach)
    async with page.expect_file_chooser() as asked:
        await page.keyboard.press("Enter")
    await (await asked.value).set_files(PHOTO)
    drop = page.get_by_role("button", name="사진 빼기")
    await to(page, drop)
    await page.keyboard.press("Enter")
    await drop.wait_for(state="detached")
    await to(page, page.locator("#question"))
    await page.keyboard.type("우유팩은 어떻게 버려요?")
    await page.keyboard.press("Enter")
    answer = page.locator(".talk .eco[aria-busy=false] > p")
    await answer.first.wait_for()
    assert await page.locator("#question").evaluate("(one) => one === document.activeElement"), (
        "the next question follows"
    )
    await page.keyboard.type("유리병은요?")
    async with asyncio.timeout(60):
        await page.keyboard.press("Enter")
        await page.locator(".talk .eco[aria-busy=false]").nth(1).wait_for()
    await page.reload()
    earlier = page.locator(".rows button").first
    await to(page, earlier)
    await page.keyboard.press("Enter")
    await page.locator(".talk .me", has_text="유리병").wait_for()
    await seen.check()
    await page.context.close()
