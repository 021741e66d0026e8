"""Gives a broker the topology of the Kubernetes manifests through its management API, as the operator would."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import yaml

from eco2.local.config import CHECKOUT, LocalError

_BASE = CHECKOUT / "workloads" / "rabbitmq" / "base"
TOPOLOGY = _BASE / "topology"
"""Vhost `eco2`: exactly the resources that the infrastructure document lists."""
EVERYTHING = (TOPOLOGY, _BASE / "tasks-topology", _BASE / "chat-topology", _BASE / "policies")


def manifests(*directories: Path) -> Iterator[dict[str, Any]]:
    """Custom resources that the kustomizations of these folders name (default: EVERYTHING), in their order."""
    for directory in directories or EVERYTHING:
        for name in yaml.safe_load((directory / "kustomization.yaml").read_text())["resources"]:
            yield from yaml.safe_load_all((directory / name).read_text())


def apply(management_url: str, user: str, password: str, *directories: Path) -> int:
    """Declares missing objects and changes no existing one; LocalError if one differs. Returns the count."""
    resources = list(manifests(*directories))
    with httpx2.Client(base_url=management_url, auth=(user, password), timeout=30) as api:
        for resource in resources:
            _DECLARE[resource["kind"]](api, resource["spec"], user)
    return len(resources)


def _check(answer: httpx2.Response, what: str) -> None:
    if answer.status_code == httpx2.codes.BAD_REQUEST:
        raise LocalError(
            f"The broker has another {what} than the manifests ({answer.json().get('reason')}): "
            "run `eco2 down && make clean` and start again."
        )
    if answer.status_code in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
        raise LocalError(
            f"The broker's management API at {answer.url.copy_with(path='/')} refuses the user of ECO2_BROKER_URL: "
            "give it a user with the tag administrator, or correct ECO2_BROKER_MANAGEMENT_URL."
        )
    answer.raise_for_status()


def _vhost(api: httpx2.Client, spec: dict[str, Any], user: str) -> None:
    name = quote(spec["name"], safe="")
    _check(api.put(f"/api/vhosts/{name}"), f"vhost {spec['name']}")
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    _check(api.put(f"/api/permissions/{name}/{quote(user, safe='')}", json=rights), "permission")


def _exchange(api: httpx2.Client, spec: dict[str, Any], _: str) -> None:
    body = {"type": spec["type"], "durable": spec["durable"], "arguments": spec.get("arguments", {})}
    _check(api.put(f"/api/exchanges/{spec['vhost']}/{spec['name']}", json=body), f"exchange {spec['name']}")


def _queue(api: httpx2.Client, spec: dict[str, Any], _: str) -> None:
    arguments = {**spec.get("arguments", {}), "x-queue-type": spec["type"]}
    body = {"durable": spec["durable"], "arguments": arguments}
    _check(api.put(f"/api/queues/{spec['vhost']}/{spec['name']}", json=body), f"queue {spec['name']}")


def _binding(api: httpx2.Client, spec: dict[str, Any], _: str) -> None:
    kind = {"queue": "q", "exchange": "e"}[spec["destinationType"]]
    path = f"/api/bindings/{spec['vhost']}/e/{spec['source']}/{kind}/{spec['destination']}"
    body = {"routing_key": spec["routingKey"], "arguments": spec.get("arguments", {})}
    _check(api.post(path, json=body), f"binding of {spec['destination']}")


def _policy(api: httpx2.Client, spec: dict[str, Any], _: str) -> None:
    body = {"pattern": spec["pattern"], "apply-to": spec["applyTo"], "definition": spec["definition"]}
    _check(api.put(f"/api/policies/{spec['vhost']}/{spec['name']}", json=body), f"policy {spec['name']}")


_DECLARE = {"Vhost": _vhost, "Exchange": _exchange, "Queue": _queue, "Binding": _binding, "Policy": _policy}
