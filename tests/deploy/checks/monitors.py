"""Prometheus reads every process and the gateway, each once, by the monitor of its shape."""

from collections.abc import Iterator

from tests.deploy.applications import find_application
from tests.deploy.checks import checker
from tests.deploy.checks.access import SIDECAR_METRICS
from tests.deploy.fleet import Pod, of_kind, pods, rows, selects
from tests.deploy.platform import ENVIRONMENTS, Object, Platform

GATEWAY = "gateway"


def _shape_forgotten(platform: Platform) -> None:
    folder = platform.builds["workloads/monitoring/prod"]
    folder.remove(platform.find("PodMonitor", "stream", "prod"))


def _read_twice(platform: Platform) -> None:
    del platform.find("PodMonitor", "api", "dev")["spec"]["selector"]["matchLabels"]["shape"]


def _other_shape(platform: Platform) -> None:
    template = platform.find("Deployment", "scan-worker", "staging")["spec"]["template"]
    template["metadata"]["labels"]["shape"] = "api"


def _gateway_unread(platform: Platform) -> None:
    platform.find("PodMonitor", GATEWAY, "prod")["spec"]["namespaceSelector"] = {"matchNames": ["istio-ingress"]}


def _every_port(platform: Platform) -> None:
    platform.find("PodMonitor", "worker", "dev")["spec"]["podMetricsEndpoints"][0]["relabelings"].pop(0)


def _without_the_process(platform: Platform) -> None:
    platform.find("PodMonitor", "grpc", "prod")["spec"]["podMetricsEndpoints"][0]["relabelings"].pop()


def _without_bound(platform: Platform) -> None:
    del platform.find("PodMonitor", "api", "staging")["spec"]["sampleLimit"]


@checker(
    *(_shape_forgotten, _read_twice, _other_shape, _gateway_unread),
    *(_every_port, _without_the_process, _without_bound),
)
def each_process_is_read_by_the_monitor_of_its_shape(platform: Platform) -> Iterator[str]:
    wanted = {name: row.kind for name, row in rows().items()} | {GATEWAY: GATEWAY}
    for environment in ENVIRONMENTS:
        monitors = [
            item
            for item in of_kind(platform, environment, "PodMonitor")
            if item["metadata"]["namespace"] == "monitoring"
        ]
        found = pods(platform, environment)
        for name, shape in wanted.items():
            by = [item["metadata"]["name"] for item in monitors if name in found and _reads(item, found[name])]
            if by != [shape]:
                yield f"{environment}: {name} is read by {by or 'no monitor'}, not by {shape} alone"
        for item in (one for one in monitors if one["metadata"]["name"] in wanted.values()):
            yield from (f"{environment}: {fault}" for fault in _faults(item))


def _reads(monitor: Object, pod: Pod) -> bool:
    spec = monitor["spec"]
    spaces = spec.get("namespaceSelector", {"matchNames": [monitor["metadata"]["namespace"]]})
    here = spaces.get("any") or pod.namespace in spaces.get("matchNames", ())
    return bool(here and selects(spec["selector"], pod.labels))


def _faults(monitor: Object) -> Iterator[str]:
    name, spec = monitor["metadata"]["name"], monitor["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]
    steps = endpoint["relabelings"]
    kept = [row["regex"] for row in steps if row["action"] == "keep"]
    addresses = [row["replacement"] for row in steps if row.get("targetLabel") == "__address__"]
    if kept != ["http-envoy-prom"] or addresses != [f"$1:{SIDECAR_METRICS}"] or endpoint["path"] != "/stats/prometheus":
        yield f"{name} reads no sidecar, or each of its ports"
    if not any(row.get("targetLabel") == "process" for row in steps):
        yield f"{name} does not say whose metrics it reads, as alerts and dashboards do"
    if not spec.get("sampleLimit"):
        yield f"{name} takes any number of series"


def _values(platform: Platform, environment: str, application: str) -> Object:
    found: Object = find_application(platform, environment, application)["spec"]["source"]["helm"]["valuesObject"]
    return found


def _datasources(platform: Platform, environment: str) -> dict[str, Object]:
    rows = _values(platform, environment, "grafana")["datasources"]["datasources.yaml"]["datasources"]
    return {row["name"]: row for row in rows}


def _thrown_away(platform: Platform) -> None:
    del _values(platform, "prod", "monitoring-operator")["prometheus"]["prometheusSpec"]["enableFeatures"]


def _leads_nowhere(platform: Platform) -> None:
    _datasources(platform, "dev")["Jaeger"]["uid"] = "traces"


@checker(_thrown_away, _leads_nowhere)
def a_measurement_leads_to_its_trace(platform: Platform) -> Iterator[str]:
    """The label of `eco2.core.telemetry.exemplar` is kept by Prometheus and known to Grafana."""
    for environment in ENVIRONMENTS:
        spec = _values(platform, environment, "monitoring-operator")["prometheus"]["prometheusSpec"]
        if "exemplar-storage" not in spec.get("enableFeatures", ()):
            yield f"{environment}: Prometheus keeps no exemplars"
        sources = _datasources(platform, environment)
        links = sources["Prometheus"].get("jsonData", {}).get("exemplarTraceIdDestinations", [])
        if links != [{"name": "trace_id", "datasourceUid": sources["Jaeger"].get("uid")}]:
            yield f"{environment}: a point on a graph of Grafana leads to no trace"
