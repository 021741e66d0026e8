"""Every SQL statement of the chat service that a request needs; those of its turns are in `turns`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from eco2.core.postgres import Database, Row

Json = dict[str, Any]
Place = tuple[datetime, UUID]
"""End of a page: (time, id) of its last row."""

TODAY: LiteralString = "(now() AT TIME ZONE 'Asia/Seoul')::date"


@dataclass(frozen=True)
class Chat:
    id: UUID
    title: str | None
    preview: str | None
    message_count: int
    last_message_at: datetime | None
    created_at: datetime
    active_at: datetime
    scan_job_id: UUID | None


@dataclass(frozen=True)
class Message:
    """`turn`: of a user's message, its newest turn as (job id, status, error, code)."""

    id: UUID
    role: str
    content: str
    image_key: str | None
    intent: str | None
    metadata: Json | None
    job_id: UUID | None
    created_at: datetime
    turn: tuple[UUID, str, str | None, str | None] | None


_CHAT: LiteralString = (
    "sessions.id, title, preview, message_count, last_message_at, sessions.created_at, active_at, scan_job_id"
)
_SHOWN: LiteralString = "user_id = %(user)s AND deleted_at IS NULL"


async def add(
    db: Database, chat_id: UUID, user: UUID, title: str | None, scan_job_id: UUID | None, most_per_day: int
) -> Chat | None:
    """A new chat; None where the user has made `most_per_day` of them today."""
    row = await db.row(
        f"""WITH counted AS (
                INSERT INTO chat.usage AS usage (user_id, day, chats) VALUES (%(user)s, {TODAY}, 1)
                ON CONFLICT (user_id) DO UPDATE
                SET chats = CASE WHEN usage.day = excluded.day THEN usage.chats + 1 ELSE 1 END,
                    messages = CASE WHEN usage.day = excluded.day THEN usage.messages ELSE 0 END,
                    day = excluded.day
                WHERE usage.day <> excluded.day OR usage.chats < %(most)s
                RETURNING chats)
            INSERT INTO chat.sessions (id, user_id, title, scan_job_id)
            SELECT %(id)s, %(user)s, %(title)s, %(scan)s FROM counted
            ON CONFLICT (id) DO UPDATE SET title = sessions.title
            RETURNING {_CHAT}""",
        id=chat_id,
        user=user,
        title=title,
        scan=scan_job_id,
        most=most_per_day,
    )
    return Chat(*row) if row else None


async def find(db: Database, chat_id: UUID, user: UUID) -> Chat | None:
    """The chat if it is the user's and not deleted."""
    row = await db.row(f"SELECT {_CHAT} FROM chat.sessions WHERE id = %(id)s AND {_SHOWN}", id=chat_id, user=user)
    return Chat(*row) if row else None


async def page(db: Database, user: UUID, before: Place | None, limit: int) -> list[Chat]:
    """The user's chats, the one that was talked in last first, after that of `before`."""
    sql: LiteralString = f"SELECT {_CHAT} FROM chat.sessions WHERE {_SHOWN}"
    if before is not None:
        sql += " AND (active_at, id) < (%(at)s, %(id)s)"
    at, last = before or (None, None)
    rows = await db.rows(
        sql + " ORDER BY active_at DESC, id DESC LIMIT %(limit)s", user=user, at=at, id=last, limit=limit
    )
    return [Chat(*row) for row in rows]


async def rename(db: Database, chat_id: UUID, user: UUID, title: str) -> bool:
    sql: LiteralString = f"UPDATE chat.sessions SET title = %(title)s WHERE id = %(id)s AND {_SHOWN} RETURNING id"
    return await db.row(sql, id=chat_id, user=user, title=title) is not None


_MESSAGES: LiteralString = """
    SELECT messages.id, role, content, image_key, intent, messages.metadata, job_id, messages.created_at,
           turn.id, turn.status, turn.error, turn.error_code
    FROM chat.messages LEFT JOIN LATERAL (
        SELECT id, status, error, error_code FROM chat.turns
        WHERE message_id = messages.id AND role = 'user' ORDER BY created_at DESC, id DESC LIMIT 1) AS turn ON true
    WHERE chat_id = %(chat)s"""


async def messages(
    db: Database, chat_id: UUID, limit: int, *, before: Place | None = None, after: Place | None = None
) -> list[Message]:
    """The newest messages of a chat, or the newest ones before a place, or the oldest ones after one; oldest first."""
    sql, place = _MESSAGES, before or after
    if before is not None:
        sql += " AND (messages.created_at, messages.id) < (%(at)s, %(id)s)"
    elif after is not None:
        sql += " AND (messages.created_at, messages.id) > (%(at)s, %(id)s)"
    direction: LiteralString = "ASC" if after is not None and before is None else "DESC"
    sql += f" ORDER BY messages.created_at {direction}, messages.id {direction} LIMIT %(limit)s"
    at, last = place or (None, None)
    rows = await db.rows(sql, chat=chat_id, at=at, id=last, limit=limit)
    found = [_message(row) for row in rows]
    return found if direction == "ASC" else found[::-1]


def _message(row: Row) -> Message:
    return Message(*(*row[:8], row[8:12] if row[8] is not None else None))


async def delete(db: Database, chat_id: UUID, user: UUID) -> bool:
    """Show the chat no more, and ask its open turn to end; False where there is none."""
    row = await db.row(
        f"""WITH gone AS (
                UPDATE chat.sessions SET deleted_at = now() WHERE id = %(id)s AND {_SHOWN} RETURNING id),
            asked AS (
                UPDATE chat.turns SET cancel_asked_at = coalesce(cancel_asked_at, now())
                FROM gone WHERE chat_id = gone.id AND status IN ('queued', 'processing'))
            SELECT id FROM gone""",
        id=chat_id,
        user=user,
    )
    return row is not None


# --- all of a user, and what is removed for good ----------------------------------------------------------------------


async def everything(db: Database, user: UUID, after: Place | None, limit: int) -> list[Chat]:
    """The user's chats from the oldest one on, deleted ones included."""
    sql: LiteralString = f"SELECT {_CHAT} FROM chat.sessions WHERE user_id = %(user)s"
    if after is not None:
        sql += " AND (created_at, id) > (%(at)s, %(id)s)"
    at, last = after or (None, None)
    rows = await db.rows(sql + " ORDER BY created_at, id LIMIT %(limit)s", user=user, at=at, id=last, limit=limit)
    return [Chat(*row) for row in rows]


async def deleted_before(db: Database, before: datetime, limit: int) -> list[UUID]:
    """Chats that were deleted earlier, and in which no turn is open."""
    rows = await db.rows(
        """SELECT id FROM chat.sessions WHERE deleted_at < %(before)s AND NOT EXISTS (
               SELECT FROM chat.turns WHERE chat_id = sessions.id AND status IN ('queued', 'processing'))
           ORDER BY deleted_at LIMIT %(limit)s""",
        before=before,
        limit=limit,
    )
    return [row[0] for row in rows]


async def chats_of(db: Database, user: UUID, limit: int) -> list[UUID]:
    sql: LiteralString = "SELECT id FROM chat.sessions WHERE user_id = %(user)s LIMIT %(limit)s"
    rows = await db.rows(sql, user=user, limit=limit)
    return [row[0] for row in rows]


async def images_of(db: Database, chats: Sequence[UUID]) -> list[str]:
    """Keys of photos that these chats show and no other chat does."""
    rows = await db.rows(
        """SELECT DISTINCT image_key FROM chat.messages AS own
           WHERE chat_id = ANY(%(chats)s) AND image_key IS NOT NULL AND NOT EXISTS (
               SELECT FROM chat.messages WHERE image_key = own.image_key AND chat_id <> ALL(%(chats)s))""",
        chats=list(chats),
    )
    return [row[0] for row in rows]


async def images_named(db: Database, keys: Sequence[str]) -> set[str]:
    """Those of the keys that a message shows."""
    rows = await db.rows("SELECT image_key FROM chat.messages WHERE image_key = ANY(%(keys)s)", keys=list(keys))
    return {key for (key,) in rows}


async def oldest(db: Database) -> datetime | None:
    """When the oldest chat began."""
    row = await db.row("SELECT min(created_at) FROM chat.sessions")
    return row[0] if row else None


async def remove(db: Database, chats: Sequence[UUID]) -> int:
    """Remove chats with their messages and turns for good."""
    return len(await db.rows("DELETE FROM chat.sessions WHERE id = ANY(%(chats)s) RETURNING id", chats=list(chats)))


async def forget_usage(db: Database, user: UUID) -> None:
    await db.rows("DELETE FROM chat.usage WHERE user_id = %(user)s", user=user)
