"""character-api: the catalogue, ownerships, points and leaderboards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from eco2 import knowledge
from eco2.character import rpc
from eco2.character.api import router
from eco2.character.catalogue import catalogue
from eco2.character.service import Services
from eco2.character.settings import ApiSettings
from eco2.core import grpc, telemetry
from eco2.core.app import Resources, create_app
from eco2.core.ops import OpsApp, serve
from eco2.core.postgres import open_database
from eco2.core.rendered import Rendered
from eco2.core.settings import load
from eco2.knowledge.districts import Districts

NAME = "character-api"


def app(settings: ApiSettings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources[Services]]:
        base, districts = knowledge.load(settings.data_dir), Districts.load(settings.data_dir)
        async with (
            open_database(settings, repeat=True) as db,
            grpc.serving(settings, rpc.registers(db, base)) as answering,
        ):
            services = Services(
                settings=settings,
                db=db,
                knowledge=base,
                districts=districts,
                catalogue=catalogue(base.characters),
                district_names=Rendered.json(districts.names),
            )
            yield Resources(services, {"postgres": db.ping, "grpc": answering})

    return create_app(NAME, settings, resources, router)


def run() -> None:
    settings = load(ApiSettings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
