"""auth-api: the keys that tokens are verified with."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from eco2.auth import keys
from eco2.auth.api import router
from eco2.auth.settings import Settings
from eco2.core import telemetry
from eco2.core.app import create_app
from eco2.core.ops import Check, OpsApp, serve
from eco2.core.settings import load

NAME = "auth-api"


@dataclass(frozen=True)
class Resources:
    jwks: dict[str, Any]

    def checks(self) -> Mapping[str, Check]:
        return {}


def app(settings: Settings) -> OpsApp:
    @asynccontextmanager
    async def resources() -> AsyncIterator[Resources]:
        if settings.environment == "local" and not any(settings.signing_keys_dir.glob("*.pem")):
            keys.create_key(settings.signing_keys_dir)
        yield Resources(keys.jwks(settings.signing_keys_dir))

    return create_app(NAME, settings, resources, router)


def run() -> None:
    settings = load(Settings)
    telemetry.setup(NAME, settings)
    serve(app(settings), settings)
