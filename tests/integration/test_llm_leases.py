"""Holds of the day's budget that are never settled: of a dead process, an unknown outcome, a cancelled call."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as Lost

from eco2.contracts.identity import GUEST, guest_id
from eco2.core import redis
from eco2.llm import account, budget
from eco2.llm.account import leases_key
from eco2.llm.budget import Budget, spent_key, user_key
from eco2.llm.settings import Price
from eco2.llm.wire import Call, LlmFailed
from tests.redis_server import until

pytestmark = pytest.mark.usefixtures("one_day")

OUTPUT = 4000
HELD = budget.INPUT_TOKENS_HELD + OUTPUT
CALL = Call("m", "p", "j", b"", Price(1, 1))


def a_process(cache: Redis, calls: float, *, user: float = 1, guest: float = 1) -> Budget:
    """With a day's budget of so many calls."""
    return Budget(cache, calls * HELD / 1e6, OUTPUT, user, guest)


async def counted(cache: Redis, user: str = "") -> int:
    return int(await cache.get(user_key(budget.today(), user) if user else spent_key(budget.today())) or 0)


async def told(process: Budget) -> None:
    """Wait for what is told in the background."""
    while process._telling:
        await asyncio.wait(set(process._telling))


async def paused(cache: Redis) -> bool:
    """True where the server has a command that it does not answer."""
    return any("b" in str(one["flags"]) for one in await cache.client_list())


async def run_out(cache: Redis, user: str = "") -> None:
    """End all leases of a counter: so much time passes."""
    key = leases_key(user_key(budget.today(), user) if user else spent_key(budget.today()))
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


async def test_a_lease_that_cannot_be_read_goes(cache: Redis) -> None:
    process = a_process(cache, 3)
    await cache.hset(leases_key(spent_key(budget.today())), "broken", "1 2")
    await process.settle(await process.hold(CALL), 50)
    assert not await cache.hexists(leases_key(spent_key(budget.today())), "broken")


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
    await cache.client_pause(60_000, all=False)
    holding = asyncio.create_task(process.hold(CALL))
    await until(lambda: paused(cache))  # it has been sent, and is not answered
    holding.cancel()
    await cache.client_unpause()
    with pytest.raises(asyncio.CancelledError):
        await holding
    await told(process)
    assert await counted(cache) == 0
    assert await cache.exists(leases_key(spent_key(budget.today()))) == 0


async def test_a_settlement_that_is_cancelled_is_told_to_every_counter_once(cache: Redis) -> None:
    process = a_process(cache, 20, user=0.5)
    budget.spender.set("somebody")
    held = await process.hold(CALL)
    await cache.client_pause(60_000, all=False)
    settling = asyncio.create_task(process.settle(held, 123))
    await until(lambda: paused(cache))
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    await cache.client_unpause()
    await told(process)
    assert (await counted(cache, "somebody"), await counted(cache)) == (123, 123)


async def test_a_trip_whose_answer_is_lost_counts_once(cache: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    process, lost = a_process(cache, 20), 0
    await process.settle(await process.hold(CALL), 10)
    read = redis._Connection.read_response

    async def read_but_the_first(self: redis._Connection, *given: Any, **named: Any) -> Any:
        nonlocal lost
        found = await read(self, *given, **named)
        if not lost:
            lost = 1
            await self.disconnect(nowait=True)
            raise Lost("the answer")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(redis._Connection, "read_response", read_but_the_first)
        held = await process.hold(CALL)
    assert lost
    assert await counted(cache) == HELD + 10
    await process.settle(held, 20)
    assert await counted(cache) == 30


async def test_a_day_that_ends_on_the_way_to_the_counter_mixes_no_days(
    cache: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, day = a_process(cache, 400), "2026-11-30"

    async def spent_on(one: str) -> int:
        return int(await cache.get(spent_key(one)) or 0)

    monkeypatch.setattr(budget, "today", lambda: day)
    monkeypatch.setattr(budget, "BUSY", 0)  # each hold takes some for the pocket, too
    await cache.client_pause(60_000, all=False)
    late = asyncio.create_task(process.hold(CALL))
    await until(lambda: paused(cache))
    day = "2026-12-01"
    new = asyncio.create_task(process.hold(CALL))
    await asyncio.sleep(0)
    await cache.client_unpause()
    holds = [await late, await new]
    await told(process)
    assert await spent_on("2026-11-30") == HELD
    for held in holds:
        await process.settle(held, 10)
    await process.aclose()
    assert [await spent_on(one) for one in ("2026-11-30", "2026-12-01")] == [10, 10]


async def test_a_cost_that_could_not_be_told_is_told_later(cache: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    process = a_process(cache, 10)
    held = await process.hold(CALL)
    with monkeypatch.context() as patched:
        patched.setattr(account, "TRIP_SECONDS", 0.05)
        await cache.client_pause(300, all=False)
        await process.settle(held, 123)
    await process.aclose()
    assert await counted(cache) in (123, 246), "at worst twice, never not at all"
    assert await cache.exists(leases_key(spent_key(budget.today()))) == 0


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


async def test_what_two_counters_are_told_at_once_is_one_trip(cache: Redis) -> None:
    async def trips() -> int:
        return int((await cache.info("commandstats")).get("cmdstat_evalsha", {}).get("calls", 0))

    process = a_process(cache, 20, user=0.5)
    budget.spender.set("somebody")
    held = await process.hold(CALL)
    before = await trips()
    await process.settle(held, 123)
    assert await trips() == before + 1
    assert (await counted(cache, "somebody"), await counted(cache)) == (123, 123)


async def test_leases_go_with_their_day_whoever_held_something(cache: Redis) -> None:
    await a_process(cache, 20).hold(CALL)
    await run_out(cache)
    await a_process(cache, 20).hold(CALL)  # in place of the lease that ran out
    for key in (spent_key(budget.today()), leases_key(spent_key(budget.today()))):
        assert 0 < await cache.ttl(key) <= account.TTL_SECONDS
