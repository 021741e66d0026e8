"""The names that a choice accepts, page by page; and which methods a path has."""

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient

from eco2 import knowledge as kb
from eco2.core.app import api_app
from eco2.core.cursors import BadCursor
from eco2.scan.catalogue_api import page_of_items


@pytest.fixture(scope="module")
def knowledge() -> kb.Knowledge:
    return kb.load()


@pytest.mark.parametrize(("wanted", "limit"), [("", 500), ("", 50), ("병", 7), ("bottle", 3)])
def test_the_pages_hold_every_item_once_and_in_order(knowledge: kb.Knowledge, wanted: str, limit: int) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        page, cursor = page_of_items(knowledge, wanted, cursor, limit)
        seen += [item.id for item in page]
        if cursor is None:
            break
    assert seen == [item.id for item in kb.search(knowledge, wanted)]


def test_a_cursor_of_another_search_is_refused(knowledge: kb.Knowledge) -> None:
    with pytest.raises(BadCursor):
        page_of_items(knowledge, "병", "nothing", 5)


def test_a_refused_method_names_all_that_the_path_has() -> None:
    router = APIRouter()

    @router.get("/things/{name}")
    @router.post("/things/{name}")
    async def thing(name: str) -> str:
        return name

    @router.delete("/things/{name}")
    async def remove(name: str) -> None:
        return None

    answer = TestClient(api_app("test", router)).put("/things/a")
    assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "DELETE, GET, POST"
