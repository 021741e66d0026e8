"""Gauges of what the database holds: they follow it without a request, and outlive its absence."""

import asyncio
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from eco2.core import gauges, imports
from eco2.core.errors import Unavailable
from eco2.core.imports import Imported


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    imports.IMPORTED.clear()
    imports.REFUSED.clear()
    yield
    imports.IMPORTED.clear()
    imports.REFUSED.clear()


async def test_what_is_told_is_looked_up_again_and_again_whatever_fails() -> None:
    looks, enough = 0, asyncio.Event()

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 4:
            enough.set()
        if looks in (2, 3):
            raise Unavailable if looks == 2 else RuntimeError

    async with gauges.telling(look, 0.01):
        await asyncio.wait_for(enough.wait(), 10)
    seen = looks
    await asyncio.sleep(0.05)
    assert looks == seen, "it goes on after the service ended"


def test_the_last_imports_of_all_feeds_are_added_up() -> None:
    imports.tell(
        "places",
        [
            Imported(90, {"rejected.no_place": 4, "duplicate.same_key": 2}),
            Imported(10, {"rejected.no_place": 1, "rejected.columns": 3}),
            Imported(0, {}, "IMPORT_HAS_NO_ROWS"),
        ],
    )
    imports.tell("collection_days", [])
    assert value("eco2_import_rows", data="places", outcome="kept", reason="") == 100
    assert value("eco2_import_rows", data="places", outcome="rejected", reason="no_place") == 5
    assert value("eco2_import_rows", data="places", outcome="rejected", reason="columns") == 3
    assert value("eco2_import_rows", data="places", outcome="duplicate", reason="same_key") == 2
    assert value("eco2_imports_refused", data="places") == 1
    assert value("eco2_imports_refused", data="collection_days") == 0


def test_a_reason_that_a_better_file_has_no_more_is_told_no_more() -> None:
    imports.tell("collection_days", [Imported(9, {"rejected.no_day": 3})])
    imports.tell("places", [Imported(1, {"rejected.no_place": 1})])
    imports.tell("places", [Imported(2, {})])
    assert value("eco2_import_rows", data="places", outcome="rejected", reason="no_place") is None
    assert value("eco2_import_rows", data="places", outcome="rejected", reason="") == 0
    assert value("eco2_import_rows", data="collection_days", outcome="rejected", reason="no_day") == 3
