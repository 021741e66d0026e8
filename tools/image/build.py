"""The image of every target, built by buildah from the Dockerfile on a base made by debootstrap.

No registry of images is asked: the base is made of Debian's packages, under the name that the Dockerfile has for it.
It is no copy of the published `debian:bookworm-slim`, so sizes differ from a published image by a few MB."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
WORK = CHECKOUT / "build" / "image"
LAYOUTS = CHECKOUT / "build" / "oci"
"""Folder of an OCI image layout for each target: what is scanned, handed on and pushed."""
PLACES = ("--root", str(WORK / "storage"), "--runroot", str(WORK / "run"), "--storage-driver", "vfs")
TARGETS = ("api", "worker", "batch")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# What Debian's slim images leave out as well.
LEFT_OUT = ("doc", "man", "info", "locale", "groff", "lintian")
PROGRAMS = ("buildah", "debootstrap")
"""Each in the Debian package of its name."""


class Unavailable(Exception):
    """The image cannot be built here, with the reason."""


def base_name(*, whole: bool = False) -> str:
    """The base of the Dockerfile, as registries know it; `whole` with the digest that it may be pinned to."""
    found = re.search(r"^ARG BASE=(\S+)$", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)
    assert found, "the Dockerfile names no base"
    name = found[1] if whole else found[1].partition("@")[0]
    return f"docker.io/library/{name}" if "/" not in name else name


def buildah(*arguments: str | Path) -> str:
    """Output of one call of buildah on a storage of our own."""
    command = ["buildah", *PLACES, *map(str, arguments)]
    done = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Unavailable(f"buildah {arguments[0]} failed: its last lines above say why")
    return done.stdout.strip()


def check_means(*without: str) -> None:
    if os.geteuid() != 0:
        raise Unavailable("building needs root, for its steps run in a chroot: run it as root")
    missing = [name for name in PROGRAMS if shutil.which(name) is None and name not in without]
    if missing:
        raise Unavailable(f"missing here: sudo apt-get install {' '.join(missing)}")


@contextmanager
def storage() -> Iterator[None]:
    """An empty storage for images, several GB while it is used, removed at the end."""
    _remove()
    WORK.mkdir(parents=True)
    try:
        yield
    finally:
        _remove()


def _remove() -> None:
    if (WORK / "storage").exists():
        subprocess.run(["buildah", *PLACES, "umount", "--all"], capture_output=True)
    shutil.rmtree(WORK, ignore_errors=True)


def pull_base() -> str:
    """Name of the base, as its registry has it."""
    name = base_name(whole=True)
    buildah("pull", "--quiet", name)
    return name


def make_base() -> str:
    """Name of a base made of Debian's packages."""
    tree = WORK / "base"
    done = subprocess.run(["debootstrap", "--variant=minbase", "bookworm", tree], capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"debootstrap failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    for path in (tree / "var/lib/apt/lists", tree / "var/cache/apt", *(tree / "usr/share" / name for name in LEFT_OUT)):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, exist_ok=True)
    excludes = "".join(f"path-exclude /usr/share/{name}/*\n" for name in LEFT_OUT)
    (tree / "etc/dpkg/dpkg.cfg.d/slim").write_text(excludes)
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, tree, "/")
    buildah("commit", "--quiet", "--rm", container, base_name())
    shutil.rmtree(tree)
    return base_name()


def build(target: str, base: str, revision: str, version: str) -> str:
    """Name of the image, which is in its folder of LAYOUTS as well. Stages that targets share are built once."""
    name = f"localhost/eco2:{target}"
    given = ["--build-arg", f"REVISION={revision}", "--build-arg", f"VERSION={version}"]
    if CERTIFICATES.exists():
        given += ["--volume", f"{CERTIFICATES}:/run/certificates.crt:ro"]
    fixed = ("--isolation", "chroot", "--network", "host", "--pull-never", "--layers", "--format", "oci")
    buildah("build", "--quiet", *fixed, "--build-arg", f"BASE={base}", *given, "--target", target, "--tag", name, ".")
    shutil.rmtree(LAYOUTS / target, ignore_errors=True)
    LAYOUTS.mkdir(parents=True, exist_ok=True)
    buildah("push", "--quiet", name, f"oci:{LAYOUTS / target}")
    return name
