"""A fresh machine, by the README: its commands in a clone in an empty folder, up to the first scan.

It needs the network, as a fresh machine does: everything is installed anew."""

import re
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from eco2.local.config import CHECKOUT
from tests.drills.machine import Machine, machine, require, step

COMMANDS = re.compile(r"^    (make demo)\b", re.M)
INSTALL_SECONDS = 1800.0
ANSWER = "종량제"


async def first_scan() -> None:
    commands = COMMANDS.findall((CHECKOUT / "README.md").read_text())
    require(commands, "README.md names no command for the first scan")
    with TemporaryDirectory(prefix="eco2-fresh-") as folder:
        async with machine("fresh") as at:
            step("a clone in an empty folder")
            await at.run(f"git clone --quiet --no-local {CHECKOUT} {folder}/eco2")
            fresh = Machine(at.home, {"PATH": _without_ours(at)}, Path(folder) / "eco2")
            step("the commands of README.md")
            start = time.monotonic()
            output = "".join([await fresh.run(command, INSTALL_SECONDS) for command in commands])
            require(ANSWER in output, f"there is no guide in what they print: {output[-500:]}")
            step(f"from the clone to the first guide in {time.monotonic() - start:.0f} s")


def _without_ours(at: Machine) -> str:
    """PATH without the programs of this checkout's own `.venv`."""
    return ":".join(part for part in at.environment["PATH"].split(":") if not part.startswith(sys.prefix))
