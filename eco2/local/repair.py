"""Starts each private server alone, and repairs those that do not work. Database and photos are never removed."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, run

from eco2.local import disk, queue_health, stack, state
from eco2.local.config import Layout, LocalError
from eco2.local.supervisor import Supervisor, Unit

READY_SECONDS = 180
Attempt = Callable[[Layout], str | None]
"""Description of a repair; None if it does not apply and nothing was changed."""


@dataclass(frozen=True)
class Outcome:
    name: str
    ok: bool
    text: str


def repair(at: Layout) -> Iterator[Outcome]:
    """One outcome per server, as soon as it is known. LocalError: nothing was tried, and why."""
    last = state.load(at.home)
    if last and last.alive:
        raise LocalError(f"The platform is running (pid {last.pid}): `eco2 down` first, then repair.")
    room = disk.room(at.home)
    if room.level >= disk.Level.REFUSED:
        raise LocalError(f"Only {room} left for {at.home}: free some space first, then repair.")
    for name, attempts in _ATTEMPTS.items():
        if stack.GIVEN_BY[name] not in at.given and at.folder(name).exists():
            yield _proven(at, name, attempts)
    state.forget(at.home)


def _proven(at: Layout, name: str, attempts: Sequence[Attempt]) -> Outcome:
    problem = _problem(at, name)
    if problem is None:
        return Outcome(name, True, "sound")
    for attempt in attempts:
        done = attempt(at)
        if done and _problem(at, name) is None:
            return Outcome(name, True, f"mended: {done}")
    return Outcome(name, False, f"{problem}\n{_ADVICE[name]}")


def _problem(at: Layout, name: str) -> str | None:
    """Find the fault of a server by starting it only with its needs. LocalError if it cannot be tried."""
    return asyncio.run(_started_alone(stack.units(at, {name}, with_migrations=False), at.home))


async def _started_alone(units: Sequence[Unit], home: Path) -> str | None:
    supervisor = Supervisor(units, home)
    try:
        await supervisor.start()
        try:
            await supervisor.wait_ready(READY_SECONDS)
        except LocalError as error:
            return str(error)
        return None
    finally:
        await supervisor.stop()


def _unlock_postgres(at: Layout) -> str | None:
    """A lock file that was begun on a full disk is empty, and the server refuses to start beside it."""
    lock = at.folder("postgres", "data", "postmaster.pid")
    if not lock.exists() or lock.stat().st_size:
        return None
    lock.unlink()
    return "its empty lock file was removed"


def _cut_streams(at: Layout) -> str | None:
    manifest = next(at.folder("redis-streams", "appendonlydir").glob("*.manifest"), None)
    if manifest is None:
        return None
    user = "redis" if os.geteuid() == 0 else None
    command = ("redis-check-aof", "--fix", str(manifest))
    fixed = run(command, input=b"y\n" * 9, stdout=DEVNULL, stderr=DEVNULL, user=user, group=user, cwd="/", check=False)
    return "its log was cut where it had not been written whole" if fixed.returncode == 0 else None


def _renew_streams(at: Layout) -> str | None:
    kept = _set_aside(at.folder("redis-streams"))
    return f"its log was begun anew: scans keep their results, progress shown to waiting clients is lost ({kept})"


def _renew_broker(at: Layout) -> str:
    """Its messages are orders of work, which others know too: the database the scans, the scheduler its tasks."""
    kept = _set_aside(at.folder("rabbitmq"))
    return (
        "its queues were made anew: scans that had not ended are sent again after `eco2 up`; dead letters "
        f"are lost ({kept})"
    )


def _set_aside(folder: Path) -> str:
    kept = folder.with_name(f"{folder.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    folder.rename(kept)
    return f"the former data are in {kept}; delete them when you like"


_ATTEMPTS: dict[str, tuple[Attempt, ...]] = {
    "postgres": (_unlock_postgres,),
    "redis-streams": (_cut_streams, _renew_streams),
    "object-store": (),
    "rabbitmq": (_renew_broker,),
}
_ADVICE = {
    "postgres": "The database was left as it is; docs/runbooks/restore.md says how to go on from a backup.",
    "redis-streams": "`eco2 logs redis-streams` shows more.",
    "object-store": "The photos were left as they are; `eco2 logs object-store` shows more.",
    "rabbitmq": "`eco2 logs rabbitmq` shows more.",
}


def damage(at: Layout) -> list[str]:
    """Find damage without starting anything: of a running stack the queues, else the files."""
    last = state.load(at.home)
    if last and last.alive:
        broker_up = any(row.name == "rabbitmq" and row.pid for row in last.processes)
        dead = queue_health.find_dead(stack.management(at), seconds=0) if broker_up else []
        return [f"queue {name} cannot be used" for name in dead]
    return [*_damaged_files(at)]


def _damaged_files(at: Layout) -> Iterator[str]:
    lock = at.folder("postgres", "data", "postmaster.pid")
    if lock.exists() and not lock.stat().st_size:
        yield "PostgreSQL's lock file is empty"
    if any(not path.stat().st_size for path in at.folder("redis-streams").glob("appendonlydir/*.manifest")):
        yield "the list of Redis' logs is empty"
    empty = [path for path in at.folder("rabbitmq").glob("mnesia/*/quorum/*/*/config") if not path.stat().st_size]
    if empty:
        yield f"the files of {len(empty)} queues are empty"
