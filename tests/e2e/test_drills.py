"""The drills of operators pass; the one of a fresh machine needs the network and is `make drill ARGS=first-scan`."""

import asyncio
import sys

import pytest

from eco2.local.config import CHECKOUT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("name", ["keys", "restore", "upgrade"])
async def test_a_drill_passes(name: str) -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.drills", name, cwd=CHECKOUT)
    assert await child.wait() == 0
