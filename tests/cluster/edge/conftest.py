"""The edge tests through an Envoy that istiod configures: the same tests, with another edge."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.cluster.conftest import built
from tests.cluster.edge import proof
from tests.edge import Edge, plan, running_edge
from tests.integration.edge.conftest import nothing_called_yet as nothing_called_yet
from tools.cluster.api import until
from tools.cluster.control_plane import ControlPlane


@pytest.fixture(scope="session")
def control() -> Iterator[tuple[ControlPlane, dict[str, str]]]:
    built("etcd", "kubeadm", "kube-apiserver", "istiod")
    with tempfile.TemporaryDirectory(prefix="eco2-cluster-edge-") as folder:
        plane = ControlPlane(Path(folder), proof.ENVIRONMENT)
        try:
            addresses = proof.start(plane)
            until("istiod's readiness", lambda: _ready(plane, addresses["httpAddr"]))
            yield plane, addresses
            plane.alive()
        finally:
            plane.stop()


def _ready(plane: ControlPlane, address: str) -> bool:
    plane.alive()
    try:
        return httpx2.get(f"http://{address}/ready", timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture(scope="session")
async def edge(
    control: tuple[ControlPlane, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Edge]:
    at = proof.laid(*control, plan())
    async with running_edge(tmp_path_factory.mktemp("edge"), at) as running:
        yield running
