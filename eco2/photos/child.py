"""The processes that decode photos: a template with the imported libraries, and decoders forked off it.

`python -m eco2.photos.child SECONDS MEGABYTES` is the template. Standard input is a socket of packets: each brings one
end of a connection, for which a decoder is forked, and is answered with its process id. A decoder answers request after
request on its connection and ends with it. The kernel ends one whose photo takes too long; memory past the bound is
refused to it. Neither has the environment or the open files of the process that it works for.
"""

import gc
import json
import os
import resource
import signal
import socket
import struct
import sys
from typing import Any

from eco2.core.errors import AppError
from eco2.photos.check import PhotoTooLarge
from eco2.photos.views import Jpeg, Opened, Wanted

HEAD = struct.Struct(">II")
"""Before each request and reply: length of its JSON, length of the bytes that follow it."""
VIEWS = ("clean", "grey", "square", "jpeg")
"""The bytes of a reply, in this order; `lengths` in its JSON tells them apart. An empty `clean`: as it was sent."""

_MEGABYTE = 1024**2
_SPARE_MEMORY = 64 * _MEGABYTE  # request and reply, and what earlier photos left between the blocks
_FILES = 16
_TOO_MUCH_MEMORY = (
    "이 사진을 여는 데 메모리가 너무 많이 들어요. 더 작은 사진을 올려 주세요.",
    "This photo takes too much memory to open. Upload a smaller one.",
)
_DIE_FIRST = "600"  # before the worker, when a container is out of memory


def answer(asked: dict[str, Any], data: bytes, memory: int) -> tuple[dict[str, Any], list[bytes]]:
    """(JSON, bytes) of the reply to one request."""
    from eco2.photos.reading import open_photo

    jpeg = asked.pop("jpeg", None)
    try:
        opened = open_photo(data, Wanted(**asked, jpeg=Jpeg(*jpeg) if jpeg else None), memory)
    except AppError as error:
        return {"error": error.code, "message": error.message, "english": error.english}, []
    except MemoryError:
        korean, english = _TOO_MUCH_MEMORY
        return {"error": PhotoTooLarge.code, "message": korean, "english": english}, []
    except Exception as error:  # noqa: BLE001 - a reader that fails in an unknown way fails for its photo only
        return {"error": "", "message": repr(error)[:500]}, []
    return _reply(opened, data)


def _reply(opened: Opened, data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    info = opened.info
    found = [b"" if opened.clean is data else opened.clean, opened.grey, opened.square, opened.jpeg]
    told = [info.content_type, info.width, info.height] if info else None
    return {"info": told, "lengths": [len(one) for one in found]}, found


def serve(wire: socket.socket, seconds: float, memory: int) -> None:
    """Answer until the other side is gone."""
    while head := _receive(wire, HEAD.size):
        told, length = HEAD.unpack(head)
        asked, data = json.loads(_receive(wire, told)), bytes(_receive(wire, length))
        signal.setitimer(signal.ITIMER_PROF, seconds)  # what it sends by default ends the process, whatever it does
        meta, blobs = answer(asked, data, memory)
        signal.setitimer(signal.ITIMER_PROF, 0)
        told_back = json.dumps(meta).encode()
        wire.sendall(b"".join([HEAD.pack(len(told_back), sum(map(len, blobs))), told_back, *blobs]))


def _receive(wire: socket.socket, length: int) -> bytearray:
    """Empty when the other side has closed the connection; it does so between requests only, or is dead."""
    received = bytearray(length)
    view, there = memoryview(received), 0
    while there < length:
        count = wire.recv_into(view[there:])
        if not count:
            return bytearray()
        there += count
    return received


def _confine(memory: int) -> None:
    """Limits that a process cannot lift again."""
    with open("/proc/self/statm") as statm:
        there = int(statm.read().split()[0]) * resource.getpagesize()
    limits = {
        resource.RLIMIT_AS: there + memory + _SPARE_MEMORY,
        resource.RLIMIT_NOFILE: _FILES,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


def _die_first() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write(_DIE_FIRST)
    except OSError:
        pass


def main() -> None:
    import eco2.photos.reading  # noqa: F401 - once, for every decoder

    seconds, memory = float(sys.argv[1]), int(sys.argv[2]) * _MEGABYTE
    control = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # decoders that have ended need not be waited for
    _die_first()
    gc.collect()
    gc.freeze()
    while True:
        asked, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not asked:
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            _confine(memory)
            serve(socket.socket(fileno=descriptors[0]), seconds, memory)
            os._exit(0)
        os.close(descriptors[0])
        control.send(str(pid).encode())


if __name__ == "__main__":
    main()
