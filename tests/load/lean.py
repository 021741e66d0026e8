"""GETs over one kept connection, at a fifth of what an HTTP client takes of the cores that it shares with the servers.

Answers are counted, not kept: status, and as many bytes as they say that they have.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import urlsplit

_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


class Connection(asyncio.Protocol):
    def __init__(self, host: str) -> None:
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._head = b""
        self._missing = 0
        """Bytes of the body that are still to come, once its head is there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or ConnectionResetError("closed by the other side"))

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._head += data
            end = self._head.find(_END)
            if end < 0:
                return
            head = self._head[:end].lower() + b"\r\n"
            if _LENGTH not in head:
                self._fail(ValueError(f"an answer without its length: {head!r}"))
                return
            length = int(head.partition(_LENGTH)[2].partition(b"\r\n")[0])
            self._missing = length - (len(self._head) - end - len(_END))
        if self._missing == 0 and self._answer and not self._answer.done():
            self._answer.set_result(int(self._head[9:12]))

    def _fail(self, error: Exception) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)

    async def get(self, path: str, headers: Mapping[str, str]) -> None:
        """Wait for the whole answer. RuntimeError when it is none of 200."""
        assert self._transport
        self._head, self._answer = b"", asyncio.get_running_loop().create_future()
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._transport.write(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{lines}\r\n".encode())
        status = await self._answer
        if status != 200:
            raise RuntimeError(f"{path}: status {status}")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    at = urlsplit(url)
    transport, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(at.netloc), at.hostname or "", at.port or 80
    )
    try:
        yield connection
    finally:
        transport.close()
