"""Nodes of clusters/layouts.yaml as objects, with the room that our kubelet configuration leaves to Pods."""

from typing import Any

import yaml

from tools.cluster.agent import AGENT
from tools.cluster.programs import CHECKOUT

Object = dict[str, Any]

AGENTS = ("most", "few")
"""Processes that play kubelets; the node of `few` can be lost without the others."""
CPU = {"t3.small": 2, "t3.medium": 2, "t3.large": 2, "t3.xlarge": 4, "t3.2xlarge": 8}
MEMORY = {"t3.small": 2048, "t3.medium": 4096, "t3.large": 8192, "t3.xlarge": 16384, "t3.2xlarge": 32768}
"""MiB of the instance types."""
KERNEL = 0.05
"""Share of an instance's memory that its kernel keeps to itself."""
RESERVED_CPU, RESERVED_MEMORY = 200, 500
"""Millicores and MiB that the kubelet's configuration keeps from Pods: systemReserved, kubeReserved, evictionHard."""
PODS = 110


def layout(environment: str, name: str | None = None) -> list[Object]:
    """Rows of the environment's nodes, one for each node, with its name and instance type."""
    data = yaml.safe_load((CHECKOUT / "clusters/layouts.yaml").read_text())
    chosen = data["environments"][environment]
    types = chosen.get("types", {})
    return [
        {
            "name": f"{row['name']}-{number}" if "count" in row else row["name"],
            "pool": row["pool"],
            "type": types.get(row["pool"], row["type"]),
            "disk": row["disk"],
            **data["pools"][row["pool"]],
        }
        for row in data["layouts"][name or chosen["layout"]]
        for number in range(1, row.get("count", 1) + 1)
    ]


def objects(environment: str, name: str | None = None) -> list[Object]:
    rows = layout(environment, name)
    lost = losable(rows)
    return [_node(row, number, AGENTS[row["name"] == lost]) for number, row in enumerate(rows)]


def losable(rows: list[Object]) -> str:
    """Name of the first node for processes: its kubelet can end without the others."""
    return str(next(row["name"] for row in rows if row["pool"] in ("app", "api")))


def room(instance: str) -> tuple[int, int]:
    """Millicores and MiB that Pods may ask of a node."""
    memory = int(MEMORY[instance] * (1 - KERNEL)) - RESERVED_MEMORY
    return CPU[instance] * 1000 - RESERVED_CPU, memory


def _node(row: Object, number: int, agent: str) -> Object:
    zone = f"ap-northeast-2{'abc'[number % 3]}"
    cpu, memory = room(row["type"])
    capacity = {"cpu": str(CPU[row["type"]]), "memory": f"{int(MEMORY[row['type']] * (1 - KERNEL))}Mi"}
    both = {"pods": str(PODS), "ephemeral-storage": f"{row['disk']}Gi"}
    labels = {
        **{key: str(value) for key, value in row["labels"].items()},
        "kubernetes.io/hostname": row["name"],
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/region": "ap-northeast-2",
        "topology.kubernetes.io/zone": zone,
        "node.kubernetes.io/instance-type": row["type"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": row["name"], "labels": labels, "annotations": {AGENT: agent}},
        "spec": {"taints": [_taint(text) for text in row.get("taints", ())]},
        "status": {
            "capacity": {**capacity, **both},
            "allocatable": {"cpu": f"{cpu}m", "memory": f"{memory}Mi", **both},
        },
    }


def _taint(text: str) -> Object:
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    return {"key": key, "effect": effect, **({"value": value} if value else {})}


def ready(node: Object) -> bool:
    conditions = {row["type"]: row["status"] for row in node.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True"
