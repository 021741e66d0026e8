"""The stack under load: started for the occasion, or one that runs already."""

import asyncio
import itertools
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import jwt

from eco2.auth import keys
from eco2.auth.settings import TokenSettings
from eco2.contracts import uploads
from eco2.core.redis import connect
from eco2.core.settings import StorageSettings
from eco2.core.storage import Storage
from eco2.local import config, state
from eco2.local.config import Layout, LocalError
from eco2.local.emulators import llm as llm_emulator
from eco2.messaging.events import EventBus
from eco2.processes import process
from tests.load import serve
from tests.load.machine import SUPERVISOR, Usage

START_SECONDS = 150
UPLOADS_AT_ONCE = 16


@dataclass(frozen=True)
class User:
    id: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Photo:
    """An uploaded photo, who may scan it, and what that user says about it."""

    user: User
    url: str
    words: str | None = None


class Target:
    """`url` is where clients go; the rest is for what they do not do: upload in bulk, emit events, read /proc."""

    def __init__(self, layout: Layout, url: str, *, own: bool) -> None:
        self.layout, self.url, self.own = layout, url, own
        self.environment = config.environment(layout)
        self.bus = EventBus(connect(self.environment["ECO2_REDIS_STREAMS_URL"]))
        self._storage = Storage(_storage_settings(self.environment))
        self._tokens = TokenSettings(
            signing_keys_dir=Path(self.environment["ECO2_SIGNING_KEYS_DIR"]), issuer=self.environment["ECO2_ISSUER"]
        )
        self._users: list[User] = []
        self.seeds = itertools.count(uuid.uuid4().int % 2**48)
        """For photos that this stack has never seen."""

    def direct_url(self, name: str) -> str:
        """Of a process, past the edge."""
        return f"http://127.0.0.1:{self.layout.port(process(name).port)}"

    @property
    def emulator_url(self) -> str | None:
        """Of the emulated LLM; None where the embedded model answers."""
        if llm_emulator.NAME not in self.pids():
            return None
        return f"http://127.0.0.1:{self.layout.port(llm_emulator.PORT_OFFSET)}"

    def pids(self) -> dict[str, int]:
        now = state.load(self.layout.home)
        return {row.name: row.pid for row in now.processes if row.pid} if now else {}

    @property
    def supervisor(self) -> int:
        """Its process id."""
        now = state.load(self.layout.home)
        if now is None:
            raise LocalError("the stack is gone")
        return now.pid

    def usage(self) -> Usage:
        return Usage.now({**self.pids(), SUPERVISOR: self.supervisor})

    def users(self, count: int) -> list[User]:
        """The same people every time, so that what the edge keeps per token is as warm as in daily use."""
        if len(self._users) < count:
            self._users += self._new_users(count - len(self._users))
        return self._users[:count]

    def _new_users(self, count: int) -> list[User]:
        """One token by the platform, the others after its pattern: reading the key for each would take a minute."""
        kid, key = list(keys.load_keys(self._tokens.signing_keys_dir).items())[-1]
        pattern = jwt.decode(keys.mint(self._tokens, uuid.uuid4(), "local"), options={"verify_signature": False})
        made = []
        for _ in range(count):
            claims = {**pattern, "sub": str(uuid.uuid4()), "jti": str(uuid.uuid4())}
            token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": kid})
            made.append(User(claims["sub"], {"Authorization": f"Bearer {token}"}))
        return made

    def visitor(self) -> User:
        """A further user for a single visit, besides `users`."""
        return self._new_users(1)[0]

    async def upload(self, images: Iterable[tuple[bytes, str | None]], users: Sequence[User]) -> list[Photo]:
        """Straight into the store, under keys as image-api gives them; images with their words in turn to `users`."""
        photos: list[Photo] = []
        waiting = zip(itertools.cycle(users), images, strict=False)

        async def worker() -> None:
            for user, (image, words) in waiting:
                key = uploads.new_key(self.environment["ECO2_UPLOAD_SECRET"], user.id, "scan", "jpg")
                await self._storage.uploads.put(key, image, "image/jpeg")
                photos.append(Photo(user, self._storage.public_url(key), words))

        async with asyncio.TaskGroup() as workers:
            for _ in range(UPLOADS_AT_ONCE):
                workers.create_task(worker())
        return photos

    async def restart(self, name: str) -> int:
        """End a process and wait until the supervisor has it ready again; its new pid."""
        old = self.pids()[name]
        os.kill(old, signal.SIGTERM)
        await _until(lambda: self._is_ready(name) and self.pids()[name] != old, 60, f"{name} did not come back")
        return self.pids()[name]

    def _is_ready(self, name: str) -> bool:
        now = state.load(self.layout.home)
        return now is not None and any(row.ready for row in now.processes if row.name == name)


def _storage_settings(environment: dict[str, str]) -> StorageSettings:
    names = {name: f"ECO2_{name.upper()}" for name in StorageSettings.model_fields}
    return StorageSettings.model_validate({name: environment[key] for name, key in names.items() if key in environment})


async def _until(holds: Callable[[], bool], seconds: float, why: str) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise LocalError(why) from None


@asynccontextmanager
async def running(url: str) -> AsyncIterator[Target]:
    """The stack of this checkout (or of ECO2_HOME) that serves `url`."""
    layout = config.layout()
    now = state.load(layout.home)
    ports = [row.port for row in now.processes if row.name == "gateway"] if now and now.alive else []
    if urlsplit(url).port not in ports:
        raise LocalError(f"The stack in {layout.home} does not serve {url}; set ECO2_HOME to the one that does.")
    yield Target(layout, url, own=False)


@asynccontextmanager
async def started(llm: str, place: str = "first", **environment: str) -> AsyncIterator[Target]:
    """A fresh stack that ends with the block; `llm` is `emulated` or `embedded`, `place` a name of `serve.PLACES`."""
    command, home = (sys.executable, "-m", "tests.load.serve", llm, place), serve.PLACES[place].home.resolve()
    child = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, start_new_session=True, env={**os.environ, **environment}
    )
    try:
        await _until(lambda: child.returncode is not None or _ready(home, child.pid), START_SECONDS, "not ready")
        if child.returncode is not None:
            raise LocalError("the stack could not be started")
        given = {name: environment[name] for name in serve.GIVEN if name in environment}
        layout = replace(serve.PLACES[place].layout, given=given)
        yield Target(layout, layout.public_url, own=True)
    finally:
        if child.stdin:
            child.stdin.close()
        await child.wait()


def _ready(home: Path, supervisor: int) -> bool:
    now = state.load(home)
    return now is not None and now.pid == supervisor and all(row.ready for row in now.processes)
