"""The conventions of gRPC between services, on a real server and a real channel."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc as wire
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry import trace
from redis.exceptions import ConnectionError as RedisAway

from eco2.contracts.identity import SERVICE_PROOF_KEY
from eco2.contracts.pb import users_pb2 as pb
from eco2.contracts.pb.users_pb2_grpc import UsersServiceServicer, UsersServiceStub, add_UsersServiceServicer_to_server
from eco2.core import grpc, telemetry
from eco2.core import proof as proofs
from eco2.core.errors import AppError, BadRequest, Conflict, NotFound, Unauthorized, Unavailable
from eco2.core.settings import Settings
from tests.redis_server import free_port

if TYPE_CHECKING:
    from eco2.contracts.pb.users_pb2_grpc import UsersServiceAsyncStub

SERVICE = "eco2.users.v1.UsersService"
SECRET = "a-key-of-tests-that-nobody-guesses"
Answer = Callable[[pb.GetUserRequest], Awaitable[pb.GetUserResponse]]


class Service(UsersServiceServicer):
    """Answers GetUser with `answer`, and the rest not at all."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def GetUser(self, request: pb.GetUserRequest, context: Any) -> pb.GetUserResponse:  # noqa: N802
        return await self.answer(request)

    def GetOrCreateFromOAuth(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    def OpenGuest(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    def UpdateLoginTime(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError


@asynccontextmanager
async def serving(answer: Answer, port: int, **changes: Any) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    settings = Settings(grpc_port=port, shutdown_grace=timedelta(seconds=2), **changes)
    register = partial(add_UsersServiceServicer_to_server, Service(answer))
    async with grpc.serving(settings, {SERVICE: register}) as check:
        yield check


@asynccontextmanager
async def asking(port: int) -> AsyncIterator["UsersServiceAsyncStub"]:
    async with grpc.channel(f"127.0.0.1:{port}", None) as channel:
        yield UsersServiceStub(channel)


async def nobody(_request: pb.GetUserRequest) -> pb.GetUserResponse:
    return pb.GetUserResponse()


class NotThere(NotFound):
    """여기 없어요."""

    code = "NOT_THERE"


class Odd(AppError):
    """A status that no caller knows."""

    status = 418


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (NotThere(), NotFound),
        (BadRequest("x"), BadRequest),
        (Unauthorized(), Unauthorized),
        (Conflict(), Conflict),
        (Unavailable(), Unavailable),
    ],
)
async def test_an_expected_error_arrives_as_what_it_is(raised: AppError, seen: type[AppError]) -> None:
    async def answer(_request: pb.GetUserRequest) -> pb.GetUserResponse:
        raise raised

    port = free_port()
    async with serving(answer, port), asking(port) as stub:
        with pytest.raises(seen) as caught:
            await grpc.call(stub.GetUser, pb.GetUserRequest(), timeout=1)
    assert (caught.value.message, caught.value.code) == (raised.message, raised.code)


@pytest.mark.parametrize("raised", [ValueError("with a secret in it"), Odd()])
async def test_a_bug_of_the_server_is_no_expected_error_and_does_not_tell_its_inside(
    raised: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(_request: pb.GetUserRequest) -> pb.GetUserResponse:
        raise raised

    port = free_port()
    async with serving(answer, port), asking(port) as stub:
        with pytest.raises(wire.aio.AioRpcError) as caught:
            await grpc.call(stub.GetUser, pb.GetUserRequest())
    assert caught.value.code() is wire.StatusCode.INTERNAL
    assert "secret" not in str(caught.value.details())
    assert isinstance(raised, AppError) or "with a secret in it" in caplog.text


async def test_a_server_of_the_server_that_is_away_is_asked_again() -> None:
    asked = 0

    async def answer(_request: pb.GetUserRequest) -> pb.GetUserResponse:
        nonlocal asked
        asked += 1
        if asked < grpc.ATTEMPTS:
            raise RedisAway("not now")
        return pb.GetUserResponse(user=pb.User(id="1"))

    port = free_port()
    async with serving(answer, port), asking(port) as stub:
        found = await grpc.call(stub.GetUser, pb.GetUserRequest())
    assert (found.user.id, asked) == ("1", grpc.ATTEMPTS)


async def test_a_refusal_is_not_asked_again() -> None:
    asked = 0

    async def answer(_request: pb.GetUserRequest) -> pb.GetUserResponse:
        nonlocal asked
        asked += 1
        raise NotThere

    port = free_port()
    async with serving(answer, port), asking(port) as stub:
        with pytest.raises(NotFound):
            await grpc.call(stub.GetUser, pb.GetUserRequest())
    assert asked == 1


async def test_a_server_that_is_not_there_is_unavailable_and_one_that_comes_is_found() -> None:
    port = free_port()
    async with asking(port) as stub:
        with pytest.raises(Unavailable):
            await grpc.call(stub.GetUser, pb.GetUserRequest())
        waiting = asyncio.create_task(grpc.call(stub.GetUser, pb.GetUserRequest()))
        await asyncio.sleep(0.2)
        async with serving(nobody, port):
            assert await waiting == pb.GetUserResponse()


async def test_a_call_ends_at_its_deadline_and_so_does_the_work() -> None:
    ended = asyncio.Event()

    async def answer(_request: pb.GetUserRequest) -> pb.GetUserResponse:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()
        raise AssertionError

    port = free_port()
    async with serving(answer, port), asking(port) as stub:
        start = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable):
            await grpc.call(stub.GetUser, pb.GetUserRequest(), timeout=0.3)
        assert asyncio.get_running_loop().time() - start < 1
        async with asyncio.timeout(1):
            await ended.wait()


async def test_what_a_call_causes_inherits_its_deadline_trace_request_id_and_user() -> None:
    ports = free_port(), free_port()
    seen: dict[str, object] = {}

    async def slow(_request: pb.GetUserRequest) -> pb.GetUserResponse:
        span = trace.get_current_span().get_span_context()
        seen.update(request=telemetry.request_id.get(), user=telemetry.user_id.get(), trace=f"{span.trace_id:032x}")
        await asyncio.sleep(30)
        raise AssertionError

    async with serving(slow, ports[1]), asking(ports[1]) as second:

        async def relay(request: pb.GetUserRequest) -> pb.GetUserResponse:
            try:
                return await grpc.call(second.GetUser, request, timeout=20)
            finally:
                seen["ended"] = True

        async with serving(relay, ports[0]), asking(ports[0]) as first:
            user, request_id = str(uuid.uuid4()), uuid.uuid4().hex
            telemetry.user_id.set(user)
            telemetry.request_id.set(request_id)
            trace_id = uuid.uuid4().hex
            caller = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
            with telemetry.span("test", caller), pytest.raises(Unavailable):
                await grpc.call(first.GetUser, pb.GetUserRequest(), timeout=0.5)
            await asyncio.sleep(0.3)
    assert seen == {"request": request_id, "user": user, "trace": trace_id, "ended": True}


async def test_the_server_tells_its_health_and_locally_its_methods() -> None:
    port = free_port()
    async with serving(nobody, port) as check, grpc.channel(f"127.0.0.1:{port}", None) as channel:
        await check()
        for name in ("", SERVICE):
            found = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
            assert found.status == health_pb2.HealthCheckResponse.SERVING
        assert SERVICE in await _listed(channel)


async def test_outside_of_a_developers_machine_there_is_no_reflection() -> None:
    port = free_port()
    async with (
        serving(nobody, port, environment="prod", service_secret=SECRET),
        grpc.channel(f"127.0.0.1:{port}", None) as channel,
    ):
        with pytest.raises(wire.aio.AioRpcError):
            await _listed(channel)


async def _listed(channel: wire.aio.Channel) -> list[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = stub.ServerReflectionInfo(iter([request]))
    return [row.name async for answer in answers for row in answer.list_services_response.service]


@pytest.mark.parametrize("proof", [None, "another key", "another service", "no token", "old"])
async def test_a_call_without_the_proof_of_a_service_is_refused(proof: str | None) -> None:
    port, asked = free_port(), Service(nobody)
    forged = {
        "another key": proofs.of_caller("k" * 32, SERVICE, proofs.period()),
        "another service": proofs.of_caller(SECRET, "eco2.scan.v1.PreferencesService", proofs.period()),
        "no token": "believe me",
        "old": proofs.of_caller(SECRET, SERVICE, proofs.period() - 3),
    }
    metadata = [(SERVICE_PROOF_KEY, forged[proof])] if proof else []
    async with serving(asked.answer, port, service_secret=SECRET), asking(port) as stub:
        with pytest.raises(wire.aio.AioRpcError) as refused:
            await stub.GetUser(pb.GetUserRequest(), metadata=metadata)
    assert refused.value.code() is wire.StatusCode.UNAUTHENTICATED
    assert dict(refused.value.trailing_metadata())[grpc.CODE_KEY] == "SERVICE_PROOF_REQUIRED"


async def test_a_channel_of_ours_proves_each_call() -> None:
    async def answer(request: pb.GetUserRequest) -> pb.GetUserResponse:
        return pb.GetUserResponse()

    port = free_port()
    async with (
        serving(answer, port, service_secret=SECRET),
        grpc.channel(f"127.0.0.1:{port}", SECRET) as channel,
    ):
        assert await grpc.call(UsersServiceStub(channel).GetUser, pb.GetUserRequest()) == pb.GetUserResponse()


async def test_a_taken_port_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    caplog.set_level(logging.CRITICAL)
    async with serving(nobody, port):
        with pytest.raises(RuntimeError):
            async with serving(nobody, port):
                pass
