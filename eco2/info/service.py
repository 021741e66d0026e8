"""News and notices: reading them page by page, collecting them from the sources, notices of operators."""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

from prometheus_client import Gauge

from eco2.core.errors import AWAY, BadRequest, NotFound
from eco2.core.postgres import Database
from eco2.core.rendered import Rendered
from eco2.info import cleaning, store
from eco2.info.categories import Categories
from eco2.info.sources import KINDS, NOTICE
from eco2.info.store import Article

log = logging.getLogger(__name__)

ALL = "all"
COUNTED_FOR = 60.0
"""Seconds that the number of articles is shown before they are counted again."""
NOTICE_NAME = "Eco²"

AGE = Gauge("eco2_info_source_age_seconds", "Seconds since a source of news answered well", ["source"])
FAILURES = Gauge("eco2_info_source_failures", "Rounds in a row in which a source of news failed", ["source"])


class InvalidCategory(BadRequest):
    """There is no such category; GET /api/v1/info/news/categories lists them."""

    code = "INVALID_CATEGORY"


class InvalidSource(BadRequest):
    """There is no such source; there are all, naver, newsdata, rss and notice."""

    code = "INVALID_SOURCE"


class InvalidCursor(BadRequest):
    """The cursor is not from a page of this list; leave it out to start again."""

    code = "INVALID_CURSOR_FORMAT"


class NoticeNotFound(NotFound):
    """No notice begins with this id, or several do; `eco2 notice list` shows them."""

    code = "NOTICE_NOT_FOUND"


class BadNotice(BadRequest):
    """A notice has a title, an address (https://…) and an end after its beginning."""

    code = "BAD_NOTICE"


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    articles: Sequence[Article]
    next_cursor: str | None


async def page(
    db: Database, categories: Categories, category: str, source: str, has_image: bool, cursor: str | None, limit: int
) -> Page:
    """The newest first. InvalidCategory, InvalidSource, InvalidCursor."""
    if category != ALL and category not in {one.id for one in categories.all}:
        raise InvalidCategory
    if source not in (ALL, *KINDS):
        raise InvalidSource
    after = read_cursor(cursor) if cursor else None
    wanted = (None if category == ALL else category, None if source == ALL else source)
    rows = await store.page(db, *wanted, has_image, after, limit + 1)
    shown = rows[:limit]
    return Page(shown, cursor_of(shown[-1]) if len(rows) > limit else None)


def cursor_of(article: Article) -> str:
    """`<epoch ms>_<id>`: articles are dated to the millisecond."""
    return f"{round(article.published_at.timestamp() * 1000)}_{article.id}"


_CURSOR = re.compile(r"([0-9]{1,14})(?:_([0-9a-zA-Z-]{1,64}))?")


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """(time, id) of the last article of the page before; without an id everything of that millisecond is behind."""
    found = _CURSOR.fullmatch(cursor)
    if not found:
        raise InvalidCursor
    milliseconds = int(found[1])
    try:
        at = datetime.fromtimestamp(milliseconds // 1000, UTC) + timedelta(milliseconds=milliseconds % 1000)
    except (ValueError, OverflowError, OSError):
        raise InvalidCursor from None
    return at, found[2] or ""


class Counts:
    """The number of articles, counted once a minute: counting all of them takes longer than reading a page."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._counts: Mapping[tuple[str, str, bool], int] = {}
        self._until = 0.0

    async def total(self, category: str, source: str, has_image: bool) -> tuple[int, int]:
        """(articles of this kind, seconds until they are counted again); while the database is away the last count."""
        now = time.monotonic()
        if now >= self._until:
            self._until = now + COUNTED_FOR
            try:
                self._counts = await store.counts(self._db)
            except tuple(AWAY):
                self._until = now
                raise
        wanted = (category, source)
        number = sum(
            count
            for (one_category, one_source, pictured), count in self._counts.items()
            if wanted[0] in (ALL, one_category) and wanted[1] in (ALL, one_source) and (pictured or not has_image)
        )
        return number, round(self._until - now)


@dataclass(frozen=True)
class Services:
    db: Database
    categories: Categories
    counts: Counts
    reference: Mapping[str, Rendered]


async def tell(db: Database) -> None:
    """Set the metrics of the sources. An age grows by itself, also while the database is away."""
    for state in await store.states(db):
        FAILURES.labels(state.name).set(state.failures)
        if state.succeeded_at:
            AGE.labels(state.name).set_function(partial(_since, state.succeeded_at.timestamp()))


def _since(at: float) -> float:
    return time.time() - at


# --- notices ----------------------------------------------------------------------------------------------------------


def notice(
    title: str,
    text: str,
    url: str,
    starts_at: datetime | None,
    ends_at: datetime | None,
    now: datetime,
    number: str = "",
) -> Article:
    """BadNotice. `number` makes the notice one that is added once."""
    starts = starts_at or now
    starts = starts.replace(microsecond=starts.microsecond // 1000 * 1000)
    said = cleaning.plain(title, cleaning.LONGEST_TITLE)
    link = cleaning.address(url)
    if not said or link is None:
        raise BadNotice("Give a title and an address that tells more (https://…).")
    if ends_at and ends_at <= max(starts, now):
        raise BadNotice("The notice would have ended before it is shown.")
    return Article(
        id=number or uuid4().hex,
        url=link,
        title=said,
        snippet=cleaning.plain(text, cleaning.LONGEST_SNIPPET),
        source=NOTICE,
        source_name=NOTICE_NAME,
        published_at=starts,
        ends_at=ends_at,
    )


async def add_notice(db: Database, made: Article) -> bool:
    return await store.add_notice(db, made, cleaning.plain_title(made.title))


async def end_notice(db: Database, prefix: str) -> str:
    """Its id. NoticeNotFound, also where several begin so."""
    meant = await store.end_notice(db, prefix) if prefix else []
    if len(meant) != 1:
        raise NoticeNotFound
    return meant[0]


def status(one: Article, now: datetime) -> str:
    if one.ends_at and one.ends_at <= now:
        return "ended"
    return "planned" if one.published_at > now else "shown"
