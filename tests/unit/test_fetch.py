"""The fetcher reaches the internet at large and nothing else; servers here are doubles on loopback."""

import asyncio
import gzip
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from eco2.core import fetch
from eco2.core.fetch import Fetcher, Limits, NotAllowed, Unreachable, Unusable, is_public

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{tail:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        await runner.cleanup()


def redirect(to: str, status: int = 302) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": to})

    return answer


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::", "::1", "::ffff:127.0.0.1"),
        *("::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "fe80::1"),
        *("fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1", "2002:7f00:1::", "2001::1"),
        *("", "localhost", "127.1", "0x7f000001", "2130706433", "127.0.0.1.nip.io"),
    ],
)
def test_what_is_not_of_the_internet_at_large(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "223.130.200.104", "2606:4700::1111", "64:ff9b::808:808"])
def test_what_is(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "//example.com/", "example.com", ""),
        *("http://example.com:8080/", "https://example.com:80/", "http://example.com:99999/", "http://"),
        *("http://user:word@example.com/", "http://@127.0.0.1/", "http://127.0.0.1/", "http://[::1]/", "http://[::1"),
        *("http://[::ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://169.254.169.254/latest/meta-data/"),
        *("http://exam ple.com/", "http://example.com/\r\nHost: x", f"http://example.com/{'a' * 2000}"),
    ],
)
async def test_addresses_that_are_refused_before_anything_is_sent(url: str) -> None:
    async with Fetcher() as fetcher:
        with pytest.raises(NotAllowed):
            await fetcher.get(url)


def resolving(monkeypatch: pytest.MonkeyPatch, to: str) -> None:
    async def resolve(_self: Any, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        kind = socket.AF_INET6 if ":" in to else socket.AF_INET
        return [{"hostname": host, "host": to, "port": port, "family": kind, "proto": 0, "flags": 0}]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    monkeypatch.setattr(aiohttp.DefaultResolver, "resolve", resolve)


@pytest.mark.parametrize("to", ["127.0.0.1", "10.0.0.5", "::1", "::ffff:127.0.0.1", "169.254.169.254"])
async def test_a_name_that_resolves_to_the_inside_is_refused(monkeypatch: pytest.MonkeyPatch, to: str) -> None:
    resolving(monkeypatch, to)
    async with Fetcher() as fetcher:
        with pytest.raises(NotAllowed, match="not public"):
            await fetcher.get("http://news.example.com/feed")


@pytest.mark.parametrize("literal", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost"])
async def test_other_spellings_of_loopback_are_refused_where_the_socket_is_made(literal: str) -> None:
    async with Fetcher() as fetcher:
        with pytest.raises((NotAllowed, Unreachable)):
            await fetcher.get(f"http://{literal}/", Limits(seconds=5))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_the_inside_is_refused(status: int) -> None:
    asked = []

    async def secret(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text="secret")

    async with (
        serving(secret) as inside,
        serving(redirect(f"{inside}/admin", status)) as outside,
        Fetcher(trusted=[outside]) as fetcher,
    ):
        with pytest.raises(NotAllowed):
            await fetcher.get(f"{outside}/feed")
    assert asked == []


async def test_trust_is_in_one_port_and_not_in_its_host() -> None:
    async def plain(_request: web.Request) -> web.Response:
        return web.Response(text="here", headers={"ETag": '"1"'})

    async with serving(plain) as trusted, serving(plain) as other, Fetcher(trusted=[trusted]) as fetcher:
        found = await fetcher.get(f"{trusted}/a?b=1")
        assert (found.status, found.body, found.content_type, found.headers["etag"]) == (
            200,
            b"here",
            "text/plain",
            '"1"',
        )
        with pytest.raises(NotAllowed):
            await fetcher.get(f"{other}/")


async def test_redirects_are_followed_so_far_and_headers_stay_at_home() -> None:
    seen: dict[str, str | None] = {}

    async def target(request: web.Request) -> web.Response:
        seen["target"] = request.headers.get("X-Key")
        return web.Response(text="target")

    async with serving(target) as other:

        async def start(request: web.Request) -> web.Response:
            seen["start"] = request.headers.get("X-Key")
            to = "/again" if request.path == "/" else f"{other}/"
            return web.Response(status=302, headers={"Location": to})

        async with serving(start) as home, Fetcher(trusted=[home, other]) as fetcher:
            found = await fetcher.get(f"{home}/", headers={"X-Key": "secret"})
            assert (found.body, found.url) == (b"target", f"{other}/")
            assert seen == {"start": "secret", "target": None}
            with pytest.raises(Unusable, match="more than 1 times"):
                await fetcher.get(f"{home}/", Limits(hops=1))


async def test_a_body_is_bounded_also_one_that_never_ends_or_unpacks_to_more() -> None:
    packed = gzip.compress(bytes(50_000_000), 9)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/bomb":
            return web.Response(body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "text/xml"})
        if request.path == "/odd":
            return web.Response(body=b"x", headers={"Content-Encoding": "br"})
        if request.path == "/broken":
            return web.Response(body=b"no gzip", headers={"Content-Encoding": "gzip"})
        if request.path == "/packed":
            return web.Response(body=gzip.compress(b"whole"), headers={"Content-Encoding": "gzip"})
        endless = web.StreamResponse(headers={"Content-Type": "text/xml"})
        await endless.prepare(request)
        while True:
            await endless.write(bytes(65_536))

    async with serving(answer) as home, Fetcher(trusted=[home]) as fetcher:
        assert (await fetcher.get(f"{home}/packed")).body == b"whole"
        for path, said in (("bomb", "longer"), ("endless", "longer"), ("odd", "packed as br"), ("broken", "unpacked")):
            with pytest.raises(Unusable, match=said):
                await fetcher.get(f"{home}/{path}", Limits(bytes=1_000_000))


async def test_time_is_bounded_for_all_hops_together() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b".")
            await asyncio.sleep(0.02)

    async with serving(drip) as home, Fetcher(trusted=[home]) as fetcher:
        with pytest.raises(Unreachable, match=r"within 0\.3 s"):
            await fetcher.get(f"{home}/", Limits(seconds=0.3))


async def test_types_are_limited_and_errors_are_answers() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/busy":
            return web.Response(status=429, headers={"Retry-After": "60"})
        return web.Response(body=b"\x89PNG", content_type="image/png")

    async with serving(answer) as home, Fetcher(trusted=[home]) as fetcher:
        with pytest.raises(Unusable, match="image/png"):
            await fetcher.get(f"{home}/", Limits(types=("text/html",)))
        busy = await fetcher.get(f"{home}/busy", Limits(types=("text/html",)))
        assert (busy.status, busy.headers["retry-after"], busy.body) == (429, "60", b"")


async def test_a_server_that_is_away_or_talks_nonsense_is_unreachable() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(zlib.compress(b"no http"))
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    home = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with Fetcher(trusted=[home]) as fetcher:
        with pytest.raises(Unreachable):
            await fetcher.get(f"{home}/?key=secret")
        server.close()
        await server.wait_closed()
        with pytest.raises(Unreachable) as told:
            await fetcher.get(f"{home}/?key=secret")
        assert "secret" not in str(told.value)


def test_the_fetcher_names_itself_and_keeps_no_cookies() -> None:
    assert fetch.USER_AGENT.startswith("Eco2/")
