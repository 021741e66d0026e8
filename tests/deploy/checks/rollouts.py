"""Releases that are rolled out in steps: their Services, routes, weights and autoscalers belong together."""

from collections.abc import Iterator

from tests.deploy.applications import find_application
from tests.deploy.checks import alerts, checker
from tests.deploy.fleet import deployments, of_kind
from tests.deploy.platform import ENVIRONMENTS, Object, Platform

STEPS = [10, "analysis", 50, "analysis"]
"""Percent of the requests, and what comes before more; the end is all of them."""
MEASURED_SECONDS = 600


GATEWAY = "istio-ingressgateway"
CONFIGURATION = f"{GATEWAY}-configuration"


def _of_processes(platform: Platform, environment: str) -> Iterator[Object]:
    rollouts = of_kind(platform, environment, "Rollout")
    return (item for item in rollouts if item["metadata"]["name"] != GATEWAY)


def _half_at_once(platform: Platform) -> None:
    platform.find("Rollout", "scan-api", "prod")["spec"]["strategy"]["canary"]["steps"][0]["setWeight"] = 50


def _route_without_canary(platform: Platform) -> None:
    platform.find("VirtualService", "scan-vs", "prod")["spec"]["http"][1]["route"].pop()


def _route_forgotten(platform: Platform) -> None:
    canary = platform.find("Rollout", "scan-api", "staging")["spec"]["strategy"]["canary"]
    canary["trafficRouting"]["istio"]["virtualService"]["routes"].remove("scan-write")


def _autoscaler_of_the_deployment(platform: Platform) -> None:
    target = platform.find("HorizontalPodAutoscaler", "recycling-api", "prod")["spec"]["scaleTargetRef"]
    target |= {"apiVersion": "apps/v1", "kind": "Deployment"}


def _preview_of_another(platform: Platform) -> None:
    service = platform.find("Service", "recycling-api-preview", "dev")
    service["spec"]["selector"] = {"app.kubernetes.io/name": "scan-api"}


@checker(_half_at_once, _route_without_canary, _route_forgotten, _autoscaler_of_the_deployment, _preview_of_another)
def roll_outs_move_the_requests_that_they_say(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        services = {item["metadata"]["name"]: item for item in of_kind(platform, environment, "Service")}
        scalers = {item["metadata"]["name"]: item for item in of_kind(platform, environment, "HorizontalPodAutoscaler")}
        for item in _of_processes(platform, environment):
            name, spec = item["metadata"]["name"], item["spec"]
            if spec["workloadRef"]["name"] != name or name not in deployments(platform, environment):
                yield f"{environment}: Rollout {name} is of the Deployment {spec['workloadRef']['name']}"
            if name in scalers and scalers[name]["spec"]["scaleTargetRef"]["kind"] != "Rollout":
                yield f"{environment}: the autoscaler of {name} and its Rollout both set its replicas"
            canary, blue = spec["strategy"].get("canary", {}), spec["strategy"].get("blueGreen", {})
            pair = [strategy[key] for strategy in (canary, blue) for key in strategy if key.endswith("Service")]
            for service in pair:
                if services.get(service, {}).get("spec", {}).get("selector") != {"app.kubernetes.io/name": name}:
                    yield f"{environment}: {service} is no Service of {name}"
            if canary:
                yield from _canary(platform, environment, item, canary)


def _canary(platform: Platform, environment: str, item: Object, canary: Object) -> Iterator[str]:
    name, space = item["metadata"]["name"], item["metadata"]["namespace"]
    routing = canary["trafficRouting"]["istio"]["virtualService"]
    entries = platform.find("VirtualService", routing["name"].partition(".")[0], environment)["spec"]["http"]
    hosts = [f"{canary[key]}.{space}.svc.cluster.local" for key in ("stableService", "canaryService")]
    leading = [row for row in entries if any(to["destination"]["host"] == hosts[0] for to in row.get("route", ()))]
    if [row["name"] for row in leading] != routing.get("routes"):
        yield f"{environment}: Rollout {name} leaves out a route to {name}"
    for row in leading:
        weights = [(to["destination"]["host"], to.get("weight")) for to in row["route"]]
        if weights != [(hosts[0], 100), (hosts[1], 0)]:
            yield f"{environment}: route {row['name']} begins with {weights}"
    weights_and_pauses = [step.get("setWeight", "analysis" if "analysis" in step else None) for step in canary["steps"]]
    if weights_and_pauses != STEPS:
        yield f"{environment}: a new release of {name} goes by {weights_and_pauses}, not by {STEPS}"


def _not_measured(platform: Platform) -> None:
    del platform.find("Rollout", "scan-api", "prod")["spec"]["strategy"]["canary"]["steps"][1]


def _measures_another(platform: Platform) -> None:
    analysis = platform.find("Rollout", "recycling-api", "dev")["spec"]["strategy"]["blueGreen"][
        "postPromotionAnalysis"
    ]
    analysis["args"][0]["value"] = "scan-api"


def _no_way_back(platform: Platform) -> None:
    platform.find("Rollout", "recycling-api", "prod")["spec"]["strategy"]["blueGreen"]["scaleDownDelaySeconds"] = 30


def _asks_nobody(platform: Platform) -> None:
    template = platform.find("AnalysisTemplate", "scan-api", "staging")
    template["spec"]["metrics"][0]["provider"]["prometheus"]["query"] = "sum(rate(eco2_http_requests_total[5m]))"


@checker(_not_measured, _measures_another, _no_way_back, _asks_nobody)
def a_new_release_is_measured_before_it_gets_everything(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        templates = {item["metadata"]["name"]: item for item in of_kind(platform, environment, "AnalysisTemplate")}
        for item in _of_processes(platform, environment):
            name, strategy = item["metadata"]["name"], item["spec"]["strategy"]
            steps = [step["analysis"] for step in strategy.get("canary", {}).get("steps", ()) if "analysis" in step]
            blue = strategy.get("blueGreen", {})
            found = steps + [blue[key] for key in ("postPromotionAnalysis",) if key in blue]
            if len(found) != (1 if blue else 2):
                yield f"{environment}: {name} is measured {len(found)} times"
            for analysis in found:
                named = [row["templateName"] for row in analysis["templates"]]
                given = {row["name"]: row.get("value", "") for row in analysis["args"]}
                if named != [name] or name not in templates or given.get("process") != name:
                    yield f"{environment}: the analysis of {name} is of {named} with {given}"
            if blue and blue.get("scaleDownDelaySeconds", 0) < MEASURED_SECONDS:
                yield f"{environment}: the old {name} is gone before the new one has been measured"
        for name, item in templates.items():
            for metric in item["spec"]["metrics"]:
                if name == CONFIGURATION:
                    continue
                query = metric["provider"]["prometheus"]["query"]
                if unknown := alerts.names(query) - alerts.exported():
                    yield f"{environment}: the analysis of {name} reads {sorted(unknown)}, which nothing exports"
                if metric.get("interval") != "1m" or metric.get("count", 0) * 60 != MEASURED_SECONDS:
                    yield f"{environment}: {metric['name']} of {name} is not measured for {MEASURED_SECONDS} s"


def _two_scale_a_process(platform: Platform) -> None:
    platform.find("Deployment", "scan-worker", "prod")["spec"]["replicas"] = 2


def _rollout_and_sync(platform: Platform) -> None:
    platform.find("Deployment", "scan-api", "dev")["spec"]["replicas"] = 1


def _all_ignored(platform: Platform) -> None:
    template = find_application(platform, "prod", "apis")["spec"]["template"]["spec"]
    template["ignoreDifferences"] = [{"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]}]


@checker(_two_scale_a_process, _rollout_and_sync, _all_ignored)
def replicas_have_one_master(platform: Platform) -> Iterator[str]:
    """A workload that an autoscaler or a Rollout scales sets no replicas; a sync restores those of the others."""
    for environment in ENVIRONMENTS:
        scaled = {
            item["spec"]["scaleTargetRef"]["name"]
            for item in of_kind(platform, environment, "HorizontalPodAutoscaler", "ScaledObject")
        }
        scaled |= {item["spec"]["workloadRef"]["name"] for item in of_kind(platform, environment, "Rollout")}
        for name, item in deployments(platform, environment).items():
            if ("replicas" in item["spec"]) is (name in scaled):
                yield f"{environment}: {name} {'has replicas of its own' if name in scaled else 'has no replicas'}"
        if "ignoreDifferences" in find_application(platform, environment, "apis")["spec"]["template"]["spec"]:
            yield f"{environment}: a sync keeps changes made by hand"


def _chart_scales(platform: Platform) -> None:
    values = find_application(platform, "prod", "istio-gateway")["spec"]["source"]["helm"]["valuesObject"]
    values["autoscaling"] = {"minReplicas": 2}


def _chart_has_replicas(platform: Platform) -> None:
    del find_application(platform, "dev", "istio-gateway")["spec"]["source"]["helm"]["valuesObject"]["replicaCount"]


def _switch_without_analysis(platform: Platform) -> None:
    del platform.find("Rollout", GATEWAY, "prod")["spec"]["strategy"]["blueGreen"]["prePromotionAnalysis"]


def _no_way_back_at_the_gateway(platform: Platform) -> None:
    platform.find("Rollout", GATEWAY, "staging")["spec"]["strategy"]["blueGreen"]["scaleDownDelaySeconds"] = 60


def _unmeasured_is_good(platform: Platform) -> None:
    template = platform.find("AnalysisTemplate", CONFIGURATION, "prod")
    template["spec"]["metrics"][0]["successCondition"] = "len(result) == 0 || result[0] == 0"


def _other_proxy(platform: Platform) -> None:
    find_application(platform, "dev", "istio-gateway")["spec"]["source"]["targetRevision"] = "1.31.1"


def _preview_of_nothing(platform: Platform) -> None:
    platform.find("Service", f"{GATEWAY}-preview", "dev")["spec"]["selector"] = {"istio": "gateway"}


def _autoscaler_of_the_chart(platform: Platform) -> None:
    platform.find("HorizontalPodAutoscaler", GATEWAY, "prod")["spec"]["scaleTargetRef"] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": GATEWAY,
    }


@checker(
    *(_chart_scales, _chart_has_replicas, _switch_without_analysis, _no_way_back_at_the_gateway),
    *(_unmeasured_is_good, _preview_of_nothing, _autoscaler_of_the_chart, _other_proxy),
)
def the_gateway_is_blue_and_green(platform: Platform) -> Iterator[str]:
    """A new one is measured before it gets requests and after, while the one before waits."""
    for environment in ENVIRONMENTS:
        application = find_application(platform, environment, "istio-gateway")["spec"]["source"]
        source, values = application["helm"], application["helm"]["valuesObject"]
        proxy = values.get("podAnnotations", {}).get("sidecar.istio.io/proxyImage", "")
        if proxy.rpartition(":")[2] != application["targetRevision"]:
            yield f"{environment}: the gateway's chart is {application['targetRevision']}, its proxy {proxy or 'any'}"
        if values.get("autoscaling") != {"enabled": False} or values.get("replicaCount", 1) is not None:
            yield f"{environment}: the chart of the gateway scales the Deployment, and so does the Rollout"
        spec = platform.find("Rollout", GATEWAY, environment)["spec"]
        blue = spec["strategy"]["blueGreen"]
        pair = (source["releaseName"], f"{GATEWAY}-preview")
        if spec["workloadRef"]["name"] != GATEWAY or (blue["activeService"], blue["previewService"]) != pair:
            yield f"{environment}: the Rollout of the gateway is not of the chart's Deployment and Service"
        preview = platform.find("Service", pair[1], environment)["spec"]["selector"]
        if preview != {"istio": values["labels"]["istio"]}:
            yield f"{environment}: the preview of the gateway selects {preview}"
        measured = {
            key: blue.get(key, {}).get("templates") for key in ("prePromotionAnalysis", "postPromotionAnalysis")
        }
        wanted = [[{"templateName": CONFIGURATION}], [{"templateName": GATEWAY}]]
        if list(measured.values()) != wanted:
            yield f"{environment}: the gateway is measured by {measured}"
        if blue.get("scaleDownDelaySeconds", 0) < MEASURED_SECONDS:
            yield f"{environment}: the old gateway is gone before the new one has been measured"
        for metric in platform.find("AnalysisTemplate", CONFIGURATION, environment)["spec"]["metrics"]:
            if "len(result)" in metric["successCondition"]:
                yield f"{environment}: a gateway of which nothing is known counts as good ({metric['name']})"
            query = metric["provider"]["prometheus"]["query"]
            if unknown := alerts.names(query) - alerts.exported():
                yield f"{environment}: the analysis of the gateway reads {sorted(unknown)}, which nothing exports"
        for item in of_kind(platform, environment, "HorizontalPodAutoscaler"):
            target = item["spec"]["scaleTargetRef"]
            if target["name"] == GATEWAY and target["kind"] != "Rollout":
                yield f"{environment}: the autoscaler of the gateway and its Rollout both set its replicas"
