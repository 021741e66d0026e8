"""The edge as the local stack runs it: a real Envoy, the real ext-authz, and services that tell what reached them."""

from collections.abc import AsyncIterator

import pytest

from tests.edge import (
    Edge,
    plan,
    running_edge,
)

FOREIGN = "http://evil.example"


@pytest.fixture(scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    async with running_edge(tmp_path_factory.mktemp("edge"), plan()) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_called_yet(edge: Edge) -> None:
    for service in edge.services.values():
        service.calls.clear()
