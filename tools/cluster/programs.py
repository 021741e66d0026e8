"""Programs of the control plane, built once from their Go modules into a cache outside the checkout."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from tools.cluster import ClusterError

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
GO = (1, 26)
"""The oldest Go that the modules below build with."""


@dataclass(frozen=True)
class Program:
    module: str
    """Folder beside this file with its go.mod: the pins of the upstream programs exclude each other."""
    package: str


KUBERNETES = "k8s.io/kubernetes"
PROGRAMS = {
    "etcd": Program("etcd", "go.etcd.io/etcd/server/v3"),
    "etcdctl": Program("etcd", "go.etcd.io/etcd/etcdctl/v3"),
    "etcdutl": Program("etcd", "go.etcd.io/etcd/etcdutl/v3"),
    "kubeadm": Program("kubernetes", f"{KUBERNETES}/cmd/kubeadm"),
    "kube-apiserver": Program("kubernetes", f"{KUBERNETES}/cmd/kube-apiserver"),
    "kube-controller-manager": Program("kubernetes", f"{KUBERNETES}/cmd/kube-controller-manager"),
    "kube-scheduler": Program("kubernetes", f"{KUBERNETES}/cmd/kube-scheduler"),
    "topology-operator": Program("topology-operator", "github.com/rabbitmq/messaging-topology-operator"),
    "istiod": Program("istiod", "istio.io/istio/pilot/cmd/pilot-discovery"),
    "gateway-config": Program("istiod", "."),
    "otelcol": Program("collector", "."),
}


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eco2-cluster"


@cache
def go() -> str:
    """Its path; ClusterError where it is missing or too old."""
    found = shutil.which("go")
    wanted = ".".join(map(str, GO))
    if not found:
        raise ClusterError(f"Go {wanted} or newer is not installed: the cluster's programs are built with it.")
    text = subprocess.run([found, "version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"go(\d+)\.(\d+)", text)
    if not version or tuple(map(int, version.groups())) < GO:
        raise ClusterError(f"The cluster's programs need Go {wanted} or newer, and this is {text.strip()}.")
    return found


def kubernetes_version() -> str:
    """The patch release that is built, such as `1.36.3`: of the minor that the layouts name."""
    text = (HERE / "kubernetes" / "go.mod").read_text()
    match = re.search(rf"^\s*(?:require )?{re.escape(KUBERNETES)} v(\S+)", text, re.MULTILINE)
    assert match, "tools/cluster/kubernetes/go.mod requires no Kubernetes"
    minor = yaml.safe_load((CHECKOUT / "clusters/layouts.yaml").read_text())["kubernetes"]
    if not match[1].startswith(f"{minor}."):
        raise ClusterError(
            f"clusters/layouts.yaml names Kubernetes {minor}, and tools/cluster/kubernetes/go.mod builds {match[1]}: "
            "require the same minor there, and v0.x of it in every replacement."
        )
    return match[1]


def _flags(program: Program) -> str:
    """Flags of the release build: without them the programs take themselves for v0.0.0."""
    if program.module != "kubernetes":
        return "-s -w"
    version = kubernetes_version()
    major, minor, _ = version.split(".", 2)
    values = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    settings = [f"-X {package}.{key}={value}" for package in packages for key, value in values.items()]
    return " ".join(["-s -w", *settings])


def _digest(program: Program) -> str:
    folder = HERE / program.module
    files = [folder / "go.mod", folder / "go.sum", *(sorted(folder.glob("*.go")) if program.package == "." else ())]
    parts = [file.read_bytes() for file in files]
    return hashlib.sha256(b"\0".join([*parts, _flags(program).encode()])).hexdigest()[:16]


def path(name: str) -> Path:
    """Path of its binary, built or not."""
    program = PROGRAMS[name]
    return cache_folder() / f"{program.module}-{_digest(program)}" / name


def build(*names: str) -> None:
    """Build those that are missing, one after the other; the first time takes half an hour on two cores."""
    missing = [name for name in (names or tuple(PROGRAMS)) if not path(name).exists()]
    if not missing:
        return
    tool = go()
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in missing:
            if not path(name).exists():
                _build(tool, name)


def _build(tool: str, name: str) -> None:
    program, target = PROGRAMS[name], path(name)
    print(f"building {name} {target.parent.name}", flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{name}.partial")
    command = [tool, "build", "-trimpath", "-buildvcs=false", "-ldflags", _flags(program), "-o", str(partial)]
    environment = {**os.environ, "CGO_ENABLED": "0"}
    done = subprocess.run(
        ["nice", "-n", "19", *command, program.package],
        cwd=HERE / program.module,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ClusterError(f"{name} could not be built: {done.stderr.strip()[-2000:]}")
    partial.rename(target)
