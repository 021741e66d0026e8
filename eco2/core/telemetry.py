"""Logs, traces and the context that ties them together.

`setup` is called once by every process. Logs are JSON lines on stdout; each carries the request, job and
trace it belongs to. Traces continue over HTTP headers, AMQP headers and events through W3C `traceparent` strings.

Spans of entry points (a request, a message, a task) always exist, as they carry the ids. `detail` and `record` create
further spans only if traces are exported.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

from opentelemetry import context, trace
from opentelemetry.propagate import extract, inject, set_global_textmap
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pythonjsonlogger.orjson import OrjsonFormatter

from eco2.core.settings import Settings

request_id: ContextVar[str] = ContextVar("request_id", default="")
job_id: ContextVar[str] = ContextVar("job_id", default="")
user_id: ContextVar[str] = ContextVar("user_id", default="")
"""User of the request, as the edge wrote it; empty without one."""

_tracer = trace.get_tracer("eco2")
_exporting = False
_SAMPLED = "-01"
"""End of a `traceparent` whose spans are collected."""


class _ContextFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        record.job_id = job_id.get()
        span = trace.get_current_span().get_span_context()
        record.trace_id = f"{span.trace_id:032x}" if span.is_valid else ""
        return True


class _Formatter(OrjsonFormatter):
    """JSON lines without the context fields that are empty, and without uvicorn's copy of its message in colour."""

    def process_log_record(self, log_data: dict[str, object]) -> dict[str, object]:
        log_data.pop("color_message", None)
        return {key: value for key, value in log_data.items() if value not in ("", None)}


def setup(name: str, settings: Settings) -> None:
    """Configure logging and tracing for the process `name`."""
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(_ContextFilter())
    if settings.log_format == "json":
        fields = "%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s %(job_id)s %(trace_id)s"
        rename = {"asctime": "time", "levelname": "level", "name": "logger"}
        handler.setFormatter(_Formatter(fields, rename_fields=rename, static_fields={"process": name}))
    else:
        handler.setFormatter(logging.Formatter("%(levelname)-7s %(name)s %(message)s"))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for chatty in ("aiormq", "aio_pika", "botocore", "httpx2", "celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    _setup_tracing(name, settings)


def _setup_tracing(name: str, settings: Settings) -> None:
    global _exporting
    _exporting = settings.otlp_endpoint is not None
    resource = Resource.create({"service.name": name, "deployment.environment": settings.environment})
    # Spans that are not exported only carry ids: unsampled ones do that for less than half.
    share = sampling.ParentBased(sampling.TraceIdRatioBased(settings.trace_share))
    sampler = share if settings.otlp_endpoint else sampling.ALWAYS_OFF
    provider = TracerProvider(sampler=sampler, resource=resource)
    if settings.otlp_endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    set_global_textmap(TraceContextTextMapPropagator())


@contextmanager
def span(
    name: str,
    carrier: Mapping[str, str] | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, str | int | float] | None = None,
) -> Iterator[Span]:
    """A span that continues the trace of `carrier` (headers with `traceparent`), or the current one.

    `name` is one of a few: a queue, a task, a route. What tells one from another of its kind is an attribute.
    """
    parent = extract(carrier) if carrier else None
    with _tracer.start_as_current_span(name, context=parent, kind=kind, attributes=attributes) as current:
        yield current


def exporting() -> bool:
    """True where spans are collected."""
    return _exporting


def detail(
    name: str, kind: SpanKind = SpanKind.INTERNAL, attributes: Mapping[str, str | int | float] | None = None
) -> AbstractContextManager[object]:
    """A span within the current one where spans are collected; nothing elsewhere."""
    if not _exporting:
        return nullcontext()
    return _tracer.start_as_current_span(name, kind=kind, attributes=attributes)


def record(
    name: str, traceparent: str, start: float, kind: SpanKind, attributes: Mapping[str, str | int | float]
) -> None:
    """A span from `start` (epoch seconds) until now in the trace of `traceparent`, where that one is collected."""
    if _exporting and traceparent.endswith(_SAMPLED):
        parent = extract({"traceparent": traceparent})
        made = _tracer.start_span(name, parent, kind, attributes, start_time=int(start * 1e9))
        made.end()


def exemplar() -> dict[str, str] | None:
    """The trace of a measurement; None if it is not exported."""
    if not _exporting:
        return None
    span = trace.get_current_span().get_span_context()
    return {"trace_id": f"{span.trace_id:032x}"} if span.is_valid and span.trace_flags.sampled else None


def about_job(number: str) -> None:
    """Attach this job to all that is logged and traced from here on. An id belongs into no name of a span."""
    job_id.set(number)
    trace.get_current_span().set_attribute("eco2.job_id", number)


def trace_headers() -> dict[str, str]:
    """`{"traceparent": …}` of the current span; empty outside of one."""
    headers: dict[str, str] = {}
    inject(headers, context.get_current())
    return headers
