"""The API document and its page, as anybody gets them from the edge."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from eco2.info import reference
from eco2.local.stack import Stack

DOCUMENT = Path(__file__).parents[2] / "docs/api/openapi.json"


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=stack.layout.public_url, timeout=30) as client:
        yield client


async def test_the_document_is_the_committed_one_and_is_not_sent_twice(http: httpx2.AsyncClient) -> None:
    first = await http.get("/api/v1/openapi.json")
    assert first.content == DOCUMENT.read_bytes()
    assert first.headers["content-type"] == "application/json"
    assert first.headers["content-encoding"] == "gzip"
    assert first.headers["cache-control"] == "public, max-age=300"
    headers = {"If-None-Match": first.headers["etag"]}
    again = await http.get("/api/v1/openapi.json", headers=headers)
    assert (again.status_code, again.content) == (304, b"")
    plain = await http.get("/api/v1/openapi.json", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == first.content


async def test_the_page_loads_its_parts_from_this_host_alone(http: httpx2.AsyncClient) -> None:
    page = await http.get("/api/v1/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {policy["script-src"], policy["style-src"], policy["connect-src"]} == {"'self'"}
    parts = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page.text)
    assert len(parts) == 5
    for part in parts:
        answer = await http.get(str(page.url.join(part)))
        assert answer.status_code == 200, part
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script>|<style| on\w+=| style=", page.text)


@pytest.mark.parametrize(("name", "status"), [("nothing.js", 404), ("redoc.standalone.js", 404), ("..%2fx", 400)])
async def test_other_files_are_not_served(http: httpx2.AsyncClient, name: str, status: int) -> None:
    assert (await http.get(f"/api/v1/docs/{name}")).status_code == status


async def test_a_changed_document_has_another_tag() -> None:
    assert len({body.headers["ETag"] for body in reference.load().values()}) == len(reference.load())
