"""scan-api: submit a photo, read its result."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from eco2 import knowledge
from eco2.contracts.events import Service
from eco2.core import grpc, telemetry
from eco2.core.app import create_app
from eco2.core.ops import Check, OpsApp, serve
from eco2.core.postgres import open_database
from eco2.core.settings import load
from eco2.core.shared_redis import connect_shared
from eco2.core.storage import Storage
from eco2.messaging.broker import Publisher
from eco2.messaging.events import EventBus
from eco2.scan import feedback_api, rpc, user_scans_api, waste_api
from eco2.scan.admission import Admission
from eco2.scan.api import router
from eco2.scan.service import Services
from eco2.scan.settings import ApiSettings
from eco2.scan.submission import Door

NAME = "scan-api"


@dataclass(frozen=True)
class Resources(Services):
    tasks_publisher: Publisher
    door: Door
    answering: Check

    def checks(self) -> Mapping[str, Check]:
        return {
            "postgres": self.db.ping,
            "redis-streams": self.bus.redis.ping,
            "rabbitmq": self.publisher.ping,
            "object-store": self.storage.ping,
            "grpc": self.answering,
        }


def app(settings: ApiSettings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources]:
        streams, publisher = connect_shared(settings.redis_streams_url), Publisher(settings.broker_url)
        tasks_publisher = Publisher(settings.tasks_broker_url)
        async with open_database(settings, repeat=True) as db:
            try:
                services = Services(
                    db=db,
                    storage=Storage(settings),
                    bus=EventBus(streams, Service.SCAN),
                    publisher=publisher,
                    knowledge=knowledge.load(settings.data_dir),
                    upload_secret=settings.upload_secret,
                )
                async with grpc.serving(settings, rpc.registers(services)) as answering:
                    yield Resources(
                        **vars(services),
                        door=Door(
                            Admission(publisher, settings.rules, services.bus),
                            settings.limits,
                            settings.models,
                            settings.tickets_per_minute,
                        ),
                        answering=answering,
                        tasks_publisher=tasks_publisher,
                    )
                for marks in (services.queued_marks, services.announced_marks):
                    await marks.close(db)
            finally:
                await publisher.close()
                await tasks_publisher.close()
                await streams.aclose()

    routers = (router, waste_api.router, user_scans_api.router, feedback_api.router)
    return create_app(NAME, settings, resources, *routers, shortcuts=[waste_api.POLLED])


def run() -> None:
    settings = load(ApiSettings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
