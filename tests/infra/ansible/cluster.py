"""A cluster of chroots for site.yml: real files, packages and etcd; doubles of what needs a kernel or the Internet."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml

from tests.infra.ansible import chroots, packages, playbooks

MASTER, WORKER = "k8s-master", "k8s-worker-1"
KUBERNETES = "1.36.4"
S3_PORT = 12951
S3 = f"http://127.0.0.1:{S3_PORT}"
KEY = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="
"""32 bytes that would be the key of Secrets in etcd."""
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_DEFAULT_REGION": "ap-northeast-2"}
PKI = "/etc/kubernetes/pki/etcd"


@dataclass(frozen=True)
class Run:
    code: int
    text: str
    changed: dict[str, int]

    @property
    def tasks_that_changed(self) -> list[str]:
        """Names, for a failure that says which."""
        found, task = [], ""
        for line in self.text.splitlines():
            if match := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\]", line):
                task = match.group(1)
            elif line.startswith("changed:"):
                found.append(f"{task} {line.removeprefix('changed: ')}")
        return found


@dataclass
class Cluster:
    folder: Path
    roots: dict[str, Path]
    variables: dict[str, Any]
    inventory: dict[str, Any]

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "shared/state.json").read_text())
        return found

    def change_state(self, **values: Any) -> None:
        (self.folder / "shared/state.json").write_text(json.dumps({**self.state, **values}))

    def read(self, node: str, path: str) -> str:
        return (self.roots[node] / path.lstrip("/")).read_text()

    def chroot(self, node: str, *command: str, check: bool = True) -> str:
        done = subprocess.run(["chroot", self.roots[node], *command], capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def etcdctl(self, *words: str) -> str:
        keys = [f"--cacert={PKI}/ca.crt", f"--cert={PKI}/healthcheck-client.crt", f"--key={PKI}/healthcheck-client.key"]
        return self.chroot(MASTER, "etcdctl", "--endpoints=https://127.0.0.1:2379", *keys, *words)

    def play(self, playbook: str, *words: str, **variables: Any) -> Run:
        inventory = self.folder / "inventory.yml"
        inventory.write_text(yaml.safe_dump(self.inventory))
        extra = self.folder / "variables.json"
        extra.write_text(json.dumps({**self.variables, **variables}))
        done = playbooks.run(playbook, "-i", inventory, "-e", f"@{extra}", *words, AWS_ENDPOINT_URL=S3, **CREDENTIALS)
        text = done.stdout + done.stderr
        changed = {name: int(count) for name, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", text, re.M)}
        return Run(done.returncode, text, changed)


@contextmanager
def open_cluster(folder: Path) -> Iterator[Cluster]:
    shared = folder / "shared"
    shared.mkdir()
    with ExitStack() as stack:
        roots = {name: stack.enter_context(chroots.node(folder / name, shared)) for name in (MASTER, WORKER)}
        stack.enter_context(_s3(folder))
        identity = subprocess.check_output(
            ["chroot", roots[MASTER], "age-keygen"], text=True, stderr=subprocess.DEVNULL
        )
        (folder / "identity").write_text(identity)
        variables = _variables(folder, shared, identity)
        for root in roots.values():
            aws = root / "root/.aws"
            aws.mkdir(mode=0o700)
            pairs = [f"{name.lower()} = {value}" for name, value in CREDENTIALS.items() if "KEY" in name]
            (aws / "credentials").write_text("\n".join(["[default]", *pairs, ""]))
        cluster = Cluster(folder, roots, variables, _inventory(folder, roots))
        stack.enter_context(_kubelet(cluster))
        yield cluster


def _variables(folder: Path, shared: Path, identity: str) -> dict[str, Any]:
    """Stand-ins for the Internet and AWS."""
    fingerprint = packages.repository(shared / "kubernetes", KUBERNETES)
    shutil.copytree(shared / "kubernetes", shared / "docker", ignore=shutil.ignore_patterns("gpg", "build"))
    archive, checksum = packages.helm(folder / "helm")
    shutil.copy(archive, shared)
    charts = {name: shared / name for name in ("crds.tgz", "calico.tgz", "ebs.tgz")}
    for file in charts.values():
        file.write_text(file.name)
    recipient = re.search(r"public key: (age1\S+)", identity)
    assert recipient
    inside = "file:///var/lib/double"
    repositories = {
        f"{role}_{name}": value
        for role, folder_name in (("containerd", "docker"), ("kubernetes_packages", "kubernetes"))
        for name, value in {
            # `copy` reads an index when it is told to, as over a network; `file` would always see the newest.
            "repository": f"copy:/var/lib/double/{folder_name}/",
            "key": f"{inside}/{folder_name}/key.asc",
            "fingerprint": fingerprint,
            "suite": "./",
        }.items()
    }
    return {
        "base_own_kernel": False,
        **repositories,
        "containerd_components": "",
        "helm_url": f"{inside}/{archive.name}",
        "helm_checksum": checksum,
        "calico_releases": inside,
        "calico_charts": [
            {
                "name": name,
                "file": file,
                "checksum": packages.checksum(charts[file]),
                "chart_values": values,
            }
            for name, file, values in (
                ("calico-crds", "crds.tgz", {}),
                ("calico", "calico.tgz", "{{ lookup('ansible.builtin.template', 'values.yaml.j2') | from_yaml }}"),
            )
        ],
        "ebs_csi_url": f"{inside}/ebs.tgz",
        "ebs_csi_file": "ebs.tgz",
        "ebs_csi_checksum": packages.checksum(charts["ebs.tgz"]),
        "control_plane_encryption_key": KEY,
        "etcd_backup_recipient": recipient.group(1),
        "etcd_backup_s3_endpoint": S3,
        # etcd 3.4, which Debian has, knows neither.
        "etcd_restore_options": [],
        "kubeconfig_path": str(folder / "kubeconfig"),
    }


def _inventory(folder: Path, roots: dict[str, Path]) -> dict[str, Any]:
    inventory = playbooks.inventory("dev", "four")
    everything = inventory["all"]
    everything["hosts"] = {name: everything["hosts"][name] for name in roots}
    everything["children"]["workers"]["hosts"] = {WORKER: {}}
    for name, root in roots.items():
        everything["hosts"][name].update(
            ansible_connection="community.general.chroot",
            ansible_host=str(root),
            ansible_become=False,
            private_ip="127.0.0.1" if name == MASTER else "127.0.0.2",
        )
    return inventory


@contextmanager
def _s3(folder: Path) -> Iterator[None]:
    with (folder / "s3.log").open("w") as log:
        server = subprocess.Popen(
            [playbooks.BIN / "moto_server", "-p", str(S3_PORT)], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        client = s3()
        for bucket in ("eco2-dev-ops", "eco2-dev-oidc-111122223333"):
            _until(lambda name=bucket: _made(client, name), "moto does not answer")
        yield
    finally:
        server.terminate()
        server.wait(20)


def s3() -> Any:
    return boto3.client(
        "s3", endpoint_url=S3, aws_access_key_id="tests", aws_secret_access_key="tests", region_name="us-east-1"
    )


def _made(client: Any, bucket: str) -> bool:
    try:
        client.create_bucket(Bucket=bucket)
    except OSError:
        return False
    except Exception as error:
        if "Could not connect" in str(error):
            return False
        raise
    return True


def _until(done: Any, message: str, seconds: int = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, message
        time.sleep(0.1)


@contextmanager
def _kubelet(cluster: Cluster) -> Iterator[None]:
    """Runs the etcd of the master while its manifest is there, as the kubelet would."""
    root, stop = cluster.roots[MASTER], threading.Event()
    manifest = root / "etc/kubernetes/manifests/etcd.yaml"

    def watch() -> None:
        etcd: subprocess.Popen[bytes] | None = None
        while not stop.is_set():
            if manifest.exists() and etcd is None:
                etcd = _etcd(cluster)
            elif etcd is not None and etcd.poll() is not None:
                etcd = None  # it died: the next round starts it again
            elif etcd is not None and not manifest.exists():
                _end(etcd)
                etcd = None
            stop.wait(0.1)
        if etcd is not None:
            _end(etcd)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _end(etcd: "subprocess.Popen[bytes]") -> None:
    etcd.terminate()
    etcd.wait(30)


def kill_etcd(cluster: Cluster) -> None:
    """Its data are gone, and so is the process; where there is a manifest the kubelet starts an empty one."""
    shutil.rmtree(cluster.roots[MASTER] / "var/lib/etcd")
    (cluster.roots[MASTER] / "var/lib/etcd").mkdir(mode=0o700)
    with suppress(ProcessLookupError):
        os.kill(int((cluster.folder / "etcd.pid").read_text()), signal.SIGKILL)
    if (cluster.roots[MASTER] / "etc/kubernetes/manifests/etcd.yaml").exists():
        _until(lambda: _healthy(cluster), "etcd did not come back")


def _healthy(cluster: Cluster) -> bool:
    try:
        cluster.etcdctl("endpoint", "health", "--command-timeout=1s")
    except AssertionError:
        return False
    return True


def _etcd(cluster: Cluster) -> "subprocess.Popen[bytes]":
    client, peer = "https://127.0.0.1:2379", "https://127.0.0.1:2380"
    with (cluster.folder / "etcd.log").open("a") as log:
        etcd = subprocess.Popen(
            ["chroot", cluster.roots[MASTER], "etcd", f"--name={MASTER}", "--data-dir=/var/lib/etcd",
             f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
             f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
             f"--initial-cluster={MASTER}={peer}",
             f"--cert-file={PKI}/server.crt", f"--key-file={PKI}/server.key", f"--trusted-ca-file={PKI}/ca.crt",
             "--client-cert-auth", f"--peer-cert-file={PKI}/peer.crt", f"--peer-key-file={PKI}/peer.key",
             f"--peer-trusted-ca-file={PKI}/ca.crt", "--peer-client-cert-auth"],
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    (cluster.folder / "etcd.pid").write_text(str(etcd.pid))
    return etcd
