"""Resources that Kubernetes made in AWS for one cluster, which Terraform does not know: balancers, volumes, groups.

Everything is found by the tags that the controllers write with the name of the cluster, never by names or by being
unused: another cluster of the same account is left alone.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

ATTEMPTS = 60
PAUSE = 5.0
"""Seconds between two looks at something that AWS takes its time to give up."""

BALANCER_TAG = "elbv2.k8s.aws/cluster"


class StillThere(Exception):
    """Something was not given up in time."""


@dataclass(frozen=True)
class Leftover:
    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


@dataclass(frozen=True)
class Cloud:
    """Clients of one region, and how to wait."""

    ec2: Any
    elb: Any
    sleep: Callable[[float], None] = time.sleep


def find(cloud: Cloud, cluster: str) -> list[Leftover]:
    """In the order in which they can be removed."""
    return [
        *(Leftover("load balancer", arn) for arn in _balancers(cloud, "describe_load_balancers", cluster)),
        *(Leftover("target group", arn) for arn in _balancers(cloud, "describe_target_groups", cluster)),
        *(Leftover("volume", row["VolumeId"]) for row in _volumes(cloud, cluster)),
        *(Leftover("security group", row["GroupId"]) for row in _groups(cloud, cluster)),
    ]


def remove(cloud: Cloud, cluster: str, told: Callable[[Leftover], None]) -> None:
    """StillThere when AWS keeps a resource; a missing one is no error, so that this can be repeated."""
    for balancer in _balancers(cloud, "describe_load_balancers", cluster):
        told(Leftover("load balancer", balancer))
        cloud.elb.delete_load_balancer(LoadBalancerArn=balancer)
    # Its network interfaces hold the groups for a while.
    _wait(cloud, "load balancers", lambda: not list(_balancers(cloud, "describe_load_balancers", cluster)))
    for group in _balancers(cloud, "describe_target_groups", cluster):
        told(Leftover("target group", group))
        cloud.elb.delete_target_group(TargetGroupArn=group)
    for volume in _volumes(cloud, cluster):
        told(Leftover("volume", volume["VolumeId"]))
        _delete_volume(cloud, volume)
    groups = list(_groups(cloud, cluster))
    for row in groups:
        _forget_rules(cloud, row)
    for row in groups:
        told(Leftover("security group", row["GroupId"]))
        identity = row["GroupId"]
        _wait(cloud, f"security group {identity}", partial(_delete_group, cloud, identity))


def _balancers(cloud: Cloud, operation: str, cluster: str) -> list[str]:
    """ARNs of load balancers or target groups with the tag of the cluster."""
    name, arn = ("LoadBalancers", "LoadBalancerArn") if "load" in operation else ("TargetGroups", "TargetGroupArn")
    arns = [row[arn] for page in cloud.elb.get_paginator(operation).paginate() for row in page[name]]
    found = []
    # 20 at most in one question.
    for start in range(0, len(arns), 20):
        for row in cloud.elb.describe_tags(ResourceArns=arns[start : start + 20])["TagDescriptions"]:
            found += [row["ResourceArn"]] if {"Key": BALANCER_TAG, "Value": cluster} in row["Tags"] else []
    return found


def _volumes(cloud: Cloud, cluster: str) -> Iterator[dict[str, Any]]:
    """Those of the driver. Disks of nodes carry no such tag: they go with their nodes."""
    filters = [{"Name": f"tag:kubernetes.io/cluster/{cluster}", "Values": ["owned"]}]
    for page in cloud.ec2.get_paginator("describe_volumes").paginate(Filters=filters):
        yield from page["Volumes"]


def _groups(cloud: Cloud, cluster: str) -> Iterator[dict[str, Any]]:
    filters = [{"Name": f"tag:{BALANCER_TAG}", "Values": [cluster]}]
    for page in cloud.ec2.get_paginator("describe_security_groups").paginate(Filters=filters):
        yield from page["SecurityGroups"]


def _delete_volume(cloud: Cloud, volume: dict[str, Any]) -> None:
    """A volume in use is taken from its node first."""
    identity = volume["VolumeId"]
    for attachment in volume["Attachments"]:
        if attachment["State"] in ("attached", "busy"):
            cloud.ec2.detach_volume(VolumeId=identity, InstanceId=attachment["InstanceId"], Force=True)

    def free() -> bool:
        found = cloud.ec2.describe_volumes(VolumeIds=[identity])["Volumes"]
        return not found or found[0]["State"] in ("available", "error", "deleting", "deleted")

    _wait(cloud, f"volume {identity}", _or_gone(free, "InvalidVolume.NotFound"))
    _or_gone(lambda: bool(cloud.ec2.delete_volume(VolumeId=identity)), "InvalidVolume.NotFound")()


def _forget_rules(cloud: Cloud, group: dict[str, Any]) -> None:
    """Rules of two groups may name each other: neither could be deleted first."""
    for rules, revoke in (
        ("IpPermissions", cloud.ec2.revoke_security_group_ingress),
        ("IpPermissionsEgress", cloud.ec2.revoke_security_group_egress),
    ):
        if group[rules]:
            revoke(GroupId=group["GroupId"], IpPermissions=group[rules])


def _delete_group(cloud: Cloud, identity: str) -> bool:
    """False while something still uses it."""
    try:
        cloud.ec2.delete_security_group(GroupId=identity)
    except cloud.ec2.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "DependencyViolation":
            return False
        if code != "InvalidGroup.NotFound":
            raise
    return True


def _or_gone(ask: Callable[[], bool], code: str) -> Callable[[], bool]:
    """True as well where the thing is gone, which AWS says by the error `code`."""

    def asked() -> bool:
        try:
            return ask()
        except Exception as error:
            if getattr(error, "response", {}).get("Error", {}).get("Code") == code:
                return True
            raise

    return asked


def _wait(cloud: Cloud, what: str, done: Callable[[], bool]) -> None:
    for _ in range(ATTEMPTS):
        if done():
            return
        cloud.sleep(PAUSE)
    raise StillThere(f"AWS still has {what} after {ATTEMPTS * PAUSE:.0f} s")
