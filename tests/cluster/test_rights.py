"""The rights of every service account, and a Pod that asks for too many."""

import json

from tests.cluster.conftest import Cluster
from tests.deploy.platform import Object


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
