"""Scenarios of the event streams: what an idle one costs, how long an event takes to its client."""

import asyncio
import gc
import random
import time
import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import aiohttp

from eco2.contracts.events import Draft, Stage, Status
from eco2.contracts.identity import IDENTITY_PROOF_HEADER, USER_ID_HEADER
from eco2.core import proof
from tests.load.bench import Bench
from tests.load.client import percentile
from tests.load.edge import gateway_alone
from tests.load.machine import pss
from tests.load.report import Measure
from tests.load.target import User

STREAMS = 1000
CONNECTS_AT_ONCE = 50
SETTLE_SECONDS = 3.0
EVENTS_PER_SECOND = 100
DRAFTS = [
    Draft(stage, status, 0)
    for stage in Stage
    if stage is not Stage.DONE
    for status in (Status.STARTED, Status.COMPLETED)
]
"""Events that a job may have without ending its stream."""

Arrivals = dict[str, asyncio.Future[float]]


async def _read(response: aiohttp.ClientResponse, job_id: str, arrivals: Arrivals) -> None:
    """Note the arrival of an awaited event."""
    async for chunk in response.content.iter_any():
        told = chunk.count(b"event: ") > chunk.count(b"event: keepalive")  # both may come at once
        if told and (waiting := arrivals.pop(job_id, None)):
            waiting.set_result(time.perf_counter())


@asynccontextmanager
async def _open(
    bench: Bench, url: str, users: Sequence[User], arrivals: Arrivals, count: int = STREAMS
) -> AsyncIterator[list[str]]:
    """So many jobs, each with a client that follows it."""
    slots = asyncio.Semaphore(CONNECTS_AT_ONCE)
    readers: list[asyncio.Task[None]] = []

    async def connect(user: User) -> str:
        job_id = str(uuid.uuid4())
        identity = {USER_ID_HEADER: user.id}
        shown = proof.of_identity(bench.target.environment["ECO2_SERVICE_SECRET"], identity, proof.period())
        headers = {**user.headers, **identity, IDENTITY_PROOF_HEADER: shown}
        async with slots:
            await bench.target.bus.open(job_id, user.id)
            response = await bench.client.session.get(f"{url}/api/v1/scan/{job_id}/events", headers=headers)
            response.raise_for_status()
        readers.append(asyncio.create_task(_read(response, job_id, arrivals)))
        return job_id

    try:
        yield await asyncio.gather(*(connect(users[n % len(users)]) for n in range(count)))
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def sse_idle(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """Growth of a fresh gateway by its first thousand streams, in a process of its own as in the cluster.

    One that was forked off the nursery begins with pages that it shares: its growth would be theirs as well. One that
    has had streams before has room to spare.
    """
    direct, _ = await _idle_bytes(bench, edge_in_front=False)
    through_edge, edge = await _idle_bytes(bench, edge_in_front=True)
    details = {"streams": STREAMS, "through_edge": round(through_edge), "edge_itself": round(edge)}
    details["direct"] = round(direct)
    return [Measure("sse_idle", max(direct, through_edge), details), Measure("sse_idle_edge", edge, details)]


async def _idle_bytes(bench: Bench, *, edge_in_front: bool) -> tuple[float, float]:
    """Bytes per stream of the sse-gateway and, where there is one, of the edge in front of it."""
    users = bench.target.users(STREAMS // 2)
    async with gateway_alone(bench, edge_in_front=edge_in_front) as (url, *pids):
        async with _open(bench, url, users, {}, count=5):
            await asyncio.sleep(SETTLE_SECONDS)
            before = [pss(pid) for pid in pids]
        async with _open(bench, url, users, {}):
            await asyncio.sleep(SETTLE_SECONDS)
            grown = [pss(pid) - was for pid, was in zip(pids, before, strict=True)]
    return grown[0] / STREAMS, (grown[1] if edge_in_front else 0) / STREAMS


async def event_latency(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """One event at a time to one of a thousand clients: from before it is written until its client reads it."""
    users = bench.target.users(STREAMS // 2)
    count = bench.sized(2000, 600)
    edge = await _latencies(bench, bench.target.url, users, count)
    direct = await _latencies(bench, bench.target.direct_url("sse-gateway"), users, count)
    details = {
        "streams": STREAMS,
        "events": count,
        "events_per_second": EVENTS_PER_SECOND,
        "p50": round(percentile(edge, 50), 2),
        "past_the_edge_p50": round(percentile(direct, 50), 2),
        "past_the_edge_p99": round(percentile(direct, 99), 2),
    }
    return [Measure("event_latency_p99", percentile(edge, 99), details)]


async def _latencies(bench: Bench, url: str, users: Sequence[User], count: int) -> list[float]:
    """Milliseconds."""
    arrivals: Arrivals = {}
    async with _open(bench, url, users, arrivals) as jobs:
        await asyncio.sleep(SETTLE_SECONDS)
        told = [(job_id, draft) for draft in DRAFTS for job_id in random.sample(jobs, len(jobs))]
        gc.collect()
        gc.freeze()  # a pause of the driver would count as one of the gateway
        return [await _tell(bench, job_id, draft, arrivals) for job_id, draft in told[:count]]


async def _tell(bench: Bench, job_id: str, draft: Draft, arrivals: Arrivals) -> float:
    arrived: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    arrivals[job_id] = arrived
    start = time.perf_counter()
    await bench.target.bus.emit(job_id, draft)
    async with asyncio.timeout(30):
        latency: float = await arrived - start
    await asyncio.sleep(max(0.0, 1 / EVENTS_PER_SECOND - latency))
    return 1000 * latency
