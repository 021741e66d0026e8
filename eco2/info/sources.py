"""Sources of news, each behind `Source`: the news search of Naver, NewsData, RSS and Atom feeds."""

import calendar
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import feedparser
import orjson

from eco2.core.errors import Unavailable
from eco2.core.fetch import Fetched, Fetcher, Limits, Unusable
from eco2.info.categories import Category

NAVER, NEWSDATA, RSS, NOTICE = "naver", "newsdata", "rss", "notice"
KINDS = (NAVER, NEWSDATA, RSS, NOTICE)
MOST_ENTRIES = 100
JSON = Limits(seconds=10, bytes=2 * 1024 * 1024, types=("application/json",))
FEED = Limits(
    seconds=15,
    bytes=4 * 1024 * 1024,
    types=(
        *("application/rss+xml", "application/atom+xml", "application/rdf+xml", "application/xml", "text/xml"),
        *("text/html", "text/plain", "application/octet-stream", ""),  # as many feeds are sent
    ),
)


class Away(Unavailable):
    """The source does not answer now."""

    code = "SOURCE_UNAVAILABLE"

    def __init__(self, message: str, *, seconds: float | None = None) -> None:
        """`seconds`: how long it wants to be left alone."""
        self.seconds = seconds
        super().__init__(message)


@dataclass(frozen=True)
class Entry:
    """An article as a source has it, untrusted: `markup` may hold anything, `published` may lie anywhere."""

    url: object
    title: object
    markup: object
    source: str
    source_name: str
    published: datetime | None = None
    picture: object = None
    icon: object = None
    video: object = None
    keywords: Sequence[object] = ()
    ai_tag: object = None
    hint: str | None = None


@dataclass(frozen=True)
class Memory:
    """Name of a feed's last answer, to be told when nothing is new."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True)
class Round:
    entries: Sequence[Entry]
    memory: Memory = field(default_factory=Memory)


class Source(Protocol):
    @property
    def name(self) -> str: ...

    async def fetch(self, fetcher: Fetcher, memory: Memory, /) -> Round:
        """Away, Unreachable, Unusable, NotAllowed."""
        ...


@dataclass(frozen=True)
class Naver:
    base: str
    client_id: str
    client_secret: str
    categories: Sequence[Category]
    name: str = NAVER

    async def fetch(self, fetcher: Fetcher, _memory: Memory) -> Round:
        headers = {"X-Naver-Client-Id": self.client_id, "X-Naver-Client-Secret": self.client_secret}
        found: list[Entry] = []
        for category in self.categories:
            for query in category.queries:
                url = f"{self.base}/v1/search/news.json?{urlencode({'query': query, 'display': 20, 'sort': 'date'})}"
                body = _json(await fetcher.get(url, JSON, headers))
                found += [self._entry(item, category.id) for item in _objects(body, "items")]
        return Round(found)

    def _entry(self, item: Mapping[str, Any], hint: str) -> Entry:
        url = item.get("originallink") or item.get("link")
        return Entry(
            url=url,
            title=item.get("title"),
            markup=item.get("description"),
            source=NAVER,
            source_name=_site(url),
            published=_mail_date(item.get("pubDate")),
            hint=hint,
        )


@dataclass(frozen=True)
class NewsData:
    base: str
    api_key: str
    categories: Sequence[Category]
    name: str = NEWSDATA

    async def fetch(self, fetcher: Fetcher, _memory: Memory) -> Round:
        found: list[Entry] = []
        for category in self.categories:
            query = urlencode({"q": " OR ".join(category.queries), "language": "ko", "removeduplicate": 1})
            answer = await fetcher.get(f"{self.base}/api/1/latest?{query}", JSON, {"X-ACCESS-KEY": self.api_key})
            found += [self._entry(item, category.id) for item in _objects(_json(answer), "results")]
        return Round(found)

    def _entry(self, item: Mapping[str, Any], hint: str) -> Entry:
        name = item.get("source_name")
        words = item.get("keywords")
        tags = item.get("ai_tag")
        return Entry(
            url=item.get("link"),
            title=item.get("title"),
            markup=item.get("description"),
            source=NEWSDATA,
            source_name=name if isinstance(name, str) and name else _site(item.get("link")),
            published=_plain_date(item.get("pubDate")),
            picture=item.get("image_url"),
            icon=item.get("source_icon"),
            video=item.get("video_url"),
            keywords=words if isinstance(words, list) else (),
            ai_tag=tags[0] if isinstance(tags, list) and tags else tags,
            hint=hint,
        )


@dataclass(frozen=True)
class Feed:
    title: str
    url: str

    @property
    def name(self) -> str:
        return f"{RSS}:{self.title}"

    async def fetch(self, fetcher: Fetcher, memory: Memory) -> Round:
        known = {"If-None-Match": memory.etag, "If-Modified-Since": memory.last_modified}
        answer = await fetcher.get(self.url, FEED, {name: value for name, value in known.items() if value})
        if answer.status == 304:
            return Round((), memory)
        _must_be_good(answer)
        headers = answer.headers
        return Round(self.parse(answer), Memory(headers.get("etag"), headers.get("last-modified")))

    def parse(self, answer: Fetched) -> list[Entry]:
        """Unusable where it is no feed, or has entities of its own, which a few bytes could blow up."""
        if b"<!ENTITY" in answer.body.replace(b"\0", b"").upper():
            raise Unusable(f"{self.title} declares entities of its own.")
        body, kind = _in_utf8(answer.body, answer.headers.get("content-type", ""))
        headers = {"content-type": kind, "content-location": answer.url}
        parsed = feedparser.parse(body, response_headers=headers, sanitize_html=False)
        if not parsed.entries and (parsed.bozo or not parsed.get("version")):
            raise Unusable(f"{self.title} is no feed.")
        return [self._entry(entry) for entry in parsed.entries[:MOST_ENTRIES]]

    def _entry(self, entry: Mapping[str, Any]) -> Entry:
        content = entry.get("content") or [{}]
        return Entry(
            url=entry.get("link"),
            title=entry.get("title"),
            markup=entry.get("summary") or content[0].get("value"),
            source=RSS,
            source_name=self.title,
            published=_struct_date(entry.get("published_parsed") or entry.get("updated_parsed")),
            picture=_picture(entry),
            keywords=[tag.get("term") for tag in entry.get("tags") or ()],
        )


_EUC_KR = re.compile(rb"""(<\?xml[^>]{0,80}encoding=["'])(?:euc-kr|ks_c_5601-1987|cp949)(["'])""", re.IGNORECASE)


def _in_utf8(body: bytes, content_type: str) -> tuple[bytes, str]:
    """A feed that says EUC-KR uses CP949 all the same, whose further syllables a strict reader stumbles over."""
    if not _EUC_KR.match(body[:200].lstrip()):
        return body, content_type
    text = body.decode("cp949", errors="replace").encode()
    return _EUC_KR.sub(rb"\g<1>utf-8\g<2>", text, count=1), "application/xml; charset=utf-8"


def _picture(entry: Mapping[str, Any]) -> object:
    for one in (*(entry.get("media_content") or ()), *(entry.get("media_thumbnail") or ())):
        if one.get("url") and one.get("medium", "image") == "image":
            return one["url"]
    pictures = (one.get("href") for one in entry.get("enclosures") or () if str(one.get("type")).startswith("image/"))
    return next(pictures, None)


def _must_be_good(answer: Fetched) -> None:
    if answer.status == 200:
        return
    host = urlsplit(answer.url).hostname
    raise Away(f"{host} answers {answer.status}.", seconds=_seconds(answer.headers.get("retry-after")))


def _seconds(text: str | None) -> float | None:
    """Of Retry-After, a number or a date; a day at most."""
    if text is None:
        return None
    if text.isdecimal():
        return min(float(text[:9]), 86_400.0)
    at = _mail_date(text)
    return min(max((at - datetime.now(UTC)).total_seconds(), 0.0), 86_400.0) if at else None


def _json(answer: Fetched) -> Mapping[str, Any]:
    _must_be_good(answer)
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise Unusable(f"{urlsplit(answer.url).hostname} answers no JSON object.")
    return body


def _objects(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = body.get(name)
    if not isinstance(rows, list):
        raise Unusable(f"The answer has no {name}.")
    return [row for row in rows if isinstance(row, dict)][:MOST_ENTRIES]


def _site(url: object) -> str:
    try:
        host = urlsplit(url).hostname if isinstance(url, str) else None
    except ValueError:
        host = None
    return (host or "").removeprefix("www.")


def _mail_date(text: object) -> datetime | None:
    try:
        at = parsedate_to_datetime(text) if isinstance(text, str) else None
    except (ValueError, TypeError, OverflowError):
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def _plain_date(text: object) -> datetime | None:
    """NewsData writes 2026-11-30 01:02:03, in UTC."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def _struct_date(value: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(calendar.timegm(value), UTC) if value else None
    except (ValueError, OverflowError, OSError, TypeError):
        return None
