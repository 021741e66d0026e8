"""`eco2 smoke` where no Eco² is: each check ends, says why, and none passes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from typer.testing import CliRunner

from eco2.cli import smoke
from eco2.cli.main import app

Answered = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def server(answered: Answered) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answered)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        [(host, port)] = runner.addresses
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "AGAIN_SECONDS", 0.0)


async def outcomes(url: str, token: str = "") -> dict[str, smoke.Outcome]:
    found: list[smoke.Outcome] = []
    assert not await asyncio.to_thread(smoke.run, url, token, 1.0, found.append)
    assert [row.check for row in found] == [check.__name__ for check in smoke.CHECKS]
    assert not [row for row in found if row.status == "passed"]
    return {row.check: row for row in found}


async def test_another_server_fails_what_can_be_tried_and_skips_the_rest() -> None:
    async def answered(_: web.Request) -> web.Response:
        return web.Response(text="<html>hello</html>")

    async with server(answered) as url:
        found = await outcomes(url)
    assert found["edge"].detail == "GET /api/v1/users/me answers 200, not 401"
    assert found["auth"].detail == "GET /api/v1/auth/.well-known/jwks.json answers no JSON"
    assert (found["my"].status, found["my"].detail) == ("skipped", "needs auth")
    assert found["result"].detail == "needs events"


async def test_answers_of_another_shape_are_failures_not_crashes() -> None:
    async def answered(request: web.Request) -> web.Response:
        return web.json_response({"keys": [1]} if "jwks" in request.path else [])

    async with server(answered) as url:
        found = await outcomes(url)
    assert found["auth"].status == found["recycling"].status == "failed"


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "REQUEST_SECONDS", 0.3)
    over = asyncio.Event()

    async def answered(_: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    async with server(answered) as url:
        found = await outcomes(url)
        over.set()
    # On a busy machine even the connection can take longer than that.
    assert found["edge"].detail in {
        f"GET /api/v1/users/me gets no answer ({kind})" for kind in ("ReadTimeout", "ConnectTimeout")
    }


async def test_a_read_is_tried_once_more_and_a_write_is_not() -> None:
    asked: list[str] = []

    async def answered(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.path}")
        return web.json_response({"code": "AWAY"}, status=503)

    async with server(answered) as url:
        found = await outcomes(url, token="a-token")
    assert asked.count("GET /api/v1/info/news") == 2
    assert asked.count("POST /api/v1/images/scan") == 1
    assert found["info"].detail == "GET /api/v1/info/news answers 503, not 200 (AWAY)"
    assert found["image"].status == "failed"
    assert found["scan"].detail == "needs image"


def test_nobody_there_is_exit_code_1_with_a_line_for_each_check() -> None:
    done = CliRunner().invoke(app, ["smoke", "http://127.0.0.1:9"])
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[0].startswith("FAIL edge ")
    assert "gets no answer (ConnectError)" in lines[0]
    assert len(lines) == len(smoke.CHECKS)


@pytest.mark.parametrize("url", ["ftp://example", "localhost:8080"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    done = CliRunner().invoke(app, ["smoke", url])
    assert done.exit_code == 2
    assert "no address" in done.output
