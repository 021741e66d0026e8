"""Newer versions of what others make: every chart is found by Renovate, under the repository that it comes from."""

import json
import re

import yaml

from tests.workflows.runner import CHECKOUT

RENOVATE = json.loads((CHECKOUT / ".github/renovate.json").read_text())
BASE, DEV = CHECKOUT / "clusters/base/apps", CHECKOUT / "clusters/dev/apps"


def found() -> dict[str, tuple[str, str, str]]:
    """File → chart, repository and version, as Renovate's expression reads them."""
    [manager] = RENOVATE["customManagers"]
    [expression] = manager["matchStrings"]
    [pattern] = manager["managerFilePatterns"]
    python = expression.replace("(?<", "(?P<")
    rows = {}
    for path in DEV.glob("*.yaml"):
        assert re.search(pattern.strip("/"), path.relative_to(CHECKOUT).as_posix())
        if match := re.search(python, path.read_text()):
            rows[path.name] = (match["depName"], match["registryUrl"], match["currentValue"])
    return rows


def charts() -> dict[str, tuple[str, str, str]]:
    rows = {}
    for path in BASE.glob("*.yaml"):
        source = next(yaml.safe_load_all(path.read_text()))["spec"].get("source", {}) if path.name[0].isdigit() else {}
        if "chart" in source and (DEV / path.name).exists():
            version = yaml.safe_load((DEV / path.name).read_text())["spec"]["source"]["targetRevision"]
            rows[path.name] = (source["chart"], source["repoURL"], version)
    return rows


def test_every_chart_is_found_with_its_repository_and_version() -> None:
    assert len(charts()) >= 15
    assert found() == charts()


def test_python_is_left_to_scripts_lock() -> None:
    assert not {"pip_requirements", "pep621", "pip-compile"} & set(RENOVATE["enabledManagers"])
    script = (CHECKOUT / "scripts/lock").read_text()
    for file in ("app.txt", "api.txt", "local.txt", "dev.txt"):
        assert f"requirements/{file}" in script
    for folder in ("tools/infra", "tools/workflows"):
        assert folder in script
        assert (CHECKOUT / folder / "requirements.in").exists()
