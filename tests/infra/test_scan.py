"""Trivy's configuration scan of terraform/ with the variables of prod, and the findings that we do not share."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.infra import plans
from tests.infra.plans import Plan

TRIVY = Path(sys.executable).parent / "trivy"


@dataclass(frozen=True)
class Skip:
    """`id` of a check, the resources it is wrong about (a regular expression), and why."""

    id: str
    resources: str
    reason: str


SKIPS = (
    Skip("AWS-0010", "aws_cloudfront_distribution.*", "Logs of who looked at which photo are not kept."),
    Skip(
        "AWS-0011", "aws_cloudfront_distribution.*", "Photos by GET and signed uploads: nothing for a WAF to look at."
    ),
    Skip("AWS-0087", ".*oidc.*", "IAM reads the keys of the issuer from it; its policy names the two objects."),
    Skip("AWS-0093", ".*oidc.*", "IAM reads the keys of the issuer from it; its policy names the two objects."),
    Skip("AWS-0089", "aws_s3_bucket.*", "Access is logged where it is decided: by the services, without addresses."),
    Skip(
        "AWS-0090", ".*(images|ssm|uploads).*", "Deleted means deleted: versions of photos would outlive their owners."
    ),
    Skip(
        "AWS-0098", "aws_secretsmanager_secret.*", "The key of AWS; one of our own costs more than the cluster's disks."
    ),
    Skip("AWS-0132", "aws_s3_bucket.*", "Encrypted with the key of S3; clients could not upload with a key of ours."),
    Skip(
        "AWS-0104",
        ".*egress_rule.nodes.*",
        "Nodes fetch images and ask providers; network policies say which Pods may.",
    ),
    Skip("AWS-0143", "aws_iam_user.*", "The one user: upload URLs need a key that outlives them."),
    Skip("AWS-0178", "aws_vpc.*", "Flow logs are switched on when something is looked for."),
)


def scan(folder: Path, *options: str) -> Iterator[tuple[str, str, str]]:
    """Id, resource and message of every finding."""
    offline = ["--skip-check-update", "--skip-version-check", "--disable-telemetry", "--cache-dir", f"{folder}/.cache"]
    command = [str(TRIVY), "config", *offline, *options, "--quiet", "--format", "json", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    for result in json.loads(done.stdout).get("Results", []):
        for fault in result.get("Misconfigurations", []):
            yield fault["ID"], fault["CauseMetadata"].get("Resource", ""), fault["Message"]


def scan_configuration(folder: Path) -> list[tuple[str, str, str]]:
    return list(scan(folder, "--misconfig-scanners", "terraform", "--tf-vars", f"{folder}/terraform/envs/prod.tfvars"))


def skip_of(check: str, resource: str) -> Skip | None:
    return next((row for row in SKIPS if row.id == check and re.fullmatch(row.resources, resource)), None)


def test_trivy_finds_nothing_but_the_skips(tmp_path: Path) -> None:
    plans.copy_tree(tmp_path)
    found = scan_configuration(tmp_path)
    assert found, "trivy looked at nothing"
    new = [f"{check} {resource}: {message}" for check, resource, message in found if not skip_of(check, resource)]
    assert not new, "\n".join(new)
    used = {skip_of(check, resource) for check, resource, _ in found}
    assert not [f"trivy no longer finds {row.id} on {row.resources}" for row in SKIPS if row not in used]


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("storage.tf", "ignore_public_acls      = true", "ignore_public_acls      = false"),
        ("cdn.tf", '"redirect-to-https"', '"allow-all"'),
    ],
)
def test_a_broken_configuration_is_rejected(tmp_path: Path, path: str, old: str, new: str) -> None:
    folder = plans.copy_tree(tmp_path)
    text = (folder / path).read_text()
    assert old in text
    (folder / path).write_text(text.replace(old, new, 1))
    assert [row for row in scan_configuration(tmp_path) if not skip_of(row[0], row[1])]


def plan_of_nodes(plan: Plan) -> dict[str, Any]:
    """A plan with the nodes alone, in Terraform's format.

    Trivy does not follow the layouts that the sources read, and in a plan it does not see which bucket a setting is of:
    it gets each in the form that it understands."""
    provider = "registry.terraform.io/hashicorp/aws"
    resources = [
        (
            {"address": address, "mode": "managed", "type": "aws_instance", "name": "node", "provider_name": provider},
            node,
        )
        for address, node in plan.of("aws_instance")
    ]
    return {
        "format_version": "1.2",
        "terraform_version": "1.11.4",
        "planned_values": {"root_module": {"resources": [{**head, "values": node} for head, node in resources]}},
        "resource_changes": [
            {**head, "change": {"actions": ["create"], "before": None, "after": node, "after_unknown": {}}}
            for head, node in resources
        ],
        "configuration": {"root_module": {"resources": [{**resources[0][0], "address": "aws_instance.node"}]}},
    }


def scan_nodes(plan: Plan, folder: Path) -> list[tuple[str, str, str]]:
    (folder / "tfplan.json").write_text(json.dumps(plan_of_nodes(plan)))
    return list(scan(folder))


def test_trivy_finds_nothing_about_the_nodes(applied: dict[str, Plan], tmp_path: Path) -> None:
    assert scan_nodes(applied["prod"], tmp_path) == []


@pytest.mark.parametrize(
    ("block", "name", "value", "check"),
    [
        ("root_block_device", "encrypted", False, "AWS-0131"),
        ("metadata_options", "http_tokens", "optional", "AWS-0028"),
    ],
)
def test_a_broken_node_is_rejected(
    applied: dict[str, Plan], tmp_path: Path, block: str, name: str, value: object, check: str
) -> None:
    broken = applied["prod"].copy()
    broken.resources['aws_instance.node["k8s-master"]'][block][0][name] = value
    assert [row[0] for row in scan_nodes(broken, tmp_path)] == [check]
