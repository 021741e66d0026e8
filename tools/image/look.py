"""The look of an image: its size, the rights of its files, its contents."""

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.image.build import CHECKOUT, LAYOUTS, Unavailable, buildah

LIMITS = {"api": 350, "worker": 700, "batch": 700}
"""MB, unpacked."""
LIMIT_COMPRESSED = 280
"""MB, as a registry keeps an image and a node pulls it."""
BUILD_TIME = ("gcc", "cc", "make", "ld", "strip", "git", "pip", "pip3", "npm", "node")
SEAL = ("--isolation", "chroot", "--user", "10001:10001")
WRITABLE = ("/tmp", "/var/tmp", "/run/lock")  # noqa: S108 - a Pod has a volume there, or nothing  # nosec B108
WRITTEN_TO = ("/new", "/app/new", "/app/eco2/run.py", "/venv/bin/python3", "/etc/passwd")
TRIVY = Path(sys.executable).parent / "trivy"
OFFLINE = ("--quiet", "--skip-version-check", "--disable-telemetry", "--cache-dir", str(CHECKOUT / "build" / "trivy"))


def faults(target: str, image: str, root: Path, container: str) -> Iterator[str]:
    """Sentences; none for an image that is as it should be."""
    size = size_of(root)
    compressed = compressed_size_of(LAYOUTS / target)
    print(
        f"  {size:.0f} MB unpacked (at most {LIMITS[target]}), {compressed:.0f} compressed (at most {LIMIT_COMPRESSED})"
    )
    if size > LIMITS[target]:
        yield f"it has {size:.0f} MB, more than {LIMITS[target]}"
    if compressed > LIMIT_COMPRESSED:
        yield f"it has {compressed:.0f} MB compressed, more than {LIMIT_COMPRESSED}"
    yield from _configuration(image)
    for name in BUILD_TIME:
        for folder in ("usr/bin", "usr/local/bin", "venv/bin"):
            if (root / folder / name).exists():
                yield f"/{folder}/{name} is a tool to build with"
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
            yield f"/{path.relative_to(root)} gives its user another's rights"
    yield from _writable(container)


def size_of(root: Path) -> float:
    """MB of all files, each counted once."""
    seen = {}
    for path in root.rglob("*"):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode):
            seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values()) / 1e6


def compressed_size_of(layout: Path) -> float:
    """MB of the layers of an OCI image layout."""
    index = json.loads((layout / "index.json").read_text())
    manifest = layout / "blobs" / index["manifests"][0]["digest"].replace(":", "/")
    return sum(int(layer["size"]) for layer in json.loads(manifest.read_text())["layers"]) / 1e6


def _configuration(image: str) -> Iterator[str]:
    found = json.loads(buildah("inspect", "--type", "image", image))["OCIv1"]["config"]
    if found.get("User") != "10001:10001":
        yield f"it runs as {found.get('User') or 'root'}"
    if found.get("Entrypoint") != ["eco2", "run"]:
        yield f"its entrypoint is {found.get('Entrypoint')}"
    labels = found.get("Labels") or {}
    for name in ("title", "description", "source", "licenses", "revision", "version"):
        if not labels.get(f"org.opencontainers.image.{name}"):
            yield f"it has no label org.opencontainers.image.{name}"
    if any("SECRET" in entry or "PASSWORD" in entry for entry in found.get("Env", ())):
        yield "its environment has a secret"


def _writable(container: str) -> Iterator[str]:
    """As the user of the image: what can be written, but for places of temporary files."""
    search = "find / -xdev -not -type l -writable 2>/dev/null; true"
    for line in buildah("run", *SEAL, container, "--", "sh", "-c", search).splitlines():
        if not line.startswith((*WRITABLE, "/dev", "/proc", "/sys")):
            yield f"{line} can be written"
    for path in WRITTEN_TO:
        attempt = f"if echo x >>{path}; then echo written; else echo refused; fi 2>/dev/null"
        answer = buildah("run", *SEAL, container, "--", "sh", "-c", attempt)
        if answer != "refused":
            yield f"{path} can be written as {SEAL[-1]} ({answer or 'no answer'})"
    print(
        f"  {SEAL[-1]} was refused to write {', '.join(WRITTEN_TO)}, and nothing else outside of {', '.join(WRITABLE)}"
    )


def sbom_of(target: str) -> Path:
    return CHECKOUT / "build" / "sbom" / f"{target}.cdx.json"


def bill_of_materials(target: str, root: Path) -> tuple[Path, list[str]]:
    """CycloneDX, and the locked packages of the target that it does not name."""
    file = sbom_of(target)
    file.parent.mkdir(parents=True, exist_ok=True)
    _trivy("rootfs", "--offline-scan", "--format", "cyclonedx", "--output", file, root)
    named = {row["name"].lower().replace("_", "-") for row in json.loads(file.read_text())["components"]}
    python = {path.name.partition("-")[0].lower() for path in root.glob("venv/lib/python3*/site-packages/*.dist-info")}
    missing = sorted(name for name in python if name.replace("_", "-").replace(".", "-") not in _plain(named))
    debian = (root / "var/lib/dpkg/status").read_text().count("\nStatus: install ok installed")
    if debian == 0 or not {"base-files", "libc6"} <= named:
        missing.append("the packages of Debian")
    return file, missing


def _plain(names: set[str]) -> set[str]:
    return {name.replace(".", "-") for name in names}


def secrets(root: Path) -> list[str]:
    """Findings of trivy in the files that are ours."""
    report = _report("rootfs", "--offline-scan", "--scanners", "secret", "--skip-dirs", "venv", root)
    return [f"{row['Target']}: {fault['Title']}" for row in report for fault in row.get("Secrets", ())]


def vulnerabilities(layout: Path) -> list[str]:
    """Known ones of high and critical severity for which there is a mended version. trivy fetches their list."""
    if not (layout / "index.json").exists():
        raise Unavailable(f"{layout.relative_to(CHECKOUT)} is not there: build it first")
    wanted = ("--scanners", "vuln", "--ignore-unfixed", "--severity", "HIGH,CRITICAL")
    found = [row for part in _report("image", *wanted, "--input", layout) for row in part.get("Vulnerabilities", ())]
    return [
        f"{row['VulnerabilityID']} ({row['Severity'].lower()}) in {row['PkgName']} {row['InstalledVersion']}, "
        f"mended in {row['FixedVersion']}"
        for row in found
    ]


def of_the_dockerfile() -> list[str]:
    report = _report("config", "--skip-check-update", CHECKOUT / "Dockerfile")
    found = [fault for row in report for fault in row.get("Misconfigurations", ())]
    # DS-0026: health is asked by Kubernetes, which knows when a process is alive and when it is ready.
    return [f"{fault['ID']}: {fault['Message']}" for fault in found if fault["ID"] not in ("DS-0026", "AVD-DS-0026")]


def _report(*arguments: str | Path) -> list[dict[str, list[dict[str, str]]]]:
    found: list[dict[str, list[dict[str, str]]]] = json.loads(_trivy(*arguments, "--format", "json")).get("Results", [])
    return found


def _trivy(*arguments: str | Path) -> str:
    kind, *rest = map(str, arguments)
    command = [str(TRIVY), kind, *OFFLINE, *rest]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"trivy {kind}: {done.stderr.strip()}")
    return done.stdout
