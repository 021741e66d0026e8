"""An Envoy that istiod configures, in front of processes on this machine, which it knows as WorkloadEntries."""

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from tests.deploy.platform import KUBECTL, Loader, Object
from tests.edge import Plan
from tools.cluster import ClusterError, mesh, waves
from tools.cluster.control_plane import ControlPlane
from tools.cluster.definitions import definitions

ENVIRONMENT = "prod"
OVERLAY = Path(__file__).parent / "overlay"
NODE = f"router~192.0.2.1~{mesh.GATEWAY}.{mesh.NAMESPACE}~{mesh.NAMESPACE}.svc.cluster.local"
"""The gateway's name to istiod. Its address is nobody's: that of the processes would make them the gateway's own."""
SETTINGS = {
    # Filters of Istio's own build of Envoy.
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_ENABLE_ALPN_FILTER": "false",
}
MESH: Object = {
    # As above; and without certificates, which an agent beside the Envoy would bring.
    "defaultProviders": {"metrics": []},
    "enableAutoMtls": False,
}
STORE: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "object-store", "namespace": "storage"},
    "spec": {"selector": {"app.kubernetes.io/name": "object-store"}, "ports": [{"name": "http", "port": 8333}]},
}
"""A CDN stands in its place in a cluster; here the edge tests upload to it."""


def start(plane: ControlPlane) -> dict[str, str]:
    """Start etcd, an API server with our Services and Istio's definitions, and istiod; istiod's addresses.

    No controller runs, so that no Pod stands behind a Service: whatever answers is a WorkloadEntry."""
    plane.prepare()
    plane.start_etcd()
    plane.start_api_server()
    plane.api.apply(definitions()["istio-base"])
    plane.api.apply(_spaces())
    plane.api.apply(services().values())
    return mesh.start(plane, waves.rendered(), ENVIRONMENT, MESH, **SETTINGS)


def services() -> dict[str, Object]:
    """Services of ours in every namespace, by `name.namespace`."""
    found = [row for _, objects in waves.steps(ENVIRONMENT) for row in objects if row["kind"] == "Service"]
    return {f"{row['metadata']['name']}.{row['metadata']['namespace']}": row for row in [*found, STORE]}


def _spaces() -> list[Object]:
    names = sorted({row["metadata"]["namespace"] for row in services().values()} | {"jobs"})
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]


def overlay(port: int) -> list[Object]:
    """Objects of our routing for istiod, with the gateway at a port of loopback."""
    done = subprocess.run([KUBECTL, "kustomize", OVERLAY], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise ClusterError(f"the overlay does not build: {done.stderr.strip()}")
    found = [row for row in yaml.load_all(done.stdout, Loader) if row["apiVersion"].split("/")[0].endswith(".istio.io")]
    (gateway,) = (row for row in found if row["kind"] == "Gateway")
    gateway["spec"]["servers"][0]["port"]["number"] = port
    return found


def workloads(ports: Mapping[str, int]) -> Iterator[Object]:
    """A process for each of these Services, behind its first port."""
    for name, port in ports.items():
        service = services()[name]
        yield {
            "apiVersion": "networking.istio.io/v1",
            "kind": "WorkloadEntry",
            "metadata": service["metadata"] | {"labels": {}},
            "spec": {
                "address": "127.0.0.1",
                "labels": service["spec"]["selector"],
                "ports": {service["spec"]["ports"][0]["name"]: port},
            },
        }


def bootstrap(local: str, address: str) -> str:
    """The local edge's own configuration with everything from istiod that is not its admin port."""
    found: Object = yaml.safe_load(local)
    static = found["static_resources"]
    static["listeners"] = [row for row in static["listeners"] if row["name"] != "edge"]
    static["clusters"] = [row for row in static["clusters"] if not row["name"].startswith("outbound|")]
    static["clusters"].append(_istiod(address))
    found["node"] = {
        "id": NODE,
        "cluster": mesh.GATEWAY,
        "metadata": mesh.gateway_metadata({"istio": "ingressgateway", "app": mesh.GATEWAY}),
    }
    stream = {"envoy_grpc": {"cluster_name": "xds-grpc"}}
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    found["dynamic_resources"] = {
        "ads_config": {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [stream]},
        "cds_config": source,
        "lds_config": source,
    }
    return yaml.safe_dump(found, sort_keys=False)


def _istiod(address: str) -> Object:
    host, _, port = address.rpartition(":")
    endpoint = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(port)}}}}
    protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    version: Object = {"explicit_http_config": {"http2_protocol_options": {}}}
    return {
        "name": "xds-grpc",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "xds-grpc", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {protocol: {"@type": f"type.googleapis.com/{protocol}", **version}},
    }


def laid(plane: ControlPlane, addresses: Mapping[str, str], at: Plan) -> Plan:
    """The plan of a local edge, with an Envoy that istiod configures in its place."""
    plane.api.apply(workloads({**at.ports, "ext-authz.auth": at.authz}))
    plane.api.apply(overlay(at.gateway))
    return replace(at, text=bootstrap(at.text, addresses["grpcAddr"]), host="127.0.0.1")
