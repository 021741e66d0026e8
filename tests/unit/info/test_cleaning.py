"""Text, addresses, titles and dates of strangers."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from eco2.info import cleaning

NOW = datetime(2026, 11, 30, 9, 0, 0, 123_456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("<b>재활용</b> &quot;으뜸&quot; 도시", '재활용 "으뜸" 도시'),
        ("&lt;b&gt;두 번&lt;/b&gt; 감싼 제목", "두 번 감싼 제목"),
        ("<script>alert(1)</script>제목", "제목"),
        ("&lt;img src=x onerror=alert(1)&gt;제목", "제목"),
        ("3 < 5 &amp; 7 > 2", "3 < 5 & 7 > 2"),
        ("숨은\u202e 글\u200b자\x00와\n줄", "숨은 글 자와 줄"),
        ("반쪽 \ud83d 이모지", "반쪽 이모지"),
        ("가\u1100\u1161", "가가"),
        (None, ""),
        (7, ""),
    ],
)
def test_text_is_plain(given: object, plain: str) -> None:
    found = " ".join(cleaning.plain(given, 100).split())
    assert found == plain


def test_long_text_is_cut_at_a_word() -> None:
    assert cleaning.plain("가나다 라마바 사아자", 9) == "가나다 라마바…"
    assert len(cleaning.plain("가" * 10_000_000, 300)) == 300


@pytest.mark.parametrize(
    "url",
    [
        *("javascript:alert(1)", "data:text/html,x", "ftp://a.example/", "http://", "https://user@a.example/", "x", ""),
        *(
            "https://a.example/\x00",
            "https://a.example/<script>",
            f"https://a.example/{'a' * 2000}",
            "http://[::1",
            None,
        ),
        *(17, "https://localhost/x", "https://a.example:999999/"),
    ],
)
def test_addresses_that_are_no_links(url: object) -> None:
    assert cleaning.address(url) is None


def test_addresses_are_completed_and_pictures_secure() -> None:
    assert cleaning.address("/1?a=b", "https://a.example/x") == "https://a.example/1?a=b"
    assert cleaning.address(" http://a.example/ ") == "http://a.example/"
    assert cleaning.address("http://a.example/1.jpg", secure=True) is None
    assert cleaning.address("//b.example/1.jpg", "https://a.example/", secure=True) == "https://b.example/1.jpg"


SAME = (
    "https://www.a.example/news/1?b=2&a=1",
    "http://a.example/news/1?a=1&b=2",
    "https://m.a.example/news/1/?a=1&b=2&utm_source=x&fbclid=y#top",
    "https://a.example:443/news/1/amp?a=1&b=2",
)


def test_an_article_has_one_id_however_its_address_is_written() -> None:
    assert len({cleaning.article_id(url) for url in SAME}) == 1
    others = {*SAME[:1], "https://a.example/news/2?a=1&b=2", "https://a.example/news/1?a=2", "https://b.example/news/1"}
    assert len({cleaning.article_id(url) for url in others}) == 4


@pytest.mark.parametrize(
    "title",
    ["[단독] 폐배터리 재활용 공장 선다", "폐배터리 재활용 공장 선다 - 견본일보", "폐배터리, 재활용 공장 선다(종합)"],
)
def test_titles_lose_their_decoration(title: str) -> None:
    assert cleaning.plain_title(title) == "폐배터리재활용공장선다"


def test_a_title_of_decoration_only_keeps_itself() -> None:
    assert cleaning.plain_title("[속보]") != ""


def test_nothing_is_published_in_the_future_or_without_a_zone() -> None:
    cut = NOW.replace(microsecond=123_000)
    assert cleaning.published(NOW + timedelta(days=365), NOW) == cut
    assert cleaning.published(None, NOW) == cut
    assert cleaning.published(NOW.replace(tzinfo=None), NOW) == cut
    seoul = datetime(2026, 11, 30, 10, tzinfo=timezone(timedelta(hours=9)))
    assert cleaning.published(seoul, NOW) == datetime(2026, 11, 30, 1, tzinfo=UTC)


def test_the_first_real_picture_of_a_text_is_taken() -> None:
    markup = (
        '<p><img src="https://a.example/count.gif" width="1"><img src="data:image/png;base64,x">'
        '<img src="http://a.example/plain.jpg"><img src="/good.jpg" width="640"></p>'
    )
    assert cleaning.picture_in(markup, "https://a.example/1") == "https://a.example/good.jpg"
    assert cleaning.picture_in("ohne Bild", "https://a.example/") is None


def test_a_page_shows_the_picture_it_is_shared_by() -> None:
    page = b'<html><head><meta property="og:image" content="/a.jpg"></head>'
    assert cleaning.picture_of_page(page, "https://a.example/1") == "https://a.example/a.jpg"
    for broken in (b"", b"\xff\xfe\x00<html", b"<" * 100_000, b"<meta property='og:image' content='javascript:x'>"):
        assert cleaning.picture_of_page(broken, "https://a.example/1") is None
