"""The committed dashboards are the code's, and ask for nothing that nobody exports."""

import json
from typing import Any

import pytest
import yaml

from eco2.local.observing import rules
from tests.deploy.checks import alerts
from tools.dashboards import boards, render

KUSTOMIZATION = render.FOLDER.parent / "kustomization.yaml"


@pytest.fixture(scope="module")
def committed() -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(render.FOLDER.glob("*.json"))}


def test_the_committed_files_are_the_codes(committed: dict[str, str]) -> None:
    assert committed == render.files(), "run `make dashboards` and commit the change"


def test_each_file_is_a_config_map(committed: dict[str, str]) -> None:
    made = yaml.safe_load(KUSTOMIZATION.read_text())
    listed = [file for row in made["configMapGenerator"] for file in row["files"]]
    assert sorted(listed) == sorted(f"dashboards/{name}" for name in committed)
    assert made["generatorOptions"]["labels"] == {"grafana_dashboard": "1"}


def test_every_query_reads_what_is_exported() -> None:
    records = {rule["record"] for group in rules.rule_groups() for rule in group["rules"] if "record" in rule}
    known = alerts.exported() | records
    unknown = {
        (board, panel, name)
        for board, panel, query in boards.queries()
        for name in alerts.names(query.replace("[$__rate_interval]", "[5m]")) - known
    }
    assert unknown == set()


def test_panels_are_laid_out_side_by_side(committed: dict[str, str]) -> None:
    for name, text in committed.items():
        places: list[Any] = []
        for panel in json.loads(text)["panels"]:
            if panel["type"] != "row":
                places.append((panel["gridPos"]["x"], panel["gridPos"]["y"]))
                assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, (name, panel["title"])
        assert len(set(places)) == len(places), name


def test_titles_within_a_dashboard_are_unique() -> None:
    for name, board in boards.BOARDS.items():
        titles = [panel.title for panels in board.rows.values() for panel in panels]
        assert len(set(titles)) == len(titles), name
