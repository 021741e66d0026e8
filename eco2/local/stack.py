"""The units of one local stack: private servers, or those the user brings, and our processes from the table."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from eco2.core.short_cuts import ShortCut, taken
from eco2.local import config, probes, queue_health, servers, topology
from eco2.local.addresses import addresses
from eco2.local.config import Layout, LocalError
from eco2.local.emulators import kma as kma_emulator
from eco2.local.emulators import news as news_emulator
from eco2.local.emulators import oauth as oauth_emulator
from eco2.local.observing import units as observing
from eco2.local.queue_health import Management
from eco2.local.supervisor import Echo, Supervisor, Unit
from eco2.processes import PROCESSES, SERVICES, Process, process

GIVEN_BY = {
    "postgres": "ECO2_DATABASE_URL",
    "redis-streams": "ECO2_REDIS_STREAMS_URL",
    "redis-cache": "ECO2_REDIS_CACHE_URL",
    "rabbitmq": "ECO2_BROKER_URL",
    "object-store": "ECO2_STORAGE_ENDPOINT",
}
MIGRATION_SECONDS = 120


def inherited(at: Layout) -> dict[str, str]:
    """The user's environment (keys of paid services, log level, …) with ours on top."""
    return {**os.environ, **config.environment(at)}


def migrate(at: Layout) -> None:
    _run_once(at, "eco2", "migrate", failed="The database could not be migrated")


def load_samples(at: Layout) -> None:
    _run_once(at, "eco2.local.samples", failed="The samples could not be loaded")


def _run_once(at: Layout, module: str, *arguments: str, failed: str) -> None:
    """Run in a process of its own, whose memory is given back. LocalError with its output."""
    command = (sys.executable, "-m", module, *arguments)
    done = subprocess.run(
        command, env=inherited(at), capture_output=True, text=True, timeout=MIGRATION_SECONDS, check=False
    )
    if done.returncode != 0:
        said = f"{done.stdout}{done.stderr}".strip()
        raise LocalError(f"{failed}:\n{said}" if "Traceback" in said else said)


def _setup_postgres(at: Layout, with_migrations: bool) -> str | None:
    note = servers.setup_database(at) if "ECO2_DATABASE_URL" not in at.given else None
    if with_migrations:
        migrate(at)
        load_samples(at)
    return note


def management(at: Layout) -> Management:
    broker = urlsplit(config.environment(at)["ECO2_BROKER_URL"])
    return Management(at.management_url, broker.username or "", broker.password or "")


def _setup_broker(at: Layout) -> None:
    api = management(at)
    topology.apply(api.url, api.user, api.password)
    theirs = "ECO2_BROKER_URL" in at.given
    queue_health.require(api, "Mend your broker." if theirs else "`eco2 local repair` mends them.")


def _setups(at: Layout, with_migrations: bool) -> dict[str, Callable[[], str | None]]:
    return {
        "postgres": partial(_setup_postgres, at, with_migrations),
        "rabbitmq": partial(_setup_broker, at),
        "object-store": partial(servers.setup_buckets, config.environment(at)),
    }


def _brought_by_user(at: Layout, row: Process, setup: Callable[[], str | None] | None) -> Unit:
    url = at.given[GIVEN_BY[row.name]]
    port = addresses(url)[0][1]
    serving = queue_health.serve(management(at)) if row.name == "rabbitmq" else None
    return Unit(row.name, row.kind, port, (), probes.tcp(url), setup=setup, serving=serving)


def _server_units(at: Layout, row: Process, with_migrations: bool) -> list[Unit]:
    setup = _setups(at, with_migrations).get(row.name)
    if GIVEN_BY.get(row.name) in at.given:
        return [_brought_by_user(at, row, setup)]
    private = servers.PRIVATE[row.name](at)
    private = replace(private, needs=(*private.needs, *row.needs), setup=setup)
    return [servers.epmd(at), private] if row.name == "rabbitmq" else [private]


def _service_unit(at: Layout, row: Process) -> Unit:
    return Unit(
        row.name,
        row.kind,
        at.port(row.port),
        (sys.executable, "-m", "eco2.run", row.name),
        probes.http(f"http://127.0.0.1:{at.port(row.port)}/ready"),
        needs=row.needs,
        environment={**inherited(at), **config.process_environment(at, row)},
        folder=config.CHECKOUT,
        side_ports=() if row.grpc_port is None else (at.port(row.grpc_port),),
        forked=taken(ShortCut.FORK_SERVER),
    )


def selection(only: Collection[str]) -> list[Process]:
    """The processes named in `only` and all that they need; without names every one. LocalError: an unknown name."""
    unknown = set(only) - {row.name for row in PROCESSES}
    if unknown:
        raise LocalError(f"Unknown: {', '.join(sorted(unknown))}. Known: {', '.join(p.name for p in PROCESSES)}.")
    wanted = set(only) or {row.name for row in PROCESSES}
    more = set(wanted)
    while more:
        more = {need for name in more for need in process(name).needs} - wanted
        wanted |= more
    return [row for row in PROCESSES if row.name in wanted]


def units(at: Layout, only: Collection[str] = (), *, with_migrations: bool = True) -> list[Unit]:
    """All processes of the table, or those named in `only` with the ones that they need."""
    made: list[Unit] = []
    for row in selection(only):
        if row in SERVICES:
            made.append(_service_unit(at, row))
        else:
            made.extend(_server_units(at, row, with_migrations))
    if any(unit.name == "auth-api" for unit in made):
        made.append(oauth_emulator.unit(at))
    if any(unit.name == "batch-worker" for unit in made):
        made.append(news_emulator.unit(at))
    if any(unit.name == "chat-worker" for unit in made) and "ECO2_KMA_SERVICE_KEY" not in at.given:
        made.append(kma_emulator.unit(at))
    if at.observe:
        made.extend(observing.units(at, [unit.name for unit in made]))
    return made


class Stack:
    """`async with Stack(folder, only={"postgres"}) as environment:` a running stack that ends with the block."""

    def __init__(
        self,
        home: Path | None = None,
        *,
        port_base: int | None = None,
        gateway_port: int | None = None,
        only: Collection[str] = (),
        with_migrations: bool = True,
        extra: Sequence[Unit] = (),
        echo: Echo | None = None,
        observe: bool = False,
        given: Mapping[str, str] | None = None,
        changed: Callable[[Unit], Unit] = lambda unit: unit,
    ) -> None:
        """`changed` has the last word on each unit, for tests that start one in another way."""
        at = config.layout(home, port_base=port_base, gateway_port=gateway_port)
        self.layout = replace(at, observe=observe, given={**at.given, **(given or {})})
        made = units(self.layout, only, with_migrations=with_migrations)
        self.supervisor = Supervisor([*map(changed, made), *extra], self.layout.home, echo)

    async def __aenter__(self) -> dict[str, str]:
        try:
            await self.supervisor.start(self.layout.gateway_port)
            await self.supervisor.wait_ready()
        except BaseException:
            await asyncio.shield(self.supervisor.stop())
            raise
        return config.environment(self.layout)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.supervisor.stop()
