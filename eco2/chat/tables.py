"""Schema `chat`: sessions, their messages, and the turns in which the agent answers."""

from sqlalchemy import CheckConstraint, Column, Date, DateTime, ForeignKey, Index, Integer, Table, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from eco2.core.tables import metadata

SCHEMA = "chat"
OPEN = text("status IN ('queued', 'processing')")

ID, TIME = UUID(as_uuid=True), DateTime(timezone=True)

sessions = Table(
    "sessions",
    metadata,
    Column("id", ID, primary_key=True),
    Column("user_id", ID, nullable=False),
    Column("title", Text),
    # How the newest message begins.
    Column("preview", Text),
    Column("message_count", Integer, nullable=False, server_default="0"),
    Column("last_message_at", TIME),
    # Place in the list: time of the last message, or of the beginning.
    Column("active_at", TIME, nullable=False, server_default=func.now()),
    Column("created_at", TIME, nullable=False, server_default=func.now()),
    # Not shown from then on; removed for good a while later.
    Column("deleted_at", TIME),
    # The scan that the chat goes on from.
    Column("scan_job_id", ID),
    # What a follow-up may be about.
    Column("memory", JSONB),
    Index("ix_sessions_active", "user_id", "active_at", "id", postgresql_where=text("deleted_at IS NULL")),
    Index("ix_sessions_deleted", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
    schema=SCHEMA,
)

messages = Table(
    "messages",
    metadata,
    Column("id", ID, primary_key=True),
    Column("chat_id", ID, ForeignKey("chat.sessions.id", ondelete="CASCADE"), nullable=False),
    Column("role", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("image_key", Text),
    Column("intent", Text),
    Column("metadata", JSONB),
    # Of an answer: its turn.
    Column("job_id", ID),
    Column("created_at", TIME, nullable=False),
    CheckConstraint("role IN ('user', 'assistant')", name="role"),
    Index("ix_messages_chat", "chat_id", "created_at", "id"),
    Index("ix_messages_image_key", "image_key", postgresql_where=text("image_key IS NOT NULL")),
    schema=SCHEMA,
)

turns = Table(
    "turns",
    metadata,
    # The job id that clients follow.
    Column("id", ID, primary_key=True),
    Column("chat_id", ID, ForeignKey("chat.sessions.id", ondelete="CASCADE"), nullable=False),
    Column("message_id", ID, ForeignKey("chat.messages.id", ondelete="CASCADE"), nullable=False),
    Column("user_id", ID, nullable=False),
    Column("idempotency_key", Text),
    Column("model", Text),
    # Where the user is; forgotten with the answer, else when the turn is tried again, or a day later.
    Column("location", JSONB),
    # What the user gave when the turn asked for it, and what it asks for now.
    Column("input", JSONB),
    Column("waiting_for", Text),
    # Replies of a paid model while it is open, by the purpose of the call: another delivery pays for none again.
    Column("paid", JSONB),
    # What its client can be asked for.
    Column("inputs", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("status", Text, nullable=False, server_default="queued"),
    # How often a worker began it: each attempt says its text anew.
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    Column("error_code", Text),
    Column("created_at", TIME, nullable=False),
    # When the broker confirmed its message; None: the relay sends it.
    Column("queued_at", TIME),
    Column("started_at", TIME),
    Column("cancel_asked_at", TIME),
    Column("finished_at", TIME),
    # When its last event was out.
    Column("announced_at", TIME),
    CheckConstraint("status IN ('queued', 'processing', 'completed', 'failed', 'cancelled')", name="status"),
    Index("uq_turns_open", "chat_id", unique=True, postgresql_where=OPEN),
    Index("ix_turns_open_user", "user_id", postgresql_where=OPEN),
    Index(
        "uq_turns_key",
        "user_id",
        "idempotency_key",
        unique=True,
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
    Index("ix_turns_message", "message_id", "created_at"),
    Index("ix_turns_chat", "chat_id", "created_at"),
    Index("ix_turns_unfinished", "created_at", postgresql_where=text("announced_at IS NULL")),
    Index("ix_turns_location", "finished_at", postgresql_where=text("location IS NOT NULL")),
    schema=SCHEMA,
)

usage = Table(
    "usage",
    metadata,
    # Counters of a day of Korea; rows of messages can be deleted.
    Column("user_id", ID, primary_key=True),
    Column("day", Date, nullable=False),
    Column("messages", Integer, nullable=False, server_default="0"),
    Column("chats", Integer, nullable=False, server_default="0"),
    schema=SCHEMA,
)
