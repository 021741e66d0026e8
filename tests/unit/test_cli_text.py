"""Text that others wrote: arguments and file names in other encodings, comments that would command the terminal."""

import csv
import json
import os
from pathlib import Path

import pytest

from eco2.cli import console, jobs, regions, text
from eco2.recycling.household import Rejected

CP949 = os.fsdecode("페트병.jpg".encode("cp949"))


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("coffee.jpg", "coffee.jpg"),
        ("페트병.jpg", "페트병.jpg"),
        (CP949, "페트병.jpg"),
        (os.fsdecode(b"\xff\xfe.jpg"), "\ufffd\ufffd.jpg"),
        ("가" * 1000, "가" * 1000),
        ("", ""),
    ],
)
def test_whatever_the_bytes_are_the_text_can_be_shown_and_sent(given: str, read: str) -> None:
    assert text.readable(given) == text.argument(given) == read
    text.readable(given).encode()


def test_the_name_of_a_file_that_is_there_keeps_its_bytes(tmp_path: Path) -> None:
    path = str(tmp_path / CP949)
    Path(path).write_bytes(b"")
    assert text.argument(path) == path
    assert text.readable(path) == str(tmp_path / "페트병.jpg")


COMMANDS = "x\x1b]52;c;cm0gLXJm\x07\x1b[2J\x9b31m\ry\u202ez"
"""Clipboard, screen, colour, an overwritten line, letters turned around."""


def test_what_others_wrote_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"id": 7, "comment": COMMANDS}
    console.table([row], "id", "comment", empty="")
    console.say(COMMANDS)
    console.show([row], True, "id", empty="")
    jobs._print({"job": {"id": 7, "said": "[/nothing]" + COMMANDS}, "trace_id": None, "events": [], "stages": []})
    shown = capsys.readouterr()
    assert not set(shown.out + shown.err) & set("\x1b\x07\x9b\r\u202e")
    assert "[/nothing]" in shown.out


def test_a_json_list_for_programs_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    console.show([{"comment": COMMANDS}], True, "comment", empty="")
    assert json.loads(capsys.readouterr().out) == [{"comment": COMMANDS}]


def test_a_report_for_a_spreadsheet_has_no_formula_of_others(tmp_path: Path) -> None:
    report = tmp_path / "rejected.csv"
    regions._report(
        (Rejected(2, '=HYPERLINK("http://evil.example")', "no_day", "@SUM(1)"), Rejected(3, "마포구", "no_day", "-")),
        report,
    )
    with report.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[1][0] for row in rows] == ["'", "마"]
    assert not [cell for row in rows for cell in row if cell[0] in "=+-@"]
