"""Collecting news from emulated sources into PostgreSQL: what is kept, what goes wrong, what is shown meanwhile."""

import socket
import sys
import uuid
from asyncio import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx2
import pytest
from prometheus_client import REGISTRY

from eco2.core import gauges
from eco2.core.fetch import Fetcher
from eco2.core.postgres import Database
from eco2.info import collecting, service, store
from eco2.info.categories import Categories
from eco2.info.collecting import Told
from eco2.info.settings import CollectorSettings
from eco2.info.sources import Feed, Naver, NewsData, Source
from eco2.info.store import Article
from tests.conftest import FromStack
from tests.redis_server import until

Json = dict[str, Any]
CATEGORIES = Categories.load(None)


@dataclass(frozen=True)
class World:
    """The emulated sources and what collects from them."""

    url: str
    control: httpx2.AsyncClient
    db: Database
    http: Fetcher
    settings: CollectorSettings

    async def tell(self, *entries: Json, fault: str | None = None, **more: object) -> None:
        body = {"fault": fault, "entries": entries, **more}
        (await self.control.post("/_control", json=body)).raise_for_status()

    async def collect(self, source: Source) -> Told:
        return await collecting.collect(self.db, self.http, self.settings, CATEGORIES, source)

    def feed(self) -> Feed:
        return Feed(f"시험 {uuid.uuid4().hex[:8]}", f"{self.url}/feed.xml")

    def naver(self) -> Naver:
        one = CATEGORIES.all[0].model_copy(update={"queries": ("재활용",)})
        return Naver(self.url, "id", "secret", [one], name=f"naver {uuid.uuid4().hex[:8]}")

    def newsdata(self) -> NewsData:
        return NewsData(self.url, "key", CATEGORIES.all[:1], name=f"newsdata {uuid.uuid4().hex[:8]}")

    async def state(self, source: Source) -> store.SourceState:
        return next(one for one in await store.states(self.db) if one.name == source.name)

    async def found(self, mark: str) -> list[Article]:
        rows = await store.page(self.db, None, None, False, None, 500)
        return [one for one in rows if mark in one.title]


@pytest.fixture(scope="module")
async def world(database: Database, settings: FromStack) -> AsyncIterator[World]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    emulator = await subprocess.create_subprocess_exec(
        sys.executable, "-m", "eco2.local.emulators.news", "--port", str(port)
    )
    own = settings(CollectorSettings).model_copy(update={"news_emulator_url": url})
    try:
        async with httpx2.AsyncClient(base_url=url, transport=httpx2.AsyncHTTPTransport(retries=8)) as control:
            (await control.get("/ready")).raise_for_status()
            async with collecting.fetcher(own) as http:
                yield World(url, control, database, http, own)
    finally:
        emulator.terminate()
        await emulator.wait()


def told(mark: str, title: str = "재활용 소식", **more: object) -> Json:
    return {"title": f"{title} {mark}", "text": "분리배출", **more}


def an_article(title: str, at: datetime) -> Article:
    number = uuid.uuid4().hex
    return Article(number, f"https://a.example.com/{number}", title, "", "rss", "견본", at, category="energy")


def a_mark() -> str:
    """Letters only: numbers in titles tell articles apart."""
    return "".join(chr(ord("가") + byte * 40) for byte in uuid.uuid4().bytes[:10])


async def test_every_kind_of_source_is_collected_cleaned_and_kept_once(world: World) -> None:
    for source, kind in ((world.feed(), "rss"), (world.naver(), "naver"), (world.newsdata(), "newsdata")):
        mark = a_mark()
        link = f"https://news.example.com/{uuid.uuid4()}"
        row = told(
            mark, "<b>재활용</b> &quot;소식&quot;", link=f"{link}?utm_source=x", picture="https://p.example.com/1.jpg"
        )
        await world.tell(row, {"title": f"야구 {mark}", "link": f"{link}/2"})
        first = await world.collect(source)
        assert (first.added, first.error) == (1 if kind == "rss" else 2, None), kind  # what was searched for is a hint
        (one,) = (row for row in await world.found(mark) if "재활용" in row.title)
        assert (one.title, one.source, one.category) == (f'재활용 "소식" {mark}', kind, "environment")
        assert one.url == f"{link}?utm_source=x"
        if kind != "naver":
            assert one.thumbnail_url == "https://p.example.com/1.jpg"
        await world.tell(
            {**row, "link": f"https://www.news.example.com{link.removeprefix('https://news.example.com')}/"}
        )
        assert (await world.collect(source)).added == 0


async def test_the_same_words_of_another_newspaper_are_told_once(world: World) -> None:
    mark = a_mark()
    await world.tell(
        told(mark, "[단독] 폐배터리 재활용 공장, 내년 문 연다", link=f"https://a.example.com/{uuid.uuid4()}")
    )
    assert (await world.collect(world.feed())).added == 1
    await world.tell(told(mark, "폐배터리 재활용 공장 내년 문 연다", link=f"https://b.example.com/{uuid.uuid4()}"))
    assert (await world.collect(world.feed())).added == 0


async def test_pictures_are_found_on_the_pages_of_some(world: World) -> None:
    mark = a_mark()
    pages = [told(a_mark(), f"재활용 {mark}", link=f"{world.url}/articles/{uuid.uuid4()}") for _ in range(4)]
    limited = replace(world, settings=world.settings.model_copy(update={"news_pictures": 3}))
    await world.tell(*pages)
    assert (await limited.collect(world.feed())).added == 4
    pictured = [one for one in await world.found(mark) if one.thumbnail_url]
    assert len(pictured) == 3
    calls = (await world.control.get("/_calls")).json()
    assert calls["/articles/N"] == 3


async def test_what_has_not_changed_is_not_sent_again(world: World) -> None:
    feed = world.feed()
    await world.tell(told(a_mark(), link=f"https://a.example.com/{uuid.uuid4()}"))
    assert (await world.collect(feed)).seen == 1
    assert (await world.collect(feed)).seen == 0
    assert (await world.state(feed)).failures == 0


@pytest.mark.parametrize(
    ("fault", "kinds", "code"),
    [
        ("error", "feed naver newsdata", "SOURCE_UNAVAILABLE"),
        ("busy", "feed naver newsdata", "SOURCE_UNAVAILABLE"),
        ("garbage", "naver newsdata", "SOURCE_UNUSABLE"),
        ("empty", "naver newsdata", "SOURCE_UNUSABLE"),
        ("large", "naver newsdata", "SOURCE_UNUSABLE"),
        ("endless", "naver newsdata", "SOURCE_UNUSABLE"),
        ("inside", "feed naver newsdata", "URL_NOT_ALLOWED"),
        ("loop", "feed naver newsdata", "SOURCE_UNUSABLE"),
        ("laughs", "feed", "SOURCE_UNUSABLE"),
    ],
)
async def test_what_a_source_does_wrong_is_noted_and_costs_nothing_else(
    world: World, fault: str, kinds: str, code: str
) -> None:
    mark = a_mark()
    await world.tell(told(mark, link=f"https://a.example.com/{uuid.uuid4()}"))
    await world.collect(world.feed())
    await world.tell(told(a_mark()), fault=fault)
    for kind in kinds.split():
        source: Source = getattr(world, kind)()
        result = await world.collect(source)
        assert result.error is not None, kind
        assert result.error.startswith(code), (kind, result.error)
        state = await world.state(source)
        assert (state.failures, state.error) == (1, result.error)
        assert (await world.collect(source)).skipped
    assert len(await world.found(mark)) == 1


async def test_a_feed_of_garbage_is_no_feed_and_one_in_euc_kr_is(world: World) -> None:
    mark = a_mark()
    for fault in ("garbage", "large", "endless"):
        await world.tell(fault=fault)
        assert (await world.collect(world.feed())).error is not None, fault
    await world.tell(told("", f"재활용 {mark}"[:12], link=f"https://a.example.com/{uuid.uuid4()}"), fault="cp949")
    assert (await world.collect(world.feed())).added == 1


async def test_dates_in_the_future_are_those_of_today(world: World) -> None:
    mark = a_mark()
    await world.tell(told(mark, link=f"https://a.example.com/{uuid.uuid4()}"), fault="future")
    assert (await world.collect(world.feed())).added == 1
    (one,) = await world.found(mark)
    assert abs(one.published_at - datetime.now(UTC)) < timedelta(minutes=5)


async def test_a_source_is_left_alone_as_long_as_it_asks_and_longer_each_time(world: World) -> None:
    feed = world.feed()
    await world.tell(fault="busy", retry_after="3600")
    await world.collect(feed)
    state = await world.state(feed)
    assert state.not_before is not None
    assert timedelta(minutes=59) < state.not_before - state.tried_at <= timedelta(minutes=60)
    await world.tell(fault="error")
    waits = []
    for _ in range(3):
        await world.db.row("UPDATE info.sources SET not_before = NULL WHERE name = %(name)s", name=feed.name)
        await world.collect(feed)
        state = await world.state(feed)
        assert state.not_before is not None
        waits.append(round((state.not_before - state.tried_at).total_seconds() / 60))
    assert waits == [10, 20, 40]
    await world.db.row("UPDATE info.sources SET not_before = NULL WHERE name = %(name)s", name=feed.name)
    await world.tell(told(a_mark(), link=f"https://a.example.com/{uuid.uuid4()}"))
    await world.collect(feed)
    state = await world.state(feed)
    assert (state.failures, state.error, state.not_before) == (0, None, None)


async def test_old_articles_are_neither_added_nor_kept_and_notices_are(world: World) -> None:
    mark = a_mark()
    await world.tell(told(mark, link=f"https://a.example.com/{uuid.uuid4()}", hours=24 * 181))
    assert (await world.collect(world.feed())).added == 0
    await store.add(world.db, [(an_article(mark, datetime(2020, 1, 1, tzinfo=UTC)), mark)])
    now = datetime.now(UTC)
    made = service.notice(f"공지 {mark}", "", "https://a.example.com/", now - timedelta(days=400), None, now)
    await service.add_notice(world.db, made)
    await store.forget_before(world.db, timedelta(days=180))
    rows = await world.db.rows("SELECT title FROM info.articles WHERE title LIKE %(like)s", like=f"%{mark}%")
    assert [row[0] for row in rows] == [f"공지 {mark}"]


async def test_a_notice_is_seen_between_its_times_and_ends_once(world: World) -> None:
    mark, now = a_mark(), datetime.now(UTC)
    link = "https://a.example.com/"
    shown = service.notice(f"지금 {mark}", "글", link, None, now + timedelta(days=1), now)
    later = service.notice(f"나중 {mark}", "글", link, now + timedelta(days=1), None, now)
    for one in (shown, later):
        assert await service.add_notice(world.db, one)
        assert not await service.add_notice(world.db, one)
    assert [one.id for one in await world.found(mark)] == [shown.id]
    assert await service.end_notice(world.db, shown.id[:10]) == shown.id
    assert await world.found(mark) == []
    ended = next(one for one in await store.notices(world.db, 500) if one.id == shown.id)
    await service.end_notice(world.db, shown.id)
    again = next(one for one in await store.notices(world.db, 500) if one.id == shown.id)
    assert ended.ends_at == again.ends_at
    for wrong in ("", "zzz"):
        with pytest.raises(service.NoticeNotFound):
            await service.end_notice(world.db, wrong)


async def test_pages_repeat_nothing_while_news_come_in(world: World) -> None:
    """Also where many articles are of the same millisecond."""
    mark, at = a_mark(), datetime(2025, 1, 1, tzinfo=UTC)
    rows = [an_article(f"{mark} {n}", at) for n in range(25)]
    await store.add(world.db, [(row, row.title) for row in rows])
    seen: list[str] = []
    cursor = f"{round(at.timestamp() * 1000) + 1}"
    while cursor:
        page = await service.page(world.db, CATEGORIES, "energy", "rss", False, cursor, 4)
        seen += [one.id for one in page.articles if mark in one.title]
        fresh = an_article(f"{mark} new", datetime.now(UTC))
        await store.add(world.db, [(fresh, fresh.id)])
        cursor = page.next_cursor or ""
    assert sorted(seen) == sorted(row.id for row in rows)


async def test_the_age_of_a_source_grows_without_a_reader(world: World) -> None:
    source = world.feed()
    await world.tell(told(a_mark(), link=f"https://a.example.com/{uuid.uuid4()}"))
    await world.collect(source)

    def age() -> float:
        return REGISTRY.get_sample_value("eco2_info_source_age_seconds", {"source": source.name}) or 0.0

    async def told_of() -> bool:
        return age() > 0

    async with gauges.telling(partial(service.tell, world.db)):
        await until(told_of, 20)
    first = age()

    async def older() -> bool:
        return age() > first

    assert first < 60
    await until(older, 20)
