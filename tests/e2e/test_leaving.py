"""Deleting an account ends its sessions at the edge; signing in again brings it back."""

import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import jwt
import pytest

from eco2.contracts.identity import ACCESS_COOKIE, REFRESH_COOKIE
from eco2.local.stack import Stack
from tests.browser import APP, Browser
from tests.redis_server import until

ME = "/api/v1/users/me"
HOME = f"{APP}/#/home"


@pytest.fixture
async def browser(stack: Stack) -> AsyncIterator[Callable[[], Browser]]:
    """Makes browsers that have never been here."""
    async with httpx2.AsyncClient(base_url=stack.layout.public_url, timeout=30) as client:
        yield lambda: Browser(client)


def user_of(who: Browser) -> Any:
    return jwt.decode(who.access, options={"verify_signature": False})["sub"]


async def test_who_deletes_the_account_is_locked_out_everywhere_and_can_come_back(
    browser: Callable[[], Browser],
) -> None:
    name = f"떠나는-{uuid.uuid4().hex[:12]}"
    desk, phone = browser(), browser()
    for device in (desk, phone):
        assert await device.sign_in("kakao", name=name, email="leaving@example.com") == HOME
    profile = (await desk.request("GET", ME)).json()
    assert (profile["username"], profile["provider"]) == (name, "kakao")
    old, held = user_of(desk), dict(desk.cookies)
    assert (await desk.request("DELETE", ME)).status_code == 204
    assert not desk.cookies.keys() & {ACCESS_COOKIE, REFRESH_COOKIE}
    desk.cookies = dict(held)

    async def locked_out() -> bool:
        return [(await device.ping()).status_code for device in (desk, phone)] == [403, 403]

    await until(locked_out, 1)
    back = browser()
    assert await back.sign_in("kakao", name=name, email="leaving@example.com") == HOME
    assert user_of(back) == old
    assert (await back.request("GET", ME)).json()["username"] == name
    assert await locked_out()  # coming back does not revive what was ended


async def test_an_export_names_sessions_and_sign_ins(browser: Callable[[], Browser]) -> None:
    who = browser()
    assert await who.sign_in("google", name=f"복사-{uuid.uuid4().hex[:12]}", email="copy@example.com") == HOME
    found = (await who.request("GET", f"{ME}/export")).json()
    assert found["account"]["id"] == user_of(who)
    assert [row["email"] for row in found["account"]["social_accounts"]] == ["copy@example.com"]
    assert [row["provider"] for row in found["sessions"]] == ["google"]
    assert [row["outcome"] for row in found["sign_ins"]]
