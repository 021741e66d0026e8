"""Files of Prometheus and Alertmanager that are made of the cluster's objects."""

from pathlib import Path
from typing import Any

import pytest

from eco2.local.config import Credentials, Layout
from eco2.local.observing import rules, scraping
from eco2.processes import SERVICES


@pytest.fixture
def at() -> Layout:
    return Layout(Path("/home/someone/.eco2"), 10000, 8080, Credentials(), {}, observe=True)


def alerts(pace: int) -> dict[str, Any]:
    found = [rule for group in rules.rule_groups(pace) for rule in group["rules"]]
    return {rule.get("alert", rule.get("record")): rule for rule in found}


def test_at_the_clusters_pace_the_rules_are_the_committed_ones() -> None:
    committed = [group for item in rules.documents("PrometheusRule") for group in item["spec"]["groups"]]
    assert rules.rule_groups() == committed


def test_a_faster_pace_changes_times_and_nothing_else() -> None:
    slow, fast = alerts(1), alerts(20)
    assert slow.keys() == fast.keys()
    assert (fast["TargetDown"]["expr"], fast["TargetDown"]["for"]) == ("up == 0", "15s")
    assert fast["ScansFail"]["expr"] == slow["ScansFail"]["expr"].replace("[10m]", "[30s]")
    assert "[45s:3s]" in fast["QueueGrows"]["expr"]
    assert "> 500" in fast["QueueGrows"]["expr"]
    assert fast["DeadLetters"]["expr"] == slow["DeadLetters"]["expr"], "a set of characters is no window"
    assert "for" not in fast["PoisonedEvents"]
    for name, rule in slow.items():
        rest = {key: value for key, value in rule.items() if key not in ("expr", "for")}
        assert rest == {key: value for key, value in fast[name].items() if key not in ("expr", "for")}


def test_windows_stay_long_enough_for_a_rate() -> None:
    assert "[5s]" in alerts(600)["ServerErrors"]["expr"]


def test_routes_are_the_clusters_and_only_receivers_that_write_get_the_webhook() -> None:
    made = rules.alertmanager(rules.to_webhook("http://127.0.0.1:1/"), 20)
    assert made["route"]["group_by"] == ["alertname"]
    assert (made["route"]["group_wait"], made["route"]["group_interval"]) == ("1s", "15s")
    written = {row["name"]: "webhook_configs" in row for row in made["receivers"]}
    assert written == {"operators": True, "on-call": True, "nobody": False}
    silent = rules.alertmanager(rules.to_webhook(None))
    assert [row for row in silent["receivers"] if row.keys() != {"name"}] == []


def jobs(made: dict[str, Any]) -> dict[str, Any]:
    return {row["job_name"]: row for row in made["scrape_configs"]}


def test_every_process_of_the_stack_is_a_target(at: Layout) -> None:
    names = {row.name for row in SERVICES}
    found = jobs(scraping.prometheus(at, {*names, "rabbitmq", "redis-streams", "redis-cache", "postgres", "gateway"}))
    assert {row["labels"]["process"] for row in found["processes"]["static_configs"]} == names
    assert found.keys() >= {"rabbitmq", "rabbitmq-detailed", "redis", "postgres", "node", "gateway", "alertmanager"}
    assert found["rabbitmq-detailed"]["params"] == {"family": ["queue_coarse_metrics", "queue_consumer_count"]}


def test_servers_that_are_not_there_are_no_targets(at: Layout) -> None:
    found = jobs(scraping.prometheus(at, {"scan-api"}))
    assert [row["labels"]["process"] for row in found["processes"]["static_configs"]] == ["scan-api"]
    assert not found.keys() & {"rabbitmq", "redis", "postgres", "gateway"}


def test_no_password_of_redis_is_in_the_file_of_prometheus(at: Layout) -> None:
    made = str(scraping.prometheus(at, {"redis-streams", "redis-cache"}))
    assert at.credentials.redis_streams_password not in made
    assert "redis://127.0.0.1:10002" in made
