"""A real Envoy and the real ext-authz in front of services that tell what reached them, and tokens good and bad."""

import asyncio
import base64
import json
import random
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from eco2.core.ops import Receive, Scope, Send, send_json, serve_async
from eco2.core.settings import Settings as BaseSettings
from eco2.ext_authz.denylist import Denylist
from eco2.ext_authz.main import grpc_server
from eco2.ext_authz.settings import Settings
from eco2.local import envoy
from tests.redis_server import until

ORIGIN = "http://localhost:5173"
ISSUER = "http://127.0.0.1/api/v1/auth"
USER = "3f8e6c1a-9a3e-4a51-8f0e-5b6f3f6d2c10"
KID = "test-key"
SERVICES = ("auth-api.auth", "image-api.image", "scan-api.scan", "sse-gateway.sse", "web.web")
ENVOY = str(Path(sys.executable).with_name("envoy"))

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC_PEM = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    return {
        "sub": USER,
        "jti": str(uuid.uuid4()),
        "type": "access",
        "iss": ISSUER,
        "aud": "api",
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "provider": "kakao",
        "role": "steward",
        **changes,
    }


def token(key: Any = KEY, algorithm: str = "RS256", kid: str = KID, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": kid})


def segment(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned_token() -> str:
    return f"{segment({'alg': 'none', 'typ': 'JWT', 'kid': KID})}.{segment(claims())}."


def hmac_token() -> str:
    """HS256 with the public key as the secret; PyJWT itself refuses to make one."""
    import hashlib
    import hmac

    text = f"{segment({'alg': 'HS256', 'typ': 'JWT', 'kid': KID})}.{segment(claims())}"
    return f"{text}.{segment(hmac.new(PUBLIC_PEM, text.encode(), hashlib.sha256).digest())}"


def bearer(value: str | None = None) -> dict[str, str]:
    return {"Authorization": f"Bearer {value or token()}"}


class Service:
    """Answers 200 with what it received; `/stream` paths and a few names behave specially."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[str] = []
        self.published = {KID: KEY}
        self.next_frame = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        self.calls.append(f"{scope['method']} {path}")
        if path.endswith("/jwks.json"):
            found = {kid: json.loads(RSAAlgorithm.to_jwk(key.public_key())) for kid, key in self.published.items()}
            keys = [{**key, "kid": kid, "use": "sig", "alg": "RS256"} for kid, key in found.items()]
            await send_json(send, 200, {"keys": keys})
        elif path.endswith("/events"):
            await self._stream(send)
        elif path.endswith("/away"):
            await send_json(send, 503, {"detail": "mine", "code": "MINE"})
        elif path.rpartition("/")[2].startswith("answers-"):
            await self._refuse(int(path[-3:]), send)
        else:
            await self._echo(scope, receive, send)

    async def _echo(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        body = {
            "service": self.name,
            "path": scope["path"],
            "query": scope["query_string"].decode(),
            "size": size,
            "headers": [[name.decode(), value.decode()] for name, value in scope["headers"]],
        }
        await send_json(send, 200, body, {"access-control-allow-origin": "http://of-the-service.example"})

    async def _refuse(self, status: int, send: Send) -> None:
        """As an object store does."""
        body = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>'
        headers = [(b"content-type", b"application/xml"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number in range(3):
            async with asyncio.timeout(20):
                await self.next_frame.wait()
            self.next_frame.clear()
            frame = f"id: {number}\ndata: {{}}\n\n".encode()
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def free_ports(count: int) -> list[int]:
    """Ports of the range of the tests that nobody listens on."""
    found: list[int] = []
    for port in random.sample(range(11300, 11500), 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


class Authz:
    """The real ext-authz, which a test may take away for a while; the test says what is revoked."""

    def __init__(self, port: int) -> None:
        self.settings = Settings(
            grpc_port=port,
            port=0,
            shutdown_grace=timedelta(seconds=1),
            cors_origins=(ORIGIN,),
            redis_streams_url="redis://127.0.0.1:1/0",
            broker_url="amqp://127.0.0.1:1/eco2",
        )
        self.denylist = Denylist(self.settings)
        self.trust()
        self._stack = AsyncExitStack()

    def trust(self) -> None:
        """As if the denylist had just been read, and would be for the next hours."""
        self.denylist.was_read(time.monotonic() + 9999)

    def distrust(self) -> None:
        self.denylist.was_read(time.monotonic() - 9999)

    async def start(self) -> None:
        await self._stack.enter_async_context(grpc_server(self.settings, self.denylist))

    async def stop(self) -> None:
        await self._stack.aclose()


class Edge:
    def __init__(self, at: "Plan", services: Mapping[str, Service], authz: Authz, client: httpx2.AsyncClient) -> None:
        self.port = at.gateway
        self.admin = at.admin
        self.host = at.host
        self.services = services
        self.authz = authz
        self.client = client

    def calls(self) -> list[str]:
        return [f"{name}: {call}" for name, service in self.services.items() for call in service.calls]

    async def raw(self, target: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """A request whose target goes out byte for byte; of the answer, one with a length is understood."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            lines = [f"{name}: {value}" for name, value in {"Host": self.host, **(headers or {})}.items()]
            writer.write("\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode())
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                status, *rows = head.decode().rstrip().split("\r\n")
                answer = httpx2.Headers(dict(row.split(": ", 1) for row in rows))
                body = await reader.readexactly(int(answer["content-length"]))
        finally:
            writer.close()
            await writer.wait_closed()
        return httpx2.Response(int(status.split()[1]), headers=answer, content=body)


@asynccontextmanager
async def serving(service: Service, port: int) -> AsyncIterator[None]:
    task = asyncio.create_task(serve_async(service, BaseSettings(port=port, shutdown_grace=timedelta(seconds=1))))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def start_envoy(folder: Path, text: str, base_id: int, admin: int) -> AsyncIterator[None]:
    config, log = folder / "envoy.yaml", folder / "envoy.log"
    config.write_text(text, encoding="utf-8")
    arguments = ("-c", str(config), "--base-id", str(base_id), "--concurrency", "1", "--log-level", "warn")
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(ENVOY, *arguments, stdout=out, stderr=out)
    try:
        async with httpx2.AsyncClient() as client:

            async def ready() -> bool:
                assert process.returncode is None, log.read_text()
                try:
                    return (await client.get(f"http://127.0.0.1:{admin}/ready")).status_code == 200
                except httpx2.TransportError:
                    return False

            await until(ready, 20)
        yield
    finally:
        process.terminate()
        await process.wait()


@dataclass(frozen=True)
class Plan:
    """Ports of an edge, and Envoy's configuration with them."""

    gateway: int
    admin: int
    authz: int
    ports: Mapping[str, int]
    text: str
    host: str = "localhost"
    """A name of the API."""


def plan(trusted_proxies: int = 0) -> Plan:
    gateway, admin, authz, store, *rest = free_ports(4 + len(SERVICES))
    ports = dict(zip(SERVICES, rest, strict=True))
    text = envoy.render(
        {**ports, "ext-authz.auth": authz},
        gateway,
        admin,
        f"{tempfile.gettempdir()}/eco2-edge-{gateway}.sock",
        store,
        "eco2-images",
        [ORIGIN],
        ISSUER,
        trusted_proxies=trusted_proxies,
    )
    return Plan(gateway, admin, authz, {**ports, "object-store.storage": store}, text)


@asynccontextmanager
async def running_edge(folder: Path, at: Plan, without: str = "") -> AsyncIterator[Edge]:
    """All of it, but for the service that is `without`."""
    services = {name: Service(name) for name in at.ports if name != without}
    async with AsyncExitStack() as stack:
        for name, service in services.items():
            await stack.enter_async_context(serving(service, at.ports[name]))
        authz = Authz(at.authz)
        await authz.start()
        stack.push_async_callback(authz.stop)
        await stack.enter_async_context(start_envoy(folder, at.text, at.gateway, at.admin))
        url = f"http://127.0.0.1:{at.gateway}"
        client = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, timeout=15))
        yield Edge(at, services, authz, client)


def received(response: httpx2.Response) -> dict[str, str]:
    """The headers that reached the service; a repeated one is joined, so that it is seen."""
    found: dict[str, str] = {}
    for name, value in response.json()["headers"]:
        found[name] = f"{found[name]}|{value}" if name in found else value
    return found


def is_error(response: httpx2.Response, status: int, code: str) -> bool:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    return (response.status_code, body["code"], body.keys()) == (status, code, {"detail", "code"})
