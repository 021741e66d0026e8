"""Streamed replies, tools, the breaker, and what operators change: real client, emulator, Redis and PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis

from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings
from eco2.llm import budget, calls, control
from eco2.llm.calls import Llm
from eco2.llm.control import Controls
from eco2.llm.settings import DEFAULT_PRICES, LlmSettings, Price
from eco2.llm.streaming import Reply, Tool
from eco2.llm.wire import LlmFailed
from eco2.local.emulators.llm import REPLY
from tests.integration.paid_model.conftest import HELD, ONE_CALL
from tests.llm_emulator import MODEL, Emulator
from tests.redis_server import free_port, until

pytestmark = pytest.mark.usefixtures("one_day")

MESSAGES = [{"role": "user", "content": "안녕"}]
WORDS = "하나 둘 셋 넷 다섯 여섯 일곱 여덟 아홉 열"


class Place(BaseModel):
    model_config = ConfigDict(extra="forbid")

    place: str


WEATHER = Tool("weather", "Weather at a place.", Place)


Make = Callable[..., Llm]


@pytest.fixture
async def make(emulator: Emulator, cache: Redis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    monkeypatch.setattr(calls, "BACKOFF_SECONDS", 0.05)
    made: list[Llm] = []

    def llm(controls: Controls | None = None, **changes: Any) -> Llm:
        quick = {"api_key": "k", "base_url": emulator.base_url, "timeout": timedelta(seconds=0.5)}
        given: dict[str, Any] = {f"llm_{name}": value for name, value in {**quick, **changes}.items()}
        settings = LlmSettings(**given)
        made.append(Llm(settings, cache, controls))
        return made[-1]

    yield llm
    for one in made:
        await one.aclose()


async def reply(llm: Llm, pieces: list[str] | None = None, **more: Any) -> Reply:
    async def on_text(text: str) -> None:
        if pieces is not None:
            pieces.append(text)

    return await llm.reply(MODEL, more.pop("messages", MESSAGES), on_text, job="job-1", purpose="chat", **more)


async def made(emulator: Emulator) -> int:
    return int((await emulator.calls())["total"])


# --- text -------------------------------------------------------------------------------------------------------------


async def test_pieces_come_as_they_are_written_and_add_up(make: Make, emulator: Emulator) -> None:
    await emulator.behave(chat={"says": WORDS, "pause": 0.05})
    seen: list[tuple[float, str]] = []

    async def on_text(text: str) -> None:
        seen.append((time.monotonic(), text))

    whole = await make().reply(MODEL, MESSAGES, on_text, job="job-1", purpose="chat")
    assert (whole.text, whole.cut, whole.calls) == (WORDS, False, ())
    assert "".join(text for _, text in seen) == WORDS
    assert len(seen) > 2
    assert seen[-1][0] - seen[0][0] >= 0.05, "the first piece did not wait for the last"
    assert await emulator.of("job-1") == {"chat": {"calls": 1, "answers": 1}}


@pytest.mark.parametrize("fault", ["rate_limit", "error", "hang"])
async def test_what_fails_before_the_first_piece_is_tried_again(make: Make, emulator: Emulator, fault: str) -> None:
    await emulator.behave(chat={"next": [fault], "retry_after": 0.1})
    assert (await reply(make())).text == REPLY
    assert await made(emulator) == 2


@pytest.mark.parametrize(("fault", "reason"), [("cut", "invalid"), ("garbage", "invalid"), ("stall", "timeout")])
async def test_what_was_said_is_not_said_again(make: Make, emulator: Emulator, fault: str, reason: str) -> None:
    await emulator.behave(chat={"says": WORDS, "next": [fault]})
    pieces: list[str] = []
    with pytest.raises(LlmFailed) as failed:
        await reply(make(), pieces)
    assert failed.value.reason == reason
    assert pieces
    assert WORDS.startswith("".join(pieces))
    assert await made(emulator) == 1


async def test_a_reply_that_is_cancelled_ends_the_call(make: Make, emulator: Emulator) -> None:
    await emulator.behave(chat={"says": WORDS * 50, "pause": 0.05})
    pieces: list[str] = []
    running = asyncio.create_task(reply(make(), pieces))

    async def begun() -> bool:
        return bool(pieces)

    async def closed() -> bool:
        return bool((await emulator.calls())["open"] == 0)

    await until(begun)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(closed)


async def test_a_slow_reply_may_take_longer_than_an_attempt(make: Make, emulator: Emulator) -> None:
    await emulator.behave(chat={"says": WORDS * 3, "pause": 0.15})
    began = time.monotonic()
    await reply(make())
    assert time.monotonic() - began > 0.5


async def test_a_reply_has_its_own_deadline(make: Make, emulator: Emulator) -> None:
    await emulator.behave(chat={"says": WORDS * 100, "pause": 0.1})
    with pytest.raises(LlmFailed, match="timeout"):
        await reply(make(reply_deadline=timedelta(seconds=0.6)))


async def test_a_reply_is_paid_for_by_its_usage_and_one_that_was_cut_in_full(
    make: Make, emulator: Emulator, cache: Redis
) -> None:
    key = budget.spent_key(budget.today())
    llm = make(prices=ONE_CALL, daily_budget_usd=1, max_attempts=1)
    await reply(llm)
    paid = int(await cache.get(key) or 0)
    assert 0 < paid < 200
    await emulator.behave(chat={"next": ["cut"]})
    with pytest.raises(LlmFailed):
        await reply(llm)
    assert int(await cache.get(key) or 0) == paid + HELD


# --- tools ------------------------------------------------------------------------------------------------------------


async def test_a_tool_is_called_and_its_result_answered(make: Make, emulator: Emulator) -> None:
    await emulator.behave(chat={"calls": [{"name": "weather", "arguments": {"place": "부산"}}] * 2})
    llm, pieces = make(), list[str]()
    asked = await reply(llm, pieces, tools=[WEATHER])
    assert [call.arguments for call in asked.calls] == [Place(place="부산")] * 2
    assert (asked.text, pieces) == ("", [])
    messages = [*MESSAGES, asked.message(), *(call.result("맑음") for call in asked.calls)]
    assert (await reply(llm, pieces, messages=messages, tools=[WEATHER])).text == REPLY
    assert "".join(pieces) == REPLY


@pytest.mark.parametrize(
    "use",
    [
        {"name": "weather", "arguments": '{"place": '},
        {"name": "weather", "arguments": {"town": "부산"}},
        {"name": "no_such_tool"},
    ],
)
async def test_a_call_that_is_none_is_asked_for_again_and_fails(
    make: Make, emulator: Emulator, use: dict[str, Any]
) -> None:
    await emulator.behave(chat={"calls": [use]})
    with pytest.raises(LlmFailed, match="invalid"):
        await reply(make(max_attempts=2), tools=[WEATHER])
    assert await made(emulator) == 2


# --- the breaker ------------------------------------------------------------------------------------------------------


async def test_a_provider_that_fails_is_left_alone_and_tried_by_one_call(make: Make, emulator: Emulator) -> None:
    await emulator.behave(chat={"rates": {"error": 1}})
    llm = make(breaker_failures=3, breaker_pause=timedelta(seconds=1), max_attempts=4)
    with pytest.raises(LlmFailed, match="unavailable"):
        await reply(llm)
    assert (await made(emulator), llm.resting()) == (3, True)
    with pytest.raises(LlmFailed, match="unavailable"):
        await reply(llm)
    assert await made(emulator) == 3, "nobody waits for it"
    await emulator.behave(chat={})
    await asyncio.sleep(1.1)  # the pause, which is what is tested
    assert (await reply(llm)).text == REPLY
    assert not llm.resting()


# --- what operators change --------------------------------------------------------------------------------------------


@pytest.fixture
async def db(environment: dict[str, str]) -> AsyncIterator[Database]:
    async with open_database(DatabaseSettings(database_url=environment["ECO2_DATABASE_URL"]), repeat=True) as found:
        yield found
        await found.rows("DELETE FROM llm.stops")
        await found.rows("DELETE FROM llm.prices")


async def test_a_stop_holds_in_running_processes_until_a_start(
    make: Make, emulator: Emulator, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "FRESH_SECONDS", 0)
    llm = make(Controls(db))
    await reply(llm)
    await control.stop(db, "the bill")
    await control.stop(db, "another reason")
    with pytest.raises(LlmFailed, match="switched_off: the bill"):
        await reply(llm)
    assert REGISTRY.get_sample_value("eco2_llm_stopped") == 1
    assert await control.start(db)
    assert not await control.start(db)
    await reply(llm)
    assert await made(emulator) == 2


async def test_a_stop_still_holds_while_the_database_is_away(
    make: Make, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "FRESH_SECONDS", 0)
    away = DatabaseSettings(database_url=f"postgresql://u:p@127.0.0.1:{free_port()}/none")
    async with open_database(away, repeat=False) as nothing:
        controls = Controls(nothing)
        await reply(make(controls))
        controls.newest = control.Control("the bill", {})
        with pytest.raises(LlmFailed, match="the bill"):
            await reply(make(controls))


async def test_a_price_changes_what_the_next_call_costs(
    make: Make, cache: Redis, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "FRESH_SECONDS", 0)
    llm = make(Controls(db), daily_budget_usd=100)
    await control.set_price(db, MODEL, Price(5, 5))
    await control.set_price(db, MODEL, Price(1000, 1000))
    await reply(llm)
    assert llm.price(MODEL) == Price(1000, 1000)
    assert int(await cache.get(budget.spent_key(budget.today())) or 0) > 10_000
    assert await control.drop_price(db, MODEL)
    await reply(llm)
    assert llm.price(MODEL) == DEFAULT_PRICES[MODEL]
