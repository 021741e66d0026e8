"""Configuration of the control plane as a node gets it: Ansible renders it, kubeadm makes keys and flags of it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.infra.ansible.playbooks import BIN, LAYOUTS, inventory, run
from tools.cluster import ClusterError
from tools.cluster.programs import CHECKOUT, path

RENDER = CHECKOUT / "tests/infra/ansible/render.yml"
POLICIES = CHECKOUT / "ansible/roles/control_plane/files"
KEY = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="
"""Encrypts Secrets in etcd here; a cluster has one of its own."""

Node = dict[str, str]
"""Texts of a node by name: `kubeadm` (of a control plane node), `join`, `encryption`."""


def render(environment: str, folder: Path) -> dict[str, Node]:
    """Files that Ansible writes to each node of the environment."""
    if not (BIN / "ansible-playbook").exists():
        raise ClusterError("Ansible is not installed: run tools/infra/setup.")
    hosts = folder / "inventory.yml"
    hosts.write_text(yaml.safe_dump(inventory(environment, LAYOUTS["environments"][environment]["layout"])))
    variables = f"checkout={CHECKOUT} control_plane_encryption_key={KEY}"
    done = run(RENDER, "-i", hosts, "-e", variables, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json")
    if done.returncode:
        raise ClusterError(f"Ansible could not render the configuration: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    found = json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"]
    return {name: row["msg"] for name, row in found.items()}


def control_plane(nodes: dict[str, Node]) -> Node:
    return next(texts for texts in nodes.values() if texts["kubeadm"])


def kubeadm(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **environment}
    return subprocess.run([path("kubeadm"), *arguments], capture_output=True, text=True, env=variables, timeout=120)


def prepare(node: Node, folder: Path) -> dict[str, dict[str, str]]:
    """Certificates, kubeconfigs and policies below `folder`; the arguments of each program as kubeadm gives them.

    Only places differ from those of a node: paths are below `folder`, and the certificates also name this machine."""
    home = folder / "kubernetes"
    (home / "policies").mkdir(parents=True)
    (folder / "audit").mkdir()
    (home / "policies/audit.yaml").write_bytes((POLICIES / "audit.yaml").read_bytes())
    (home / "policies/encryption.yaml").write_text(node["encryption"])
    documents = [row for row in yaml.safe_load_all(node["kubeadm"]) if row]
    for document in documents:
        if document["kind"] == "ClusterConfiguration":
            document["certificatesDir"] = str(home / "pki")
            names = document["apiServer"]["certSANs"]
            names.extend(name for name in ("127.0.0.1", "localhost") if name not in names)
    config = folder / "kubeadm.yaml"
    config.write_text(yaml.safe_dump_all(documents))
    _phase(config, "certs", "all")
    _phase(config, "kubeconfig", "all", "--kubeconfig-dir", home)
    manifests = folder / "manifests"
    manifests.mkdir()
    for words in (("etcd", "local"), ("control-plane", "all")):
        _phase(config, *words, "--dry-run", KUBEADM_INIT_DRYRUN_DIR=str(manifests))
    return {file.stem: _arguments(file, folder) for file in sorted(manifests.rglob("*.yaml"))}


def _phase(config: Path, *words: str | Path, **environment: str) -> None:
    done = kubeadm("init", "phase", *words, "--config", config, **environment)
    if done.returncode:
        raise ClusterError(f"kubeadm init phase {' '.join(map(str, words))} failed: {done.stderr.strip()[-2000:]}")


def _arguments(manifest: Path, folder: Path) -> dict[str, str]:
    pod: dict[str, Any] = yaml.safe_load(manifest.read_text())
    pairs = [word.removeprefix("--").partition("=") for word in pod["spec"]["containers"][0]["command"][1:]]
    moved = {"/etc/kubernetes/": folder / "kubernetes", "/var/log/kubernetes/audit/": folder / "audit"}
    found = {}
    for name, _, value in pairs:
        for prefix, place in moved.items():
            if value.startswith(prefix):
                value = str(place / value.removeprefix(prefix))
        found[name] = value
    return found
