"""ext-authz: the edge asks it about every request that needs a user. gRPC, plus the ops pages over HTTP."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from eco2.contracts.pb import ext_authz_pb2_grpc
from eco2.core import telemetry
from eco2.core.ops import OpsApp, serve_async
from eco2.core.settings import load
from eco2.ext_authz.service import Authorization
from eco2.ext_authz.settings import Settings

NAME = "ext-authz"
SERVICE = "envoy.service.auth.v3.Authorization"


@asynccontextmanager
async def grpc_server(settings: Settings) -> AsyncIterator[health.HealthServicer]:
    """Answers checks until it is left: then it says so through its health, and finishes what is in flight."""
    # Two processes on one port would share it silently, the one left over from yesterday included.
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    status = health.HealthServicer()
    ext_authz_pb2_grpc.add_AuthorizationServicer_to_server(Authorization(), server)
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    server.add_insecure_port(f"{settings.host}:{settings.grpc_port}")
    await server.start()
    await status.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield status
    finally:
        await status.enter_graceful_shutdown()
        await server.stop(settings.shutdown_grace.total_seconds())


async def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with grpc_server(settings) as status, asyncio.TaskGroup() as tasks:

        async def answering() -> None:
            request = health_pb2.HealthCheckRequest(service=SERVICE)
            found = await status.Check(request, None)
            if found.status != health_pb2.HealthCheckResponse.SERVING:
                raise RuntimeError("not serving")

        ops = tasks.create_task(serve_async(OpsApp(NAME, {"grpc": answering}), settings))
        await stop.wait()
        ops.cancel()


def run() -> None:
    settings = load(Settings)
    telemetry.setup(NAME, settings)
    asyncio.run(serve(settings))
