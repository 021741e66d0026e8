"""The operator's page: its figures, an empty day, hostile names, and the charts."""

import re
import zlib
from datetime import date, timedelta
from xml.etree import ElementTree

import pytest

from eco2.jobs import charts, report

DAY = date(2026, 11, 24)
FULL: report.Day = {
    "scans": {"submitted": 1000, "completed": 950, "failed": 50},
    "users": {"active": 310},
    "rewards": {"granted": 700},
    "seconds": {"p50": 0.052, "p95": 3.4},
    "looks": {"exact": 500, "near": 100, "model": 400},
    "cost_usd": {"llm": 2.0},
    "models": {"gpt-5-mini": 1000},
    "streams": {"clear_pet": 600, "<b>odd</b>": 1},
    "choices": {"asked": 120, "made": 80},
}


def page(today: report.Day, **more: report.Day) -> str:
    return report.render(DAY, {DAY: today}, {"clear_pet": "투명 페트병"})


def test_the_figures_of_the_day_are_there() -> None:
    text = page(FULL)
    for shown in ("1,000", "95.0%", "310", "3.4 초", "US$2.00", "60.0%", "US$3.00", "투명 페트병", "600 (100%)"):
        assert shown in text, shown
    assert "한 건도 없었습니다" not in text


def test_a_day_without_scans_says_so() -> None:
    text = page({"scans": {"submitted": 0}})
    assert "이 날에는 스캔이 한 건도 없었습니다" in text
    assert "경로가 정해진 스캔이 없습니다" in text


def test_accuracy_comes_from_feedback_where_there_is_any() -> None:
    assert "사용자 의견이 없습니다" in page(FULL)
    text = page({**FULL, "feedback": {"right": 9, "wrong": 1}})
    assert "90.0%" in text
    assert "사용자 의견이 없습니다" not in text


def test_names_are_text_and_never_markup() -> None:
    text = page(FULL)
    assert "<b>odd</b>" not in text
    assert "&lt;b&gt;odd" in text


def test_the_page_fetches_nothing() -> None:
    assert "http" not in page(FULL).replace("http://www.w3.org", "")
    with pytest.raises(ValueError, match="fetches nothing"):
        report.to_pdf('<img src="http://127.0.0.1:9/x.png">')


def test_the_pdf_is_one_with_the_korean_font_in_it() -> None:
    pdf = report.to_pdf(page(FULL))
    assert pdf.startswith(b"%PDF-")
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    assert any(b"Nanum" in zlib.decompressobj().decompress(stream) for stream in streams if stream[:1] == b"x")


@pytest.mark.parametrize(
    ("highest", "top"), [(0.03, 0.05), (1, 1), (1.01, 2), (4, 5), (6, 10), (1234, 2000), (5_000_001, 10_000_000)]
)
def test_axes_end_at_round_numbers(highest: float, top: float) -> None:
    assert charts.nice_top(highest) == pytest.approx(top)


def test_charts_are_well_formed_and_keep_to_their_frame() -> None:
    names = [str(DAY + timedelta(days=n)) for n in range(3)]
    drawn = [
        charts.stacked(names, {"a": [1, None, 5], "b": [0, 2, 7]}),
        charts.stacked(names, {"a": [None, None, None]}),
        charts.lines(names, {"a": [0.5, None, 3]}),
        charts.ranked({"x & y": 3, "z": 1}),
        charts.ranked({}),
    ]
    for chart in drawn:
        svg = ElementTree.fromstring(str(chart).partition("<p")[0])
        for box in svg.iter("rect"):
            assert 0 <= float(box.attrib["x"]) <= charts.WIDTH
            assert float(box.attrib["y"]) >= 0
            assert float(box.attrib["x"]) + float(box.attrib["width"]) <= charts.WIDTH


def test_a_missing_day_is_a_gap_in_a_line() -> None:
    svg = str(charts.lines(["1", "2", "3"], {"a": [1, None, 1]}))
    assert svg.count("<circle") == 2
    assert 'stroke-width="2"' not in svg
