"""my-api: users and their accounts, over HTTP for users and over gRPC for auth-api."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from eco2.contracts.pb.auth_pb2_grpc import SessionServiceStub
from eco2.contracts.pb.scan_pb2_grpc import PreferencesServiceStub
from eco2.contracts.pb.user_data_pb2_grpc import UserDataServiceStub
from eco2.core import grpc, telemetry
from eco2.core.app import Resources, create_app
from eco2.core.ops import OpsApp, serve
from eco2.core.postgres import open_database
from eco2.core.settings import load
from eco2.core.turns import PerMinute
from eco2.knowledge.districts import Districts
from eco2.messaging.broker import Publisher
from eco2.my import rpc
from eco2.my.api import router
from eco2.my.outbox import Others, Outbox, Services
from eco2.my.settings import Settings

NAME = "my-api"
log = logging.getLogger(__name__)


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Others]:
    """The services that have something to do with people."""
    async with AsyncExitStack() as stack:
        publisher = Publisher(settings.broker_url)
        stack.push_async_callback(publisher.close)
        addresses = {
            "scan-api": settings.grpc_scan_api,
            "image-api": settings.grpc_image_api,
            "character-api": settings.grpc_character_api,
            "auth-api": settings.grpc_auth_api,
            "location-api": settings.grpc_location_api,
            "chat-api": settings.grpc_chat_api,
            "recycling-api": settings.grpc_recycling_api,
        }
        channels = {
            name: await stack.enter_async_context(grpc.channel(address, settings.service_secret))
            for name, address in addresses.items()
            if address
        }
        yield Others(
            publisher=publisher,
            sessions=SessionServiceStub(channels["auth-api"]) if "auth-api" in channels else None,
            scan=PreferencesServiceStub(channels["scan-api"]),
            data={name: UserDataServiceStub(channel) for name, channel in channels.items()},
        )


@asynccontextmanager
async def delivering(outbox: Outbox) -> AsyncIterator[None]:
    """Runs the outbox beside the requests. It ends by itself only through a bug: then the process is started anew."""
    task = asyncio.create_task(outbox.run())
    task.add_done_callback(_end_with)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _end_with(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("the outbox ended: %r", error)
        os.kill(os.getpid(), signal.SIGTERM)


def app(settings: Settings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources[Services]]:
        districts = Districts.load(settings.data_dir)
        async with open_database(settings, repeat=True) as db, connect(settings) as others:
            outbox = Outbox(db, others, settings.purge_after, settings.purge_interval)
            services = {rpc.NAME: rpc.register(db, outbox.ring, tuple(others.data))}
            async with delivering(outbox), grpc.serving(settings, services) as answering:
                limits = PerMinute(settings.exports_per_minute), PerMinute(settings.changes_per_minute)
                at = Services(db, outbox, districts, settings.cookie_domain, *limits)
                # The receiving services are not checked: messages that cannot be delivered yet wait in the outbox.
                yield Resources(at, {"postgres": db.ping, "grpc": answering})

    return create_app(NAME, settings, resources, router)


def run() -> None:
    settings = load(Settings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
