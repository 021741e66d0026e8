"""The files that a reader opens to follow one scan stay few and short."""

import re

from eco2.local.config import CHECKOUT

MOST_FILES = 6
MOST_LINES = 900


def test_one_scan_is_followed_in_six_files_and_nine_hundred_lines() -> None:
    scan = CHECKOUT / "eco2" / "scan"
    section = (scan / "README.md").read_text().partition("## Follow one scan")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| \[[\w.]+\]\(([\w.]+)\)", section, re.MULTILINE)
    assert 0 < len(listed) <= MOST_FILES
    lines = {name: len((scan / name).read_text().splitlines()) for name in listed}
    assert sum(lines.values()) <= MOST_LINES, lines

    table = (CHECKOUT / "ARCHITECTURE.md").read_text().partition("## Follow one scan")[2].partition("\n## ")[0]
    assert re.findall(r"\| \[eco2/scan/([\w.]+)\]", table) == listed, "ARCHITECTURE shows the same way"
