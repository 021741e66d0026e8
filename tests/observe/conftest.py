"""Prometheus's own programs, which judge the rules, and the rules as they are committed."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
BASE = CHECKOUT / "workloads/monitoring/base"


@pytest.fixture(scope="session")
def programs() -> Path:
    """Folder of promtool and amtool, unpacked on first use."""
    made = subprocess.run([CHECKOUT / "scripts/observe-tools"], capture_output=True, text=True, timeout=300)
    if made.returncode != 0:
        if os.environ.get("CI"):
            pytest.fail(made.stderr)
        pytest.skip(made.stderr.strip())
    return CHECKOUT / made.stdout.strip()


def documents(kind: str) -> Iterator[dict[str, Any]]:
    """Committed objects of that kind."""
    for path in sorted(BASE.glob("*.yaml")):
        yield from (item for item in yaml.safe_load_all(path.read_text()) if item["kind"] == kind)


@pytest.fixture(scope="session")
def rule_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All rules in one file of Prometheus."""
    groups = [group for item in documents("PrometheusRule") for group in item["spec"]["groups"]]
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": groups}))
    return path
