"""etcd, API server, controller manager, scheduler and the agents of the nodes as private processes on loopback."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.cluster import ClusterError, configuration, nodes
from tools.cluster.api import Api, until
from tools.cluster.programs import CHECKOUT, build, path

PORTS = range(21000, 29000)
"""Below those that the kernel gives to outgoing connections."""
CLOCK = {
    # Minutes on a cluster; what waits for them here waits for seconds.
    "kube-apiserver": {"default-not-ready-toleration-seconds": "5", "default-unreachable-toleration-seconds": "5"},
    "kube-controller-manager": {"node-monitor-grace-period": "25s", "node-monitor-period": "2s"},
}


def free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise ClusterError(f"no {count} ports are free between {PORTS.start} and {PORTS.stop}")


@dataclass
class ControlPlane:
    """One environment's control plane and nodes in a folder of its own."""

    folder: Path
    environment: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    arguments: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def api(self) -> Api:
        return Api(self.folder / "kubeconfig")

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.arguments['kube-apiserver']['secure-port']}"

    @property
    def pki(self) -> Path:
        return self.folder / "kubernetes/pki"

    def start(self) -> None:
        """Everything up to ready nodes."""
        build("etcd", "kubeadm", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
        self.prepare()
        self.start_etcd()
        self.start_api_server()
        self.start_controllers()
        self.start_nodes()

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        rendered = configuration.control_plane(configuration.render(self.environment, self.folder))
        given = configuration.prepare(rendered, self.folder)
        client, peer, metrics, server, controllers, scheduler = free_ports(6)
        place = {
            "etcd": {
                "data-dir": str(self.folder / "etcd"),
                "name": "etcd",
                "listen-client-urls": f"https://127.0.0.1:{client}",
                "advertise-client-urls": f"https://127.0.0.1:{client}",
                "listen-peer-urls": f"https://127.0.0.1:{peer}",
                "initial-advertise-peer-urls": f"https://127.0.0.1:{peer}",
                "initial-cluster": f"etcd=https://127.0.0.1:{peer}",
                "listen-metrics-urls": f"http://127.0.0.1:{metrics}",
                "unsafe-no-fsync": "true",
            },
            "kube-apiserver": {
                "advertise-address": "127.0.0.1",
                "bind-address": "127.0.0.1",
                "secure-port": str(server),
                "etcd-servers": f"https://127.0.0.1:{client}",
                # No kubelet answers here, and an address of loopback is no endpoint of a Service.
                "endpoint-reconciler-type": "none",
            },
            "kube-controller-manager": {"secure-port": str(controllers), "leader-elect": "false"},
            "kube-scheduler": {"secure-port": str(scheduler), "leader-elect": "false"},
        }
        for name, flags in place.items():
            self.arguments[name] = {**given[name], **flags, **CLOCK.get(name, {})}
        for name in ("controller-manager", "scheduler", "super-admin"):
            file = self.folder / f"kubernetes/{name}.conf"
            lines = [
                f"    server: {self.server}" if line.strip().startswith("server:") else line
                for line in file.read_text().splitlines()
            ]
            target = self.folder / "kubeconfig" if name == "super-admin" else file
            target.write_text("\n".join(lines) + "\n")
            target.chmod(0o600)

    def start_etcd(self) -> None:
        self.run("etcd", self.arguments["etcd"])

    def start_api_server(self) -> None:
        self.run("kube-apiserver", self.arguments["kube-apiserver"])
        until("the API server's readiness", self._ready)

    def start_controllers(self) -> None:
        for name in ("kube-controller-manager", "kube-scheduler"):
            self.run(name, self.arguments[name])

    def start_nodes(self) -> None:
        made = {"apiVersion": "v1", "kind": "List", "items": nodes.objects(self.environment)}
        self.api.ask("create", "-f", "-", given=json.dumps(made))
        for agent in nodes.AGENTS:
            self.start_agent(agent)
        until("readiness of every node", lambda: all(map(nodes.ready, self.api.rows("nodes"))))

    def start_agent(self, agent: str) -> None:
        """The kubelets of its nodes."""
        command = [
            sys.executable,
            "-m",
            "tools.cluster.agent",
            f"--kubeconfig={self.folder}/kubeconfig",
            f"--name={agent}",
        ]
        self._start(f"agent-{agent}", command, {"PYTHONPATH": str(CHECKOUT)})

    def run(self, program: str, arguments: Mapping[str, str], **environment: str) -> None:
        words = [value if not key else f"--{key}={value}" for key, value in arguments.items()]
        self._start(program, [str(path(program)), *words], environment)

    def _start(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env={**os.environ, "KUBECONFIG": str(self.folder / "kubeconfig"), **environment},
                start_new_session=True,
            )
        (self.folder / "processes.json").write_text(json.dumps({key: row.pid for key, row in self.processes.items()}))

    def kubeconfig_of(self, account: str, namespace: str) -> Path:
        """For a program that runs here with the rights of its service account."""
        token = self.api.ask("create", "token", account, "-n", namespace, "--duration=2h").strip()
        content = json.loads(self.api.ask("config", "view", "--raw", "-o", "json"))
        content["users"] = [{"name": row["name"], "user": {"token": token}} for row in content["users"]]
        file = self.folder / f"{account}.conf"
        file.write_text(json.dumps(content))
        file.chmod(0o600)
        return file

    def alive(self) -> None:
        """ClusterError with the last words of a process that ended."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                log = (self.folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
                raise ClusterError(f"{name} ended with {process.returncode}: " + "\n".join(log[-8:]))

    def _ready(self) -> bool:
        self.alive()
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        try:
            with urllib.request.urlopen(f"{self.server}/readyz", context=context, timeout=2) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def end(self, name: str) -> None:
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """All of them, those first that would complain about the others."""
        for name in reversed(list(self.processes)):
            self.end(name)


def stop(folder: Path) -> int:
    """End what an earlier run started in this folder; how many that were."""
    file = folder / "processes.json"
    if not file.exists():
        return 0
    ended = 0
    for pid in reversed(list(json.loads(file.read_text()).values())):
        if _ours(pid, folder):
            os.kill(pid, signal.SIGTERM)
            ended += 1
            _wait(pid, folder)
    file.unlink()
    return ended


def _wait(pid: int, folder: Path) -> None:
    end = time.monotonic() + 20
    while _ours(pid, folder):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def _ours(pid: int, folder: Path) -> bool:
    """Another process may have got its number since."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder.resolve()
    except OSError:
        return False
