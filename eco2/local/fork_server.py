"""One process that imports the libraries of all services once, and forks each service off itself.

Services that are started one by one hold a copy of the same libraries each, some 60 MB, and take seconds of CPU to
import them. Forked off a process that has them, they share those pages. In the cluster each container has its own.

Of our own modules only `core`, some that several domains share and the knowledge base are there beforehand: domains
register metrics, which belong to the process that uses them. A process is forked before any thread is there.
"""

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from eco2 import core

LIBRARIES = (
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.lifespan.on",
    "fastapi.middleware.cors",
    "celery.worker.worker",
    "celery.concurrency.thread",
    "celery.app.amqp",
    "kombu.transport.pyamqp",
    "jwt.algorithms",
    "authlib.integrations.httpx_client",
    "grpc_reflection.v1alpha.reflection",
    "google.protobuf.struct_pb2",
    "google.protobuf.timestamp_pb2",
)
"""Modules that more than one service imports when it starts, beyond what `core` brings; none of them starts a
thread."""

SHARED_MODULES = ("eco2.photos.published", "eco2.llm.client")
"""Modules above `core` that more than one process uses. The SDK behind `eco2.llm.client` takes 20 MB once instead of in
each; the other modules of `eco2.llm` stay out, since a gauge of money spent would be there for every process."""
LEFT_OUT = ("eco2.core.migrations", "eco2.core.tables")
"""Modules of `core` that bring SQLAlchemy, which no service needs."""
MESSAGE_BYTES = 1 << 20
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int, number: signal.Signals) -> Callable[[], None]:
    """Runs in the child: the kernel sends it `number` when its parent is gone, however that ended."""

    def set_parent_death_signal() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:
            os._exit(1)

    return set_parent_death_signal


# --- in the supervisor ------------------------------------------------------------------------------------------------


class NurseryGone(Exception):
    """The process that services are forked off has ended; the next start makes another one."""


class Forked:
    """A process of the nursery, to its supervisor like one of `asyncio.subprocess`. Its code is unknown (-9) when the
    nursery itself is gone: the process is, too."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, pipe: asyncio.BaseTransport) -> None:
        self.pid = pid
        self.stdout: asyncio.StreamReader | None = stdout
        self.returncode: int | None = None
        self._pipe = pipe
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """ProcessLookupError when it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def end(self, code: int) -> None:
        self.returncode = code
        self._ended.set()

    def close(self) -> None:
        """Stop reading its output."""
        self._pipe.close()


class Nursery:
    """Started with the first process that is asked of it; it ends with `close`, or with the supervisor."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment, self._folder = dict(environment), folder
        self._process: asyncio.subprocess.Process | None = None
        self._wire: socket.socket | None = None
        self._forked: dict[int, Forked] = {}
        self._answers: asyncio.Queue[int] = asyncio.Queue()
        self._early: dict[int, int] = {}
        """Pid → code of processes that ended before they were known here."""
        self._asking = asyncio.Lock()

    async def fork(self, name: str, environment: Mapping[str, str], stop: signal.Signals) -> Forked:
        """Start that service. NurseryGone."""
        async with self._asking:
            wire = self._wire or await self._start()
            output, theirs = os.pipe()
            try:
                request = json.dumps({"name": name, "environment": dict(environment), "stop": int(stop)}).encode()
                wire.setblocking(True)
                try:
                    socket.send_fds(wire, [request], [theirs])
                finally:
                    wire.setblocking(False)
            except OSError as error:
                os.close(output)
                raise NurseryGone from error
            finally:
                os.close(theirs)
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(output, "rb"))
            pid = await self._answers.get()
            if pid < 0:
                pipe.close()
                raise NurseryGone
            forked = self._forked[pid] = Forked(pid, reader, pipe)
            if pid in self._early:
                self._forked.pop(pid).end(self._early.pop(pid))
            return forked

    async def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_BYTES)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                __name__,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,
                preexec_fn=die_with(os.getpid(), signal.SIGTERM),
            )
        ours.setblocking(False)
        asyncio.get_running_loop().add_reader(ours, self._hear, ours)
        self._wire = ours
        return ours

    def _hear(self, wire: socket.socket) -> None:
        try:
            data = wire.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        told: dict[str, int] = json.loads(data)
        if "code" not in told:
            self._answers.put_nowait(told["pid"])
        elif (forked := self._forked.pop(told["pid"], None)) is not None:
            forked.end(told["code"])
        else:
            self._early[told["pid"]] = told["code"]

    def _lose(self) -> None:
        """The nursery is gone with its children; the next process starts another one."""
        if self._wire is not None:
            asyncio.get_running_loop().remove_reader(self._wire)
            self._wire.close()
            self._wire = None
        if self._asking.locked():
            self._answers.put_nowait(-1)
        for forked in self._forked.values():
            forked.end(-signal.SIGKILL)
        self._forked.clear()

    async def close(self) -> None:
        self._lose()
        if self._process is not None:
            await self._process.wait()


# --- in the nursery ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    name: str
    environment: dict[str, str]
    stop: int
    output: int
    """File descriptor of its output."""


def preload() -> None:
    gc.disable()  # what it would free in between leaves holes that the children fill with copies
    plumbing = [found.name for found in pkgutil.walk_packages(core.__path__, f"{core.__name__}.")]
    for name in (*LIBRARIES, *plumbing, *SHARED_MODULES):
        if name not in LEFT_OUT:
            import_module(name)
    _load_knowledge()
    gc.enable()
    gc.collect()
    gc.freeze()


def _load_knowledge() -> None:
    """Most services read the same one. Where it is wrong, or the processes have another, they say so themselves."""
    from eco2 import knowledge

    with contextlib.suppress(knowledge.KnowledgeError, OSError):
        knowledge.load()


def serve(wire: socket.socket) -> _Asked | None:
    """Fork a child for each request. Returns the request in the child, and in the nursery None at the end."""
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    asking = wire.fileno()
    while True:
        ready, _, _ = select.select([asking, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _reap(wire)
        if asking not in ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(wire, MESSAGE_BYTES, 1)
        if not data:
            return None
        asked = _Asked(**json.loads(data), output=descriptors[0])
        nursery = os.getpid()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (woken, waker):
                os.close(descriptor)
            wire.close()
            _become(asked, nursery)
            return asked
        os.close(asked.output)
        _tell(wire, {"pid": pid})


def _reap(wire: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell(wire, {"pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _tell(wire: socket.socket, told: Mapping[str, int]) -> None:
    with contextlib.suppress(OSError):  # the supervisor is gone; so is this process in a moment
        wire.send(json.dumps(told).encode())


def _become(asked: _Asked, nursery: int) -> None:
    """A process as the supervisor would have started it."""
    os.setsid()
    die_with(nursery, signal.Signals(asked.stop))()
    _libc.prctl(PR_SET_NAME, asked.name[:15].encode())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(asked.output, 1)
    os.dup2(asked.output, 2)
    for descriptor in (nothing, asked.output):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(asked.environment)
    sys.argv = ["eco2.run", asked.name]


def main() -> Any:
    preload()
    asked = serve(socket.socket(fileno=os.dup(0)))
    if asked is not None:
        from eco2.run import run

        run(asked.name)


if __name__ == "__main__":
    main()
