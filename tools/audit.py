"""`make audit`: what programs find in the code, in the checkout (secrets) and in whatever is locked (vulnerabilities).

Each audit is clean, or the exit code says so. One that could not look proves nothing, and is no success either: trivy
fetches the list of known vulnerabilities from the network, and without it the exit code is 2 in place of 1.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
TRIVY = BIN / "trivy"
LOCKS = (
    *("requirements", "tools/infra/requirements.txt", "tools/workflows/requirements.txt"),
    *("web/package-lock.json", "tests/typescript/package-lock.json"),
)
"""Folders and files that name exact versions."""
READ_AS = ("--file-patterns", r"pip:.*requirements.*\.txt", "--file-patterns", r"pip:[a-z]+\.txt")
OFFLINE = ("--quiet", "--skip-version-check", "--disable-telemetry", "--cache-dir", str(CHECKOUT / "build" / "trivy"))
PLANTED = 'github_token = "ghp_' + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8" + '"\n'
"""Made up, and put together so that it is found where it is planted and not here."""
UNREAD = (".venv", ".git", ".eco2", "build", "web/node_modules", "tests/typescript/node_modules")
"""Folders that are not in the repository."""
WORDS = {0: "clean", 1: "FOUND", 2: "NOT KNOWN, which proves nothing"}


class NotKnown(Exception):
    """The audit could not look."""


def code() -> list[str]:
    """Faults by bandit; what it leaves out, and why, stands in pyproject.toml and beside the lines."""
    command = ("--quiet", "--configfile", "pyproject.toml", "--recursive", "eco2", "tools", "--format", "json")
    done = subprocess.run([str(BIN / "bandit"), *command], cwd=CHECKOUT, capture_output=True, text=True)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise NotKnown(f"bandit says {done.stderr.strip()[-300:]}") from None
    if found["errors"]:
        raise NotKnown(f"bandit could not read {found['errors']}")
    return [f"{row['filename']}:{row['line_number']}: {row['test_id']} {row['issue_text']}" for row in found["results"]]


def secrets() -> list[str]:
    """Secrets in the checkout by the rules of trivy, which first have to find one that is planted for them."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "planted.py").write_text(PLANTED)
        if not list(secrets_in(Path(folder))):
            raise NotKnown("a secret that was planted was not found")
    return list(secrets_in(CHECKOUT))


def secrets_in(folder: Path) -> Iterator[str]:
    skipped = [word for name in UNREAD for word in ("--skip-dirs", str(folder / name))]
    found = _trivy(folder, "--scanners", "secret", "--offline-scan", "--format", "json", *skipped)
    for part in found.get("Results", ()):
        for row in part.get("Secrets", ()):
            yield f"{part['Target']}:{row['StartLine']}: {row['Title']}"


def packages(lock: str) -> set[str]:
    """`name==version` of all that trivy reads in a lock; needs no network."""
    found = _trivy(CHECKOUT / lock, "--format", "cyclonedx", "--offline-scan")
    rows = found.get("components", ())
    return {f"{row['name'].lower()}=={row['version']}" for row in rows if row.get("purl")}


def dependencies() -> list[str]:
    """Known vulnerabilities in whatever is locked."""
    return sorted({sentence for lock in LOCKS for sentence in vulnerabilities(lock)})


def vulnerabilities(lock: str) -> list[str]:
    """Of high and critical severity, with a version that mends them."""
    wanted = ("--scanners", "vuln", "--ignore-unfixed", "--severity", "HIGH,CRITICAL", "--format", "json")
    found = [row for part in _trivy(CHECKOUT / lock, *wanted).get("Results", ()) for row in _vulnerable(part)]
    return [
        f"{lock}: {row['PkgName']} {row['InstalledVersion']} has {row['VulnerabilityID']} ({row['Severity'].lower()}), "
        f"mended in {row['FixedVersion']}"
        for row in found
    ]


def _vulnerable(part: dict[str, Any]) -> list[dict[str, Any]]:
    return part.get("Vulnerabilities") or []


def _trivy(target: Path, *options: str) -> dict[str, Any]:
    """NotKnown."""
    command = [str(TRIVY), "fs", *OFFLINE, *READ_AS, "--include-dev-deps", *options, str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NotKnown(f"trivy could not read {target.name}: {done.stderr.strip()[-300:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


AUDITS: dict[str, Callable[[], list[str]]] = {"code": code, "secrets": secrets, "dependencies": dependencies}


def audit(name: str) -> tuple[int, list[str]]:
    """0 clean, 1 with what was found, 2 with why it is not known."""
    try:
        found = AUDITS[name]()
    except NotKnown as reason:
        return 2, [str(reason)]
    return (1 if found else 0), found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tools.audit", description=__doc__)
    parser.add_argument("audits", nargs="*", metavar="AUDIT", help=f"{', '.join(AUDITS)}; all without")
    names = parser.parse_args(arguments).audits or list(AUDITS)
    if unknown := set(names) - set(AUDITS):
        parser.error(f"there is no audit {', '.join(sorted(unknown))}")
    results = {name: audit(name) for name in names}
    for name, (status, said) in results.items():
        print("\n  ".join([f"audit of {name}: {WORDS[status]}", *said]))
    statuses = {status for status, _ in results.values()}
    return 1 if 1 in statuses else max(statuses)


if __name__ == "__main__":
    sys.exit(main())
