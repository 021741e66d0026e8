"""Faults to inject, each by name: begin it, and give back how it ends."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import httpx2
import psutil
import psycopg

from eco2.contracts.events import shard_keys
from eco2.contracts.queues import CELERY_QUEUE, CHAT_QUEUE, CHAT_VHOST, Q_API, Q_BATCH, TASKS_VHOST, VHOST, WORK_QUEUES
from eco2.core.redis import connect
from eco2.local import disk
from eco2.local.servers import rabbitmq
from eco2.local.stack import management
from eco2.processes import SERVERS, SERVICES
from tests import poison
from tests.chaos.evidence import Evidence
from tests.load import clocks
from tests.load.target import Target
from tests.redis_server import Group, RedisServer, until

Fault = Callable[[Target, Evidence], AbstractAsyncContextManager[None]]

PAUSES = {"server": 4.0, "service": 8.0}
"""Seconds for which a process is frozen; a server's is shorter, since all wait for it."""
MODEL_SECONDS = 10.0
TRIM_SECONDS = 3.0
PURPOSES = ("*", "vision", "answer")
USUAL: dict[str, object] = {"median": 0.3, "sigma": 0.3}
"""The model between faults: fast, so that a run sees many scans."""


@asynccontextmanager
async def kill(name: str, target: Target, _evidence: Evidence) -> AsyncIterator[None]:
    """SIGKILL, as the kernel does when memory runs out; the supervisor starts it again."""
    os.kill(target.pids()[name], signal.SIGKILL)
    yield


@asynccontextmanager
async def pause(name: str, seconds: float, target: Target, _evidence: Evidence) -> AsyncIterator[None]:
    """Frozen with all its processes: connections to it neither answer nor end."""
    root = psutil.Process(target.pids()[name])
    found = [root, *root.children(recursive=True)]
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        await asyncio.sleep(seconds)
    finally:
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
    yield


@asynccontextmanager
async def model(behaviour: dict[str, object], target: Target, _evidence: Evidence) -> AsyncIterator[None]:
    """The paid model is slow, refuses, fails, hangs or lies for a while."""
    async with httpx2.AsyncClient(base_url=target.emulator_url or "", timeout=10) as http:
        (await http.post("/_control", json=dict.fromkeys(PURPOSES, behaviour))).raise_for_status()
        try:
            await asyncio.sleep(MODEL_SECONDS)
        finally:
            (await http.post("/_control", json=dict.fromkeys(PURPOSES, USUAL))).raise_for_status()
    yield


@asynccontextmanager
async def flush(url: str, target: Target, _evidence: Evidence) -> AsyncIterator[None]:
    """All that a Redis holds is gone at once."""
    async with connect(target.environment[url]) as redis:
        await redis.flushall()
    yield


@asynccontextmanager
async def read_only(target: Target, _evidence: Evidence) -> AsyncIterator[None]:
    """New transactions may only read, as on a standby that was taken for the primary."""
    at = target.layout
    url = f"postgresql://postgres:{at.credentials.postgres_admin_password}@127.0.0.1:{at.port_of('postgres')}/postgres"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        await db.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await db.execute("SELECT pg_reload_conf()")
        try:
            await asyncio.sleep(5)
        finally:
            await db.execute("SET default_transaction_read_only = off")
            await db.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await db.execute("SELECT pg_reload_conf()")
    yield


@asynccontextmanager
async def failover(group: Group, number: signal.Signals, _target: Target, _evidence: Evidence) -> AsyncIterator[None]:
    """The master of the streams Redis gets `number` (SIGKILL, SIGSTOP); its replica becomes the master, and the old one
    comes back as a replica. One that was stopped goes on as a master for a moment, whose writes are lost."""
    old = await group.master_now()
    assert old.process is not None, "it runs"
    old.process.send_signal(number)
    await until(partial(_another, group, old), FAILOVER_SECONDS)
    if number == signal.SIGKILL:
        await old.process.wait()
        await old.start()
    else:
        old.process.send_signal(signal.SIGCONT)
    await until(partial(group.is_replica, old), FAILOVER_SECONDS)
    yield


async def _another(group: Group, old: RedisServer) -> bool:
    return await group.master_now() is not old


def with_sentinel(group: Group) -> dict[str, Fault]:
    """All faults, with those of the streams Redis that hit a master among its sentinels."""
    others = {name: fault for name, fault in FAULTS.items() if name not in ALONE}
    return {
        **others,
        **{name: partial(failover, group, number) for name, number in FAILOVERS.items()},
    }


@asynccontextmanager
async def clock(name: str, seconds: float, target: Target, _evidence: Evidence) -> AsyncIterator[None]:
    """A process alone is ahead of all others, or behind, and comes back at once."""
    clocks.set_clock(target.layout.home, name, seconds)
    try:
        await asyncio.sleep(CLOCK_SECONDS)
    finally:
        clocks.set_clock(target.layout.home, name, 0)
    await asyncio.sleep(2 * clocks.READ_EVERY)
    yield


AHEAD = 20.0
CLOCK_SECONDS = 8.0
CLOCKS: dict[str, Fault] = {
    f"clock of {name} {seconds:+g} s": partial(clock, name, seconds)
    for name in clocks.CLOCKED
    for seconds in (AHEAD, -AHEAD)
}
"""Faults of a stack that has clocks that can be set."""
FAILOVERS = {"kill the streams master": signal.SIGKILL, "stop the streams master": signal.SIGSTOP}
FAILOVER_SECONDS = 30.0
ALONE = ("kill redis-streams", "pause redis-streams")
"""Faults of a streams Redis that the stack started itself."""
BROKERS = {VHOST: "ECO2_BROKER_URL", TASKS_VHOST: "ECO2_TASKS_BROKER_URL", CHAT_VHOST: "ECO2_CHAT_BROKER_URL"}
SCANS_AND_CHATS = [*((VHOST, one.name) for one in WORK_QUEUES if one.name != CELERY_QUEUE), (CHAT_VHOST, CHAT_QUEUE)]
"""(vhost, queue). Queue `celery` is in the topology and has no consumer: what is in it stays."""
ALL_WORK = [*SCANS_AND_CHATS, (TASKS_VHOST, Q_API), (TASKS_VHOST, Q_BATCH)]
EACH = 5


@asynccontextmanager
async def purge(target: Target, _evidence: Evidence) -> AsyncIterator[None]:
    """All messages that wait for scans and chats are deleted by mistake; rewards are not, which nothing sends again."""
    api = management(target.layout)
    async with httpx2.AsyncClient(base_url=api.url, auth=(api.user, api.password), timeout=10) as http:
        for vhost, queue in SCANS_AND_CHATS:
            if queue.startswith(("scan.", "chat.")):
                (await http.delete(f"/api/queues/{vhost}/{queue}/contents")).raise_for_status()
    yield


@asynccontextmanager
async def poisoned(target: Target, evidence: Evidence) -> AsyncIterator[None]:
    """Messages that nobody ought to send, in every queue of work."""
    bodies = iter(list(poison.some(len(evidence.poison), EACH * len(ALL_WORK))))
    for vhost, queue in ALL_WORK:
        async with poison.sender(target.environment[BROKERS[vhost]]) as sender:
            for _ in range(EACH):
                one = next(bodies)
                evidence.poison.add(one.id)
                await sender.send("", queue, one)
    yield


@asynccontextmanager
async def memory_alarm(target: Target, _evidence: Evidence) -> AsyncIterator[None]:
    """The broker blocks its publishers, as it does when its memory is used up."""
    await _watermark(target, "0.000001")
    try:
        await asyncio.sleep(6)
    finally:
        await _watermark(target, "absolute", "512MB")
    yield


@asynccontextmanager
async def disk_alarm(target: Target, _evidence: Evidence) -> AsyncIterator[None]:
    """The broker blocks its publishers, as it does when its disk is nearly full."""
    await _rabbitmqctl(target, "set_disk_free_limit", "100000GB")
    try:
        await asyncio.sleep(6)
    finally:
        await _rabbitmqctl(target, "set_disk_free_limit", str(disk.REFUSED_BYTES))
    yield


@asynccontextmanager
async def trim(target: Target, _evidence: Evidence) -> AsyncIterator[None]:
    """Events that nobody has forwarded yet are cut off their streams, as by a limit that is set too low."""
    async with connect(target.environment["ECO2_REDIS_STREAMS_URL"]) as redis:
        until = time.monotonic() + TRIM_SECONDS
        while time.monotonic() < until:
            for key in shard_keys():
                await redis.xtrim(key, maxlen=0, approximate=False)
            await asyncio.sleep(0.01)
    yield


async def _watermark(target: Target, *value: str) -> None:
    await _rabbitmqctl(target, "set_vm_memory_high_watermark", *value)


async def _rabbitmqctl(target: Target, *arguments: str) -> None:
    tool = rabbitmq.rabbitmq_server().with_name("rabbitmqctl")
    environment = rabbitmq.unit(target.layout).environment
    command = (str(tool), "-n", "eco2@localhost", *arguments)
    child = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
    if await child.wait():
        raise RuntimeError(f"rabbitmqctl ended with {child.returncode}")


REFUSES: dict[str, object] = {"rates": {"rate_limit": 1}, "retry_after": 2}
MODELS: dict[str, dict[str, object]] = {
    "slow": {"median": 8, "sigma": 0.5},
    "refuses": REFUSES,
    "fails": {"rates": {"error": 0.7}},
    "hangs": {"rates": {"hang": 0.5}},
    "garbage": {"rates": {"garbage": 0.5}},
    "cuts": {"rates": {"cut": 0.5}},
    "lies": {"rates": {"wrong_item": 0.5}},
}

FAULTS: dict[str, Fault] = {
    **{f"kill {row.name}": partial(kill, row.name) for row in (*SERVERS, *SERVICES)},
    "kill gateway": partial(kill, "gateway"),
    **{f"pause {row.name}": partial(pause, row.name, PAUSES["server"]) for row in SERVERS},
    **{f"pause {row.name}": partial(pause, row.name, PAUSES["service"]) for row in SERVICES},
    **{f"model {name}": partial(model, behaviour) for name, behaviour in MODELS.items()},
    "flush redis-cache": partial(flush, "ECO2_REDIS_CACHE_URL"),
    "flush redis-streams": partial(flush, "ECO2_REDIS_STREAMS_URL"),
    "database read-only": read_only,
    "purge queues": purge,
    "poison queues": poisoned,
    "broker memory alarm": memory_alarm,
    "broker disk alarm": disk_alarm,
    "trim streams": trim,
}
