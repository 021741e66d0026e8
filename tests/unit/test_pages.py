"""Pages name decisions by their number and files by a path that exists."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
BELOW = ("", "eco2", "eco2/knowledge", "data", "workloads", "workloads/routing", "clusters", "tools/cluster")
"""Folders from which pages name files, besides their own."""
HISTORY = "CHANGELOG.md"
NO_FILE = re.compile(r"NN|FILE|DATE|ENVIRONMENT|^\.\./|inventory\.yml$")
"""Names with a part to fill in, lines of another file, and the inventory that Terraform writes."""


def pages() -> Iterator[tuple[Path, str]]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if name != HISTORY and (ROOT / name).exists():
            yield ROOT / name, (ROOT / name).read_text(encoding="utf-8")


def test_the_numbers_without_a_decision_are_named() -> None:
    folder = ROOT / "docs/adr"
    pages = {int(path.name[:4]) for path in folder.glob("[0-9]*.md")}
    text = (folder / "README.md").read_text(encoding="utf-8")
    named = {int(number) for number in re.findall(r"\b\d+\b", text)}
    assert set(range(1, max(pages) + 1)) - pages == named


def test_links_to_decisions_say_their_number() -> None:
    links = [
        (page.name, *link) for page, text in pages() for link in re.findall(r"\[ADR (\d+)\]\([^)]*?(\d{4})-", text)
    ]
    assert links
    assert [link for link in links if int(link[1]) != int(link[2])] == []


def test_files_that_pages_name_exist() -> None:
    missing = []
    for page, text in pages():
        for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|ya?ml|proto|tsx?|csv|lua))(?:::\w+)?`", text):
            folders = (page.parent, *(ROOT / below for below in BELOW))
            if not NO_FILE.search(path) and not any((folder / path).exists() for folder in folders):
                missing.append((page.relative_to(ROOT).as_posix(), path))
    assert missing == []
