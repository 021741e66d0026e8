"""`python -m tests.load.serve LLM PLACE`: a stack under load, in a process of its own, until stdin ends.

LLM is `emulated` or `embedded`, PLACE a name of `PLACES`.

The driver holds the other end of stdin, so the stack never outlives it, however it ends.
"""

import asyncio
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from eco2.local import config, state
from eco2.local.config import Layout
from eco2.local.emulators import llm as llm_emulator
from eco2.local.stack import Stack
from tests.load import clocks


@dataclass(frozen=True)
class Place:
    """Folder and ports of a stack under load."""

    home: Path
    port_base: int
    gateway_port: int

    @property
    def layout(self) -> Layout:
        return config.layout(self.home.resolve(), port_base=self.port_base, gateway_port=self.gateway_port)


PLACES = {
    "first": Place(config.CHECKOUT / ".eco2" / "bench", 11500, 11580),
    "second": Place(config.CHECKOUT / ".eco2" / "bench-2", 11600, 11680),
    "third": Place(config.CHECKOUT / ".eco2" / "bench-3", 12500, 12580),
}
GIVEN = ("ECO2_REDIS_STREAMS_URL",)
"""Servers of the driver's own, where the environment names them."""
SETTINGS = {"ECO2_LLM_DAILY_BUDGET_USD": "1000"}
"""Settings that differ from the defaults: by the prices of the default model a run costs more than a day's budget."""


def fresh_home(folder: Path) -> Path:
    """Empty but for the vision model, which is the same every time; what an interrupted run left is ended first."""
    home = config.prepare_home(folder)
    left = state.load(home)
    if left is not None:
        state.end_orphans(left)
    for path in home.iterdir():
        if path.name == "models":
            continue
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return home


async def main(llm_kind: str, place: Place) -> None:
    emulated = llm_kind == "emulated"
    home, layout = fresh_home(place.home), place.layout
    extra = [llm_emulator.unit(layout)] if emulated else []
    llm = {"ECO2_LLM_API_KEY": "emulated", "ECO2_LLM_BASE_URL": llm_emulator.base_url(layout)}
    os.environ.update(SETTINGS | (llm if emulated else {}))
    given = {name: os.environ[name] for name in GIVEN if name in os.environ}
    changed = clocks.with_clocks(layout.home) if clocks.SWITCH in os.environ else lambda unit: unit
    async with Stack(
        home, port_base=place.port_base, gateway_port=place.gateway_port, extra=extra, given=given, changed=changed
    ):
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], PLACES[sys.argv[2]]))
