"""`eco2 up` and its questions, as a person runs them: what they refuse, what they leave behind."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eco2.knowledge import default_directory
from eco2.local import config, state

PORTS = 11750
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def home() -> Iterator[Path]:
    """Not there yet, where the users of the private servers can enter."""
    with tempfile.TemporaryDirectory(prefix="eco2-commands-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "home"


def begin(home: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    own = {"ECO2_HOME": str(home), "ECO2_PORT_BASE": str(PORTS), "ECO2_GATEWAY_PORT": str(PORTS + 20)}
    return subprocess.Popen(
        (sys.executable, "-m", "eco2", *arguments),
        env={**os.environ, **own, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def eco2(home: Path) -> Iterator[Run]:
    def run(*arguments: str, **environment: str) -> tuple[int, str]:
        process = begin(home, *arguments, **environment)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out

    yield run
    run("down")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("status", "stopped"),
        ("logs", "no logs"),
        ("down", "Nothing is running"),
        ("local token", "eco2 up"),
        ("local url", f"http://localhost:{PORTS + 20}"),
        ("doctor", "knowledge base"),
        ("scan data/demo/coffee.jpg", "eco2 up"),
        ("up --only nobody", "Unknown: nobody"),
    ],
)
def test_a_question_makes_nothing(eco2: Run, home: Path, command: str, words: str) -> None:
    _, out = eco2(*command.split())
    assert words in out
    assert "Traceback" not in out
    assert not home.exists()


def test_a_folder_of_other_things_is_no_home(eco2: Run, home: Path) -> None:
    home.mkdir()
    (home / "thesis.txt").write_text("mine")
    code, out = eco2("up", "--only", "redis-streams")
    assert code == 1
    assert "holds other things" in out
    assert [path.name for path in home.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("characters.yaml", "name: 페이피", "name: 종이피", "characters.yaml: 페이피: is missing"),
        ("characters.yaml", "characters:", "characters: [", "characters.yaml:"),
        ("vision/imagenet_items.csv", "abaya,clothes", "abaya,clothess", "unknown item clothess"),
        ("vision/imagenet_items.csv", "abaya,clothes,0.95", "abaya,clothes,much", "imagenet_items.csv:5: wrong row"),
    ],
    ids=["name", "yaml", "item", "share"],
)
def test_a_mistake_in_the_data_is_named_before_anything_starts(
    eco2: Run, home: Path, tmp_path: Path, file: str, old: str, new: str, words: str
) -> None:
    data = Path(shutil.copytree(default_directory(), tmp_path / "data"))
    text = (data / file).read_text()
    assert old in text
    (data / file).write_text(text.replace(old, new, 1))
    for command in ("up", "doctor"):
        code, out = eco2(command, ECO2_DATA_DIR=str(data))
        assert code == 1
        assert words in out
        assert "git diff data" in out
        assert "Traceback" not in out
    assert not home.exists()


def test_the_running_stack_decides_the_ports(eco2: Run, home: Path) -> None:
    assert (eco2("up", "--only", "auth-api"))[0] == 0
    elsewhere = {"ECO2_PORT_BASE": "12000", "ECO2_GATEWAY_PORT": "12020"}
    code, out = eco2("local", "env", "--process", "ext-authz", **elsewhere)
    assert code == 0
    assert f"export ECO2_GRPC_PORT={PORTS + 36}\n" in out
    assert f"export ECO2_PORT_BASE={PORTS}\n" in out
    assert (eco2("local", "token", **elsewhere))[0] == 0

    again, out = eco2("up", "--only", "auth-api")
    assert again == 0
    assert "Already running" in out
    more, out = eco2("up", "--only", "ext-authz")
    assert more == 1
    assert "without ext-authz" in out
    assert "auth-api (pid" not in (home / "logs" / "supervisor.log").read_text()
    eco2("down")
    assert "auth-api (pid" in (home / "logs" / "supervisor.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_is_broken_off_leaves_nothing_running(home: Path, number: signal.Signals) -> None:
    process = begin(home, "up", "--only", "rabbitmq")
    deadline = time.monotonic() + 30
    while not any(row.pid for row in written(home)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Stopping" in out
    last = state.load(home)
    assert last is not None
    assert not last.alive
    assert not any(row.pid for row in last.processes)


def written(home: Path) -> list[state.ProcessState]:
    last = state.load(home)
    return last.processes if last else []


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(OSError):
        config.write_private(tmp_path / "state.json", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
