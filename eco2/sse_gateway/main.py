"""Entry point of the sse-gateway: HTTP and the Pub/Sub connection until SIGTERM, which ends the streams at once."""

import asyncio
import signal
from contextlib import AsyncExitStack

import uvloop

from eco2.contracts.pb.job_state_pb2_grpc import JobStateServiceStub
from eco2.core import telemetry
from eco2.core.grpc import channel
from eco2.core.ops import OpsApp, serve_async
from eco2.core.settings import load
from eco2.core.shared_redis import connect_shared
from eco2.sse_gateway.app import Gateway
from eco2.sse_gateway.jobs import Ask, JobStates
from eco2.sse_gateway.settings import Settings


async def _main(settings: Settings) -> None:
    # No retries: a stream that cannot read now tries again itself, a client that connects is told so.
    redis = connect_shared(settings.redis_streams_url, retries=0, socket_timeout=2.0)
    channels = AsyncExitStack()
    gateway = Gateway(redis, settings, JobStates(await _methods(settings, channels)))
    app = OpsApp("sse-gateway", {"redis": redis.ping, "pubsub": gateway.hub.check}, gateway)
    beside = [gateway.hub.run(), gateway.revocations.run()]
    tasks = [asyncio.create_task(work) for work in (*beside, serve_async(app, settings))]
    stopped = asyncio.create_task(_signal())
    try:
        done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        gateway.close()
    finally:
        for task in reversed(tasks):
            task.cancel()
            await asyncio.wait([task])
        await channels.aclose()
        await redis.aclose()
    for task in done - {stopped}:
        task.result()


async def _methods(settings: Settings, channels: AsyncExitStack) -> dict[str, Ask]:
    """Service → its method that tells how a job stands."""
    addresses = {"scan": settings.grpc_scan_api, "chat": settings.grpc_chat_api}
    return {
        service: JobStateServiceStub(await channels.enter_async_context(channel(address, settings.service_secret))).Get
        for service, address in addresses.items()
        if address
    }


async def _signal() -> None:
    """Returns on SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def run() -> None:
    settings = load(Settings)
    telemetry.setup("sse-gateway", settings)
    uvloop.run(_main(settings))
