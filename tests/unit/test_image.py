"""Targets of the image: each has what its processes import, and the Dockerfile builds what is named."""

import asyncio
import os
import re
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import get_args

import pytest

from eco2.processes import SERVICES, Image, Process
from eco2.release.services import closure
from eco2.workers.batch_run import TARGETS
from tools.image import start

CHECKOUT = Path(__file__).parents[2]
TOKENIZER = "python-mecab-ko"
"""Imported where a sentence is read. Every process that knows items can reach that code; these two read sentences."""
READS_SENTENCES = ("recycling-api", "chat-worker")
MODEL_BUILDER = "onnx"
"""Imported where the embedded model is built: a stage of the Dockerfile does, and the worker finds what came of it."""


def _distributions(modules: set[str]) -> set[str]:
    known = packages_distributions()
    return {re.sub(r"[-_.]+", "-", name).lower() for module in modules for name in known.get(module, ())}


def _installed(target: str) -> set[str]:
    text = (CHECKOUT / "requirements" / f"{target}.txt").read_text()
    return set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))


@pytest.mark.parametrize("row", SERVICES, ids=lambda row: row.name)
def test_a_process_finds_what_it_imports_in_its_target(row: Process) -> None:
    batch = [*(target.partition(":")[0] for target in TARGETS.values()), "eco2.core.migrations"]
    tasks = batch if row.name == "batch-worker" else []
    needed = _distributions(closure([str(row.target).partition(":")[0], "eco2.core.schema", *tasks])[1])
    missing = needed - _installed(row.image)
    # grpcio's namespace and the OpenTelemetry packages share top names with packages of the tests.
    missing = {name for name in missing if name in _installed("app")}
    if row.name not in READS_SENTENCES:
        missing.discard(TOKENIZER)
    assert MODEL_BUILDER in _installed("model")
    missing.discard(MODEL_BUILDER)
    assert not missing, f"{row.name} imports {sorted(missing)}: not in requirements/{row.image}.txt"


def test_the_dockerfile_has_a_stage_for_every_target() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE))
    assert set(get_args(Image)) <= stages


# buildah as far as signals go: a part of it becomes the user of the image and has the process as a child, which gets no
# signal from it, and whose exit code it takes over.
_MIDDLE = """
import subprocess, sys
sys.exit(subprocess.run(["/usr/bin/python3", "-c", sys.argv[1]]).returncode)
"""
_OUTER = """
import subprocess, sys
command = ["buildah-chroot-exec", "-c", sys.argv[1], sys.argv[2]]
user = {"user": 10001, "group": 10001, "extra_groups": []}
sys.exit(subprocess.run(command, executable=sys.executable, cwd="/", **user).returncode)
"""
_INNER = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit({code}))
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a process of another user needs root")
@pytest.mark.parametrize(("code", "told"), [(0, ""), (3, "scan-api ended with 3 at SIGTERM: build/logs/scan-api.log")])
async def test_the_process_in_an_image_is_told_to_end_not_the_one_around_it(
    code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "LOGS", tmp_path)
    row = next(row for row in SERVICES if row.name == "scan-api")
    outer = await asyncio.create_subprocess_exec(
        *("/usr/bin/python3", "-c", _OUTER, _MIDDLE, _INNER.format(code=code)),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert outer.stdout
    assert await outer.stdout.readline() == b"ready\n"
    assert await start._end(row, outer) == told


async def test_a_process_that_ended_by_itself_is_said() -> None:
    row = next(row for row in SERVICES if row.name == "scan-api")
    outer = await asyncio.create_subprocess_exec("false", start_new_session=True)
    await outer.wait()
    assert await start._end(row, outer) == "scan-api had ended with 1 before it was told to: build/logs/scan-api.log"


@pytest.mark.parametrize(
    ("lines", "orderly"),
    [
        (
            ("Shutting down", "Finished server process [1]", "subprocess exited with status 1", "Error: exit status 1"),
            True,
        ),
        (("Shutting down", "Error: exit status 1"), False),
        (("Finished server process [1]", "Traceback", "Error: exit status 1"), False),
        ((), False),
    ],
)
def test_a_server_may_end_by_the_signal_once_it_has_shut_down(
    tmp_path: Path, lines: tuple[str, ...], orderly: bool
) -> None:
    (log := tmp_path / "api.log").write_text("\n".join(lines))
    assert start._gave_back(log) is orderly
