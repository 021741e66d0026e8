"""The client of paid models as we set it up: what goes over the wire, and what comes back as an error."""

import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx2
import pytest
from aiohttp import web
from openai import APIConnectionError, APIStatusError, AsyncOpenAI, NotFoundError

from eco2.llm.client import client
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


async def post(own: AsyncOpenAI, body: bytes = b"{}") -> bytes:
    headers = {"X-Eco2-Job": "7", "Content-Type": "application/json"}
    answer = await own.post("/chat/completions", content=body, cast_to=httpx2.Response, options={"headers": headers})
    return answer.content


async def test_a_request_has_the_headers_of_the_sdk_and_the_body_as_given(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    server.body = '{"answer": "네"}'.encode()
    async with client("secret", f"http://127.0.0.1:{server.port}/v1/", 2) as own:
        assert await post(own, b'{"a":1}') == server.body
    (asked,), (body,) = server.asked, server.bodies
    assert (asked.method, asked.path, body) == ("POST", "/v1/chat/completions", b'{"a":1}')
    wanted = {"Authorization": "Bearer secret", "X-Eco2-Job": "7", "OpenAI-Organization": "org-1"}
    assert {name: asked.headers[name] for name in wanted} == wanted
    assert asked.headers["User-Agent"].startswith("AsyncOpenAI/Python")
    assert asked.content_type == "application/json"


@pytest.mark.parametrize(("status", "kind"), [(404, NotFoundError), (307, APIStatusError), (500, APIStatusError)])
async def test_what_is_no_answer_is_an_error_and_asked_for_once(
    server: Server, status: int, kind: type[APIStatusError]
) -> None:
    server.status, server.body = status, b'{"error": {"code": "model_not_found", "message": "no such model"}}'
    async with client("secret", f"http://127.0.0.1:{server.port}/v1", 2) as own:
        with pytest.raises(kind, match="no such model") as raised:
            await post(own)
    assert (raised.value.status_code, raised.value.code, len(server.asked)) == (status, "model_not_found", 1)


async def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with client("secret", "http://llm.invalid/v1", 2) as own:
        await post(own)
    assert server.asked[0].headers["Host"] == "llm.invalid"
    async with client("secret", f"http://127.0.0.1:{free_port()}/v1", 2) as own:
        with pytest.raises(APIConnectionError):
            await post(own)
