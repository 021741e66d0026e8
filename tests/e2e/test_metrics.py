"""Metrics of the running processes: those of the catalogue, and no new series by made-up requests."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from eco2.local.stack import Stack
from eco2.processes import SERVICES
from tests import photos
from tests.conftest import LEFT_OUT, Person
from tests.e2e import journey
from tests.redis_server import until

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
Families = dict[str, Metric]


async def scrape(stack: Stack, process: str) -> Families:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{stack.layout.port_of(process)}", timeout=10) as client:
        answer = (await client.get("/metrics")).raise_for_status()
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def value(families: Families, sample: str, **labels: str) -> float:
    """Sum of the samples of that name that have these labels."""
    rows = (row for family in families.values() for row in family.samples if row.name == sample)
    return sum(row.value for row in rows if labels.items() <= row.labels.items())


async def test_a_scan_is_counted_by_its_outcome(stack: Stack, person: Callable[[], Person]) -> None:
    who = person()
    before = await scrape(stack, "scan-worker")
    picture = photos.encoded(photos.picture(640, 480, seed=4711), "JPEG")
    outcome = (await journey.scan(who, picture, user_input="우유팩"))["outcome"]
    after = await scrape(stack, "scan-worker")
    name = "eco2_scans_ended_total"
    assert value(after, name, outcome=outcome) >= value(before, name, outcome=outcome) + 1
    assert value(after, "eco2_scan_seconds_count") > value(before, "eco2_scan_seconds_count")
    assert value(after, "eco2_db_statement_seconds_count") > value(before, "eco2_db_statement_seconds_count")
    assert value(after, "eco2_db_connections", state="open") >= 1


async def test_the_scheduler_tells_when_each_task_was_done_last(stack: Stack) -> None:
    async def told() -> bool:
        families = await scrape(stack, "scheduler")
        return value(families, "eco2_scheduler_leading") == 1 and "eco2_runs_oldest_waiting_seconds" in families

    await until(told, 30)
    for row in (await scrape(stack, "scheduler"))["eco2_task_last_done_timestamp_seconds"].samples:
        assert 0 < row.value <= time.time(), row.labels


async def test_made_up_methods_and_paths_add_no_series(stack: Stack) -> None:
    async def series() -> int:
        return len((await scrape(stack, "my-api"))["eco2_http_request_seconds"].samples)

    at = f"http://127.0.0.1:{stack.layout.port_of('my-api')}"
    async with httpx2.AsyncClient(base_url=at, timeout=10) as client:
        await client.request("MADEUP", "/api/v1/made-up")
        before = await series()
        for n in range(100):
            await client.request(f"MADEUP{n}", f"/api/v1/made-up/{n}")
    assert await series() == before


async def test_every_exported_metric_is_in_the_catalogue(stack: Stack) -> None:
    page = PAGE.read_text()
    processes = [row.name for row in SERVICES if row.name != LEFT_OUT]
    found = await asyncio.gather(*(scrape(stack, name) for name in processes))
    for process, families in zip(processes, found, strict=True):
        for family in families.values():
            if family.name.startswith("eco2_") and not family.name.endswith("_created"):
                name = f"{family.name}_total" if family.type == "counter" else family.name
                assert f"| `{name}` | {family.type} |" in page, f"{process}: {name}"
