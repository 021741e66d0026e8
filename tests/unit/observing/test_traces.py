"""The collector of traces and the tree that `eco2 trace` prints."""

import gzip
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from eco2.local.emulators.guard import FromHereOnly
from eco2.local.observing import tree
from eco2.local.observing.traces import JOB, MOST_BYTES, Collector, Span, Traces

Json = dict[str, Any]


def span(span_id: str = "a", parent: str = "", start: int = 0, end: int = 1, **more: Any) -> Span:
    fields: Json = {"name": "n", "process": "p", "kind": "internal", **more}
    return Span(span_id, parent, start=start, end=end, **fields)


def test_the_oldest_traces_go_first() -> None:
    traces = Traces(most=3)
    for number in range(5):
        traces.add(str(number), span(attributes={JOB: f"job-{number}"}))
    assert [row["trace_id"] for row in traces.newest(10)] == ["4", "3", "2"]
    assert traces.of_job("job-1") == []
    assert len(traces._jobs) == 3
    traces.add("2", span("b"))
    traces.add("5", span())
    assert [row["trace_id"] for row in traces.newest(10)] == ["5", "2"]


def test_a_trace_without_end_is_cut() -> None:
    traces = Traces(most_of_trace=2)
    for number in range(5):
        traces.add("t", span(str(number)))
    assert (traces.newest(1)[0]["spans"], traces.dropped) == (2, 3)


def exported() -> bytes:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "scan-api"
    made = resource.scope_spans.add().spans.add(
        trace_id=bytes(16), span_id=bytes(8), name="POST /x", kind=2, start_time_unix_nano=5, end_time_unix_nano=9
    )
    made.attributes.add(key=JOB).value.string_value = "j"
    made.attributes.add(key="http.response.status_code").value.int_value = 201
    return request.SerializeToString()


@pytest.fixture
def client() -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(FromHereOnly(Collector(Traces())))
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:1")


@pytest.mark.parametrize("packed", [False, True])
async def test_what_is_exported_is_found_by_its_job(client: httpx2.AsyncClient, packed: bool) -> None:
    body = gzip.compress(exported()) if packed else exported()
    headers = {"content-encoding": "gzip"} if packed else {}
    assert (await client.post("/v1/traces", content=body, headers=headers)).status_code == 200
    (found,) = (await client.get("/traces", params={"job": "j"})).json()["traces"]
    (row,) = found["spans"]
    assert (row["process"], row["kind"], row["start"], row["end"]) == ("scan-api", "server", 5, 9)
    assert row["attributes"]["http.response.status_code"] == 201
    assert (await client.get("/traces", params={"job": "k"})).json()["traces"] == []


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"no message", {}, 400),
        (b"not gzip", {"content-encoding": "gzip"}, 400),
        (b"\0" * (MOST_BYTES + 1), {}, 413),
        (gzip.compress(b"\0" * (MOST_BYTES + 1)), {"content-encoding": "gzip"}, 413),
    ],
)
async def test_what_is_no_export_is_refused(
    client: httpx2.AsyncClient, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert (await client.post("/v1/traces", content=body, headers=headers)).status_code == status


async def test_pages_of_a_browser_are_refused(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/traces", headers={"origin": "https://evil.example"})).status_code == 403


MS = 1_000_000


def wire(span_id: str, parent: str, start: int, end: int, **more: Any) -> Json:
    fields: Json = {"name": span_id, "process": "p", "kind": "internal", "error": "", "attributes": {}, **more}
    return {"span_id": span_id, "parent_id": parent, "start": start * MS, "end": end * MS, **fields}


SCAN = [
    wire("request", "", 0, 40, process="gateway", kind="server"),
    wire("publish", "request", 20, 25, process="scan-api", kind="producer"),
    wire("scan.vision", "publish", 75, 200, process="scan-worker", kind="consumer"),
    wire("llm.vision", "scan.vision", 80, 180, process="scan-worker"),
    wire("deliver event", "scan.vision", 199, 210, process="sse-gateway", attributes={"eco2.stage": "done"}),
]


def test_the_tree_explains_its_gaps() -> None:
    told = [(line.depth, line.text, line.start, line.milliseconds) for line in tree.lines(SCAN)]
    assert told == [
        (0, "request", 0, 40),
        (1, "gateway works", 0, 20),
        (1, "publish", 20, 5),
        (2, "waits in the queue scan.vision", 25, 50),
        (2, "scan.vision", 75, 125),
        (3, "scan-worker works", 75, 5),
        (3, "llm.vision", 80, 100),
        (3, "scan-worker works", 180, 19),
        (3, "deliver event", 199, 11),
        (1, "gateway works", 25, 15),
    ]
    total = tree.summary(SCAN)
    assert (total["milliseconds"], total["queue_milliseconds"], total["complete"]) == (210, 55, True)


@pytest.mark.parametrize("missing", ["request", "publish", "scan.vision", "deliver event"])
def test_a_trace_with_a_hole_is_not_complete(missing: str) -> None:
    rest = [row for row in SCAN if row["span_id"] != missing]
    assert not tree.complete(rest)
    shown = [line for line in tree.lines(rest) if line.span is not None]
    assert len(shown) == len(rest)


def test_two_traces_in_one_are_not_complete() -> None:
    assert not tree.complete([*SCAN, wire("other", "", 0, 1)])
