"""The scripts of provisioning: shellcheck, shfmt, and bats with stand-ins for all that they call."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra import plans

HERE = Path(__file__).parent
BATS, SHFMT = plans.TOOLS / "bin/bats", plans.TOOLS / "bin/shfmt"
SHELLCHECK = Path(sys.executable).parent / "shellcheck"
SCRIPTS = sorted((plans.CHECKOUT / "scripts").rglob("*.sh"))


@pytest.mark.parametrize("suite", sorted(HERE.glob("*.bats")), ids=lambda path: path.stem)
def test_bats(suite: Path) -> None:
    done = subprocess.run([str(BATS), "--formatter", "tap", str(suite)], capture_output=True, text=True, timeout=300)
    assert re.search(r"^1\.\.[1-9]", done.stdout, re.M), done.stdout + done.stderr
    assert done.returncode == 0, done.stdout


def test_every_script_is_clean_and_formatted() -> None:
    assert len(SCRIPTS) >= 6
    checked = subprocess.run([str(SHELLCHECK), "-x", *map(str, SCRIPTS)], capture_output=True, text=True, timeout=110)
    assert checked.returncode == 0, checked.stdout
    formatted = subprocess.run(
        [str(SHFMT), "-i", "2", "-ci", "-d", *map(str, SCRIPTS)], capture_output=True, text=True, timeout=110
    )
    assert formatted.returncode == 0, formatted.stdout


def test_every_script_stops_at_a_failure() -> None:
    for path in SCRIPTS:
        if path.parent.name != "lib" and "exec" not in path.read_text().splitlines()[-1]:
            assert "\nset -euo pipefail\n" in path.read_text(), path
