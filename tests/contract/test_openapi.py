"""The committed API document is the code's, is valid, and has an example for every body and error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from eco2 import openapi

DOCUMENT = Path(__file__).parents[2] / "docs/api/openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_committed_document_is_the_codes() -> None:
    assert DOCUMENT.read_bytes() == openapi.render(), "run `make openapi` and commit the change"


def test_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)


def test_every_operation_documents_its_refusals(document: dict[str, Any]) -> None:
    public = {"GET /api/v1/auth/.well-known/jwks.json"}
    missing = [name for name, found in operations(document) if "401" not in found["responses"] and name not in public]
    assert not missing


def _has_example(document: dict[str, Any], schema: dict[str, Any]) -> bool:
    if "examples" in schema or "example" in schema:
        return True
    if "$ref" in schema:
        return _has_example(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "items" in schema:
        return _has_example(document, schema["items"])
    parts = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    return any(_has_example(document, part) for part in parts)


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    without = []
    for name, operation in operations(document):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        bodies += [response for response in operation["responses"].values() if "content" in response]
        for body in bodies:
            for media in body["content"].values():
                shown = "example" in media or "examples" in media
                if not shown and not _has_example(document, media["schema"]):
                    without.append(f"{name}: {media}")
    assert not without
