"""scripts/bootstrap on a machine of stand-ins: how often it installs, and where it says so."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
READ = ("requirements/bootstrap.txt", "requirements/dev.txt", "pyproject.toml", "tests/typescript/package-lock.json")
PYTHON = """#!/bin/sh
case "$*" in
  -V) echo Python 3.11.2 ;;
  "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-m pip"*)
    printf '#!/bin/sh\\necho "$*" >>installed\\ncp "$0" .venv/bin/eco2\\n' >.venv/bin/uv
    chmod +x .venv/bin/uv ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("scripts/bootstrap", *READ):
        (copy := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, copy)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def tools(checkout: Path) -> tuple[str, int]:
    """(what it writes to its output, how often something was installed until now)"""
    done = subprocess.run(
        [checkout / "scripts/bootstrap", "--without-servers"],
        env={"PATH": os.environ["PATH"], "PYTHON": str(checkout / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, len((checkout / "installed").read_text().splitlines())


def test_what_a_workflow_reads_has_no_words_of_the_installation(checkout: Path) -> None:
    assert tools(checkout) == ("", 2)


def test_tools_are_installed_once_for_each_state_of_the_locks(checkout: Path) -> None:
    assert [tools(checkout)[1], tools(checkout)[1]] == [2, 2]
    with (checkout / "requirements/dev.txt").open("a") as lock:
        lock.write("# newer\n")
    assert [tools(checkout)[1], tools(checkout)[1]] == [4, 4]
