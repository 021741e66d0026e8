"""Alerts: what they ask for is exported, each leads to a runbook, and each runbook is led to."""

import re
from collections.abc import Iterator
from functools import cache

from tests.deploy.checks import checker
from tests.deploy.fleet import of_kind
from tests.deploy.platform import ENVIRONMENTS, Object, Platform
from tools import metrics

UPSTREAM = {
    # Exporter: the metrics of it that rules and dashboards use, as its documentation names them.
    "node exporter": {
        "node_cpu_seconds_total",
        "node_filesystem_avail_bytes",
        "node_filesystem_size_bytes",
        "node_load1",
        "node_memory_MemAvailable_bytes",
        "node_memory_MemTotal_bytes",
    },
    "kube-state-metrics": {
        "kube_deployment_spec_replicas",
        "kube_deployment_status_replicas_available",
        "kube_node_status_condition",
        "kube_pod_container_status_restarts_total",
        "kube_pod_container_status_waiting_reason",
        "kube_pod_status_phase",
    },
    "mesh": {"istio_requests_total", "istio_request_duration_milliseconds_bucket"},
    # Of Envoy's own, those that a sidecar of Istio serves unasked.
    "Envoy": {
        "envoy_cluster_manager_cds_update_rejected",
        "envoy_listener_manager_lds_update_rejected",
        "envoy_listener_manager_total_listeners_active",
    },
    "every process": {"process_cpu_seconds_total", "process_resident_memory_bytes"},
    "postgres exporter": {
        "pg_database_size_bytes",
        "pg_settings_max_connections",
        "pg_stat_database_blks_hit",
        "pg_stat_database_blks_read",
        "pg_stat_database_numbackends",
        "pg_stat_database_xact_commit",
        "pg_stat_database_xact_rollback",
    },
    "redis exporter": {
        "redis_commands_processed_total",
        "redis_connected_clients",
        "redis_evicted_keys_total",
        "redis_memory_max_bytes",
        "redis_memory_used_bytes",
    },
    "kubelet": {"kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"},
    "cert-manager": {"certmanager_certificate_expiration_timestamp_seconds"},
    "RabbitMQ": {
        "rabbitmq_channels",
        "rabbitmq_connections",
        "rabbitmq_detailed_queue_consumers",
        "rabbitmq_detailed_queue_messages_ready",
        "rabbitmq_detailed_queue_messages_unacked",
        "rabbitmq_disk_space_available_bytes",
        "rabbitmq_process_resident_memory_bytes",
        "rabbitmq_resident_memory_limit_bytes",
    },
    "Prometheus": {"up"},
}
RUNBOOKS = "docs/runbooks/"
OTHERS = {"full-disk", "restore"}
"""Runbooks of the local stack and of work that no alert asks for."""
SECTIONS = ("Symptom", "Impact", "First commands", "Causes", "Fixed when")
_STRING = re.compile(r'"[^"]*"')
_SELECTOR = re.compile(r"\{[^}]*\}")
_GROUPING = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\([^)]*\)")
_WORDS = {"and", "or", "unless", "offset", "bool"}


def rules(platform: Platform, environment: str) -> Iterator[Object]:
    for item in of_kind(platform, environment, "PrometheusRule"):
        for group in item["spec"]["groups"]:
            yield from group["rules"]


def names(expression: str) -> set[str]:
    """Names of the time series that a query reads."""
    bare = _GROUPING.sub(" ", _SELECTOR.sub("", _STRING.sub('""', expression)))
    found = re.findall(r"[a-zA-Z_:][\w:]*(?!\w)(?!\s*\()", bare)
    return {name for name in found if name not in _WORDS and ("_" in name or name == "up")}


@cache
def exported() -> frozenset[str]:
    ours = {name for metric in metrics.catalogue() for name in metric.series}
    return frozenset(ours.union(*UPSTREAM.values()))


def _misspelt(platform: Platform) -> None:
    for rule in rules(platform, "prod"):
        if rule.get("alert") == "StuckScans":
            rule["expr"] = rule["expr"].replace("eco2_scan_oldest_seconds", "eco2_scan_oldest_second")


def _unknown_record(platform: Platform) -> None:
    for rule in rules(platform, "prod"):
        if rule.get("record") == "eco2:request_errors:ratio_rate1h":
            rule["record"] = "eco2:request_errors:ratio_rate60m"


@checker(_misspelt, _unknown_record)
def queries_read_what_is_exported(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        found = list(rules(platform, environment))
        known = exported() | {rule["record"] for rule in found if "record" in rule}
        for rule in found:
            for name in sorted(names(rule["expr"]) - known):
                yield f"{environment}: {rule.get('alert', rule.get('record'))} reads {name}, which nothing exports"


def _no_runbook(platform: Platform) -> None:
    del platform.texts["docs/runbooks/dead-letters.md"]


def _left_over(platform: Platform) -> None:
    platform.texts["docs/runbooks/volcano.md"] = platform.texts["docs/runbooks/dead-letters.md"]


def _without_a_section(platform: Platform) -> None:
    path = "docs/runbooks/dead-letters.md"
    platform.texts[path] = platform.texts[path].replace("## Causes", "## Reasons")


def _no_severity(platform: Platform) -> None:
    del next(rule for rule in rules(platform, "dev") if "alert" in rule)["labels"]


@checker(_no_runbook, _left_over, _without_a_section, _no_severity)
def each_alert_has_a_runbook(platform: Platform) -> Iterator[str]:
    led_to = set()
    for rule in rules(platform, "prod"):
        if "alert" in rule:
            led_to.add(rule["annotations"]["runbook_url"].rpartition("/")[2])
    for environment in ENVIRONMENTS:
        for rule in rules(platform, environment):
            if "alert" in rule and rule.get("labels", {}).get("severity") not in ("critical", "warning"):
                yield f"{environment}: {rule['alert']} has no severity, by which it is sent"
    pages = {path.removeprefix(RUNBOOKS): text for path, text in platform.texts.items() if path.startswith(RUNBOOKS)}
    for name in sorted(led_to - pages.keys()):
        yield f"an alert leads to {RUNBOOKS}{name}, which there is not"
    for name in sorted(pages.keys() - led_to - {f"{other}.md" for other in OTHERS}):
        yield f"no alert leads to {RUNBOOKS}{name}"
    for name in sorted(led_to & pages.keys()):
        for section in SECTIONS:
            if f"\n## {section}\n" not in pages[name]:
                yield f"{RUNBOOKS}{name} has no section {section!r}"


def _nobody_receives(platform: Platform) -> None:
    config = platform.find("AlertmanagerConfig", "eco2", "prod")
    config["spec"]["route"]["routes"][0]["receiver"] = "on-cal"


def _inhibited_by_nothing(platform: Platform) -> None:
    config = platform.find("AlertmanagerConfig", "eco2", "prod")
    config["spec"]["inhibitRules"][1]["sourceMatch"][0]["value"] = "LlmBudgetGone"


@checker(_nobody_receives, _inhibited_by_nothing)
def alerts_reach_a_receiver(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        spec = platform.find("AlertmanagerConfig", "eco2", environment)["spec"]
        receivers = {row["name"] for row in spec["receivers"]}
        for route in (spec["route"], *spec["route"]["routes"]):
            if route["receiver"] not in receivers:
                yield f"{environment}: a route leads to {route['receiver']}, which is no receiver"
        alerts = {rule["alert"] for rule in rules(platform, environment) if "alert" in rule}
        for row in spec["inhibitRules"]:
            for match in (*row["sourceMatch"], *row["targetMatch"]):
                for name in match["value"].split("|") if match["name"] == "alertname" else ():
                    if name not in alerts:
                        yield f"{environment}: a rule of inhibition speaks of {name}, which is no alert"
