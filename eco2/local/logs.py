"""One bounded log file per process."""

import contextlib
import os
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

MAX_BYTES = 10 * 1024 * 1024


class LogFile:
    """`NAME.log`; the one before it is kept as `NAME.log.1`. It turns over at each start and at `MAX_BYTES`.

    What cannot be written, on a full disk for example, is left out; how much stands before the first line that fits
    again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._size = 0
        self._lost = 0
        with contextlib.suppress(OSError):
            self._open()

    def _open(self) -> None:
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._path.exists():
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._file = FileIO(self._path, "w")
        self._size = 0

    def write(self, data: bytes) -> None:
        note = f"[{self._lost} bytes could not be written here]\n".encode() if self._lost else b""
        written = self._write(note + data)
        self._lost = 0 if written == len(note + data) else self._lost + len(data)

    def _write(self, data: bytes) -> int:
        with contextlib.suppress(OSError):
            if self._file is None or self._size + len(data) > MAX_BYTES:
                self._open()
            written = self._file.write(data) if self._file else 0
            self._size += written
            return written
        return 0

    def close(self) -> None:
        with contextlib.suppress(OSError):
            if self._file:
                self._file.close()
        self._file = None


def bound(handle: int) -> None:
    """Empties the file behind `handle`, to which a process appends its own output, when it has become too long."""
    if os.fstat(handle).st_size > MAX_BYTES:
        os.ftruncate(handle, 0)


def last_lines(path: Path, count: int) -> list[str]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 400 * (count + 1)))
        return file.read().decode(errors="replace").splitlines()[-count:]


def follow(paths: dict[str, Path], interval: float = 0.2) -> Iterator[tuple[str, str]]:
    """(name, line) for every line written from now on; survives the turning over of a file. Never ends."""
    places = {name: _end(path) for name, path in paths.items()}
    while True:
        for name, path in paths.items():
            lines, places[name] = _new_lines(path, places[name])
            yield from ((name, line) for line in lines)
        time.sleep(interval)


def _end(path: Path) -> tuple[int, int]:
    if not path.exists():
        return (0, 0)
    status = path.stat()
    return (status.st_ino, status.st_size)


def _new_lines(path: Path, place: tuple[int, int]) -> tuple[list[str], tuple[int, int]]:
    if not path.exists():
        return [], place
    with path.open("rb") as file:
        inode = path.stat().st_ino
        start = place[1] if inode == place[0] else 0
        file.seek(start)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return whole.decode(errors="replace").splitlines(), (inode, start + len(whole))
