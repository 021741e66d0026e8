"""The web app's server as a raw ASGI app: built files from memory, and the pages of the knowledge base.

Every answer has the headers of `eco2.web.headers`, errors included.
"""

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from html import escape

from eco2.core.ops import Receive, Scope, Send, send_json
from eco2.knowledge import Knowledge, Lang
from eco2.web import rules
from eco2.web.files import REVALIDATED, SHELL, File

APP_PAGES = ("/", "/ask", "/map", "/news", "/calendar", "/me", "/about", "/steward")
"""Addresses that the page shows by itself."""
GUIDE = "/guide/"
"""Each scan has an address below it, and all of them one page."""
HEAD_MARK, BODY_MARK = "<!--head-->", "<!--body-->"
NOINDEX = '<meta name="robots" content="noindex">'
KEPT_PAGES = 256
"""Pages of the knowledge base that are kept as they were sent."""
_TEXT = "text/plain; charset=utf-8"
_XML = "application/xml; charset=utf-8"
_HTML = "text/html; charset=utf-8"
_GENERAL = {
    "ko": ("이코에코 | 사진 한 장으로 분리배출", "버릴 물건을 찍으면 무엇인지, 어떻게 어디에 버리는지 알려 드려요."),
    "en": (
        "Eco² | Sort waste from a photo",
        "Take a photo of what you throw away: what it is, how and where it goes in Korea.",
    ),
}


class Site:
    """`files` are of `eco2.web.files`; None where the page is not built, which is said on every page. `tags` go into
    the head of each page."""

    def __init__(
        self,
        files: Mapping[str, File] | None,
        knowledge: Knowledge,
        base: str,
        headers: Sequence[tuple[bytes, bytes]],
        tags: str = "",
    ) -> None:
        self._files = files or {}
        self._shell = files["/" + SHELL].bodies[""].decode() if files else None
        self._knowledge = knowledge
        self._base = base
        self._headers = list(headers)
        self._tags = tags
        self._pages: OrderedDict[str, File] = OrderedDict()

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            body = {"detail": "This path does not take that method.", "code": "METHOD_NOT_ALLOWED"}
            await send_json(send, 405, body, {"allow": "GET, HEAD"})
            return
        path = GUIDE if scope["path"].startswith(GUIDE) else scope["path"]
        if self._shell is None:
            await self._send(scope, send, 503, _not_built())
            return
        found = self._found(path)
        if found is None:
            await self._send(scope, send, 404, self._page("ko", _general("ko", noindex=True), ""))
        else:
            await self._send(scope, send, 200, found)

    def _found(self, path: str) -> File | None:
        if path in self._files and path != f"/{SHELL}":
            return self._files[path]
        if path not in self._pages:
            made = self._made(path)
            if made is None:
                return None
            self._pages[path] = made
            if len(self._pages) > KEPT_PAGES:
                self._pages.popitem(last=False)
        self._pages.move_to_end(path)
        return self._pages[path]

    def _made(self, path: str) -> File | None:
        if path in APP_PAGES or path == GUIDE:
            return self._page("ko", _general("ko", noindex=path != "/"), "")
        if path == "/robots.txt":
            return _file(_TEXT, f"User-agent: *\nDisallow: /api/\nSitemap: {self._base}/sitemap.xml\n")
        if path == "/sitemap.xml":
            return _file(_XML, self._site_map())
        lang: Lang = "en" if path.startswith("/en/") else "ko"
        below = path.removeprefix("/en")
        if path == rules.SOURCES:
            return self._rule(rules.sources_page(self._knowledge))
        if below == "/rules":
            return self._rule(rules.index_page(self._knowledge, lang))
        if path == rules.all_path(lang):
            return self._rule(rules.all_page(self._knowledge, lang), noindex=True)
        if below.startswith("/rules/") and (item := self._knowledge.items.get(below.removeprefix("/rules/"))):
            return self._rule(rules.item_page(self._knowledge, item, lang))
        return None

    def _rule(self, page: rules.Page, *, noindex: bool = False) -> File:
        return self._page(page.lang, rules.head(page, self._base) + (NOINDEX if noindex else ""), page.main)

    def _page(self, lang: Lang, head: str, body: str) -> File:
        text = (self._shell or "").replace(HEAD_MARK, head + self._tags).replace(BODY_MARK, body)
        return _file(_HTML, text.replace('<html lang="ko"', f'<html lang="{lang}"'))

    def _site_map(self) -> str:
        places = ("/", *rules.paths(self._knowledge))
        rows = "".join(f"<url><loc>{escape(self._base + path)}</loc></url>" for path in places)
        return f'<?xml version="1.0" encoding="UTF-8"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{rows}</urlset>'

    async def _send(self, scope: Scope, send: Send, status: int, file: File) -> None:
        asked = {name: value.decode("latin-1") for name, value in scope["headers"]}
        headers = [
            *self._headers,
            (b"content-type", file.content_type.encode()),
            (b"cache-control", file.cache_control.encode()),
            (b"vary", b"accept-encoding"),
        ]
        encoding, body = file.encoded(asked.get(b"accept-encoding", ""))
        etag = f'"{file.etag}{"-" + encoding if encoding else ""}"'
        if status == 200:
            headers.append((b"etag", etag.encode()))
        if status == 200 and etag in (
            part.strip().removeprefix("W/") for part in asked.get(b"if-none-match", "").split(",")
        ):
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        if encoding:
            headers.append((b"content-encoding", encoding.encode()))
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _file(content_type: str, text: str) -> File:
    plain = text.encode()
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    bodies = {"": plain, "gzip": packer.compress(plain) + packer.flush()}
    return File(content_type, hashlib.sha256(plain).hexdigest()[:24], REVALIDATED, bodies)


def _general(lang: Lang, *, noindex: bool) -> str:
    title, description = _GENERAL[lang]
    return f'<title>{title}</title><meta name="description" content="{description}">{NOINDEX if noindex else ""}'


def _not_built() -> File:
    said = (
        "The page is not built here: run <code>make web</code>, then <code>eco2 down</code> and <code>eco2 up</code>."
    )
    return _file(_HTML, f"<!doctype html><html lang=en><title>Eco²</title><p>{said}")
