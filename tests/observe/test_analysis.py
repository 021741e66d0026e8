"""Analysis of a new release on made-up series: promtool answers its queries, its conditions judge the answers."""

import math
import re
from pathlib import Path

import pytest
import yaml

from tests.observe.conftest import CHECKOUT
from tests.observe.test_rules import Series, promtool

TEMPLATE = yaml.safe_load((CHECKOUT / "workloads/domains/components/analysis/analysis-template.yaml").read_text())
GATEWAY = [
    metric
    for item in yaml.safe_load_all((CHECKOUT / "workloads/routing/gateway/base/rollout.yaml").read_text())
    if item["kind"] == "AnalysisTemplate"
    for metric in item["spec"]["metrics"]
]
METRICS = {metric["name"]: metric for metric in TEMPLATE["spec"]["metrics"]} | {
    f"gateway {metric['name']}": metric for metric in GATEWAY
}
ARGUMENTS = {"process": "scan-api", "hash": "6d5f"}
NEW, OLD = "scan-api-6d5f-x7k2p", "scan-api-5c4e-aaaaa"
NEW_EDGE, OLD_EDGE = "istio-ingressgateway-6d5f-x7k2p", "istio-ingressgateway-5c4e-aaaaa"


def query(metric: str) -> str:
    text = str(METRICS[metric]["provider"]["prometheus"]["query"])
    return re.sub(r"\{\{args\.(\w+)\}\}", lambda found: ARGUMENTS[found[1]], text)


def answers(status: str, values: str, pod: str = NEW) -> Series:
    return {f'eco2_http_request_seconds_count{{pod="{pod}", status="{status}"}}': values}


def within(le: str, values: str, pod: str = NEW, route: str = "/api/v1/scan") -> Series:
    return {f'eco2_http_request_seconds_bucket{{pod="{pod}", route="{route}", le="{le}"}}': values}


def edge(code: str, values: str, pod: str = NEW_EDGE) -> Series:
    return {f'istio_requests_total{{pod="{pod}", response_code="{code}"}}': values}


def edge_within(le: str, values: str, service: str = "my-api") -> Series:
    labels = f'pod="{NEW_EDGE}", destination_service_name="{service}", le="{le}"'
    return {f"istio_request_duration_milliseconds_bucket{{{labels}}}": values}


def envoy(lds: str, cds: str, pod: str = NEW_EDGE) -> Series:
    return {
        f'envoy_listener_manager_lds_update_rejected{{pod="{pod}"}}': lds,
        f'envoy_cluster_manager_cds_update_rejected{{pod="{pod}"}}': cds,
    }


def listeners(values: str, pod: str = NEW_EDGE) -> Series:
    return {f'envoy_listener_manager_total_listeners_active{{pod="{pod}"}}': values}


def good(metric: str, value: float | None) -> bool:
    """Verdict of Argo Rollouts on an answer; None: Prometheus knows no such series."""
    condition = METRICS[metric]["successCondition"]
    limit = re.fullmatch(r"len\(result\) == 0 \|\| isNaN\(result\[0\]\) \|\| result\[0\] <= ([\d.]+)", condition)
    assert limit, condition
    return value is None or math.isnan(value) or value <= float(limit[1])


QUIET = {**answers("200", "0+30x20", OLD), **within("+Inf", "0+30x20", OLD)}
CASES = [
    # Requests a minute: 60 are one in a second.
    ("errors", {**answers("500", "0+2x20"), **answers("200", "0+58x20")}, 2 / 60),
    ("errors", {**answers("200", "0+60x20")}, 0.0),
    ("errors", {**answers("404", "0+60x20")}, 0.0),
    ("errors", {**answers("500", "0+30x20", OLD), **answers("200", "0+60x20")}, 0.0),
    ("errors", {**answers("503", "0+1x20"), **answers("200", "0+5x20")}, (1 / 60) / 0.5),
    ("errors", QUIET, None),
    ("seconds", {**within("1.0", "0+50x20"), **within("2.5", "0+100x20"), **within("+Inf", "0+100x20")}, 2.35),
    ("seconds", {**within("0.5", "0+100x20"), **within("1.0", "0+100x20"), **within("+Inf", "0+100x20")}, 0.475),
    ("seconds", {**within("10.0", "0+100x20", route="/api/v1/scan/classify"), **within("1.0", "0+1x20"),
                 **within("+Inf", "0+1x20")}, 0.95),
    ("seconds", QUIET, None),
    ("gateway errors", {**edge("503", "0+2x20"), **edge("200", "0+58x20")}, 2 / 60),
    ("gateway errors", {**edge("503", "0+9x20", OLD_EDGE), **edge("401", "0+60x20")}, 0.0),
    ("gateway seconds", {**edge_within("1000", "0+50x20"), **edge_within("2500", "0+100x20"),
                         **edge_within("+Inf", "0+100x20")}, 2.35),
    ("gateway seconds", {**edge_within("1000", "0+50x20"), **edge_within("+Inf", "0+50x20"),
                         **edge_within("300000", "0+90x20", "sse-gateway"),
                         **edge_within("+Inf", "0+90x20", "sse-gateway")}, 0.95),
    ("gateway rejected", {**envoy("0x20", "0x20"), **envoy("3x20", "1x20", OLD_EDGE)}, 0.0),
    ("gateway rejected", envoy("1x20", "0x20"), 1.0),
    ("gateway rejected", envoy("0x20", "0x20", OLD_EDGE), None),
    ("gateway listeners", {**listeners("2x20"), **listeners("0x20", f"{NEW_EDGE}2")}, 0.0),
    ("gateway listeners", listeners("2x20"), 2.0),
]  # fmt: skip


def test_the_queries_tell_the_new_release_from_the_old_one(programs: Path, tmp_path: Path) -> None:
    tests = []
    for metric, series, value in CASES:
        samples = [] if value is None else [{"labels": "{}", "value": round(value, 4)}]
        tests.append(
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f"round({query(metric)}, 0.0001)",
                        "eval_time": "15m",
                        "exp_samples": samples,
                    }
                ],
            }
        )
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [], "tests": tests}))
    promtool(programs, "test", "rules", str(file))


@pytest.mark.parametrize(
    ("metric", "value", "wanted"),
    [
        *(("errors", 0.0333, False), ("errors", 0.01, True), ("errors", math.nan, True), ("errors", None, True)),
        *(("seconds", 2.35, False), ("seconds", 0.475, True), ("seconds", math.nan, True), ("seconds", None, True)),
    ],
)
def test_a_release_without_requests_is_not_held_up_and_a_worse_one_is(
    metric: str, value: float | None, wanted: bool
) -> None:
    assert good(metric, value) is wanted


def test_a_gateway_of_which_nothing_is_known_gets_no_request() -> None:
    """An empty result has no first sample: Argo Rollouts takes that for an error, and five of them for a failure."""
    conditions = {metric["name"]: (metric["successCondition"], metric["failureLimit"]) for metric in GATEWAY[:2]}
    assert conditions == {"rejected": ("result[0] == 0", 0), "listeners": ("result[0] > 0", 1)}


def test_an_error_every_five_minutes_of_a_quiet_service_ends_nothing() -> None:
    assert good("errors", (1 / 300) / 0.5)
