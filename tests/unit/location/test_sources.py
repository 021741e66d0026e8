"""The list of the feeds, which is not counted at each request."""

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest

from eco2.location import service, store


async def test_feeds_are_counted_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Any] = []

    async def sources(db: Any) -> list[dict[str, Any]]:
        counted.append(db)
        return [{"places": len(counted)}]

    monkeypatch.setattr(store, "sources", sources)
    services = cast(service.Services, SimpleNamespace(db=None, sources=[], sources_at=-math.inf))
    assert [await service.sources(services) for _ in range(3)] == [[{"places": 1}]] * 3
    services.sources_at -= service.COUNTS_SECONDS + 1
    assert await service.sources(services) == [{"places": 2}]
