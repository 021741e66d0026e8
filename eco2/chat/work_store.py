"""SQL statements of chat-worker and of the keeper: begin a turn, keep what was paid for, notice that it is to end, one
keeper at a time."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from eco2.chat.store import Json
from eco2.chat.turn_store import COLUMNS, IS_OPEN, WIDTH, Turn
from eco2.core.postgres import Database

KEEP_LOCK = 0x63686174


@dataclass(frozen=True)
class Begun:
    """A turn in work, with what its answer may need. `attempt` counts from 1."""

    turn: Turn
    attempt: int
    content: str
    image_key: str | None
    scan_job_id: UUID | None
    memory: Json | None
    paid: Json | None


async def begin(db: Database, job_id: UUID) -> Begun | None:
    """None where the turn has ended, or never was."""
    row = await db.row(
        f"""UPDATE chat.turns SET status = 'processing', started_at = coalesce(started_at, now()),
                queued_at = coalesce(queued_at, now()), attempts = attempts + 1
            FROM chat.messages, chat.sessions
            WHERE turns.id = %(id)s AND {IS_OPEN} AND messages.id = message_id AND sessions.id = turns.chat_id
            RETURNING {COLUMNS}, attempts, content, image_key, scan_job_id, memory, paid""",
        id=job_id,
    )
    return Begun(Turn(*row[:WIDTH]), *row[WIDTH:]) if row else None


async def keep_paid(db: Database, job_id: UUID, purpose: str, reply: Any) -> None:
    """Keep what a paid model replied; of two deliveries of a turn the first one that was paid counts."""
    await db.run(
        f"""UPDATE chat.turns SET paid = %(paid)s || coalesce(paid, '{{}}') WHERE id = %(id)s AND {IS_OPEN}""",
        id=job_id,
        paid=Jsonb({purpose: reply}),
    )


async def to_stop(db: Database, ids: Sequence[UUID]) -> list[UUID]:
    """Turns of these that were asked to end, or have ended."""
    rows = await db.rows(
        f"""SELECT turns.id FROM chat.turns
            WHERE turns.id = ANY(%(ids)s) AND (cancel_asked_at IS NOT NULL OR NOT {IS_OPEN})""",
        ids=list(ids),
    )
    return [row[0] for row in rows]


async def given(db: Database, ids: Sequence[UUID]) -> dict[UUID, Json]:
    """Inputs that these turns waited for and got."""
    rows = await db.rows(
        """SELECT id, input -> 'data' FROM chat.turns
           WHERE id = ANY(%(ids)s) AND input IS NOT NULL AND waiting_for IS NULL""",
        ids=list(ids),
    )
    return {row[0]: row[1] for row in rows}


@asynccontextmanager
async def keeping(db: Database) -> AsyncIterator[bool]:
    """True for the one keeper of the moment; False while another process keeps."""
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [KEEP_LOCK])
        ours = bool((await cursor.fetchone() or (False,))[0])
        try:
            yield ours
        finally:
            if ours and not connection.broken:
                await connection.execute("SELECT pg_advisory_unlock(%s)", [KEEP_LOCK])


async def _ids(db: Database, condition: LiteralString, **values: Any) -> list[UUID]:
    rows = await db.rows(
        f"""SELECT turns.id FROM chat.turns WHERE announced_at IS NULL AND {condition}
            ORDER BY created_at LIMIT 100""",
        **values,
    )
    return [row[0] for row in rows]


async def unsent(db: Database, grace: timedelta) -> list[UUID]:
    return await _ids(db, f"{IS_OPEN} AND queued_at IS NULL AND created_at < now() - %(grace)s", grace=grace)


async def unannounced(db: Database, grace: timedelta) -> list[UUID]:
    return await _ids(db, f"NOT {IS_OPEN} AND finished_at < now() - %(grace)s", grace=grace)


async def overdue(db: Database, deadline: timedelta) -> list[UUID]:
    return await _ids(db, f"{IS_OPEN} AND created_at < now() - %(deadline)s", deadline=deadline)


async def unheard(db: Database, grace: timedelta) -> list[UUID]:
    """Open turns that were asked to end and did not."""
    return await _ids(db, f"{IS_OPEN} AND cancel_asked_at < now() - %(grace)s", grace=grace)
