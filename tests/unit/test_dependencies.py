"""Every requirement says in ADR 9 why it is there, and every number of a decision has its page or is named."""

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_requirement_stands_in_the_decision_about_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"].values()
    extras = project["project"]["optional-dependencies"].values()
    wanted = [*project["project"]["dependencies"], *(row for extra in extras for row in extra)]
    wanted += [row for group in groups for row in group if isinstance(row, str)]
    names = {re.split(r"[<>=\[!~ ]", row)[0].lower() for row in wanted}
    for package in ("web/package.json", "tests/typescript/package.json"):
        said = json.loads((ROOT / package).read_text(encoding="utf-8"))
        names |= said["dependencies"].keys() | said["devDependencies"].keys()
    text = (ROOT / "docs/adr/0009-dependencies.md").read_text(encoding="utf-8").lower()
    families = tuple(re.findall(r"`([a-z0-9-]+-)\*`", text))
    spelled = text.replace(" ", "-")
    assert [name for name in sorted(names) if name not in spelled and not name.startswith(families)] == []


def test_the_numbers_without_a_decision_are_named() -> None:
    folder = ROOT / "docs/adr"
    pages = {int(path.name[:4]) for path in folder.glob("[0-9]*.md")}
    text = (folder / "README.md").read_text(encoding="utf-8")
    named = {int(number) for number in re.findall(r"\b\d+\b", text)}
    assert set(range(1, max(pages) + 1)) - pages == named


def test_links_to_decisions_say_their_number() -> None:
    pages = (page for page in ROOT.rglob("*.md") if not {"node_modules", "build"} & set(page.relative_to(ROOT).parts))
    own = [page for page in pages if not page.relative_to(ROOT).parts[0].startswith(".")]
    links = [
        (page, *link) for page in own for link in re.findall(r"\[ADR (\d+)\]\([^)]*?(\d{4})-", page.read_text("utf-8"))
    ]
    assert links
    assert [(page.name, said, to) for page, said, to in links if int(said) != int(to)] == []
