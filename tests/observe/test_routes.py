"""Alertmanager's routes, judged by amtool: each severity reaches its receiver."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observe.conftest import documents

Json = dict[str, Any]


def snake(value: Any) -> Any:
    """Keys as Alertmanager's own file has them."""
    if isinstance(value, list):
        return [snake(row) for row in value]
    if isinstance(value, dict):
        return {re.sub(r"[A-Z]", lambda m: f"_{m[0].lower()}", key): snake(row) for key, row in value.items()}
    return value


def matchers(rows: list[Json]) -> list[str]:
    return [f'{row["name"]}{row["matchType"]}"{row["value"]}"' for row in rows]


def as_file(spec: Json) -> Json:
    """The object as Prometheus's operator writes it into Alertmanager's file; the Slack address is made up."""

    def route(row: Json) -> Json:
        inner = {"matchers": matchers(row["matchers"])} if "matchers" in row else {}
        routes = {"routes": [route(child) for child in row["routes"]]} if "routes" in row else {}
        rest = {key: value for key, value in row.items() if key not in ("matchers", "routes")}
        return {**snake(rest), **inner, **routes}

    return {
        "route": route(spec["route"]),
        "inhibit_rules": [
            {
                "source_matchers": matchers(row["sourceMatch"]),
                "target_matchers": matchers(row["targetMatch"]),
                "equal": row.get("equal", []),
            }
            for row in spec["inhibitRules"]
        ],
        "receivers": [
            {
                "name": row["name"],
                "slack_configs": [
                    {
                        **snake({key: value for key, value in one.items() if key != "apiURL"}),
                        "api_url": "http://slack.test",
                    }
                    for one in row.get("slackConfigs", [])
                ],
            }
            for row in spec["receivers"]
        ],
    }


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (item,) = documents("AlertmanagerConfig")
    path = tmp_path_factory.mktemp("routes") / "alertmanager.yml"
    path.write_text(yaml.safe_dump(as_file(item["spec"])))
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
