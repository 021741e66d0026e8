"""A small load run on a stack of its own: journeys work, every line has a verdict, and none is missed."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from eco2.local.config import CHECKOUT
from tests.load.journeys.plan import every_line

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

RESULTS = re.compile(r'<script type="application/json" id="results">(.*?)</script>', re.DOTALL)
COMMAND = (sys.executable, "-m", "tests.load.journeys", "--place", "second", "--seed", "1")
USERS = 20


async def test_twenty_users_for_twenty_seconds_keep_every_line(tmp_path: Path) -> None:
    report = tmp_path / "load.html"
    options = ("--users", str(USERS), "--seconds", "20", "--with", "repeated", "--report", str(report))
    child = await asyncio.create_subprocess_exec(*COMMAND, *options, cwd=CHECKOUT)
    code = await child.wait()
    found = RESULTS.search(report.read_text())
    assert found is not None, "the report has its results for programs"
    lines = {one["name"]: one for one in json.loads(found[1])["lines"]}
    assert list(lines) == [line.name for line in every_line((USERS,))]
    assert [one for one in lines.values() if one["state"] == "missed"] == []
    assert code in (0, 2), "2: this machine was too busy for a line"
    harmless = [
        lines[f"{USERS} users: {what}"]
        for what in ("accepted jobs lost or failed", "acts of all kinds that were answered")
    ]
    assert [one["state"] for one in harmless] == ["kept", "kept"], harmless
