"""Alertmanager's routes, judged by amtool: each severity reaches its receiver."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from eco2.local.observing.rules import alertmanager, snake

Json = dict[str, Any]


def to_slack(row: Json) -> Json:
    """A receiver as Prometheus's operator writes it; the address is made up."""
    found = [
        {snake(key): value for key, value in one.items() if key != "apiURL"} for one in row.get("slackConfigs", [])
    ]
    return {"slack_configs": [{**one, "api_url": "http://slack.test"} for one in found]}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("routes") / "alertmanager.yml"
    path.write_text(yaml.safe_dump(alertmanager(to_slack)))
    return path


def amtool(programs: Path, *words: str) -> str:
    made = subprocess.run([programs / "amtool", *words], capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout.strip()


def test_the_file_is_well_formed(programs: Path, config: Path) -> None:
    assert "SUCCESS" in amtool(programs, "check-config", str(config))


@pytest.mark.parametrize(
    ("severity", "receiver"),
    [("critical", "on-call"), ("warning", "operators"), ("none", "nobody"), ("info", "nobody"), ("page", "operators")],
)
def test_each_severity_reaches_its_receiver(programs: Path, config: Path, severity: str, receiver: str) -> None:
    found = amtool(
        programs, "config", "routes", "test", f"--config.file={config}", "alertname=X", f"severity={severity}"
    )
    assert found == receiver
