"""The short way of the LLM client: what goes over the wire, and what comes back as an error."""

import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from openai import APIStatusError, NotFoundError

from eco2.llm.client import Client
from tests.redis_server import free_port


@dataclass
class Server:
    """Notes what it is asked, and answers with `status` and `body`, compressed where that is accepted."""

    port: int
    status: int = 200
    body: bytes = b"{}"
    asked: list[web.BaseRequest] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.asked.append(request)
        self.bodies.append(await request.read())
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json", "Location": "/elsewhere"}
        return web.Response(status=self.status, body=gzip.compress(self.body), headers=headers)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server(free_port())
    runner = web.ServerRunner(web.Server(made.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", made.port).start()
    yield made
    await runner.cleanup()


def client(base_url: str) -> Client:
    return Client(api_key="secret", base_url=base_url, connect_seconds=1, connections=2, keepalive_seconds=5)


async def test_a_request_has_the_headers_of_the_sdk_and_the_body_as_given(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    server.body = '{"answer": "네"}'.encode()
    async with client(f"http://127.0.0.1:{server.port}/v1/") as own:
        body, _ = await own.post_json("/chat/completions", b'{"a":1}', {"X-Eco2-Job": "7"})
        assert body == server.body
    (asked,), (body,) = server.asked, server.bodies
    assert (asked.method, asked.path, body) == ("POST", "/v1/chat/completions", b'{"a":1}')
    wanted = {"Authorization": "Bearer secret", "X-Eco2-Job": "7", "OpenAI-Organization": "org-1"}
    assert wanted.items() <= dict(asked.headers).items()
    assert asked.headers["User-Agent"].startswith("Client/Python")
    assert asked.content_type == "application/json"


@pytest.mark.parametrize(("status", "kind"), [(404, NotFoundError), (307, APIStatusError)])
async def test_what_is_no_answer_is_an_error_of_the_sdk(
    server: Server, status: int, kind: type[APIStatusError]
) -> None:
    server.status, server.body = status, b'{"error": {"code": "model_not_found", "message": "no such model"}}'
    async with client(f"http://127.0.0.1:{server.port}/v1") as own:
        with pytest.raises(kind, match="no such model") as raised:
            await own.post_json("/chat/completions", b"{}", {})
    assert (raised.value.status_code, raised.value.code, len(server.asked)) == (status, "model_not_found", 1)


async def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with client("http://llm.invalid/v1") as own:
        await own.post_json("/chat/completions", b"{}", {})
    assert server.asked[0].headers["Host"] == "llm.invalid"
    async with client(f"http://127.0.0.1:{free_port()}/v1") as own:
        with pytest.raises(aiohttp.ClientConnectorError):
            await own.post_json("/chat/completions", b"{}", {})
