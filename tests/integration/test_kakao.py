"""Kakao Local: the client against the emulated service and the real cache, and searches through the gateway."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from eco2 import knowledge
from eco2.contracts.identity import GUEST, GUEST_VERSION
from eco2.core import redis
from eco2.core.breaker import Breaker
from eco2.core.postgres import Database
from eco2.core.turns import PerMinute, Turns
from eco2.knowledge import holidays
from eco2.local.emulators import kakao as emulated
from eco2.local.stack import Stack
from eco2.location import kakao as client_of_kakao
from eco2.location import search as searching
from eco2.location import worker
from eco2.location.importing.addresses import Regions
from eco2.location.kakao import (
    SIZE,
    Kakao,
    KakaoLate,
    KakaoPlace,
    KakaoShareUsed,
    KakaoUnavailable,
    Query,
)
from eco2.location.opening import Clock
from eco2.location.service import Services
from eco2.location.settings import KakaoSettings
from eco2.location.store import kakao_calls
from eco2.location.worker import Background
from eco2.messaging.broker import Publisher
from tests.conftest import Person

API = "/api/v1/locations"


@pytest.fixture
async def cache(environment: dict[str, str]) -> AsyncIterator[Redis]:
    async with redis.connect(environment["ECO2_REDIS_CACHE_URL"], decode_responses=False) as cache:
        yield cache


@pytest.fixture
async def control(stack: Stack) -> AsyncIterator[httpx2.AsyncClient]:
    """The emulator's control, put back afterwards."""
    async with httpx2.AsyncClient(base_url=emulated.base_url(stack.layout)) as client:
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
async def client(stack: Stack, cache: Redis, clock: Seconds) -> AsyncIterator[Callable[..., Kakao]]:
    made: list[Kakao] = []

    def make(**settings: Any) -> Kakao:
        given = {"kakao_rest_api_key": emulated.KEY, "kakao_local_url": emulated.base_url(stack.layout), **settings}
        made.append(Kakao(KakaoSettings(**given), cache, Breaker(clock)))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


def question(**other: Any) -> Query:
    """One that nobody asked before."""
    return Query(f"리필 {uuid.uuid4().hex[:10]}", **other)


async def calls(control: httpx2.AsyncClient) -> int:
    return int((await control.get("/_calls")).json()["calls"])


async def set_fault(control: httpx2.AsyncClient, fault: str | None, **other: Any) -> None:
    (await control.post("/_control", json={"fault": fault, **other})).raise_for_status()


async def test_places_have_negative_ids_and_are_asked_for_once(
    client: Callable[..., Kakao], control: httpx2.AsyncClient
) -> None:
    kakao, asked = client(), question(lat=37.55, lon=126.9, radius=99_999)
    found, *others = await asyncio.gather(*(kakao.search(asked) for _ in range(20)))
    assert len(found) == 3
    assert all(one.id < 0 for one in found)
    assert all(other == found for other in others)
    assert found[0].place_url is not None
    assert found[0].place_url.startswith("https://place.map.kakao.com/")
    assert await client().search(asked) == found, "another process finds it in the cache"
    assert await calls(control) == 1
    assert await kakao.place(found[0].id) == found[0]
    assert await kakao.place(-1) is None


def test_a_question_is_clamped_to_what_kakao_takes() -> None:
    asked = Query("가" * 300, 37.55, 126.9, 99_999).parameters()
    assert (asked["radius"], len(asked["query"]), asked["size"]) == ("20000", 100, str(SIZE))
    assert "radius" not in Query("가", radius=100.0).parameters()
    assert Query("가", 37.55001, 126.9).digest() == Query("가", 37.55004, 126.9).digest()
    assert Query("가").digest() != Query("나").digest()


@pytest.mark.parametrize("fault", ["error", "garbage", "huge", "endless", "redirect"])
async def test_a_fault_that_passes_is_met_by_a_second_attempt(
    client: Callable[..., Kakao], control: httpx2.AsyncClient, fault: str
) -> None:
    await set_fault(control, fault, times=1)
    assert len(await client(kakao_local_timeout=timedelta(seconds=10)).search(question())) == 3
    assert await calls(control) == 2


@pytest.mark.parametrize("fault", ["error", "garbage", "limit", "refuse", "huge", "redirect"])
async def test_a_fault_that_stays_is_unavailable(
    client: Callable[..., Kakao], control: httpx2.AsyncClient, fault: str
) -> None:
    await set_fault(control, fault)
    with pytest.raises(KakaoUnavailable):
        await client(kakao_local_timeout=timedelta(seconds=10)).search(question())


async def test_odd_documents_are_left_out(client: Callable[..., Kakao], control: httpx2.AsyncClient) -> None:
    await set_fault(control, "odd")
    assert await client().search(question()) == []


async def test_an_answer_that_does_not_come_is_late(client: Callable[..., Kakao], control: httpx2.AsyncClient) -> None:
    await set_fault(control, "hang")
    with pytest.raises(KakaoLate):
        await client(kakao_local_timeout=timedelta(seconds=0.2)).search(question())
    assert await calls(control) == 1, "what is slow is not asked twice"


async def test_the_breaker_opens_and_closes(
    client: Callable[..., Kakao], control: httpx2.AsyncClient, clock: Seconds
) -> None:
    kakao = client()
    await set_fault(control, "error")
    for _ in range(4):
        with pytest.raises(KakaoUnavailable):
            await kakao.search(question())
    before = await calls(control)
    assert before < 8
    with pytest.raises(KakaoUnavailable):
        await kakao.search(question())
    assert await calls(control) == before
    await set_fault(control, None)
    clock.now += 31
    assert await kakao.search(question())


async def test_after_429_nothing_is_asked_for_as_long_as_it_says(
    client: Callable[..., Kakao], control: httpx2.AsyncClient, clock: Seconds
) -> None:
    kakao = client()
    await set_fault(control, "limit", times=1)
    for _ in range(2):
        with pytest.raises(KakaoUnavailable):
            await kakao.search(question())
    assert await calls(control) == 1
    clock.now += 1.1
    assert await kakao.search(question())


async def test_the_quota_of_a_day_is_that_of_all_processes(
    client: Callable[..., Kakao], control: httpx2.AsyncClient
) -> None:
    with pytest.raises(KakaoUnavailable):
        await client(kakao_daily_quota=0).search(question())
    assert await calls(control) == 0


async def test_no_user_uses_up_the_day_of_all(client: Callable[..., Kakao], control: httpx2.AsyncClient) -> None:
    eager, other = uuid.uuid4(), uuid.uuid4()
    kakao, asked = client(kakao_daily_quota_of_user=2), question()
    await kakao.search(asked, eager)
    await kakao.search(question(), eager)
    for process in (kakao, client(kakao_daily_quota_of_user=2)):
        with pytest.raises(KakaoShareUsed):
            await process.search(question(), eager)
    assert await calls(control) == 2
    assert await kakao.search(asked, eager), "an answer that is kept costs nothing"
    assert await kakao.search(question(), other)


async def test_guests_together_leave_most_of_the_day_to_users(client: Callable[..., Kakao], cache: Redis) -> None:
    await cache.delete(kakao_calls(client_of_kakao._today(), GUEST))  # of guests of other tests
    kakao, user = client(kakao_daily_quota_of_guests=2), uuid.uuid4()
    guests = [uuid.UUID(f"{str(one)[:14]}{GUEST_VERSION}{str(one)[15:]}") for one in (uuid.uuid4() for _ in range(3))]
    for guest in guests[:2]:
        await kakao.search(question(), guest)
    with pytest.raises(KakaoShareUsed):
        await kakao.search(question(), guests[2])
    assert await kakao.search(question(), user)


class Refusing(Kakao):
    """A client whose user has had enough."""

    def __init__(self) -> None:
        pass

    @property
    def is_configured(self) -> bool:
        return True

    async def search(self, query: Query, user: uuid.UUID | None = None) -> list[KakaoPlace]:
        raise KakaoShareUsed


async def test_who_used_up_the_share_hears_it_only_where_there_is_nothing_else(
    database: Database, cache: Redis, environment: dict[str, str]
) -> None:
    publisher = Publisher(environment["ECO2_TASKS_BROKER_URL"])
    services = Services(
        db=database,
        kakao=Refusing(),
        background=Background(cache, publisher),
        knowledge=knowledge.load(),
        clock=Clock(holidays.load()),
        regions=Regions.load(),
        searches=PerMinute(10),
        reports=Turns(1),
        feedback_per_day=1,
    )
    user, now = uuid.uuid4(), datetime.now(UTC)
    assert await searching.search(services, user, "주민센터", None, None, 5000, now)
    with pytest.raises(searching.TooManySearches) as refused:
        await searching.search(services, user, uuid.uuid4().hex, None, None, 5000, now)
    assert refused.value.headers
    assert 0 < int(refused.value.headers["Retry-After"]) <= 24 * 3600
    assert await searching.suggest(services, user, uuid.uuid4().hex) == []


async def test_without_a_key_nothing_is_asked(client: Callable[..., Kakao], control: httpx2.AsyncClient) -> None:
    with pytest.raises(KakaoUnavailable):
        await client(kakao_rest_api_key=None).search(question())
    assert await calls(control) == 0


async def test_a_late_answer_is_fetched_in_the_background(
    client: Callable[..., Kakao], control: httpx2.AsyncClient, cache: Redis, environment: dict[str, str]
) -> None:
    """Work of api-worker on `map.search`; the message itself waits in q.api, which has no consumer here."""
    publisher = Publisher(environment["ECO2_TASKS_BROKER_URL"])
    asked, kakao = question(), client()
    try:
        await Background(cache, publisher).search(asked)
        assert await cache.exists(f"location:map:{asked.digest()}")
        await worker.perform(cache, kakao, asked.digest())
        await worker.perform(cache, kakao, asked.digest())
        assert await calls(control) == 1
        assert len(await kakao.search(asked)) == 3
        assert await calls(control) == 1
    finally:
        await publisher.close()


async def test_search_fills_in_from_kakao_and_falls_back_to_our_own(
    person: Callable[[], Person], control: httpx2.AsyncClient
) -> None:
    who, word = person(), f"쀍{uuid.uuid4().hex[:6]}"

    async def search(q: str, **query: Any) -> httpx2.Response:
        return await who.http.get(f"{API}/search", params={"q": q, **query})

    found = (await search(word)).json()
    assert len(found) == 3
    assert {one["source"] for one in found} == {"kakao"}
    assert all(one["id"] < 0 and one["pickup_categories"] == [] for one in found)
    detail = await who.http.get(f"{API}/centers/{found[0]['id']}")
    assert (detail.status_code, detail.json()["name"]) == (200, found[0]["name"])
    mixed = (await search("망원 주민센터")).json()
    assert mixed[0]["source"] == "keco"
    assert mixed[-1]["source"] == "kakao"


async def test_503_only_where_nothing_else_can_answer(
    person: Callable[[], Person], control: httpx2.AsyncClient
) -> None:
    """Last: the breaker of location-api stays open for a second."""
    who = person()
    await set_fault(control, "limit")
    nothing = await who.http.get(f"{API}/search", params={"q": f"쀍{uuid.uuid4().hex[:6]}"})
    assert (nothing.status_code, nothing.json()["code"]) == (503, "KAKAO_API_UNAVAILABLE")
    assert "retry-after" in nothing.headers
    own = await who.http.get(f"{API}/search", params={"q": "망원 주민센터 폐건전지"})
    assert own.status_code == 200
    assert own.json()[0]["source"] == "keco"
    suggested = await who.http.get(f"{API}/suggest", params={"q": f"쀍{uuid.uuid4().hex[:6]}"})
    assert (suggested.status_code, suggested.json()) == (200, [])
