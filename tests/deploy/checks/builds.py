"""Everything builds from this checkout alone, and each object passes a strict schema."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from tests.deploy import schemas
from tests.deploy.checks import checker
from tests.deploy.platform import ENVIRONMENTS, Platform, title

REMOTE = re.compile(r"^(https?|git|ssh|s3)(::|:)|^[\w.-]+@|^github\.com/|\?ref=")
SOURCES = ("resources", "components", "bases", "crds", "openapi", "configurations", "generators", "transformers")


def _does_not_build(platform: Platform) -> None:
    platform.failures["workloads/namespaces/dev"] = "no such file"


@checker(_does_not_build)
def every_kustomization_builds(platform: Platform) -> Iterator[str]:
    for folder, message in platform.failures.items():
        yield f"{folder}: {message}"


def _unused_base(platform: Platform) -> None:
    platform.texts["workloads/x/base/kustomization.yaml"] = "resources: [x.yaml]"


@checker(_unused_base)
def no_kustomization_is_left_over(platform: Platform) -> Iterator[str]:
    """Bases and components are only built where an environment uses them."""
    reached = platform.reached()
    for path in platform.texts:
        folder = str(PurePosixPath(path).parent)
        if PurePosixPath(path).name == "kustomization.yaml" and folder not in reached:
            yield f"{path}: no environment uses it"


def _remote_resource(platform: Platform) -> None:
    platform.texts["workloads/x/kustomization.yaml"] = "resources: [https://example.org/install.yaml]"


def _remote_chart(platform: Platform) -> None:
    platform.texts["workloads/x/kustomization.yaml"] = "helmCharts: [{name: x, repo: example.org}]"


@checker(_remote_resource, _remote_chart)
def nothing_is_fetched_to_render(platform: Platform) -> Iterator[str]:
    for path in platform.texts:
        if PurePosixPath(path).name != "kustomization.yaml":
            continue
        content: dict[str, Any] = platform.document(path)
        for key in {"helmCharts", "helmChartInflationGenerator"} & content.keys():
            yield f"{path}: {key} fetches a chart when it is rendered; make it an Application"
        for key in SOURCES:
            entries = content.get(key, [])
            for entry in entries if isinstance(entries, list) else [entries]:
                if isinstance(entry, str) and REMOTE.search(entry):
                    yield f"{path}: {entry} is fetched when it is rendered"


def _unknown_field(platform: Platform) -> None:
    cluster = platform.find("RabbitmqCluster", "eco2-rabbitmq", "prod")
    cluster["spec"]["replicaCount"] = 3


def _wrong_type(platform: Platform) -> None:
    cluster = platform.find("RabbitmqCluster", "eco2-rabbitmq", "prod")
    cluster["spec"]["replicas"] = "3"


def _unknown_field_of_the_mesh(platform: Platform) -> None:
    route = platform.find("VirtualService", "auth-vs", "prod")["spec"]["http"][0]
    route["timeuot"] = route.pop("timeout")


def _unknown_kind(platform: Platform) -> None:
    platform.builds["workloads/x/dev"] = [{"apiVersion": "example.org/v1", "kind": "X", "metadata": {"name": "x"}}]


def _unknown_field_of_the_core(platform: Platform) -> None:
    metadata = platform.find("Namespace", "rabbitmq", "prod")["metadata"]
    metadata["label"] = metadata.pop("labels")


@checker(_unknown_field, _wrong_type, _unknown_field_of_the_mesh, _unknown_kind, _unknown_field_of_the_core)
def every_object_passes_its_schema(platform: Platform) -> Iterator[str]:
    """Of what is deployed: a base may lack what its environments add."""
    for environment in ENVIRONMENTS:
        for folder, item in platform.in_environment(environment):
            yield from (f"{folder}: {title(item)}: {fault}" for fault in schemas.faults(item))


def _two_of_a_name(platform: Platform) -> None:
    platform.builds["workloads/x/prod"] = [platform.find("Namespace", "rabbitmq", "prod")]


@checker(_two_of_a_name)
def no_object_is_rendered_twice(platform: Platform) -> Iterator[str]:
    """Two Applications that own one object undo each other's work."""
    for environment in ENVIRONMENTS:
        owners: dict[tuple[str, str], str] = {}
        for folder, item in platform.in_environment(environment):
            key = (item["apiVersion"].split("/")[0], title(item))
            if key in owners and owners[key] != folder:
                yield f"{environment}: {key[1]} comes from {owners[key]} and from {folder}"
            owners[key] = folder
