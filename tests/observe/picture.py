"""Draws `eco2 top` of a stack under load: `python -m tests.observe.picture docs/pictures/top.svg`."""

import asyncio
import sys

from tests.conftest import PAID_MODEL
from tests.observe.live import Live, running

SECONDS = 40


async def _busy(live: Live, path: str) -> None:
    async with live.load(model=PAID_MODEL), live.load(), live.load():
        for word in ("우유팩 어떻게 버려?", "건전지는?"):
            await live.eco2("chat", word, "--user", "somebody")
        await asyncio.sleep(SECONDS)
        await live.eco2("top", "--svg", path)


async def _main(path: str) -> None:
    async with running() as live:
        await _busy(live, path)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
