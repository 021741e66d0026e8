"""Writes the OpenAPI document of the whole platform, as clients see it through the gateway.

`python -m eco2.openapi FILE`. A contract test fails when the committed document differs.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson

from eco2.contracts.events import Stage, Status
from eco2.core.app import ErrorBody, ValidationErrorBody, api_app
from eco2.processes import SERVICES

Json = dict[str, Any]

DESCRIPTION = """Eco² tells how to sort a piece of waste from a photo.

Sign in with the cookie `s_access` or a bearer token. Every error is `{"detail", "code"}`; validation adds `errors`.
403 means that your session was revoked and nothing else; what belongs to another user is 404.
"""

_FRAME = {
    "job_id": "0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11",
    "stage": "vision",
    "status": "completed",
    "seq": 4,
    "ts": "1795312800.123",
    "progress": 25,
    "result": "",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "00f067aa0ba902b7",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "stream_id": "1795312800123-0",
}
_STREAM_ERRORS = {
    400: ("INVALID_JOB_ID", "A job id has at least 10 characters."),
    401: ("UNAUTHORIZED", "Sign in first."),
    404: ("JOB_NOT_FOUND", "There is no such job, or it is not yours."),
    503: ("UNAVAILABLE", "Try again in a moment."),
}


def _stream_path() -> Json:
    """The event stream, which sse-gateway serves without a framework."""
    example = f"event: vision\nid: 4\ndata: {orjson.dumps(_FRAME).decode()}\n\n"
    stages, states = ", ".join(Stage), ", ".join(Status)
    description = (
        f"Server-sent events. `event:` is the stage ({stages}); `id:` is `seq`, which counts from 1 without a gap; "
        f"`status` is one of {states}. `done` is the last event and ends the stream. `keepalive` comes after 15 s of "
        "silence. Reconnect with `Last-Event-ID` to resume."
    )
    errors = {
        str(status): {
            "description": code,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/ErrorBody"},
                    "example": {"detail": detail, "code": code},
                }
            },
        }
        for status, (code, detail) in _STREAM_ERRORS.items()
    }
    stream = {"text/event-stream": {"schema": {"type": "string"}, "example": example}}
    return {
        "get": {
            "tags": ["events"],
            "summary": "Follow a job live",
            "description": description,
            "operationId": "follow_job",
            "parameters": [
                _parameter("service", "path", {"type": "string", "enum": ["scan", "chat"]}),
                _parameter("job_id", "path", {"type": "string", "minLength": 10}),
                _parameter("Last-Event-ID", "header", {"type": "string"}, required=False),
            ],
            "responses": {"200": {"description": "The events", "content": stream}, **errors},
        }
    }


def _parameter(name: str, place: str, schema: Json, *, required: bool = True) -> Json:
    return {"name": name, "in": place, "required": required, "schema": schema}


def document() -> Json:
    """The document, keys sorted, so that it only changes when the API does."""
    modules = [row.target.partition(":")[0].rpartition(".")[0] for row in SERVICES if row.kind == "api" and row.target]
    app = api_app("Eco²", *(import_module(f"{module}.api").router for module in modules))
    app.title, app.version, app.description = "Eco²", "1", DESCRIPTION
    found = app.openapi()
    found["paths"]["/api/v1/{service}/{job_id}/events"] = _stream_path()
    _own_validation_errors(found)
    found["components"]["securitySchemes"] = {
        "cookie": {"type": "apiKey", "in": "cookie", "name": "s_access"},
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    }
    found["security"] = [{"cookie": []}, {"bearer": []}]
    found["paths"]["/api/v1/auth/.well-known/jwks.json"]["get"]["security"] = []
    return dict(found)


def _own_validation_errors(found: Json) -> None:
    """Put our validation error where FastAPI documents its own."""
    schemas = found["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    model = ValidationErrorBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(model.pop("$defs"))
    schemas["ValidationErrorBody"] = model
    schemas["ErrorBody"] = ErrorBody.model_json_schema()
    example = {
        "detail": "body.filename: Field required",
        "code": "VALIDATION_ERROR",
        "errors": [{"field": "body.filename", "message": "Field required"}],
    }
    body = {"schema": {"$ref": "#/components/schemas/ValidationErrorBody"}, "example": example}
    for methods in found["paths"].values():
        for operation in methods.values():
            refused = operation["responses"].get("422")
            if refused and "HTTPValidationError" in str(refused):
                operation["responses"]["422"] = {
                    "description": "VALIDATION_ERROR",
                    "content": {"application/json": body},
                }


def render() -> bytes:
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(render())
