"""A stand-in for what news come from: a feed, Naver's news search, NewsData, and the pages of articles, on loopback.

    python -m eco2.local.emulators.news --port 10018

`/feed.xml` is a feed of made-up news, dated back from now; `/v1/search/news.json` and `/api/1/latest` answer as Naver
and NewsData do; `/articles/N` is a page with a picture. `POST /_control` takes `{"fault": FAULT, "entries": [...]}` and
replaces what was set; `GET /_calls` counts the requests of each path. Pages of other sites are refused (`guard`).
"""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from html import escape
from typing import Any, Literal
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eco2.core.ops import Receive, Scope, Send, send_json
from eco2.local import config
from eco2.local.config import Layout
from eco2.local.emulators import running
from eco2.local.supervisor import Unit

NAME = "news-emulator"
Json = dict[str, Any]
Fault = Literal[
    "error", "busy", "garbage", "empty", "endless", "large", "inside", "loop", "laughs", "cp949", "future", "hang"
]
"""`busy`: 429 with Retry-After. `large`: 10 MB. `inside`: a redirect to 127.0.0.1. `laughs`: entities of entities.
`future`: everything is dated a year ahead."""


class Told(BaseModel):
    """An article as the emulated sources tell it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(max_length=10_000)
    text: str = Field(default="", max_length=100_000)
    link: str | None = None
    picture: str | None = None
    hours: float = 1
    """Since it was published."""


SAMPLE = (
    Told(title="[견본] 투명페트병 별도 배출, 단독주택도 목요일에", text="라벨을 떼고 눌러 투명한 봉투에 담는다."),
    Told(title="[견본] 동네 <b>제로웨이스트</b> 가게, 다회용기 빌려준다", text="재활용 대신 재사용을 먼저.", hours=5),
    Told(title="[견본] 아파트 옥상 태양광, 전기요금 줄였다", text="재생에너지로 공용 전기를 댄다.", hours=9),
    Told(title="[견본] 폐배터리에서 리튬 되찾는 공장 문 열어", text="자원순환과 이차전지 산업이 만났다.", hours=14),
    Told(title="[견본] 인공지능이 선별장에서 플라스틱을 고른다", text="AI 로봇이 재활용품을 나눈다.", hours=22),
    Told(title="[견본] 데이터센터 전력 수요, AI 때문에 늘어", text="생성형 AI가 쓰는 전기가 두 배로.", hours=30),
)


class Behaviour(BaseModel):
    model_config = ConfigDict(extra="forbid")

    fault: Fault | None = None
    seconds: float = Field(default=0, ge=0)
    retry_after: str = "120"
    entries: tuple[Told, ...] = SAMPLE


class Emulator:
    def __init__(self, port: int) -> None:
        self._origin = f"http://127.0.0.1:{port}"
        self._behaviour = Behaviour()
        self._calls: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path == "/ready":
            await _send(send, b"ready", "text/plain")
        elif path == "/_calls":
            await send_json(send, 200, self._calls)
        elif path == "/_control" and scope["method"] == "POST":
            await self._control(receive, send)
        else:
            self._calls[path.rpartition("/")[0] + "/N" if path.startswith("/articles/") else path] += 1
            await self._answer(path, scope, send)

    async def _control(self, receive: Receive, send: Send) -> None:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            self._behaviour = Behaviour.model_validate_json(bytes(body))
        except ValidationError as error:
            await send_json(send, 422, {"detail": str(error), "code": "VALIDATION_ERROR"})
            return
        self._calls.clear()
        await send_json(send, 200, {})

    async def _answer(self, path: str, scope: Scope, send: Send) -> None:
        await asyncio.sleep(self._behaviour.seconds)
        if path.startswith("/articles/"):
            picture = f"https://pictures.example.com{path}.jpg"
            page = f'<html><head><meta property="og:image" content="{picture}"></head><body>견본</body></html>'
            await _send(send, page.encode(), "text/html; charset=utf-8")
        elif not await self._fault(send):
            if path == "/feed.xml":
                await self._feed(scope, send)
            elif path == "/v1/search/news.json":
                await self._naver(scope, send)
            elif path == "/api/1/latest":
                await self._newsdata(scope, send)
            else:
                await send_json(send, 404, {"errorMessage": "no such path"})

    async def _fault(self, send: Send) -> bool:
        match self._behaviour.fault:
            case "error":
                await _send(send, b"internal error", "text/plain", status=500)
            case "busy":
                headers = {"retry-after": self._behaviour.retry_after}
                await _send(send, b"slow down", "text/plain", status=429, headers=headers)
            case "garbage":
                await _send(send, b'{"items": [{"title"\x00\xff<rss><channel', "application/json")
            case "empty":
                await _send(send, b"", "application/json")
            case "large":
                await _send(send, b" " * 10_000_000, "application/json")
            case "inside":
                await _send(send, b"", "text/plain", status=302, headers={"location": "http://127.0.0.1:22/"})
            case "loop":
                await _send(send, b"", "text/plain", status=302, headers={"location": f"{self._origin}/feed.xml"})
            case "laughs":
                await _send(send, _laughs(), "application/rss+xml")
            case "hang":
                await asyncio.sleep(3600)
            case "endless":
                await _endless(send)
            case _:
                return False
        return True

    def _dated(self, one: Told) -> datetime:
        if self._behaviour.fault == "future":
            return datetime.now(UTC) + timedelta(days=365)
        return datetime.now(UTC) - timedelta(hours=one.hours)

    def _link(self, number: int, one: Told) -> str:
        return one.link or f"{self._origin}/articles/{number}?utm_source=feed"

    async def _feed(self, scope: Scope, send: Send) -> None:
        cp949 = self._behaviour.fault == "cp949"
        items = "".join(self._item(number, one) for number, one in enumerate(self._behaviour.entries))
        text = (
            f'<?xml version="1.0" encoding="{"euc-kr" if cp949 else "utf-8"}"?><rss version="2.0" '
            'xmlns:media="http://search.yahoo.com/mrss/"><channel><title>견본 소식</title>'
            f"<link>{self._origin}/</link><description>지어낸 소식</description>{items}</channel></rss>"
        )
        etag = f'"{hash(self._behaviour.model_dump_json())}"'
        if (b"if-none-match", etag.encode()) in scope["headers"]:
            await _send(send, b"", "text/plain", status=304)
            return
        body = text.encode("cp949" if cp949 else "utf-8", errors="xmlcharrefreplace")
        await _send(send, body, "application/rss+xml", headers={"etag": etag})

    def _item(self, number: int, one: Told) -> str:
        media = f'<media:content url="{escape(one.picture)}" medium="image"/>' if one.picture else ""
        return (
            f"<item><title>{escape(one.title)}</title><link>{escape(self._link(number, one))}</link>"
            f"<description>{escape(one.text)}</description>"
            f"<pubDate>{format_datetime(self._dated(one))}</pubDate>{media}</item>"
        )

    async def _naver(self, scope: Scope, send: Send) -> None:
        given = dict(scope["headers"])
        if not (given.get(b"x-naver-client-id") and given.get(b"x-naver-client-secret")):
            await send_json(send, 401, {"errorMessage": "NID AUTH Result Invalid", "errorCode": "024"})
            return
        items = [
            {
                "title": one.title,
                "originallink": self._link(number, one),
                "link": f"https://n.news.naver.com/mnews/article/001/{number:010}",
                "description": one.text,
                "pubDate": format_datetime(self._dated(one)),
            }
            for number, one in enumerate(self._behaviour.entries)
        ]
        await send_json(send, 200, {"total": len(items), "start": 1, "display": len(items), "items": items})

    async def _newsdata(self, scope: Scope, send: Send) -> None:
        query = parse_qs(scope["query_string"].decode())
        if not dict(scope["headers"]).get(b"x-access-key") or "q" not in query:
            await send_json(send, 401, {"status": "error", "results": {"code": "Unauthorized"}})
            return
        results = [
            {
                "article_id": str(number),
                "title": one.title,
                "link": self._link(number, one),
                "description": one.text,
                "pubDate": self._dated(one).strftime("%Y-%m-%d %H:%M:%S"),
                "image_url": one.picture,
                "source_name": "견본신문",
                "source_icon": "https://pictures.example.com/icon.png",
                "video_url": None,
                "keywords": ["견본", "소식"],
                "ai_tag": ["environment"],
            }
            for number, one in enumerate(self._behaviour.entries)
        ]
        await send_json(send, 200, {"status": "success", "totalResults": len(results), "results": results})


async def _send(
    send: Send, body: bytes, content_type: str, *, status: int = 200, headers: dict[str, str] | None = None
) -> None:
    told = {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}
    rows = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": rows})
    await send({"type": "http.response.body", "body": body})


async def _endless(send: Send) -> None:
    rows = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": rows})
    while True:
        await send({"type": "http.response.body", "body": b" " * 65_536, "more_body": True})
        await asyncio.sleep(0)  # lets it notice that the client is gone


def _laughs() -> bytes:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha"}">' for n in range(10))
    feed = '<rss version="2.0"><channel><title>&l9;</title></channel></rss>'
    return f'<?xml version="1.0"?><!DOCTYPE rss [{entities}]>{feed}'.encode()


def unit(at: Layout) -> Unit:
    """For the local supervisor."""
    return running.unit(at, NAME, __name__, config.NEWS_EMULATOR)


def main() -> None:
    given = running.parser("news", "Emulated news.").parse_args()
    running.serve(Emulator(given.port), given.port)


if __name__ == "__main__":
    main()
