"""Strict schemas of every kind that the manifests use: an unknown field is a fault.

Core kinds: `kubernetes-validate`, of the minor that `clusters/layouts.yaml` names. Istio, KEDA, Prometheus and
cert-manager: the models of `cloudcoil`. Everything else: `schemas/*.yaml`, written for this platform from the public
API references. They know the fields that we use or may soon use, not all there are; one that is missing is added there.
In them `$core: Toleration` stands for that type of the core.
"""

import importlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate
import orjson
import pydantic
import yaml

from tests.deploy.platform import CHECKOUT, Object

OWN = Path(__file__).parent / "schemas"
CORE = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
MODELS = {
    "cert-manager.io/v1": "cloudcoil.models.cert_manager.v1",
    "extensions.istio.io/v1alpha1": "cloudcoil.models.istio.extensions.v1alpha1",
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
    "monitoring.coreos.com/v1alpha1": "cloudcoil.models.prometheus_operator.v1alpha1",
    "networking.istio.io/v1": "cloudcoil.models.istio.networking.v1",
    "networking.istio.io/v1alpha3": "cloudcoil.models.istio.networking.v1alpha3",
    "security.istio.io/v1": "cloudcoil.models.istio.security.v1",
    "telemetry.istio.io/v1": "cloudcoil.models.istio.telemetry.v1",
}
DEFINITIONS = "https://kubernetes.io/api/_definitions.json"
"""References among the schemas of the core; nothing is fetched."""
LAYOUTS = CHECKOUT / "clusters" / "layouts.yaml"


def faults(item: Object) -> Iterator[str]:
    """One sentence for each field that the kind does not have or that has another type."""
    version, kind = item["apiVersion"], item["kind"]
    if version in MODELS:
        yield from _model_faults(item, getattr(importlib.import_module(MODELS[version]), kind, None))
        return
    validator = _validator(version, kind)
    if validator is None:
        yield f"no schema of {version} {kind}: write one in tests/deploy/schemas"
        return
    for error in validator.iter_errors(item):
        yield f"{'.'.join(str(step) for step in error.instance_path)}: {error.message}"


def _model_faults(item: Object, model: type[pydantic.BaseModel] | None) -> Iterator[str]:
    if model is None:
        yield f"{item['apiVersion']} has no kind {item['kind']}"
        return
    try:
        # As JSON, because a strict model takes no text for an enumeration otherwise.
        model.model_validate_json(orjson.dumps(item), strict=True, extra="forbid", by_alias=True, by_name=False)
    except pydantic.ValidationError as error:
        for fault in error.errors(include_url=False):
            yield f"{'.'.join(str(step) for step in fault['loc'])}: {fault['msg']}"


@cache
def minor() -> str:
    """The minor of Kubernetes that the clusters run."""
    return str(yaml.safe_load(LAYOUTS.read_text())["kubernetes"])


@cache
def _validator(version: str, kind: str) -> jsonschema_rs.Draft202012Validator | None:
    own = _own().get(version, {}).get(kind)
    if own is not None:
        return jsonschema_rs.Draft202012Validator(own, registry=_core_definitions())
    group, _, short = version.rpartition("/")
    name = f"{kind.lower()}-{group.split('.')[0] + '-' if group else ''}{short}.json"
    path = _core_folder() / name
    # The core's own groups end in k8s.io or have no dot; others could share their first word.
    if not path.exists() or ("." in group and not group.endswith(".k8s.io")):
        return None
    return jsonschema_rs.Draft202012Validator(json.loads(path.read_text()), registry=_core_definitions())


def _core_folder() -> Path:
    return next(CORE.glob(f"v{minor()}.*-local-strict"))


@cache
def _core_definitions() -> jsonschema_rs.Registry:
    definitions = json.loads((_core_folder() / "_definitions.json").read_text())
    return jsonschema_rs.Registry([(DEFINITIONS, definitions)])


@cache
def _own() -> dict[str, dict[str, Any]]:
    """Our schemas by API version and kind, each closed: what is not named is refused."""
    schemas: dict[str, dict[str, Any]] = {}
    for path in sorted(OWN.glob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        shared = content.get("shared", {})
        for version, kinds in content["kinds"].items():
            for kind, spec in kinds.items():
                schemas.setdefault(version, {})[kind] = _whole(version, kind, spec, shared)
    return schemas


def _whole(version: str, kind: str, top: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """A schema of the whole object around the fields beside its metadata."""
    schema = {
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", *top],
        "properties": {
            "apiVersion": {"const": version},
            "kind": {"const": kind},
            "metadata": {"$core": "ObjectMeta"},
            **top,
        },
        "$defs": shared,
    }
    _close(schema)
    return schema


def _close(schema: Any) -> None:
    if isinstance(schema, list):
        for entry in schema:
            _close(entry)
    elif isinstance(schema, dict):
        if isinstance(schema.get("$core"), str):
            schema["$ref"] = _core_type(schema.pop("$core"))
        if isinstance(schema.get("properties"), dict):
            schema.setdefault("additionalProperties", False)
            schema.setdefault("type", "object")
        for entry in schema.values():
            _close(entry)


def _core_type(name: str) -> str:
    api = "apimachinery.pkg.apis.meta" if name in ("ObjectMeta", "LabelSelector") else "api.core"
    return f"{DEFINITIONS}#/$defs/io.k8s.{api}.v1.{name}"
