"""The rendered inventory, read by Ansible itself."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.infra import plans
from tests.infra.plans import Plan

ANSIBLE = plans.TOOLS / "bin/ansible-inventory"


def listed(inventory: Path) -> subprocess.CompletedProcess[str]:
    known = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    settings = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true", "ANSIBLE_HOME": str(inventory.parent)}
    command = [str(ANSIBLE), "--inventory", str(inventory), "--list"]
    # Away from the checkout, whose ansible.cfg would count.
    return subprocess.run(
        command, capture_output=True, text=True, timeout=110, cwd=inventory.parent, env={**known, **settings}
    )


@pytest.mark.parametrize("case", ["dev", "prod"])
def test_ansible_finds_every_node_with_its_variables(applied: dict[str, Plan], tmp_path: Path, case: str) -> None:
    plan = applied[case]
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(plan.outputs["ansible_inventory"])
    done = listed(inventory)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    found = json.loads(done.stdout)
    wanted = plan.inventory
    assert found["_meta"]["hostvars"].keys() == wanted["hosts"].keys()
    assert found["masters"]["hosts"] == ["k8s-master"]
    for name, host in found["_meta"]["hostvars"].items():
        assert {**wanted["vars"], **wanted["hosts"][name]}.items() <= host.items()


def test_the_sample_is_an_inventory_too() -> None:
    done = listed(plans.CHECKOUT / "ansible/inventory/sample.yml")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["_meta"]["hostvars"]) == 4


def test_a_broken_inventory_is_refused(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.yml"
    inventory.write_text("all:\n  hosts: [k8s-master]\n")
    assert listed(inventory).returncode != 0
