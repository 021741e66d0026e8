"""Decoders of photos: a few long-lived processes, each bounded in time and memory (docs/adr, "Photos are decoded ...").

A photo that takes too much ends its decoder and fails alone; another decoder is forked in its place. Users take turns,
and one user never holds all decoders, so that a flood of costly photos delays other users by no more than a fair share.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import prometheus_client

import eco2
from eco2.core.errors import AppError, Unavailable
from eco2.photos.check import MAX_BYTES, PhotoBroken, PhotoInfo, PhotoTooLarge, PhotoTypeRefused, check_bytes
from eco2.photos.child import HEAD, VIEWS
from eco2.photos.settings import PhotoSettings
from eco2.photos.turns import Turns
from eco2.photos.views import Opened, Wanted

log = logging.getLogger(__name__)

PHOTOS = prometheus_client.Counter(
    "eco2_photos_opened_total",
    "Photos given to a decoding process: opened, refused, killed, tried again, crashed",
    ["outcome"],
)
PHOTOS_A_DECODER = 1000
"""Then another takes its place, so that nothing that photos leave behind in a process adds up."""
STANDING_STILL = 3
"""A decoder is killed after this many times the CPU time of a photo: it waits for something that never comes."""
START_SECONDS = 20.0
_ERRORS = {error.code: error for error in (PhotoTooLarge, PhotoTypeRefused, PhotoBroken)}
_MOST_JSON, _MOST_REPLY = 10_000, 2 * MAX_BYTES
_ENVIRONMENT = {
    "PYTHONPATH": str(Path(eco2.__path__[0]).parent),
    # One arena, since the address space is limited. The memory of a usual photo stays with the process: it costs 7 MB
    # and saves a sixth of the work of a 3-megapixel photo; that of a large one is returned.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(8 * 1024**2),
    "MALLOC_TRIM_THRESHOLD_": str(16 * 1024**2),
}


Reply = tuple[dict[str, Any], memoryview]


class DecodersDown(Unavailable):
    """No process can be started to open the photo; try again."""

    code = "PHOTO_DECODERS_UNAVAILABLE"


class _Decoder:
    """One decoding process; for one photo at a time. Its end shows as ConnectionError."""

    def __init__(self, wire: socket.socket, pid: int) -> None:
        wire.setblocking(False)
        self._wire, self._process = wire, os.pidfd_open(pid)
        self.pid = pid
        self.photos = 0

    async def ask(self, wanted: bytes, data: bytes) -> Reply:
        self.photos += 1
        loop = asyncio.get_running_loop()
        head = HEAD.pack(len(wanted), len(data)) + wanted
        if len(data) < 64_000:
            await loop.sock_sendall(self._wire, head + data)
        else:
            await loop.sock_sendall(self._wire, head)
            await loop.sock_sendall(self._wire, data)
        told, length = HEAD.unpack(await self._receive(HEAD.size))
        if told > _MOST_JSON or length > _MOST_REPLY:
            raise ConnectionError("a reply that no decoder of ours gives")
        reply = await self._receive(told + length)
        return json.loads(bytes(reply[:told])), reply[told:]

    async def _receive(self, length: int) -> memoryview:
        received, there = memoryview(bytearray(length)), 0
        while there < length:
            count = await asyncio.get_running_loop().sock_recv_into(self._wire, received[there:])
            if not count:
                raise ConnectionError("the decoder has ended")
            there += count
        return received

    @property
    def ended(self) -> bool:
        """Of one that was asked nothing: it never sends on its own."""
        try:
            self._wire.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def kill(self) -> None:
        """End the process; the caller that waits for its reply sees the connection end."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def close(self) -> None:
        os.close(self._process)
        self._wire.close()


class _Template:
    """The process that decoders are forked off; started with the first one, and again when it is gone."""

    def __init__(self, settings: PhotoSettings) -> None:
        self._arguments = [str(settings.photo_seconds.total_seconds()), str(settings.photo_megabytes)]
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._one_at_a_time = asyncio.Lock()

    async def fork(self) -> _Decoder:
        async with self._one_at_a_time:
            if self._process is None or self._process.poll() is not None:
                self.close()
                self._start()
            try:
                return await self._forked()
            except (OSError, TimeoutError, ValueError) as error:
                self.close()
                raise DecodersDown from error
            except asyncio.CancelledError:
                self.close()  # its answer would be taken for that to the next request
                raise

    async def _forked(self) -> _Decoder:
        assert self._control is not None
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"\1"], [theirs.fileno()])
                async with asyncio.timeout(START_SECONDS):
                    pid = int(await asyncio.get_running_loop().sock_recv(self._control, 20))
            return _Decoder(ours, pid)
        except BaseException:
            ours.close()
            raise

    def _start(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        with theirs:
            command = [sys.executable, "-P", "-s", "-m", "eco2.photos.child", *self._arguments]
            self._process = subprocess.Popen(  # noqa: S603
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._control is not None:
            self._control.close()
        self._process = self._control = None


class Decoders:
    """The decoding processes of this process. They start when they are needed, or with `warm`."""

    def __init__(self, settings: PhotoSettings) -> None:
        self._turns = Turns(settings.photo_decoders)
        self._template = _Template(settings)
        self._seconds = settings.photo_seconds.total_seconds()
        self._count = settings.photo_decoders
        self._idle: list[_Decoder] = []
        self._all: set[_Decoder] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Photos that are being decoded fail with DecodersDown; nothing is waited for."""
        self._closed = True
        self._template.close()
        for decoder in self._all:
            decoder.kill()
        while self._idle:
            self._end(self._idle.pop())

    @property
    def pids(self) -> list[int]:
        return sorted(decoder.pid for decoder in self._all)

    async def warm(self) -> None:
        """Start all of them, so that the first photos need not wait."""
        while len(self._all) < self._count:
            self._idle.append(await self._fork())

    async def open(self, data: bytes, wanted: Wanted, user: object) -> Opened:
        """Compute the wanted views of a photo of `user`. Raises the errors of `eco2.photos.check`, and DecodersDown."""
        check_bytes(data)
        asked = _request(wanted)
        async with self._turns.turn(user):
            reply = await self._try(asked, data)
            if reply is None:
                PHOTOS.labels("again").inc()
                reply = await self._try(asked, data)
        if reply is None:
            PHOTOS.labels("crashed").inc()
            raise PhotoBroken
        return _opened(*reply, data)

    async def inspect(self, data: bytes, user: object) -> tuple[bytes, str]:
        """(public form, its content type) of an upload."""
        opened = await self.open(data, Wanted(), user)
        assert opened.info is not None
        return opened.clean, opened.info.content_type

    async def _try(self, asked: bytes, data: bytes) -> Reply | None:
        """None where the decoder died, which need not be the photo's fault."""
        decoder = await self._take()
        start = time.monotonic()
        try:
            async with asyncio.timeout(STANDING_STILL * self._seconds):
                reply = await decoder.ask(asked, data)
        except (OSError, TimeoutError) as error:
            self._end(decoder)
            self._blame(error, time.monotonic() - start)
            return None
        except BaseException:
            self._end(decoder)  # a reply left unread would be taken for the next one
            raise
        if decoder.photos < PHOTOS_A_DECODER and not self._closed:
            self._idle.append(decoder)
        else:
            self._end(decoder)
        return reply

    def _blame(self, error: Exception, seconds: float) -> None:
        if self._closed:
            raise DecodersDown from error
        if seconds >= self._seconds:
            PHOTOS.labels("killed").inc()
            log.warning("a photo was given up after %.1f s", seconds)
            raise PhotoTooLarge(
                "사진을 여는 데 너무 오래 걸려요. 더 작은 사진을 올려 주세요.",
                english="The photo takes too long to open. Upload a smaller one.",
            ) from error
        log.warning("a decoder of photos died: %r", error)

    async def _take(self) -> _Decoder:
        while self._idle:
            decoder = self._idle.pop()
            if not decoder.ended:
                return decoder
            self._end(decoder)
        return await self._fork()

    async def _fork(self) -> _Decoder:
        if self._closed:
            raise DecodersDown
        decoder = await self._template.fork()
        self._all.add(decoder)
        return decoder

    def _end(self, decoder: _Decoder) -> None:
        self._all.remove(decoder)
        decoder.kill()
        decoder.close()


@cache
def _request(wanted: Wanted) -> bytes:
    return json.dumps(asdict(wanted)).encode()


def _opened(meta: dict[str, Any], blobs: memoryview, data: bytes) -> Opened:
    if "error" in meta:
        PHOTOS.labels("refused").inc()
        raise _error(meta)
    PHOTOS.labels("opened").inc()
    ends = [0, *itertools.accumulate(meta["lengths"])]
    views = {name: bytes(blobs[start:end]) for name, start, end in zip(VIEWS, ends, ends[1:], strict=False)}
    return Opened(PhotoInfo(*meta["info"]) if meta["info"] else None, views.pop("clean") or data, **views)


def _error(meta: dict[str, Any]) -> AppError:
    known = _ERRORS.get(meta["error"])
    if known is None:
        log.error("a reader of photos failed in an unknown way: %s", meta["message"])
    return known(str(meta["message"]), english=str(meta["english"])) if known else PhotoBroken()
