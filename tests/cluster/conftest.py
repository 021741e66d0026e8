"""A real control plane for each environment, one after the other: built, started and filled once for all tests of it.

Run by `make test-cluster` alone; without Go, one sentence says so."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.deploy.platform import ENVIRONMENTS, Object
from tools.cluster import ClusterError, placeholders, waves
from tools.cluster.api import Api, Refused
from tools.cluster.control_plane import ControlPlane
from tools.cluster.programs import build

TABLE: list[tuple[str, str, str]] = []
"""Environment, what, and what was seen: printed at the end."""


@dataclass
class Cluster:
    environment: str
    plane: ControlPlane
    applied: dict[str, list[Object]] = field(default_factory=dict)
    early: str = ""
    """Answer of the server to an object that came before its definition."""

    @property
    def api(self) -> Api:
        return self.plane.api

    def note(self, what: str, seen: object) -> None:
        TABLE.append((self.environment, what, str(seen)))

    def pods(self, namespace: str | None = None, selector: str = "") -> list[Object]:
        return self.api.rows("pods", namespace, selector)

    def settled(self) -> list[Object]:
        """Every Pod, when no workload changes any more; a Pod that finds no place stays as it is."""
        seen: dict[str, str] = {}

        def quiet() -> bool:
            nonlocal seen
            self.plane.alive()
            pods = {row["metadata"]["uid"]: _state(row) for row in self.pods()}
            same, seen = pods == seen and bool(pods), pods
            return same and all(state != "unseen" for state in pods.values()) and self._complete()

        end = time.monotonic() + 300
        while not quiet():
            if time.monotonic() > end:
                raise ClusterError("the workloads do not settle within 300 s")
            time.sleep(3)
        return self.pods()

    def _complete(self) -> bool:
        """Controllers have seen every workload and made its Pods."""
        for item in self.api.rows("deployments,statefulsets"):
            status = item.get("status", {})
            if status.get("observedGeneration") != item["metadata"]["generation"]:
                return False
            if status.get("replicas", 0) != item["spec"]["replicas"]:
                return False
        return True


def _state(pod: Object) -> str:
    """`bound`, `refused` by the scheduler with a reason, or not seen by it so far."""
    if pod["spec"].get("nodeName"):
        return "bound"
    conditions = {row["type"]: row for row in pod.get("status", {}).get("conditions", [])}
    return "refused" if conditions.get("PodScheduled", {}).get("status") == "False" else "unseen"


NEEDED = (
    *("etcd", "etcdctl", "etcdutl", "kubeadm"),
    *("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
)


def built(*names: str) -> None:
    """Build what is missing; where that cannot be done, one sentence ends the run."""
    try:
        build(*names)
    except ClusterError as error:
        pytest.exit(f"cluster: {error}", returncode=2)


@pytest.fixture(scope="session")
def binaries() -> None:
    built(*NEEDED)


@pytest.fixture(scope="session", params=ENVIRONMENTS)
def cluster(request: pytest.FixtureRequest, binaries: None) -> Iterator[Cluster]:
    environment = str(request.param)
    with tempfile.TemporaryDirectory(prefix=f"eco2-cluster-{environment}-") as folder:
        plane = ControlPlane(Path(folder), environment)
        found = Cluster(environment, plane)
        try:
            plane.start()
            found.early = _refusal_of_what_comes_too_early(found)
            found.api.apply(placeholders.sidecar_policy(waves.rendered(), environment))
            found.applied = waves.apply(found.api, environment)
            found.api.apply(placeholders.objects(waves.rendered(), environment))
            yield found
            plane.alive()
        finally:
            plane.stop()


def _refusal_of_what_comes_too_early(cluster: Cluster) -> str:
    step = waves.rendered().builds[f"workloads/rabbitmq/{cluster.environment}/topology"]
    try:
        cluster.api.apply(step)
    except Refused as error:
        return str(error)
    return ""


@pytest.fixture(scope="session")
def seen() -> list[tuple[str, str, str]]:
    """The table, for tests without a cluster."""
    return TABLE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(1800))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not TABLE:
        return
    terminalreporter.section("the cluster")
    width = max(len(what) for _, what, _ in TABLE)
    for environment in dict.fromkeys(row[0] for row in TABLE):
        terminalreporter.write_line(environment)
        for place, what, seen in TABLE:
            if place == environment:
                terminalreporter.write_line(f"  {what:<{width}}  {seen}")
