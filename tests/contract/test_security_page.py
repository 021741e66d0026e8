"""docs/security.md: every file and test that it names is there, and no chapter of the standard is left out."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
NAMED = re.compile(r"`([\w.-]+/[\w./-]+|Dockerfile)(?:::(\w+))?`")
LINK = re.compile(r"\]\(([^)#]+)\)")


def missing(text: str) -> Iterator[str]:
    """Names of the text that the repository does not have."""
    for path, name in NAMED.findall(text):
        file = ROOT / path
        if not file.exists():
            yield path
        elif name and not re.search(rf"^(async )?def {name}\(", file.read_text(encoding="utf-8"), re.M):
            yield f"{path}::{name}"
    yield from (link for link in LINK.findall(text) if not (PAGE.parent / link).exists())


def rows(text: str) -> Iterator[list[str]]:
    """Cells of the tables of threats."""
    for line in text.splitlines():
        if re.match(r"\| [STRIDE] \|", line):
            yield [cell.strip() for cell in line.strip("| ").split(" | ")]


def test_every_file_and_test_that_is_named_is_there() -> None:
    assert list(missing(PAGE.read_text(encoding="utf-8"))) == []


def test_every_threat_has_its_code_and_its_test() -> None:
    lacking = [
        cells[1]
        for cells in rows(PAGE.read_text(encoding="utf-8"))
        if len(cells) != 5 or not NAMED.search(cells[3]) or not re.search(r"`tests/[\w/.]+::\w+`", cells[4])
    ]
    assert lacking == []


def test_every_chapter_of_the_standard_is_judged() -> None:
    found = re.findall(r"^\| V(\d+) ", PAGE.read_text(encoding="utf-8"), re.M)
    assert found == [str(number) for number in range(1, 18)]


@pytest.mark.parametrize(
    "text",
    [
        "`eco2/auth/nothing.py`",
        "`tests/unit/test_keys.py::test_nothing`",
        "`tests/nothing/test_keys.py::test_garbage_is_no_token`",
        "[this](adr/9999-nothing.md)",
    ],
)
def test_what_is_not_there_is_named(text: str) -> None:
    assert len(list(missing(text))) == 1
