"""Definitions of custom resources as their operators bring them, from the modules of the upstream projects."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.platform import KUBECTL, Loader
from tools.cluster import ClusterError
from tools.cluster.programs import CHECKOUT, cache_folder, go

Object = dict[str, Any]

ROWS: list[Object] = yaml.safe_load((Path(__file__).parent / "definitions.yaml").read_text())


@cache
def definitions() -> dict[str, list[Object]]:
    """Definitions by the Application that brings them; those with an installation bring them by themselves."""
    rows = [row for row in ROWS if "installation" not in row]
    return {row["application"]: list(_ours(row["ours"]) if "ours" in row else _upstream(row)) for row in rows}


def installation(application: str, source: Object) -> list[Object]:
    """Objects that an Application of an upstream kustomization deploys, patched as ours; none without a module.

    Webhooks are left out: their server does not run here, and they would refuse everything."""
    rows = [row for row in ROWS if row["application"] == application and "installation" in row]
    return [] if not rows else _installation(application, json.dumps(source))


@cache
def _installation(application: str, text: str) -> list[Object]:
    (row,) = (row for row in ROWS if row["application"] == application)
    source = json.loads(text)
    if source["targetRevision"] != row["version"]:
        raise ClusterError(
            f"{application} is {source['targetRevision']}, tools/cluster/definitions.yaml {row['version']}"
        )
    with tempfile.TemporaryDirectory() as folder:
        # Kustomize takes the @ in the name of a module's folder for an address.
        shutil.copytree(_module(row) / row["installation"], Path(folder) / row["installation"])
        overlay = Path(folder) / "overlay"
        overlay.mkdir()
        images = [image.rpartition(":") for image in source["kustomize"].get("images", [])]
        content = {
            "resources": [f"../{source['path']}"],
            "patches": source["kustomize"]["patches"],
            "images": [{"name": name, "newTag": tag} for name, _, tag in images],
        }
        (overlay / "kustomization.yaml").write_text(yaml.safe_dump(content))
        done = subprocess.run([KUBECTL, "kustomize", overlay], capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"{application} does not build: {done.stderr.strip()}")
    objects = [item for item in yaml.load_all(done.stdout, Loader) if item]
    return [item for item in objects if not item["kind"].endswith("WebhookConfiguration")]


def ours() -> set[str]:
    """Applications whose definitions are written here."""
    return {row["application"] for row in ROWS if "ours" in row}


def _upstream(row: Object) -> Iterator[Object]:
    for file in sorted(_module(row).glob(row["files"])):
        for document in yaml.load_all(file.read_text(), Loader):
            if document and document["kind"] == "CustomResourceDefinition":
                # Of a chart: what its templates would fill in is not there.
                if "{{" in json.dumps(document["metadata"]):
                    document["metadata"] = {"name": document["metadata"]["name"]}
                yield document


def _module(row: Object) -> Path:
    """Its folder in Go's cache; ClusterError where it is not the one that was looked at."""
    name = f"{row['module']}@{row['version']}"
    folder = cache_folder() / "modules"
    folder.mkdir(parents=True, exist_ok=True)
    # The checksum is compared here, so nobody has to be asked about it.
    environment = {**os.environ, "GOSUMDB": "off"}
    command = [go(), "mod", "download", "-json", name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    found = json.loads(done.stdout or "{}")
    if done.returncode or "Dir" not in found:
        raise ClusterError(f"{name} could not be fetched: {found.get('Error') or done.stderr.strip()}")
    if found["Sum"] != row["sum"]:
        raise ClusterError(f"{name} has the checksum {found['Sum']}, not the one of tools/cluster/definitions.yaml")
    return Path(found["Dir"])


def _ours(path: str) -> Iterator[Object]:
    """Definitions made of a schema of `make test-deploy`: the API server prunes or refuses what they do not name."""
    content = yaml.safe_load((CHECKOUT / path).read_text())
    for version, kinds in content["kinds"].items():
        group, _, short = version.partition("/")
        for kind, parts in kinds.items():
            plural = f"{kind.lower()}s" if not kind.endswith("s") else kind.lower()
            schema = {"type": "object", "properties": {name: _structural(part) for name, part in parts.items()}}
            yield {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.{group}"},
                "spec": {
                    "group": group,
                    "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
                    "scope": "Namespaced",
                    "versions": [
                        {"name": short, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
                    ],
                },
            }


def _structural(schema: Object) -> Object:
    """With a type everywhere; a type of the core is any object."""
    if "$core" in schema:
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    found = dict(schema)
    if "properties" in found:
        found["properties"] = {name: _structural(part) for name, part in found["properties"].items()}
        found.setdefault("type", "object")
    if "items" in found:
        found["items"] = _structural(found["items"])
    if isinstance(found.get("additionalProperties"), dict):
        found["additionalProperties"] = _structural(found["additionalProperties"])
    if "enum" in found:
        found.setdefault("type", "string")
    if found.get("type") == "object" and not {"properties", "additionalProperties"} & found.keys():
        found["x-kubernetes-preserve-unknown-fields"] = True
    if found.get("type") == "array" and "items" not in found:
        found["items"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return found
