"""Every SQL statement of the character services."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eco2.character.tables import ownerships
from eco2.contracts.grants import Grant


async def add(tx: AsyncConnection, grants: Sequence[Grant]) -> int:
    """Write the grants, each (user, character) once; returns how many were new."""
    rows = [
        {
            "user_id": grant.user_id,
            "character_code": grant.character_code,
            "source": grant.source,
            "job_id": grant.job_id,
            "acquired_at": grant.earned_at,
        }
        for grant in grants
    ]
    statement = insert(ownerships).values(rows).on_conflict_do_nothing().returning(ownerships.c.user_id)
    return len((await tx.execute(statement)).all())


async def owned(tx: AsyncConnection, user: UUID) -> list[tuple[str, datetime]]:
    """(character code, acquired at) of the user, oldest first."""
    columns = (ownerships.c.character_code, ownerships.c.acquired_at)
    statement = select(*columns).where(ownerships.c.user_id == user).order_by(ownerships.c.acquired_at, columns[0])
    return [(code, at) for code, at in await tx.execute(statement)]


async def forget(tx: AsyncConnection, user: UUID) -> int:
    """Remove what the user owns; returns how many rows."""
    return (await tx.execute(delete(ownerships).where(ownerships.c.user_id == user))).rowcount
