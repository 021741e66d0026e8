"""Ansible itself, from the tools of `make test-infra`, and inventories as Terraform renders them."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[3]
ANSIBLE = CHECKOUT / "ansible"
BIN = CHECKOUT / ".venv-infra" / "bin"
MISSING = "Ansible is not in .venv-infra: `make test-infra` installs it; this was not checked"
LAYOUTS: dict[str, Any] = yaml.safe_load((CHECKOUT / "clusters/layouts.yaml").read_text())
SAMPLE: dict[str, Any] = yaml.safe_load((ANSIBLE / "inventory/sample.yml").read_text())
CASES = (*((name, row["layout"]) for name, row in LAYOUTS["environments"].items()), ("dev", "fourteen"))
"""Environments with their layouts, and the layout that no environment has."""


def inventory(environment: str, layout: str) -> dict[str, Any]:
    """As ansible/INVENTORY.md has it, for any layout."""
    everything: dict[str, Any] = json.loads(json.dumps(SAMPLE).replace("eco2-dev", f"eco2-{environment}"))
    shared = everything["all"]["vars"]
    shared.update(eco2_environment=environment, eco2_layout=layout)
    hosts: dict[str, Any] = {}
    names = [
        (f"{row['name']}-{number}" if "count" in row else row["name"], row)
        for row in LAYOUTS["layouts"][layout]
        for number in range(1, row.get("count", 1) + 1)
    ]
    for number, (name, row) in enumerate(names, 1):
        pool = LAYOUTS["pools"][row["pool"]]
        zone = f"ap-northeast-2{'abc'[number % 3]}"
        hosts[name] = {
            "ansible_host": f"i-{number:017x}",
            "public_ip": f"198.51.100.{number}",
            "private_ip": f"10.10.0.{number + 10}",
            "zone": zone,
            "instance_type": row["type"],
            "provider_id": f"aws:///{zone}/i-{number:017x}",
            "node_pool": row["pool"],
            "node_labels": pool["labels"],
            "node_taints": pool.get("taints", []),
            "topology_labels": {
                "topology.kubernetes.io/region": "ap-northeast-2",
                "topology.kubernetes.io/zone": zone,
                "node.kubernetes.io/instance-type": row["type"],
            },
        }
    masters: dict[str, Any] = {name: {} for name, row in hosts.items() if row["node_pool"] == "control-plane"}
    workers: dict[str, Any] = {name: {} for name in hosts if name not in masters}
    everything["all"]["hosts"] = hosts
    everything["all"]["children"] = {"masters": {"hosts": masters}, "workers": {"hosts": workers}}
    return everything


def run(*arguments: str | Path, tool: str = "ansible-playbook", **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "NO_COLOR": "1",
        "PATH": f"{BIN}:{os.environ['PATH']}",
        **environment,
    }
    # Ansible refuses to run under a locale other than UTF-8.
    variables["LC_ALL"] = "C.UTF-8"
    return subprocess.run(
        [BIN / tool, *arguments], cwd=ANSIBLE, env=variables, capture_output=True, text=True, timeout=600
    )
