"""chat-api: chats with the agent."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from eco2.chat import rpc
from eco2.chat.api import router
from eco2.chat.service import AskStates, Services
from eco2.chat.settings import ApiSettings
from eco2.contracts.pb.job_state_pb2_grpc import JobStateServiceStub
from eco2.core import grpc, telemetry
from eco2.core.app import Resources, create_app
from eco2.core.ops import OpsApp, serve
from eco2.core.postgres import open_database
from eco2.core.settings import load
from eco2.core.storage import Storage
from eco2.core.turns import Turns

NAME = "chat-api"
MOST_WAITING = 50
"""Requests of one user that wait for their turn; a turn takes some milliseconds."""


async def scans_of(settings: ApiSettings, stack: AsyncExitStack) -> AskStates | None:
    if settings.grpc_scan_api is None:
        return None
    channel = await stack.enter_async_context(grpc.channel(settings.grpc_scan_api, settings.service_secret))
    return partial(grpc.call, JobStateServiceStub(channel).Get)


def app(settings: ApiSettings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources[Services]]:
        async with AsyncExitStack() as stack:
            services = Services(
                db=await stack.enter_async_context(open_database(settings, repeat=True)),
                storage=Storage(settings),
                scans=await scans_of(settings, stack),
                chats_per_day=settings.chats_per_day,
                turns=Turns(MOST_WAITING),
            )
            answering = await stack.enter_async_context(grpc.serving(settings, rpc.registers(services)))
            # Scans are not among the checks: a chat begins without one.
            yield Resources(services, {"postgres": services.db.ping, "grpc": answering})

    return create_app(NAME, settings, resources, router)


def run() -> None:
    settings = load(ApiSettings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
