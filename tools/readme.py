"""Put what commands print into README.md: each block below a line `<!-- output of: COMMAND -->` is that of the command.

`python -m tools.readme`, with the local stack running.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
_BLOCK = re.compile(r"(<!-- output of: (?P<command>[^\n]+) -->\n```text\n).*?(```)", re.DOTALL)
_JOB = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def filled(text: str) -> str:
    """The text with each block as its command prints it today; job ids differ each time and are cut."""
    return _BLOCK.sub(lambda found: found[1] + _output(found["command"]) + found[3], text)


def _output(command: str) -> str:
    program, *rest = shlex.split(command)
    beside = Path(sys.executable).with_name(program)
    ran = subprocess.run(
        [beside, *rest], capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "110"}
    )
    return f"$ {command}\n" + "\n".join(line.rstrip() for line in _JOB.sub("…", ran.stdout).splitlines()) + "\n"


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
