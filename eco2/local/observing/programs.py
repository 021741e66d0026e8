"""Prometheus, Alertmanager and the exporters of Debian's packages."""

import shutil

from eco2.local.config import LocalError
from eco2.local.servers.common import PLAIN

PACKAGES = (
    "prometheus",
    "prometheus-alertmanager",
    "prometheus-node-exporter",
    "prometheus-postgres-exporter",
    "prometheus-redis-exporter",
)
"""Each has a program of its own name."""


def path(package: str) -> str:
    """The program of the package. LocalError where that is not installed."""
    found = shutil.which(package, path=PLAIN["PATH"])
    if found is None:
        install = f"run `sudo scripts/bootstrap --observe`, or `sudo apt-get install {' '.join(PACKAGES)}`"
        raise LocalError(f"{package} is not installed: {install}.")
    return found
