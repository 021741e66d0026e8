"""News through the gateway, as the local stack has them without any key."""

import asyncio
from collections.abc import Callable

import httpx2
import pytest

from eco2.local.stack import Stack
from tests.conftest import GATEWAY_PORT, Person

People = Callable[[], Person]
BASE = "/api/v1/info"


async def collected(http: httpx2.AsyncClient) -> dict[str, object]:
    """The first page, once the round of the feeds is done that the stack orders at its first start."""
    async with asyncio.timeout(90):
        while True:
            page: dict[str, object] = (await http.get(f"{BASE}/news", params={"limit": 50})).raise_for_status().json()
            articles = page["articles"]
            assert isinstance(articles, list)
            if any(one["source_name"] == "견본 소식" for one in articles):
                return page
            await asyncio.sleep(0.5)


async def test_a_fresh_stack_shows_a_notice_and_the_emulated_feed(person: People) -> None:
    http = person().http
    await collected(http)
    for query, sources in (({"source": "notice"}, {"notice"}), ({"source": "rss"}, {"rss"})):
        rows = (await http.get(f"{BASE}/news", params=query)).raise_for_status().json()["articles"]
        assert {one["source"] for one in rows} == sources
    feed = (await http.get(f"{BASE}/news", params={"limit": 50, "has_image": "true"})).json()
    assert all(one["thumbnail_url"].startswith("https://") for one in feed["articles"])
    assert any(one["source_name"] == "견본 소식" for one in feed["articles"])
    for name in ("environment", "energy", "ai"):
        rows = (await http.get(f"{BASE}/news", params={"category": name})).json()["articles"]
        assert rows
        assert {one["category"] for one in rows} == {name}


async def test_an_article_has_what_the_client_reads(person: People) -> None:
    page = await collected(person().http)
    assert page.keys() == {"articles", "next_cursor", "has_more", "meta"}
    meta = page["meta"]
    assert isinstance(meta, dict)
    assert 0 <= meta["cache_expires_in"] <= 60
    articles = page["articles"]
    assert isinstance(articles, list)
    for one in articles:
        assert one.keys() >= {"id", "title", "url", "snippet", "source", "source_name", "published_at"}
        assert isinstance(one["keywords"], list)
        assert "<" not in one["title"]
    times = [one["published_at"] for one in articles]
    assert times == sorted(times, reverse=True)


async def test_pages_go_on_where_the_last_one_ended(person: People) -> None:
    http = person().http
    await collected(http)
    first = (await http.get(f"{BASE}/news", params={"limit": 2})).json()
    assert first["has_more"]
    second = (await http.get(f"{BASE}/news", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    ids = [one["id"] for page in (first, second) for one in page["articles"]]
    assert len(set(ids)) == len(ids) == 4


async def test_categories_are_served_at_both_paths(person: People) -> None:
    http = person().http
    found = (await http.get(f"{BASE}/news/categories")).raise_for_status().json()
    assert [one["id"] for one in found["categories"]] == ["all", "environment", "energy", "ai"]
    assert (await http.get(f"{BASE}/categories")).json() == found
    assert (await http.get(f"{BASE}/health")).json() == {"status": "ok", "service": "info-api"}


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("category=sport", 400, "INVALID_CATEGORY"),
        ("source=daum", 400, "INVALID_SOURCE"),
        ("cursor=abc", 400, "INVALID_CURSOR_FORMAT"),
        ("cursor=99999999999999999999", 400, "INVALID_CURSOR_FORMAT"),
        ("limit=0", 422, "VALIDATION_ERROR"),
        ("limit=51", 422, "VALIDATION_ERROR"),
        ("limit=NaN", 422, "VALIDATION_ERROR"),
        ("has_image=perhaps", 422, "VALIDATION_ERROR"),
    ],
)
async def test_errors_say_what_is_wrong(person: People, query: str, status: int, code: str) -> None:
    answer = await person().http.get(f"{BASE}/news?{query}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_news_are_for_who_is_signed_in(stack: Stack) -> None:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{GATEWAY_PORT}") as anybody:
        for path in ("news", "news/categories", "categories", "health"):
            assert (await anybody.get(f"{BASE}/{path}")).status_code == 401
