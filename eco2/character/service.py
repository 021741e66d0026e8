"""The catalogue of characters, who owns which, and the grants that change it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid5

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from eco2.character import store
from eco2.contracts.grants import DEFAULT_CHARACTER, Grant
from eco2.core.consumer import Message, PoisonMessage
from eco2.core.errors import NotFound
from eco2.knowledge import Character, Knowledge


class CharacterNotFound(NotFound):
    """There is no character of this name; GET /api/v1/character/catalog lists them."""

    code = "CHARACTER_NOT_FOUND"


_IDS = UUID("0a4c2f5e-8d0b-4f0e-9a51-3f1f0f7f2c11")


@dataclass(frozen=True)
class Owned:
    id: UUID
    character: Character
    acquired_at: datetime


def character_id(code: str) -> UUID:
    """The id of a character is derived from its code, so it is the same in every environment."""
    return uuid5(_IDS, code)


def by_code(knowledge: Knowledge) -> dict[str, Character]:
    return {character.code: character for character in knowledge.characters}


async def owned(tx: AsyncConnection, knowledge: Knowledge, user: UUID) -> list[Owned]:
    """The user's characters, oldest first. The default one is everybody's, also while its grant is on its way."""
    characters = by_code(knowledge)
    rows = [(code, at) for code, at in await store.owned(tx, user) if code in characters]
    if DEFAULT_CHARACTER not in {code for code, _ in rows}:
        rows.insert(0, (DEFAULT_CHARACTER, rows[0][1] if rows else datetime.now(UTC)))
    return [Owned(character_id(code), characters[code], at) for code, at in rows]


async def owns(tx: AsyncConnection, knowledge: Knowledge, user: UUID, name: str) -> bool:
    """Whether the user owns the character of that name. CharacterNotFound."""
    if name not in {character.name for character in knowledge.characters}:
        raise CharacterNotFound
    return any(row.character.name == name for row in await owned(tx, knowledge, user))


def parse(message: Message, knowledge: Knowledge) -> Grant:
    """PoisonMessage when the body is no grant of the contract or names an unknown character."""
    try:
        grant = Grant.model_validate_json(message.body)
    except ValidationError as error:
        raise PoisonMessage(str(error)) from error
    if grant.character_code not in by_code(knowledge):
        raise PoisonMessage(f"unknown character {grant.character_code!r}")
    return grant


async def grant(tx: AsyncConnection, knowledge: Knowledge, messages: Sequence[Message]) -> int:
    """Write the grants of a batch; returns how many characters were new to their users."""
    return await store.add(tx, [parse(message, knowledge) for message in messages])
