"""Run the last release's code on the schema of this checkout: `make test-last-release`.

While a release rolls out, and after it is rolled back, the code before runs on the new schema. Its own tests of stores,
and its own scans, show that it can. They run in a copy of that revision in which one thing is changed: this checkout
does the migrating."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
COPY = CHECKOUT / "build" / "last-release"
WITHOUT_TAG = "cc69f4a"
"""The last release while no tag `v…` precedes this checkout; to be removed with the first tag."""
PORT_BASE = 14000
TESTS = (
    *("tests/integration/test_chats.py", "tests/integration/test_chat_turns.py", "tests/integration/test_my.py"),
    *("tests/integration/test_users.py", "tests/integration/test_history.py", "tests/integration/test_feedback.py"),
    *("tests/integration/test_points.py", "tests/integration/test_character.py", "tests/integration/test_images.py"),
    *("tests/integration/test_deletion.py", "tests/integration/test_outbox.py", "tests/integration/locations"),
    *(
        "tests/integration/test_scan_service.py",
        "tests/integration/test_lost_jobs.py",
        "tests/integration/test_news.py",
    ),
    *("tests/integration/jobs", "tests/e2e/test_scan.py", "tests/e2e/test_waste.py"),
)
"""Those that a revision does not have yet are left out."""
MOVED = ("tests/integration/test_locations.py",)
"""Earlier places of some of TESTS, for releases that have them there."""
MIGRATED_BY_THE_CHECKOUT = '''

def upgrade(database_url: str, revision: str = "head") -> None:
    """By the checkout that is tested."""
    import os
    import subprocess

    environment = {**os.environ, "PYTHONPATH": CHECKOUT, "ECO2_DATABASE_URL": database_url}
    subprocess.run([PYTHON, "-m", "eco2", "migrate"], cwd=CHECKOUT, env=environment, check=True)
'''


def git(*arguments: str, checkout: Path = CHECKOUT) -> str:
    done = subprocess.run(["git", *arguments], cwd=checkout, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"last release: git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def last_release(checkout: Path = CHECKOUT) -> str:
    """The newest tag of a version before this commit, or WITHOUT_TAG."""
    tags = git("tag", "--list", "v*", "--merged", "HEAD", "--sort=-version:refname", checkout=checkout).splitlines()
    here = git("tag", "--list", "v*", "--points-at", "HEAD", checkout=checkout).splitlines()
    return next((tag for tag in tags if tag not in here), WITHOUT_TAG)


def unpack(revision: str) -> None:
    """The files of `revision`, as they were, in COPY."""
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    archive = subprocess.Popen(["git", "archive", revision], cwd=CHECKOUT, stdout=subprocess.PIPE)
    unpacked = subprocess.run(["tar", "--extract", "--directory", COPY], stdin=archive.stdout)
    if archive.wait() or unpacked.returncode:
        sys.exit(f"last release: {revision} cannot be had from the repository; a shallow clone has no history")


def copy(revision: str) -> None:
    """The same, but that this checkout does the migrating."""
    unpack(revision)
    text = MIGRATED_BY_THE_CHECKOUT.replace("CHECKOUT", repr(str(CHECKOUT))).replace("PYTHON,", f"{sys.executable!r},")
    with (COPY / "eco2/core/migrations.py").open("a") as file:
        file.write(text)


def main() -> None:
    parser = argparse.ArgumentParser("python -m tools.last_release", description=__doc__)
    parser.add_argument("--revision", default=last_release(), help="default: %(default)s")
    parser.add_argument("tests", nargs="*", help="tests of that revision; default: those of stores, and scans")
    arguments = parser.parse_args()
    print(f"last release: {arguments.revision}, on the schema of this checkout", flush=True)
    copy(arguments.revision)
    tests = [name for name in arguments.tests or (*TESTS, *MOVED) if (COPY / name.partition("::")[0]).exists()]
    environment = {**os.environ, "PYTHONPATH": str(COPY), "ECO2_TEST_PORT_BASE": str(PORT_BASE)}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", *tests]
    sys.exit(subprocess.run(command, cwd=COPY, env=environment).returncode)


if __name__ == "__main__":
    main()
