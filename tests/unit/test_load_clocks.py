"""A process alone has another time than the machine, from a moment after it is told; its durations stay true."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from eco2.local import probes
from eco2.local.supervisor import Unit
from tests.load import clocks

TELL = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.monotonic(), flush=True)"
needs_library = pytest.mark.skipif(not clocks.LIBRARY.exists(), reason="apt-get install libfaketime")


def unit(name: str) -> Unit:
    return Unit(name, "api", 0, (sys.executable, "-c", TELL), probes.tcp("http://127.0.0.1:1"), forked=True)


@needs_library
async def test_a_clock_goes_wrong_and_comes_back_for_one_process(tmp_path: Path) -> None:
    changed = clocks.with_clocks(tmp_path)(unit("scan-worker"))
    assert not changed.forked, "a forked process has the libraries of its parent"
    environment = {**os.environ, **(changed.environment or {})}
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*changed.command, stdin=pipe, stdout=pipe, env=environment)
    assert child.stdin is not None, "piped"
    assert child.stdout is not None, "piped"

    async def ahead() -> tuple[float, float]:
        """Seconds by which its time, and its monotonic clock, are ahead of ours."""
        assert child.stdin is not None, "piped"
        assert child.stdout is not None, "piped"
        child.stdin.write(b"\n")
        told, monotonic = map(float, (await child.stdout.readline()).split())
        return told - time.time(), monotonic - time.monotonic()

    async def follows(seconds: float) -> None:
        async with asyncio.timeout(20):
            while abs((await ahead())[0] - seconds) > 5:
                await asyncio.sleep(0.05)

    try:
        await follows(0)
        for seconds in (20, -20, 0):
            clocks.set_clock(tmp_path, "scan-worker", seconds)
            await follows(seconds)
            assert abs((await ahead())[1]) < 5
    finally:
        child.stdin.close()
        await child.wait()


@needs_library
def test_other_processes_are_left_alone(tmp_path: Path) -> None:
    web = unit("web")
    assert clocks.with_clocks(tmp_path)(web) is web
