"""Chats: sessions, messages, turns of the agent

Revision ID: 0037
Revises: 0036
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, UUID

revision: str = "0037"
down_revision: str | None = "0036"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute("CREATE SCHEMA chat")
    op.create_table(
        "sessions",
        sa.Column("id", UUID(as_uuid=True), primary_key=True),
        sa.Column("user_id", UUID(as_uuid=True), nullable=False),
        sa.Column("title", sa.Text),
        sa.Column("preview", sa.Text),
        sa.Column("message_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_message_at", TIME),
        sa.Column("active_at", TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("created_at", TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("deleted_at", TIME),
        sa.Column("scan_job_id", UUID(as_uuid=True)),
        sa.Column("memory", JSONB),
        schema="chat",
    )
    op.create_index(
        "ix_sessions_active",
        "sessions",
        ["user_id", "active_at", "id"],
        schema="chat",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_sessions_deleted",
        "sessions",
        ["deleted_at"],
        schema="chat",
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_table(
        "messages",
        sa.Column("id", UUID(as_uuid=True), primary_key=True),
        sa.Column("chat_id", UUID(as_uuid=True), sa.ForeignKey("chat.sessions.id", ondelete="CASCADE"), nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("image_key", sa.Text),
        sa.Column("intent", sa.Text),
        sa.Column("metadata", JSONB),
        sa.Column("job_id", UUID(as_uuid=True)),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("role IN ('user', 'assistant')", name="role"),
        schema="chat",
    )
    op.create_index("ix_messages_chat", "messages", ["chat_id", "created_at", "id"], schema="chat")
    op.create_index(
        "ix_messages_image_key",
        "messages",
        ["image_key"],
        schema="chat",
        postgresql_where=sa.text("image_key IS NOT NULL"),
    )
    op.create_table(
        "turns",
        sa.Column("id", UUID(as_uuid=True), primary_key=True),
        sa.Column("chat_id", UUID(as_uuid=True), sa.ForeignKey("chat.sessions.id", ondelete="CASCADE"), nullable=False),
        sa.Column(
            "message_id", UUID(as_uuid=True), sa.ForeignKey("chat.messages.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("user_id", UUID(as_uuid=True), nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("location", JSONB),
        sa.Column("input", JSONB),
        sa.Column("waiting_for", sa.Text),
        sa.Column("status", sa.Text, nullable=False, server_default="queued"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("queued_at", TIME),
        sa.Column("started_at", TIME),
        sa.Column("cancel_asked_at", TIME),
        sa.Column("finished_at", TIME),
        sa.Column("announced_at", TIME),
        sa.CheckConstraint("status IN ('queued', 'processing', 'completed', 'failed', 'cancelled')", name="status"),
        schema="chat",
    )
    is_open = sa.text("status IN ('queued', 'processing')")
    op.create_index("uq_turns_open", "turns", ["chat_id"], unique=True, schema="chat", postgresql_where=is_open)
    op.create_index("ix_turns_open_user", "turns", ["user_id"], schema="chat", postgresql_where=is_open)
    op.create_index(
        "uq_turns_key",
        "turns",
        ["user_id", "idempotency_key"],
        unique=True,
        schema="chat",
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index("ix_turns_message", "turns", ["message_id", "created_at"], schema="chat")
    op.create_index("ix_turns_chat", "turns", ["chat_id", "created_at"], schema="chat")
    op.create_index(
        "ix_turns_unfinished",
        "turns",
        ["created_at"],
        schema="chat",
        postgresql_where=sa.text("announced_at IS NULL"),
    )
    op.create_table(
        "usage",
        sa.Column("user_id", UUID(as_uuid=True), primary_key=True),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("messages", sa.Integer, nullable=False, server_default="0"),
        sa.Column("chats", sa.Integer, nullable=False, server_default="0"),
        schema="chat",
    )


def downgrade() -> None:
    op.execute("DROP SCHEMA chat CASCADE")
