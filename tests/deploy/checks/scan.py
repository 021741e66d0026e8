"""Trivy's configuration scan of what prod deploys, with a short list of findings that we do not share."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import orjson

from tests.deploy.applications import deployed
from tests.deploy.checks import checker
from tests.deploy.platform import Object, Platform, title

TRIVY = Path(sys.executable).parent / "trivy"
KINDS = {
    # What trivy has checks for. Custom resources are the schemas' and the other checkers' business.
    *("ConfigMap", "CronJob", "DaemonSet", "Deployment", "Ingress", "Job", "NetworkPolicy", "Service", "StatefulSet"),
    *("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"),
}


@dataclass(frozen=True)
class Skip:
    """`id` of a check, the objects it is wrong about (a regular expression), and why."""

    id: str
    objects: str
    reason: str


SKIPS = (
    Skip("KSV-0125", ".*", "Its list of trusted registries is its author's. Tags: images_have_an_exact_tag."),
    Skip(
        "KSV-0108", "Service postgres/postgres", "An alias inside the cluster; nobody but us can write Services there."
    ),
)

_found: dict[str, list[tuple[str, str]]] = {}
"""Findings of trivy by the digest of the object: a broken fixture changes one, the others are known."""


def _privileged(platform: Platform) -> None:
    job = platform.find("Job", "postgres-setup", "prod")
    job["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {"privileged": True}


def _reads_all_secrets(platform: Platform) -> None:
    platform.builds["platform/cr/prod"].append(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "reader"},
            "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}],
        }
    )


@checker(_privileged, _reads_all_secrets)
def trivy_finds_nothing_but_the_skips(platform: Platform) -> Iterator[str]:
    """Of prod: the other environments differ from it only in sizes (environments_differ_where_the_table_allows)."""
    objects = [item for _, item in deployed(platform, "prod") if item["kind"] in KINDS]
    _scan(objects)
    used = set()
    for item in objects:
        for check, message in _found[_digest(item)]:
            skip = next((row for row in SKIPS if row.id == check and re.fullmatch(row.objects, title(item))), None)
            if skip is None:
                yield f"{title(item)}: {check}: {message}"
            used.add(skip)
    for skip in SKIPS:
        if skip not in used:
            yield f"trivy no longer finds {skip.id} on {skip.objects}: remove the skip"


def _scan(objects: list[Object]) -> None:
    unknown = {digest: item for item in objects if (digest := _digest(item)) not in _found}
    if not unknown:
        return
    with tempfile.TemporaryDirectory() as folder:
        for digest, item in unknown.items():
            # JSON is YAML, and trivy takes a file of one object as it stands.
            (Path(folder) / f"{digest}.yaml").write_bytes(orjson.dumps(item))
        offline = ["--skip-check-update", "--skip-version-check", "--disable-telemetry"]
        report_as = ["--quiet", "--format", "json", "--cache-dir", f"{folder}/cache"]
        command = [str(TRIVY), "config", *offline, *report_as, folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110)
        if done.returncode:
            raise RuntimeError(done.stderr)
        report = json.loads(done.stdout)
    _found.update({digest: [] for digest in unknown})
    for result in report.get("Results", []):
        for fault in result.get("Misconfigurations", []):
            _found[Path(result["Target"]).stem].append((fault["ID"], fault["Message"]))


def _digest(item: Object) -> str:
    return sha256(orjson.dumps(item, option=orjson.OPT_SORT_KEYS)).hexdigest()
