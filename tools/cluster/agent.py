"""Plays the kubelets of some nodes: reports them ready, their Pods as running and ready, and lets deleted Pods go.

It writes leases of nodes, and state of nodes and Pods, and nothing else; no container runs."""

import argparse
import base64
import datetime
import ipaddress
import json
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import yaml

Object = dict[str, Any]

AGENT = "cluster.eco2/agent"
"""An annotation of nodes: which process plays their kubelet."""
UNREADY = "cluster.eco2/unready"
"""An annotation of Pods that never become ready."""
LEASE_SECONDS, PAUSE = 8, 0.5
MERGE = {"Content-Type": "application/strategic-merge-patch+json"}


def client(kubeconfig: Path) -> httpx2.Client:
    content = yaml.safe_load(kubeconfig.read_text())
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as file:
        file.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        file.flush()
        context.load_cert_chain(file.name)
    return httpx2.Client(base_url=cluster["server"], verify=context, timeout=30)


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Agent:
    def __init__(self, api: httpx2.Client, name: str) -> None:
        self.api, self.name = api, name
        self.nodes: set[str] = set()
        self.renewed = 0.0
        self.addresses = ipaddress.ip_network("192.168.0.0/16").hosts()

    def look(self) -> None:
        """One round: nodes that are due, then every Pod on them."""
        if time.monotonic() - self.renewed > LEASE_SECONDS / 3:
            self.renewed = time.monotonic()
            for node in self._rows("/api/v1/nodes"):
                if node["metadata"].get("annotations", {}).get(AGENT) == self.name:
                    self.nodes.add(node["metadata"]["name"])
                    self._keep(node)
        for pod in self._rows("/api/v1/pods"):
            if pod["spec"].get("nodeName") in self.nodes:
                self._play(pod)

    def _rows(self, path: str) -> Iterator[Object]:
        # From the cache of the API server: a round later is soon enough.
        yield from self.api.get(path, params={"resourceVersion": "0"}).raise_for_status().json()["items"]

    def _keep(self, node: Object) -> None:
        name = node["metadata"]["name"]
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"
        spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": stamp}
        answer = self.api.patch(path, json={"spec": spec}, headers=MERGE)
        if answer.status_code == httpx2.codes.NOT_FOUND:
            body = {"metadata": {"name": name}, "spec": spec}
            answer = self.api.post(path.rpartition("/")[0], json=body)
        answer.raise_for_status()
        conditions = {row["type"]: row["status"] for row in node.get("status", {}).get("conditions", [])}
        if conditions.get("Ready") != "True":
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now()}
            patch = {"status": {"conditions": [{**ready, "lastTransitionTime": now()}]}}
            self.api.patch(f"/api/v1/nodes/{name}/status", json=patch, headers=MERGE).raise_for_status()

    def _play(self, pod: Object) -> None:
        metadata, status = pod["metadata"], pod.get("status", {})
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        kinds = {row["kind"] for row in metadata.get("ownerReferences", [])}
        if "deletionTimestamp" in metadata:
            body = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
            self._answered(self.api.request("DELETE", path, json=body))
        elif not status.get("podIP"):
            self._answered(self.api.patch(f"{path}/status", json={"status": self._running(pod)}, headers=MERGE))
        elif status.get("phase") == "Running" and "Job" in kinds:
            ended = {"phase": "Succeeded", "containerStatuses": [_ended(row) for row in pod["spec"]["containers"]]}
            self._answered(self.api.patch(f"{path}/status", json={"status": ended}, headers=MERGE))

    @staticmethod
    def _answered(answer: httpx2.Response) -> None:
        """Another round looks again at what was gone or changed meanwhile."""
        if answer.status_code not in (httpx2.codes.NOT_FOUND, httpx2.codes.CONFLICT):
            answer.raise_for_status()

    def _running(self, pod: Object) -> Object:
        ready = pod["metadata"].get("annotations", {}).get(UNREADY) != "true"
        address, word = str(next(self.addresses)), str(ready)
        conditions = {"Initialized": "True", "ContainersReady": word, "Ready": word}
        return {
            "phase": "Running",
            "startTime": now(),
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": k, "status": v, "lastTransitionTime": now()} for k, v in conditions.items()],
            "containerStatuses": [_started(row, ready) for row in pod["spec"]["containers"]],
            "initContainerStatuses": [
                _started(row, True) if row.get("restartPolicy") == "Always" else _ended(row)
                for row in pod["spec"].get("initContainers", [])
            ],
        }


def _container(row: Object) -> Object:
    return {"name": row["name"], "image": row["image"], "imageID": "", "restartCount": 0}


def _started(row: Object, ready: bool) -> Object:
    return {**_container(row), "ready": ready, "started": True, "state": {"running": {"startedAt": now()}}}


def _ended(row: Object) -> Object:
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": now(), "finishedAt": now()}
    return {**_container(row), "ready": False, "state": {"terminated": ended}}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.cluster.agent", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--name", required=True, help=f"play the nodes whose annotation {AGENT} says so")
    given = parser.parse_args()
    with client(given.kubeconfig) as api:
        agent = Agent(api, given.name)
        while True:
            try:
                agent.look()
            except (httpx2.HTTPError, json.JSONDecodeError) as error:
                # The API server is restarted by a restore; the nodes stay.
                print(f"{now()} {error}", file=sys.stderr, flush=True)
            time.sleep(PAUSE)


if __name__ == "__main__":
    main()
