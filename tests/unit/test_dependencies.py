"""Every requirement says in ADR 9 why it is there."""

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
