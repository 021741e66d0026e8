"""Weather: the client against the emulated service and the real cache, and a chat about it through the gateway."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from eco2.chat import kma
from eco2.chat.kma import ForecastUnavailable, Kma, Square
from eco2.chat.settings import KmaSettings
from eco2.core import redis
from eco2.core.breaker import LONG_PAUSE, PAUSE, Breaker
from eco2.local import config
from eco2.local.emulators import kma as emulated
from eco2.local.stack import Stack
from tests.integration.test_chat_turns import People, answer_of, begun

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
SEOUL = Square(60, 127)


@pytest.fixture
async def control(stack: Stack) -> AsyncIterator[httpx2.AsyncClient]:
    """The emulator's control, put back afterwards."""
    address = f"http://127.0.0.1:{stack.layout.port(config.KMA_EMULATOR)}"
    async with httpx2.AsyncClient(base_url=address) as client:
        (await client.post("/_control", json={})).raise_for_status()
        yield client
        (await client.post("/_control", json={})).raise_for_status()


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
async def client(control: httpx2.AsyncClient, cache: Redis, clock: Seconds) -> AsyncIterator[Callable[..., Kma]]:
    made: list[Kma] = []

    def make(**settings: Any) -> Kma:
        url = str(control.base_url).rstrip("/")
        given = {"kma_service_key": emulated.KEY, "kma_url": url, **settings}
        made.append(Kma(KmaSettings(**given), cache, Breaker(clock), lambda: NOW))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


async def behave(control: httpx2.AsyncClient, **behaviour: Any) -> None:
    (await control.post("/_control", json=behaviour)).raise_for_status()


async def asked(control: httpx2.AsyncClient) -> list[dict[str, str]]:
    return list((await control.get("/_calls")).json()["asked"])


async def test_a_square_is_asked_for_once_by_its_number_alone(
    client: Callable[..., Kma], control: httpx2.AsyncClient
) -> None:
    one = client()
    found, *others = await asyncio.gather(*(one.hours(SEOUL) for _ in range(20)))
    assert len(found) == emulated.HOURS
    assert all(other == found for other in others)
    assert await client().hours(SEOUL) == found, "another process finds it in the cache"
    (call,) = await asked(control)
    assert call == {
        "dataType": "JSON", "numOfRows": "1000", "pageNo": "1",
        "base_date": "20261130", "base_time": "1100", "nx": "60", "ny": "127",
    }  # fmt: skip


@pytest.mark.parametrize("fault", ["error", "garbage", "odd", "huge"])
async def test_a_second_attempt_is_made(client: Callable[..., Kma], control: httpx2.AsyncClient, fault: str) -> None:
    await behave(control, fault=fault, times=1)
    assert len(await client().hours(SEOUL)) == emulated.HOURS
    assert len(await asked(control)) == 2


@pytest.mark.parametrize(
    ("fault", "pause"), [("limit", 1), ("quota", PAUSE), ("refuse", LONG_PAUSE)], ids=["429", "quota", "key"]
)
async def test_a_refusal_is_respected_for_its_time(
    client: Callable[..., Kma], control: httpx2.AsyncClient, clock: Seconds, fault: str, pause: float
) -> None:
    one = client()
    await behave(control, fault=fault, times=1)
    for _ in range(3):
        with pytest.raises(ForecastUnavailable):
            await one.hours(SEOUL)
    assert len(await asked(control)) == 1
    clock.now += pause
    assert await one.hours(SEOUL)


async def test_a_service_that_hangs_costs_its_time_and_is_left_alone(
    client: Callable[..., Kma], control: httpx2.AsyncClient, clock: Seconds
) -> None:
    one = client(kma_timeout=timedelta(seconds=1))
    await behave(control, fault="hang")
    for _ in range(4):
        with pytest.raises(ForecastUnavailable):
            await one.hours(SEOUL)
    assert len(await asked(control)) == 5, "two attempts each, until the breaker opened"
    await behave(control)
    clock.now += PAUSE
    assert await client().hours(SEOUL)


async def test_the_days_calls_are_bounded_for_all_processes(
    client: Callable[..., Kma], control: httpx2.AsyncClient
) -> None:
    for x in (60, 61):
        await client(kma_daily_quota=2).hours(Square(x, 127))
    with pytest.raises(ForecastUnavailable):
        await client(kma_daily_quota=2).hours(Square(62, 127))
    assert await client(kma_daily_quota=2).hours(SEOUL), "what is known is told"
    assert len(await asked(control)) == 2


async def test_without_the_cache_it_is_asked(client: Callable[..., Kma], cache: Redis) -> None:
    one = client()
    one._cache = redis.connect("redis://127.0.0.1:1/0", retries=0)
    assert await one.hours(SEOUL)
    await one._cache.aclose()


async def test_until_the_newest_forecast_is_there_the_one_before_is_told(
    client: Callable[..., Kma], control: httpx2.AsyncClient, cache: Redis
) -> None:
    await behave(control, fault="empty", times=1)
    assert len(await client().hours(SEOUL)) == emulated.HOURS
    assert [call["base_time"] for call in await asked(control)] == ["1100", "0800"]
    assert 0 < await cache.ttl("chat:kma:2026113011:60:127") <= kma.MISSING.total_seconds()


async def test_no_forecast_yet_is_no_failure(client: Callable[..., Kma], control: httpx2.AsyncClient) -> None:
    await behave(control, fault="empty")
    assert await client().hours(SEOUL) == []


@pytest.mark.parametrize("code", ["20", "31", "32"])
async def test_a_refusal_in_xml_is_read(client: Callable[..., Kma], code: str) -> None:
    body = f"<cmmMsgHeader><returnReasonCode>{code}</returnReasonCode></cmmMsgHeader>"
    with pytest.raises(ForecastUnavailable):
        client()._read(body.encode())


async def test_a_chat_about_the_weather(person: People, control: httpx2.AsyncClient) -> None:
    who = person()
    chat = await begun(who)
    await behave(control, falls=0)
    first = await answer_of(who, chat, "내일 부산 날씨 어때?")
    assert first["intent"] == "weather"
    assert "부산 날씨: 기온" in first["answer"]
    assert "0시쯤부터 비" in first["answer"]
    assert config.EMULATED_KMA_SOURCE in first["answer"], "made-up weather is told to be so"
    assert "부산" in (await answer_of(who, chat, "모레는?"))["answer"]
    assert "제주" in (await answer_of(who, chat, "제주는 어때?"))["answer"]
    assert "도시 이름" in (await answer_of(who, await begun(who), "비 올까?"))["answer"]


async def test_weather_that_cannot_be_had_costs_its_own_part(
    person: People, control: httpx2.AsyncClient, environment: dict[str, str]
) -> None:
    async with redis.connect(environment["ECO2_REDIS_CACHE_URL"]) as shared:
        for key in await shared.keys("chat:kma:*"):
            await shared.delete(key)
    await behave(control, fault="error")
    who = person()
    found = await answer_of(who, await begun(who), "오늘 대구 날씨랑 캔 버리는 법 알려줘")
    assert {"weather", "waste"} <= set(found["persistence"]["metadata"]["intents"])
    assert "지금은 이 부분을 알아볼 수 없어요" in found["answer"]
    assert "캔" in found["answer"]


def test_hours_of_the_service_are_read_by_type() -> None:
    good = {"category": "TMP", "fcstDate": "20261201", "fcstTime": "0600", "fcstValue": "-3"}
    bad = [{**good, "fcstValue": "999"}, {**good, "fcstDate": "x"}, {**good, "category": "PTY", "fcstValue": "9"}, {}]
    (hour,) = kma._hours([*bad, good])
    assert (hour.at, hour.degrees, hour.falls) == ("2026-12-01T06:00:00+09:00", -3.0, None)
