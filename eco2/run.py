"""`python -m eco2.run NAME`: one process in the foreground. It imports nothing that the process itself does not need.

The command line with its help (`eco2 run NAME`) costs some MB more; supervisor and image start processes here.
"""

import contextlib
import sys
from collections.abc import Iterator
from importlib import import_module

from eco2.processes import SERVICES

TARGETS = {row.name: row.target for row in SERVICES if row.target}


def run(name: str) -> None:
    """Returns after SIGTERM; SystemExit with the reason where the process cannot run."""
    if name not in TARGETS:
        raise SystemExit(f"No process {name!r}. Known: {', '.join(TARGETS)}.")
    module, _, function = TARGETS[name].partition(":")
    try:
        with advice(f"eco2 local env --process {name}"):
            getattr(import_module(module), function)()
    except Exception as error:
        knowledge = sys.modules.get("eco2.knowledge")
        if knowledge is None or not isinstance(error, knowledge.KnowledgeError):
            raise
        raise SystemExit(f"{error}\n`eco2 doctor` checks the data.") from None


@contextlib.contextmanager
def advice(environment: str) -> Iterator[None]:
    """Says where the settings of a process come from on this machine when some are missing."""
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.code, str):
            raise
        hint = f'With the local stack, run first: eval "$({environment})"'
        raise SystemExit(f"{error.code}\n{hint}") from None


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(f"Name one process of: {', '.join(TARGETS)}.")
    run(sys.argv[1])


if __name__ == "__main__":
    main()
