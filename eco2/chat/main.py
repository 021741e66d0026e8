"""chat-api: chats with the agent."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

from eco2 import photos
from eco2.chat import rpc, turn_api
from eco2.chat.api import router
from eco2.chat.conversation import ImageMissing, Publish, Talk
from eco2.chat.keeper import keeping
from eco2.chat.scans import open_scans
from eco2.chat.settings import ApiSettings
from eco2.contracts.events import Service
from eco2.contracts.pb import image_pb2 as images
from eco2.contracts.pb.image_pb2_grpc import ImageServiceStub
from eco2.core import grpc, telemetry
from eco2.core.app import Resources, create_app
from eco2.core.errors import AppError, BadRequest, NotFound
from eco2.core.ops import OpsApp, serve
from eco2.core.postgres import open_database
from eco2.core.settings import load
from eco2.core.shared_redis import connect_shared
from eco2.core.storage import Storage
from eco2.core.turns import Turns
from eco2.messaging.broker import Publisher
from eco2.messaging.events import EventBus

NAME = "chat-api"
MOST_WAITING = 50
"""Requests of one user that wait for their turn; a turn takes some milliseconds."""
REFUSED: dict[str, type[AppError]] = {
    kind.code: kind for kind in (photos.PhotoTypeRefused, photos.PhotoTooLarge, photos.PhotoBroken)
}
"""Refusals of photos, which image-api tells by their codes."""
PUBLISH_SECONDS = 12.0
"""Longest time for the check of a photo."""


async def publisher_of(settings: ApiSettings, stack: AsyncExitStack) -> Publish:
    channel = await stack.enter_async_context(grpc.channel(settings.grpc_image_api, settings.service_secret))
    stub = ImageServiceStub(channel)

    async def publish(user: UUID, key: str) -> None:
        try:
            await grpc.call(stub.Publish, images.PublishRequest(user_id=str(user), key=key), PUBLISH_SECONDS)
        except NotFound as error:
            raise ImageMissing from error
        except BadRequest as error:
            refused = REFUSED.get(error.code)
            if refused is None:
                raise
            raise refused(error.message) from error

    return publish


def app(settings: ApiSettings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources[Talk]]:
        async with AsyncExitStack() as stack:
            streams = await stack.enter_async_context(connect_shared(settings.redis_streams_url))
            publisher = Publisher(settings.chat_broker_url)
            stack.push_async_callback(publisher.close)
            talk = Talk(
                db=await stack.enter_async_context(open_database(settings, repeat=True)),
                storage=Storage(settings),
                scans=await stack.enter_async_context(open_scans(settings.grpc_scan_api, settings.service_secret)),
                chats_per_day=settings.chats_per_day,
                turns=Turns(MOST_WAITING),
                bus=EventBus(streams, Service.CHAT),
                publisher=publisher,
                publish=await publisher_of(settings, stack),
                upload_secret=settings.upload_secret,
                models=settings.models,
                limits=settings.limits,
            )
            await stack.enter_async_context(keeping(talk, settings.turn_deadline))
            answering = await stack.enter_async_context(grpc.serving(settings, rpc.registers(talk)))
            # Broker, events and photos are not among the checks: a message is taken without them, and answered later.
            yield Resources(talk, {"postgres": talk.db.ping, "grpc": answering})

    return create_app(NAME, settings, resources, turn_api.router, router)


def run() -> None:
    settings = load(ApiSettings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
