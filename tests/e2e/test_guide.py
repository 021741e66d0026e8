"""The programs of the app developers' guide, with clients generated from the served document: sign in, upload, scan,
follow with resume, delete. They run as they stand there; the test is the person at the browser."""

import asyncio
import os
import re
import shutil
import sys
import uuid
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import httpx2
import pytest

from eco2.local.stack import Stack
from tests.browser import Browser

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guides/app-developer.md"
PHOTO = ROOT / "data/demo/coffee.jpg"
TYPESCRIPT = ROOT / "tests/typescript"
NODE = shutil.which("node")


def program(language: str) -> str:
    """Code blocks of the guide that are marked so, in order."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return "\n\n".join(blocks)


async def run(*command: str | Path, cwd: Path) -> None:
    bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the generator formats with ruff
    environment = {**os.environ, "PATH": bin_first}
    process = await asyncio.create_subprocess_exec(*command, cwd=cwd, env=environment, stdout=PIPE, stderr=STDOUT)
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    assert b"WARNING" not in out, out.decode()


async def printed(stack: Stack, *command: str | Path, cwd: Path) -> list[str]:
    """Lines of a program of the guide that asks for no address."""
    environment = {**os.environ, "ECO2_API": stack.layout.public_url, "ECO2_PHOTO": str(PHOTO)}
    process = await asyncio.create_subprocess_exec(*command, cwd=cwd, env=environment, stdout=PIPE, stderr=STDOUT)
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode().splitlines()


async def walk(stack: Stack, *command: str | Path, cwd: Path) -> list[str]:
    """Run a program of the guide, and open the address that it asks for; what it printed after that."""
    environment = {**os.environ, "ECO2_API": stack.layout.public_url, "ECO2_PHOTO": str(PHOTO)}
    process = await asyncio.create_subprocess_exec(*command, cwd=cwd, env=environment, stdout=PIPE, stderr=STDOUT)
    assert process.stdout is not None
    asked = (await process.stdout.readline()).decode()
    if asked.startswith("Open "):
        await open_in_browser(asked.removeprefix("Open ").strip())
    out, _ = await process.communicate()
    assert process.returncode == 0, asked + out.decode()
    return out.decode().splitlines()


async def open_in_browser(url: str) -> None:
    async with httpx2.AsyncClient(timeout=30) as client:
        browser = Browser(client)
        page = await browser.navigate(url)
        back = await browser.consent(page.headers["location"], name=f"새벽-{uuid.uuid4().hex[:12]}")
        end = await browser.navigate(back)
        assert "signed in" in (await client.get(end.headers["location"])).text


def journey_is_whole(lines: list[str]) -> None:
    events = [line.split() for line in lines if re.match(r"\d", line)]
    assert [int(event[0]) for event in events] == list(range(1, len(events) + 1))
    assert events[-1][1:4] == ["done", "completed", "100"]
    assert lines[-2].startswith("answered")
    assert lines[-1] == "deleted: RESULT_NOT_FOUND"


async def test_the_python_program(stack: Stack, tmp_path: Path) -> None:
    generator = Path(sys.executable).with_name("openapi-python-client")
    document = f"{stack.layout.public_url}/api/v1/openapi.json"
    await run(
        generator,
        "generate",
        "--url",
        document,
        "--meta",
        "none",
        "--output-path",
        tmp_path / "eco2_client",
        cwd=tmp_path,
    )
    (tmp_path / "journey.py").write_text(program("python"), encoding="utf-8")
    journey_is_whole(await walk(stack, sys.executable, "journey.py", cwd=tmp_path))


GUEST = ["role: guest", "outcome: answered", "points: 409 GUEST_NOT_ALLOWED"]


async def test_the_python_program_of_a_guest(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "guest.py").write_text(program("python guest"), encoding="utf-8")
    assert await printed(stack, sys.executable, "guest.py", cwd=tmp_path) == GUEST


@pytest.mark.skipif(NODE is None, reason="the TypeScript client needs Node 20 or newer")
@pytest.mark.skipif(
    not (TYPESCRIPT / "node_modules").is_dir(), reason="the TypeScript client needs `npm ci --prefix tests/typescript`"
)
async def test_the_typescript_programs(stack: Stack, tmp_path: Path) -> None:
    tools = TYPESCRIPT / "node_modules"
    (tmp_path / "node_modules").symlink_to(tools)
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(TYPESCRIPT / name, tmp_path)
    document = f"{stack.layout.public_url}/api/v1/openapi.json"
    await run(tools / ".bin/openapi-typescript", document, "--output", "schema.d.ts", cwd=tmp_path)
    (tmp_path / "journey.ts").write_text(program("ts"), encoding="utf-8")
    (tmp_path / "guest.ts").write_text(program("ts guest"), encoding="utf-8")
    await run(tools / ".bin/tsc", cwd=tmp_path)
    journey_is_whole(await walk(stack, str(NODE), "out/journey.js", cwd=tmp_path))
    assert await printed(stack, str(NODE), "out/guest.js", cwd=tmp_path) == GUEST
