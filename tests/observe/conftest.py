"""Prometheus's own programs, which judge the rules, and the rules as they are committed."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from eco2.local.observing.rules import rule_groups

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def programs() -> Path:
    """Folder of promtool and amtool, unpacked on first use."""
    made = subprocess.run([CHECKOUT / "scripts/observe-tools"], capture_output=True, text=True, timeout=300)
    if made.returncode != 0:
        if os.environ.get("CI"):
            pytest.fail(made.stderr)
        pytest.skip(made.stderr.strip())
    return CHECKOUT / made.stdout.strip()


@pytest.fixture(scope="session")
def rule_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All rules in one file of Prometheus."""
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": rule_groups()}))
    return path
