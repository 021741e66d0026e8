"""Values of the secrets that Terraform creates empty: those that can be are generated, the others are listed.

An existing value changes only on request, so that this can be repeated.
"""

import base64
import json
import re
import secrets as random
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LETTERS = string.ascii_letters + string.digits
"""Passwords go into URLs as they are."""
LENGTH = 40
MANIFESTS = Path("workloads/secrets/external-secrets/base")
GENERATED = {
    "grafana": ("password",),
    "object-store": ("upload_secret",),
    "platform": ("service_secret",),
    "postgres": ("password",),
    "redis-cache": ("password",),
    "redis-streams": ("password",),
}
ENTERED = (
    *("backups", "dockerhub", "kakao-local", "news-sources", "paid-model", "push", "sign-in-providers"),
    *("signing-keys", "slack", "weather"),
)
"""Secrets of third parties: workloads/secrets/README.md has their sources."""
ETCD_KEY = "etcd-encryption-key"
UNSET = "unset"


class UnknownSecret(Exception):
    """There is no generated value of that name."""


@dataclass(frozen=True)
class Report:
    """`made` and `kept` by SECRET.PROPERTY; `missing`: secrets that are still to be entered."""

    made: list[str]
    kept: list[str]
    missing: list[str]


@dataclass(frozen=True)
class Cloud:
    vault: Any
    parameters: Any
    iam: Any


def broker_users(checkout: Path) -> tuple[str, ...]:
    """Properties of the secret `broker`: one for each user, as the manifests read them."""
    found: set[str] = set()
    for path in sorted((checkout / MANIFESTS).glob("*.yaml")):
        for document in path.read_text().split("\n---\n"):
            if re.search(r"key: broker\b", document):
                found.update(re.findall(r"\{\{ \.(\w+) \}\}", document))
    return tuple(sorted(found))


def generated(checkout: Path) -> Mapping[str, tuple[str, ...]]:
    return {**GENERATED, "broker": broker_users(checkout)}


def fill(cloud: Cloud, environment: str, checkout: Path, rotate: str = "", dry_run: bool = False) -> Report:
    """Generate missing values, and those that `rotate` names as SECRET.PROPERTY. UnknownSecret."""
    report = Report([], [], [])
    wanted = generated(checkout)
    names = {f"{name}.{key}" for name, keys in wanted.items() for key in keys} | {"object-store.access_key"}
    if rotate and rotate not in names:
        raise UnknownSecret(f"Nothing generated is named {rotate}; there is: {', '.join(sorted(names))}")
    for name, keys in wanted.items():
        identity = f"eco2/{environment}/{name}"
        values = _read(cloud.vault, identity)
        fresh = {}
        for key in keys:
            title = f"{name}.{key}"
            if values.get(key) and title != rotate:
                report.kept.append(title)
            else:
                fresh[key] = "".join(random.choice(LETTERS) for _ in range(LENGTH))
                report.made.append(title)
        if fresh and not dry_run:
            cloud.vault.put_secret_value(SecretId=identity, SecretString=json.dumps({**values, **fresh}))
    _access_key(cloud, environment, report, rotate == "object-store.access_key", dry_run)
    _etcd_key(cloud, environment, report, dry_run)
    report.missing.extend(name for name in ENTERED if not _read(cloud.vault, f"eco2/{environment}/{name}"))
    return report


def _read(vault: Any, identity: str) -> dict[str, str]:
    try:
        return json.loads(vault.get_secret_value(SecretId=identity)["SecretString"])  # type: ignore[no-any-return]
    except vault.exceptions.ResourceNotFoundException:
        # A secret without a value answers so as well; one that is missing is told apart when a value is put.
        return {}


def _access_key(cloud: Cloud, environment: str, report: Report, rotate: bool, dry_run: bool) -> None:
    """The key that signs upload URLs; the one before works until the next rotation, and so do URLs signed with it."""
    identity, user = f"eco2/{environment}/object-store", f"eco2-{environment}-object-store"
    values = _read(cloud.vault, identity)
    if values.get("access_key") and not rotate:
        report.kept.append("object-store.access_key")
        return
    report.made.append("object-store.access_key")
    if dry_run:
        return
    current = values.get("access_key")
    for row in cloud.iam.list_access_keys(UserName=user)["AccessKeyMetadata"]:
        # AWS allows two: the one in use stays, and one that was made and never stored is of no use.
        if row["AccessKeyId"] != current:
            cloud.iam.delete_access_key(UserName=user, AccessKeyId=row["AccessKeyId"])
    made = cloud.iam.create_access_key(UserName=user)["AccessKey"]
    fresh = {"access_key": made["AccessKeyId"], "secret_key": made["SecretAccessKey"]}
    cloud.vault.put_secret_value(SecretId=identity, SecretString=json.dumps({**values, **fresh}))


def _etcd_key(cloud: Cloud, environment: str, report: Report, dry_run: bool) -> None:
    """Never rotated here: the contents of etcd would have to be written again with the new key."""
    name = f"/eco2/{environment}/{ETCD_KEY}"
    if cloud.parameters.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"] != UNSET:
        report.kept.append(ETCD_KEY)
        return
    report.made.append(ETCD_KEY)
    if not dry_run:
        value = base64.b64encode(random.token_bytes(32)).decode()
        cloud.parameters.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
