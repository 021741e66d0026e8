"""scan-api: submit a photo, read its result."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from eco2 import knowledge
from eco2.contracts.events import Service
from eco2.core import grpc, telemetry
from eco2.core.app import Resources, create_app
from eco2.core.ops import Check, OpsApp, serve
from eco2.core.postgres import open_database
from eco2.core.settings import load
from eco2.core.shared_redis import connect_shared
from eco2.core.storage import Storage
from eco2.messaging.broker import Publisher
from eco2.messaging.events import EventBus
from eco2.scan import catalogue_api, changes_api, claim_store, feedback_api, rpc, steward_api, user_scans_api, waste_api
from eco2.scan.admission import Admission
from eco2.scan.api import router
from eco2.scan.door import ApiServices, Door
from eco2.scan.settings import ApiSettings

NAME = "scan-api"


def app(settings: ApiSettings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources[ApiServices]]:
        streams, publisher = connect_shared(settings.redis_streams_url), Publisher(settings.broker_url)
        tasks_publisher = Publisher(settings.tasks_broker_url)
        async with open_database(settings, repeat=True) as db:
            try:
                services = ApiServices(
                    db=db,
                    storage=Storage(settings),
                    bus=(bus := EventBus(streams, Service.SCAN)),
                    publisher=publisher,
                    knowledge=knowledge.load(settings.data_dir),
                    upload_secret=settings.upload_secret,
                    tasks_publisher=tasks_publisher,
                    door=Door(
                        Admission(
                            publisher, settings.rules, bus, guest_jobs=partial(claim_store.open_jobs_of_guests, db)
                        ),
                        settings.limits,
                        settings.models,
                        settings.tickets_per_minute,
                    ),
                )
                async with grpc.serving(settings, rpc.registers(services)) as answering:
                    checks: dict[str, Check] = {
                        "postgres": db.ping,
                        "redis-streams": streams.ping,
                        "rabbitmq": publisher.ping,
                        "object-store": services.storage.ping,
                        "grpc": answering,
                    }
                    yield Resources(services, checks)
                for marks in (services.queued_marks, services.announced_marks):
                    await marks.close(db)
            finally:
                await publisher.close()
                await tasks_publisher.close()
                await streams.aclose()

    routers = (
        steward_api.router,
        router,
        catalogue_api.router,
        changes_api.router,
        waste_api.router,
        user_scans_api.router,
        feedback_api.router,
    )
    return create_app(NAME, settings, resources, *routers, shortcuts=[waste_api.POLLED])


def run() -> None:
    settings = load(ApiSettings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
