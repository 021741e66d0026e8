"""Plans of `terraform/` for each environment, applied with mocks by `terraform test`."""

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Values = dict[str, Any]

CHECKOUT = Path(__file__).parents[2]
TOOLS = CHECKOUT / ".venv-infra"
CONFIGURATION = TOOLS / "terraformrc"
TERRAFORM = shutil.which("terraform")
MISSING = "terraform is not installed: this was not checked"

CASES: Mapping[str, tuple[str, dict[str, str]]] = {
    # Environment, and variables beside those of its file.
    "dev": ("dev", {}),
    "staging": ("staging", {}),
    "prod": ("prod", {}),
    "fourteen": ("dev", {"layout": "fourteen", "delete_data": "true"}),
    "private": (
        "prod",
        {
            "private_nodes": "true",
            "nat_per_zone": "true",
            "enable_cloudfront": "false",
            "ssh_cidrs": '["203.0.113.0/24"]',
            "zone_id": "Z111",
            "atlantis": "true",
        },
    ),
}
"""Every environment and every layout, and the other side of each toggle."""


@dataclass
class Plan:
    """Resources by address, outputs by name; what mocks made up included."""

    case: str
    environment: str
    resources: dict[str, Values]
    outputs: dict[str, Any]
    layouts: Values = field(default_factory=lambda: yaml.safe_load((CHECKOUT / "clusters/layouts.yaml").read_text()))

    def is_given(self, toggle: str) -> bool:
        """True when the case switches the variable on."""
        return CASES[self.case][1].get(toggle) == "true"

    def copy(self) -> "Plan":
        """One that a broken fixture may change."""
        return copy.deepcopy(self)

    def of(self, kind: str) -> Iterator[tuple[str, Values]]:
        """Address and values of the resources of a type."""
        for address, values in self.resources.items():
            if address.startswith(f"{kind}."):
                yield address, values

    @property
    def inventory(self) -> Values:
        """The `all` of the rendered inventory."""
        return yaml.safe_load(self.outputs["ansible_inventory"])["all"]  # type: ignore[no-any-return]

    def change_inventory(self, path: str, value: Any) -> None:
        """Set what a path such as `hosts/k8s-master/node_labels` names."""
        inventory = {"all": self.inventory}
        *parents, last = path.split("/")
        place = inventory["all"]
        for name in parents:
            place = place[name]
        place[last] = value
        self.outputs["ansible_inventory"] = yaml.safe_dump(inventory)


def copy_tree(folder: Path) -> Path:
    """The configuration beside the file that it reads; Terraform writes into its own folder."""
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*")
    shutil.copytree(CHECKOUT / "terraform", folder / "terraform", ignore=ignored)
    (folder / "clusters").mkdir()
    shutil.copy(CHECKOUT / "clusters/layouts.yaml", folder / "clusters")
    return folder / "terraform"


def terraform(folder: Path, environment: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Terraform on a copy, with the schema-only provider and nothing of this machine's configuration."""
    known = {key: value for key, value in os.environ.items() if not key.startswith(("TF_", "AWS_"))}
    settings = {"TF_CLI_CONFIG_FILE": str(CONFIGURATION), "TF_WORKSPACE": environment, "TF_IN_AUTOMATION": "1"}
    command = [str(TERRAFORM), f"-chdir={folder}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**known, **settings})


def apply(folder: Path, case: str) -> Plan:
    """Apply a case with mocks; AssertionError with Terraform's words where it or one of its own assertions fails."""
    environment, variables = CASES[case]
    given = [f"-var={name}={value}" for name, value in variables.items()]
    options = ["-json", "-verbose", f"-var-file=envs/{environment}.tfvars", *given]
    done = terraform(folder, environment, "test", *options)
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    said = [message.get("diagnostic", message)["detail"] for message in messages if message["type"] == "diagnostic"]
    assert done.returncode == 0, "\n".join(said) or done.stderr
    state = next(message["test_state"] for message in messages if message["type"] == "test_state")
    found = state["root_module"]["resources"]
    return Plan(
        case,
        environment,
        {row["address"]: row["values"] for row in found if row["mode"] == "managed"},
        {name: output["value"] for name, output in state["outputs"].items()},
    )
