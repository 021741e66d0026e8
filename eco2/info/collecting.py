"""One round of a source: request it, clean its answer, store new articles.

A source that is away costs its own news only.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit

from rapidfuzz import fuzz, process

from eco2.core.errors import AppError
from eco2.core.fetch import Fetcher, Limits, NotAllowed, Unreachable, Unusable
from eco2.core.postgres import Database
from eco2.info import cleaning, store
from eco2.info.categories import Categories
from eco2.info.settings import CollectorSettings
from eco2.info.sources import Away, Entry, Feed, Memory, Naver, NewsData, Source
from eco2.info.store import Article, SourceState

log = logging.getLogger(__name__)

SAME_WITHIN = timedelta(days=3)
SAME_SCORE = 90.0
"""Of 100; newspapers print the words of an agency with a word moved or dropped."""
SHORTEST_COMPARED = 10
MOST_COMPARED = 3000
PAGE = Limits(seconds=5, bytes=512 * 1024, types=("text/html", "application/xhtml+xml"))
PAGES_AT_ONCE = 4
PAUSE, LONGEST_PAUSE = timedelta(minutes=5), timedelta(hours=6)


@dataclass(frozen=True)
class Told:
    """Outcome of a round. `error`: the reason of a failure; `skipped`: the source is left alone until then."""

    source: str
    seen: int = 0
    added: int = 0
    error: str | None = None
    skipped: str | None = None


def sources(
    settings: CollectorSettings, categories: Categories, kind: Literal["naver", "newsdata", "feeds"]
) -> list[Source]:
    """Those of a kind, whose key is there."""
    if kind == "naver":
        key = (settings.naver_search_client_id, settings.naver_search_client_secret)
        return [Naver(settings.naver_search_url.rstrip("/"), *key, categories.all)]
    if kind == "newsdata":
        return [NewsData(settings.newsdata_url.rstrip("/"), settings.newsdata_api_key, categories.all)]
    return [Feed(title, url) for title, url in settings.news_feeds.items()]


def fetcher(settings: CollectorSettings) -> Fetcher:
    return Fetcher(trusted=[settings.news_emulator_url] if settings.news_emulator_url else ())


async def collect(
    db: Database, http: Fetcher, settings: CollectorSettings, categories: Categories, source: Source
) -> Told:
    """Ask one source. What it does wrong is noted and told, never raised; a database that is away is raised."""
    now = datetime.now(UTC)
    state = next((one for one in await store.states(db) if one.name == source.name), None)
    if state and state.not_before and state.not_before > now:
        return Told(source.name, skipped=state.not_before.isoformat(timespec="seconds"))
    try:
        answered = await source.fetch(http, Memory(state.etag, state.last_modified) if state else Memory())
    except (Away, Unreachable, Unusable, NotAllowed) as error:
        return await _failed(db, source.name, error, state)
    fresh = await new(db, categories, answered.entries, now, settings.news_retention)
    fresh = await with_pictures(http, fresh, settings.news_pictures)
    added = await store.add(db, [(one, cleaning.plain_title(one.title)) for one in fresh])
    await store.succeeded(db, source.name, answered.memory, added)
    return Told(source.name, len(answered.entries), added)


async def _failed(db: Database, name: str, error: AppError, state: SourceState | None) -> Told:
    pause = min(PAUSE * 2 ** min(state.failures if state else 0, 10), LONGEST_PAUSE)
    asked = getattr(error, "seconds", None)
    if asked is not None:
        pause = max(PAUSE, timedelta(seconds=asked))
    said = f"{error.code}: {error.message}"[:300]
    log.warning("a source of news failed", extra={"source": name, "reason": said, "pause": pause.total_seconds()})
    await store.failed(db, name, said, pause)
    return Told(name, error=said)


async def new(
    db: Database, categories: Categories, entries: Sequence[Entry], now: datetime, retention: timedelta
) -> list[Article]:
    """The articles of a category of ours that are not there yet, by address or by a title that is nearly the same."""
    cleaned = [one for entry in entries if (one := article(categories, entry, now))]
    found = {one.id: one for one in cleaned if not cleaning.too_old(one.published_at, now, retention)}
    there = await store.known(db, list(found))
    titles = await store.titles_since(db, now - SAME_WITHIN, MOST_COMPARED)
    fresh = []
    for one in found.values():
        if one.id not in there and not told_before(plain := cleaning.plain_title(one.title), titles):
            fresh.append(one)
            titles.append(plain)
    return fresh


def article(categories: Categories, entry: Entry, now: datetime) -> Article | None:
    """None where it has no address, no title, or is about something else."""
    url = cleaning.address(entry.url)
    title = cleaning.plain(entry.title, cleaning.LONGEST_TITLE)
    if url is None or not title:
        return None
    markup = entry.markup if isinstance(entry.markup, str) else ""
    snippet = cleaning.plain(markup, cleaning.LONGEST_SNIPPET)
    category = categories.of(title, snippet, entry.hint)
    if category is None:
        return None
    return Article(
        id=cleaning.article_id(url),
        url=url,
        title=title,
        snippet=snippet,
        source=entry.source,
        source_name=cleaning.plain(entry.source_name, 80),
        published_at=cleaning.published(entry.published, now),
        source_icon_url=cleaning.address(entry.icon, secure=True),
        thumbnail_url=cleaning.address(entry.picture, url, secure=True) or cleaning.picture_in(markup, url),
        video_url=cleaning.address(entry.video, secure=True),
        category=category,
        keywords=cleaning.keywords(entry.keywords),
        ai_tag=cleaning.plain(entry.ai_tag, 40) or None,
    )


def told_before(plain: str, titles: Sequence[str]) -> bool:
    """True when one of the titles differs by some letters at most; numbers have to agree ("3일 날씨", "4일 날씨")."""
    if len(plain) < SHORTEST_COMPARED:
        return plain in titles
    near = process.extract(plain, titles, scorer=fuzz.ratio, score_cutoff=SAME_SCORE, limit=5)
    return any(_digits(other) == _digits(plain) for other, *_ in near)


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdigit())


async def with_pictures(http: Fetcher, articles: Sequence[Article], most: int) -> list[Article]:
    """Read the pages of some articles without a picture; an unreadable page has none."""
    places = asyncio.Semaphore(PAGES_AT_ONCE)
    bare = [one.id for one in articles if one.thumbnail_url is None][:most]

    async def looked_at(one: Article) -> Article:
        if one.id not in bare:
            return one
        async with places:
            try:
                page = await http.get(one.url, PAGE)
            except (Unreachable, Unusable, NotAllowed) as error:
                log.debug("no picture", extra={"site": urlsplit(one.url).hostname, "reason": str(error)})
                return one
        return replace(one, thumbnail_url=cleaning.picture_of_page(page.body, page.url)) if page.body else one

    return list(await asyncio.gather(*map(looked_at, articles)))
