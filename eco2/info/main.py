"""info-api: news of the environment and notices of operators, as collected, and the document of the API.

It asks no source itself."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from eco2.core import telemetry
from eco2.core.app import create_app
from eco2.core.ops import Check, OpsApp, serve
from eco2.core.postgres import Database, open_database
from eco2.core.rendered import Rendered
from eco2.core.settings import load
from eco2.info import reference
from eco2.info.api import router
from eco2.info.categories import Categories
from eco2.info.service import Counts
from eco2.info.settings import ApiSettings

NAME = "info-api"


@dataclass(frozen=True)
class Resources:
    db: Database
    categories: Categories
    counts: Counts
    reference: Mapping[str, Rendered]

    def checks(self) -> Mapping[str, Check]:
        return {"postgres": self.db.ping}


def app(settings: ApiSettings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources]:
        async with open_database(settings, repeat=True) as db:
            yield Resources(db, Categories.load(settings.data_dir), Counts(db), reference.load())

    return create_app(NAME, settings, resources, router, reference.router)


def run() -> None:
    settings = load(ApiSettings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
