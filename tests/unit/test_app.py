"""The HTTP app factory: error shapes, identity, readiness, request ids, logs."""

import json
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import APIRouter, Query, Response
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel
from starlette.testclient import TestClient

from eco2.core import telemetry
from eco2.core.app import Asked, Resources, Shortcut, User, create_app
from eco2.core.errors import Unavailable
from eco2.core.settings import AppSettings
from eco2.core.short_cuts import ShortCut

ORIGIN = "https://app.example.org"
router = APIRouter()


class Broken(Exception):
    pass


@router.get("/me")
async def me(user: User) -> str:
    return str(user)


@router.get("/kept")
async def kept(user: User, response: Response) -> str:
    response.headers["Cache-Control"] = "private, max-age=300"
    return str(user)


@router.get("/count")
async def count(n: Annotated[int, Query(ge=1)]) -> int:
    return n


class Named(BaseModel):
    name: str


@router.post("/name")
async def name(body: Named) -> str:
    return body.name


@router.get("/away")
async def away() -> None:
    raise Unavailable("The store is away.", retry_after=7)


@router.get("/bug")
async def bug() -> None:
    raise Broken("secret details")


@router.get("/things/{thing}")
async def thing(thing: uuid.UUID, user: User) -> str:
    return f"the long way to {thing} of {user}"


@router.put("/things/{thing}")
async def put_thing(thing: uuid.UUID) -> str:
    return str(thing)


async def short(resources: "Stub", asked: Asked) -> bytes:
    wanted = uuid.UUID(asked.rest)
    if resources.away:
        resources.asked += 1
        raise ConnectionResetError
    if resources.broken:
        raise Broken("secret details")
    if not resources.database_answers:
        resources.asked += 1
        raise Unavailable
    return json.dumps(f"{wanted} of {asked.user}").encode()


@router.get("/list")
async def listed(n: int = 1) -> str:
    return f"the long way to {n}"


async def short_list(_resources: "Stub", asked: Asked) -> bytes:
    return json.dumps(asked.values()).encode()


class Stub:
    def __init__(self) -> None:
        self.database_answers = True
        self.away = False
        self.broken = False
        self.asked = 0

    async def check(self) -> None:
        if not self.database_answers:
            raise ConnectionError("refused")


@pytest.fixture
def resources() -> Stub:
    return Stub()


@pytest.fixture
def client(resources: Stub) -> TestClient:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Resources[Stub]]:
        yield Resources(resources, {"database": resources.check})

    settings = AppSettings(cors_origins=(ORIGIN,))
    shortcuts = [
        Shortcut(ShortCut.POLLED_ROUTE, "/things/{thing}", short),
        Shortcut(ShortCut.NEAREST_PLACES, "/list", short_list),
    ]
    app = create_app("test", settings, opened, router, shortcuts=shortcuts)
    return TestClient(app, raise_server_exceptions=False)


def test_readiness_tells_the_truth(client: TestClient, resources: Stub) -> None:
    assert client.get("/ready").status_code == 503, "not started yet"
    with client:
        assert client.get("/ready").json() == {"status": "ready", "service": "test", "failed": {}}
        resources.database_answers = False
        answer = client.get("/ready")
        assert (answer.status_code, list(answer.json()["failed"])) == (503, ["database"])
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/me", 401, "MISSING_USER_ID"),
        ("/nothing", 404, "NOT_FOUND"),
        ("/count?n=0", 422, "VALIDATION_ERROR"),
        ("/away", 503, "UNAVAILABLE"),
        ("/bug", 500, "INTERNAL_ERROR"),
    ],
)
def test_every_error_has_one_shape(client: TestClient, path: str, status: int, code: str) -> None:
    with client:
        answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert isinstance(answer.json()["detail"], str)
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"]


def test_a_method_that_is_not_there(client: TestClient) -> None:
    with client:
        assert client.post("/me").json()["code"] == "METHOD_NOT_ALLOWED"


def test_validation_errors_name_the_field(client: TestClient) -> None:
    with client:
        errors = client.get("/count?n=x").json()["errors"]
    assert [error["field"] for error in errors] == ["query.n"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"name": "a"}', None),
        ('{"name": "a"}', "text/plain"),
        ('{"name": ', "application/json"),
        ('["a"]', "application/json"),
        ("", "application/json"),
    ],
)
def test_a_body_that_is_no_json_object_is_told_what_to_send(
    client: TestClient, body: str, content_type: str | None
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    with client:
        answer = client.post("/name", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")
    assert answer.json()["errors"] == [
        {"field": "body", "message": "send a JSON object with Content-Type: application/json"}
    ]
    assert "Content-Type: application/json" in answer.json()["detail"]


def test_a_field_of_a_body_is_still_named(client: TestClient) -> None:
    with client:
        assert client.post("/name", json={"name": "a"}).json() == "a"
        assert [error["field"] for error in client.post("/name", json={}).json()["errors"]] == ["body.name"]


def test_retry_after_is_sent(client: TestClient) -> None:
    with client:
        assert client.get("/away").headers["retry-after"] == "7"


def test_identity_is_the_header_of_the_edge(client: TestClient) -> None:
    user = "0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"
    with client:
        assert client.get("/me", headers={"x-user-id": user}).json() == user
        assert client.get("/me", headers={"x-user-id": "anna"}).json()["code"] == "INVALID_USER_ID_FORMAT"


def test_what_a_user_is_told_is_kept_by_nobody_unless_the_route_says_so(client: TestClient) -> None:
    user = {"x-user-id": "0b6f3c1e-4a55-4f0c-8a39-6a1f0d9d2c11"}
    with client:
        assert client.get("/me", headers=user).headers["cache-control"] == "no-store"
        assert client.get("/nothing", headers=user).headers["cache-control"] == "no-store"
        assert client.get("/kept", headers=user).headers.get_list("cache-control") == ["private, max-age=300"]
        assert "cache-control" not in client.get("/nothing").headers


def test_only_known_origins_may_read(client: TestClient) -> None:
    with client:
        ours = client.get("/nothing", headers={"origin": ORIGIN})
        other = client.get("/nothing", headers={"origin": "https://evil.example.org"})
    assert ours.headers["access-control-allow-origin"] == ORIGIN
    assert ours.headers["access-control-allow-credentials"] == "true"
    assert "access-control-allow-origin" not in other.headers


def test_metrics_count_by_route_and_not_by_path(client: TestClient) -> None:
    with client:
        client.get("/count?n=4")
        text = client.get("/metrics").text
    assert 'eco2_http_request_seconds_count{method="GET",route="/count",service="test",status="200"}' in text


def test_the_request_id_is_kept_and_every_log_line_carries_it_and_the_trace(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        telemetry.setup("test", AppSettings())
        parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        with client:
            answer = client.get("/count?n=1", headers={"x-request-id": "abc", "traceparent": parent})
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    finally:
        root.handlers[:], root.level = before
    access = next(line for line in lines if line["logger"] == "eco2.access")
    assert answer.headers["x-request-id"] == "abc"
    assert (access["request_id"], access["status"], access["process"]) == ("abc", 200, "test")
    assert access["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"


THING, SOMEBODY = str(uuid.UUID(int=1)), {"x-user-id": str(uuid.UUID(int=2)), "origin": ORIGIN}


def test_a_shortcut_answers_what_is_asked_most(client: TestClient) -> None:
    with client:
        answer = client.get(f"/things/{THING}", headers=SOMEBODY)
        text = client.get("/metrics").text
    assert answer.json() == f"{THING} of {SOMEBODY['x-user-id']}"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["x-request-id"]
    assert 'eco2_http_request_seconds_count{method="GET",route="/things/{thing}",service="test",status="200"}' in text


def test_whatever_is_not_plainly_good_takes_the_long_way(client: TestClient, resources: Stub) -> None:
    with client:
        assert client.put(f"/things/{THING}", headers=SOMEBODY).json() == THING
        assert client.get(f"/things/{THING}").json()["code"] == "MISSING_USER_ID"
        assert client.get("/things/1", headers=SOMEBODY).json()["code"] == "VALIDATION_ERROR"
        resources.database_answers = False
        assert client.get(f"/things/{THING}", headers=SOMEBODY).json().startswith("the long way")
        resources.away = True
        answer = client.get(f"/things/{THING}", headers=SOMEBODY)
    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE"), "who is away is asked once"
    assert resources.asked == 2


def test_a_shortcut_that_breaks_leaves_the_answer_to_the_long_way(client: TestClient, resources: Stub) -> None:
    resources.broken = True
    with client:
        answer = client.get(f"/things/{THING}", headers=SOMEBODY)
    assert (answer.status_code, answer.json()) == (200, f"the long way to {THING} of {SOMEBODY['x-user-id']}")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/list?n=2&of=a,b%2Cc&none=", {"n": "2", "of": "a,b,c", "none": ""}),
        ("/list", "the long way to 1"),
        ("/list?n=1&n=2", "the long way to 2"),
        ("/list?n=%33", "the long way to 3"),
    ],
)
def test_a_shortcut_reads_a_plain_query(client: TestClient, path: str, answer: object) -> None:
    with client:
        assert client.get(path, headers=SOMEBODY).json() == answer
        assert client.get(path.replace("/list", "/list/x"), headers=SOMEBODY).status_code == 404


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("/me/", "/me"),
        ("/me/?a=1&b=%2F", "/me?a=1&b=%2F"),
        ("//elsewhere.example/", "/elsewhere.example"),
        ("/né/", "/n%C3%A9"),
    ],
)
def test_a_slash_at_the_end_is_redirected_within_the_host(client: TestClient, asked: str, location: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = client.request(method, f"http://testserver{asked}", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (308, location)


def test_a_span_is_named_by_its_route_and_its_ids_are_attributes(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(telemetry, "_tracer", provider.get_tracer("test"))
    wanted, user = uuid.uuid4(), str(uuid.uuid4())
    with client:
        client.put(f"/things/{wanted}")
        client.get(f"/things/{wanted}", headers={"x-user-id": user})
        client.get(f"/nowhere/{wanted}")
    spans = kept.get_finished_spans()
    assert [span.name for span in spans] == ["PUT /things/{thing}", "GET /things/{thing}", "GET unknown"]
    assert [(span.attributes or {})["url.path"] for span in spans] == [
        *[f"/things/{wanted}"] * 2,
        f"/nowhere/{wanted}",
    ]
    assert [(span.attributes or {})["http.response.status_code"] for span in spans] == [200, 200, 404]


def test_no_handler_takes_its_services_untyped() -> None:
    """`opened` checks their type once; what `app.state` holds is `Any`."""
    package = Path(__file__).parents[2] / "eco2"
    sources = [source for source in package.rglob("*.py") if source != package / "core" / "app.py"]
    assert [str(source) for source in sources if "app.state." in source.read_text()] == []
