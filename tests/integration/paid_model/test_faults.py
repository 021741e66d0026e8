"""Faults, time and rate limits of the paid provider: the official client against the emulator."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import aiohttp
import httpx2
import pytest

from eco2.core import telemetry
from eco2.local.emulators.llm import Fault
from eco2.scan.vision.llm import LlmProvider
from eco2.scan.vision.providers import ProviderFailed
from tests.integration.paid_model.conftest import ITEM, PURPOSES, Make, ask
from tests.llm_emulator import Emulator
from tests.redis_server import free_port, until

FAULTS: tuple[Fault, ...] = ("rate_limit", "error", "hang", "garbage", "cut", "wrong_item")


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_is_tried_again_and_answered(
    provider: Make, emulator: Emulator, fault: Fault, purpose: str
) -> None:
    await emulator.behave(**{purpose: {"next": [fault, fault], "retry_after": 0.1}})
    paid = provider()
    right = await ask(paid, purpose)
    assert right == await ask(paid, purpose)
    assert (await emulator.of("job-1"))[purpose] == {"calls": 4, "answers": 2}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_that_stays_fails_the_call(provider: Make, emulator: Emulator, fault: Fault) -> None:
    await emulator.behave(vision={"rates": {fault: 1}, "retry_after": 0.2})
    paid = provider(deadline=timedelta(seconds=2.5), max_attempts=3)
    with pytest.raises(ProviderFailed):
        await ask(paid, "vision")
    most = 20 if fault == "rate_limit" else 3  # waiting for its turn is no attempt
    assert 1 < (await emulator.of("job-1"))["vision"]["calls"] <= most


async def test_a_server_that_hangs_is_cut_and_its_connection_closed(provider: Make, emulator: Emulator) -> None:
    await emulator.behave(vision={"rates": {"hang": 1}})
    paid = provider(timeout=timedelta(seconds=0.3), max_attempts=1)
    began = time.monotonic()
    with pytest.raises(ProviderFailed, match="timeout"):
        await ask(paid, "vision")
    assert time.monotonic() - began >= 0.3
    await until(lambda: _nothing_open(emulator))


async def _nothing_open(emulator: Emulator) -> bool:
    return bool((await emulator.calls())["open"] == 0)


async def test_the_deadline_ends_a_call_whatever_it_waits_for(provider: Make, emulator: Emulator) -> None:
    await emulator.behave(vision={"rates": {"hang": 1}})
    paid = provider(timeout=timedelta(hours=1), deadline=timedelta(seconds=0.5))
    with pytest.raises(ProviderFailed, match="timeout"):
        await ask(paid, "vision")


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
async def test_an_answer_that_came_while_the_process_was_paused_is_read(
    provider: Make, emulator: Emulator, limit: str
) -> None:
    """It lies in the socket when the timer, whose time was up long ago, runs: to believe that would pay once more."""
    await emulator.behave(vision={"median": 0.4, "item": ITEM})
    paid = provider(
        **{"timeout": timedelta(seconds=60), "deadline": timedelta(seconds=60), limit: timedelta(seconds=2)}
    )
    call = asyncio.create_task(ask(paid, "vision"))

    async def under_way() -> bool:
        return bool((await emulator.calls())["open"])

    await until(under_way)
    paused = time.monotonic()
    # Stands for a pause of the whole process, until its time is up and the answer has been sent.
    while time.monotonic() - paused < 2.5 or not _answers(emulator):
        time.sleep(0.05)  # noqa: ASYNC251
    assert (await call).item_id == ITEM
    assert (await emulator.of("job-1"))["vision"] == {"calls": 1, "answers": 1}


def _answers(emulator: Emulator) -> int:
    """Number of looks that were answered, asked without the event loop."""
    report = httpx2.get(f"http://127.0.0.1:{emulator.port}/_calls").json()
    return int(report["jobs"]["job-1"]["vision"]["answers"])


async def test_nobody_listening_fails_fast(provider: Make) -> None:
    paid = provider(base_url=f"http://127.0.0.1:{free_port()}/v1", max_attempts=2)
    with pytest.raises(ProviderFailed, match="connection"):
        await ask(paid, "vision")


async def test_a_server_that_cannot_be_reached_in_time_is_no_call_that_may_be_billed(
    provider: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable(*_: Any, **__: Any) -> aiohttp.ClientResponse:
        raise aiohttp.ConnectionTimeoutError("connecting")  # a TimeoutError as well

    monkeypatch.setattr(aiohttp.ClientSession, "_request", unreachable)
    with pytest.raises(ProviderFailed, match="connection"):
        await ask(provider(max_attempts=1), "vision")


async def test_what_is_no_http_fails_as_a_connection(provider: Make) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH_9\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", free_port()) as server:
        port = server.sockets[0].getsockname()[1]
        paid = provider(base_url=f"http://127.0.0.1:{port}/v1", max_attempts=2)
        with pytest.raises(ProviderFailed, match="connection"):
            await ask(paid, "vision")


async def test_a_request_that_is_refused_is_not_repeated(provider: Make, emulator: Emulator) -> None:
    paid = provider(base_url=emulator.base_url + "/nothing")
    with pytest.raises(ProviderFailed, match="rejected: 404"):
        await ask(paid, "vision")


async def test_retry_after_is_honoured_by_every_call_of_the_provider(provider: Make, emulator: Emulator) -> None:
    paid = provider()
    await ask(paid, "answer")
    await emulator.behave(vision={"next": ["rate_limit"], "retry_after": 2.5})
    began = time.monotonic()
    refused = asyncio.create_task(ask(paid, "vision"))
    await until(lambda: _held_back(paid))
    await ask(paid, "answer")
    assert time.monotonic() - began >= 2.5, "another purpose waits too: the limit is the provider's"
    await refused
    assert (await emulator.of("job-1"))["vision"] == {"calls": 2, "answers": 1}


async def _held_back(paid: LlmProvider) -> bool:
    return paid._llm.room() == 0


async def test_a_pause_past_the_deadline_fails_at_once(provider: Make, emulator: Emulator) -> None:
    await emulator.behave(vision={"next": ["rate_limit"], "retry_after": 3600})
    paid = provider(deadline=timedelta(seconds=5))
    for _ in range(3):
        with pytest.raises(ProviderFailed, match="rate_limited"):
            await ask(paid, "vision")
    assert (await emulator.calls())["total"] == 1, "no storm of calls that would be refused"


async def test_being_too_fast_is_no_failed_attempt(provider: Make, emulator: Emulator) -> None:
    await emulator.behave(answer={"next": ["rate_limit"] * 5, "retry_after": 0.05})
    await ask(provider(max_attempts=1), "answer")
    assert (await emulator.calls())["total"] == 6


async def test_a_limit_of_the_provider_is_found_and_kept(provider: Make, emulator: Emulator) -> None:
    """Nothing is configured: 20 calls at once, then 20 a second, asked by 70 callers at once."""
    await emulator.behave(**{"*": {"per_minute": 1200, "burst": 20}})
    paid = provider(requests_per_minute=None, deadline=timedelta(seconds=20), concurrency=25)
    began = time.monotonic()
    await asyncio.gather(*(ask(paid, "answer") for _ in range(70)))
    calls = await emulator.calls()
    assert calls["total"] - calls["refused"] == 70
    assert calls["refused"] < 40, "those that were under way, and a few that tried for more"
    assert time.monotonic() - began > 2, "two and a half seconds at the limit"


async def test_no_more_calls_at_once_than_allowed(provider: Make, emulator: Emulator) -> None:
    await emulator.behave(answer={"median": 0.1})
    paid = provider(concurrency=3, timeout=timedelta(seconds=5))
    await asyncio.gather(*(ask(paid, "answer") for _ in range(12)))
    calls = await emulator.calls()
    assert (calls["total"], calls["peak"]) == (12, 3)


async def test_no_more_calls_a_minute_than_allowed(provider: Make, emulator: Emulator) -> None:
    paid = provider(requests_per_minute=600)
    began = time.monotonic()
    await asyncio.gather(*(ask(paid, "answer") for _ in range(20)))
    assert time.monotonic() - began >= 0.95, "ten at once, then one every 0.1 s"


async def test_calls_share_their_connections(provider: Make, emulator: Emulator) -> None:
    paid = provider()
    for _ in range(5):
        await ask(paid, "vision")
        await ask(paid, "answer")
    calls = await emulator.calls()
    assert (calls["total"], calls["connections"]) == (10, 1)


async def test_calls_are_counted_by_job_and_purpose(provider: Make, emulator: Emulator) -> None:
    paid = provider()
    for job in ("a", "b"):
        telemetry.job_id.set(job)
        await ask(paid, "vision")
    await ask(paid, "answer")
    once = {"calls": 1, "answers": 1}
    assert (await emulator.calls())["jobs"] == {"a": {"vision": once}, "b": {"vision": once, "answer": once}}
