"""Servers go away while people are signed in: nobody who logged out gets in again, nobody else is signed out."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from eco2.local.stack import Stack
from tests.browser import Browser
from tests.e2e.test_faults import back, row
from tests.e2e.test_sign_in import somebody
from tests.redis_server import until

pytestmark = pytest.mark.slow


@pytest.fixture
async def browser(stack: Stack) -> AsyncIterator[Callable[[], Browser]]:
    async with httpx2.AsyncClient(base_url=stack.layout.public_url, timeout=30) as client:
        yield lambda: Browser(client)


async def signed_in(browser: Callable[[], Browser]) -> Browser:
    who = browser()
    await who.sign_in(name=somebody())
    assert (await who.ping()).status_code == 200
    return who


async def kill(stack: Stack, name: str) -> int:
    pid = row(stack, name).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def copy_of(who: Browser) -> Browser:
    return Browser(who.client, cookies=dict(who.cookies))


async def answers(who: Browser, status: int, seconds: float = 20) -> None:
    async def answered() -> bool:
        return (await who.ping()).status_code == status

    await until(answered, seconds)


async def test_ext_authz_restarts_and_still_knows_who_logged_out(stack: Stack, browser: Callable[[], Browser]) -> None:
    out, stays = await signed_in(browser), await signed_in(browser)
    copy = copy_of(out)
    await out.logout()
    await answers(copy, 403)
    old = await kill(stack, "ext-authz")
    seen: set[int] = set()
    while row(stack, "ext-authz").pid in (old, None) or not row(stack, "ext-authz").ready:
        seen.add((await copy.ping()).status_code)
        await asyncio.sleep(0.05)
    assert seen <= {403, 503}
    await back(stack, "ext-authz", old)
    assert (await copy.ping()).status_code == 403
    await answers(stays, 200)


async def test_a_logout_while_the_broker_is_away_is_in_force_within_seconds(
    stack: Stack, browser: Callable[[], Browser]
) -> None:
    out, stays = await signed_in(browser), await signed_in(browser)
    copy = copy_of(out)
    old = await kill(stack, "rabbitmq")
    assert (await out.logout()).status_code == 200
    await answers(copy, 403, 3)
    assert (await stays.ping()).status_code == 200
    await back(stack, "rabbitmq", old)
    assert (await copy.ping()).status_code == 403


async def test_redis_restarts_and_nobody_comes_back(stack: Stack, browser: Callable[[], Browser]) -> None:
    out, late, stays = [await signed_in(browser) for _ in range(3)]
    copies = [copy_of(who) for who in (out, late)]
    await out.logout()
    await answers(copies[0], 403)
    old = await kill(stack, "redis-streams")
    # Away or back already: it is over either way, and said so only when it is.
    response = await late.logout()
    assert response.status_code in (200, 503)
    assert not late.cookies.keys() & {"s_access", "s_refresh"}
    await back(stack, "redis-streams", old)
    await answers(copies[1], 403)
    assert (await copies[0].ping()).status_code == 403
    assert (await copy_of(copies[1]).refresh()).status_code == 401  # which takes the cookies of the one that asks
    await answers(stays, 200)
    restarted = await kill(stack, "ext-authz")
    await back(stack, "ext-authz", restarted)
    for copy in copies:
        assert (await copy.ping()).status_code == 403
    await answers(stays, 200)
