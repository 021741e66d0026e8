"""Renderer: every kustomization of a tree, built without a remote resource, and the texts that belong to it."""

import posixpath
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import orjson
import yaml

Object = dict[str, Any]

CHECKOUT = Path(__file__).parents[2]
ENVIRONMENTS = ("dev", "staging", "prod")
KUSTOMIZED = ("clusters", "workloads", "platform")
KUBECTL = Path(sys.executable).parent / "kubectl"
"""The one of the requirements: the machine's own may be of any version, or missing."""


@dataclass
class Platform:
    """Rendered objects of a tree. Checkers read them; their broken fixtures and nothing else change a copy."""

    builds: dict[str, list[Object]]
    """Objects of each kustomization by its folder, such as `workloads/namespaces/dev`."""
    failures: dict[str, str]
    """Errors of kubectl for those that do not build."""
    texts: dict[str, str]
    """Sources by path: everything under the kustomized folders, documents and scripts."""
    root: Path = field(default=CHECKOUT)

    def copy(self) -> "Platform":
        """One that a broken fixture may change."""
        return Platform(orjson.loads(orjson.dumps(self.builds)), dict(self.failures), dict(self.texts), self.root)

    def in_environment(self, environment: str) -> Iterator[tuple[str, Object]]:
        """Objects of an environment, with the folder that each is built from.

        A folder that another folder of the environment takes in is not repeated."""
        folders = [folder for folder in self.builds if environment in folder.split("/")]
        taken = {inner for folder in folders for inner in self._takes(folder)}
        for folder in folders:
            if folder not in taken:
                for item in self.builds[folder]:
                    yield folder, item

    def _takes(self, folder: str) -> Iterator[str]:
        path = f"{folder}/kustomization.yaml"
        content = self.document(path) if path in self.texts else {}
        for key in ("resources", "components", "transformers", "generators"):
            for entry in content.get(key, []):
                yield posixpath.normpath(f"{folder}/{entry}")

    def reached(self, *folders: str) -> set[str]:
        """Folders and files that these builds are made of (default: all builds)."""
        found: set[str] = set()
        stack = [*(folders or (*self.builds, *self.failures))]
        while stack:
            folder = stack.pop()
            if folder not in found:
                found.add(folder)
                stack.extend(self._takes(folder))
        return found

    def find(self, kind: str, name: str, environment: str) -> Object:
        """The only object of that kind and name in an environment; KeyError when there is none or more than one."""
        found = [
            item
            for _, item in self.in_environment(environment)
            if item["kind"] == kind and item["metadata"]["name"] == name
        ]
        if len(found) != 1:
            raise KeyError(f"{len(found)} objects {kind} {name} in {environment}")
        return found[0]

    def document(self, path: str) -> Any:
        """The YAML of one source."""
        return self.yaml(self.texts[path])

    @staticmethod
    @cache
    def yaml(text: str) -> Any:
        """Parsed once: nobody changes what it returns."""
        return yaml.load(text, Loader)


def title(item: Object) -> str:
    """Name of an object in a finding."""
    metadata = item["metadata"]
    space = metadata.get("namespace")
    return f"{item['kind']} {space + '/' if space else ''}{metadata.get('name') or metadata.get('generateName')}"


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Dates stay text, as in JSON; `=` is text, which PyYAML has no constructor for."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in Loader.yaml_implicit_resolvers.items()
}
Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))


def load(root: Path = CHECKOUT) -> Platform:
    """Build what belongs to an environment below `root`; bases and components are built by those that use them."""
    texts = _texts(root)
    folders = [
        str(Path(path).parent)
        for path in texts
        if Path(path).name == "kustomization.yaml" and set(ENVIRONMENTS) & set(Path(path).parts) and _whole(texts[path])
    ]
    with ThreadPoolExecutor(4) as pool:
        results = dict(zip(folders, pool.map(lambda folder: _build(root / folder), folders), strict=True))
    return Platform(
        builds={folder: result for folder, result in results.items() if isinstance(result, list)},
        failures={folder: result for folder, result in results.items() if isinstance(result, str)},
        texts=texts,
        root=root,
    )


def rebuild(platform: Platform, root: Path, changed: str) -> Platform:
    """The platform of a copy of its tree at `root` in which one file is another: only what takes that file is built."""
    copy = Platform(dict(platform.builds), dict(platform.failures), {**platform.texts}, root)
    copy.texts[changed] = (root / changed).read_text()
    for folder in platform.builds:
        if platform.reached(folder) & {changed, str(PurePosixPath(changed).parent)}:
            del copy.builds[folder]
            result = _build(root / folder)
            if isinstance(result, str):
                copy.failures[folder] = result
            else:
                copy.builds[folder] = result
    return copy


def _whole(text: str) -> bool:
    return "\nkind: Component" not in text


def _build(folder: Path) -> list[Object] | str:
    # The load restrictor is kubectl's default: a kustomization reads nothing outside the folders that it names.
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, timeout=60)
    if done.returncode:
        return done.stderr.strip()
    objects = [item for item in yaml.load_all(done.stdout, Loader) if item]
    # Transformers that several folders share build as well; they are no objects of a cluster.
    return [item for item in objects if item["apiVersion"] != "builtin"]


def _texts(root: Path) -> dict[str, str]:
    paths = [path for top in (*KUSTOMIZED, "docs", "scripts") for path in (root / top).rglob("*")]
    paths += root.glob("*.md")
    paths += [root / "Makefile"]
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted(paths)
        if path.is_file() and path.suffix in ("", ".md", ".yaml", ".yml", ".sh")
    }
