"""Every SQL statement of image-api."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import case, delete, func, insert, literal, select, tuple_, update
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
    most_per_minute: int,
) -> float:
    """Note an upload: 0, or the seconds until the user may have another one."""
    minute = timedelta(minutes=1)
    row = {"key": key, "user_id": user_id, "channel": channel, "filename": filename, "content_type": content_type}
    newest = (
        select(uploads.c.created_at)
        .where(uploads.c.user_id == user_id, uploads.c.created_at > func.now() - minute)
        .order_by(uploads.c.created_at.desc())
        .limit(most_per_minute)
        .cte("newest")
    )
    taken = select(func.count()).select_from(newest).scalar_subquery()
    values = [literal(value, uploads.c[name].type) for name, value in {**row, "metadata": dict(metadata)}.items()]
    added = insert(uploads).from_select([*row, "metadata"], select(*values).where(taken < most_per_minute)).cte("added")
    free = func.extract("epoch", func.min(newest.c.created_at) + minute - func.now())
    wait = case((func.count() < most_per_minute, 0), else_=free)
    return float((await tx.execute(select(wait).select_from(newest).add_cte(added))).scalar_one())


async def find(tx: AsyncConnection, key: str) -> Upload | None:
    columns = [uploads.c[name] for name in Upload.__dataclass_fields__]
    row = (await tx.execute(select(*columns).where(uploads.c.key == key))).one_or_none()
    return Upload(*row) if row else None


async def complete(tx: AsyncConnection, key: str, content_type: str, etag: str, size: int) -> bool:
    """False when there is no such upload any more."""
    values = {"content_type": content_type, "etag": etag, "size": size, "completed_at": func.now()}
    done = await tx.execute(update(uploads).where(uploads.c.key == key).values(values).returning(uploads.c.key))
    return done.first() is not None


async def page(
    tx: AsyncConnection, user: UUID, after: tuple[datetime, str] | None, limit: int
) -> list[tuple[Upload, datetime]]:
    """(upload, created at) of the user, oldest first, after the one of (created at, key)."""
    place = (uploads.c.created_at, uploads.c.key)
    columns = [uploads.c[name] for name in Upload.__dataclass_fields__]
    statement = select(*columns, uploads.c.created_at).where(uploads.c.user_id == user).order_by(*place).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(*place) > after)
    return [(Upload(*row[:-1]), row[-1]) for row in await tx.execute(statement)]


async def keys_of(tx: AsyncConnection, user: UUID, limit: int) -> list[str]:
    return list((await tx.execute(select(uploads.c.key).where(uploads.c.user_id == user).limit(limit))).scalars())


async def known(tx: AsyncConnection, keys: Sequence[str]) -> set[str]:
    return set((await tx.execute(select(uploads.c.key).where(uploads.c.key.in_(keys)))).scalars())


async def oldest(tx: AsyncConnection) -> datetime | None:
    """When the oldest upload was made that is known here."""
    found: datetime | None = (await tx.execute(select(func.min(uploads.c.created_at)))).scalar_one()
    return found


async def between(tx: AsyncConnection, after: str, last: str, before: datetime) -> list[str]:
    """The keys in this stretch (without the first, in the order of their bytes) of uploads made before then."""
    here = (uploads.c.key > after, uploads.c.key <= last, uploads.c.created_at < before)
    return list((await tx.execute(select(uploads.c.key).where(*here))).scalars())


async def forget(tx: AsyncConnection, keys: Sequence[str]) -> None:
    await tx.execute(delete(uploads).where(uploads.c.key.in_(keys)))
