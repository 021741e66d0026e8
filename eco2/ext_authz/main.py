"""ext-authz: the edge asks it about every request that needs a user. gRPC, plus the ops pages over HTTP.

Several processes are several endpoints of the edge. One port for all of them would not do: the edge keeps one HTTP/2
connection to an endpoint and would ask one process only.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from eco2.contracts.pb import ext_authz_pb2_grpc
from eco2.core import telemetry
from eco2.core.ops import OpsApp, serve_async
from eco2.core.redis import connect
from eco2.core.settings import load
from eco2.ext_authz.denylist import Denylist, Follower
from eco2.ext_authz.service import Authorization
from eco2.ext_authz.settings import Settings

NAME = "ext-authz"
READ_TIMEOUT = 2.0
SERVICE = "envoy.service.auth.v3.Authorization"


@asynccontextmanager
async def grpc_server(settings: Settings, denylist: Denylist) -> AsyncIterator[health.HealthServicer]:
    """Answers checks until it is left: then it says so through its health, and finishes what is in flight."""
    # Two processes on one port would share it silently, the one left over from yesterday included.
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    status = health.HealthServicer()
    ext_authz_pb2_grpc.add_AuthorizationServicer_to_server(Authorization(denylist, settings.cors_origins), server)
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
    denylist = Denylist(settings)
    # A read that fails is tried again in a second anyway, by the next one.
    redis = connect(settings.redis_streams_url, retries=0, max_connections=2, socket_timeout=READ_TIMEOUT)
    async with grpc_server(settings, denylist) as status, asyncio.TaskGroup() as tasks:

        async def answering() -> None:
            request = health_pb2.HealthCheckRequest(service=SERVICE)
            found = await status.Check(request, None)
            if found.status != health_pb2.HealthCheckResponse.SERVING:
                raise RuntimeError("not serving")

        checks = {"grpc": answering, "revocations": denylist.check_ready}
        running = [
            tasks.create_task(serve_async(OpsApp(NAME, checks), settings)),
            tasks.create_task(Follower(denylist, redis, settings.broker_url).run()),
        ]
        await stop.wait()
        for task in running:
            task.cancel()
    await redis.aclose()


def run() -> None:
    settings = load(Settings)
    telemetry.setup(NAME, settings)
    uvloop.run(serve(settings))
