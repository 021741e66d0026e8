"""A small collector of traces: takes OTLP over HTTP, keeps the newest in memory, answers for one job.

`POST /v1/traces` takes spans of the processes and the gateway; `GET /traces` lists the kept traces, newest first, and
`GET /traces?job=ID` is the trace of a job with its spans.
"""

import argparse
import gzip
import io
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from urllib.parse import parse_qs

import uvicorn
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from eco2.core.ops import Receive, Scope, Send, send_json
from eco2.local.emulators.guard import FromHereOnly

JOB = "eco2.job_id"
MOST_SPANS = 20_000
"""Kept in all; the oldest traces go first. Some 500 scans, 30 MB."""
MOST_SPANS_OF_TRACE = 2_000
MOST_BYTES = 8 << 20
"""Of one request, unpacked."""
LISTED = 50


@dataclass(frozen=True)
class Span:
    """Times are nanoseconds since the epoch; `parent_id` is empty for the first span of a trace."""

    span_id: str
    parent_id: str
    name: str
    process: str
    kind: str
    start: int
    end: int
    error: str = ""
    attributes: dict[str, str | int | float | bool] = field(default_factory=dict)


class TooLarge(Exception):
    """The request is larger than MOST_BYTES."""


class Traces:
    """Spans by trace, bounded."""

    def __init__(self, most: int = MOST_SPANS, most_of_trace: int = MOST_SPANS_OF_TRACE) -> None:
        self._most, self._most_of_trace = most, most_of_trace
        self._spans: OrderedDict[str, list[Span]] = OrderedDict()
        self._jobs: dict[str, set[str]] = {}
        """Job → the traces that speak of it."""
        self._count = 0
        self.dropped = 0
        """Spans beyond `most_of_trace`."""

    def add(self, trace_id: str, span: Span) -> None:
        """A trace that gets a span is new again."""
        spans = self._spans.setdefault(trace_id, [])
        self._spans.move_to_end(trace_id)
        if len(spans) >= self._most_of_trace:
            self.dropped += 1
            return
        spans.append(span)
        self._count += 1
        if job := span.attributes.get(JOB):
            self._jobs.setdefault(str(job), set()).add(trace_id)
        while self._count > self._most:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        trace_id, spans = self._spans.popitem(last=False)
        self._count -= len(spans)
        for job in {str(span.attributes[JOB]) for span in spans if JOB in span.attributes}:
            self._jobs[job].discard(trace_id)
            if not self._jobs[job]:
                del self._jobs[job]

    def of_job(self, job: str) -> list[tuple[str, Sequence[Span]]]:
        """(trace id, spans) of the traces that speak of the job, the one with most spans first."""
        found = [(trace_id, self._spans[trace_id]) for trace_id in self._jobs.get(job, ())]
        return sorted(found, key=lambda pair: -len(pair[1]))

    def newest(self, limit: int) -> list[dict[str, object]]:
        rows = []
        for trace_id, spans in list(reversed(self._spans.items()))[:limit]:
            first = min(spans, key=lambda span: span.start)
            seconds = (max(span.end for span in spans) - first.start) / 1e9
            jobs = sorted({str(span.attributes[JOB]) for span in spans if JOB in span.attributes})
            row = {"trace_id": trace_id, "name": first.name, "process": first.process, "spans": len(spans)}
            rows.append({**row, "seconds": round(seconds, 4), "jobs": jobs})
        return rows


def read(body: bytes) -> Iterable[tuple[str, Span]]:
    """(trace id, span) of an export. DecodeError: it is none."""
    request = ExportTraceServiceRequest.FromString(body)
    for resource in request.resource_spans:
        process = str(_attributes(resource.resource.attributes).get("service.name", ""))
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield span.trace_id.hex(), _read_span(process, span)


def _read_span(process: str, span: WireSpan) -> Span:
    return Span(
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        process,
        WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        (span.status.message or "error") if span.status.code == Status.STATUS_CODE_ERROR else "",
        _attributes(span.attributes),
    )


def _attributes(rows: Iterable[KeyValue]) -> dict[str, str | int | float | bool]:
    found = {row.key: _value(row.value) for row in rows}
    return {key: value for key, value in found.items() if value is not None}


def _value(value: AnyValue) -> str | int | float | bool | None:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


class Collector:
    """ASGI app."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        match scope["method"], scope["path"]:
            case "GET", "/ready":
                await send_json(send, 200, {"status": "ready"})
            case "GET", "/traces":
                await send_json(send, 200, self._answer(parse_qs(scope["query_string"].decode("latin-1"))))
            case "POST", "/v1/traces":
                await self._take(scope, receive, send)
            case _:
                await send_json(send, 404, {"detail": "There is nothing at this path.", "code": "NOT_FOUND"})

    def _answer(self, query: Mapping[str, Sequence[str]]) -> object:
        if "job" not in query:
            return {"traces": self._traces.newest(LISTED), "dropped": self._traces.dropped}
        found = self._traces.of_job(query["job"][0])
        return {"traces": [{"trace_id": trace_id, "spans": list(map(asdict, spans))} for trace_id, spans in found]}

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        try:
            body = await _body(receive)
            if headers.get(b"content-encoding") == b"gzip":
                body = _unpacked(body)
            for trace_id, span in read(body):
                self._traces.add(trace_id, span)
        except TooLarge as error:
            await send_json(send, 413, {"detail": str(error.__doc__), "code": "TOO_LARGE"})
        except (DecodeError, OSError, EOFError, zlib.error):
            await send_json(send, 400, {"detail": "Send an ExportTraceServiceRequest.", "code": "BAD_REQUEST"})
        else:
            await send_json(send, 200, {})


async def _body(receive: Receive) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise EOFError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BYTES:
            raise TooLarge
        more = message.get("more_body", False)
    return b"".join(parts)


def _unpacked(body: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
        found = file.read(MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise TooLarge
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eco2.local.observing.traces", description="Collector of traces.")
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    uvicorn.run(
        FromHereOnly(Collector(Traces())),
        host="127.0.0.1",
        port=given.port,
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
