"""A small disk of its own, to be filled."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MB = 1024**2


def _mount(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(("mount", *arguments), capture_output=True, text=True, check=False)


@contextlib.contextmanager
def mounted(folder: Path, size: int) -> Iterator[Path]:
    """A file system in memory of `size` bytes at `folder`, which everybody can enter. Skips where nobody may mount."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    made = _mount("-t", "tmpfs", "-o", f"size={size},mode=0711", "tmpfs", str(folder))
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(("umount", "--lazy", str(folder)), check=True)


def resize(folder: Path, size: int) -> None:
    subprocess.run(("mount", "-o", f"remount,size={size}", str(folder)), check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Take what is left but for `leave` bytes; returns the file that holds it."""
    taken = folder / f"filling-{len(list(folder.glob('filling-*')))}"
    with taken.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while (left := _left(folder) - leave) > 0:
            file.write(b"x" * min(left, MB))
        if not leave:
            while file.write(b"x" * 512):
                pass
    return taken


def _left(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
