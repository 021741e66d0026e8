"""Write the folder of every process that has none yet in `workloads/domains`: `make manifests`.

A folder names a shape and the components for what the process reads; its code says both. What the code does not say
(a canary, another grace, the spot pool) is added by hand; a folder that exists is left alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from eco2.contracts.queues import vhost_of
from eco2.core.settings import Settings
from eco2.processes import SERVICES, Process
from eco2.release.services import domain_of, name_of

DOMAINS = Path(__file__).parents[1] / "workloads" / "domains"
ENVIRONMENTS = ("dev", "staging", "prod")
COMPONENTS = {
    "DatabaseSettings": "postgres",
    "StreamsSettings": "redis-streams",
    "CacheSettings": "redis-cache",
    "StorageSettings": "object-store",
    "LlmSettings": "paid-model",
    "ProviderSettings": "sign-in-providers",
    "KakaoSettings": "kakao-local",
    "KmaSettings": "weather",
    "TokenSettings": "signing-keys",
    "BrokerSettings": "broker",
    "TasksBrokerSettings": "tasks-broker",
    "ChatBrokerSettings": "chat-broker",
}
"""Group of settings → folder of `workloads/domains/components` that gives them."""
PER_REPLICA = 20
"""Messages that wait for each replica of a worker."""
_HEAD = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"


class _Found(BaseException):
    def __init__(self, settings: type[Settings]) -> None:
        self.settings = settings


@cache
def settings_of(row: Process) -> type[Settings]:
    """The class that the process loads first of all."""
    module, _, function = str(row.target).partition(":")
    with _caught(import_module(module)):
        try:
            getattr(import_module(module), function)()
        except _Found as found:
            return found.settings
    raise AssertionError(f"{row.target} loads no settings")


@contextmanager
def _caught(module: Any) -> Iterator[None]:
    def catch(settings: type[Settings], **_: Any) -> None:
        raise _Found(settings)

    before, module.load = module.load, catch
    try:
        yield
    finally:
        module.load = before


def components(row: Process) -> Iterator[str]:
    if row.grpc_port is not None and row.kind != "grpc":
        yield "grpc-service" if row.kind == "worker" else "grpc-port"
    if row.kind == "stream" and row.service is not None:
        yield "http-service"
    if row.queues:
        yield "queue-scale"
    groups = {base.__name__ for base in settings_of(row).__mro__}
    yield from (component for group, component in COMPONENTS.items() if group in groups)
    if any(name.startswith("grpc_") and name != "grpc_port" for name in settings_of(row).model_fields):
        yield "grpc-client"
    if row.image != "api":
        yield f"image-{row.image}"  # last: it renames what the others brought


def kustomization(row: Process) -> str:
    lines = ["resources:", f"  - ../../../shapes/{row.kind}"]
    used = list(components(row))
    lines += ["components:", *(f"  - ../../../components/{name}" for name in used)] if used else []
    lines += ["labels:", "  - includeSelectors: true", "    pairs:", f"      app.kubernetes.io/name: {row.name}"]
    lines += ["transformers:", "  - ../../../shapes/names"]
    if row.queues:
        lines += ["patches:", "  - target: {kind: ScaledObject}", "    patch: |-"]
        lines += ["      - op: replace", "        path: /spec/triggers", "        value:"]
    elif row.kind == "worker":
        lines += ["patches:", "  - target: {kind: Deployment}", "    patch: |-"]
        lines += ["      - {op: add, path: /spec/replicas, value: 2}"]
    for queue in row.queues:
        values = f'vhostName: {vhost_of(queue)}, queueName: {queue}, mode: QueueLength, value: "{PER_REPLICA}"'
        lines += ["          - type: rabbitmq", f"            metadata: {{{values}}}"]
        lines += ["            authenticationRef: {kind: ClusterTriggerAuthentication, name: broker}"]
    return _HEAD + "\n".join(lines) + "\n"


def write(domains: Path = DOMAINS) -> list[Path]:
    """Make the folders that are missing; returns them."""
    known = {path.parent.name for path in domains.glob("*/base/*/kustomization.yaml")}
    made = []
    for row in SERVICES:
        if row.name in known:
            continue
        base = domains / domain_of(row) / "base"
        folder = base / row.name
        folder.mkdir(parents=True)
        (folder / "kustomization.yaml").write_text(kustomization(row))
        _list(base / "kustomization.yaml", row.name, domain_of(row))
        for environment in ENVIRONMENTS:
            _overlay(domains / domain_of(row) / environment / "kustomization.yaml", environment, row.image)
        made.append(folder)
    return made


def _list(file: Path, process: str, domain: str) -> None:
    if not file.exists():
        tail = f"labels:\n  - includeTemplates: true\n    pairs:\n      domain: {domain}\n"
        file.write_text(f"{_HEAD}namespace: {domain}\nresources:\ncomponents:\n  - ../../components/settings\n{tail}")
    text = file.read_text()
    if f"  - {process}\n" not in text:
        file.write_text(text.replace("resources:\n", f"resources:\n  - {process}\n", 1))


def _overlay(file: Path, environment: str, target: str) -> None:
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        component = f"../../components/environments/{environment}"
        file.write_text(f"{_HEAD}resources:\n  - ../base\ncomponents:\n  - {component}\nimages:\n")
    tag = f"{name_of(file.parents[1].name, target)}-{environment}-0.1.0"
    name = "docker.io/mng990/eco2" if target == "api" else f"eco2-{target}"
    renamed = "" if target == "api" else "    newName: docker.io/mng990/eco2\n"
    entry = f"  - name: {name}\n{renamed}    newTag: {tag}\n"
    text = file.read_text()
    if f"- name: {name}\n" not in text:
        file.write_text(text + entry)


def main() -> None:
    made = write()
    print("\n".join(str(folder) for folder in made) or "Every process has its folder.")


if __name__ == "__main__":
    main()
