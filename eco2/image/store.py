"""Every SQL statement of image-api."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from eco2.image.tables import uploads


@dataclass(frozen=True)
class Upload:
    key: str
    user_id: UUID
    channel: str
    content_type: str
    metadata: dict[str, Any]
    etag: str | None


async def add(
    tx: AsyncConnection,
    key: str,
    user_id: UUID,
    channel: str,
    filename: str,
    content_type: str,
    metadata: Mapping[str, Any],
) -> None:
    row = {"key": key, "user_id": user_id, "channel": channel, "filename": filename, "content_type": content_type}
    await tx.execute(insert(uploads).values({**row, "metadata": dict(metadata)}))


async def find(tx: AsyncConnection, key: str) -> Upload | None:
    columns = [uploads.c[name] for name in Upload.__dataclass_fields__]
    row = (await tx.execute(select(*columns).where(uploads.c.key == key))).one_or_none()
    return Upload(*row) if row else None


async def complete(tx: AsyncConnection, key: str, content_type: str, etag: str, size: int) -> None:
    values = {"content_type": content_type, "etag": etag, "size": size, "completed_at": func.now()}
    await tx.execute(update(uploads).where(uploads.c.key == key).values(values))
