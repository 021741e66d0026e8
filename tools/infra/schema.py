"""Schema of a Terraform provider, from the prebuilt bindings of CDK for Terraform.

The bindings (a wheel on PyPI) are generated from the provider's own schema: a class for each resource and nested block,
whose comments and getters give names, types and what is computed, and an interface that says what is required and what
is a block. They do not tell an optional attribute from one that is also computed: both are taken as computed.

    python -m tools.infra.schema WHEEL aws.json
"""

import io
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Type = str | list[Any]
Json = dict[str, Any]

CLASS = re.compile(r"^class (\w+) extends cdktf\.(\w+) \{", re.M)
ATTRIBUTE = re.compile(r"// (\w+) - computed: (true|false), optional: (true|false), required: (true|false)\n")
GETTER = re.compile(
    r"(cdktf\.Fn\.tolist\(|cdktf\.Token\.asList\(cdktf\.Fn\.tolist\()?this\.get(\w+)Attribute\('(\w+)'\)"
)
# An attribute that nothing computes has no comment, only a getter.
PLAIN = re.compile(
    r"get \w+\(\) \{\s*return (cdktf\.Fn\.tolist\(|cdktf\.Token\.asList\(cdktf\.Fn\.tolist\(|cdktf\.Token\.as\w+\()?"
    r"this\.get(\w+)Attribute\('(\w+)'\)"
)
NESTED = re.compile(r'new (\w+)\(this, "(\w+)"(?:, (true|false))?\)')
RESOURCE = re.compile(r"terraformResourceType: '(\w+)'")
INTERFACE = re.compile(r"export interface (\w+) (?:extends \S+ )?\{\n(.*?)\n\}", re.S)
PROPERTY = re.compile(r"/\*\*(.*?)\*/\s+readonly (\w+\??): ([^;]+);", re.S)
BLOCK = re.compile(r"\* \w+ block\.?\s")
TERRAFORM_NAME = re.compile(r"#(\w+) ")
NESTED_SUFFIX = re.compile(r"(OutputReference|List|Map)$")

TYPES: dict[str, Type] = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "List": ["list", "string"],
    "NumberList": ["list", "number"],
    "BooleanList": ["list", "bool"],
    "StringMap": ["map", "string"],
    "NumberMap": ["map", "number"],
    "BooleanMap": ["map", "bool"],
    "AnyMap": ["map", "string"],
    "StringMapList": ["list", ["map", "string"]],
    "NumberMapList": ["list", ["map", "number"]],
    "BooleanMapList": ["list", ["map", "bool"]],
}


@dataclass
class Attribute:
    """`type`, or `nested`: the class of a block or object, in a set or a list."""

    computed: bool = False
    optional: bool = False
    required: bool = False
    type: Type = "string"
    nested: str = ""
    in_set: bool = False


@dataclass
class Class:
    base: str
    attributes: dict[str, Attribute] = field(default_factory=dict)
    resource: str = ""


@dataclass
class Module:
    """One resource or data source: its classes, what its interfaces call blocks, and what they require."""

    classes: dict[str, Class]
    blocks: set[tuple[str, str]]
    required: dict[tuple[str, str], bool]

    def block(self, name: str, interface: str) -> Json:
        """The block of a class, with the blocks inside it."""
        attributes: Json = {}
        blocks: Json = {}
        for key, attribute in self.classes[name].attributes.items():
            flags = {"computed": attribute.computed, "optional": attribute.optional, "required": attribute.required}
            if not attribute.nested:
                attributes[key] = {"type": attribute.type, **flags}
            elif (interface, key) in self.blocks:
                inner = NESTED_SUFFIX.sub("", attribute.nested)
                block = self.block(f"{inner}OutputReference", inner)
                blocks[key] = {"nesting": _nesting(key, attribute), "required": attribute.required, "block": block}
            else:
                attributes[key] = {"type": self._object_type(attribute), **flags}
        return {"attributes": attributes, "blocks": blocks}

    def _object_type(self, attribute: Attribute) -> Type:
        if not attribute.nested:
            return attribute.type
        reference = self.classes.get(f"{NESTED_SUFFIX.sub('', attribute.nested)}OutputReference", Class(""))
        fields: Type = ["object", {key: self._object_type(inner) for key, inner in reference.attributes.items()}]
        if attribute.nested.endswith("OutputReference"):
            return fields
        collection = "map" if attribute.nested.endswith("Map") else "set" if attribute.in_set else "list"
        return [collection, fields]


def _nesting(name: str, attribute: Attribute) -> str:
    if name == "timeouts":
        return "single"
    # A block that may be there once is a list of one at most.
    if attribute.nested.endswith("OutputReference"):
        return "one"
    return "set" if attribute.in_set else "list"


def _parse(source: str, declarations: str) -> Module:
    blocks: set[tuple[str, str]] = set()
    required: dict[tuple[str, str], bool] = {}
    for interface, name, optional, is_block, _ in _properties(declarations):
        required[interface, name] = not optional
        if is_block:
            blocks.add((interface, name))
    classes = {}
    starts = list(CLASS.finditer(source))
    for start, following in zip(starts, [*starts[1:], None], strict=False):
        name, base = start.groups()
        body = source[start.start() : following.start() if following else len(source)]
        interface = f"{name}Config" if base != "ComplexObject" else name.removesuffix("OutputReference")
        found = RESOURCE.search(body)
        classes[name] = Class(base, _attributes(body, interface, required), found[1] if found else "")
    return Module(classes, blocks, required)


def _properties(declarations: str) -> Iterator[tuple[str, str, bool, bool, str]]:
    """Interface, name in Terraform, whether optional, whether a block, TypeScript's type."""
    for interface, body in INTERFACE.findall(declarations):
        for comment, name, kind in PROPERTY.findall(body):
            found = TERRAFORM_NAME.search(comment)
            if found:
                yield interface, found[1], name.endswith("?"), bool(BLOCK.search(comment)), kind


def _attributes(body: str, interface: str, required: dict[tuple[str, str], bool]) -> dict[str, Attribute]:
    attributes = {}
    comments = list(ATTRIBUTE.finditer(body))
    for comment, following in zip(comments, [*comments[1:], None], strict=False):
        name, *flags = comment.groups()
        computed, optional, must = (flag == "true" for flag in flags)
        attribute = Attribute(computed, optional, must)
        # The code of the attribute follows its comment at once.
        code = body[comment.end() : min(comment.end() + 400, following.start() if following else len(body))]
        nested, getter = NESTED.search(code), GETTER.search(code)
        if nested and (not getter or nested.start() < getter.start()):
            attribute.nested, attribute.in_set = nested[1], nested[3] == "true"
            if (interface, name) in required:
                attribute.required = required[interface, name]
                attribute.optional = not attribute.required
            attributes[name] = attribute
        elif getter:
            attribute.type = _type(getter[2], bool(getter[1]))
            attributes[getter[3]] = attribute
        else:
            attributes[name] = attribute
    for wrapping, kind, name in PLAIN.findall(body):
        if name not in attributes and (interface, name) in required:
            must = required[interface, name]
            attributes[name] = Attribute(not must, not must, must, _type(kind, "tolist" in wrapping))
    return attributes


def _type(getter: str, is_set: bool) -> Type:
    found = TYPES.get(getter, "string")
    return ["set", found[1]] if is_set else found


def _provider(declarations: str) -> Json:
    """The configuration of the provider, which has an interface and no attributes with comments."""
    rows = list(_properties(declarations))
    root = next(interface for interface, *_ in rows if interface.endswith("ProviderConfig"))

    def block(interface: str) -> Json:
        attributes: Json = {}
        blocks: Json = {}
        for owner, name, _, is_block, kind in rows:
            if owner != interface or name == "alias":
                continue
            inner = re.search(r"(\w+Provider\w+)", kind)
            if is_block and inner:
                blocks[name] = {"nesting": "list", "required": False, "block": block(inner[1])}
            else:
                flags = {"computed": False, "optional": True, "required": False}
                attributes[name] = {"type": _typescript(kind), **flags}
        return {"attributes": attributes, "blocks": blocks}

    return block(root)


def _typescript(kind: str) -> Type:
    if "string[]" in kind:
        return ["list", "string"]
    if "[key: string]" in kind:
        return ["map", "string"]
    return "number" if "number" in kind else "bool" if "boolean" in kind else "string"


def extract(wheel: Path) -> Json:
    """{"provider": block, "resources": {type: block}, "data": {type: block}}"""
    with zipfile.ZipFile(wheel) as outer:
        inner = next(name for name in outer.namelist() if name.endswith(".tgz"))
        archive = outer.read(inner)
    files = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as package:
        for member in package:
            if member.name.endswith(("/index.js", "/index.d.ts")) and "/lib/" in member.name:
                content = package.extractfile(member)
                files[member.name] = content.read().decode() if content else ""
    result: Json = {"provider": {}, "resources": {}, "data": {}}
    for path, source in sorted(files.items()):
        if not path.endswith(".js"):
            continue
        declarations = files.get(f"{path.removesuffix('.js')}.d.ts", "")
        if path.endswith("/lib/provider/index.js"):
            result["provider"] = _provider(declarations)
            continue
        module = _parse(source, declarations)
        for name, found in module.classes.items():
            kind = {"TerraformResource": "resources", "TerraformDataSource": "data"}.get(found.base)
            if kind and found.resource:
                key = found.resource.removeprefix("data_") if kind == "data" else found.resource
                result[kind][key] = module.block(name, f"{name}Config")
    return result


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(extract(Path(sys.argv[1])), separators=(",", ":")))
