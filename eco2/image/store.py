"""Every SQL statement of image-api."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from eco2.core.postgres import Session


@dataclass(frozen=True)
class Upload:
    key: str
    user_id: UUID
    channel: str
    content_type: str
    metadata: dict[str, Any]
    etag: str | None


_UPLOAD: LiteralString = "key, user_id, channel, content_type, metadata, etag"


async def add(
    db: Session,
    key: str,
    user_id: UUID,
    channel: str,
    filename: str,
    content_type: str,
    metadata: Mapping[str, Any],
    most_per_minute: int,
) -> float:
    """Note an upload: 0, or the seconds until the user may have another one."""
    row = await db.row(
        """WITH newest AS MATERIALIZED (
               SELECT created_at FROM image.uploads
               WHERE user_id = %(user_id)s AND created_at > now() - interval '1 minute'
               ORDER BY created_at DESC LIMIT %(most)s),
           added AS (
               INSERT INTO image.uploads (key, user_id, channel, filename, content_type, metadata)
               SELECT %(key)s, %(user_id)s, %(channel)s, %(filename)s, %(content_type)s, %(metadata)s
               WHERE (SELECT count(*) FROM newest) < %(most)s ON CONFLICT (key) DO NOTHING)
           SELECT CASE WHEN count(*) < %(most)s THEN 0
                  ELSE extract(epoch FROM min(created_at) + interval '1 minute' - now()) END FROM newest""",
        key=key,
        user_id=user_id,
        channel=channel,
        filename=filename,
        content_type=content_type,
        metadata=Jsonb(dict(metadata)),
        most=most_per_minute,
    )
    assert row is not None
    return float(row[0])


async def find(db: Session, key: str) -> Upload | None:
    row = await db.row(f"SELECT {_UPLOAD} FROM image.uploads WHERE key = %(key)s", key=key)
    return Upload(*row) if row else None


async def complete(db: Session, key: str, content_type: str, etag: str, size: int) -> bool:
    """False when there is no such upload any more."""
    changed = await db.run(
        """UPDATE image.uploads SET content_type = %(content_type)s, etag = %(etag)s, size = %(size)s,
               completed_at = now()
           WHERE key = %(key)s""",
        key=key,
        content_type=content_type,
        etag=etag,
        size=size,
    )
    return changed > 0


async def page(
    db: Session, user: UUID, after: tuple[datetime, str] | None, limit: int
) -> list[tuple[Upload, datetime]]:
    """(upload, created at) of the user, oldest first, after the one of (created at, key)."""
    sql: LiteralString = f"SELECT {_UPLOAD}, created_at FROM image.uploads WHERE user_id = %(user)s"
    if after is not None:
        sql += " AND (created_at, key) > (%(at)s, %(key)s)"
    at, key = after or (None, None)
    rows = await db.rows(sql + " ORDER BY created_at, key LIMIT %(limit)s", user=user, at=at, key=key, limit=limit)
    return [(Upload(*row[:-1]), row[-1]) for row in rows]


async def keys_of(db: Session, user: UUID, limit: int) -> list[str]:
    rows = await db.rows(
        "SELECT key FROM image.uploads WHERE user_id = %(user)s LIMIT %(limit)s", user=user, limit=limit
    )
    return [key for (key,) in rows]


async def give(db: Session, key: str, new_key: str, guest: UUID, user: UUID) -> bool:
    """Make the guest's upload the user's, under its new key; False when there is no such upload any more."""
    changed = await db.run(
        "UPDATE image.uploads SET key = %(new)s, user_id = %(user)s WHERE key = %(key)s AND user_id = %(guest)s",
        key=key,
        new=new_key,
        guest=guest,
        user=user,
    )
    return changed > 0


async def known(db: Session, keys: Sequence[str]) -> set[str]:
    rows = await db.rows("SELECT key FROM image.uploads WHERE key = ANY(%(keys)s)", keys=list(keys))
    return {key for (key,) in rows}


async def oldest(db: Session) -> datetime | None:
    """When the oldest upload was made that is known here."""
    row = await db.row("SELECT min(created_at) FROM image.uploads")
    return row[0] if row else None


async def between(db: Session, after: str, last: str, before: datetime) -> list[str]:
    """The keys in this stretch (without the first, in the order of their bytes) of uploads made before then."""
    rows = await db.rows(
        "SELECT key FROM image.uploads WHERE key > %(after)s AND key <= %(last)s AND created_at < %(before)s",
        after=after,
        last=last,
        before=before,
    )
    return [key for (key,) in rows]


async def forget(db: Session, keys: Sequence[str]) -> None:
    await db.run("DELETE FROM image.uploads WHERE key = ANY(%(keys)s)", keys=list(keys))
