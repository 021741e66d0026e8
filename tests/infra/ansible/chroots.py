"""Nodes of a cluster as chroots: Debian once, and a layer of its own for each node."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.infra.ansible.playbooks import CHECKOUT

SUITE = "bookworm"
# With what roles install from Debian, so that a run needs no network.
PACKAGES = (
    *(
        "age",
        "ca-certificates",
        "chrony",
        "conntrack",
        "etcd-client",
        "etcd-server",
        "ethtool",
        "gpg",
        "iptables",
        "kmod",
    ),
    *("openssl", "procps", "python3", "python3-boto3", "python3-yaml", "socat", "systemd", "unattended-upgrades"),
)
BUILDER = shutil.which("mmdebstrap") or shutil.which("debootstrap")
DIGEST = hashlib.sha256(" ".join([SUITE, *PACKAGES]).encode()).hexdigest()[:12]
TREE = CHECKOUT / ".venv-infra" / f"debian-{DIGEST}"


class Unavailable(Exception):
    """No chroot can be made here, with the reason."""


def debian() -> Path:
    """The tree of a Debian, made at first."""
    if os.geteuid() != 0:
        raise Unavailable("making a chroot needs root: roles were not run")
    if TREE.exists():
        return TREE
    if BUILDER is None:
        raise Unavailable("neither mmdebstrap nor debootstrap is installed: roles were not run")
    part = TREE.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    if BUILDER.endswith("mmdebstrap"):
        command = [BUILDER, "--quiet", "--variant=apt", f"--include={','.join(PACKAGES)}", SUITE, str(part)]
    else:
        command = [BUILDER, "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(part)]
    if eatmydata := shutil.which("eatmydata"):
        command = [eatmydata, *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode:
        shutil.rmtree(part, ignore_errors=True)
        raise Unavailable(f"no Debian could be fetched for a chroot ({done.stderr.strip()[-200:]}): roles were not run")
    # Roles read indexes of their own repositories only: a run needs no network.
    for path in [part / "etc/apt/sources.list", *(part / "etc/apt/sources.list.d").iterdir()]:
        path.unlink(missing_ok=True)
    (part / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (part / "usr/sbin/policy-rc.d").chmod(0o755)
    part.rename(TREE)
    return TREE


@contextmanager
def node(folder: Path, shared: Path) -> Iterator[Path]:
    """The root of a node; what nodes share is at /var/lib/double in each."""
    lower = debian()
    root, upper, work = (folder / name for name in ("root", "upper", "work"))
    for path in (root, upper, work):
        path.mkdir(parents=True)
    mounted: list[Path] = []

    def mount(target: Path, *words: str | Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", *words, target], capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"nothing can be mounted here ({done.stderr.strip()}): roles were not run")
        mounted.append(target)

    try:
        mount(root, "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}")
        mount(root / "proc", "-t", "proc", "proc")
        mount(root / "dev", "--bind", "/dev")
        mount(root / "run", "-t", "tmpfs", "tmpfs")
        mount(root / "var/lib/double", "--bind", shared)
        yield root
    finally:
        for path in reversed(mounted):
            subprocess.run(["umount", "--lazy", path], check=False)
