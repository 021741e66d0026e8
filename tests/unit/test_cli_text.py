"""Arguments and file names in other encodings than UTF-8."""

import os
from pathlib import Path

import pytest

from eco2.cli import text

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
