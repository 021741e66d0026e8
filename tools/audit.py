"""Known vulnerabilities in whatever is locked: `make audit`. trivy fetches their list from the network."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[1]
TRIVY = Path(sys.executable).parent / "trivy"
LOCKS = (
    *("requirements", "tools/infra/requirements.txt", "tools/workflows/requirements.txt"),
    *("web/package-lock.json", "tests/typescript/package-lock.json"),
)
"""Folders and files that name exact versions."""
READ_AS = ("--file-patterns", r"pip:.*requirements.*\.txt", "--file-patterns", r"pip:[a-z]+\.txt")
OFFLINE = ("--quiet", "--skip-version-check", "--disable-telemetry", "--cache-dir", str(CHECKOUT / "build" / "trivy"))


def packages(lock: str) -> set[str]:
    """`name==version` of all that trivy reads in a lock; needs no network."""
    found = _trivy(lock, "--format", "cyclonedx", "--offline-scan")
    rows = found.get("components", ())
    return {f"{row['name'].lower()}=={row['version']}" for row in rows if row.get("purl")}


def vulnerabilities(lock: str) -> list[str]:
    """Of high and critical severity, with a version that mends them."""
    wanted = ("--scanners", "vuln", "--ignore-unfixed", "--severity", "HIGH,CRITICAL", "--format", "json")
    found = [row for part in _trivy(lock, *wanted).get("Results", ()) for row in part.get("Vulnerabilities", ())]
    return [
        f"{lock}: {row['PkgName']} {row['InstalledVersion']} has {row['VulnerabilityID']} ({row['Severity'].lower()}), "
        f"mended in {row['FixedVersion']}"
        for row in found
    ]


def _trivy(lock: str, *options: str) -> dict[str, Any]:
    command = [str(TRIVY), "fs", *OFFLINE, *READ_AS, "--include-dev-deps", *options, str(CHECKOUT / lock)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"audit: trivy could not read {lock}: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    argparse.ArgumentParser("python -m tools.audit", description=__doc__).parse_args()
    found = sorted({sentence for lock in LOCKS for sentence in vulnerabilities(lock)})
    if found:
        sys.exit("\n".join(found))
    print("audit: nothing known in what is locked")


if __name__ == "__main__":
    main()
