"""terraform/: initialised, validated and applied with mocks for every environment and layout."""

from pathlib import Path

import pytest
import yaml

from tests.infra import plans
from tests.infra.checks.registry import CHECKERS, Checker, Spoil
from tests.infra.plans import Plan

SPOILS = [
    pytest.param(row, spoil, id=f"{row.name}-{spoil.__name__}") for row in CHECKERS.values() for spoil in row.spoils
]


def test_the_configuration_is_valid_and_formatted(configuration: Path) -> None:
    checked = plans.terraform(configuration, "dev", "validate", "-no-color")
    assert checked.returncode == 0, checked.stderr
    formatted = plans.terraform(configuration, "dev", "fmt", "-check", "-recursive", "-diff")
    assert formatted.returncode == 0, formatted.stdout


def test_every_layout_and_environment_has_a_case() -> None:
    layouts = yaml.safe_load((plans.CHECKOUT / "clusters/layouts.yaml").read_text())
    environments = {environment for environment, _ in plans.CASES.values()}
    assert environments == layouts["environments"].keys()
    covered = {
        variables.get("layout", layouts["environments"][environment]["layout"])
        for environment, variables in plans.CASES.values()
    }
    assert covered == layouts["layouts"].keys()


@pytest.mark.parametrize("row", CHECKERS.values(), ids=CHECKERS)
def test_every_case_passes(row: Checker, applied: dict[str, Plan]) -> None:
    findings = [f"{case}: {finding}" for case, plan in applied.items() for finding in row.find(plan)]
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize(("row", "spoil"), SPOILS)
def test_a_broken_plan_is_rejected(row: Checker, spoil: Spoil, applied: dict[str, Plan]) -> None:
    broken = applied["dev"].copy()
    spoil(broken)
    assert list(row.find(broken))


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("environment=production", "environment is dev, staging or prod"),
        ("layout=five", "has no such layout"),
        ('ssh_cidrs=["0.0.0.0/0"]', "never the whole Internet"),
        ("vpc_cidr=10.0.0.0/30", "can be cut into 16"),
    ],
)
def test_a_wrong_variable_is_refused(configuration: Path, variable: str, told: str) -> None:
    options = ["-no-color", "-var-file=envs/dev.tfvars", f"-var={variable}"]
    refused = plans.terraform(configuration, "dev", "test", *options)
    assert refused.returncode != 0
    assert told in " ".join(refused.stdout.split()) + " ".join(refused.stderr.split())


def test_another_workspace_is_refused(configuration: Path) -> None:
    refused = plans.terraform(configuration, "prod", "test", "-no-color", "-var-file=envs/dev.tfvars")
    assert refused.returncode != 0
    assert "The workspace prod is not dev" in " ".join((refused.stdout + refused.stderr).split())
