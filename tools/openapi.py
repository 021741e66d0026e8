"""Writes the OpenAPI document of the whole platform, as clients see it through the gateway.

`python -m tools.openapi FILE`. A contract test fails when the committed document differs.
"""

import sys
from collections.abc import Iterator
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel

from eco2 import knowledge
from eco2.auth import guest_api, native_api
from eco2.chat import turn_api
from eco2.core.app import (
    BadUser,
    ErrorBody,
    GuestNotAllowed,
    MissingUser,
    ValidationErrorBody,
    api_app,
    error_responses,
    guests_may,
)
from eco2.ext_authz import service as ext_authz
from eco2.location import steward_api as location_stewards
from eco2.photos.check import PhotoTypeRefused
from eco2.processes import SERVICES
from eco2.recycling import calendar_api, reminder_api
from eco2.recycling import steward_api as recycling_stewards
from eco2.recycling.api import ItemDetail
from eco2.scan import catalogue_api, changes_api, feedback_api, stages, user_scans_api, waste_api
from eco2.scan import steward_api as scan_stewards
from eco2.scan.job import Job
from eco2.scan.outputs import Answer, Candidate, VisionResult
from eco2.scan.progress import stage_text
from eco2.scan.result import result_body
from tools import event_stream

Json = dict[str, Any]

AUTH = "/api/v1/auth"
PUBLIC = (
    f"{AUTH}/.well-known/jwks.json",
    f"{AUTH}/{{provider}}",
    f"{AUTH}/{{provider}}/login",
    f"{AUTH}/{{provider}}/authorize",
    f"{AUTH}/{{provider}}/callback",
    f"{AUTH}/{{provider}}/app",
    f"{AUTH}/token",
    f"{AUTH}/refresh",
    f"{AUTH}/logout",
    f"{AUTH}/guest",
    f"{AUTH}/guest/challenge",
)
"""Routes that answer without a user; the edge's policy has the same list (workloads/routing)."""

DESCRIPTION = """Eco² tells how to sort a piece of waste from a photo.

Sign in with the cookie `s_access` or a bearer token. Every error is `{"detail", "code"}`; validation adds `errors`.
403 only means that your session was revoked; another user's resource is 404, and operations of the
tag `stewards` refuse other users with 409 `STEWARDS_ONLY`. Users without an account can be guests (`enterAsGuest`):
operations with `x-guests: false` refuse guests with 409 `GUEST_NOT_ALLOWED`.

A page of an allowed origin can read every answer, errors included, and the headers `X-Request-Id`, `Retry-After`,
`X-Next-Cursor`, `ETag`, `Content-Disposition` and `Allow`. One exception: if several origins are allowed, a request
with too large (431) or unparsable headers is answered for the first of them only.
"""

TAGS = {
    "auth": "Sign-in with a provider, tokens and sessions.",
    "images": "URLs for uploading photos.",
    "scan": "From a photo to a guide: the item, its disposal and the reward.",
    "waste": "The same in two steps, for apps that poll instead of following events.",
    "chat": "Conversations with the agent, also about a scan.",
    "events": "The progress of a job, live.",
    "recycling": "The knowledge base: items, streams, rules, districts, and questions in words.",
    "locations": "Drop-off places: the nearest, by name, in clusters, for an item.",
    "info": "News of the environment, and notices.",
    "characters": "Characters and points that scans earn, and leaderboards of districts.",
    "users": "The signed-in user: profile, preferences, scans, export.",
    "stewards": "For stewards: disputed results, reports about places, changed answers.",
}
"""Descriptions of the tags, in the order of the document."""
RETRY_LATER = frozenset(("429", "503"))
_EDGE = (ext_authz.NoToken, ext_authz.Revoked, ext_authz.Stale)
"""Answers of the check at the edge, on every route that needs a user."""
_STEWARDS = (scan_stewards, location_stewards, recycling_stewards)
_MORE = (
    *(catalogue_api, changes_api, waste_api, user_scans_api, feedback_api, calendar_api, reminder_api, turn_api),
    *_STEWARDS,
)
"""Routes of a domain outside its `api`."""
_ONLY_WITHOUT_THE_EDGE = frozenset((MissingUser.code, BadUser.code))
_RETRY_AFTER = {
    "description": "Seconds after which the same request may succeed.",
    "schema": {"type": "integer", "minimum": 1},
}


def _routers() -> list[APIRouter]:
    modules = [row.target.partition(":")[0].rpartition(".")[0] for row in SERVICES if row.kind == "api" and row.target]
    modules.remove("eco2.web")  # pages, no routes of the API
    routers = [import_module(f"{module}.api").router for module in modules]
    return [guest_api.router, native_api.router, *routers, *(module.router for module in _MORE)]


def routes() -> list[APIRoute]:
    """Every route of the services; the event gateway does not use the framework."""
    return [route for router in _routers() for route in router.routes if isinstance(route, APIRoute)]


def document() -> Json:
    """The document, keys sorted, so that it only changes when the API does."""
    app = api_app("Eco²", *_routers())
    app.title, app.version, app.description = "Eco²", "1", DESCRIPTION
    found = app.openapi()
    found["servers"] = [{"url": "/"}]
    found["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    found["paths"].update(event_stream.paths())
    found["components"]["schemas"].update(event_stream.schemas())
    _own_validation_errors(found)
    _add_examples(found)
    found["components"]["securitySchemes"] = {
        "cookie": {"type": "apiKey", "in": "cookie", "name": "s_access"},
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    }
    found["security"] = [{"cookie": []}, {"bearer": []}]
    for path in PUBLIC:
        for operation in found["paths"][path].values():
            operation["security"] = []
    for path, methods in found["paths"].items():
        if path.startswith("/api/v1/recycling/") and "get" in methods and "stewards" not in methods["get"]["tags"]:
            methods["get"]["security"] = []
    _add_refusals_of_the_edge(found)
    _say_who_may(found)
    return dict(found)


def _say_who_may(found: Json) -> None:
    """Extension `x-guests` of each operation, and the refusal where it is false."""
    members_only = {route.operation_id for route in routes() if not guests_may(route)}
    (refusal,) = error_responses(GuestNotAllowed).values()
    for methods in found["paths"].values():
        for operation in methods.values():
            operation["x-guests"] = operation["operationId"] not in members_only
            if operation["x-guests"]:
                continue
            answer = operation["responses"].setdefault("409", {"content": {"application/json": {"examples": {}}}})
            media = answer["content"]["application/json"]
            media.setdefault("schema", {"$ref": "#/components/schemas/ErrorBody"})
            media["examples"].update(refusal["content"]["application/json"]["examples"])
            answer["description"] = ", ".join(media["examples"])
            operation["responses"] = dict(sorted(operation["responses"].items()))


def _add_refusals_of_the_edge(found: Json) -> None:
    """Answers that a request may get before its service: no token, an ended session, a check that cannot decide; and
    when to come again."""
    for methods in found["paths"].values():
        for operation in methods.values():
            answers = operation["responses"]
            for status, refusal in error_responses(*_EDGE).items() if "security" not in operation else ():
                answer = answers.setdefault(str(status), {"description": "", "content": {"application/json": {}}})
                media = answer["content"]["application/json"]
                media.setdefault("schema", {"$ref": "#/components/schemas/ErrorBody"})
                examples = media.setdefault("examples", {})
                for code, example in refusal["content"]["application/json"]["examples"].items():
                    examples.setdefault(code, example)
                for code in _ONLY_WITHOUT_THE_EDGE & examples.keys():
                    del examples[code]
                answer["description"] = ", ".join(examples)
            for status in RETRY_LATER & answers.keys():
                answers[status]["headers"] = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
            operation["responses"] = dict(sorted(answers.items()))
    found["components"]["headers"] = {"Retry-After": _RETRY_AFTER}


# --- examples ---------------------------------------------------------------------------------------------------------

_GUESSES = (Candidate("water_pet", 0.41), Candidate("drink_bottle", 0.22))
_SEEN = {
    "completed": VisionResult("water_pet", 0.83, _GUESSES[:1], needs_choice=False, waste=True, model=""),
    "uncertain": VisionResult(None, 0.41, _GUESSES, needs_choice=True, waste=True, model=""),
    "no_waste": VisionResult(None, 0.93, (), needs_choice=True, waste=False, model=""),
}


def _knowledge_records(found: Json, base: knowledge.Knowledge) -> None:
    """Show the records of the knowledge base by real ones."""
    district = next(iter(base.regions.values()), None) or knowledge.Region(
        id="seoul_gangseo", ko="서울 강서구", en="Gangseo-gu, Seoul", sources=(), checked=date(2026, 11, 1)
    )
    records: list[BaseModel] = [base.stream("paper_cardboard"), base.rule("paper_cardboard"), district]
    records += [base.situations["grease_paper"], ItemDetail.of(base, base.item("pizza_box"))]
    for record in records:
        name = "DisposalStream" if isinstance(record, knowledge.Stream) else type(record).__name__
        schema = found["components"]["schemas"][name]
        schema["examples"] = [record.model_dump(mode="json", by_alias=True)]


def scan_results() -> dict[str, Json]:
    """Answers of the pipeline to a photo by what was seen in it, and to a file that is no photo."""
    base = knowledge.load()
    jobs = {name: _completed(base, vision) for name, vision in _SEEN.items()}
    refused = PhotoTypeRefused()
    jobs["failed"] = _job("failed", error=refused.message, error_code=refused.code)
    return {name: result_body(base, job) for name, job in jobs.items()}


def _completed(base: knowledge.Knowledge, vision: VisionResult) -> Job:
    rule = stages.match(base, vision, None)
    answer = stages.answer(base, rule, None)
    return _job("completed", rule=rule, answer=Answer.of(answer), reward=stages.reward(base, rule, answer))


def _job(status: str, **outcome: Any) -> Job:
    empty: Json = dict.fromkeys(Job.__dataclass_fields__)
    return Job(**{**empty, "id": UUID(event_stream.JOB), "status": status, **outcome})


def _add_examples(found: Json) -> None:
    """Show every answer by an example: the results that the pipeline gives, else what the schema's fields have."""
    _knowledge_records(found, knowledge.load())
    results = scan_results()
    running = {"job_id": event_stream.JOB, "progress": 25, "message": stage_text("vision", "ko")}
    finished = {**running, "progress": 100, "message": stage_text("done", "ko"), "result": results["completed"]}
    known = {"ScanResult": results, "WasteStatus": {"running": running, "finished": finished}}
    found["components"]["examples"] = {
        f"{model}.{name}": {"value": value} for model, values in known.items() for name, value in values.items()
    }
    for path, media in _json_answers(found):
        model = media["schema"].get("$ref", "").rpartition("/")[2]
        if model in known:
            names = ["completed"] if path.endswith("/choice") else known[model]
            media["examples"] = {name: {"$ref": f"#/components/examples/{model}.{name}"} for name in names}
        elif not {"example", "examples"} & media.keys():
            media["example"] = _example(found["components"]["schemas"], media["schema"])


def _json_answers(found: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in found["paths"].items():
        for operation in methods.values():
            for response in operation["responses"].values():
                if "application/json" in response.get("content", {}):
                    yield path, response["content"]["application/json"]


def _example(schemas: Json, schema: Json) -> Any:
    """Of its own, or put together from those of its parts. Raises ValueError where there is none."""
    if "$ref" in schema:
        return _example(schemas, schemas[schema["$ref"].rpartition("/")[2]])
    for key in ("examples", "enum"):
        if key in schema:
            return schema[key][0]
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("type") == "null":
        return None
    if "items" in schema:
        return [_example(schemas, schema["items"])]
    if "properties" in schema:
        return {name: _example(schemas, part) for name, part in schema["properties"].items()}
    raise ValueError(f"no example for {schema}; give the field one")


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
