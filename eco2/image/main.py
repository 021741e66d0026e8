"""image-api: presigned uploads."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from eco2.core import telemetry
from eco2.core.app import create_app
from eco2.core.db import open_engine, ping
from eco2.core.ops import Check, OpsApp, serve
from eco2.core.settings import load
from eco2.core.storage import Storage
from eco2.image.api import router
from eco2.image.settings import Settings

NAME = "image-api"


@dataclass(frozen=True)
class Resources:
    engine: AsyncEngine
    storage: Storage
    upload_secret: str

    def checks(self) -> Mapping[str, Check]:
        return {"postgres": lambda: ping(self.engine), "object-store": self.storage.ping}


def app(settings: Settings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources]:
        async with open_engine(settings) as engine:
            yield Resources(engine, Storage(settings), settings.upload_secret)

    return create_app(NAME, settings, resources, router)


def run() -> None:
    settings = load(Settings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
