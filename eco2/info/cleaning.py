"""Cleaning of untrusted texts, addresses, titles, pictures and dates for display and comparison."""

import html
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import nh3
from selectolax.lexbor import LexborHTMLParser

LONGEST_TITLE, LONGEST_SNIPPET, LONGEST_URL = 300, 500, 2000
_TRACKING = re.compile(r"utm_\w+|fbclid|gclid|igshid|mc_[ce]id|ref_src|spm", re.IGNORECASE)
_HIDDEN = re.compile(r"[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]+")
_DECORATION = re.compile(r"\[[^\]]{1,20}\]|\([^)]{1,10}\)|<[^>]{1,20}>|【[^】]{1,20}】")
_PRESS = re.compile(r"\s+[-|:·]\s*[^-|:·]{2,20}$")
_PICTURES = ('meta[property="og:image"]', 'meta[property="og:image:url"]', 'meta[name="twitter:image"]')


def plain(text: object, longest: int) -> str:
    """Text without markup, entities and characters that cannot be seen; cut at a word."""
    if not isinstance(text, str):
        return ""
    text = text[: 20 * longest].encode(errors="ignore").decode()  # half an emoji is none
    for _ in range(2):  # feeds escape twice: what was text becomes markup
        text = html.unescape(nh3.clean(text, tags=set(), clean_content_tags={"script", "style"}))
    text = " ".join(_HIDDEN.sub(" ", unicodedata.normalize("NFC", text)).split())
    if len(text) <= longest:
        return text
    return f"{text[: longest - 1].rsplit(' ', 1)[0]}…"


def address(url: object, base: str = "", *, secure: bool = False) -> str | None:
    """The address if it can be shown as a link; `secure`: https only, as pictures in a page have to be."""
    if not isinstance(url, str) or not url.strip():
        return None
    try:
        whole = urljoin(base, url.strip())
        parts = urlsplit(whole)
        _ = parts.port
    except ValueError:
        return None
    schemes = ("https",) if secure else ("http", "https")
    good = parts.scheme in schemes and parts.hostname and "." in parts.hostname and parts.username is None
    if not good or len(whole) > LONGEST_URL or not whole.isprintable() or re.search(r"[\s<>\"'\\^`{|}]", whole):
        return None
    return whole


def article_id(url: str) -> str:
    """The same for all spellings of an address: scheme, www and m, port, tracking, order, fragment."""
    parts = urlsplit(url)
    host = re.sub(r"^(?:www|m|mobile|amp)\.", "", (parts.hostname or "").lower())
    query = sorted((k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if not _TRACKING.fullmatch(k))
    path = re.sub(r"/(?:amp)?/?$", "", parts.path) or "/"
    return sha256(f"{host}{path}?{urlencode(query)}".encode()).hexdigest()[:32]


def plain_title(title: str) -> str:
    """Letters and digits of the title without [단독], (종합) and the newspaper's name at its end."""
    bare = _PRESS.sub("", _DECORATION.sub(" ", title)) or title
    return "".join(letter for letter in bare.lower() if letter.isalnum()) or title.lower()


def published(given: datetime | None, now: datetime) -> datetime:
    """To the millisecond; a date in the future becomes now."""
    at = given.astimezone(UTC) if given and given.tzinfo else now
    at = min(at, now)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def too_old(at: datetime, now: datetime, retention: timedelta) -> bool:
    return now - at > retention


def picture_in(markup: str, base: str) -> str | None:
    """The first picture of a text that is no counter of one pixel."""
    if "<img" not in markup.lower():
        return None
    for node in LexborHTMLParser(markup[:200_000]).css("img"):
        sizes = [node.attributes.get(name) or "" for name in ("width", "height")]
        tiny = any(size.isdecimal() and int(size) < 50 for size in sizes)
        if not tiny and (found := address(node.attributes.get("src"), base, secure=True)):
            return found
    return None


def picture_of_page(body: bytes, base: str) -> str | None:
    """The picture that a page shows when it is shared."""
    head = LexborHTMLParser(body)
    named = (node.attributes.get("content") for selector in _PICTURES for node in head.css(selector))
    return next((found for url in named if (found := address(url, base, secure=True))), None)


def keywords(words: Iterable[object]) -> list[str]:
    found = (plain(word, 40) for word in words if isinstance(word, str))
    return list(dict.fromkeys(word for word in found if word))[:10]
