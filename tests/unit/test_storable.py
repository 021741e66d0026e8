"""Texts that no database can store are refused wherever a request has one."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Query
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field

from eco2.core.app import Text, api_app

router = APIRouter()


class Body(BaseModel):
    short: Annotated[str | None, Field(max_length=10)] = None
    text: Text | None = None
    data: dict[str, Any] | None = None
    names: list[str] = []


@router.post("/body")
async def body(body: Body) -> dict[str, str | None]:
    return {"text": body.text}


@router.get("/names/{name}")
async def name(name: str, q: Annotated[str, Query(max_length=20)] = "") -> dict[str, str]:
    return {"name": name, "q": q}


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(api_app("test", router), raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (r'{"short":"\ud83d"}', "body.short"),
        (r'{"text":"a\uD83D"}', "body.text"),
        (r'{"text":"\ude00\ud83d"}', "body.text"),
        (r'{"text":"a\u0000b"}', "body.text"),
        (r'{"short":"\u0000"}', "body.short"),
        (r'{"data":{"deep":[{"x":"\udc00"}]}}', "body.data.deep.0.x"),
        (r'{"data":{"\ud83d":1}}', "body.data"),
        (r'{"names":["ok","\udfff"]}', "body.names.1"),
        (r'{"unknown":"\udc00"}', "body.unknown"),
        (r'{"\ud83d":1}', "body"),
    ],
)
def test_half_an_emoji_and_nul_in_a_body_are_refused_by_field(client: TestClient, sent: str, field: str) -> None:
    answer = client.post("/body", content=sent, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")
    assert field in [error["field"] for error in answer.json()["errors"]]


@pytest.mark.parametrize("sent", [b'{"text":"\xed\xa0\xbd"}', '{"text":"\\ud83d"}'.encode("utf-16-le")])
def test_so_is_what_is_half_an_emoji_in_another_encoding(client: TestClient, sent: bytes) -> None:
    answer = client.post("/body", content=sent, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "address",
    ["/names/%ED%A0%BD", "/names/a?q=%ED%A0%BD", "/names/a%00", "/names/a?q=%00", "/names/%FF", "/names/a?q=%FF&r=1"],
)
def test_so_are_those_in_a_path_and_a_query(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")


def test_a_whole_emoji_is_a_text(client: TestClient) -> None:
    sent = r'{"text":"\ud83d\ude00 😀 \\ud83d"}'
    answer = client.post("/body", content=sent, headers={"Content-Type": "application/json"})
    assert answer.json() == {"text": "😀 😀 \\ud83d"}
    assert client.get("/names/%F0%9F%98%80?q=%EA%B0%80").json() == {"name": "😀", "q": "가"}


@pytest.mark.parametrize("sent", [r'{"text":"\ud83d', "\\u0000", r"[" * 100_000 + r'"\ud83d"'])
def test_what_is_no_json_is_refused_as_before(client: TestClient, sent: str) -> None:
    answer = client.post("/body", content=sent, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
