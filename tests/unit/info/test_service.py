"""Cursors, near-equal titles and notices."""

from datetime import UTC, datetime, timedelta

import pytest

from eco2.info import collecting, service
from eco2.info.cleaning import plain_title
from eco2.info.store import Article

NOW = datetime(2026, 11, 30, 9, 0, 0, 123_000, tzinfo=UTC)


def article(at: datetime, number: str = "9f2c") -> Article:
    return Article(number, "https://a.example/1", "제목", "", "rss", "견본", at)


@pytest.mark.parametrize("milliseconds", [0, 1, 123, 999])
def test_a_cursor_gives_its_article_back(milliseconds: int) -> None:
    at = NOW.replace(microsecond=milliseconds * 1000)
    assert service.read_cursor(service.cursor_of(article(at))) == (at, "9f2c")


def test_a_cursor_of_the_time_alone_is_understood() -> None:
    assert service.read_cursor("1796029200123") == (datetime.fromtimestamp(1796029200.123, UTC), "")


@pytest.mark.parametrize("cursor", ["x", "-1", "1_", "1_a b", "1.5", "NaN", "1" * 15, "1_' OR 1", "１"])
def test_other_cursors_are_refused(cursor: str) -> None:
    with pytest.raises(service.InvalidCursor):
        service.read_cursor(cursor)


@pytest.mark.parametrize(
    ("title", "other", "same"),
    [
        ("폐배터리 재활용 공장 내년 문 연다", "[종합] 폐배터리 재활용 공장, 내년 문 연다", True),
        ("폐배터리 재활용 공장 내년 문 연다", "폐배터리 재활용 공장이 내년 문 연다", True),
        ("12월 3일 미세먼지 예보 전국 나쁨", "12월 4일 미세먼지 예보 전국 나쁨", False),
        ("재활용 소식", "재활용 소시", False),
        ("태양광 발전소 문 연다 전남 신안", "폐배터리 재활용 공장 내년 문 연다", False),
    ],
)
def test_near_equal_titles_are_told_once(title: str, other: str, same: bool) -> None:
    assert collecting.told_before(plain_title(title), [plain_title(other)]) is same


@pytest.mark.parametrize(
    ("title", "url", "start", "end"),
    [
        ("", "https://a.example/", None, None),
        ("<b></b>", "https://a.example/", None, None),
        ("제목", "javascript:alert(1)", None, None),
        ("제목", "https://a.example/", None, NOW),
        ("제목", "https://a.example/", NOW + timedelta(days=2), NOW + timedelta(days=1)),
    ],
)
def test_a_notice_needs_title_address_and_a_time_to_be_seen(
    title: str, url: str, start: datetime | None, end: datetime | None
) -> None:
    with pytest.raises(service.BadNotice):
        service.notice(title, "", url, start, end, NOW)


def test_a_notice_is_planned_shown_and_ended() -> None:
    made = service.notice("제목", "글", "https://a.example/", NOW, NOW + timedelta(days=1), NOW)
    states = [service.status(made, NOW + timedelta(hours=hours)) for hours in (-1, 0, 25)]
    assert states == ["planned", "shown", "ended"]
