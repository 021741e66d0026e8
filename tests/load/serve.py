"""`python -m tests.load.serve [embedded]`: the stack under load, in a process of its own, until stdin ends.

The driver holds the other end of stdin, so the stack never outlives it, however it ends.
"""

import asyncio
import os
import shutil
import sys
from pathlib import Path

from eco2.local import config, state
from eco2.local.emulators import llm as llm_emulator
from eco2.local.stack import Stack

HOME = config.CHECKOUT / ".eco2" / "bench"
PORT_BASE = 11500
GATEWAY_PORT = 11580
SETTINGS = {"ECO2_LLM_DAILY_BUDGET_USD": "1000"}
"""What differs from the defaults: a run costs more than the budget of a day, by the prices of the default model."""


def fresh_home() -> Path:
    """Empty but for the vision model, which is the same every time; what an interrupted run left is ended first."""
    home = config.prepare_home(HOME)
    left = state.load(home)
    if left is not None:
        state.end_orphans(left)
    for path in home.iterdir():
        if path.name == "models":
            continue
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return home


async def main(emulated: bool) -> None:
    home = fresh_home()
    layout = config.layout(home, port_base=PORT_BASE, gateway_port=GATEWAY_PORT)
    extra = [llm_emulator.unit(layout)] if emulated else []
    llm = {"ECO2_LLM_API_KEY": "emulated", "ECO2_LLM_BASE_URL": llm_emulator.base_url(layout)}
    os.environ.update(SETTINGS | (llm if emulated else {}))
    async with Stack(home, port_base=PORT_BASE, gateway_port=GATEWAY_PORT, extra=extra):
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] != ["embedded"]))
