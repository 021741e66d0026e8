"""my-api: people and their accounts, over HTTP for themselves and over gRPC for auth-api."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from eco2.core import grpc, telemetry
from eco2.core.app import create_app
from eco2.core.db import open_engine, ping
from eco2.core.ops import Check, OpsApp, serve
from eco2.core.settings import load
from eco2.my import rpc
from eco2.my.api import router
from eco2.my.settings import Settings

NAME = "my-api"


@dataclass(frozen=True)
class Resources:
    engine: AsyncEngine
    answering: Check

    def checks(self) -> Mapping[str, Check]:
        return {"postgres": lambda: ping(self.engine), "grpc": self.answering}


def app(settings: Settings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources]:
        async with (
            open_engine(settings) as engine,
            grpc.serving(settings, {rpc.NAME: rpc.register(engine)}) as answering,
        ):
            yield Resources(engine, answering)

    return create_app(NAME, settings, resources, router)


def run() -> None:
    settings = load(Settings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
