"""The committed API document is the code's, is valid, and has an example for every body and error."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from eco2 import knowledge as kb
from eco2.core.app import needs_user
from eco2.local import envoy
from eco2.messaging.events import Text
from eco2.sse_gateway import stream
from eco2.sse_gateway.text import Told
from tools import errors, event_stream, openapi

DOCUMENT = Path(__file__).parents[2] / "docs/api/openapi.json"
ERRORS = DOCUMENT.with_name("errors.md")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_committed_document_is_the_codes() -> None:
    assert DOCUMENT.read_bytes() == openapi.render(), "run `make openapi` and commit the change"
    assert ERRORS.read_text() == errors.render(), "run `make openapi` and commit the change"


def test_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)


def test_every_operation_documents_its_refusals(document: dict[str, Any]) -> None:
    missing = [name for name, found in operations(document) if "401" not in found["responses"]]
    public = {name for name, _ in operations(document) if name.startswith("GET /api/v1/recycling/")}
    assert {name.partition(" ")[2] for name in missing if name not in public} <= set(openapi.PUBLIC)


def test_what_is_public_in_the_document_is_public_at_the_edge(document: dict[str, Any]) -> None:
    (policy,) = (doc for doc in envoy.load() if doc.get("kind") == "AuthorizationPolicy")
    (rule,) = policy["spec"]["rules"]
    patterns = rule["to"][0]["operation"]["notPaths"]

    def is_open(path: str) -> bool:
        return any(path.startswith(each[:-1]) if each.endswith("*") else path == each for each in patterns)

    for path, methods in document["paths"].items():
        real = [path.replace("{provider}", name) for name in ("kakao", "google", "naver")]
        public = {operation.get("security") == [] for operation in methods.values()}
        assert public == {is_open(each) for each in real}, path


def test_every_service_is_in_the_document(document: dict[str, Any]) -> None:
    first = {"/".join(path.split("/")[:4]) for path in document["paths"]}
    assert first >= {
        f"/api/v1/{name}"
        for name in ("auth", "images", "scan", "waste", "character", "users", "recycling", "locations", "chat")
    }
    assert document["servers"] == [{"url": "/"}]


def json_answers(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if "application/json" in answer.get("content", {}):
                yield f"{name} {status}", answer["content"]["application/json"]


def shown(document: dict[str, Any], media: dict[str, Any]) -> list[Any]:
    """The examples of a body."""
    if "example" in media:
        return [media["example"]]
    rows = media.get("examples", {}).values()
    found = document["components"]["examples"]
    return [found[row["$ref"].rpartition("/")[2]]["value"] if "$ref" in row else row["value"] for row in rows]


def test_every_answer_shows_an_example_that_fits_its_schema(document: dict[str, Any]) -> None:
    for name, media in json_answers(document):
        schema = {**media["schema"], "components": document["components"]}
        examples = shown(document, media)
        assert examples, name
        for example in examples:
            OAS31Validator(schema).validate(example)


def test_a_result_is_shown_certain_uncertain_without_waste_and_failed(document: dict[str, Any]) -> None:
    answer = document["paths"]["/api/v1/scan/{job_id}/result"]["get"]["responses"]["200"]
    certain, uncertain, no_waste, failed = shown(document, answer["content"]["application/json"])
    assert certain["reward"]["match_reason"] == "무색페트병>생수병"
    assert certain["pipeline_result"]["disposal_rules"]["배출방법_공통"]
    assert (uncertain["needs_choice"], len(uncertain["candidates"])) == (True, 2)
    for body, outcome, code in ((no_waste, "unsure", "NO_WASTE"), (failed, "failed", "IMAGE_TYPE_NOT_SUPPORTED")):
        assert (body["status"], body["outcome"], body["code"]) == ("completed", outcome, code)
        assert (body["pipeline_result"], body["needs_choice"], body["candidates"]) == (None, False, [])
        assert body["error"]


def test_lists_show_what_the_data_holds(document: dict[str, Any]) -> None:
    base = kb.load()
    answers = {name: shown(document, media)[0] for name, media in json_answers(document) if name.endswith(" 200")}
    assert answers["GET /api/v1/scan/categories 200"][0] in kb.categories(base)
    name = answers["GET /api/v1/scan/items 200"][0]
    assert base.resolve(name["minor_category"]) == base.item(name["id"])
    assert (name["name_en"], name["major_category"]) == (base.item(name["id"]).en, "재활용폐기물")
    rows = {c.name: c for c in base.characters}
    for path in ("GET /api/v1/character/catalog 200", "GET /api/v1/users/me/characters 200"):
        row = answers[path][0]
        assert (row["type"], row["dialog"]) == (rows[row["name"]].type, rows[row["name"]].dialog)


def test_the_image_url_is_documented_as_required(document: dict[str, Any]) -> None:
    request = document["components"]["schemas"]["ScanRequest"]
    assert request["required"] == ["image_url"]
    assert "IMAGE_URL_REQUIRED" in request["properties"]["image_url"]["description"]


def test_operations_have_names_for_generated_clients(document: dict[str, Any]) -> None:
    """A name given by hand: the framework's own holds path and method, and changes with them."""
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name)] == []


def test_schemas_have_names_for_generated_clients(document: dict[str, Any]) -> None:
    """Two models of one name get names made of their modules, which generators cut to the same class again."""
    assert [name for name in document["components"]["schemas"] if not re.fullmatch(r"[A-Z][A-Za-z]+", name)] == []


def test_every_tag_is_declared_and_used(document: dict[str, Any]) -> None:
    declared = [tag["name"] for tag in document["tags"]]
    assert set(declared) == {tag for _, operation in operations(document) for tag in operation["tags"]}


def test_the_refusals_of_the_edge_stand_where_it_asks_for_a_user(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        answers = (
            answer["content"]["application/json"]
            for status, answer in operation["responses"].items()
            if status[0] in "45"
        )
        found = {example["code"] for media in answers for example in shown(document, media)}
        asked = operation.get("security") != []
        assert (found >= {"UNAUTHORIZED", "SESSION_REVOKED"}) is asked, name
        assert "MISSING_USER_ID" not in found, "what a service says without the edge is no client's to see"


def test_what_may_be_tried_again_says_when(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status in openapi.RETRY_LATER & operation["responses"].keys():
            assert "Retry-After" in operation["responses"][status]["headers"], (name, status)


def test_the_last_words_of_a_stream_fit_their_schemas(document: dict[str, Any]) -> None:
    for kind, frame in (
        ("KeepaliveEvent", stream.keepalive_frame()),
        ("StreamError", stream.ended_frame()),
        ("StreamError", stream.timeout_frame(60)),
        ("TokenRecoveryEvent", Told().recover(event_stream.JOB, Text(1, 1002, "페트병은 라벨을 "))),
    ):
        data = orjson.loads(frame.partition(b"data: ")[2])
        OAS31Validator(document["components"]["schemas"][kind]).validate(data)


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


MEMBERS_ONLY = {
    "deleteAccount",
    "deleteReminder",
    "endSession",
    "exportData",
    "getCharacterOwnership",
    "getLeaderboard",
    "getLeaderboardMembership",
    "getPoints",
    "joinLeaderboard",
    "leaveLeaderboard",
    "listAnswerChanges",
    "listChats",
    "listDisputedItems",
    "listDisputes",
    "listOwnedCharacters",
    "listPlaceReports",
    "listReminders",
    "listSessions",
    "logoutEverywhere",
    "putReminder",
    "reportPlace",
    "restorePlace",
    "retirePlace",
    "settlePlaceReport",
    "updateProfile",
}
"""Operations that refuse guests, who have no account, no characters and no say about places."""


def test_every_operation_says_whether_guests_may_use_it(document: dict[str, Any]) -> None:
    found = {operation["operationId"]: operation["x-guests"] for _, operation in operations(document)}
    assert {name for name, may in found.items() if not may} == MEMBERS_ONLY
    for _, operation in operations(document):
        refused = "GUEST_NOT_ALLOWED" in str(operation["responses"].get("409"))
        assert refused != operation["x-guests"], operation["operationId"]


def test_no_route_forgets_to_ask_who_it_is() -> None:
    """A route without one of the two types of user would let guests in without a decision."""
    reads = {route.path for route in openapi.routes() if route.methods == {"GET"}}
    public = {*openapi.PUBLIC, *(path for path in reads if path.startswith("/api/v1/recycling/"))}
    assert [route.path for route in openapi.routes() if not needs_user(route) and route.path not in public] == []
