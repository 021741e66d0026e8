"""A signed repository of Debian packages, with stand-ins for what only the Internet has."""

import hashlib
import os
import subprocess
import tarfile
from pathlib import Path

DOUBLE = (Path(__file__).parent / "double.py").read_text()
SERVICE = "[Unit]\nDescription=Stand-in\n\n[Service]\nExecStart=/bin/true\n\n[Install]\nWantedBy=multi-user.target\n"


def repository(folder: Path, version: str) -> str:
    """Make one in `folder`; the fingerprint of its key."""
    folder.mkdir(parents=True)
    _package(folder, "cri-tools", "1.36.0-1.1", {"usr/bin/crictl": DOUBLE})
    _package(
        folder,
        "containerd.io",
        "2.2.6-1~debian.12~bookworm",
        {
            "usr/bin/ctr": DOUBLE,
            "usr/lib/systemd/system/containerd.service": SERVICE,
            "etc/containerd/config.toml": 'disabled_plugins = ["cri"]\n',
        },
    )
    _gpg(folder, "--quick-generate-key", "tests", "ed25519", "sign", "1d")
    (folder / "key.asc").write_text(_gpg(folder, "--armor", "--export"))
    release(folder, version)
    fingerprints = _gpg(folder, "--with-colons", "--fingerprint")
    return next(line.split(":")[9] for line in fingerprints.splitlines() if line.startswith("fpr"))


def release(folder: Path, version: str) -> None:
    """Publish a release of Kubernetes in the repository, beside those that it has."""
    double = DOUBLE.replace("@VERSION@", version)
    for name in ("kubeadm", "kubectl"):
        _package(folder, name, f"{version}-1.1", {f"usr/bin/{name}": double})
    files = {"usr/bin/kubelet": double, "usr/lib/systemd/system/kubelet.service": SERVICE}
    # No kubelet runs in a chroot, so that installing it stands for starting it.
    _package(folder, "kubelet", f"{version}-1.1", files, after="kubelet started")
    _sign(folder)


def _package(folder: Path, name: str, version: str, files: dict[str, str], after: str = "") -> None:
    """Build a package; `after` is the command that runs once it is installed."""
    tree = folder / "build" / f"{name}_{version}"
    for path, text in files.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if "bin/" in path else 0o644)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: tests\nDescription: stand-in\n"
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(control)
    if after:
        (tree / "DEBIAN/postinst").write_text(f"#!/bin/sh\nset -e\n{after}\n")
        (tree / "DEBIAN/postinst").chmod(0o755)
    deb = folder / f"{name}_{version}_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, deb], check=True, capture_output=True)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    with (folder / "Packages").open("a") as index:
        index.write(f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n\n")


def _sign(folder: Path) -> None:
    packages = (folder / "Packages").read_bytes()
    release = f"SHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    (folder / "Release").write_text(f"Origin: tests\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n{release}")
    _gpg(folder, "--yes", "--clearsign", "--output", str(folder / "InRelease"), str(folder / "Release"))


def _gpg(folder: Path, *words: str) -> str:
    home = folder / "gpg"
    home.mkdir(mode=0o700, exist_ok=True)
    environment = {**os.environ, "GNUPGHOME": str(home)}
    command = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", *words]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)


def helm(folder: Path) -> tuple[Path, str]:
    """An archive as that of Helm, and its checksum."""
    program = folder / "linux-amd64" / "helm"
    program.parent.mkdir(parents=True)
    program.write_text(DOUBLE)
    program.chmod(0o755)
    archive = folder / "helm.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(program.parent, program.parent.name)
    return archive, checksum(archive)


def checksum(file: Path) -> str:
    return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
