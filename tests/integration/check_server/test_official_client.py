"""The gRPC server of ext-authz, asked by the official client."""

import asyncio
import struct

import grpc
import pytest

from eco2.ext_authz import http2
from eco2.ext_authz.http2 import END_HEADERS, PREFACE, Fault, Frame, Server, Status
from eco2.ext_authz.official import OfficialServer
from tests.integration.check_server.conftest import (
    BROKEN,
    ECHO,
    METHODS,
    SIZED,
    Call,
    Peer,
    block,
    message,
    nobody_left,
    official,
    serving,
)


async def test_the_official_server_answers_the_same() -> None:
    async def answers(server: Server | OfficialServer) -> list[bytes | grpc.StatusCode]:
        port, found = await server.listen("127.0.0.1", 0), list[bytes | grpc.StatusCode]()
        await server.check_ready()
        for method, request in (
            (ECHO, b""),
            (ECHO, b"a" * 20_000),
            (SIZED, b"70000"),
            (BROKEN, b"0"),
            ("/test.Echo/No", b""),
        ):
            async with official(port, method) as call:
                try:
                    found.append(await call(request))
                except grpc.aio.AioRpcError as error:
                    found.append(error.code())
        await server.close(1)
        return found

    assert await answers(Server(METHODS)) == await answers(OfficialServer(METHODS))


@pytest.mark.parametrize("size", [0, 1, 20_000, http2.DEFAULT_WINDOW - 5])
async def test_answers_the_official_client(port: int, size: int) -> None:
    async with official(port) as call:
        assert await call(b"a" * size) == b"a" * size


async def test_a_request_may_have_the_largest_size(port: int) -> None:
    async with official(port, SIZED) as call:
        assert await call(b"7".rjust(http2.MAX_MESSAGE - 5)) == b"x" * 7


async def test_many_calls_at_once(port: int) -> None:
    async with official(port) as call:
        said = [str(number).encode() * 30 for number in range(2000)]
        assert await asyncio.gather(*(call(one) for one in said)) == said


async def test_headers_that_need_continuations(port: int) -> None:
    async with official(port) as call:
        long = [(f"x-{number}", "v" * 7000) for number in range(6)]
        for _ in range(3):
            assert await call(b"hello", metadata=long) == b"hello"


@pytest.mark.parametrize(
    ("method", "request_", "status"),
    [
        ("/test.Echo/Unknown", b"", grpc.StatusCode.UNIMPLEMENTED),
        (BROKEN, b"0", grpc.StatusCode.INTERNAL),
        (ECHO, b"a" * (http2.MAX_MESSAGE + 1), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_a_call_that_fails_says_why_and_hurts_no_other(
    port: int, method: str, request_: bytes, status: grpc.StatusCode
) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        failing: Call = channel.unary_unary(method)
        echo: Call = channel.unary_unary(ECHO)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await failing(request_)
        assert failed.value.code() == status
        assert await echo(b"and on") == b"and on"


async def test_a_compressed_message_is_refused(port: int) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", compression=grpc.Compression.Gzip) as channel:
        echo: Call = channel.unary_unary(ECHO)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await echo(b"a" * 5000)
    assert failed.value.code() == grpc.StatusCode.INTERNAL


async def test_closing_lets_nobody_in_and_cuts_nobody_off() -> None:
    async with serving() as (server, port), official(port) as call:
        assert await call(b"before") == b"before"
        await server.check_ready()
        peer = await Peer.meet(port)
        peer.send(peer.call(1, ECHO, b"halfway", END_HEADERS)[: -len(b"way")])
        await peer.flush()
        closing = asyncio.create_task(server.close(5))
        assert await peer.until(Frame.GOAWAY) == struct.pack(">LL", 1, Fault.NO_ERROR)
        with pytest.raises(RuntimeError):
            await server.check_ready()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        assert not closing.done()
        peer.send(b"way")
        assert await peer.until(Frame.DATA) == message(b"halfway")
        async with asyncio.timeout(1):
            await closing


async def test_several_servers_share_a_port_only_if_all_of_them_say_so() -> None:
    first, second = Server({ECHO: lambda _: b"first"}), Server({ECHO: lambda _: b"second"})
    stranger = Server(METHODS)
    port = await first.listen("127.0.0.1", 0, share=True)
    await second.listen("127.0.0.1", port, share=True)
    with pytest.raises(OSError):
        await stranger.listen("127.0.0.1", port)
    answers = set()
    for _ in range(60):
        peer = await Peer.meet(port)
        peer.send(peer.call(1, ECHO, b""))
        answers.add(await peer.until(Frame.DATA))
    assert answers == {message(b"first"), message(b"second")}
    for server in (first, second):
        await server.close(1)


async def test_closing_does_not_wait_for_ever() -> None:
    async with serving() as (server, port):
        peer = await Peer.meet(port)
        peer.send(peer.call(1, ECHO, b"halfway")[:-3])
        await peer.flush()
        began = asyncio.get_running_loop().time()
        await server.close(0.2)
        assert asyncio.get_running_loop().time() - began < 2
        assert await peer.ended()


@pytest.mark.usefixtures("short_goodbye")
async def test_a_silent_connection_is_told_to_go_and_answered_until_it_does() -> None:
    async with serving(idle=0.2) as (server, port):
        peer = await Peer.meet(port)
        last, code = struct.unpack(">LL", await peer.until(Frame.GOAWAY))
        assert (last, code) == (2**31 - 1, Fault.NO_ERROR), "no call is refused yet"
        peer.send(peer.call(1, ECHO, b"on its way"))
        assert await peer.until(Frame.DATA) == message(b"on its way")
        assert struct.unpack(">LL", await peer.until(Frame.GOAWAY)) == (1, Fault.NO_ERROR)
        assert await peer.ended()
        await nobody_left(server)


@pytest.mark.usefixtures("short_goodbye")
async def test_a_connection_that_is_used_stays() -> None:
    async with serving(idle=0.4) as (_, port):
        peer = await Peer.meet(port)
        for stream in range(1, 30, 2):
            peer.send(peer.call(stream, ECHO, b"again"))
            assert await peer.until(Frame.DATA) == message(b"again")
            await asyncio.sleep(0.06)
        assert not [frame for frame in peer.frames if frame[0] == Frame.GOAWAY]


@pytest.mark.usefixtures("short_goodbye")
@pytest.mark.parametrize("sent", [b"", PREFACE[:10], PREFACE + http2.frame(Frame.HEADERS, END_HEADERS, 1, block(ECHO))])
async def test_a_peer_that_is_gone_in_the_middle_does_not_stay(sent: bytes) -> None:
    """Before its greeting, within it, and with a call begun; it reads nothing either."""
    async with serving(idle=0.2) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(sent)
        await asyncio.sleep(0.05)
        assert server._peers
        await nobody_left(server)
        writer.transport.abort()


@pytest.mark.usefixtures("short_goodbye")
async def test_the_official_client_notices_nothing() -> None:
    async with serving(idle=0.2) as (_, port), official(port) as call:
        for _ in range(3):
            assert await call(b"hello") == b"hello"
            await asyncio.sleep(0.7)


def test_statuses_are_grpc_s_own() -> None:
    assert {status.name: int(status) for status in Status} == {
        status.name: grpc.StatusCode[status.name].value[0] for status in Status
    }
