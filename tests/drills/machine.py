"""An empty folder as a machine: a stack of its own on ports of its own, run by the commands that an operator types."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from eco2.local import config, state
from eco2.local.config import CHECKOUT, Layout
from tests.load.target import Target

PORT_BASE = 11700
GATEWAY_PORT = PORT_BASE + 80
COMMAND_SECONDS = 300.0
SHOWN = 3000
ELSEWHERE = ("ECO2_", "MAKE", "MFLAGS", "VIRTUAL_ENV")
"""Variables that tell of the stack, the make or the .venv that this was started from."""

out = Console(stderr=True)


class DrillFailed(Exception):
    """A step did not end as the page that describes it says."""


def require(holds: object, otherwise: str) -> None:
    if not holds:
        raise DrillFailed(otherwise)


def step(text: str) -> None:
    out.print(f"• {text}", highlight=False, markup=False)


@dataclass
class Machine:
    """`code`: the checkout whose `eco2` runs here; `settings` go on top of the environment."""

    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    code: Path = CHECKOUT

    @property
    def layout(self) -> Layout:
        return config.layout(self.home, port_base=PORT_BASE, gateway_port=GATEWAY_PORT)

    @property
    def target(self) -> Target:
        return Target(self.layout, self.layout.public_url, own=False)

    @property
    def environment(self) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if not name.startswith(ELSEWHERE)}
        return {
            **mine,
            "PATH": f"{Path(sys.executable).parent}:{mine['PATH']}",
            "PYTHONPATH": str(self.code),
            "ECO2_HOME": str(self.home),
            "ECO2_PORT_BASE": str(PORT_BASE),
            "ECO2_GATEWAY_PORT": str(GATEWAY_PORT),
            **self.settings,
        }

    async def run(self, script: str, seconds: float = COMMAND_SECONDS) -> str:
        """Output of a shell script. DrillFailed with its end where a command of it fails, or takes too long."""
        told = " ⏎ ".join(line for line in script.strip().splitlines() if line)
        out.print(f"  $ {told}", highlight=False, markup=False, soft_wrap=True)
        start = time.monotonic()
        child = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script),
            cwd=self.code,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(seconds):
                output = (await child.communicate())[0].decode(errors="replace")
        except TimeoutError:
            child.kill()
            raise DrillFailed(f"not over after {seconds:.0f} s: {told}") from None
        out.print(f"    {time.monotonic() - start:.1f} s", highlight=False)
        require(child.returncode == 0, f"exit code {child.returncode}: {told}\n{output[-SHOWN:]}")
        return output

    async def eco2(self, arguments: str) -> str:
        """A command of an operator, who has the settings of the stack in the shell."""
        return await self.run(f'eval "$(eco2 local env)"\neco2 {arguments}')

    def lose(self) -> None:
        """All that is on the machine. It is down."""
        shutil.rmtree(self.home.resolve(), ignore_errors=True)
        self.home.unlink(missing_ok=True)


@asynccontextmanager
async def machine(name: str, **settings: str) -> AsyncIterator[Machine]:
    """Empty at first; down and gone afterwards. What an interrupted drill left is ended before."""
    one = Machine(config.CHECKOUT / ".eco2" / "drills" / name, settings)
    left = state.load(one.home)
    if left is not None:
        state.end_orphans(left)
    one.lose()
    one.home.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield one
    finally:
        last = state.load(one.home)
        if last is not None and last.alive:
            await one.run("eco2 down")
        one.lose()
