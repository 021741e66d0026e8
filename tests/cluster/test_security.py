"""Pod Security, the rights of every service account, and what the API server keeps and writes of secrets."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cluster.conftest import Cluster
from tests.deploy.platform import Object
from tools.cluster.api import until
from tools.cluster.programs import path

ENFORCE = "pod-security.kubernetes.io/enforce"


def _restricted(cluster: Cluster) -> list[str]:
    found = cluster.api.rows("namespaces", selector=f"{ENFORCE}=restricted")
    return [row["metadata"]["name"] for row in found]


def test_every_pod_of_ours_meets_the_restricted_standard(cluster: Cluster) -> None:
    cluster.settled()
    spaces = _restricted(cluster)
    pods = [row for row in cluster.pods() if row["metadata"]["namespace"] in spaces]
    wanted = {row["metadata"]["namespace"] for row in cluster.api.rows("deployments")} & set(spaces)
    assert {row["metadata"]["namespace"] for row in pods} >= wanted
    refused = [text for space in spaces for text in cluster.api.events(space, "FailedCreate")]
    assert refused == []
    cluster.note("Pods under Pod Security restricted", f"{len(pods)} in {len(spaces)} namespaces, none refused")


def test_a_pod_with_more_rights_is_refused(cluster: Cluster) -> None:
    item = _pod("privileged", securityContext={"privileged": True})
    done = cluster.api.run("apply", "-n", "scan", "-f", "-", given=json.dumps(item))
    assert 'violates PodSecurity "restricted' in done.stderr


def _pod(name: str, **container: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "app", "image": "placeholder.invalid/app:1", **container}]},
    }


# Rights


def _rights(cluster: Cluster, account: str, namespace: str) -> set[str]:
    """Rows of `auth can-i --list`: what the server would let the account do in its namespace."""
    words = ("auth", "can-i", "--list", "--no-headers", "-n", namespace)
    text = cluster.api.ask(*words, f"--as=system:serviceaccount:{namespace}:{account}")
    return {" ".join(line.split()) for line in text.splitlines() if line.strip()}


def _accounts(cluster: Cluster) -> list[tuple[str, str]]:
    return [
        (row["metadata"]["namespace"], row["metadata"]["name"])
        for objects in cluster.applied.values()
        for row in objects
        if row["kind"] == "ServiceAccount" and "app.kubernetes.io/part-of" in row["metadata"].get("labels", {})
    ]


def test_accounts_of_ours_may_do_nothing_that_any_account_may_not(cluster: Cluster) -> None:
    """Their processes do not talk to the API; rights of controllers come with their charts."""
    everyone = _rights(cluster, "default", "default")
    accounts = _accounts(cluster)
    more = {
        f"{space}/{name}": sorted(rights - everyone)
        for space, name in accounts
        if (rights := _rights(cluster, name, space)) - everyone
    }
    assert accounts
    assert more == {}
    forbidden = [
        (verb, resource)
        for verb in ("get", "list", "create", "delete")
        for resource in ("secrets", "pods", "pods/exec", "configmaps", "deployments.apps")
    ]
    for verb, resource in forbidden:
        assert not cluster.api.can("scan:scan-api", verb, resource, "scan"), (verb, resource)
    cluster.note("service accounts with no right of their own", f"{len(accounts)} of {len(accounts)}")


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
def test_a_right_too_many_is_seen(cluster: Cluster) -> None:
    everyone = _rights(cluster, "default", "default")
    words = ("rolebinding", "too-much", "-n", "scan")
    cluster.api.ask("create", *words, "--clusterrole=view", "--serviceaccount=scan:scan-api")
    try:
        until("the right", lambda: cluster.api.can("scan:scan-api", "get", "pods", "scan"))
        assert any(row.startswith("pods") for row in _rights(cluster, "scan-api", "scan") - everyone)
    finally:
        cluster.api.ask("delete", *words)


# What the API server keeps and writes


@pytest.mark.parametrize("cluster", ["prod"], indirect=True)
def test_secrets_are_encrypted_in_etcd_and_absent_from_the_audit_log(cluster: Cluster) -> None:
    word = "not-for-the-log-0123456789"
    cluster.api.ask("create", "secret", "generic", "probe", "-n", "scan", f"--from-literal=key={word}")
    cluster.api.ask("create", "configmap", "probe", "-n", "scan", f"--from-literal=key={word}-plain")
    secret, plain = _stored(cluster, "secrets/scan/probe"), _stored(cluster, "configmaps/scan/probe")
    assert secret.startswith(b"k8s:enc:secretbox:v1:")
    assert word.encode() not in secret
    assert f"{word}-plain".encode() in plain, "the control: what is not encrypted can be read"
    log = cluster.plane.folder / "audit/audit.log"
    lines = until("the audit log", lambda: _about(log, "probe"))
    kept = {(row["objectRef"]["resource"], row["level"]) for row in lines}
    assert ("secrets", "Metadata") in kept
    assert all("requestObject" not in row for row in lines if row["objectRef"]["resource"] == "secrets")
    cluster.note("Secrets", "encrypted in etcd (secretbox), never in the audit log")


def _about(log: Path, name: str) -> list[Object]:
    rows = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    return [row for row in rows if row.get("objectRef", {}).get("name") == name]


def _stored(cluster: Cluster, key: str) -> bytes:
    etcd = cluster.plane.pki / "etcd"
    command = [
        str(path("etcdctl")), f"--endpoints={cluster.plane.arguments['etcd']['listen-client-urls']}",
        f"--cacert={etcd}/ca.crt", f"--cert={etcd}/server.crt", f"--key={etcd}/server.key",
        "get", f"/registry/{key}", "--print-value-only",
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, check=True).stdout
