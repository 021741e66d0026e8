"""The start of a process may not cost more than the process: each runs many times."""

import subprocess
import sys

import pytest

HEAVY = ("typer", "rich", "yaml", "eco2.cli", "eco2.knowledge")


@pytest.mark.parametrize("name", ["event-router", "sse-gateway", "ext-authz"])
def test_a_process_imports_neither_the_command_line_nor_the_knowledge(name: str) -> None:
    code = (
        "import sys, importlib\n"
        "from eco2.run import TARGETS\n"
        f"importlib.import_module(TARGETS[{name!r}].partition(':')[0])\n"
        f"print(*[one for one in {HEAVY!r} if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("arguments", "told"), [((), "Name one process of"), (("nothing",), "No process 'nothing'. Known: auth-api")]
)
def test_a_wrong_name_is_told_what_there_is(arguments: tuple[str, ...], told: str) -> None:
    done = subprocess.run([sys.executable, "-m", "eco2.run", *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, told in done.stderr) == (1, True)


@pytest.mark.parametrize(
    "name", ["scan-worker", "scan-sweeper", "character-worker", "ai-worker", "batch-worker", "scheduler"]
)
def test_a_worker_imports_no_web_framework_and_no_command_line(name: str) -> None:
    code = (
        "import sys, importlib\n"
        "from eco2.run import TARGETS\n"
        f"importlib.import_module(TARGETS[{name!r}].partition(':')[0])\n"
        "print({'fastapi', 'typer', 'rich'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
