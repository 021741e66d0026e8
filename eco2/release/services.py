"""Services by the names of their image tags, and the services that a change concerns.

A service is a domain of `workloads/domains` in one target of the image (`scan`, `scan-worker`), or `migrations`."""

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from eco2.processes import SERVICES, Image, Process

CHECKOUT = Path(__file__).parents[2]
MIGRATIONS = "migrations"
HOMES = {"workers": "jobs", "event_router": "sse"}
"""Package → domain of another name that its processes run in."""
EVERYTHING = ("Dockerfile", "scripts/image-install", "data/", "eco2/__main__.py", "eco2/run.py", "eco2/processes.py")
API_DOCUMENT = "docs/api/"
OF_ONE_SERVICE = {
    MIGRATIONS: ("migrations/",),
    "info": (API_DOCUMENT,),
    # What the Job of an import runs, in the image of location-api.
    "location": ("eco2/location/importing/", "eco2/location/import_store.py", "eco2/cli/places.py"),
    # What scripts/web makes the page of.
    "web": ("web/", "scripts/web", "requirements/node.txt", API_DOCUMENT),
}
"""Files besides the code that goes into the image of one service alone."""


@dataclass(frozen=True)
class Service:
    name: str
    target: Image
    processes: tuple[str, ...]


def domain_of(row: Process) -> str:
    """Its namespace; a process without callers belongs to the domain of its code."""
    package = str(row.target).split(".")[1]
    return row.service.partition(".")[2] if row.service else HOMES.get(package, package)


def name_of(domain: str, target: str) -> str:
    return domain if target == "api" else f"{domain}-{target}"


def services() -> list[Service]:
    found: dict[str, Service] = {}
    for row in SERVICES:
        name = name_of(domain_of(row), row.image)
        before = found.get(name, Service(name, row.image, ()))
        found[name] = Service(name, row.image, (*before.processes, row.name))
    return [*found.values(), Service(MIGRATIONS, "batch", ())]


def changed(paths: Iterable[str], checkout: Path = CHECKOUT) -> list[Service]:
    """Services whose image differs once these files have changed."""
    touched = list(paths)
    return [service for service in services() if _concerns(service, touched, checkout)]


def _concerns(service: Service, paths: Sequence[str], checkout: Path) -> bool:
    if any(path.startswith((*EVERYTHING, f"requirements/{service.target}.txt")) for path in paths):
        return True
    modules = _modules_of(service)
    more = OF_ONE_SERVICE.get(service.name, ())
    files = {_file(module, checkout).relative_to(checkout).as_posix() for module in modules}
    # A package may have data of its own beside its code: templates, tables.
    folders = tuple({f"{file.rpartition('/')[0]}/" for file in files} - {"eco2/"})
    return any(
        path in files or path.startswith(more) or (path.startswith(folders) and not path.endswith((".py", ".md")))
        for path in paths
    )


@cache
def _modules_of(service: Service) -> frozenset[str]:
    from eco2.workers.batch_run import TARGETS

    if service.name == MIGRATIONS:
        return frozenset(closure(["eco2.core.migrations"])[0])
    rows = [row for row in SERVICES if row.name in service.processes]
    roots = [str(row.target).partition(":")[0] for row in rows]
    if "batch-worker" in service.processes:
        roots += [target.partition(":")[0] for target in TARGETS.values()]
    return frozenset(closure(roots)[0])


def closure(roots: Iterable[str]) -> tuple[set[str], set[str]]:
    """Modules of ours that can be imported from these, and top names of others'. Imports inside functions count."""
    seen: set[str] = set()
    others: set[str] = set()
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        first = module.partition(".")[0]
        if first != "eco2":
            others.add(first)
        elif module not in seen:
            seen.add(module)
            waiting += [*_imports(module), module.rpartition(".")[0] or "eco2"]
    return seen, others - sys.stdlib_module_names


@cache
def _imports(module: str) -> frozenset[str]:
    found: set[str] = set()
    for statement in _statements(ast.parse(_file(module).read_text())):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        elif statement.module is not None:
            found.add(statement.module)
            inner = (f"{statement.module}.{alias.name}" for alias in statement.names)
            found |= {name for name in inner if name.startswith("eco2.") and _file(name).exists()}
    return frozenset(found)


def _file(module: str, checkout: Path = CHECKOUT) -> Path:
    path = checkout / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            yield from _statements(child)
