"""What character-api answers to other services: a user's characters, to copy or to remove."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from eco2.character import service, store
from eco2.core import user_data
from eco2.core.grpc import Register
from eco2.knowledge import Knowledge


def user_data_of(engine: AsyncEngine, knowledge: Knowledge) -> Register:
    async def export(user: UUID, _cursor: str) -> tuple[user_data.Records, str]:
        async with engine.connect() as tx:
            rows = await service.owned(tx, knowledge, user)
        characters = [
            {"code": row.character.code, "name": row.character.name, "acquired_at": row.acquired_at} for row in rows
        ]
        return [("characters", row) for row in characters], ""

    async def purge(user: UUID) -> int:
        async with engine.begin() as tx:
            return await store.forget(tx, user)

    return user_data.register(export, purge)
