"""CPU and memory of each process of the stack with its children, read from /proc."""

import os
import platform
import subprocess
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

PATH = (
    "gateway",
    "ext-authz",
    "scan-api",
    "scan-worker",
    "scan-sweeper",
    "event-router",
    "sse-gateway",
    "rabbitmq",
    "redis-streams",
    "redis-cache",
    "postgres",
)
"""The server processes whose CPU a scan costs. The object store belongs to the upload and is told apart."""
SUPERVISOR = "supervisor"
STRANGERS = 0.3
"""Cores that something else may use while CPU is measured; with more the figure tells of that instead."""


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _cpu_seconds(pid: int) -> float:
    """User and system time of the process, of its living children, and of those it has reaped."""
    seconds = 0.0
    for process in _tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def _machine_busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


@dataclass(frozen=True)
class Usage:
    """CPU seconds so far, or between two moments: by process of the stack, of the driver, of the whole machine."""

    by_process: Mapping[str, float]
    driver: float
    machine: float
    wall: float

    @classmethod
    def now(cls, pids: Mapping[str, int]) -> "Usage":
        by_process = {name: _cpu_seconds(pid) for name, pid in pids.items() if name != SUPERVISOR}
        if SUPERVISOR in pids:  # whose children are the others
            times = psutil.Process(pids[SUPERVISOR]).cpu_times()
            by_process[SUPERVISOR] = times.user + times.system
        return cls(by_process, time.process_time(), _machine_busy(), time.perf_counter())

    def since(self, before: "Usage") -> "Usage":
        by_process = {name: seconds - before.by_process.get(name, 0.0) for name, seconds in self.by_process.items()}
        return Usage(by_process, self.driver - before.driver, self.machine - before.machine, self.wall - before.wall)

    def plus(self, other: "Usage") -> "Usage":
        names = self.by_process.keys() | other.by_process.keys()
        by_process = {name: self.by_process.get(name, 0.0) + other.by_process.get(name, 0.0) for name in names}
        return Usage(by_process, self.driver + other.driver, self.machine + other.machine, self.wall + other.wall)

    @property
    def path(self) -> float:
        return sum(self.by_process.get(name, 0.0) for name in PATH)

    def whole(self, without: Collection[str]) -> float:
        """Every process of the stack: object store, grants, supervisor and what idles beside them included."""
        return sum(seconds for name, seconds in self.by_process.items() if name not in without)

    @property
    def strangers(self) -> float:
        """Cores that neither the stack nor the driver used: how much else the machine did meanwhile."""
        return max(0.0, (self.machine - self.driver - sum(self.by_process.values())) / self.wall)


def pss(pid: int) -> int:
    """Bytes of the process and its children, shared pages divided among those that share them."""
    return sum(own_pss(process.pid) for process in _tree(pid))


def nurseries(pids: Mapping[str, int]) -> set[int]:
    """Processes that those of the stack were forked off, which are none of the stack's by name."""
    parents = {psutil.Process(pid).ppid() for pid in pids.values()}
    return {pid for pid in parents if "eco2.local.fork_server" in psutil.Process(pid).cmdline()}


def own_pss(pid: int) -> int:
    """The same of the process alone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def conditions() -> dict[str, Any]:
    checkout = Path(__file__).parents[2]
    git = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit or "unknown",
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
