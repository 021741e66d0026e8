"""`eco2 infra` against AWS's double: what it deletes, what it leaves, what it makes."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from eco2.infra import costs, leftovers
from eco2.infra import secrets as values
from tests.infra import plans
from tests.infra.checks.rights import secret_names
from tests.infra.scripts import double

ECO2 = Path(sys.executable).parent / "eco2"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    if not (plans.TOOLS / "bin/moto_server").exists():
        pytest.skip("moto is not in .venv-infra: `make test-infra` installs it; this was not checked")
    with double.running() as found:
        yield found


def infra(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ECO2), "infra", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, env=double.environment(address))


class Account:
    """Two clusters of one account, each with what its controllers make."""

    def __init__(self, address: str) -> None:
        self.ec2, self.elb = double.client(address, "ec2"), double.client(address, "elbv2")
        self.vpc = self.ec2.create_vpc(CidrBlock="10.10.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [
            self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=f"10.10.{number}.0/24", AvailabilityZone=zone)["Subnet"][
                "SubnetId"
            ]
            for number, zone in enumerate(("ap-northeast-2a", "ap-northeast-2b"))
        ]

    def volume(self, tags: dict[str, str]) -> str:
        specification = [{"ResourceType": "volume", "Tags": _tags(tags)}]
        made = self.ec2.create_volume(AvailabilityZone="ap-northeast-2a", Size=10, TagSpecifications=specification)
        return str(made["VolumeId"])

    def attached_volume(self, tags: dict[str, str]) -> str:
        node = self.ec2.run_instances(ImageId="ami-1234abcd", MinCount=1, MaxCount=1, InstanceType="t3.small")
        volume = self.volume(tags)
        self.ec2.attach_volume(VolumeId=volume, InstanceId=node["Instances"][0]["InstanceId"], Device="/dev/sdf")
        return volume

    def group(self, name: str, tags: dict[str, str]) -> str:
        specification = [{"ResourceType": "security-group", "Tags": _tags(tags)}]
        made = self.ec2.create_security_group(
            GroupName=name, Description=name, VpcId=self.vpc, TagSpecifications=specification
        )
        return str(made["GroupId"])

    def allow(self, group: str, other: str) -> None:
        rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": other}]}
        self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])

    def balancer(self, name: str, tags: dict[str, str]) -> str:
        made = self.elb.create_load_balancer(Name=name, Subnets=self.subnets, Tags=_tags(tags))
        return str(made["LoadBalancers"][0]["LoadBalancerArn"])

    def target_group(self, name: str, tags: dict[str, str]) -> str:
        made = self.elb.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=self.vpc, Tags=_tags(tags))
        return str(made["TargetGroups"][0]["TargetGroupArn"])

    def everything(self) -> set[str]:
        return {
            *(row["VolumeId"] for row in self.ec2.describe_volumes()["Volumes"]),
            *(row["GroupId"] for row in self.ec2.describe_security_groups()["SecurityGroups"]),
            *(row["LoadBalancerArn"] for row in self.elb.describe_load_balancers()["LoadBalancers"]),
            *(row["TargetGroupArn"] for row in self.elb.describe_target_groups()["TargetGroups"]),
        }


def _tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def made_for(account: Account, cluster: str) -> list[str]:
    owned, balanced = {f"kubernetes.io/cluster/{cluster}": "owned"}, {"elbv2.k8s.aws/cluster": cluster}
    groups = [account.group(f"k8s-{cluster}-{number}", balanced) for number in (1, 2)]
    # Each lets the other in: neither can be deleted first.
    account.allow(groups[0], groups[1])
    account.allow(groups[1], groups[0])
    return [
        account.volume(owned),
        account.attached_volume(owned),
        *groups,
        account.balancer(f"k8s-{cluster}", balanced),
        account.target_group(f"k8s-{cluster}", balanced),
    ]


def test_what_a_cluster_left_goes_and_what_is_anothers_stays(address: str) -> None:
    account = Account(address)
    others = [
        *made_for(account, "eco2-prod"),
        # Names that begin alike, the tag of a shared network, a disk of nobody, the groups of Terraform.
        account.volume({"kubernetes.io/cluster/eco2-dev-old": "owned"}),
        account.volume({"kubernetes.io/cluster/eco2-dev": "shared"}),
        account.volume({"Name": "eco2-dev"}),
        account.group("eco2-dev-worker", {"Name": "eco2-dev-worker", "Cluster": "eco2-dev"}),
        account.group("k8s-eco2-dev-lookalike", {"elbv2.k8s.aws/cluster": "eco2-dev2"}),
    ]
    before = account.everything()
    ours = made_for(account, "eco2-dev")

    listed = infra(address, "leftovers", "--environment", "dev")
    assert listed.returncode == 0, listed.stderr
    assert {line.split()[-1] for line in listed.stdout.splitlines()} == set(ours)
    assert account.everything() >= set(ours), "listing deletes nothing"

    done = infra(address, "leftovers", "--environment", "dev", "--delete")
    assert done.returncode == 0, done.stdout + done.stderr
    left = account.everything()
    assert not left & set(ours)
    assert set(others) <= left
    assert before <= left
    again = infra(address, "leftovers", "--environment", "dev", "--delete")
    assert (again.returncode, again.stdout) == (0, "")


def test_a_group_in_use_is_waited_for_and_then_named() -> None:
    class Ec2:
        class exceptions:  # noqa: N801
            class ClientError(Exception):
                response = {"Error": {"Code": "DependencyViolation"}}  # noqa: RUF012

        def get_paginator(self, operation: str) -> Any:
            rows = {"SecurityGroups": [{"GroupId": "sg-1", "IpPermissions": [], "IpPermissionsEgress": []}]}
            rows["Volumes"] = []
            return type("Pages", (), {"paginate": lambda *_, **__: [rows]})()

        def revoke_security_group_ingress(self, **given: str) -> None:
            """There is none to revoke."""

        revoke_security_group_egress = revoke_security_group_ingress

        def delete_security_group(self, **given: str) -> None:
            raise self.exceptions.ClientError

    class Elb:
        def get_paginator(self, operation: str) -> Any:
            empty: dict[str, list[Any]] = {"LoadBalancers": [], "TargetGroups": []}
            return type("Pages", (), {"paginate": lambda _: [empty]})()

    pauses: list[float] = []
    with pytest.raises(leftovers.StillThere, match="sg-1"):
        leftovers.remove(leftovers.Cloud(Ec2(), Elb(), pauses.append), "eco2-dev", lambda _: None)
    assert len(pauses) == leftovers.ATTEMPTS


def test_the_bucket_of_the_state_is_made_once_and_closed(address: str) -> None:
    for _ in range(2):
        done = infra(address, "state")
        assert (done.returncode, done.stdout) == (0, f"eco2-terraform-state-{double.ACCOUNT}\n"), done.stderr
    s3, name = double.client(address, "s3"), done.stdout.strip()
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values())
    rules = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


@pytest.fixture
def vault(address: str) -> Iterator[Any]:
    """Secrets and parameters of staging as Terraform makes them: without values."""
    vault, parameters = double.client(address, "secretsmanager"), double.client(address, "ssm")
    iam = double.client(address, "iam")
    for name in secret_names():
        vault.create_secret(Name=f"eco2/staging/{name}")
    parameters.put_parameter(Name="/eco2/staging/etcd-encryption-key", Value="unset", Type="SecureString")
    iam.create_user(UserName="eco2-staging-object-store")
    yield vault
    for name in secret_names():
        vault.delete_secret(SecretId=f"eco2/staging/{name}", ForceDeleteWithoutRecovery=True)
    parameters.delete_parameter(Name="/eco2/staging/etcd-encryption-key")
    for row in iam.list_access_keys(UserName="eco2-staging-object-store")["AccessKeyMetadata"]:
        iam.delete_access_key(UserName="eco2-staging-object-store", AccessKeyId=row["AccessKeyId"])
    iam.delete_user(UserName="eco2-staging-object-store")


def read(vault: Any, name: str) -> dict[str, str]:
    return dict(json.loads(vault.get_secret_value(SecretId=f"eco2/staging/{name}")["SecretString"]))


def test_secrets_are_generated_once(address: str, vault: Any) -> None:
    first = infra(address, "secrets", "--environment", "staging")
    assert first.returncode == 0, first.stdout + first.stderr
    for name in values.ENTERED:
        assert name in first.stdout.splitlines()[-1]
    required = infra(address, "secrets", "--environment", "staging", "--require", "backups")
    assert required.returncode == 1
    assert "eco2/staging/backups has to be entered" in required.stderr
    broker = read(vault, "broker")
    assert broker.keys() == set(values.broker_users(plans.CHECKOUT)) >= {"scan_api", "keda"}
    assert all(value.isalnum() and len(value) >= 32 for value in broker.values())
    assert len(set(broker.values())) == len(broker)
    store = read(vault, "object-store")
    assert store.keys() == {"access_key", "secret_key", "upload_secret"}
    key = double.client(address, "ssm").get_parameter(Name="/eco2/staging/etcd-encryption-key", WithDecryption=True)
    assert len(base64.b64decode(key["Parameter"]["Value"])) == 32

    second = infra(address, "secrets", "--environment", "staging")
    assert second.stdout.startswith("made: nothing")
    assert (read(vault, "broker"), read(vault, "object-store")) == (broker, store)


def test_one_value_is_rotated_alone(address: str, vault: Any) -> None:
    infra(address, "secrets", "--environment", "staging")
    before = read(vault, "broker")
    assert infra(address, "secrets", "--environment", "staging", "--rotate", "broker.scan_api").returncode == 0
    after = read(vault, "broker")
    assert {name for name in before if before[name] != after[name]} == {"scan_api"}

    old = read(vault, "object-store")
    for _ in range(3):
        done = infra(address, "secrets", "--environment", "staging", "--rotate", "object-store.access_key")
        assert done.returncode == 0, done.stderr
    new = read(vault, "object-store")
    assert new["access_key"] != old["access_key"]
    assert new["upload_secret"] == old["upload_secret"]
    keys = double.client(address, "iam").list_access_keys(UserName="eco2-staging-object-store")["AccessKeyMetadata"]
    assert len(keys) == 2
    assert new["access_key"] in {row["AccessKeyId"] for row in keys}


def test_a_dry_run_and_a_wrong_name_change_nothing(address: str, vault: Any) -> None:
    assert infra(address, "secrets", "--environment", "staging", "--dry-run").stdout.startswith("would make")
    wrong = infra(address, "secrets", "--environment", "staging", "--rotate", "broker.nobody")
    assert wrong.returncode == 1
    assert "broker.scan_api" in wrong.stderr
    with pytest.raises(vault.exceptions.ResourceNotFoundException):
        read(vault, "broker")


def test_aws_that_refuses_is_told_in_a_sentence(address: str) -> None:
    done = infra(address, "secrets", "--environment", "prod")
    assert done.returncode == 1
    assert done.stderr.startswith("AWS: ")
    assert "Traceback" not in done.stderr


def test_every_secret_is_generated_or_entered() -> None:
    assert secret_names() == {*values.generated(plans.CHECKOUT), *values.ENTERED}


def test_every_type_of_node_has_a_price() -> None:
    layouts = yaml.safe_load((plans.CHECKOUT / "clusters/layouts.yaml").read_text())
    kinds = {row["type"] for rows in layouts["layouts"].values() for row in rows}
    kinds |= {kind for row in layouts["environments"].values() for kind in row.get("types", {}).values()}
    assert kinds <= costs.INSTANCES.keys()
