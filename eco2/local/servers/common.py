"""Shared by the servers: the Debian packages, the plain environment, and files that belong to their users."""

import os
import pwd
import sysconfig
from pathlib import Path

from eco2.local import config
from eco2.local.config import LocalError

PLAIN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
"""The servers get no variable of the user's, so that none changes how they behave."""

PACKAGES = (
    "postgresql-15",
    "postgresql-15-postgis-3",
    "redis-server",
    "redis-sentinel",
    "rabbitmq-server",
    "libpangoft2-1.0-0",
    "libharfbuzz-subset0",
    "fonts-nanum",
)


def missing(package: str) -> LocalError:
    return LocalError(f"{package} is not installed: run `sudo apt-get install {' '.join(PACKAGES)}`.")


def as_user(user: str) -> str | None:
    return user if os.geteuid() == 0 else None


def _give(path: Path, user: str | None) -> None:
    if user:
        owner = pwd.getpwnam(user)
        os.chown(path, owner.pw_uid, owner.pw_gid)


def own_folder(path: Path, user: str | None) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    _give(path, user)
    return path


def own_file(path: Path, text: str, user: str | None) -> None:
    config.write_private(path, text)
    _give(path, user)


def script(name: str) -> Path:
    """A program that came as a wheel."""
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise LocalError(f"{name} is not installed in this environment: run `scripts/bootstrap`.")
    return path
