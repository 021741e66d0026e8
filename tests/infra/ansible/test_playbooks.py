"""Style and syntax of the playbooks, and the ways that they connect."""

import json
from pathlib import Path

import pytest
import yaml

from tests.infra.ansible.playbooks import ANSIBLE, inventory, run

PLAYBOOKS = sorted(path.name for path in ANSIBLE.glob("*.yml"))


@pytest.mark.timeout(600)
def test_lint_of_the_production_profile_is_clean() -> None:
    done = run("--offline", "--nocolor", tool="ansible-lint")
    assert done.returncode == 0, done.stdout + done.stderr
    assert yaml.safe_load((ANSIBLE / ".ansible-lint").read_text())["profile"] == "production"


@pytest.mark.timeout(300)
def test_every_playbook_is_read_without_an_error() -> None:
    assert {"site.yml", "upgrade.yml", "reset.yml", "restore-etcd.yml"} <= set(PLAYBOOKS)
    done = run("--syntax-check", "-i", ANSIBLE / "inventory/sample.yml", *PLAYBOOKS)
    assert done.returncode == 0, done.stdout + done.stderr


def _connection(tmp_path: Path, *words: str) -> dict[str, str]:
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump(inventory("dev", "four")))
    shown = "{{ {'connection': ansible_connection, 'host': ansible_host, 'ssh': ansible_ssh_extra_args} | to_json }}"
    done = run(
        "k8s-storage", "-i", path, "--playbook-dir", ANSIBLE, "-m", "ansible.builtin.debug", "-a", f"msg='{shown}'",
        *words,
        tool="ansible", ANSIBLE_LOAD_CALLBACK_PLUGINS="1", ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    message = json.loads(done.stdout)["plays"][0]["tasks"][0]["hosts"]["k8s-storage"]["msg"]
    found: dict[str, str] = json.loads(message) if isinstance(message, str) else message
    return found


def test_nodes_are_reached_by_session_manager_and_by_ssh_when_asked(tmp_path: Path) -> None:
    usual = _connection(tmp_path)
    assert (usual["connection"], usual["host"]) == ("amazon.aws.aws_ssm", "i-00000000000000004")
    asked = _connection(tmp_path, "-e", "use_ssh=true")
    assert (asked["connection"], asked["ssh"]) == ("ansible.builtin.ssh", "-o HostName=198.51.100.4")


def test_nothing_is_reset_without_the_name_of_the_cluster(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump(inventory("dev", "four")))
    done = run("reset.yml", "-i", path, "-e", "confirm=eco2-prod")
    assert done.returncode != 0
    assert "Give -e confirm=eco2-dev" in done.stdout + done.stderr
    assert "Reset the node" not in done.stdout


def test_argo_cd_can_come_later() -> None:
    """scripts/deployment/bootstrap_cluster.sh runs site.yml in two halves."""
    inventory_file = ANSIBLE / "inventory/sample.yml"
    first = run("site.yml", "-i", inventory_file, "--list-tasks", "--skip-tags", "argocd").stdout
    second = run("site.yml", "-i", inventory_file, "--list-tasks", "--tags", "argocd").stdout
    roles = {"base", "containerd", "control_plane", "worker", "helm", "calico", "node_labels", "ebs_csi", "etcd_backup"}
    assert all(f" {role} : " in first for role in roles)
    assert " argocd : " not in first
    assert all(f" {role} : " not in second for role in roles)
    assert all(f" {role} : " in second for role in ("argocd", "platform"))
