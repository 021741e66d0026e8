"""The money of the paid provider, counted in a real Redis: by day, user and process."""

import asyncio
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from eco2.contracts.identity import guest_id
from eco2.core import redis
from eco2.llm import account, budget
from eco2.llm.calls import Llm
from eco2.llm.settings import LlmSettings
from eco2.local.emulators.llm import Fault
from eco2.scan.vision.llm import LlmProvider, Prompts
from eco2.scan.vision.providers import ProviderFailed
from tests.integration.paid_model.conftest import (
    HELD,
    ONE_CALL,
    Make,
    ask,
    metric,
)
from tests.llm_emulator import MODEL, Emulator
from tests.redis_server import free_port


async def _spent(cache: Redis) -> int:
    return int(await cache.get(f"eco2:llm:spent:{budget.today()}") or 0)


async def _counted(cache: Redis) -> int:
    """Spending without a cap is written within a second or two."""
    async with asyncio.timeout(5):
        while not (spent := await _spent(cache)):
            await asyncio.sleep(0.05)
    return spent


async def test_spending_not_yet_counted_is_when_the_process_ends(
    prompts: Prompts, emulator: Emulator, cache: Redis
) -> None:
    free = LlmSettings(
        llm_api_key="key", llm_base_url=emulator.base_url, llm_prices=ONE_CALL, llm_daily_budget_usd=None
    )
    llm = Llm(free, cache)
    await ask(LlmProvider(llm, MODEL, prompts), "answer")
    assert await _spent(cache) == 0
    await llm.aclose()
    assert await _spent(cache) > 0


@pytest.mark.parametrize("ends", [False, True], ids=["goes on", "ends meanwhile"])
async def test_what_is_spent_while_a_count_is_under_way_is_counted_too(
    cache: Redis, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    monkeypatch.setattr(budget, "COUNT_SECONDS", 0.05)
    spending, key = budget.Budget(cache, None, 100), budget.spent_key(budget.today())
    await cache.delete(key)
    for cost in (1000, 500):
        await spending.settle(budget.Held(key, 0), cost)
        if cost == 1000:
            await cache.client_pause(400, all=False)
            await asyncio.sleep(0.2)  # the count has been sent, and is not answered
    async with asyncio.timeout(3):
        while not ends and await _spent(cache) < 1500:
            await asyncio.sleep(0.05)
    await spending.aclose()
    assert await _spent(cache) == 1500


async def test_what_was_spent_is_counted_with_and_without_a_cap(provider: Make, cache: Redis) -> None:
    labels = {"model": MODEL, "purpose": "answer", "node": ""}
    before = metric("eco2_llm_cost_usd_total", **labels)
    await ask(provider(prices=ONE_CALL, daily_budget_usd=None), "answer")
    free = await _counted(cache)
    await ask(provider(prices=ONE_CALL, daily_budget_usd=1), "answer")
    assert 0 < free < HELD
    assert await _spent(cache) == 2 * free
    assert metric("eco2_llm_cost_usd_total", **labels) == pytest.approx(before + 2 * free / 1e6)
    assert 0 < await cache.ttl(f"eco2:llm:spent:{budget.today()}") <= budget.SPEND_TTL_SECONDS


async def test_a_spent_budget_stops_calls_until_the_next_day(
    provider: Make, emulator: Emulator, cache: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = provider(prices=ONE_CALL, daily_budget_usd=(HELD + 100) / 1e6)
    await ask(paid, "answer")
    with pytest.raises(ProviderFailed, match="budget_spent"):
        await ask(paid, "answer")
    assert (await emulator.calls())["total"] == 1
    monkeypatch.setattr(budget, "today", lambda: "2031-01-01")
    await ask(paid, "answer")
    assert (await emulator.calls())["total"] == 2


async def test_one_user_cannot_spend_the_day_of_the_others(
    provider: Make, emulator: Emulator, cache: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = provider(prices=ONE_CALL, daily_budget_usd=20 * HELD / 1e6, user_share=0.1)

    async def ask_as(user: str) -> None:
        budget.spender.set(user)
        await ask(paid, "answer")

    asked = [asyncio.create_task(ask_as("greedy")) for _ in range(60)]
    done = await asyncio.gather(*asked, return_exceptions=True)
    refused = [str(result) for result in done if isinstance(result, ProviderFailed)]
    assert 0 < len(refused) < 60
    assert all("user_share_spent" in one for one in refused), set(refused)
    assert int(await cache.get(budget.user_key(budget.today(), "greedy")) or 0) <= 2 * HELD
    assert 0 < await _spent(cache) <= 2 * HELD, "what was refused is held nowhere"
    await asyncio.create_task(ask_as("another"))
    monkeypatch.setattr(budget, "today", lambda: "2031-01-01")
    await asyncio.create_task(ask_as("greedy"))


async def test_all_guests_together_spend_a_part_of_the_day_and_leave_the_rest(provider: Make, cache: Redis) -> None:
    paid = provider(prices=ONE_CALL, daily_budget_usd=20 * HELD / 1e6, user_share=1, guest_share=0.05)

    async def ask_as(user: UUID) -> None:
        budget.spender.set(str(user))
        await ask(paid, "answer")

    await asyncio.create_task(ask_as(guest_id(uuid4())))
    with pytest.raises(ProviderFailed, match="user_share_spent"):
        await asyncio.create_task(ask_as(guest_id(uuid4())))
    for _ in range(2):
        await asyncio.create_task(ask_as(uuid4()))


async def test_one_guest_cannot_spend_the_part_of_all_guests(provider: Make, cache: Redis) -> None:
    paid = provider(prices=ONE_CALL, daily_budget_usd=20 * HELD / 1e6, user_share=0.05, guest_share=0.5)
    eager, other = guest_id(uuid4()), guest_id(uuid4())

    async def ask_as(user: UUID) -> None:
        budget.spender.set(str(user))
        await ask(paid, "answer")

    await asyncio.create_task(ask_as(eager))
    with pytest.raises(ProviderFailed, match="user_share_spent"):
        await asyncio.create_task(ask_as(eager))
    await asyncio.create_task(ask_as(other))


async def test_of_a_small_budget_a_user_has_one_call_at_least(provider: Make, cache: Redis) -> None:
    paid = provider(prices=ONE_CALL, daily_budget_usd=2 * HELD / 1e6, user_share=0.01)

    async def ask_as_one() -> None:
        budget.spender.set("one")
        await ask(paid, "answer")

    await asyncio.create_task(ask_as_one())
    with pytest.raises(ProviderFailed, match="user_share_spent"):
        await asyncio.create_task(ask_as_one())


async def test_many_calls_at_once_never_pass_the_cap(provider: Make, emulator: Emulator, cache: Redis) -> None:
    await emulator.behave(answer={"median": 0.2})
    one, other = (provider(prices=ONE_CALL, daily_budget_usd=3.5 * HELD / 1e6) for _ in range(2))
    done = await asyncio.gather(*(ask(p, "answer") for p in (one, other) * 5), return_exceptions=True)
    assert sum(isinstance(result, ProviderFailed) for result in done) == 7
    assert (await emulator.calls())["peak"] == 3
    assert await _spent(cache) < 3 * HELD, "what was held and not spent is free again"


async def test_a_busy_process_keeps_a_little_of_the_budget_and_gives_back_every_cent(
    prompts: Prompts, emulator: Emulator, cache: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes, many calls at once: few trips to the counter, never past the cap, and the exact sum at the end."""
    monkeypatch.setattr(account, "TRIP_SECONDS", 60)
    await emulator.behave(answer={"median": 0.05})
    cap = 200 * HELD
    given = LlmSettings(
        llm_api_key="key",
        llm_base_url=emulator.base_url,
        llm_prices=ONE_CALL,
        llm_daily_budget_usd=cap / 1e6,
        llm_concurrency=20,
    )
    one, other = Llm(given, cache), Llm(given, cache)
    before = int((await cache.info("commandstats")).get("cmdstat_evalsha", {}).get("calls", 0))
    asked = [ask(LlmProvider(llm, MODEL, prompts), "answer") for llm in (one, other) for _ in range(100)]
    highest, running = 0, asyncio.gather(*asked)
    while not running.done():
        highest = max(highest, await _spent(cache))
        await asyncio.sleep(0.01)
    await running
    after = int((await cache.info("commandstats"))["cmdstat_evalsha"]["calls"])
    assert (after - before) / 200 < 1, "an attempt alone takes two trips"
    assert highest <= cap
    cost = await _spent(cache) - one.budget._pocket.amount - other.budget._pocket.amount
    await one.aclose()
    await other.aclose()
    assert await _spent(cache) == cost
    assert cost % 200 == 0, "all calls cost the same"
    assert 0 < cost < 200 * HELD


@pytest.mark.parametrize(("fault", "kept"), [("error", 0), ("hang", HELD), ("cut", HELD)])
async def test_what_may_have_been_billed_stays_spent(
    provider: Make, emulator: Emulator, cache: Redis, fault: Fault, kept: int
) -> None:
    await emulator.behave(answer={"next": [fault]})
    with pytest.raises(ProviderFailed):
        await ask(provider(prices=ONE_CALL, daily_budget_usd=1, max_attempts=1), "answer")
    assert await _spent(cache) == kept


async def test_a_cap_that_cannot_be_checked_stops_calls(emulator: Emulator, prompts: Prompts) -> None:
    async with redis.connect(f"redis://127.0.0.1:{free_port()}/0", retries=0) as away:
        for cap in (1.0, None):
            settings = LlmSettings(llm_api_key="k", llm_base_url=emulator.base_url, llm_daily_budget_usd=cap)
            llm = Llm(settings, away)
            paid = LlmProvider(llm, MODEL, prompts)
            if cap is None:
                await ask(paid, "answer")
            else:
                with pytest.raises(ProviderFailed, match="budget_unknown"):
                    await ask(paid, "answer")
            await llm.aclose()
    assert (await emulator.calls())["total"] == 1, "without a cap, counting is not worth a lost call"
