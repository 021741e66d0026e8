"""info-api: news of the environment and notices of operators, as collected, and the document of the API.

It asks no source itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from eco2.core import gauges, telemetry
from eco2.core.app import Resources, create_app
from eco2.core.ops import OpsApp, serve
from eco2.core.postgres import open_database
from eco2.core.settings import load
from eco2.info import reference
from eco2.info.api import router
from eco2.info.categories import Categories
from eco2.info.service import Counts, Services, tell
from eco2.info.settings import ApiSettings

NAME = "info-api"


def app(settings: ApiSettings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources[Services]]:
        async with open_database(settings, repeat=True) as db:
            services = Services(db, Categories.load(settings.data_dir), Counts(db), reference.load())
            async with gauges.telling(partial(tell, db)):
                yield Resources(services, {"postgres": db.ping})

    return create_app(NAME, settings, resources, router, reference.router)


def run() -> None:
    settings = load(ApiSettings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
