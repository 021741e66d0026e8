"""Order of Argo CD: objects of every Application, wave by wave, and definitions with who brings them."""

from collections.abc import Iterator
from functools import cache, partial
from itertools import groupby

from tests.deploy import platform
from tests.deploy.applications import Application, applications
from tests.deploy.platform import Object, Platform
from tools.cluster.api import Api, until
from tools.cluster.definitions import definitions, installation

CLUSTER_WIDE = {
    *("Namespace", "StorageClass", "ClusterExternalSecret", "ClusterSecretStore"),
    "ClusterTriggerAuthentication",
}
BEFORE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}}
"""Namespace that Ansible makes before Argo CD."""


@cache
def rendered() -> Platform:
    return platform.load()


def steps(environment: str, tree: Platform | None = None) -> Iterator[tuple[str, list[Object]]]:
    """Name and objects of each step: what is there before Argo CD, its root, then each wave as a whole."""
    tree = tree or rendered()
    yield "before", [BEFORE, *definitions()["argocd"]]
    yield "root", [_placed(item, "argocd") for item in tree.builds[f"clusters/{environment}"]]
    for wave, rows in groupby(applications(tree, environment), key=lambda row: row.wave):
        objects = [item for row in rows for item in _brought(tree, row)]
        if objects:
            yield f"wave {wave:02}", objects


def _brought(tree: Platform, row: Application) -> Iterator[Object]:
    if row.name in definitions() and row.name != "argocd":
        yield from definitions()[row.name]
    for source in row.sources:
        if "kustomize" in source:
            yield from installation(row.name, source)
    for item in tree.builds.get(row.folder or "", []):
        yield _placed(item, row.spec["destination"]["namespace"])


def _placed(item: Object, namespace: str) -> Object:
    """With the namespace that Argo CD would give it."""
    if item["kind"] in CLUSTER_WIDE or "namespace" in item["metadata"]:
        return item
    return {**item, "metadata": {**item["metadata"], "namespace": namespace}}


def apply(api: Api, environment: str, tree: Platform | None = None) -> dict[str, list[Object]]:
    """Objects of each step as the server has them then; Refused at the first step that it does not take."""
    found = {}
    for name, objects in steps(environment, tree):
        found[name] = api.apply(objects)
        brought = [row["metadata"]["name"] for row in objects if row["kind"] == "CustomResourceDefinition"]
        if brought:
            until("established definitions", partial(_established, api, brought))
    return found


def _established(api: Api, names: list[str]) -> bool:
    found = set()
    for row in api.rows("customresourcedefinitions"):
        for condition in row.get("status", {}).get("conditions") or ():
            if (condition["type"], condition["status"]) == ("Established", "True"):
                found.add(row["metadata"]["name"])
    return found >= set(names)
