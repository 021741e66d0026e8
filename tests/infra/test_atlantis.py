"""Atlantis: what it plans is what there is, and its account is the one that its role trusts."""

import json

import yaml

from tests.infra import plans
from tests.infra.plans import Plan

REPOSITORY = yaml.safe_load((plans.CHECKOUT / "atlantis.yaml").read_text())
APPLICATION = yaml.safe_load((plans.CHECKOUT / "terraform/atlantis/application.yaml").read_text())
VALUES = APPLICATION["spec"]["source"]["helm"]["valuesObject"]


def test_every_environment_is_planned_with_its_own_variables() -> None:
    layouts = yaml.safe_load((plans.CHECKOUT / "clusters/layouts.yaml").read_text())
    assert {row["workspace"] for row in REPOSITORY["projects"]} == layouts["environments"].keys()
    for row in REPOSITORY["projects"]:
        assert row["name"] == row["workspace"]
        assert (plans.CHECKOUT / row["dir"] / f"envs/{row['workspace']}.tfvars").exists()
        for pattern in row["autoplan"]["when_modified"]:
            assert list((plans.CHECKOUT / row["dir"]).glob(pattern)), pattern
        assert row["workflow"] in REPOSITORY["workflows"]


def test_nothing_is_applied_without_an_approval() -> None:
    server = yaml.safe_load(VALUES["repoConfig"])["repos"][0]
    for row in (*REPOSITORY["projects"], server):
        assert "approved" in row["apply_requirements"]
    assert "github.com/ORGANISATION/REPOSITORY" == server["id"] == VALUES["orgAllowlist"]


def test_its_variables_are_given() -> None:
    steps = yaml.safe_dump(REPOSITORY["workflows"])
    for name in ("ECO2_STATE_BUCKET", "AWS_REGION"):
        assert f"${name}" in steps
        assert name in VALUES["environment"]
    versions = {row["terraform_version"] for row in REPOSITORY["projects"]}
    assert versions == {VALUES["environment"]["ATLANTIS_DEFAULT_TF_VERSION"]}


def test_its_role_trusts_its_account(applied: dict[str, Plan]) -> None:
    role = applied["private"].resources['aws_iam_role.pod["atlantis"]']
    account = f"{APPLICATION['spec']['destination']['namespace']}:{VALUES['serviceAccount']['name']}"
    assert f'"system:serviceaccount:{account}"' in role["assume_role_policy"]
    arn = VALUES["serviceAccount"]["annotations"]["eks.amazonaws.com/role-arn"]
    assert arn.split("role/")[1].replace("ENVIRONMENT", "prod") == role["name"]


def test_its_role_is_made_only_where_it_runs(applied: dict[str, Plan]) -> None:
    runs = {case for case, plan in applied.items() if 'aws_iam_role.pod["atlantis"]' in plan.resources}
    attached = {
        case
        for case, plan in applied.items()
        for address, _ in plan.of("aws_iam_role_policy_attachment")
        if address.startswith("aws_iam_role_policy_attachment.atlantis")
    }
    assert runs == attached == {"private"}


def test_it_writes_the_state_of_its_environment_alone(applied: dict[str, Plan]) -> None:
    policy = json.loads(applied["private"].resources['aws_iam_role_policy.pod["atlantis"]']["policy"])
    written = [
        resource
        for statement in policy["Statement"]
        if {"s3:PutObject", "s3:DeleteObject"} & set(statement["Action"])
        for resource in statement["Resource"]
    ]
    assert written == ["arn:aws:s3:::eco2-terraform-state-111122223333/env:/prod/*"]


def test_a_plan_writes_no_lock_beside_the_state_of_another_environment() -> None:
    steps = REPOSITORY["workflows"]["eco2"]["plan"]["steps"]
    assert "-lock=false" in next(step["plan"]["extra_args"] for step in steps if "plan" in step)
