"""Entry point of the event-router: two loops and the ops pages until SIGTERM, then the batch in hand."""

import asyncio
import signal

import uvloop

from eco2.core import telemetry
from eco2.core.ops import OpsApp, serve_async
from eco2.core.settings import load
from eco2.event_router.router import Router
from eco2.event_router.settings import Settings


async def _main(settings: Settings) -> None:
    router = Router(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, router.stop)
    ops = OpsApp("event-router", {"redis": router.redis.ping, "loop": router.check})
    pages = asyncio.create_task(serve_async(ops, settings))
    try:
        async with asyncio.TaskGroup() as loops:
            loops.create_task(router.run())
            loops.create_task(router.watch())
    finally:
        pages.cancel()
        await asyncio.wait([pages])
        await router.aclose()


def run() -> None:
    settings = load(Settings)
    telemetry.setup("event-router", settings)
    uvloop.run(_main(settings))
