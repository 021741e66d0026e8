"""ext-authz: the edge asks it about every request that needs a user. gRPC, plus the ops pages over HTTP.

Several processes are several endpoints of the edge, or share one port. The edge keeps one HTTP/2 connection to an
endpoint from each of its threads, so a shared port serves no more processes than it has threads.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import uvloop
from grpc_health.v1 import health_pb2

from eco2.core import telemetry
from eco2.core.ops import OpsApp, serve_async
from eco2.core.redis import connect
from eco2.core.settings import load
from eco2.core.short_cuts import ShortCut, taken
from eco2.ext_authz.denylist import Denylist, Follower
from eco2.ext_authz.http2 import Method, Server
from eco2.ext_authz.service import Authorization
from eco2.ext_authz.settings import Settings

if TYPE_CHECKING:
    from eco2.ext_authz.official import OfficialServer

NAME = "ext-authz"
READ_TIMEOUT = 2.0
CHECK = "/envoy.service.auth.v3.Authorization/Check"
HEALTH = "/grpc.health.v1.Health/Check"
_SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING).SerializeToString()


@asynccontextmanager
async def grpc_server(settings: Settings, denylist: Denylist) -> "AsyncIterator[Server | OfficialServer]":
    """Answers checks until it is left: then it sends GOAWAY to its peers, and finishes checks in flight."""
    check = Authorization(denylist, settings.cors_origins, settings.service_secret).check
    server = _server({CHECK: check, HEALTH: lambda _request: _SERVING}, settings)
    await server.listen(settings.host, settings.grpc_port, share=settings.share_port)
    try:
        yield server
    finally:
        await server.close(settings.shutdown_grace.total_seconds())


def _server(methods: Mapping[str, Method], settings: Settings) -> "Server | OfficialServer":
    if taken(ShortCut.CHECK_SERVER):
        return Server(methods, settings.idle_connection.total_seconds())
    from eco2.ext_authz.official import OfficialServer  # grpcio takes 20 MB that the other one does without

    return OfficialServer(methods)


async def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    denylist = Denylist(settings)
    # A read that fails is tried again in a second anyway, by the next one.
    redis = connect(settings.redis_streams_url, retries=0, max_connections=2, socket_timeout=READ_TIMEOUT)
    async with grpc_server(settings, denylist) as server, asyncio.TaskGroup() as tasks:
        checks = {"grpc": server.check_ready, "revocations": denylist.check_ready}
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
