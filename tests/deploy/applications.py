"""Applications of Argo CD, with those that ApplicationSets and other Applications make, and what each deploys."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from tests.deploy.platform import Object, Platform

WAVE = "argocd.argoproj.io/sync-wave"


@dataclass(frozen=True)
class Application:
    """One Application of an environment; `name` is without the environment."""

    name: str
    environment: str
    wave: int
    spec: dict[str, Any]
    labels: dict[str, str]

    @cached_property
    def sources(self) -> list[dict[str, Any]]:
        return self.spec.get("sources") or [self.spec["source"]]

    @property
    def folder(self) -> str | None:
        """The folder of this repository that it deploys."""
        own = [source["path"] for source in self.sources if "path" in source and is_own(source)]
        return own[0] if own else None

    @property
    def values(self) -> dict[str, Any]:
        """Values of a chart, also those in files of this repository."""
        merged: dict[str, Any] = {}
        for source in self.sources:
            merged |= source.get("helm", {}).get("valuesObject", {})
        return merged


def is_own(source: dict[str, Any]) -> bool:
    return str(source["repoURL"]).endswith("/eco2.git")


def applications(platform: Platform, environment: str) -> list[Application]:
    """Every Application of an environment in the order of the waves."""
    found = list(_made_by(platform, environment, platform.builds.get(f"clusters/{environment}", [])))
    return sorted(found, key=lambda row: row.wave)


def _made_by(platform: Platform, environment: str, objects: list[Object]) -> Iterator[Application]:
    for item in objects:
        metadata = item["metadata"]
        wave = int(metadata.get("annotations", {}).get(WAVE, 0))
        labels = metadata.get("labels", {})
        if item["kind"] == "Application":
            row = Application(metadata["name"].removeprefix(f"{environment}-"), environment, wave, item["spec"], labels)
            yield row
            yield from _made_by(platform, environment, platform.builds.get(row.folder or "", []))
        elif item["kind"] == "ApplicationSet":
            for folder in _folders(platform, item):
                template = item["spec"]["template"]["spec"]
                segments = folder.split("/")
                spec = {
                    **template,
                    "source": {**template["source"], "path": folder},
                    "destination": {key: _filled(text, segments) for key, text in template["destination"].items()},
                }
                name = f"{metadata['name'].removeprefix(f'{environment}-')}/{segments[2]}"
                yield Application(name, environment, wave, spec, labels)


def _filled(template: str, segments: list[str]) -> str:
    """The part of Go's templates that the ApplicationSets use."""
    return re.sub(r"\{\{index \.path\.segments (\d)\}\}", lambda match: segments[int(match[1])], template)


def _folders(platform: Platform, item: Object) -> list[str]:
    """Folders that a Git generator finds: as in Argo CD, `*` is one segment of the path."""
    patterns = [
        (directory["path"], directory.get("exclude", False))
        for generator in item["spec"]["generators"]
        for directory in generator["git"]["directories"]
    ]
    return sorted(
        folder
        for folder in platform.builds
        if any(_matches(folder, path) for path, exclude in patterns if not exclude)
        and not any(_matches(folder, path) for path, exclude in patterns if exclude)
    )


def _matches(folder: str, pattern: str) -> bool:
    parts, wanted = PurePosixPath(folder).parts, PurePosixPath(pattern).parts
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def deployed(platform: Platform, environment: str) -> Iterator[tuple[Application, Object]]:
    """Every object of this repository that reaches the cluster, with the Application that brings it."""
    for row in applications(platform, environment):
        for item in platform.builds.get(row.folder or "", []):
            yield row, item


def find_application(platform: Platform, environment: str, name: str) -> Object:
    """The Application object, as its file renders it, for broken fixtures to change."""
    for item in platform.builds[f"clusters/{environment}"]:
        if item["kind"].startswith("Application") and item["metadata"]["name"] == f"{environment}-{name}":
            return item
    raise KeyError(name)
