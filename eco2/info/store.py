"""Every SQL statement of the info domain."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import LiteralString

from eco2.core.postgres import Database
from eco2.info.sources import NOTICE, Memory


@dataclass(frozen=True)
class Article:
    """`category` and `ends_at` as in the table: a notice has no category and may have an end."""

    id: str
    url: str
    title: str
    snippet: str
    source: str
    source_name: str
    published_at: datetime
    source_icon_url: str | None = None
    thumbnail_url: str | None = None
    video_url: str | None = None
    category: str | None = None
    keywords: Sequence[str] = ()
    ai_tag: str | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True)
class SourceState:
    name: str
    tried_at: datetime
    succeeded_at: datetime | None
    failures: int
    error: str | None
    not_before: datetime | None
    etag: str | None
    last_modified: str | None
    added: int


COLUMNS: LiteralString = (
    "id, url, title, snippet, source, source_name, published_at, source_icon_url, thumbnail_url, video_url, category, "
    "keywords, ai_tag, ends_at"
)
VISIBLE: LiteralString = "published_at <= now() AND (ends_at IS NULL OR ends_at > now())"
_FILTERS: Mapping[str, LiteralString] = {
    "category": " AND category = %(category)s",
    "source": " AND source = %(source)s",
    "has_image": " AND thumbnail_url IS NOT NULL",
    "after": " AND (published_at, id) < (%(at)s, %(last)s)",
}


async def page(
    db: Database,
    category: str | None,
    source: str | None,
    has_image: bool,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[Article]:
    """The newest that may be seen, below the one of (time, id)."""
    wanted = {"category": category, "source": source, "has_image": has_image, "after": after}
    where = "".join(_FILTERS[name] for name, value in wanted.items() if value)
    at, last = after or (None, None)
    rows = await db.rows(
        f"SELECT {COLUMNS} FROM info.articles WHERE {VISIBLE}{where} "
        "ORDER BY published_at DESC, id DESC LIMIT %(limit)s",
        **{name: value for name, value in {"category": category, "source": source}.items() if value},
        **({"at": at, "last": last} if after else {}),
        limit=limit,
    )
    return [Article(*row) for row in rows]


async def counts(db: Database) -> dict[tuple[str, str, bool], int]:
    """(category or "", source, with a picture) → articles."""
    rows = await db.rows(
        "SELECT coalesce(category, ''), source, thumbnail_url IS NOT NULL, count(*) FROM info.articles "
        f"WHERE {VISIBLE} GROUP BY 1, 2, 3"
    )
    return {(row[0], row[1], row[2]): row[3] for row in rows}


# --- collecting -------------------------------------------------------------------------------------------------------


async def known(db: Database, ids: Sequence[str]) -> set[str]:
    rows = await db.rows("SELECT id FROM info.articles WHERE id = ANY(%(ids)s)", ids=list(ids))
    return {row[0] for row in rows}


async def titles_since(db: Database, since: datetime, most: int) -> list[str]:
    rows = await db.rows(
        "SELECT plain_title FROM info.articles WHERE published_at > %(since)s "
        "ORDER BY published_at DESC LIMIT %(most)s",
        since=since,
        most=most,
    )
    return [row[0] for row in rows]


async def add(db: Database, articles: Sequence[tuple[Article, str]]) -> int:
    """Add (article, plain title) pairs that are not there yet, in one statement; how many were new."""
    if not articles:
        return 0
    names = [one.name for one in fields(Article) if one.name not in ("keywords", "ends_at")]
    columns: dict[str, object] = {name: [getattr(article, name) for article, _ in articles] for name in names}
    rows = await db.rows(
        _ADD,
        **columns,
        plain_title=[plain for _, plain in articles],
        keywords=["\x1f".join(article.keywords) for article, _ in articles],
    )
    return len(rows)


_ADD: LiteralString = """
INSERT INTO info.articles (id, url, title, snippet, source, source_name, published_at, source_icon_url, thumbnail_url,
    video_url, category, ai_tag, plain_title, keywords)
SELECT r.id, r.url, r.title, r.snippet, r.source, r.source_name, r.published_at, r.source_icon_url, r.thumbnail_url,
    r.video_url, r.category, r.ai_tag, r.plain_title, string_to_array(r.keywords, E'\\x1f')
FROM unnest(%(id)s::text[], %(url)s::text[], %(title)s::text[], %(snippet)s::text[], %(source)s::text[],
    %(source_name)s::text[], %(published_at)s::timestamptz[], %(source_icon_url)s::text[], %(thumbnail_url)s::text[],
    %(video_url)s::text[], %(category)s::text[], %(ai_tag)s::text[], %(plain_title)s::text[], %(keywords)s::text[])
    AS r(id, url, title, snippet, source, source_name, published_at, source_icon_url, thumbnail_url, video_url,
    category, ai_tag, plain_title, keywords)
ON CONFLICT (id) DO NOTHING
RETURNING id
"""


async def forget_before(db: Database, retention: timedelta) -> int:
    """Articles that are older; notices stay for the record."""
    rows = await db.rows(
        "DELETE FROM info.articles WHERE published_at < now() - %(retention)s AND source <> %(notice)s RETURNING id",
        retention=retention,
        notice=NOTICE,
    )
    return len(rows)


# --- sources ----------------------------------------------------------------------------------------------------------


async def states(db: Database) -> list[SourceState]:
    """By name."""
    rows = await db.rows(
        "SELECT name, tried_at, succeeded_at, failures, error, not_before, etag, last_modified, added "
        "FROM info.sources ORDER BY name"
    )
    return [SourceState(*row) for row in rows]


async def succeeded(db: Database, name: str, memory: Memory, added: int) -> None:
    await db.row(
        "INSERT INTO info.sources (name, tried_at, succeeded_at, etag, last_modified, added) "
        "VALUES (%(name)s, now(), now(), %(etag)s, %(last_modified)s, %(added)s) ON CONFLICT (name) DO UPDATE SET "
        "tried_at = now(), succeeded_at = now(), failures = 0, error = NULL, not_before = NULL, "
        "etag = excluded.etag, last_modified = excluded.last_modified, added = excluded.added",
        name=name,
        added=added,
        **asdict(memory),
    )


async def failed(db: Database, name: str, error: str, pause: timedelta) -> None:
    await db.row(
        "INSERT INTO info.sources (name, tried_at, failures, error, not_before) "
        "VALUES (%(name)s, now(), 1, %(error)s, now() + %(pause)s) ON CONFLICT (name) DO UPDATE SET tried_at = now(), "
        "failures = info.sources.failures + 1, error = excluded.error, not_before = excluded.not_before",
        name=name,
        error=error,
        pause=pause,
    )


# --- notices ----------------------------------------------------------------------------------------------------------


async def add_notice(db: Database, notice: Article, plain_title: str) -> bool:
    """False when it is there already."""
    row = await db.row(
        "INSERT INTO info.articles (id, url, title, plain_title, snippet, source, source_name, published_at, ends_at) "
        "VALUES (%(id)s, %(url)s, %(title)s, %(plain_title)s, %(snippet)s, %(source)s, %(source_name)s, "
        "%(published_at)s, %(ends_at)s) ON CONFLICT (id) DO NOTHING RETURNING id",
        id=notice.id,
        url=notice.url,
        title=notice.title,
        plain_title=plain_title,
        snippet=notice.snippet,
        source=notice.source,
        source_name=notice.source_name,
        published_at=notice.published_at,
        ends_at=notice.ends_at,
    )
    return row is not None


async def notices(db: Database, most: int) -> list[Article]:
    """The newest, those that ended included."""
    rows = await db.rows(
        f"SELECT {COLUMNS} FROM info.articles WHERE source = %(notice)s "
        "ORDER BY published_at DESC, id DESC LIMIT %(most)s",
        notice=NOTICE,
        most=most,
    )
    return [Article(*row) for row in rows]


async def end_notice(db: Database, prefix: str) -> list[str]:
    """End the notices whose id begins so, unless several do; their ids."""
    rows = await db.rows(
        "WITH meant AS (SELECT id FROM info.articles WHERE source = %(notice)s AND starts_with(id, %(prefix)s)), "
        "ended AS (UPDATE info.articles SET ends_at = least(ends_at, now()) WHERE id IN (SELECT id FROM meant) "
        "AND (SELECT count(*) FROM meant) = 1) SELECT id FROM meant",
        notice=NOTICE,
        prefix=prefix,
    )
    return [row[0] for row in rows]
