"""Scan jobs, image uploads, character ownerships

Revision ID: 0001
Revises:
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

UUID = postgresql.UUID(as_uuid=True)
JSONB = postgresql.JSONB
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    for schema in ("scan", "image", "character"):
        op.execute(f"CREATE SCHEMA {schema}")
    _scan()
    _image()
    _character()


def _scan() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", UUID, nullable=False),
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("image_key", sa.Text, nullable=False),
        sa.Column("user_input", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        *(sa.Column(name, JSONB) for name in ("vision", "rule", "answer", "reward")),
        sa.Column("error", sa.Text),
        sa.Column("created_at", TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("enqueued_at", TIME),
        sa.Column("finished_at", TIME),
        sa.CheckConstraint(
            "status IN ('queued', 'processing', 'completed', 'failed', 'aborted')", name=op.f("ck_jobs_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("user_id", "idempotency_key", name=op.f("uq_jobs_user_id_idempotency_key")),
        schema="scan",
    )
    op.create_index("ix_jobs_user_id_created_at", "jobs", ["user_id", "created_at"], schema="scan")


def _image() -> None:
    op.create_table(
        "uploads",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("metadata", JSONB, nullable=False),
        sa.Column("etag", sa.Text),
        sa.Column("size", sa.BigInteger),
        sa.Column("created_at", TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("completed_at", TIME),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_uploads")),
        schema="image",
    )
    op.create_index("ix_uploads_user_id_created_at", "uploads", ["user_id", "created_at"], schema="image")


def _character() -> None:
    op.create_table(
        "ownerships",
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("character_code", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("job_id", UUID, nullable=False),
        sa.Column("acquired_at", TIME, nullable=False),
        sa.Column("created_at", TIME, server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "character_code", name=op.f("pk_ownerships")),
        schema="character",
    )
    op.create_index("ix_ownerships_user_id_acquired_at", "ownerships", ["user_id", "acquired_at"], schema="character")


def downgrade() -> None:
    for schema in ("character", "image", "scan"):
        op.execute(f"DROP SCHEMA {schema} CASCADE")
