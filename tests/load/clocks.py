"""Clocks of single processes, by Debian's libfaketime: the machine's own is never touched."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from eco2.local.config import LocalError
from eco2.local.supervisor import Unit

SWITCH = "ECO2_LOAD_CLOCKS"
"""Environment variable with which a stack under load has clocks that can be set."""
LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
CLOCKED = (
    "auth-api",
    "ext-authz",
    "scan-api",
    "scan-worker",
    "scan-sweeper",
    "chat-worker",
    "event-router",
    "sse-gateway",
)
READ_EVERY = 1
"""Seconds after which a process looks at its file again."""


def file_of(home: Path, name: str) -> Path:
    return home / "clocks" / name


def set_clock(home: Path, name: str, seconds: float) -> None:
    """`seconds` that the process is ahead of the machine; a moment later it is."""
    draft = file_of(home, f".{name}")
    draft.write_text(f"{seconds:+g}\n")
    draft.rename(file_of(home, name))


def with_clocks(home: Path) -> Callable[[Unit], Unit]:
    """Change units so that CLOCKED ones follow their files. They are started by themselves, as a forked process has the
    libraries of its parent."""
    if not LIBRARY.exists():
        raise LocalError(f"{LIBRARY} is missing: apt-get install libfaketime")
    shutil.rmtree(home / "clocks", ignore_errors=True)
    (home / "clocks").mkdir()

    def changed(unit: Unit) -> Unit:
        if unit.name not in CLOCKED:
            return unit
        set_clock(home, unit.name, 0)
        faketime = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(file_of(home, unit.name)),
            "FAKETIME_CACHE_DURATION": str(READ_EVERY),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return replace(unit, forked=False, environment={**(unit.environment or {}), **faketime})

    return changed
