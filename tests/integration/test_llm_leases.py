"""Holds of the day's budget that are never settled: of a dead process, an unknown outcome, a cancelled call."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from eco2.contracts.identity import GUEST, guest_id
from eco2.core import redis
from eco2.llm import account, budget
from eco2.llm.account import leases_key
from eco2.llm.budget import Budget, spent_key, today, user_key
from eco2.llm.settings import Price
from eco2.llm.wire import Call, LlmFailed
from tests.redis_server import private_redis

OUTPUT = 4000
HELD = budget.INPUT_TOKENS_HELD + OUTPUT
CALL = Call("m", "p", "j", b"", Price(1, 1))


@pytest.fixture(scope="module")
async def redis_url() -> AsyncIterator[str]:
    async with private_redis() as url:
        yield url


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[Redis]:
    async with redis.connect(redis_url) as client:
        await client.flushall()
        yield client


def a_process(cache: Redis, calls: float, *, user: float = 1, guest: float = 1) -> Budget:
    """With a day's budget of so many calls."""
    return Budget(cache, calls * HELD / 1e6, OUTPUT, user, guest)


async def counted(cache: Redis, user: str = "") -> int:
    return int(await cache.get(user_key(today(), user) if user else spent_key(today())) or 0)


async def told(process: Budget) -> None:
    """Wait for what is told in the background."""
    while process._telling:
        await asyncio.wait(set(process._telling))


async def run_out(cache: Redis, user: str = "") -> None:
    """End all leases of a counter: so much time passes."""
    key = leases_key(user_key(today(), user) if user else spent_key(today()))
    for owner, lease in (await cache.hgetall(key)).items():
        await cache.hset(key, str(owner), f"{str(lease).rpartition(' ')[0]} 1")


@pytest.mark.parametrize("ends", ["dies", "loses"])
async def test_a_hold_of_unknown_outcome_comes_back_but_for_what_such_calls_cost(cache: Redis, ends: str) -> None:
    one, other = a_process(cache, 1.5), a_process(cache, 1.5)
    held = await one.hold(CALL)
    if ends == "loses":
        one.lose(held)
        await told(one)
    with pytest.raises(LlmFailed, match="budget_spent"):
        await other.hold(CALL)
    assert await counted(cache) == HELD
    await run_out(cache)
    await other.hold(CALL)
    assert await counted(cache) == HELD + HELD * 0.25


async def test_a_process_whose_lease_ran_out_settles_exactly(cache: Redis) -> None:
    one, other = a_process(cache, 3), a_process(cache, 3)
    late = await one.hold(CALL)
    await run_out(cache)
    await other.settle(await other.hold(CALL), 50)
    before = await counted(cache)
    await one.settle(late, 100)
    assert await counted(cache) == before + 100


async def test_calls_that_time_out_end_the_model_for_guests_for_minutes_not_for_the_day(cache: Redis) -> None:
    process = a_process(cache, 20, guest=0.2)

    async def a_guest_loses_one() -> None:
        budget.spender.set(str(guest_id(uuid4())))
        process.lose(await process.hold(CALL))
        await told(process)

    for _ in range(4):
        await asyncio.create_task(a_guest_loses_one())
    with pytest.raises(LlmFailed, match="user_share_spent"):
        await asyncio.create_task(a_guest_loses_one())
    await run_out(cache, GUEST)
    await asyncio.create_task(a_guest_loses_one())
    assert await counted(cache, GUEST) == HELD + 4 * HELD * 0.25


async def test_a_cancellation_between_two_counters_holds_nothing(cache: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    process, reached = a_process(cache, 20, user=0.5), asyncio.Event()

    async def never(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(process, "_take", never)
        budget.spender.set("somebody")
        holding = asyncio.create_task(process.hold(CALL))
        await reached.wait()
        assert await counted(cache, "somebody") == HELD
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding
    await told(process)
    assert (await counted(cache, "somebody"), await counted(cache)) == (0, 0)


async def test_a_cancellation_while_the_counter_answers_holds_nothing(cache: Redis) -> None:
    process = a_process(cache, 20)
    await cache.client_pause(300, all=False)
    holding = asyncio.create_task(process.hold(CALL))
    await asyncio.sleep(0.1)  # it has been sent, and is not answered
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    await told(process)
    assert await counted(cache) == 0
    assert await cache.exists(leases_key(spent_key(today()))) == 0


async def test_a_cost_that_could_not_be_told_is_told_later(cache: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    process = a_process(cache, 10)
    held = await process.hold(CALL)
    with monkeypatch.context() as patched:
        patched.setattr(account, "TRIP_SECONDS", 0.05)
        await cache.client_pause(300, all=False)
        await process.settle(held, 123)
    await process.aclose()
    assert await counted(cache) in (123, 246), "at worst twice, never not at all"
    assert await cache.exists(leases_key(spent_key(today()))) == 0


async def test_a_short_reply_holds_less(cache: Redis) -> None:
    process = a_process(cache, 10)
    await process.hold(Call("m", "p", "j", b"", Price(1, 1), most_tokens=500))
    assert await counted(cache) == budget.INPUT_TOKENS_HELD + 500


async def test_accounts_of_users_are_forgotten_when_their_calls_are_over(cache: Redis) -> None:
    process = a_process(cache, 100, user=0.5)

    async def asks(user: str) -> None:
        budget.spender.set(user)
        await process.settle(await process.hold(CALL), 10)

    for number in range(5):
        await asyncio.create_task(asks(f"user-{number}"))
    assert [one for one in process._ledger._accounts if "user-" in one] == []
