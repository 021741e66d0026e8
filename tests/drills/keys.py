"""A stolen signing key is replaced while people are signed in: nobody notices but the one who has only its tokens."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import httpx2
import jwt

from tests.browser import Browser
from tests.drills.machine import Machine, machine, require, step

LEAD_SECONDS = 90
"""Until a new key signs. In a cluster it is ten minutes; the edge reads the keys each minute."""
SIGNS_SECONDS, ENDED_SECONDS = LEAD_SECONDS + 60, 300


async def rotate() -> None:
    async with machine("keys", ECO2_KEY_LEAD=str(LEAD_SECONDS)) as at:
        step("a stack, and two people who sign in")
        await at.run("eco2 up")
        async with httpx2.AsyncClient(base_url=at.layout.public_url, timeout=30) as http:
            stays, leaves = Browser(http), Browser(http)
            for name, who in (("stays", stays), ("leaves", leaves)):
                await who.sign_in(name=name)
            await _replace(at, stays, leaves)


async def _replace(at: Machine, stays: Browser, leaves: Browser) -> None:
    stolen = kid_of(leaves.access)
    step("a new key, which verifies at once and signs when every edge has read it")
    await at.eco2("auth keys add")
    await _until(lambda: _signed_by_another(stays, stolen), SIGNS_SECONDS, "the new key does not sign")
    require((await stays.ping()).status_code == 200, "a token of the new key is refused")
    require((await leaves.ping()).status_code == 200, "a token of the old key is refused before that is retired")
    listed = json.loads(await at.eco2("auth keys list --json"))
    require({row["kid"] for row in listed if row["state"] == "signs"} == {kid_of(stays.access)}, f"keys: {listed}")

    step("the stolen key is retired while its tokens still count")
    await at.eco2(f"auth keys retire {stolen} --now")
    started = time.monotonic()
    await _until(lambda: _is_out(stays, leaves), ENDED_SECONDS, "its tokens are still taken")
    step(f"its tokens ended after {time.monotonic() - started:.0f} s (line {ENDED_SECONDS})")
    require((await leaves.refresh()).status_code == 401, "its refresh token is still taken")
    require((await stays.refresh()).status_code == 201, "a session of the new key cannot go on")


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def _signed_by_another(who: Browser, stolen: str) -> bool:
    require((await who.refresh()).status_code == 201, "a session ends by the change of keys")
    require((await who.ping()).status_code == 200, "a fresh token is refused")
    return kid_of(who.access) != stolen


async def _is_out(stays: Browser, leaves: Browser) -> bool:
    require((await stays.ping()).status_code == 200, "who has a token of the new key notices")
    return (await leaves.ping()).status_code == 401


async def _until(holds: Callable[[], Awaitable[bool]], seconds: float, otherwise: str) -> None:
    until = time.monotonic() + seconds
    while not await holds():
        require(time.monotonic() < until, f"{otherwise} after {seconds:.0f} s")
        await asyncio.sleep(2)
