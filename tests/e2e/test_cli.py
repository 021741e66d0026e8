"""The commands of a citizen and an operator, against the running stack."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from eco2.local.stack import Stack
from eco2.processes import PROCESSES
from tests import photos

DEMO = Path(__file__).parents[2] / "data/demo/coffee.jpg"


@pytest.fixture
def eco2(stack: Stack) -> Any:
    layout = stack.layout
    own = {
        "ECO2_HOME": str(layout.home),
        "ECO2_PORT_BASE": str(layout.port_base),
        "ECO2_GATEWAY_PORT": str(layout.gateway_port),
    }

    async def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "eco2.cli", *arguments),
            env={**os.environ, **own, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, out.decode(), err.decode()

    return run


async def test_scan_prints_the_guide_and_its_progress(eco2: Any) -> None:
    code, out, err = await eco2("scan", str(DEMO))
    assert code == 0, err
    assert "불연성 전용마대" in out
    assert "1. " in out
    assert err.splitlines()[-1].startswith("100%")


async def test_scan_as_json_is_the_result_of_the_api(eco2: Any) -> None:
    code, out, err = await eco2("scan", str(DEMO), "--json")
    body = json.loads(out)
    assert (code, err) == (0, "")
    assert (body["status"], body["needs_choice"]) == ("completed", False)


async def test_scan_of_something_unclear_asks_and_says_how(eco2: Any, tmp_path: Path) -> None:
    photo = tmp_path / "blur.jpg"
    photo.write_bytes(photos.jpeg(320, 240))
    code, out, _ = await eco2("scan", str(photo), "--user", "somebody")
    assert code == 0
    assert "미확인" in out


async def test_scan_with_words_shows_the_reward(eco2: Any, tmp_path: Path) -> None:
    photo = tmp_path / "carton.jpg"
    photo.write_bytes(photos.jpeg(320, 240))
    code, out, _ = await eco2("scan", str(photo), "--say", "우유팩")
    assert code == 0
    assert "팩토리" in out


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: None, "Cannot read"),
        (lambda path: path.write_bytes(b"text"), "photo"),
        (lambda path: path.write_bytes(bytes(16 * 1024 * 1024)), "at most"),
    ],
    ids=["missing", "no-photo", "too-large"],
)
async def test_a_scan_that_cannot_work_says_why_in_one_sentence(
    eco2: Any, tmp_path: Path, make: Any, words: str
) -> None:
    photo = tmp_path / "file.jpg"
    make(photo)
    code, out, err = await eco2("scan", str(photo))
    assert code == 1
    assert words in out + err
    assert "Traceback" not in err


async def test_scan_without_a_platform_says_what_to_do(eco2: Any) -> None:
    code, _, err = await eco2("scan", str(DEMO), "--url", "http://127.0.0.1:11999")
    assert code == 1
    assert "eco2 up" in err


async def test_status_lists_every_process(eco2: Any) -> None:
    code, out, _ = await eco2("status", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert {row.name for row in PROCESSES} <= set(rows)
    assert all(row["ready"] and row["pid"] for row in rows.values())
    assert {"name", "kind", "pid", "port", "ready"} <= set(rows["gateway"])


async def test_an_unknown_process_names_the_known(eco2: Any) -> None:
    code, _, err = await eco2("run", "nothing")
    assert code == 1
    assert "scan-api" in err


async def test_a_process_without_its_settings_names_them(eco2: Any) -> None:
    code, _, err = await eco2("run", "scan-api")
    assert code == 1
    assert "ECO2_DATABASE_URL" in err
