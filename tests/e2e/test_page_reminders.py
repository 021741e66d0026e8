"""Reminders from the page: asked for by a tap, kept, changed, off again; and what a service worker shows of a message.

Only a push service can make a subscription, so the browser's own is a stand-in here; the server's part and the
encryption are shown in tests/integration/test_reminders.py.
"""

import asyncio
import uuid
from typing import Any

import httpx2
import orjson
import pytest
from playwright.async_api import Browser, BrowserContext, Page

from eco2.contracts.identity import ACCESS_COOKIE
from eco2.core.postgres import Database
from eco2.local.stack import Stack
from eco2.recycling import reminder_store
from eco2.recycling.reminder_store import Stopped
from tests.browser import Browser as SignedIn
from tests.e2e.page import browser, chromium, database, opened
from tests.e2e.test_page import sign_in

__all__ = ["browser", "chromium", "database"]
ROUTE = "/api/v1/users/me/reminders"
SUBSCRIPTIONS = """(() => {
  let current = null;
  const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  PushManager.prototype.getSubscription = async () => current;
  PushManager.prototype.subscribe = async ({ applicationServerKey }) => {
    if (current) return current;
    const pair = await crypto.subtle.generateKey({ name: "ECDH", namedCurve: "P-256" }, true, ["deriveBits"]);
    const p256dh = await crypto.subtle.exportKey("raw", pair.publicKey);
    const auth = crypto.getRandomValues(new Uint8Array(16)).buffer;
    current = {
      endpoint: `https://fcm.googleapis.com/fcm/send/${crypto.randomUUID()}`,
      options: { applicationServerKey: bytes(applicationServerKey).buffer },
      getKey: (name) => (name === "auth" ? auth : p256dh),
      unsubscribe: async () => ((current = null), true),
    };
    return current;
  };
})();"""


IN_WORKER = f"{SUBSCRIPTIONS}; self.dispatchEvent(new ExtendableEvent('pushsubscriptionchange'))"
"""A browser fires it when its subscription is over; nothing else makes Chromium do so."""
ID_OF_KEPT = "caches.match('/reminder').then((found) => found && found.json()).then((found) => found && found.id)"


async def at_the_calendar(browser: Browser, stack: Stack, **options: Any) -> tuple[BrowserContext, Any]:
    context, seen = await opened(browser, stack, service_workers="allow", **options)
    await context.add_init_script(SUBSCRIPTIONS)
    await sign_in(context, stack.layout.public_url)
    await seen.page.goto("/#/home")
    await seen.page.get_by_role("button", name="로그아웃").wait_for()
    await seen.page.goto("/calendar")
    await seen.page.get_by_role("searchbox").fill("마포구")
    await seen.page.get_by_role("searchbox").press("Enter")
    return context, seen


async def kept(page: Page) -> list[dict[str, Any]]:
    found = await page.evaluate(f"fetch('{ROUTE}').then((answer) => answer.json())")
    return found["items"]  # type: ignore[no-any-return]


async def test_a_reminder_is_turned_on_changed_and_off(browser: Browser, stack: Stack) -> None:
    context, seen = await at_the_calendar(browser, stack, permissions=["notifications"])
    page = seen.page
    box = page.locator(".remind")
    await box.get_by_role("button", name="알림 받기").click()
    await box.get_by_text("알림이 켜져 있어요").wait_for()
    await seen.check()
    (one,) = await kept(page)
    assert one["collections"] == []
    await box.get_by_role("checkbox").first.uncheck()
    async with page.expect_response(lambda answer: answer.url.endswith(ROUTE) and answer.request.method == "PUT"):
        await box.get_by_role("button", name="바꾼 대로 받기").click()
    (changed,) = await kept(page)
    assert changed["id"] == one["id"]
    assert len(changed["collections"]) == await box.get_by_role("checkbox").count() - 1
    await box.get_by_role("button", name="알림 끄기").click()
    await box.get_by_role("button", name="알림 받기").wait_for()
    assert await kept(page) == []
    await context.close()


async def turned_on(page: Page) -> str:
    """Id of the reminder."""
    await page.locator(".remind").get_by_role("button", name="알림 받기").click()
    await page.locator(".remind").get_by_text("알림이 켜져 있어요").wait_for()
    return str((await kept(page))[0]["id"])


@pytest.mark.slow
@pytest.mark.parametrize(("why", "said"), [("delayed", "여러 날 받지 않았어요"), ("area", "구역을 다시 골라 주세요")])
async def test_who_comes_back_to_a_stopped_reminder_is_told_and_turns_it_on_again(
    browser: Browser, stack: Stack, database: Database, why: Stopped, said: str
) -> None:
    context, seen = await at_the_calendar(browser, stack, permissions=["notifications"])
    page = seen.page
    await reminder_store.stop(database, await turned_on(page), why)
    await page.get_by_role("link", name="이코에코, 처음으로").click()
    await page.get_by_text("배출 요일 알림이 멈췄어요").wait_for()
    await seen.check()
    await page.get_by_role("link", name="까닭을 보고 다시 켜기").click()
    await page.locator(".remind").get_by_role("alert").get_by_text(said).wait_for()
    await seen.check()
    await turned_on(page)
    assert [one["stopped"] for one in await kept(page)] == [None]
    await page.get_by_role("link", name="이코에코, 처음으로").click()
    async with page.expect_response(lambda answer: answer.url.endswith(ROUTE)):
        await page.reload()
    await page.get_by_role("button", name="사진 찍기").wait_for()
    assert await page.get_by_text("배출 요일 알림이 멈췄어요").count() == 0
    await context.close()


@pytest.mark.slow
async def test_who_comes_back_to_a_reminder_that_the_server_forgot_is_told(
    browser: Browser, stack: Stack, database: Database
) -> None:
    context, seen = await at_the_calendar(browser, stack, permissions=["notifications"])
    page = seen.page
    reminder = await turned_on(page)
    await database.run("DELETE FROM recycling.reminders WHERE id = %(id)s", id=reminder)
    await page.reload()
    await page.locator(".remind").get_by_role("alert").get_by_text("알림 등록이 끝나서").wait_for()
    await seen.check()
    await turned_on(page)
    assert await page.locator(".remind").get_by_role("alert").count() == 0
    await context.close()


@pytest.mark.slow
async def test_another_key_of_ours_is_taken_over_by_itself(browser: Browser, stack: Stack, database: Database) -> None:
    """As after a change of keys: the browser's subscription and its reminder have the former one."""
    context, seen = await at_the_calendar(browser, stack, permissions=["notifications"])
    page = seen.page
    before = await turned_on(page)
    await reminder_store.stop(database, before, "key")
    await page.evaluate(
        """async () => {
            const worker = await navigator.serviceWorker.ready;
            const now = await worker.pushManager.getSubscription();
            now.options.applicationServerKey = new Uint8Array(65).buffer;
        }"""
    )
    async with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        await page.get_by_role("link", name="이코에코, 처음으로").click()
        await page.get_by_role("link", name="우리 동네 배출 요일").click()
    (one,) = await kept(page)
    assert one["id"] != before
    assert one["stopped"] is None
    await page.locator(".remind").get_by_text("알림이 켜져 있어요").wait_for()
    await context.close()


@pytest.mark.slow
@pytest.mark.parametrize("session", ["fresh", "to be refreshed"])
async def test_a_subscription_that_the_browser_changes_is_registered_by_the_service_worker(
    browser: Browser, stack: Stack, session: str
) -> None:
    context, seen = await at_the_calendar(browser, stack, permissions=["notifications"])
    page = seen.page
    before = await turned_on(page)
    (one,) = await kept(page)
    if session == "to be refreshed":
        await context.clear_cookies(name=ACCESS_COOKIE)
    (worker,) = context.service_workers
    await worker.evaluate(IN_WORKER)
    await page.evaluate(
        f"""async (before) => {{
            const soon = () => new Promise((later) => setTimeout(later, 50));
            const items = () => fetch('{ROUTE}').then((answer) => answer.json()).then((all) => all.items);
            while ((await {ID_OF_KEPT}) === before || (await items()).length !== 1) await soon();
        }}""",
        before,
    )
    (changed,) = await kept(page)
    assert changed["id"] == await page.evaluate(ID_OF_KEPT) != before
    assert {**changed, "id": ""} == {**one, "id": ""}
    await context.close()


@pytest.mark.slow
async def test_who_refuses_the_permission_is_told_how_to_give_it(browser: Browser, stack: Stack) -> None:
    context, seen = await at_the_calendar(browser, stack)
    page = seen.page
    await page.evaluate("Notification.requestPermission = async () => 'denied'")
    await page.locator(".remind").get_by_role("button", name="알림 받기").click()
    await page.locator(".remind").get_by_role("alert").get_by_text("알림이 꺼져 있어요").wait_for()
    assert await kept(page) == []
    await seen.check()
    await context.close()


@pytest.mark.slow
async def test_who_is_not_signed_in_and_who_has_not_installed_it_on_ios_is_told(browser: Browser, stack: Stack) -> None:
    context, seen = await opened(browser, stack)
    page = seen.page
    await page.goto("/calendar")
    await page.get_by_role("searchbox").fill("마포구")
    await page.get_by_role("searchbox").press("Enter")
    await page.locator(".remind").get_by_role("link", name="로그인하면").wait_for()
    await context.add_init_script(
        "delete window.PushManager; Object.defineProperty(navigator, 'userAgent', {value: 'iPhone'})"
    )
    await page.reload()
    await page.locator(".remind").get_by_text("홈 화면에 추가").wait_for()
    await seen.check()
    await context.close()


@pytest.mark.slow
async def test_the_service_worker_shows_what_it_is_sent_and_the_newest_of_a_day_only(
    browser: Browser, stack: Stack
) -> None:
    context, seen = await opened(browser, stack, service_workers="allow", permissions=["notifications"])
    page = seen.page
    tools = await context.new_cdp_session(page)
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def note(event: dict[str, Any]) -> None:
        for row in event["registrations"]:
            if not found.done():
                found.set_result(row["registrationId"])

    tools.on("ServiceWorker.workerRegistrationUpdated", note)
    await tools.send("ServiceWorker.enable")
    await page.goto("/")
    await page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    worker = await found
    for title in ("내일 내놓는 날: 음식물", "내일 내놓는 날: 음식물, 비닐류"):
        data = orjson.dumps({"title": title, "body": "마포구", "tag": "collection-2026-12-03", "url": "/calendar"})
        message = {"origin": stack.layout.public_url, "registrationId": worker, "data": data.decode()}
        await tools.send("ServiceWorker.deliverPushMessage", message)
        await page.wait_for_function(
            """async (title) => (await (await navigator.serviceWorker.ready).getNotifications())
                .some((one) => one.title === title && one.body === "마포구")""",
            arg=title,
        )
    shown = "navigator.serviceWorker.ready.then((worker) => worker.getNotifications()).then((all) => all.length)"
    assert await page.evaluate(shown) == 1
    await context.close()


async def test_reminders_through_the_edge(stack: Stack) -> None:
    """Members only, known push services only, and in the export of a user's data without the keys."""
    async with httpx2.AsyncClient(base_url=stack.layout.public_url, timeout=30) as client:
        guest, person = SignedIn(client), SignedIn(client)
        await guest.become_guest()
        assert (await guest.request("GET", ROUTE)).json()["code"] == "GUEST_NOT_ALLOWED"
        assert (await client.get(ROUTE)).status_code == 401
        await person.sign_in(name=f"저녁-{uuid.uuid4().hex[:12]}")
        offered = (await person.request("GET", ROUTE)).json()
        wish = {
            "endpoint": f"https://fcm.googleapis.com/fcm/send/{uuid.uuid4().hex}",
            "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            "auth": "BTBZMqHH6r4Tts7J_aSIgg",
            "public_key": offered["public_key"],
            "district": "마포구",
            "area": (await client.get("/api/v1/recycling/regions/마포구/calendar")).json()["areas"][0]["area"],
        }
        inside = await person.request("PUT", ROUTE, json={**wish, "endpoint": "https://169.254.169.254/latest"})
        assert (inside.status_code, inside.json()["code"]) == (400, "PUSH_SERVICE_UNKNOWN")
        made = await person.request("PUT", ROUTE, json=wish)
        assert made.status_code == 200, made.text
        assert [one["id"] for one in (await person.request("GET", ROUTE)).json()["items"]] == [made.json()["id"]]
        copy = (await person.request("GET", "/api/v1/users/me/export")).text
        assert "fcm.googleapis.com" in copy
        assert wish["auth"] not in copy
        assert (await person.request("DELETE", f"{ROUTE}/{made.json()['id']}")).status_code == 204
        again = await person.request("DELETE", f"{ROUTE}/{made.json()['id']}")
        assert (again.status_code, again.json()["code"]) == (404, "REMINDER_NOT_FOUND")
