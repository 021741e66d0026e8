"""`python -m tests.drills NAME …` (make drill): rehearsals of what an operator does on the worst days.

Each runs on a stack of its own, by the commands that its page tells, prints them, and fails where one of them fails or
people notice what they must not. Exit code 0: all of them passed; 1: one failed.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from eco2.local.config import LocalError
from tests.drills import first_scan, keys, restore, upgrade
from tests.drills.machine import DrillFailed, out

DRILLS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    "keys": keys.rotate,
    "restore": restore.restore,
    "upgrade": upgrade.upgrade,
    "first-scan": first_scan.first_scan,
}
DESCRIPTIONS = {
    "keys": "a stolen signing key is replaced while people are signed in (7 minutes)",
    "restore": "a machine is lost, and everything comes back on an empty one (3 minutes)",
    "upgrade": "from the last release to this checkout under load (4 minutes)",
    "first-scan": "a fresh machine, by the README, to the first scan; needs the network (5 minutes)",
}


def rehearse(name: str) -> bool:
    out.print(f"[bold]drill {name}[/bold]: {DESCRIPTIONS[name]}", highlight=False)
    start = time.monotonic()
    try:
        asyncio.run(DRILLS[name]())
    except (DrillFailed, LocalError) as error:
        out.print(f"drill {name} failed: {error}", style="red", markup=False)
        return False
    out.print(f"drill {name} passed in {time.monotonic() - start:.0f} s", style="green", highlight=False)
    return True


def main() -> int:
    listed = "\n".join(f"  {name:<12} {text}" for name, text in DESCRIPTIONS.items())
    parser = argparse.ArgumentParser(
        "python -m tests.drills",
        description=f"{__doc__}\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="+", choices=DRILLS, metavar="NAME", help="one or several of these")
    failed = [name for name in parser.parse_args().names if not rehearse(name)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
