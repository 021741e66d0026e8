"""`eco2 up --observe` end to end: three faults reach a webhook and end there, one scan is one trace, `eco2 top` sees.

Part of `make test-observe` only: it takes minutes.
"""

import asyncio
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import AsyncIterator

import httpx2
import pytest

from eco2.contracts import queues
from eco2.local import config
from eco2.local.observing import tree
from eco2.local.observing.programs import PACKAGES
from eco2.local.observing.rules import documents
from eco2.messaging.broker import Publisher
from eco2.processes import SERVICES
from tests.conftest import PAID_MODEL
from tests.observe.live import Live, running, stopped
from tests.observe.test_dashboards import ANSWERED_IN_A_CLUSTER, at
from tests.redis_server import until
from tools.dashboards import boards

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OBSERVERS = {"prometheus", "alertmanager", "node-exporter", "postgres-exporter", "redis-exporter", "traces"}
ENTER_SCREEN, LEAVE_SCREEN, CLEAR_SCREEN = "\x1b[?1049h", "\x1b[?1049l", "\x1b[2J"
SERIES = 'count by (process) ({process!=""})'
LETTERS = 101
"""One more than the alert allows."""


@pytest.fixture(scope="module")
async def live() -> AsyncIterator[Live]:
    if any(shutil.which(package) is None for package in PACKAGES):
        pytest.skip("Prometheus and its exporters are not installed: run `scripts/bootstrap --observe`")
    async with running() as stack:
        yield stack


async def test_every_target_is_read(live: Live) -> None:
    rows = {row["name"]: row for row in json.loads(await live.eco2("status", "--json"))}
    assert rows.keys() >= OBSERVERS
    assert [name for name, row in rows.items() if not row["ready"]] == []

    async def all_up() -> bool:
        found = await live.query("up")
        return len(found) > 25 and all(row["value"][1] == "1" for row in found)

    await until(all_up, 60)
    jobs = {row["metric"]["job"] for row in await live.query("up")}
    assert jobs == {
        *("processes", "gateway", "rabbitmq", "rabbitmq-detailed", "redis", "postgres", "node"),
        *("prometheus", "alertmanager"),
    }
    for expression in ("pg_up == 1", "redis_up == 1", "node_memory_MemTotal_bytes", "rabbitmq_identity_info"):
        assert await live.query(expression), expression


async def test_one_scan_is_one_trace_from_the_edge_to_the_last_event(live: Live) -> None:
    job = await live.scan(live.person(), model=PAID_MODEL)
    found = json.loads(await live.eco2("trace", job, "--json"))
    assert found["complete"], await live.eco2("trace", job)
    assert tree.orphans(found["spans"]) == []
    assert set(found["processes"]) >= {"gateway", "scan-api", "scan-worker", "event-router", "sse-gateway"}
    names = {span["name"] for span in found["spans"]}
    assert names >= {"POST /api/v1/scan", "publish", "scan.vision", "scan.rule", "scan.answer", "llm.vision"}
    events = [span["attributes"] for span in found["spans"] if span["name"] == tree.LAST_EVENT]
    assert [row["eco2.stage"] for row in sorted(events, key=lambda row: row["eco2.seq"])][-1] == "done"
    assert [row["eco2.seq"] for row in sorted(events, key=lambda row: row["eco2.seq"])] == list(
        range(1, len(events) + 1)
    )
    shown = await live.eco2("trace", job, more={"COLUMNS": "160"})
    for words in ("scan-worker works", "deliver event", "ms in queues", found["trace_id"]):
        assert words in shown, shown


async def test_top_shows_the_load(live: Live) -> None:
    async with live.load(model=PAID_MODEL):
        seen: dict[str, object] = {}

        async def works() -> bool:
            seen.update(json.loads(await live.eco2("top", "--json")))
            scans, cost = seen["scans"], seen["cost"]
            assert isinstance(scans, dict)
            assert isinstance(cost, dict)
            return bool(sum(scans["ended"].values()) > 0 and cost["spent_today_usd"] > 0)

        await until(works, 90)
    assert isinstance(seen["queues"], list)
    assert {row["queue"] for row in seen["queues"]} >= {"scan.vision", "dlq.scan.vision"}
    assert seen["alerts"] is not None
    picture = await live.eco2("top", "--once", more={"COLUMNS": "140"})
    assert "scan-worker" in picture


def _on_a_terminal(environment: dict[str, str]) -> tuple[int, str]:
    """`eco2 top` on a terminal that is made narrow while it runs, then `q`; its exit code and all that it wrote."""
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 140))
    before = termios.tcgetattr(theirs)
    command = (sys.executable, "-m", "eco2", "top", "--every", "0.5")
    own = {**environment, "TERM": "xterm"}
    process = subprocess.Popen(command, env=own, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    shown = ""

    def read_until(word: str) -> None:
        nonlocal shown
        start = len(shown)
        while word not in shown[start:]:
            shown += os.read(terminal, 65536).decode(errors="replace")

    read_until("processes ready")
    termios.tcsetwinsize(theirs, (24, 70))
    process.send_signal(signal.SIGWINCH)
    read_until("processes ready")
    os.write(terminal, b"q")
    read_until(LEAVE_SCREEN)
    code = process.wait(30)
    assert termios.tcgetattr(theirs) == before
    os.close(theirs)
    os.close(terminal)
    return code, shown


async def test_top_on_a_terminal_follows_its_size_and_gives_it_back(live: Live) -> None:
    code, shown = await asyncio.wait_for(asyncio.to_thread(_on_a_terminal, live.environment), 90)
    assert code == 0
    assert shown.count(ENTER_SCREEN) == shown.count(LEAVE_SCREEN) == 1
    assert CLEAR_SCREEN not in shown.partition("processes ready")[2], "a cleared screen flickers"


async def test_dashboards_show_the_load(live: Live) -> None:
    """Every query that a local process or exporter answers has data; the others are in `test_dashboards.py`."""
    wanted = {
        (board, panel, at(query, "1m"))
        for board, panel, query in boards.queries()
        if (board, panel) not in ANSWERED_IN_A_CLUSTER
    }
    async with live.load(model=PAID_MODEL):
        await live.eco2("chat", "우유팩 어떻게 버려?", "--user", "somebody")
        await live.eco2("chat", "안녕", "--user", "somebody")
        await live.eco2("task", "run", "news.feeds")

        async def all_answer() -> bool:
            for row in sorted(wanted):
                if await live.query(row[2]):
                    wanted.discard(row)
            return not wanted

        try:
            await until(all_answer, 120)
        except TimeoutError:
            pytest.fail(f"without data: {sorted(wanted)}")


async def test_a_process_has_a_quarter_of_the_series_that_its_monitor_takes_at_most(live: Live) -> None:
    """Beyond the limit a Pod is not read at all; in a cluster its sidecar adds some."""
    limits = {item["metadata"]["name"]: item["spec"]["sampleLimit"] for item in documents("PodMonitor")}
    shapes = {row.name: row.kind for row in SERVICES}
    found = {row["metric"]["process"]: int(row["value"][1]) for row in await live.query(SERIES)}
    assert found.keys() >= shapes.keys()
    assert {name: count for name, count in found.items() if name in shapes and count > limits[shapes[name]] / 4} == {}


async def test_measurements_lead_to_traces(live: Live) -> None:
    job = await live.scan(live.person(), model=PAID_MODEL)
    trace = json.loads(await live.eco2("trace", job, "--json"))["trace_id"]
    async with httpx2.AsyncClient() as client:

        async def leads() -> bool:
            url = f"http://127.0.0.1:{live.layout.port(config.PROMETHEUS)}/api/v1/query_exemplars"
            query = {"query": "eco2_task_seconds_bucket", "start": str(time.time() - 300), "end": str(time.time())}
            found = (await client.get(url, params=query)).raise_for_status().json()["data"]
            return trace in {one["labels"]["trace_id"] for row in found for one in row["exemplars"]}

        await until(leads, 30)


async def test_a_process_that_hangs_is_told_and_so_is_its_return(live: Live) -> None:
    await live.quiet("TargetDown")
    with stopped(await live.pid("info-api")):
        told = await live.webhook.heard("firing", alertname="TargetDown", process="info-api")
        assert told["annotations"]["runbook_url"].endswith("/docs/runbooks/target-down.md")
        found = json.loads(await live.eco2("top", "--json"))
        assert "TargetDown" in {row["name"] for row in found["alerts"]}
        assert "info-api" in {row["name"] for row in found["processes"] if not row["answers"]}
    await live.webhook.heard("resolved", alertname="TargetDown", process="info-api")


async def test_dead_letters_are_told_until_they_are_gone(live: Live) -> None:
    await live.quiet("DeadLetters")
    publisher = Publisher(config.environment(live.layout)["ECO2_BROKER_URL"])
    try:
        for _ in range(LETTERS):
            await publisher.send_as_it_is(
                queues.SCAN_EXCHANGE, queues.SCAN_VISION, b"no message of ours", {}, str(uuid.uuid4())
            )
    finally:
        await publisher.close()
    told = await live.webhook.heard("firing", alertname="DeadLetters", queue="dlq.scan.vision")
    assert told["labels"]["severity"] == "critical"
    assert "101" in told["annotations"]["summary"]
    await live.eco2("dlq", "drop", "--all")
    await live.webhook.heard("resolved", alertname="DeadLetters", queue="dlq.scan.vision")


async def test_a_paid_model_that_fails_is_told_until_it_answers(live: Live) -> None:
    await live.quiet("LlmErrors")
    await live.behave(**{"*": {"rates": {"error": 1.0}}})
    async with live.load(model=PAID_MODEL):
        await live.webhook.heard("firing", alertname="LlmErrors", model=PAID_MODEL)
        await live.behave(**{"*": {}})
        await live.webhook.heard("resolved", alertname="LlmErrors", model=PAID_MODEL)
