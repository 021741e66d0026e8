"""Routes of character-api."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from eco2.character import service
from eco2.core.app import BadUser, MissingUser, User, error_responses, signed_in

router = APIRouter(prefix="/api/v1", tags=["characters"])


class CatalogueEntry(BaseModel):
    name: Annotated[str, Field(examples=["페티"])]
    type: Annotated[str, Field(examples=["무색페트병"])]
    dialog: Annotated[str, Field(examples=["라벨을 떼고 꾹 누른 다음 뚜껑을 닫아 주세요!"])]
    match: Annotated[str | None, Field(description="Middle class that earns it", examples=["무색페트병"])]


class OwnedCharacter(BaseModel):
    id: Annotated[UUID, Field(examples=["2f0e6c1d-53a1-5b1e-9a40-7c8d1e2f3a4b"])]
    code: Annotated[str, Field(examples=["char-petty"])]
    name: Annotated[str, Field(examples=["페티"])]
    type: Annotated[str, Field(examples=["무색페트병"])]
    dialog: Annotated[str, Field(examples=["라벨을 떼고 꾹 누른 다음 뚜껑을 닫아 주세요!"])]
    acquired_at: Annotated[datetime, Field(examples=["2026-11-22T09:30:00Z"])]


class Ownership(BaseModel):
    character_name: Annotated[str, Field(examples=["페티"])]
    owned: Annotated[bool, Field(examples=[True])]


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


@router.get(
    "/users/me/characters/{name}/ownership",
    response_model=Ownership,
    summary="Whether you own a character",
    responses=error_responses(MissingUser, BadUser, service.CharacterNotFound),
)
async def ownership(name: Annotated[str, Path(max_length=100)], user: User, request: Request) -> Ownership:
    resources = request.app.state.resources
    async with resources.engine.connect() as tx:
        return Ownership(character_name=name, owned=await service.owns(tx, resources.knowledge, user, name))
