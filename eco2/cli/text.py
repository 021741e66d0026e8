"""Text that comes from the command line and from file names, which may be in another encoding than UTF-8."""

import os
import sys
from pathlib import Path

ENCODINGS = ("utf-8", "cp949")
"""Encodings of Korean file names and terminals; the second is that of older archives and of Windows."""


def readable(text: str | Path) -> str:
    """The same in letters that can be shown and sent, whatever the bytes behind it are."""
    raw = os.fsencode(text)
    for encoding in ENCODINGS:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode(errors="replace")


def argument(text: str) -> str:
    """An argument as it is meant: the name of a file that is there keeps its bytes."""
    return text if text.isascii() or os.path.exists(text) else readable(text)


def prepare() -> None:
    """Arguments become readable text, and what a terminal cannot show (an emoji, a Korean letter) ends nothing."""
    sys.argv[1:] = map(argument, sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
