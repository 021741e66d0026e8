"""Limits and times of guests on the stack's servers, where a test needs other settings."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import pytest

from eco2.auth import guests, service
from eco2.auth.main import open_services
from eco2.auth.service import Caller, Services
from eco2.auth.settings import Settings
from eco2.core.redis import connect
from tests.browser import solve
from tests.conftest import FromStack


@pytest.fixture
async def at(settings: FromStack) -> AsyncIterator[Services]:
    async with open_services(settings(Settings)) as services:
        yield services


def with_settings(at: Services, **changes: Any) -> Services:
    return replace(at, settings=at.settings.model_copy(update=changes))


def somewhere() -> Caller:
    """A network that nobody has called from."""
    return Caller(f"2001:db8:{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}::1", "a test", "127.0.0.1")


async def enter(at: Services, caller: Caller, *browsers: str) -> guests.Opened:
    proof = solve(await guests.challenge(at, caller), at.settings.guest_difficulty)
    return await guests.enter(at, caller, proof, [], browsers)


async def test_one_address_makes_so_many_guests_a_minute_and_its_neighbours_as_many_as_they_like(at: Services) -> None:
    strict, here = with_settings(at, guests_per_minute_of_network=3, guest_difficulty=1), somewhere()
    for _ in range(3):
        await enter(strict, here)
    with pytest.raises(service.TooMany) as refused:
        await enter(strict, here)
    assert 0 < int((refused.value.headers or {})["Retry-After"]) <= 60
    assert await enter(strict, somewhere())


async def test_one_browser_makes_so_many_guests_a_day_wherever_it_is(at: Services) -> None:
    strict = with_settings(at, guests_per_day_of_browser=2, guest_difficulty=1)
    first = await enter(strict, somewhere())
    second = await enter(strict, somewhere(), first.browser)
    assert first.pair != second.pair
    with pytest.raises(service.TooMany) as refused:
        await enter(strict, somewhere(), second.browser)
    assert int((refused.value.headers or {})["Retry-After"]) > 3600
    assert await enter(strict, somewhere(), f"{second.browser}x"), "a cookie that was not sealed here says nothing"


async def test_without_the_counters_guests_still_come_in(at: Services) -> None:
    assert await enter(replace(at, cache=connect("redis://127.0.0.1:1/0", retries=0)), somewhere())


async def test_a_challenge_is_good_for_its_time(at: Services) -> None:
    late = with_settings(at, guest_challenge_ttl=timedelta(seconds=-10), guest_difficulty=1)
    with pytest.raises(guests.ProofExpired):
        await enter(late, somewhere())


async def test_a_session_ends_at_its_time_and_no_token_outlives_it(at: Services) -> None:
    short = with_settings(at, guest_ttl=timedelta(seconds=600))
    pair = (await enter(short, somewhere())).pair
    access, refresh = (jwt.decode(t, options={"verify_signature": False}) for t in (pair.access, pair.refresh))
    assert access["exp"] == refresh["exp"] <= access["iat"] + 600
    assert pair.access_seconds == pair.refresh_seconds <= 600
    assert await service.refresh(short, [pair.refresh])
    over = with_settings(at, guest_ttl=timedelta(0))
    with pytest.raises(service.RefreshExpired):
        await service.refresh(over, [pair.refresh])


async def test_a_challenge_says_its_own_difficulty(at: Services) -> None:
    """So that a change of the setting refuses nobody who is at work, and a client cannot choose."""
    here = somewhere()
    easy = await guests.challenge(with_settings(at, guest_difficulty=1), here)
    assert await guests.enter(at, here, solve(easy, 1), [], [])
    hard = await guests.challenge(with_settings(at, guest_difficulty=28), here)
    with pytest.raises(guests.ProofInvalid):
        await guests.enter(with_settings(at, guest_difficulty=1), here, solve(hard, 1), [], [])


async def test_what_was_sealed_for_another_purpose_is_no_challenge(at: Services) -> None:
    here = somewhere()
    cookie = (await enter(at, here)).browser
    with pytest.raises(guests.ProofInvalid):
        await guests.enter(at, here, f"{cookie}.0", [], [])
