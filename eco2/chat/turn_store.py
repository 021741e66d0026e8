"""Every SQL statement about turns: a user's message and the answer to it. What changes a turn is conditional on its
state, so that of several who end it one does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, LiteralString
from uuid import UUID, uuid4, uuid5

from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from eco2.chat.store import TODAY, Json
from eco2.core.postgres import Database, Row

Status = Literal["queued", "processing", "completed", "failed", "cancelled"]
OPEN = ("queued", "processing")
IS_OPEN: LiteralString = "turns.status IN ('queued', 'processing')"
TITLE_LENGTH, PREVIEW_LENGTH = 40, 100


@dataclass(frozen=True)
class Turn:
    id: UUID
    chat_id: UUID
    message_id: UUID
    user_id: UUID
    model: str | None
    location: Json | None
    input: Json | None
    waiting_for: str | None
    status: Status
    error: str | None
    error_code: str | None
    created_at: datetime
    queued: bool
    cancel_asked: bool
    inputs: list[str]

    @property
    def open(self) -> bool:
        return self.status in OPEN

    @property
    def answer_id(self) -> UUID:
        return answer_id(self.id)


def answer_id(job_id: UUID) -> UUID:
    """Id of the assistant's message: written twice it is one."""
    return uuid5(job_id, "answer")


@dataclass(frozen=True)
class Said:
    """A user's message and how it may be answered."""

    content: str
    image_key: str | None = None
    model: str | None = None
    location: Json | None = None
    inputs: tuple[str, ...] = ()
    """Inputs that its client can be asked for while the answer is written."""


@dataclass(frozen=True)
class Limits:
    """Of one user."""

    open_turns: int
    messages_per_day: int


@dataclass(frozen=True)
class Refused:
    """Reason for which a message was not taken; nothing was written."""

    why: Literal["no_chat", "busy", "key_reused", "open_turns", "messages_per_day", "not_retriable"]


COLUMNS: LiteralString = """
    turns.id, turns.chat_id, turns.message_id, turns.user_id, turns.model, turns.location, turns.input,
    turns.waiting_for, turns.status, turns.error, turns.error_code, turns.created_at, turns.queued_at IS NOT NULL,
    turns.cancel_asked_at IS NOT NULL, turns.inputs"""

WIDTH = 15
"""Number of COLUMNS."""


def _turn(row: Row | None) -> Turn | None:
    return Turn(*row) if row else None


DUPLICATE = timedelta(seconds=3)
"""Time in which the same words in the same chat are taken for the same click, where the client sends no key."""


async def submit(
    db: Database, chat_id: UUID, user: UUID, said: Said, key: str | None, limits: Limits
) -> Turn | Refused:
    """Write the message with its turn, or return the turn of the same message that is there already.

    The chat's row is locked meanwhile: two messages of a chat come one after the other."""
    try:
        async with db.connection() as connection, connection.transaction():
            if not await _lock(connection, chat_id, user):
                return Refused("no_chat")
            known = await _known(connection, chat_id, user, said, key)
            if known is not None:
                return known
            refused = await _refused(connection, user, chat_id, limits)
            if refused is not None:
                return refused
            return await _write(connection, chat_id, user, said, key)
    except UniqueViolation as error:
        if error.diag.constraint_name != "uq_turns_key":
            raise
        return Refused("key_reused")  # by a message to another chat at the same moment


async def retry(db: Database, chat_id: UUID, message_id: UUID, user: UUID, limits: Limits) -> Turn | Refused:
    """A new turn for the newest message of the user, whose last one failed or was cancelled; an open one is returned
    as it is."""
    async with db.connection() as connection, connection.transaction():
        if not await _lock(connection, chat_id, user):
            return Refused("no_chat")
        last = await _row(
            connection,
            f"""SELECT {COLUMNS} FROM chat.turns JOIN chat.messages ON messages.id = message_id
                WHERE turns.chat_id = %(chat)s ORDER BY messages.created_at DESC, turns.created_at DESC LIMIT 1""",
            chat=chat_id,
        )
        turn = _turn(last)
        if turn is None or turn.message_id != message_id:
            return Refused("not_retriable")
        if turn.open:
            return turn
        if turn.status == "completed":
            return Refused("not_retriable")
        refused = await _refused(connection, user, chat_id, limits)
        if refused is not None:
            return refused
        # What was said before it was stopped gives way to the whole answer.
        await connection.execute("DELETE FROM chat.messages WHERE id = %(id)s", {"id": turn.answer_id})
        await _count_messages(connection, chat_id)
        await connection.execute("UPDATE chat.turns SET location = NULL WHERE id = %(id)s", {"id": turn.id})
        again = Said("", None, turn.model, turn.location, tuple(turn.inputs))
        return await _add_turn(connection, chat_id, message_id, user, again, None)


async def _row(connection: AsyncConnection, sql: LiteralString, **values: object) -> Row | None:
    return await (await connection.execute(sql, values)).fetchone()


async def _lock(connection: AsyncConnection, chat_id: UUID, user: UUID) -> bool:
    sql: LiteralString = """SELECT id FROM chat.sessions
        WHERE id = %(id)s AND user_id = %(user)s AND deleted_at IS NULL FOR UPDATE"""
    return await _row(connection, sql, id=chat_id, user=user) is not None


_WITH_WORDS: LiteralString = """
    FROM chat.turns JOIN chat.messages ON messages.id = message_id"""


async def _known(
    connection: AsyncConnection, chat_id: UUID, user: UUID, said: Said, key: str | None
) -> Turn | Refused | None:
    same: LiteralString = "content = %(content)s AND image_key IS NOT DISTINCT FROM %(image)s"
    values: dict[str, object] = {"chat": chat_id, "user": user, "content": said.content, "image": said.image_key}
    if key is not None:
        row = await _row(
            connection,
            f"""SELECT turns.chat_id = %(chat)s AND {same}, {COLUMNS} {_WITH_WORDS}
                WHERE turns.user_id = %(user)s AND idempotency_key = %(key)s""",
            **values,
            key=key,
        )
        if row is not None:
            return Turn(*row[1:]) if row[0] else Refused("key_reused")
        return None
    row = await _row(
        connection,
        f"""SELECT {COLUMNS} {_WITH_WORDS}
            WHERE turns.chat_id = %(chat)s AND {same} AND idempotency_key IS NULL
                AND ({IS_OPEN} OR turns.status = 'completed' AND turns.created_at > clock_timestamp() - %(duplicate)s)
            ORDER BY turns.created_at DESC LIMIT 1""",
        **values,
        duplicate=DUPLICATE,
    )
    return _turn(row)


async def _refused(connection: AsyncConnection, user: UUID, chat_id: UUID, limits: Limits) -> Refused | None:
    """Count the message, or say why it is not taken."""
    row = await _row(
        connection,
        f"""SELECT count(*), count(*) FILTER (WHERE chat_id = %(chat)s) FROM chat.turns
            WHERE user_id = %(user)s AND {IS_OPEN}""",
        user=user,
        chat=chat_id,
    )
    assert row is not None
    if row[1]:
        return Refused("busy")
    if row[0] >= limits.open_turns:
        return Refused("open_turns")
    counted = await _row(
        connection,
        f"""INSERT INTO chat.usage AS usage (user_id, day, messages) VALUES (%(user)s, {TODAY}, 1)
            ON CONFLICT (user_id) DO UPDATE
            SET messages = CASE WHEN usage.day = excluded.day THEN usage.messages + 1 ELSE 1 END,
                chats = CASE WHEN usage.day = excluded.day THEN usage.chats ELSE 0 END,
                day = excluded.day
            WHERE usage.day <> excluded.day OR usage.messages < %(most)s
            RETURNING messages""",
        user=user,
        most=limits.messages_per_day,
    )
    return None if counted is not None else Refused("messages_per_day")


async def _write(connection: AsyncConnection, chat_id: UUID, user: UUID, said: Said, key: str | None) -> Turn:
    message_id = uuid4()
    await connection.execute(
        """INSERT INTO chat.messages (id, chat_id, role, content, image_key, created_at)
           VALUES (%(id)s, %(chat)s, 'user', %(content)s, %(image)s, clock_timestamp())""",
        {"id": message_id, "chat": chat_id, "content": said.content, "image": said.image_key},
    )
    await connection.execute(
        """UPDATE chat.sessions SET title = coalesce(title, %(title)s) WHERE id = %(chat)s""",
        {"chat": chat_id, "title": shortened(said.content, TITLE_LENGTH)},
    )
    await _count_messages(connection, chat_id)
    return await _add_turn(connection, chat_id, message_id, user, said, key)


async def _add_turn(
    connection: AsyncConnection,
    chat_id: UUID,
    message_id: UUID,
    user: UUID,
    said: Said,
    key: str | None,
) -> Turn:
    row = await _row(
        connection,
        f"""INSERT INTO chat.turns
                (id, chat_id, message_id, user_id, idempotency_key, model, location, inputs, created_at)
            VALUES (%(id)s, %(chat)s, %(message)s, %(user)s, %(key)s, %(model)s, %(location)s, %(inputs)s,
                clock_timestamp())
            RETURNING {COLUMNS}""",
        id=uuid4(),
        chat=chat_id,
        message=message_id,
        user=user,
        key=key,
        model=said.model,
        location=_jsonb(said.location),
        inputs=list(said.inputs),
    )
    assert row is not None
    return Turn(*row)


async def _count_messages(connection: AsyncConnection, chat_id: UUID) -> None:
    """Bring the chat's place in the list, its preview and its number of messages up to date."""
    await connection.execute(
        """UPDATE chat.sessions SET message_count = found.number, preview = found.preview,
               last_message_at = found.last, active_at = coalesce(found.last, sessions.created_at)
           FROM (SELECT count(*) AS number, max(created_at) AS last,
                     (array_agg(left(content, %(length)s) ORDER BY created_at DESC, id DESC))[1] AS preview
                 FROM chat.messages WHERE chat_id = %(chat)s) AS found
           WHERE id = %(chat)s""",
        {"chat": chat_id, "length": PREVIEW_LENGTH},
    )


def _jsonb(value: Json | None) -> Jsonb | None:
    return None if value is None else Jsonb(value)


def shortened(text: str, length: int) -> str:
    """One line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


# --- one turn ---------------------------------------------------------------------------------------------------------


async def load(db: Database, job_id: UUID) -> Turn | None:
    return _turn(await db.row(f"SELECT {COLUMNS} FROM chat.turns WHERE id = %(id)s", id=job_id))


async def load_own(db: Database, job_id: UUID, user: UUID) -> Turn | None:
    """The turn if it is the user's, in a chat that is not deleted."""
    return _turn(
        await db.row(
            f"""SELECT {COLUMNS} FROM chat.turns JOIN chat.sessions ON sessions.id = chat_id
                WHERE turns.id = %(id)s AND turns.user_id = %(user)s AND deleted_at IS NULL""",
            id=job_id,
            user=user,
        )
    )


async def queued(db: Database, at: Mapping[UUID, datetime]) -> None:
    """Note when the broker got each turn's message."""
    await db.rows(
        """UPDATE chat.turns SET queued_at = notes.at
           FROM unnest(%(ids)s::uuid[], %(at)s::timestamptz[]) AS notes (id, at)
           WHERE turns.id = notes.id AND queued_at IS NULL""",
        ids=list(at),
        at=list(at.values()),
    )


async def ask_to_cancel(db: Database, job_id: UUID) -> None:
    await db.rows(
        f"""UPDATE chat.turns SET cancel_asked_at = coalesce(cancel_asked_at, now())
            WHERE id = %(id)s AND {IS_OPEN}""",
        id=job_id,
    )


async def give_input(db: Database, job_id: UUID, kind: str, value: Json) -> bool:
    """Store what the turn waits for; False where it waits for nothing of this kind."""
    row = await db.row(
        f"""UPDATE chat.turns SET input = %(input)s, waiting_for = NULL
            WHERE id = %(id)s AND {IS_OPEN} AND waiting_for = %(kind)s RETURNING id""",
        id=job_id,
        kind=kind,
        input=Jsonb({"type": kind, "data": value}),
    )
    return row is not None


async def wait_for(db: Database, turn: Turn, kind: str) -> tuple[bool, Json | None]:
    """Note that the turn waits for such an input; (True, the one that it got already, also by a worker that died).
    (False, None) where it is over, or its user is asked in another turn, by whatever worker."""
    async with db.connection() as connection, connection.transaction():
        # Two turns of a user come one after the other: neither sees that the other is about to wait.
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('chat.waiting:' || %(user)s, 0))",
            {"user": str(turn.user_id)},
        )
        row = await _row(
            connection,
            f"""UPDATE chat.turns
                SET waiting_for = CASE WHEN input ->> 'type' = %(kind)s THEN waiting_for ELSE %(kind)s END
                WHERE id = %(id)s AND {IS_OPEN} AND (input ->> 'type' = %(kind)s OR waiting_for = %(kind)s
                    OR NOT EXISTS (
                        SELECT FROM chat.turns AS other WHERE other.user_id = turns.user_id AND other.id <> turns.id
                            AND other.status IN ('queued', 'processing') AND other.waiting_for IS NOT NULL))
                RETURNING CASE WHEN input ->> 'type' = %(kind)s THEN input -> 'data' END""",
            id=turn.id,
            kind=kind,
        )
    return row is not None, row[0] if row else None


async def stop_waiting(db: Database, job_id: UUID, kind: str) -> Json | None:
    """Wait no more; the input where it came at the last moment."""
    row = await db.row(
        """UPDATE chat.turns SET waiting_for = NULL WHERE id = %(id)s
           RETURNING CASE WHEN input ->> 'type' = %(kind)s THEN input -> 'data' END""",
        id=job_id,
        kind=kind,
    )
    return row[0] if row else None


@dataclass(frozen=True)
class Answer:
    content: str
    intent: str | None = None
    metadata: Json | None = None
    image_key: str | None = None
    memory: Json | None = None
    """Subject that the next turn may have; None leaves that of before."""


async def finish(db: Database, turn: Turn, status: Status, answer: Answer) -> bool:
    """End the turn with its answer; False where it had ended before: then nothing is written. One that was stopped can
    be tried again, from the same place."""
    async with db.connection() as connection, connection.transaction():
        # The chat before its turn, as whoever deletes it: in two orders they could wait for each other.
        await connection.execute("SELECT FROM chat.sessions WHERE id = %(id)s FOR UPDATE", {"id": turn.chat_id})
        row = await _row(
            connection,
            f"""UPDATE chat.turns SET status = %(status)s, finished_at = now(), waiting_for = NULL, input = NULL,
                    paid = NULL, location = CASE WHEN %(status)s = 'cancelled' THEN location END,
                    queued_at = coalesce(queued_at, now())
                WHERE id = %(id)s AND {IS_OPEN} RETURNING id""",
            id=turn.id,
            status=status,
        )
        if row is None:
            return False
        await connection.execute(
            """INSERT INTO chat.messages
                   (id, chat_id, role, content, image_key, intent, metadata, job_id, created_at)
               VALUES (%(id)s, %(chat)s, 'assistant', %(content)s, %(image)s, %(intent)s, %(metadata)s, %(job)s,
                   clock_timestamp())
               ON CONFLICT (id) DO NOTHING""",
            {
                "id": turn.answer_id,
                "chat": turn.chat_id,
                "content": answer.content,
                "image": answer.image_key,
                "intent": answer.intent,
                "metadata": _jsonb(answer.metadata),
                "job": turn.id,
            },
        )
        if answer.memory is not None:
            await connection.execute(
                "UPDATE chat.sessions SET memory = %(memory)s WHERE id = %(chat)s",
                {"memory": Jsonb(answer.memory), "chat": turn.chat_id},
            )
        await _count_messages(connection, turn.chat_id)
        return True


async def fail(db: Database, job_id: UUID, code: str, error: str) -> bool:
    """End the turn without an answer; its message can be tried again, from the same place."""
    row = await db.row(
        f"""UPDATE chat.turns SET status = 'failed', error = %(error)s, error_code = %(code)s, finished_at = now(),
                waiting_for = NULL, input = NULL, paid = NULL
            WHERE id = %(id)s AND {IS_OPEN} RETURNING id""",
        id=job_id,
        error=error,
        code=code,
    )
    return row is not None


async def forget_locations(db: Database, before: datetime) -> None:
    """Forget where users were in turns that ended earlier and were not tried again."""
    await db.run(
        "UPDATE chat.turns SET location = NULL WHERE location IS NOT NULL AND finished_at < %(before)s", before=before
    )


async def announced(db: Database, at: Mapping[UUID, datetime]) -> None:
    """Note when the last event of each turn was out."""
    await db.rows(
        f"""UPDATE chat.turns SET announced_at = notes.at
            FROM unnest(%(ids)s::uuid[], %(at)s::timestamptz[]) AS notes (id, at)
            WHERE turns.id = notes.id AND announced_at IS NULL AND NOT {IS_OPEN}""",
        ids=list(at),
        at=list(at.values()),
    )


@dataclass(frozen=True)
class Exchange:
    """A turn with its two messages, as its last event tells them."""

    turn: Turn
    finished_at: datetime | None
    asked_at: datetime
    image_key: str | None
    answer: str | None
    answer_image_key: str | None
    answered_at: datetime | None
    intent: str | None
    metadata: Json | None


EXCHANGES: LiteralString = f"""
    SELECT {COLUMNS}, finished_at, asked.created_at, asked.image_key, answered.content, answered.image_key,
        answered.created_at,
        answered.intent, answered.metadata
    FROM unnest(%(ids)s::uuid[], %(answers)s::uuid[]) AS wanted (id, answer_id)
        JOIN chat.turns ON turns.id = wanted.id
        JOIN chat.messages AS asked ON asked.id = message_id
        LEFT JOIN chat.messages AS answered ON answered.id = wanted.answer_id"""


async def exchanges(db: Database, ids: Sequence[UUID]) -> list[Exchange]:
    rows = await db.rows(EXCHANGES, ids=list(ids), answers=[answer_id(job_id) for job_id in ids])
    return [Exchange(Turn(*row[:WIDTH]), *row[WIDTH:]) for row in rows]
