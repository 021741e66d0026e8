"""Routes of character-api."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from eco2.character import service
from eco2.core.app import BadUser, MissingUser, User, error_responses, signed_in

router = APIRouter(prefix="/api/v1", tags=["characters"])


class CatalogueEntry(BaseModel):
    name: Annotated[str, Field(examples=["페티"])]
    type: Annotated[str, Field(examples=["무색페트병"])]
    dialog: Annotated[str, Field(examples=["라벨은 떼고, 뚜껑은 꼭 닫아 주세요!"])]
    match: Annotated[str | None, Field(description="Middle class that earns it", examples=["무색페트병"])]


class OwnedCharacter(BaseModel):
    id: UUID
    code: Annotated[str, Field(examples=["char-eco"])]
    name: Annotated[str, Field(examples=["이코"])]
    type: str
    dialog: str
    acquired_at: datetime


@router.get(
    "/character/catalog",
    response_model=list[CatalogueEntry],
    dependencies=[signed_in],
    summary="All characters",
    responses=error_responses(MissingUser, BadUser),
)
async def catalogue(request: Request) -> list[CatalogueEntry]:
    characters = request.app.state.resources.knowledge.characters
    return [CatalogueEntry(name=c.name, type=c.type, dialog=c.dialog, match=c.match) for c in characters]


@router.get(
    "/users/me/characters",
    response_model=list[OwnedCharacter],
    summary="The characters that you own",
    responses=error_responses(MissingUser, BadUser),
)
async def owned(user: User, request: Request) -> list[OwnedCharacter]:
    """Oldest first. A character appears within seconds of the scan that earned it."""
    resources = request.app.state.resources
    async with resources.engine.connect() as tx:
        rows = await service.owned(tx, resources.knowledge, user)
    return [
        OwnedCharacter(
            id=row.id,
            code=row.character.code,
            name=row.character.name,
            type=row.character.type,
            dialog=row.character.dialog,
            acquired_at=row.acquired_at,
        )
        for row in rows
    ]
