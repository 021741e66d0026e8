"""gRPC between our services: servers with health and reflection, callers with deadlines and retries.

The conventions, which every service of `proto/` keeps:
- A method may be repeated: callers try again when the server is away.
- A call has a deadline, which the calls that it causes inherit.
- Callers prove that they are of ours (`eco2.core.proof`) where the process has a service secret; a call without a proof
  is UNAUTHENTICATED.
- Metadata carries the trace, the request id and the user (`eco2.contracts.identity`), as HTTP headers do at the edge.
- An AppError crosses as the status that fits its HTTP status, with its code in the trailing metadata CODE_KEY, and is
  raised at the caller as the class of `eco2.core.errors` of that status, with that code and message.
"""

import asyncio
import json
import logging
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_health.v1.health import aio as health
from opentelemetry.trace import SpanKind
from prometheus_client import Histogram

from eco2.contracts.identity import SERVICE_PROOF_KEY, USER_ID_HEADER
from eco2.core import telemetry
from eco2.core.errors import AWAY, AppError, BadRequest, Conflict, NotFound, Unauthorized, Unavailable
from eco2.core.ops import Check
from eco2.core.proof import of_caller, period, proves_call
from eco2.core.settings import Settings

log = logging.getLogger(__name__)

CODE_KEY = "eco2-code"
REQUEST_ID = "x-request-id"
DEADLINE_SECONDS = 5.0
ATTEMPTS = 4
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0

SECONDS = Histogram("eco2_grpc_request_seconds", "Time to answer a gRPC request", ["method", "status"])

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)

Status = grpc.StatusCode
_STATUS = {
    400: Status.INVALID_ARGUMENT,
    401: Status.UNAUTHENTICATED,
    404: Status.NOT_FOUND,
    409: Status.FAILED_PRECONDITION,
    422: Status.INVALID_ARGUMENT,
    429: Status.RESOURCE_EXHAUSTED,
    503: Status.UNAVAILABLE,
}
_ERROR: Mapping[Status, type[AppError]] = {
    Status.INVALID_ARGUMENT: BadRequest,
    Status.UNAUTHENTICATED: Unauthorized,
    Status.NOT_FOUND: NotFound,
    Status.FAILED_PRECONDITION: Conflict,
}
_TRY_LATER = (Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.RESOURCE_EXHAUSTED)


class BadId(BadRequest):
    """An id is a UUID."""


def uuid_of(text: str, code: str) -> uuid.UUID:
    """The id that a request carries as text; BadId with that code when it is none."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise BadId(code=code) from None


# --- server -----------------------------------------------------------------------------------------------------------

Register = Callable[[grpc.aio.Server], None]


@asynccontextmanager
async def serving(settings: Settings, services: Mapping[str, Register]) -> AsyncIterator[Check]:
    """Answer `services` (full name → how it is added to a server) on `grpc_port`; yields a check for `/ready`.

    When it is left, health says so, calls in flight finish, new ones are refused.
    """
    # Two processes on one port would share it silently, the one left over from yesterday included.
    server = grpc.aio.server(interceptors=(_Edge(settings.service_secret),), options=(("grpc.so_reuseport", 0),))
    status = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    for register in services.values():
        register(server)
    if settings.environment == "local":
        _reflect(server, services)
    server.add_insecure_port(f"{settings.host}:{settings.grpc_port}")
    await server.start()
    for name in ("", *services):
        await status.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def answering() -> None:
        found = await status.Check(health_pb2.HealthCheckRequest(), None)
        if found.status != health_pb2.HealthCheckResponse.SERVING:
            raise RuntimeError("not serving")

    try:
        yield answering
    finally:
        await status.enter_graceful_shutdown()
        await server.stop(settings.shutdown_grace.total_seconds())


def _reflect(server: grpc.aio.Server, services: Mapping[str, Register]) -> None:
    """Lets tools list the methods; a production server does not tell them."""
    from grpc_reflection.v1alpha import reflection

    reflection.enable_server_reflection((*services, reflection.SERVICE_NAME, HEALTH), server)


class _Edge(grpc.aio.ServerInterceptor):
    """Around every method of ours: the caller's proof, trace, request id and deadline; errors; metrics; a log line."""

    def __init__(self, secret: str | None) -> None:
        self._secret = secret

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None or not method.startswith("/eco2."):
            return handler  # type: ignore[no-any-return]
        carrier = dict(handler_call_details.invocation_metadata or ())

        proven = self._secret is None or proves_call(self._secret, _service(method), carrier.get(SERVICE_PROOF_KEY, ""))
        behaviour = handler.unary_unary if proven else _refuse_stranger

        async def answer(request: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
            return await _answer(method, carrier, behaviour, request, context)

        return grpc.unary_unary_rpc_method_handler(answer, handler.request_deserializer, handler.response_serializer)


def _service(method: str) -> str:
    """`eco2.users.v1.UsersService` of `/eco2.users.v1.UsersService/GetUser`."""
    return method.split("/")[1]


class Stranger(Unauthorized):
    """This call does not come from a service of the platform."""

    code = "SERVICE_PROOF_REQUIRED"


async def _refuse_stranger(_request: Any, _context: object) -> None:
    raise Stranger


async def _answer(
    method: str, carrier: Mapping[str, str], behaviour: Any, request: Any, context: "grpc.aio.ServicerContext[Any, Any]"
) -> Any:
    telemetry.request_id.set(carrier.get(REQUEST_ID) or uuid.uuid4().hex)
    telemetry.user_id.set(carrier.get(USER_ID_HEADER, ""))
    remaining = context.time_remaining() or DEADLINE_SECONDS
    _deadline.set(time.monotonic() + remaining)
    start, status, exemplar = time.perf_counter(), Status.OK, None
    try:
        with telemetry.span(method, carrier, SpanKind.SERVER):
            exemplar = telemetry.exemplar()
            try:
                async with asyncio.timeout(remaining):
                    return await behaviour(request, context)
            except Exception as error:  # noqa: BLE001 - whatever it is becomes a status
                status, code, message = _refusal(method, error)
                context.set_trailing_metadata(((CODE_KEY, code),))
                await context.abort(status, message)
    except asyncio.CancelledError:
        status = Status.CANCELLED
        raise
    finally:
        seconds = time.perf_counter() - start
        SECONDS.labels(method, status.name).observe(seconds, exemplar)
        extra = {"method": method, "status": status.name, "user": telemetry.user_id.get()}
        log.info("call", extra={**extra, "ms": round(seconds * 1000, 1)})


def _refusal(method: str, error: Exception) -> tuple[Status, str, str]:
    """(status, code, message) that the caller gets."""
    if isinstance(error, AppError):
        return _STATUS.get(error.status, Status.INTERNAL), error.code, error.message
    if isinstance(error, TimeoutError):
        return Status.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "It took too long; try again."
    if isinstance(error, tuple(AWAY)):
        log.warning("a server is away: %s", str(error).partition("\n")[0])
        return Status.UNAVAILABLE, Unavailable.code, "A server we depend on is away; try again in a moment."
    log.error("unhandled error", exc_info=error, extra={"method": method})
    return Status.INTERNAL, AppError.code, "Something went wrong on our side; try again."


# --- caller -----------------------------------------------------------------------------------------------------------

_CHANNEL_OPTIONS = (
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ("grpc.enable_retries", 0),  # `call` repeats: it knows the deadline that was inherited, and counts what it does
    # A server that comes back is noticed within a pause, not after the minute that is the default.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 250),
)

Request = TypeVar("Request")
Response = TypeVar("Response")


class Method(Protocol[Request, Response]):
    """A method of an async stub."""

    def __call__(
        self, request: Request, /, *, timeout: float | None, metadata: Any
    ) -> "grpc.aio.UnaryUnaryCall[Request, Response]": ...


class _Prover(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, secret: str) -> None:
        self._secret = secret

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        method = details.method.decode() if isinstance(details.method, bytes) else details.method
        proof = (SERVICE_PROOF_KEY, of_caller(self._secret, _service(method), period()))
        return await continuation(details._replace(metadata=(*(details.metadata or ()), proof)), request)


@asynccontextmanager
async def channel(address: str, secret: str | None) -> AsyncIterator[grpc.aio.Channel]:
    """Connections to a service at `host:port`, made when they are needed, to all its replicas in turn.

    With `secret`, the service secret, calls prove where they come from."""
    provers = None if secret is None else [_Prover(secret)]
    async with grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS, interceptors=provers) as opened:
        yield opened


async def call(method: Method[Request, Response], request: Request, timeout: float = DEADLINE_SECONDS) -> Response:  # noqa: ASYNC109
    """The answer of a stub's method, within `timeout` seconds and the deadline of the call that we are answering.

    A server that is away is asked again, ATTEMPTS times in all, after pauses that grow from FIRST_PAUSE. Raises what
    the server raised (see the head of this file); Unavailable when it did not answer in time. Anything else that goes
    wrong there is its bug, and an AioRpcError here.
    """
    inherited = _deadline.get()
    end = time.monotonic() + timeout
    end = end if inherited is None else min(end, inherited)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await method(request, timeout=max(0.0, end - time.monotonic()), metadata=_metadata())
        except grpc.aio.AioRpcError as error:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)) * random.uniform(0.8, 1.2)  # noqa: S311
            late = time.monotonic() + pause >= end
            if error.code() is not Status.UNAVAILABLE or attempt == ATTEMPTS or late:
                raise _raised(error) from error
        await asyncio.sleep(pause)
    raise AssertionError("unreachable")


def _metadata() -> tuple[tuple[str, str], ...]:
    ids = {REQUEST_ID: telemetry.request_id.get(), USER_ID_HEADER: telemetry.user_id.get()}
    return tuple((name, value) for name, value in {**telemetry.trace_headers(), **ids}.items() if value)


def _raised(error: grpc.aio.AioRpcError) -> Exception:
    code = dict(error.trailing_metadata()).get(CODE_KEY)
    if error.code() in _TRY_LATER:  # said by the service, or it is not there to say anything
        message = error.details() if code else "A service we depend on is away; try again in a moment."
        return Unavailable(message or "", code=str(code or ""))
    kind = _ERROR.get(error.code()) if code else None
    return kind(error.details() or "", code=str(code)) if kind else error
