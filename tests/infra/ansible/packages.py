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
    kubernetes = {name: {f"usr/bin/{name}": DOUBLE.replace("@VERSION@", version)} for name in ("kubeadm", "kubectl")}
    kubernetes["kubelet"] = {"usr/bin/kubelet": DOUBLE, "usr/lib/systemd/system/kubelet.service": SERVICE}
    kubernetes["cri-tools"] = {"usr/bin/crictl": DOUBLE}
    for name, files in kubernetes.items():
        _package(folder, name, f"{version}-1.1" if name != "cri-tools" else "1.36.0-1.1", files)
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
    return _sign(folder)


def _package(folder: Path, name: str, version: str, files: dict[str, str]) -> None:
    tree = folder / "build" / name
    for path, text in files.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if "bin/" in path else 0o644)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: tests\nDescription: stand-in\n"
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(control)
    deb = folder / f"{name}_{version}_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, deb], check=True, capture_output=True)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    with (folder / "Packages").open("a") as index:
        index.write(f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n\n")


def _sign(folder: Path) -> str:
    home = folder / "gpg"
    home.mkdir(mode=0o700)
    environment = {**os.environ, "GNUPGHOME": str(home)}

    def gpg(*words: str) -> str:
        command = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout

    gpg("--quick-generate-key", "tests", "ed25519", "sign", "1d")
    packages = (folder / "Packages").read_bytes()
    release = f"SHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    (folder / "Release").write_text(f"Origin: tests\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n{release}")
    gpg("--clearsign", "--output", str(folder / "InRelease"), str(folder / "Release"))
    (folder / "key.asc").write_text(gpg("--armor", "--export"))
    fingerprints = gpg("--with-colons", "--fingerprint")
    subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)
    return next(line.split(":")[9] for line in fingerprints.splitlines() if line.startswith("fpr"))


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
