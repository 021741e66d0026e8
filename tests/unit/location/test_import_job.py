"""Addresses of files to import, and the Job that imports one."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from eco2.cli.main import app
from eco2.location.importing import job, stored
from eco2.location.importing.job import TemplateRefused
from eco2.location.importing.stored import AddressRefused

NOW = datetime(2026, 12, 1, 1, 30, tzinfo=UTC)
FILE = "s3://eco2-ops/imports/폐건전지_20260630.csv"
TEMPLATE = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: places-import, namespace: location, annotations: {argocd.argoproj.io/tracking-id: x}, uid: abc}
spec:
  schedule: "0 0 31 2 *"
  suspend: true
  jobTemplate:
    spec:
      backoffLimit: 2
      template:
        metadata: {labels: {app.kubernetes.io/name: places-import}}
        spec:
          containers:
            - name: app
              image: eco2:location-dev-1
              command: [eco2, places, import]
              args: [--help]
              volumeMounts: [{name: tmp, mountPath: /tmp}]
          volumes: [{name: tmp, emptyDir: {}}]
"""


def printed(*arguments: str, template: str = TEMPLATE) -> list[dict[str, Any]]:
    done = CliRunner().invoke(app, ["places", "job", *arguments], input=template)
    assert done.exit_code == 0, done.output
    return list(yaml.safe_load_all(done.output))


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/imports/a.csv",
        "http://169.254.169.254/imports/a.csv",
        "file:///etc/passwd",
        "s3://eco2-ops/backups/a.csv",
        "s3://eco2-ops/imports/",
        "s3://eco2-ops/imports/../backups/a.csv",
        "s3://eco2-ops/imports/..",
        "s3://eco2-ops/imports/a\n.csv",
        "s3:///imports/a.csv",
        "s3://eco2-ops",
    ],
)
def test_nothing_but_files_to_import_has_an_address(text: str) -> None:
    assert stored.is_address(text)
    with pytest.raises(AddressRefused):
        stored.address(text)


def test_a_report_lies_beside_its_file() -> None:
    found = stored.address(FILE)
    assert str(found) == FILE
    assert str(found.report(NOW)) == "s3://eco2-ops/imports/폐건전지_20260630.report-20261201T013000Z.csv"
    long = stored.address(f"s3://eco2-ops/imports/{'가' * 196}.csv")
    assert stored.address(str(long.report(NOW))) == long.report(NOW)


def test_a_job_is_what_is_deployed_with_a_file_and_without_the_cluster_s_marks() -> None:
    (made,) = printed(
        *(FILE, "--format", "battery-boxes", "--licence", "kogl-1", "--publisher", "마포구"),
        *("--title", "폐건전지 $(HOME) $$(X) A$$B", "--dry-run"),
    )
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert (made["kind"], container["image"], container["command"]) == (
        "Job",
        "eco2:location-dev-1",
        ["eco2", "places", "import"],
    )
    assert container["args"] == [
        *(FILE, "--format", "battery-boxes", "--allow-rejects", "--licence=kogl-1"),
        *("--title=폐건전지 $$(HOME) $$$$(X) A$$$$B", "--publisher=마포구", "--dry-run"),
    ]
    assert made["metadata"].keys() == {"name", "namespace", "labels"}
    assert made["metadata"]["name"].startswith("places-import-20")
    assert made["spec"]["backoffLimit"] == 2


def test_a_map_file_comes_as_a_config_map_that_is_named_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("dataset: icepack_box\ncolumns: {name: 장소, road: 어디}\n", encoding="utf-8")
    asked = (FILE, "--format", "generic", "--licence", "own", "--map", str(path))
    config, made = printed(*asked)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert (config["kind"], config["immutable"], config["data"]) == ("ConfigMap", True, {"map.yaml": path.read_text()})
    assert container["args"][-2:] == ["--map", "/map/map.yaml"]
    assert {"name": "map", "configMap": {"name": config["metadata"]["name"]}} in made["spec"]["template"]["spec"][
        "volumes"
    ]
    assert {"name": "map", "mountPath": "/map", "readOnly": True} in container["volumeMounts"]
    assert printed(*asked)[0] == config
    path.write_text("dataset: lamp_box\n")
    assert printed(*asked)[0]["metadata"]["name"] != config["metadata"]["name"]
    path.write_text("dataset: bins\n")
    done = CliRunner().invoke(app, ["places", "job", *asked], input=TEMPLATE)
    assert done.exit_code == 1, "a mistake is told before there is a Job"


@pytest.mark.parametrize(
    "arguments",
    [
        ("places.csv", "--format", "battery-boxes", "--licence", "own"),
        ("https://example.com/imports/a.csv", "--format", "battery-boxes", "--licence", "own"),
        (FILE, "--format", "boxes", "--licence", "own"),
        (FILE, "--format", "battery-boxes"),
        (FILE, "--format", "battery-boxes", "--licence", "kogl-4"),
        (FILE, "--format", "battery-boxes", "--licence", "kogl-1"),
        (FILE, "--format", "battery-boxes", "--licence", "own", "--crs", "1"),
    ],
)
def test_what_would_be_refused_makes_no_job(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, ["places", "job", *arguments], input=TEMPLATE)
    assert done.exit_code == 1
    assert "kind: Job" not in done.output


@pytest.mark.parametrize("template", ["", "a: [", "- a", "kind: Job", TEMPLATE.replace("places-import", "other")])
def test_another_template_is_refused(template: str) -> None:
    with pytest.raises(TemplateRefused, match="get cronjob places-import"):
        job.objects(template, [FILE], None, NOW)
