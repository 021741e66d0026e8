"""Scenarios of the edge: what authentication costs, how many revoked sessions fit, how fast a revocation is everywhere.

They run on an Envoy and an ext-authz of their own, the real ones, so that nothing but the check differs between the
two edges that are compared: the one that `workloads/routing` gives, and the same without JWT and ext_authz.
"""

import asyncio
import os
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import grpc
import psutil
import yaml
from google.protobuf import struct_pb2
from redis.asyncio import Redis

from eco2.auth import keys, store
from eco2.auth.settings import TokenSettings
from eco2.contracts.pb import ext_authz_pb2 as pb
from eco2.contracts.pb.ext_authz_pb2_grpc import AuthorizationStub
from eco2.contracts.queues import REVOCATION_EXCHANGE
from eco2.contracts.revocations import Revocation
from eco2.core.redis import connect
from eco2.ext_authz.service import CLAIMS_KEY, CLAIMS_NAMESPACE
from eco2.local import config, envoy
from eco2.messaging.broker import Publisher
from tests.load.bench import Bench
from tests.load.client import percentile
from tests.load.machine import pss
from tests.load.report import Measure

PATH = "/api/v1/authz/ping"
IN_FLIGHT = 64
TOKENS = 200
STEADY_RATE = 500
DENIED = 100_000
INSTANCES = 2
PORT_OFFSET = 60
"""From the port base of the benchmark's stack: the ports that its 50 leave free."""


@dataclass(frozen=True)
class Edges:
    """Two edges in front of one ext-authz: with authentication, and without."""

    checked: str
    plain: str
    tokens: list[str]
    gateway_pid: int
    authz_pid: int
    authz_ops: str
    redis: Redis


def _without_auth(text: str) -> str:
    """The same Envoy without the filters that ask who it is."""
    config = yaml.safe_load(text)
    listener = config["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    asked = ("eco2.jwt", "envoy.filters.http.ext_authz", "envoy.filters.http.rbac")
    manager["http_filters"] = [row for row in manager["http_filters"] if row["name"] not in asked]
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        kept = {name: one for name, one in route.get("typed_per_filter_config", {}).items() if name not in asked}
        if "typed_per_filter_config" in route:
            route["typed_per_filter_config"] = kept
    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


@asynccontextmanager
async def own_process(*command: str, environment: dict[str, str] | None = None) -> AsyncIterator[int]:
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env=environment
    )
    try:
        yield child.pid
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def ready(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


def _authz_environment(bench: Bench, number: int) -> dict[str, str]:
    base = bench.target.layout.port_base + PORT_OFFSET + 2 * number
    return {**os.environ, **bench.target.environment, "ECO2_PORT": str(base), "ECO2_GRPC_PORT": str(base + 1)}


@asynccontextmanager
async def _authz(bench: Bench, number: int) -> AsyncIterator[tuple[int, str, int]]:
    """(pid, ops URL, gRPC port) of an ext-authz that is ready."""
    environment = _authz_environment(bench, number)
    command = (sys.executable, "-m", "eco2.run", "ext-authz")
    async with own_process(*command, environment=environment) as pid:
        url = f"http://127.0.0.1:{environment['ECO2_PORT']}"
        await ready(bench.client.session, f"{url}/ready")
        yield pid, url, int(environment["ECO2_GRPC_PORT"])


@asynccontextmanager
async def _envoy(bench: Bench, folder: Path, name: str, text: str, base_id: int, admin: int) -> AsyncIterator[int]:
    file = folder / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    binary = str(Path(sys.executable).with_name("envoy"))
    options = ("-c", str(file), "--base-id", str(base_id), "--concurrency", "1", "--log-level", "error")
    async with own_process(binary, *options) as pid:
        await ready(bench.client.session, f"http://127.0.0.1:{admin}/ready")
        yield pid


@asynccontextmanager
async def edges(bench: Bench) -> AsyncIterator[Edges]:
    layout, environment = bench.target.layout, bench.target.environment
    first = layout.port_base + PORT_OFFSET + 10
    auth_port = int(bench.target.direct_url("auth-api").rpartition(":")[2])
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authz_pid, ops, grpc_port = await stack.enter_async_context(_authz(bench, 0))
        pids = []
        for number, name in enumerate(("checked", "plain")):
            port, admin = first + 2 * number, first + 2 * number + 1
            ports = {"ext-authz.auth": grpc_port, "auth-api.auth": auth_port}
            socket = str(folder / f"{name}.sock")
            text = envoy.render(ports, port, admin, socket, 1, "eco2-images", [], environment["ECO2_ISSUER"])
            text = _without_auth(text) if name == "plain" else text
            pids.append(await stack.enter_async_context(_envoy(bench, folder, name, text, port, admin)))
        redis = connect(environment["ECO2_REDIS_STREAMS_URL"])
        stack.push_async_callback(redis.aclose)
        urls = [f"http://127.0.0.1:{first + 2 * number}{PATH}" for number in range(2)]
        yield Edges(urls[0], urls[1], _tokens(environment), pids[0], authz_pid, ops, redis)


@asynccontextmanager
async def gateway_alone(bench: Bench, *, edge_in_front: bool) -> AsyncIterator[tuple[str, int, int]]:
    """(URL, pid of an sse-gateway of its own, pid of the edge before it, or again that of the gateway)."""
    layout, environment = bench.target.layout, bench.target.environment
    port, edge_port = (layout.port_base + PORT_OFFSET + offset for offset in (0, 10))
    own = {**os.environ, **environment, "ECO2_PORT": str(port)}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pid = await stack.enter_async_context(
            own_process(sys.executable, "-m", "eco2.run", "sse-gateway", environment=own)
        )
        await ready(bench.client.session, f"http://127.0.0.1:{port}/ready")
        if not edge_in_front:
            yield f"http://127.0.0.1:{port}", pid, pid
            return
        hosts = ("ext-authz.auth", "auth-api.auth")
        known = {host: config.route_ports(layout)[host] for host in hosts}
        text = envoy.render(
            {**known, "sse-gateway.sse": port},
            edge_port,
            edge_port + 1,
            str(folder / "alone.sock"),
            1,
            "eco2-images",
            [],
            environment["ECO2_ISSUER"],
        )
        edge = await stack.enter_async_context(_envoy(bench, folder, "alone", text, edge_port, edge_port + 1))
        yield f"http://127.0.0.1:{edge_port}", pid, edge


def _tokens(environment: dict[str, str]) -> list[str]:
    settings = TokenSettings(
        signing_keys_dir=Path(environment["ECO2_SIGNING_KEYS_DIR"]), issuer=environment["ECO2_ISSUER"]
    )
    ring = keys.Keyring(settings)
    now = int(time.time())
    made = []
    for _ in range(TOKENS):
        claims = keys.claims(
            settings,
            "access",
            uuid.uuid4(),
            "local",
            token_id=uuid.uuid4(),
            session=uuid.uuid4(),
            made_at=now,
            ttl=settings.access_ttl,
        )
        made.append(ring.sign(claims))
    return made


async def _saturate(bench: Bench, url: str, tokens: list[str], seconds: float) -> float:
    """Requests per second with IN_FLIGHT under way."""
    done, end = 0, time.perf_counter() + seconds

    async def worker(number: int) -> None:
        nonlocal done
        while time.perf_counter() < end:
            headers = {"Authorization": f"Bearer {tokens[(number + done) % len(tokens)]}"}
            async with bench.client.session.get(url, headers=headers) as response:
                if response.status != 200:
                    raise RuntimeError(f"{url}: {response.status}")
                await response.read()
            done += 1

    async with asyncio.TaskGroup() as workers:
        for number in range(IN_FLIGHT):
            workers.create_task(worker(number))
    return done / seconds


async def _steady(bench: Bench, url: str, tokens: list[str], seconds: float) -> list[float]:
    """Seconds of each request at STEADY_RATE, from when it was due: a late start counts, as for a person who waits."""
    times: list[float] = []
    start = time.perf_counter() + 0.1

    async def one(number: int) -> None:
        due = start + number / STEADY_RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        headers = {"Authorization": f"Bearer {tokens[number % len(tokens)]}"}
        async with bench.client.session.get(url, headers=headers) as response:
            await response.read()
        times.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as requests:
        for number in range(int(STEADY_RATE * seconds)):
            requests.create_task(one(number))
    return times


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


async def edge_auth(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    seconds = bench.sized(8, 4)
    shares: list[float] = []
    rates: dict[str, list[float]] = {"checked": [], "plain": []}
    async with edges(bench) as at:
        await _saturate(bench, at.checked, at.tokens, 2)
        for _ in range(bench.sized(5, 3)):
            plain = await _saturate(bench, at.plain, at.tokens, seconds)
            checked = await _saturate(bench, at.checked, at.tokens, seconds)
            shares.append(100 * checked / plain)
            rates["plain"].append(round(plain))
            rates["checked"].append(round(checked))
        before, began = _cpu(at.authz_pid), time.perf_counter()
        times = await _steady(bench, at.checked, at.tokens, bench.sized(20, 10))
        cpu = 1e6 * (_cpu(at.authz_pid) - before) / len(times)
        elapsed = time.perf_counter() - began
    details: dict[str, Any] = {"in_flight": IN_FLIGHT, "rounds": [round(share, 1) for share in shares], **rates}
    steady = {"rate": STEADY_RATE, "requests": len(times), "seconds": round(elapsed, 1)}
    p50 = {"p50": round(1000 * percentile(times, 50), 2)}
    return [
        Measure("edge_auth_share", median(shares), details),
        Measure("authz_cpu_per_check", cpu, steady),
        Measure("edge_auth_p99", 1000 * percentile(times, 99), {**steady, **p50}),
    ]


async def denied_memory(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """Growth of a fresh ext-authz by DENIED revocations, and how long it takes to know them all."""
    redis = connect(bench.target.environment["ECO2_REDIS_STREAMS_URL"])
    async with _authz(bench, 0) as (pid, _, _):
        empty = pss(pid)
    before = int((await redis.info("memory"))["used_memory"])
    for start in range(0, DENIED, 500):
        rows = [store.Ended(uuid.uuid4(), 900) for _ in range(min(500, DENIED - start))]
        await store.deny(redis, rows, 10_860)
    used = int((await redis.info("memory"))["used_memory"]) - before
    began = time.perf_counter()
    async with _authz(bench, 0) as (pid, _, _):
        known = time.perf_counter() - began
        full = pss(pid)
    await redis.delete("authz:denied")
    await redis.aclose()
    details = {"denied": DENIED, "redis_mb": round(used / 1e6, 1), "seconds_to_ready": round(known, 1)}
    return [Measure("denied_memory", (full - empty) / 1e6, details)]


@asynccontextmanager
async def _checker(port: int) -> AsyncIterator[Callable[[str], Awaitable[float]]]:
    """Asks an ext-authz about a session, as the edge does, until it is denied; yields when that was."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = AuthorizationStub(channel)

        async def denied_at(session: str) -> float:
            request = _check_request(session)
            async with asyncio.timeout(10):
                while True:
                    answer = await stub.Check(request)
                    if answer.denied_response.status.code == 403:
                        return time.perf_counter()
                    await asyncio.sleep(0.002)

        yield denied_at


def _check_request(session: str) -> pb.CheckRequest:
    claims = {"sub": str(uuid.uuid4()), "provider": "local", "jti": session, "type": "access", "aud": "api"}
    request = pb.CheckRequest()
    request.attributes.request.http.method = "GET"
    found = struct_pb2.Struct()
    found.update({CLAIMS_KEY: claims})
    request.attributes.metadata_context.filter_metadata[CLAIMS_NAMESPACE].CopyFrom(found)
    return request


async def revocation_latency(bench: Bench, _wanted: Collection[str]) -> list[Measure]:
    """From before a revocation is written, as a logout does it, until each of the instances denies the session."""
    rounds = bench.sized(200, 60)
    environment = bench.target.environment
    redis, publisher = connect(environment["ECO2_REDIS_STREAMS_URL"]), Publisher(environment["ECO2_BROKER_URL"])
    times: list[float] = []
    async with AsyncExitStack() as stack:
        at = [await stack.enter_async_context(_authz(bench, number)) for number in range(INSTANCES)]
        checks = [await stack.enter_async_context(_checker(port)) for _, _, port in at]
        for _ in range(rounds):
            row = Revocation(id=uuid.uuid4(), until=int(time.time()) + 900)
            began = time.perf_counter()
            await store.deny(redis, [store.Ended(row.id, 900)], 10_860)
            await publisher.send_json(
                REVOCATION_EXCHANGE, "", row.model_dump(mode="json"), str(row.id), mandatory=False
            )
            times += [seconds - began for seconds in await asyncio.gather(*(check(str(row.id)) for check in checks))]
    await redis.aclose()
    await publisher.close()
    details = {"instances": INSTANCES, "rounds": rounds, "p50": round(1000 * percentile(times, 50), 1)}
    return [Measure("revocation_p99", 1000 * percentile(times, 99), details)]
