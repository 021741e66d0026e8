"""Alertmanager's routes and inhibitions, judged by amtool and by Alertmanager itself."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from eco2.local.observing.rules import alertmanager, documents, snake
from tests.observe.test_rules import alerts
from tests.redis_server import free_port

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


CAUSES = {
    # Alert → those that need not be said while it is.
    "LlmBudgetSpent": {"LlmBudgetNearlySpent"},
    "RequestErrorsBurnFast": {"RequestErrorsBurnSlow", "ScanMissesBurnSlow"},
    "ScanMissesBurnFast": {"RequestErrorsBurnSlow", "ScanMissesBurnSlow"},
    "QueueWithoutConsumer": {"StuckScans", "QueueGrows", "NoRewards"},
    "NodeNotReady": {"TargetDown", "PodsMissing", "NodeCpu"},
}


@pytest.fixture(scope="module")
def alertmanager_url(programs: Path, config: Path) -> Iterator[str]:
    """Alertmanager with the committed routes; it has nobody to send to."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(programs / "prometheus-alertmanager", f"--config.file={config}", f"--storage.path={config.parent / 'data'}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="),
    ]
    with (config.parent / "log").open("w") as log:
        process = subprocess.Popen([*map(str, command)], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 30
        while subprocess.run(
            [programs / "amtool", "alert", f"--alertmanager.url={url}"], capture_output=True
        ).returncode:
            assert process.poll() is None, (config.parent / "log").read_text()
            assert time.monotonic() < end, "Alertmanager does not answer"
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def silenced(programs: Path, url: str) -> set[str]:
    """Alerts that Alertmanager leaves unsaid because of others."""
    found = amtool(programs, "alert", "query", "--inhibited", "--output=json", f"--alertmanager.url={url}")
    return {row["labels"]["alertname"] for row in json.loads(found) if row["status"]["inhibitedBy"]}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_cause_silences_what_it_explains_and_nothing_else(programs: Path, alertmanager_url: str, cause: str) -> None:
    def say(name: str, severity: str, *more: str) -> None:
        url = f"--alertmanager.url={alertmanager_url}"
        amtool(programs, "alert", "add", name, f"severity={severity}", f"case={cause}", *more, url)

    def of_this_case() -> set[str]:
        return silenced(programs, alertmanager_url)

    severities = alerts()
    assert of_this_case() == set()
    for name, severity in severities.items():
        if name not in CAUSES:
            say(name, severity)
    assert of_this_case() == set(), "something is left unsaid without a cause"
    say(cause, severities[cause])
    wanted = CAUSES[cause]
    end = time.monotonic() + 20
    while of_this_case() != wanted and time.monotonic() < end:
        time.sleep(0.1)
    assert of_this_case() == wanted
    ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    say(cause, severities[cause], f"--end={ended}")
    while of_this_case() and time.monotonic() < end:
        time.sleep(0.1)
    assert of_this_case() == set()


def test_every_inhibition_is_tried() -> None:
    (committed,) = documents("AlertmanagerConfig")
    by_name = [
        {match["name"]: match["value"] for match in row["sourceMatch"]}.get("alertname")
        for row in committed["spec"]["inhibitRules"]
    ]
    assert {name for names in by_name if names for name in names.split("|")} == CAUSES.keys()


def test_what_is_critical_is_no_warning_as_well(programs: Path, alertmanager_url: str) -> None:
    url = f"--alertmanager.url={alertmanager_url}"
    amtool(programs, "alert", "add", "Both", "severity=warning", url)
    assert "Both" not in silenced(programs, alertmanager_url)
    amtool(programs, "alert", "add", "Both", "severity=critical", url)
    end = time.monotonic() + 20
    while "Both" not in silenced(programs, alertmanager_url):
        assert time.monotonic() < end
        time.sleep(0.1)
