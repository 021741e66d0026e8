"""auth-api: sign-in, sessions, revocation; and the public keys of tokens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from eco2.auth import guest_api, keys, native_api, relay, rpc
from eco2.auth.api import router
from eco2.auth.keys import Keyring
from eco2.auth.oauth import Providers
from eco2.auth.service import Services
from eco2.auth.settings import Settings
from eco2.auth.users import Users
from eco2.core import grpc, telemetry
from eco2.core.app import Resources, create_app
from eco2.core.ops import Check, OpsApp, serve
from eco2.core.postgres import open_database
from eco2.core.redis import connect
from eco2.core.settings import load
from eco2.messaging.broker import Publisher

NAME = "auth-api"


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    if settings.environment == "local" and not any(settings.signing_keys_dir.glob("*.pem")):
        keys.create_key(settings.signing_keys_dir)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(open_database(settings, repeat=True))
        users = await stack.enter_async_context(grpc.channel(settings.grpc_my_api, settings.service_secret))
        streams, cache = connect(settings.redis_streams_url), connect(settings.redis_cache_url)
        providers = Providers(settings)
        for close in (streams.aclose, cache.aclose, providers.close):
            stack.push_async_callback(close)
        yield Services(settings, db, streams, cache, Keyring(settings), providers, Users(users))


@asynccontextmanager
async def relaying(services: Services) -> AsyncIterator[None]:
    publisher = Publisher(services.settings.broker_url)
    task = asyncio.create_task(relay.run(services, publisher))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await publisher.close()


def app(settings: Settings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources[Services]]:
        async with (
            open_services(settings) as at,
            relaying(at),
            grpc.serving(settings, rpc.registers(at)) as answering,
        ):
            # The edge keeps the keys it has read, so what is away here only stops sign-ins, refreshes and logouts.
            checks: dict[str, Check] = {
                "postgres": at.db.ping,
                "redis-streams": at.streams.ping,
                "redis-cache": at.cache.ping,
                "grpc": answering,
            }
            yield Resources(at, checks)

    return create_app(NAME, settings, resources, guest_api.router, native_api.router, router)


def run() -> None:
    settings = load(Settings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
