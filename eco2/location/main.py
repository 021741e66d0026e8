"""location-api: drop-off places, over HTTP for clients and over gRPC for services."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from eco2 import knowledge
from eco2.core import gauges, grpc, imports, redis, telemetry
from eco2.core.app import Resources, create_app
from eco2.core.ops import OpsApp, serve
from eco2.core.postgres import Database, open_database
from eco2.core.settings import load
from eco2.core.turns import PerMinute, Turns
from eco2.knowledge import holidays
from eco2.location import api, rpc, steward_api, store
from eco2.location.importing.addresses import Regions
from eco2.location.kakao import Kakao
from eco2.location.opening import Clock
from eco2.location.service import Services
from eco2.location.settings import ApiSettings
from eco2.location.worker import Background
from eco2.messaging.broker import Publisher

NAME = "location-api"


def app(settings: ApiSettings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources[Services]]:
        base, days = knowledge.load(settings.data_dir), holidays.load(settings.data_dir)
        async with AsyncExitStack() as stack:
            db = await stack.enter_async_context(open_database(settings, repeat=True))
            cache = redis.connect(settings.redis_cache_url, retries=0, decode_responses=False, socket_timeout=0.5)
            stack.push_async_callback(cache.aclose)
            publisher = Publisher(settings.tasks_broker_url)
            stack.push_async_callback(publisher.close)
            kakao = Kakao(settings, cache)
            stack.push_async_callback(kakao.aclose)
            services = Services(
                db=db,
                kakao=kakao,
                background=Background(cache, publisher),
                knowledge=base,
                clock=Clock(days),
                regions=Regions.load(),
                searches=PerMinute(settings.location_searches_per_minute),
                reports=Turns(most_waiting=10),
                feedback_per_day=settings.place_feedback_per_day,
            )
            await stack.enter_async_context(gauges.telling(partial(_tell_imports, db)))
            answering = await stack.enter_async_context(grpc.serving(settings, rpc.registers(services)))
            # Neither Redis, Kakao nor the broker: without them our own data answers.
            yield Resources(services, {"postgres": lambda: store.ready(db), "grpc": answering})

    return create_app(NAME, settings, resources, steward_api.router, api.router, shortcuts=[api.CENTERS])


async def _tell_imports(db: Database) -> None:
    imports.tell("places", await store.imports(db))


def run() -> None:
    settings = load(ApiSettings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
