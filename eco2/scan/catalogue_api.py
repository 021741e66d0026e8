"""Routes of scan-api that list classes of waste, and items."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from eco2 import knowledge
from eco2.core.app import any_user, error_responses
from eco2.core.cursors import BadCursor
from eco2.knowledge import Item, Knowledge, search
from eco2.scan.api import At
from eco2.scan.bodies import USER_ERRORS, Category, ItemName

router = APIRouter(prefix="/api/v1/scan", tags=["scan"])


def page_of_items(knowledge: Knowledge, wanted: str, cursor: str | None, limit: int) -> tuple[list[Item], str | None]:
    """(items, cursor of the next page): the id of the last one. BadCursor."""
    found = search(knowledge, wanted)
    ids = [item.id for item in found]
    if cursor is not None and cursor not in ids:
        raise BadCursor
    start = ids.index(cursor) + 1 if cursor is not None else 0
    page = found[start : start + limit]
    return page, page[-1].id if page and start + limit < len(found) else None


@router.get(
    "/categories",
    operation_id="listScanCategories",
    response_model=list[Category],
    dependencies=[any_user],
    summary="The classes of waste",
    responses=error_responses(*USER_ERRORS),
)
async def categories(at: At) -> list[Category]:
    return [Category.model_validate(row) for row in knowledge.categories(at.knowledge)]


@router.get(
    "/items",
    operation_id="listScanItems",
    response_model=list[ItemName],
    dependencies=[any_user],
    summary="The names that a choice accepts",
    responses=error_responses(*USER_ERRORS, BadCursor),
)
async def items(
    at: At,
    response: Response,
    q: Annotated[str, Query(max_length=100, description="Part of a name, Korean or English; aliases count")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(max_length=100, description="Header X-Next-Cursor of the page before")] = None,
) -> list[ItemName]:
    """Best match first. A word for several things finds all of them; without `q` the list is that of the catalogue.
    Header `X-Next-Cursor` is there while more follow."""
    found, following = page_of_items(at.knowledge, q, cursor, limit)
    if following is not None:
        response.headers["X-Next-Cursor"] = following
    return [ItemName(id=item.id, name_en=item.en, **item.classification.model_dump()) for item in found]
