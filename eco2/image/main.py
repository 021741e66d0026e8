"""image-api: presigned uploads."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from eco2.core import grpc, telemetry, user_data
from eco2.core.app import Resources, create_app
from eco2.core.ops import Check, OpsApp, serve
from eco2.core.postgres import open_database
from eco2.core.settings import load
from eco2.core.storage import Storage
from eco2.core.turns import Turns
from eco2.image import rpc
from eco2.image.api import router
from eco2.image.service import Services
from eco2.image.settings import Settings
from eco2.photos.pool import Decoders

NAME = "image-api"
MOST_WAITING = 100
"""Requests of one user that wait for their turn; a turn takes some milliseconds."""


def app(settings: Settings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources[Services]]:
        storage = Storage(settings)
        async with (
            Decoders(settings) as decoders,
            open_database(settings, repeat=True) as db,
            AsyncExitStack() as stack,
        ):
            turns = Turns(MOST_WAITING)
            services = Services(db, storage, decoders, settings.upload_secret, settings.tickets_per_minute, turns)
            answered = {
                user_data.NAME: rpc.user_data_of(db, storage, settings.upload_secret),
                rpc.IMAGES: rpc.images_of(services),
            }
            answering = await stack.enter_async_context(grpc.serving(settings, answered))
            checks: dict[str, Check] = {
                "postgres": db.ping,
                "object-store": storage.ping,
                "grpc": answering,
            }
            yield Resources(services, checks)

    return create_app(NAME, settings, resources, router)


def run() -> None:
    settings = load(Settings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
